"""How the commands print."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["count", "make_console"]

_PIPE_WIDTH = 120


def make_console() -> Console:
    """Standard output; as wide as the terminal, or wide enough for tables in a pipe."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=_PIPE_WIDTH)


def count(n: int, what: str, plural: str | None = None) -> str:
    """ "1 document", "2 documents"; the plural where it is not made by an s."""
    return f"{n} {what if n == 1 else plural or what + 's'}"
