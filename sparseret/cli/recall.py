"""What the commands say about exact and approximate search."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from sparseret.cli.console import count

if TYPE_CHECKING:
    from rich.console import Console

    from sparseret.indexers.calibration import Calibration
    from sparseret.indexers.dense_calibration import DenseCalibration
    from sparseret.indexers.dense_leg import DenseLeg
    from sparseret.indexers.inverted_leg import InvertedLeg
    from sparseret.protocols import Mode
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
    for leg in retriever.index.legs:
        mode = retriever.mode(k, recall=recall, legs=[leg.name])
        where = f" in {leg.name}" * bool(leg.name)
        told = f"{mode.description}, {_reason(leg, mode, k)}"
        print(f"--recall {recall:g}{where}: {told}", file=sys.stderr)


def _reason(leg: InvertedLeg | DenseLeg, mode: Mode, k: int) -> str:
    if not mode.exact:
        given = leg.calibration is not None and leg.calibration.given
        return "with queries that were given" if given else "with queries made from documents"
    if leg.weighting is not None:
        return "as an index of counts always is"
    if not leg.is_tunable:
        return "as vectors without a graph, lists or codes always are"
    if leg.calibration is None:
        return "as the index was never calibrated (sparseret tune)"
    return f"as nothing cheaper is calibrated to that for {count(k, 'result')}"


def merge_with_progress(retriever: Retriever, *, show: bool) -> int:
    """Merge, then calibrate where that is due, with a bar for each; returns the merges."""
    from sparseret.progress import progress_of_steps

    with progress_of_steps("Merging", show=show) as step:
        merges = retriever.merge(step, calibrate=False)
    for leg in retriever.index.legs:
        if leg.calibration_is_due:
            with progress_of_steps(f"Calibrating {leg.name}".rstrip(), show=show) as step:
                retriever.tune(leg=leg.name, progress=step)
    return merges


def print_calibration(calibration: Calibration | DenseCalibration, console: Console) -> None:
    """A line on what was measured, and a table of the efforts that no other beats."""
    from rich.table import Table

    from sparseret.indexers.dense_calibration import DenseCalibration

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
    if isinstance(calibration, DenseCalibration):
        for column in ("recall", "effort", "ms a query"):
            table.add_column(column, justify="right")
        for d in calibration.levels:
            table.add_row(str(d.k), f"{d.recall:.3f}", str(d.effort), f"{d.cost:.3f}")
    else:
        for column in ("recall", "cut", "candidates", "cost"):
            table.add_column(column, justify="right")
        for v in calibration.levels:
            table.add_row(
                str(v.k), f"{v.recall:.3f}", f"{v.effort.cut:.2f}", f"{v.effort.candidates:,}",
                f"{v.cost:,.0f}",
            )  # fmt: skip
    console.print(table)
