"""``sparseret delete``: remove documents by id."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sparseret.cli.console import count

__all__ = ["delete_command"]


def delete_command(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", show_default=False)],
    ids: Annotated[
        list[str],
        typer.Argument(help="Ids of documents; - reads an id a line.", show_default=False),
    ],
) -> None:
    """Delete documents. Unknown ids are counted, and otherwise ignored."""
    from sparseret.parents import open_retriever

    wanted: list[str] = []
    for id in ids:
        wanted += filter(None, sys.stdin.read().splitlines()) if id == "-" else [id]
    with open_retriever(index) as retriever:
        deleted = retriever.delete(wanted)
        retriever.commit()
        unknown = len(set(wanted)) - deleted
        print(f"{count(deleted, 'document')} deleted, {count(unknown, 'unknown id')}")
