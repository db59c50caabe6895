"""``sparseret plan-memory``: dense vectors that are larger than memory."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparseret.cli.options import parse_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparseret.indexers.memory_plan import MeasuredCodes, MemoryPlan

__all__ = ["plan_memory_command"]


class MetricName(str, Enum):
    """How vectors are compared."""

    cosine = "cosine"
    ip = "ip"


class PrecisionName(str, Enum):
    """How vectors are stored."""

    float32 = "float32"
    float16 = "float16"


def plan_memory_command(
    vectors: Annotated[
        Path,
        typer.Argument(help="Dense vectors, all or a sample of them: .npy.", show_default=False),
    ],
    memory: Annotated[
        int,
        typer.Option(
            parser=parse_size,
            metavar="SIZE",
            help="Memory that a search may take, such as 64MB.",
            show_default=False,
        ),
    ],
    queries: Annotated[
        Path | None,
        typer.Option(
            help="Vectors of queries like those to come: .npy.", show_default="200 of the vectors"
        ),
    ] = None,
    total: Annotated[
        int | None,
        typer.Option(
            "--total",
            "-n",
            min=1,
            help="Vectors that the index will hold.",
            show_default="those of the file",
        ),
    ] = None,
    recall: Annotated[
        float, typer.Option(help="Share of the true nearest that is to be found.")
    ] = 0.95,
    k: Annotated[int, typer.Option("-k", min=1, help="Results of a search.")] = 10,
    metric: Annotated[MetricName, typer.Option(help="How vectors are compared.")] = (
        MetricName.cosine
    ),
    precision: Annotated[PrecisionName, typer.Option(help="Of the vectors on disk.")] = (
        PrecisionName.float32
    ),
) -> None:
    """Find the light codes that search best within a budget of memory.

    Codes are made of a sample of the vectors, and the fewest candidates are
    counted that reach the recall by each:

        sparseret plan-memory vectors.npy --memory 64MB --total 1000000

    The last line is what to give to 'sparseret index' for a dense encoder.
    Status 1 if not even the smallest codes fit.
    """
    from sparseret.encoders.codecs import open_vectors
    from sparseret.errors import ConfigurationError, VectorError
    from sparseret.indexers.memory_plan import (
        all_in_memory_bytes,
        measure_codes,
        options_within,
        plan_two_stage,
    )
    from sparseret.progress import progress_of_steps

    source = open_vectors(vectors)
    if not source.size:
        raise VectorError(f"{vectors} holds no vectors: give those to be indexed, or a sample")
    n, dim = total or len(source), source.shape[1]
    if not 0 < recall <= 1:
        raise ConfigurationError(f"--recall must be above 0 and up to 1, got {recall:g}")
    measured: Sequence[MeasuredCodes] = []
    if all_in_memory_bytes(n, dim, precision.value) > memory:
        asked = None if queries is None else open_vectors(queries)
        options = options_within(n, dim, memory)
        with progress_of_steps("Measuring codes", show=sys.stderr.isatty()) as step:
            measured = measure_codes(
                source, asked, options, k=k, metric=metric.value, progress=step
            )  # fmt: skip
    plan = plan_two_stage(
        n, dim, memory, measured, recall=recall, metric=metric.value, precision=precision.value
    )
    _print(n, dim, measured, plan, recall, k)


def _print(
    n: int, dim: int, measured: Sequence[MeasuredCodes], plan: MemoryPlan, recall: float, k: int
) -> None:
    from rich.table import Table

    from sparseret.cli.console import make_console

    console = make_console()

    def line(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    settings = plan.settings
    if not measured:
        line(
            f"{n:,} vectors of {dim} values fit: {plan.memory_bytes / 1e6:,.1f} MB for an exact "
            "search of all of them"
        )
        line(f"--dense kind=flat --dense precision={settings.precision}")
        return
    table = Table("codes", box=None)
    for title in ("bytes", "memory MB", f"recall@{k} of 100", "of 1,000", "candidates"):
        table.add_column(title, justify="right")
    for codes in measured:
        option = codes.option
        candidates = codes.candidates(recall)
        table.add_row(
            option.kind, str(option.vector_bytes), f"{option.memory_bytes(n, dim) / 1e6:,.1f}",
            f"{codes.recall(100):.3f}", f"{codes.recall(1000):.3f}", f"{candidates:,}",
        )  # fmt: skip
    line(
        f"sample of {measured[0].n_vectors:,} vectors; candidates among them for a recall of "
        f"{recall:g}"
    )
    console.print(table)
    line(
        f"best: {plan.candidates:,} candidates of {n:,} vectors, recall@{k} {plan.recall:.3f}; "
        f"{plan.memory_bytes / 1e6:,.1f} MB of memory, up to {plan.disk_bytes / 1e6:,.2f} MB read "
        "a query"
    )
    line(
        f"--dense kind={settings.kind} --dense code_bytes={settings.code_bytes} "
        f"--dense precision={settings.precision}"
    )
