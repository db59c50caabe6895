"""Index the .txt and .md files of a folder, search them, and keep the index up to date.

    python examples/index_a_folder.py FOLDER INDEX "some words"

Run it again after files have changed: changed files are replaced, vanished ones are deleted.
Without arguments it indexes the documentation of this project in a temporary folder.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sparseret import Document, Retriever

SUFFIXES = (".txt", ".md")


def read_folder(folder: Path) -> Iterator[Document]:
    """A document a file: the path is the id, the first line is the title."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        first, _, rest = path.read_text("utf-8", errors="replace").partition("\n")
        yield Document(
            id=path.relative_to(folder).as_posix(),
            title=first.strip("# \t"),
            text=rest,
            metadata={"suffix": path.suffix.lower(), "bytes": path.stat().st_size},
        )


def open_or_create(index: Path) -> Retriever:
    if (index / "catalog.sqlite").exists():
        return Retriever.open(index)
    return Retriever.create(index)


def synchronise(retriever: Retriever, folder: Path) -> tuple[int, int]:
    """Bring the index up to date with the folder; returns the numbers of files written, deleted."""
    before = {document.id: document for document in retriever.documents()}
    present = {document.id: document for document in read_folder(folder)}
    changed = [document for id, document in present.items() if document != before.get(id)]
    written = retriever.update(changed)
    deleted = retriever.delete([id for id in before if id not in present])
    retriever.commit()
    return written, deleted


def main(folder: Path, index: Path, query: str) -> None:
    with open_or_create(index) as retriever:
        written, deleted = synchronise(retriever, folder)
        print(f"{written} files indexed, {deleted} deleted, {len(retriever)} in the index")
        for result in retriever.search(query, k=3):
            print(f"{result.score:6.3f}  {result.id}  ({result.title})")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
    elif len(sys.argv) == 1:
        docs = Path(__file__).resolve().parent.parent / "docs"
        with tempfile.TemporaryDirectory() as temporary:
            main(docs, Path(temporary) / "docs.idx", "snapshots and the write-ahead log")
    else:
        sys.exit(__doc__)
