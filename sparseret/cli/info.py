"""``sparseret info``: what an index holds."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from sparseret.indexers.info import IndexInfo, LegInfo

__all__ = ["info_command"]


def info_command(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Show encoder, counts, sizes and segments of an index."""
    description, info = _read(index)
    if as_json:
        legs = [_as_json(leg) for leg in info.legs]
        print(json.dumps({"encoder": description, **info._asdict(), "legs": legs}, indent=2))
        return

    from rich.table import Table

    from sparseret.cli.console import make_console

    console = make_console()
    facts = Table.grid(padding=(0, 2))
    ordered = [] if info.order_by is None else [("ordered by", info.order_by)]
    for name, value in (
        ("encoder", description),
        ("documents", f"{info.documents:,}"),
        ("deleted, not yet merged", f"{info.tombstones:,}"),
        ("terms", f"{info.terms:,}"),
        ("mean document length", f"{info.mean_length:.2f}"),
        ("bytes, documents included", f"{info.bytes:,}"),
        *ordered,
        ("format version", str(info.format_version)),
    ):
        facts.add_row(name, value)
    console.print(facts)
    for leg in info.legs:
        _print_leg(leg, console)


def _print_leg(leg: LegInfo, console: Console) -> None:
    from rich.table import Table

    from sparseret.cli.recall import print_calibration

    facts = Table.grid(padding=(0, 2))
    per_value = f" ({leg.segment_bytes / leg.nnz:.1f} a value)" if leg.nnz else ""
    stored = [] if leg.dense is None else [("stored", leg.dense.description)]
    if leg.reduction is not None and leg.reduction.is_lossy:  # most are kept as they are
        stored = [("stored", leg.reduction.description)]
    for name, value in (
        *[("leg", f"{leg.name}, {leg.kind}")] * bool(leg.name),
        ("space", leg.space),
        ("stored values (nnz)", f"{leg.nnz:,}"),
        ("bytes of vectors", f"{leg.segment_bytes:,}{per_value}"),
        *stored,
    ):
        facts.add_row(name, value)
    console.print()
    console.print(facts)
    if leg.segments:
        table = Table("segment", box=None)
        for column in ("documents", "deleted", "nnz", "bytes"):
            table.add_column(column, justify="right")
        table.add_column("values")
        for s in leg.segments:
            numbers = (f"{n:,}" for n in (s.documents, s.tombstones, s.nnz, s.bytes))
            table.add_row(s.file, *numbers, s.value_type)
        console.print()
        console.print(table)
    if leg.calibration is not None:
        console.print()
        print_calibration(leg.calibration, console)


def _as_json(leg: LegInfo) -> dict[str, Any]:
    return {
        **leg._asdict(),
        "segments": [segment._asdict() for segment in leg.segments],
        "reduction": None if leg.reduction is None else asdict(leg.reduction),
        "dense": None if leg.dense is None else asdict(leg.dense),
        "calibration": _calibration(leg),
    }


def _calibration(leg: LegInfo) -> dict[str, Any] | None:
    """As JSON values."""
    measured = leg.calibration
    if measured is None:
        return None
    levels: list[dict[str, Any]] = []
    for v in measured.levels:
        effort = {"effort": v.effort} if isinstance(v.effort, int) else v.effort._asdict()
        levels.append({"k": v.k, **effort, "recall": v.recall, "cost": v.cost})
    return {**measured._asdict(), "levels": levels}


def _read(path: Path) -> tuple[str, IndexInfo]:
    """The encoder in one line, and what the index holds."""
    from sparseret.errors import ConfigurationError, MissingExtraError
    from sparseret.indexers.folder import IndexFolder
    from sparseret.indexers.info import index_info
    from sparseret.legs import has_encoders
    from sparseret.parents import open_retriever

    description = "none (vectors were given)"
    if has_encoders(path):
        try:
            retriever = open_retriever(path)
        except (ConfigurationError, MissingExtraError) as error:  # its model is not here
            description = f"cannot be loaded: {error}"
        else:
            with retriever:
                stated = [getattr(e, "license", None) for e in retriever.encoders.values()]
                weights = "".join(f"; weights under {word}" for word in stated if word)
                return retriever.description + weights, index_info(retriever.index)
    with IndexFolder(path) as index:
        return description, index_info(index)
