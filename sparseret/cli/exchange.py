"""``sparseret export`` and ``sparseret import``: indexes in formats of others."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparseret.cli.console import count
from sparseret.cli.encoders import note_license, resolve_encoder
from sparseret.cli.options import EncoderOptions, parse_options

if TYPE_CHECKING:
    from sparseret.exchange.leg import Values
    from sparseret.exchange.new_index import Imported

__all__ = ["export_command", "import_command"]


class FormatName(str, Enum):
    """How an index is written elsewhere."""

    anserini = "anserini"
    ciff = "ciff"
    parquet = "parquet"
    hf_datasets = "hf-datasets"
    lucene = "lucene"


class ValuesName(str, Enum):
    """What numbers are."""

    counts = "counts"
    weights = "weights"


_Out = Annotated[Path, typer.Option("--out", "-o", help="Where to write, new.", show_default=False)]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.")]


def export_command(
    index: Annotated[Path, typer.Argument(help="Folder of an index.", show_default=False)],
    out: _Out,
    format: Annotated[
        FormatName | None,
        typer.Option(
            help="Anserini's JSONL, CIFF, Parquet, a folder of Hugging Face datasets, or a Lucene "
            "impact index.",
            show_default="by the name of --out",
        ),
    ] = None,
    leg: Annotated[
        str | None,
        typer.Option(help="Leg whose vectors to write.", show_default="the only one"),
    ] = None,
    values: Annotated[
        ValuesName | None,
        typer.Option(
            help="For ciff and parquet: counts, as BM25's legs keep them, or the weights they "
            "have.",
            show_default="what the leg keeps",
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            help="For anserini, ciff and lucene: weights are multiplied by it and rounded; 0 "
            "writes anserini's as they are.",
            show_default="100",
        ),
    ] = None,
    vectors: Annotated[
        bool, typer.Option(help="For parquet: write vectors, or documents alone.")
    ] = True,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="For hf-datasets: folder in BEIR's layout, or name, whose queries and judgements "
            "go along.",
            show_default=False,
        ),
    ] = None,
    quiet: _Quiet = False,
) -> None:
    """Write an index in a format of others.

    sparseret export my.idx --out vectors.jsonl.gz

    sparseret export my.idx --out my.ciff.zst

    sparseret export my.idx --format hf-datasets --out my-dataset --dataset cranfield
    """
    from sparseret.exchange.formats import format_by_name
    from sparseret.progress import progress_bar

    chosen = format.value if format else format_by_name(out)
    _refuse(
        chosen,
        ("--values", values, ("ciff", "parquet")),
        ("--scale", scale, ("anserini", "ciff", "lucene")),
        ("--no-vectors", not vectors or None, ("parquet",)),
        ("--dataset", dataset, ("hf-datasets",)),
        ("--leg", leg, ("anserini", "ciff", "parquet", "lucene")),
    )
    kept: Values | None = None if values is None else values.value
    show = not quiet and sys.stderr.isatty()
    with progress_bar("Exporting", _size(index), show=show) as advance:
        if chosen == "anserini":
            from sparseret.exchange.anserini import SCALE, export_anserini

            factor = SCALE if scale is None else scale or None
            n = export_anserini(index, out, leg=leg, scale=factor, advance=advance)
        elif chosen == "ciff":
            from sparseret.exchange.ciff import export_ciff

            n = export_ciff(index, out, leg=leg, values=kept, scale=scale, advance=advance)
        elif chosen == "parquet":
            from sparseret.exchange.parquet import export_parquet

            n = export_parquet(index, out, leg=leg, vectors=vectors, values=kept, advance=advance)
        elif chosen == "hf-datasets":
            from sparseret.exchange.hf_datasets import export_hf_datasets

            n = export_hf_datasets(index, out, dataset=dataset, advance=advance)
        else:
            from sparseret.exchange.anserini import SCALE
            from sparseret.exchange.lucene import export_lucene

            factor = SCALE if scale is None else scale
            n = export_lucene(index, out, leg=leg, scale=factor, advance=advance)
    if not quiet:
        print(f"{out}: {count(n, 'document')}, {chosen}")


def _size(index: Path) -> int:
    from sparseret.indexers.catalog import Catalog

    catalog = Catalog(index, writable=False)
    try:
        return catalog.count_documents()
    finally:
        catalog.close()


def import_command(
    source: Annotated[
        Path, typer.Argument(metavar="PATH", help="A file or folder.", show_default=False)
    ],
    out: _Out,
    format: Annotated[
        FormatName | None,
        typer.Option(
            help="Anserini's JSONL, CIFF, Parquet, a folder of Hugging Face datasets, or a Lucene "
            "index that Anserini built.",
            show_default="by the name, or what is in the folder",
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Encoder of the queries, and of documents that come without vectors: that which "
            "made the vectors, or terms for queries that are terms.",
            show_default="as the file says, else terms for weights and bm25 for the rest",
        ),
    ] = None,
    encoder_option: EncoderOptions = None,
    values: Annotated[
        ValuesName | None,
        typer.Option(
            help="For ciff and lucene: what the numbers are.",
            show_default="as the file says, else counts",
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            help="For anserini, ciff and lucene: weights are divided by it.",
            show_default="as the file says, else 1",
        ),
    ] = None,
    quiet: _Quiet = False,
) -> None:
    """Make an index of what others have written, all of it or nothing.

    sparseret import vectors.jsonl.gz --scale 100 --out my.idx

    sparseret import robust04.ciff --out robust04.idx

    sparseret import vectors.jsonl --encoder splade:my-model --out my.idx
    """
    from sparseret.exchange.formats import format_of

    chosen = format.value if format else format_of(source)
    _refuse(
        chosen,
        ("--values", values, ("ciff", "lucene")),
        ("--scale", scale, ("anserini", "ciff", "lucene")),
    )
    given: dict[str, Any] = {"encoder_options": parse_options(encoder_option)}
    if encoder is not None:
        given["encoder"] = resolve_encoder(encoder)
    if scale is not None:
        given["scale"] = scale
    if values is not None:
        given["values"] = values.value
    made = _import(chosen, source, out, given, show=not quiet and sys.stderr.isatty())
    if made.note:
        print(f"note: {made.note}", file=sys.stderr)
    if not quiet:
        print(_told(out, made.n_documents))


def _import(chosen: str, source: Path, out: Path, given: dict[str, Any], *, show: bool) -> Imported:
    from sparseret.progress import progress_bar

    run: Callable[..., Imported]
    total, unit = None, ""
    if chosen == "anserini":
        from sparseret.exchange.anserini import import_anserini as run

        total, unit = _bytes(source), "bytes"
    elif chosen == "ciff":
        from sparseret.exchange.ciff_import import import_ciff as run

        packed = source.suffix != ".ciff"  # bytes are counted as they are unpacked
        total, unit = None if packed else 2 * (_bytes(source) or 0), "bytes"
    elif chosen == "parquet":
        from sparseret.exchange.parquet_import import import_parquet as run
    elif chosen == "hf-datasets":
        from sparseret.exchange.hf_datasets import import_hf_datasets as run
    else:
        from sparseret.exchange.lucene import import_lucene as run
    with progress_bar("Importing", total, show=show, unit=unit) as advance:
        return run(source, out, advance=advance, **given)


def _bytes(source: Path) -> int | None:
    try:
        files = (
            [item for item in source.iterdir() if item.is_file()] if source.is_dir() else [source]
        )
        return sum(item.stat().st_size for item in files)
    except OSError:
        return None  # what is wrong with it is said where it is read


def _told(out: Path, n: int) -> str:
    """The line of an index, as ``sparseret index`` ends with."""
    from sparseret.legs import has_encoders
    from sparseret.retriever import Retriever

    size = sum(item.stat().st_size for item in out.rglob("*") if item.is_file()) / 1e6
    said = "vectors without an encoder"
    if has_encoders(out):
        with Retriever.open(out) as retriever:
            said = retriever.description
            note_license(retriever.encoder)
    return f"{out}: {count(n, 'document')}, {size:.1f} MB, {said}"


def _refuse(chosen: str, *options: tuple[str, object, tuple[str, ...]]) -> None:
    """Options that a format has no use for."""
    for name, value, formats in options:
        if value is not None and chosen not in formats:
            raise typer.BadParameter(f"{name} is for {', '.join(formats)}, not for {chosen}")
