"""``sparseret merge``: fewer segments, no tombstones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sparseret.cli.console import count
from sparseret.cli.recall import merge_with_progress

__all__ = ["merge_command"]


def merge_command(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", show_default=False)],
) -> None:
    """Merge segments and reclaim the space of deleted documents.

    Searches go on meanwhile, on what was committed. It may be interrupted at any time.
    """
    from sparseret.retriever import Retriever

    with Retriever.open(index) as retriever:
        before = retriever.n_bytes
        merges = merge_with_progress(retriever, show=sys.stderr.isatty())
        segments = len(retriever.index.state.legs[0].files)
    after = retriever.n_bytes  # when closed: SQLite's log is gone then
    print(f"{count(merges, 'merge')}; {count(segments, 'segment')}, {before:,} -> {after:,} bytes")
