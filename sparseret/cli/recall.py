"""What the commands say about exact and approximate search."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from sparseret.cli.console import count

if TYPE_CHECKING:
    from rich.console import Console

    from sparseret.indexers.calibration import Calibration
    from sparseret.retriever import Retriever

__all__ = ["RecallOption", "merge_with_progress", "note_mode", "print_calibration"]

RecallOption = Annotated[
    float | None,
    typer.Option(
        "--recall",
        metavar="0.5..0.999",
        help="Search faster, and find about this share of the exact results: the cheapest search "
        "that did so when the index was calibrated ('sparseret tune'). An index of counts, such "
        "as BM25's, is searched exactly all the same.",
        show_default="exact search",
    ),
]


def note_mode(retriever: Retriever, k: int, recall: float) -> None:
    """Say on standard error how a search for a recall is made, and why it is exact if it is.

    Raises:
        ConfigurationError: the recall cannot be asked for.
    """
    mode = retriever.mode(k, recall=recall)
    calibration = retriever.index.calibration
    if not mode.exact:
        given = calibration is not None and calibration.given
        why = "with queries that were given" if given else "with queries made from documents"
    elif retriever.index.weighting is not None:
        why = "as an index of counts always is"
    elif calibration is None:
        why = "as the index was never calibrated (sparseret tune)"
    else:
        why = f"as nothing cheaper is calibrated to that for {count(k, 'result')}"
    print(f"--recall {recall:g}: {mode.description}, {why}", file=sys.stderr)


def merge_with_progress(retriever: Retriever, *, show: bool) -> int:
    """Merge, then calibrate where that is due, with a bar for each; returns the merges."""
    from sparseret.progress import progress_of_steps

    with progress_of_steps("Merging", show=show) as step:
        merges = retriever.merge(step, calibrate=False)
    if retriever.index.calibration_is_due:
        with progress_of_steps("Calibrating", show=show) as step:
            retriever.tune(progress=step)
    return merges


def print_calibration(calibration: Calibration, console: Console) -> None:
    """A line on what was measured, and a table of the efforts that no other beats."""
    from rich.table import Table

    source = "given" if calibration.given else "made from documents"
    measured = count(calibration.n_queries, "query", "queries")
    console.print(
        f"calibrated with {measured} {source}, on {count(calibration.n_documents, 'document')}",
        highlight=False,
        soft_wrap=True,
    )
    if not calibration.levels:
        console.print("no effort was cheaper than exact search: it is used whatever the recall")
        return
    table = Table("k", box=None)
    for column in ("recall", "cut", "candidates", "cost"):
        table.add_column(column, justify="right")
    for v in calibration.levels:
        table.add_row(
            str(v.k), f"{v.recall:.3f}", f"{v.effort.cut:.2f}", f"{v.effort.candidates:,}",
            f"{v.cost:,.0f}",
        )  # fmt: skip
    console.print(table)
