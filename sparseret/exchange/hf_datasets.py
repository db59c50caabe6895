"""Folders in the layout of Hugging Face datasets, as repositories of BEIR collections have it.

::

    README.md        which file is which configuration, in YAML
    corpus.jsonl     _id, title, text, and metadata whose values are of one type
    queries.jsonl    _id, text
    qrels/test.jsonl query-id, corpus-id, score
    qrels/test.tsv   the same, as BEIR has it

``datasets.load_dataset(folder, "corpus")`` reads it, and so do ``sparseret index`` and ``sparseret
eval``, as it is BEIR's layout, too. Nothing of datasets is needed to write it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sparseret.documents import Document
from sparseret.errors import DatasetError
from sparseret.eval.datasets import Dataset, load_dataset
from sparseret.eval.files import write_text
from sparseret.exchange.columns import (
    ColumnTypes,
    column_types,
    document_of_row,
    split_metadata,
)
from sparseret.exchange.making import new_folder
from sparseret.exchange.new_index import Imported
from sparseret.legs import AnyEncoder
from sparseret.linefile import COMPRESSIONS
from sparseret.parquet_file import JSON_COLUMN, PARQUET, arrow_errors, plain_fields
from sparseret.readers import read_documents
from sparseret.retriever import Retriever

__all__ = ["export_hf_datasets", "import_hf_datasets", "is_saved_dataset"]

_ARROW_STATE, _ARROW_SPLITS = "state.json", "dataset_dict.json"


def export_hf_datasets(
    index: str | Path,
    out: str | Path,
    *,
    dataset: str | Path | None = None,
    split: str = "test",
    advance: Callable[[int], None] | None = None,
) -> int:
    """Write the documents of an index, and queries and judgements of a dataset where one is given.

    Vectors have no place in the layout. Metadata that is not of one type in all documents goes to
    the column "metadata", as the text of a JSON object.

    Args:
        index: folder of the index.
        out: a new folder.
        dataset: folder in BEIR's layout, or name, whose queries and judgements go along.
        split: of its judgements.
        advance: called with the number of documents just written.

    Returns:
        the number of documents.

    Raises:
        DatasetError: no such dataset or split.
        IndexExistsError: there is something at ``out`` already.
        StorageError, CorruptIndexError, IndexNotFoundError
    """
    judged = None if dataset is None else load_dataset(dataset, split)
    n = 0
    with new_folder(out) as folder, Retriever.open(index) as retriever:
        types = column_types(retriever.documents())
        with write_text(folder / "corpus.jsonl") as file:
            for document in retriever.documents():
                file.write(_line(document, types))
                n += 1
                if advance is not None:
                    advance(1)
        if judged is not None:
            _write_judged(folder, judged)
        with write_text(folder / "README.md") as file:
            file.write(_card(Path(out).name, n, judged))
    return n


def import_hf_datasets(
    source: str | Path,
    out: str | Path,
    *,
    encoder: str | AnyEncoder = "bm25",
    encoder_options: Mapping[str, Any] | None = None,
    advance: Callable[[int], None] | None = None,
) -> Imported:
    """Index the corpus of a folder, all of it or nothing.

    Args:
        source: a folder as the module has it, with its corpus as JSONL or Parquet, in one file or
            in several; or what ``Dataset.save_to_disk`` of datasets wrote.
        out: folder of the index, new.
        encoder: of documents and queries.
        encoder_options: of a named encoder.
        advance: called with the number of documents just read.

    Raises:
        DatasetError: no corpus in the folder.
        DocumentError: a row that is no document, with file and number.
        MissingExtraError: Parquet or Arrow files, and pyarrow is not installed.
        DuplicateIdError, ConfigurationError, IndexExistsError, StorageError
    """
    documents = _documents(Path(source), advance)
    with (
        new_folder(out) as folder,
        Retriever.create(folder, encoder, encoder_options=encoder_options) as retriever,
    ):
        n = retriever.add(documents)
        retriever.commit()
        retriever.merge()
    return Imported(n)


def is_saved_dataset(folder: Path) -> bool:
    """Whether ``Dataset.save_to_disk``, or that of a DatasetDict, wrote a folder."""
    return (folder / _ARROW_STATE).is_file() or (folder / _ARROW_SPLITS).is_file()


def _line(document: Document, types: ColumnTypes) -> str:
    own, rest = split_metadata(document, types)
    fields = {"_id": document.id, "title": document.title, "text": document.text, **own}
    if rest is not None:
        fields[JSON_COLUMN] = rest
    return json.dumps(fields, ensure_ascii=False) + "\n"


def _write_judged(folder: Path, judged: Dataset) -> None:
    with write_text(folder / "queries.jsonl") as file:
        for query in judged.queries:
            fields = {"_id": query.id, "text": query.text}
            file.write(json.dumps(fields, ensure_ascii=False) + "\n")
    # Of one repository, datasets reads files of one kind alone.
    qrels = folder / "qrels"
    with (
        write_text(qrels / f"{judged.split}.tsv") as table,
        write_text(qrels / f"{judged.split}.jsonl") as file,
    ):
        table.write("query-id\tcorpus-id\tscore\n")
        for id, documents in judged.qrels.items():
            for document, score in documents.items():
                table.write(f"{id}\t{document}\t{score}\n")
                row = {"query-id": id, "corpus-id": document, "score": score}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _card(name: str, n: int, judged: Dataset | None) -> str:
    """README.md: which file is which configuration."""
    configs = [("corpus", "corpus", "corpus.jsonl")]
    if judged is not None:
        configs.append(("queries", "queries", "queries.jsonl"))
        configs.append(("qrels", judged.split, f"qrels/{judged.split}.jsonl"))
    lines = ["---", "configs:"]
    for config, split, path in configs:
        lines += [f"- config_name: {config}", "  data_files:"]
        lines += [f"  - split: {split}", f"    path: {path}"]
    asked = f", {len(judged.queries)} queries with judgements" if judged else ""
    lines += ["---", "", f"# {name}", "", f"{n} documents{asked}.", ""]
    return "\n".join(lines)


def _documents(source: Path, advance: Callable[[int], None] | None) -> Iterator[Document]:
    files = _arrow_files(source) if is_saved_dataset(source) else None
    if files is None:
        for file in _corpus_files(source):
            for record in read_documents(file):
                yield _unpacked(record.document)
                if advance is not None:
                    advance(1)
        return
    for file in files:
        for number, row in enumerate(_arrow_rows(file), 1):
            yield document_of_row(row, file, number)
            if advance is not None:
                advance(1)


def _unpacked(document: Document) -> Document:
    """With the fields of the column of JSON among the metadata."""
    if not isinstance(document.metadata.get(JSON_COLUMN), str):
        return document
    fields = plain_fields(dict(document.metadata))
    packed = fields.get(JSON_COLUMN)
    if not isinstance(packed, dict):
        return document
    del fields[JSON_COLUMN]
    return Document(document.id, document.text, document.title, {**packed, **fields})


def _corpus_files(source: Path) -> list[Path]:
    """The corpus in one of the layouts that repositories have."""
    if not source.is_dir():
        raise DatasetError(f"{source}: no such folder")
    suffixes = [*(f".jsonl{packed}" for packed in ("", *COMPRESSIONS)), PARQUET]
    for pattern in ("corpus{}", "corpus-*{}", "corpus/*{}", "data/corpus*{}"):
        for suffix in suffixes:
            found = sorted(source.glob(pattern.format(suffix)))
            if found:
                return found
    raise DatasetError(
        f"{source}: no corpus: expected corpus.jsonl, corpus{PARQUET}, files of those kinds in "
        "corpus/ or data/corpus*, or what Dataset.save_to_disk writes"
    )


def _arrow_files(source: Path) -> list[Path]:
    folder = source
    if (source / _ARROW_SPLITS).is_file():
        splits = _json(source / _ARROW_SPLITS).get("splits")
        names = [name for name in splits if isinstance(name, str)] if splits else []
        if len(names) != 1 and "corpus" not in names:
            raise DatasetError(
                f"{source}: splits {', '.join(names) or 'none'}: give the folder of one, such as "
                f"{source / names[0] if names else source / 'train'}"
            )
        folder = source / ("corpus" if "corpus" in names else names[0])
    state = _json(folder / _ARROW_STATE)
    try:
        return [folder / file["filename"] for file in state["_data_files"]]
    except (KeyError, TypeError) as error:
        raise DatasetError(f"{folder / _ARROW_STATE}: no list of files ({error!r})") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    if not isinstance(read, dict):
        raise DatasetError(f"{path} holds no object: it is not of datasets")
    return read


def _arrow_rows(file: Path) -> Iterator[dict[str, Any]]:
    with arrow_errors(file):
        import pyarrow as pa

        with pa.memory_map(str(file)) as mapped, pa.ipc.open_stream(mapped) as stream:
            for batch in stream:
                for begin in range(0, batch.num_rows, 1000):
                    yield from batch.slice(begin, 1000).to_pylist()
