"""Progress bars on standard error, shown only where asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

__all__ = ["progress_bar", "progress_of_steps"]


@contextmanager
def progress_bar(
    what: str, total: int | None, *, show: bool, unit: str = ""
) -> Iterator[Callable[[int], None]]:
    """Yield a function that advances the bar by so many steps.

    Args:
        what: label.
        total: steps in all; None where unknown.
        show: False makes it a no-op.
        unit: "bytes" for sizes and speeds in bytes.
    """
    if not show:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    size: list[ProgressColumn] = (
        [DownloadColumn(), TransferSpeedColumn()] if unit == "bytes" else [MofNCompleteColumn()]
    )
    columns = [TextColumn("{task.description}"), BarColumn(), *size]
    columns += [TimeElapsedColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda steps: bar.advance(task, steps)


@contextmanager
def progress_of_steps(what: str, *, show: bool) -> Iterator[Callable[[int, int], None]]:
    """Yield a function of (steps done, steps in all); a bar stands from its first call on."""
    with ExitStack() as stack:
        advance: Callable[[int], None] | None = None
        before = 0

        def step(done: int, total: int) -> None:
            nonlocal advance, before
            if advance is None:
                advance = stack.enter_context(progress_bar(what, total, show=show))
            advance(done - before)
            before = done

        yield step
