"""``sparseret vectors``: indexes of vectors of one's own, without texts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from sparseret.cli.console import count

__all__ = ["vectors_app"]

vectors_app = typer.Typer(no_args_is_help=True, help="Index vectors of your own, without texts.")

_ROWS = 2**16
"""That are coded at a time."""


@vectors_app.callback()
def root() -> None:
    """Index vectors of your own, without texts."""


@vectors_app.command("index")
def index_command(
    source: Annotated[
        Path,
        typer.Argument(
            help="Vectors, a row each: a .npy file, with --codec, or a .npz file of scipy.sparse.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the index, new.", show_default=False)
    ],
    codec: Annotated[
        Path | None,
        typer.Option(
            help="Codec that makes them sparse (sparseret train codec).", show_default="none"
        ),
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(
            help="Ids of the vectors, a line each.",
            show_default="the .txt file beside the vectors, else 0, 1, ...",
        ),
    ] = None,
) -> None:
    """Put vectors into an index, as they are or as codes.

    sparseret vectors index nodes.npy --codec node-codec --out nodes.idx
    """
    from sparseret.encoders.codecs import load_codec, open_vectors
    from sparseret.errors import SparseretError, VectorError
    from sparseret.indexers.inverted import InvertedIndex

    rows: Any = open_vectors(source)
    ids = _names(source, names, rows.shape[0])
    made = None if codec is None else load_codec(codec)
    if made is None and source.suffix != ".npz":
        raise VectorError(f"{source} holds dense vectors: give --codec, which makes them sparse")
    index = InvertedIndex.create(
        out,
        space="custom" if made is None else made.space,
        dim=rows.shape[1] if made is None else made.dim,
        signed=made is None or made.signed,
    )
    try:
        with index:
            for begin in range(0, rows.shape[0], _ROWS):
                part = rows[begin : begin + _ROWS]
                coded = part if made is None else made.transform(part)
                index.add(ids[begin : begin + _ROWS], coded)
            index.commit()
            index.merge()
            size = index.n_bytes / 1e6
    except SparseretError:
        shutil.rmtree(out)  # else the next try would find an index there
        raise
    said = "" if made is None else f", {made.description}"
    print(f"{out}: {count(len(ids), 'vector')}, {size:.1f} MB{said}")


@vectors_app.command("search")
def search_command(
    index: Annotated[Path, typer.Argument(help="Folder of an index.", show_default=False)],
    like: Annotated[
        str, typer.Option(help="Id of a vector; others like it are found.", show_default=False)
    ],
    k: Annotated[int, typer.Option("-k", min=1, help="Results.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a result.")] = False,
) -> None:
    """Find the vectors with the largest products with one that is in the index.

    sparseret vectors search nodes.idx --like "some node" -k 5
    """
    from sparseret.indexers.inverted import InvertedIndex

    with InvertedIndex.open(index) as opened:
        hits = opened.search(opened.vectors_of([like]), k + 1)
    found = [pair for pair in zip(hits.ids[0], hits.scores[0], strict=True) if pair[0] != like]
    for rank, (id, score) in enumerate(found[:k], 1):
        if as_json:
            line = {"rank": rank, "id": id, "score": float(score)}
            print(json.dumps(line, ensure_ascii=False))
        else:
            print(f"{rank}\t{score:.4f}\t{id}")


def _names(source: Path, names: Path | None, n: int) -> list[str]:
    from sparseret.errors import DocumentError

    beside = source.with_suffix(".txt")
    if names is None and not beside.exists():
        return [str(row) for row in range(n)]
    file = beside if names is None else names
    try:
        found = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(f"{file} cannot be read: {error}") from error
    if len(found) != n:
        raise DocumentError(f"{file} has {count(len(found), 'line')}, and {source} {n} vectors")
    return found
