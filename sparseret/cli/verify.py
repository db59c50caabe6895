"""``sparseret verify``: is an index sound?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["verify_command"]


def verify_command(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", show_default=False)],
) -> None:
    """Check every checksum, count and cross-reference; status 1 if anything is wrong."""
    from sparseret.indexers.verify import verify_index

    problems = verify_index(index)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if problems:
        raise typer.Exit(1)
    print(f"{index} is sound")
