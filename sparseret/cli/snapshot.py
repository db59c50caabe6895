"""``sparseret snapshot``: a copy of an index as of its last commit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["snapshot_command"]


def snapshot_command(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", show_default=False)],
    out: Annotated[
        Path, typer.Option(help="Folder of the copy, which must not exist.", show_default=False)
    ],
) -> None:
    """Copy an index while it is searched and written.

    The copy is an index itself: to restore it, copy it to where the index was.

    sparseret snapshot my.idx --out backup/my.idx
    """
    from sparseret.indexers.backup import copy_index

    print(f"{out}: {copy_index(index, out) / 1e6:.1f} MB")
