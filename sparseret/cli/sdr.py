"""``sparseret sdr``: what sizes of binary codes can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sparseret.encoders.sdr_theory import SdrPlan

__all__ = ["sdr_app"]

sdr_app = typer.Typer(no_args_is_help=True, help="Sparse distributed representations.")
_AROUND = 4
"""Thresholds to show on either side of the chosen one."""


@sdr_app.callback()
def root() -> None:
    """Sparse distributed representations: binary codes that match by overlap."""


@sdr_app.command("plan")
def plan_command(
    cells: Annotated[int, typer.Option(min=1, help="Cells of a code, n.")] = 2048,
    active: Annotated[int, typer.Option(min=1, help="Active cells of a code, a.")] = 40,
    synapses: Annotated[
        int | None,
        typer.Option(
            min=1, help="Cells that are known of each pattern, s.", show_default="all active"
        ),
    ] = None,
    patterns: Annotated[
        int, typer.Option(min=1, help="Patterns that share a segment, as their union.")
    ] = 1,
    noise: Annotated[
        float, typer.Option(min=0, max=1, help="Share of a pattern's active cells that move.")
    ] = 0.25,
    false_match: Annotated[
        float, typer.Option(help="Largest chance that a random code matches.")
    ] = 1e-9,
    threshold: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Shared cells that make a match.",
            show_default="the smallest that keeps --false-match",
        ),
    ] = None,
) -> None:
    """How often codes are mistaken or missed, and which threshold to take.

    Exact, for codes drawn at random:

        sparseret sdr plan --cells 2048 --active 40 --noise 0.5

        sparseret sdr plan --patterns 20 --false-match 1e-6

    Status 1 if no threshold keeps --false-match.
    """
    from sparseret.encoders.sdr_theory import plan

    made = plan(
        cells, active, synapses=synapses, patterns=patterns, noise=noise, target=false_match,
        threshold=threshold,
    )  # fmt: skip
    _print(made, false_match)


def _print(made: SdrPlan, target: float) -> None:
    from rich.table import Table

    from sparseret.cli.console import count, make_console
    from sparseret.encoders.sdr_theory import false_match, log10_codes, miss

    console = make_console()
    console.print(
        f"{made.active} of {made.cells:,} cells ({made.active / made.cells:.2%}), "
        f"10^{log10_codes(made.cells, made.active):.1f} codes; {count(made.patterns, 'pattern')} "
        f"of {count(made.synapses, 'synapse')}, density {made.density:.2%}",
        highlight=False,
    )
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("", "threshold", "false match", f"missed at noise {made.noise:g}"):
        table.add_column(name, justify="right")
    low, high = made.threshold - _AROUND, made.threshold + _AROUND
    for threshold in range(max(1, low), min(made.synapses, high) + 1):
        sizes = (made.cells, made.active, threshold)
        given = {"synapses": made.synapses, "patterns": made.patterns}
        chance = false_match(*sizes, synapses=made.synapses, patterns=made.patterns)
        table.add_row(
            "->" if threshold == made.threshold else "",
            str(threshold),
            f"{chance:.3g}",
            f"{miss(*sizes, noise=made.noise, **given):.3g}",
        )
    console.print(table)
    console.print(
        f"At threshold {made.threshold}, up to {count(made.capacity, 'pattern')} can share a "
        f"segment with false matches of {target:g} or less.",
        highlight=False,
    )
