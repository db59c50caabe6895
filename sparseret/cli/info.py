"""``sparseret info``: what an index holds."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sparseret.indexers.info import IndexInfo

__all__ = ["info_command"]


def info_command(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Show encoder, counts, sizes and segments of an index."""
    description, info = _read(index)
    if as_json:
        fields = {**info._asdict(), "segments": [s._asdict() for s in info.segments]}
        fields["reduction"] = asdict(info.reduction)
        if info.calibration is not None:
            levels = [
                {"k": v.k, **v.effort._asdict(), "recall": v.recall, "cost": v.cost}
                for v in info.calibration.levels
            ]
            fields["calibration"] = {**info.calibration._asdict(), "levels": levels}
        print(json.dumps({"encoder": description, **fields}, indent=2))
        return

    from rich.table import Table

    from sparseret.cli.console import make_console
    from sparseret.cli.recall import print_calibration

    console = make_console()
    facts = Table.grid(padding=(0, 2))
    per_posting = f" ({info.segment_bytes / info.nnz:.1f} a value)" if info.nnz else ""
    # Most indexes keep vectors as they are, or counts, in any order: nothing to tell.
    chosen = [("stored", info.reduction.description)] * info.reduction.is_lossy
    chosen += [] if info.order_by is None else [("ordered by", info.order_by)]
    for name, value in (
        ("encoder", description),
        ("space", info.space),
        ("documents", f"{info.documents:,}"),
        ("deleted, not yet merged", f"{info.tombstones:,}"),
        ("terms", f"{info.terms:,}"),
        ("stored values (nnz)", f"{info.nnz:,}"),
        ("mean document length", f"{info.mean_length:.2f}"),
        ("bytes, documents included", f"{info.bytes:,}"),
        ("bytes of vectors", f"{info.segment_bytes:,}{per_posting}"),
        *chosen,
        ("format version", str(info.format_version)),
    ):
        facts.add_row(name, value)
    console.print(facts)
    if info.segments:
        table = Table("segment", box=None)
        for column in ("documents", "deleted", "nnz", "bytes"):
            table.add_column(column, justify="right")
        table.add_column("values")
        for s in info.segments:
            numbers = (f"{n:,}" for n in (s.documents, s.tombstones, s.nnz, s.bytes))
            table.add_row(s.file, *numbers, s.value_type)
        console.print()
        console.print(table)
    if info.calibration is not None:
        console.print()
        print_calibration(info.calibration, console)


def _read(path: Path) -> tuple[str, IndexInfo]:
    """The encoder in one line, and what the index holds."""
    from sparseret.errors import ConfigurationError, MissingExtraError
    from sparseret.indexers.catalog import Catalog
    from sparseret.indexers.info import index_info
    from sparseret.indexers.inverted import InvertedIndex
    from sparseret.retriever import Retriever

    catalog = Catalog(path, writable=False)
    encoded = catalog.has_meta("setting:encoder")
    catalog.close()
    description = "none (vectors were given)"
    if encoded:
        try:
            retriever = Retriever.open(path)
        except (ConfigurationError, MissingExtraError) as error:  # its model is not here
            description = f"cannot be loaded: {error}"
        else:
            with retriever:
                stated = getattr(retriever.encoder, "license", None)
                weights = f"; weights under {stated}" if stated else ""
                return retriever.description + weights, index_info(retriever.index)
    with InvertedIndex.open(path) as index:
        return description, index_info(index)
