"""``sparseret index``: make an index of a corpus, or add to one."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparseret.cli.chunks import (
    ChunkByOption,
    ChunkOverlapOption,
    ChunkWordsOption,
    parse_chunking,
)
from sparseret.cli.console import count
from sparseret.cli.encoders import note_license, note_truncated
from sparseret.cli.legs import (
    DenseOption,
    FusionOption,
    dense_settings,
    leg_encoders,
    leg_options,
    parse_fusion,
)
from sparseret.cli.options import EncoderOptions, parse_size
from sparseret.cli.recall import merge_with_progress

if TYPE_CHECKING:
    from sparseret.chunks import Chunking
    from sparseret.indexers.dense_settings import DenseSettings
    from sparseret.indexers.fusion import Fusion
    from sparseret.indexers.reduction import Reduction
    from sparseret.legs import AnyEncoder
    from sparseret.parents import ParentRetriever
    from sparseret.readers import BadLine
    from sparseret.retriever import Retriever

__all__ = ["index_command"]

_SHOWN_BAD_LINES = 10


class OnError(str, Enum):
    """What to do at a bad line."""

    stop = "stop"
    skip = "skip"


class Format(str, Enum):
    """How lines are written."""

    jsonl = "jsonl"
    tsv = "tsv"


class PrecisionName(str, Enum):
    """How weights are stored."""

    float32 = "float32"
    float16 = "float16"
    uint8 = "uint8"


def index_command(
    corpus: Annotated[
        str,
        typer.Argument(
            help="A .jsonl or .tsv file (also .gz, .zst), a folder in BEIR's layout, or - for "
            "standard input.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder of the index.", show_default="the corpus's name + .idx"
        ),
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            help="Encoder of a new index: bm25, splade:FOLDER, inference-free:FOLDER or another "
            "(docs/encoders.md), or auto for the best at hand. Several make an index of several "
            "legs, such as --encoder bm25 --encoder dense:FOLDER (docs/hybrid.md).",
            show_default="bm25",
        ),
    ] = None,
    encoder_option: EncoderOptions = None,
    update: Annotated[
        bool,
        typer.Option("--update", help="Replace documents whose ids are in the index already."),
    ] = False,
    on_error: Annotated[
        OnError, typer.Option(help="At a line that cannot be read, stop or skip it.")
    ] = OnError.stop,
    format: Annotated[
        Format | None,
        typer.Option(help="Form of the lines.", show_default="by the file's suffix"),
    ] = None,
    filter_field: Annotated[
        list[str] | None,
        typer.Option(
            help="Metadata field that filters should find fast; repeat it for more. Only for a "
            "new index.",
            show_default=False,
        ),
    ] = None,
    order_by: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="Metadata field in whose ascending order the documents come; filters on it are "
            "then fastest. Only for a new index.",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        PrecisionName | None,
        typer.Option(
            help="Round weights when they are added, for a smaller index: to half precision, or "
            "to 255 steps up to --largest. Only for a new index of weights.",
            show_default="float32",
        ),
    ] = None,
    largest: Annotated[
        float | None,
        typer.Option(
            help="With --precision uint8, the largest weight to expect.", show_default=False
        ),
    ] = None,
    mass: Annotated[
        float | None,
        typer.Option(
            help="Keep this share of each document's weight, in its heaviest terms. Only for a "
            "new index of weights.",
            show_default="1",
        ),
    ] = None,
    max_terms: Annotated[
        int | None,
        typer.Option(
            help="Keep at most so many of a document's heaviest terms. Only for a new index of "
            "weights.",
            show_default="all",
        ),
    ] = None,
    chunk_words: ChunkWordsOption = None,
    chunk_overlap: ChunkOverlapOption = None,
    chunk_by: ChunkByOption = None,
    dense: DenseOption = None,
    fusion: FusionOption = None,
    commit_every: Annotated[
        int, typer.Option(min=1, help="Documents between two commits.")
    ] = 100_000,
    memory: Annotated[
        int | None,
        typer.Option(
            parser=parse_size,
            metavar="SIZE",
            help="Memory for vectors until they are written, such as 2GB; more makes building "
            "faster. What has come by a commit is written then, so more documents a commit make "
            "use of it.",
            show_default="256MiB",
        ),
    ] = None,
    merge: Annotated[
        bool, typer.Option(help="Merge all segments at the end, for the fastest search.")
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.")] = False,
) -> None:
    """Index documents; run it again to continue after an interruption.

    A line of JSON has "_id" and "text", and where wanted "title" and further fields, which become
    metadata for filters:

        {"_id": "1", "title": "Wings", "text": "The lift of ...", "year": 1958}

    Make an index, then search it:

        sparseret index corpus.jsonl --out my.idx

        sparseret search my.idx "lift of a wing"

    Learned weights, from a folder of a model or the Hugging Face Hub:

        sparseret index corpus.jsonl --encoder splade:my-model

    Other parameters and languages:

        sparseret index corpus.tsv.gz -O k1=0.9 -O b=0.4 -O language=german

    Words and meaning in one index:

        sparseret index corpus.jsonl --encoder bm25 --encoder dense:my-model --fusion min-max

    Long documents, found by their best passages:

        sparseret index books.jsonl --chunk-words 200 --chunk-overlap 40

    A large corpus, in fewer and larger steps:

        sparseret index corpus.jsonl.zst --memory 4GB --commit-every 1000000

    Add more documents, replacing those with the same id:

        zstd -dc more.jsonl.zst | sparseret index - --out my.idx --update
    """
    from sparseret.ingest import ingest
    from sparseret.parents import ParentRetriever
    from sparseret.progress import progress_bar
    from sparseret.readers import corpus_size

    if out is None:
        if corpus == "-":
            raise typer.BadParameter("--out is needed when reading standard input")
        out = _default_folder(corpus)
    show = not quiet and sys.stderr.isatty()
    size = corpus_size(corpus)
    bad: list[BadLine] = []

    def note(line: BadLine) -> None:
        bad.append(line)
        if len(bad) <= _SHOWN_BAD_LINES:
            print(f"skipped {line.path}:{line.line}: {line.reason}", file=sys.stderr)

    created = not (out / "catalog.sqlite").exists()
    reduction = _reduction(precision, largest, mass, max_terms)
    encoders = leg_encoders(encoder)
    retriever = _open(
        out, encoders, leg_options(encoders, encoder_option), filter_field or [], order_by,
        reduction, dense_settings(dense), parse_fusion(fusion), memory,
        parse_chunking(chunk_words, chunk_overlap, chunk_by),
    )  # fmt: skip
    chunks = retriever.retriever if isinstance(retriever, ParentRetriever) else retriever
    if created and not quiet:
        for each in retriever.encoders.values():
            note_license(each)
    with _discard_if_empty(retriever, created), retriever:
        before = len(retriever)
        with progress_bar("Indexing", size, show=show, unit="bytes") as advance:
            read = 0

            def step(_: int, offset: int) -> None:
                nonlocal read
                advance(offset - read)
                read = offset

            report = ingest(
                retriever,
                corpus,
                update=update,
                on_error=on_error.value,
                on_skip=note,
                format=format.value if format else None,
                commit_every=commit_every,
                advance=step,
            )
            advance((size or read) - read)
        if merge:
            merge_with_progress(chunks, show=show)
        total = len(retriever)
    if quiet:
        return
    for each in retriever.encoders.values():
        note_truncated(each)
    if report.complete_before:
        print(f"{corpus} is in {out} already: nothing to do (--update reads it again)")
    else:
        resumed = f", continued after line {report.resumed_after}" * bool(report.resumed_after)
        skipped = f", {count(report.skipped, 'bad line')} skipped" * bool(report.skipped)
        replaced = report.added - (total - before)
        updated = f", {replaced} of them replaced" * bool(replaced)
        print(f"{count(report.added, 'document')} indexed{updated}{skipped}{resumed}")
    # Measured when closed: SQLite's log is gone then.
    size_now = retriever.n_bytes / 1e6
    print(f"{out}: {count(total, 'document')}, {size_now:.1f} MB, {retriever.description}")


@contextmanager
def _discard_if_empty(retriever: Retriever | ParentRetriever, created: bool) -> Iterator[None]:
    """A failed first run leaves no empty index behind, whose options would bind the next."""
    from sparseret.errors import SparseretError

    try:
        yield
    except SparseretError:
        if created and not len(retriever):
            shutil.rmtree(retriever.path)
        raise


def _default_folder(corpus: str) -> Path:
    from sparseret.linefile import COMPRESSIONS

    path = Path(corpus)
    if path.is_dir():
        return Path(path.resolve().name + ".idx")
    # "wiki.de.jsonl.gz" and "wiki.en.jsonl.gz" must not end in one index.
    if path.suffix.lower() in COMPRESSIONS:
        path = path.with_suffix("")
    return Path(path.stem + ".idx")


def _reduction(
    precision: PrecisionName | None,
    largest: float | None,
    mass: float | None,
    max_terms: int | None,
) -> Reduction | None:
    """What the options ask for, None where they were not used."""
    if precision is None and largest is None and mass is None and max_terms is None:
        return None
    from sparseret.indexers.reduction import Reduction

    return Reduction(
        precision.value if precision else "float32", largest, 1.0 if mass is None else mass,
        max_terms,
    )  # fmt: skip


def _open(
    out: Path,
    encoder: str | dict[str, str] | None,
    options: dict[str, Any],
    filter_fields: list[str],
    order_by: str | None,
    reduction: Reduction | None,
    dense: DenseSettings | None,
    fusion: Fusion | None,
    memory: int | None,
    chunking: Chunking | None,
) -> Retriever | ParentRetriever:
    """The index at ``out``, made if there is none."""
    from sparseret.errors import IndexExistsError
    from sparseret.parents import ParentRetriever, open_retriever
    from sparseret.registry import load_any_encoder
    from sparseret.retriever import Retriever

    try:
        if chunking is not None:
            return ParentRetriever.create(
                out, encoder or "bm25", chunking=chunking, encoder_options=options,
                filter_fields=filter_fields, order_by=order_by, reduction=reduction, dense=dense,
                fusion=fusion, memory_budget=memory,
            )  # fmt: skip
        return Retriever.create(
            out, encoder or "bm25", encoder_options=options, filter_fields=filter_fields,
            order_by=order_by, reduction=reduction, dense=dense, fusion=fusion,
            memory_budget=memory,
        )  # fmt: skip
    except IndexExistsError:
        if not (out / "catalog.sqlite").exists():
            raise
    if filter_fields:
        raise typer.BadParameter(f"--filter-field is for a new index; {out} exists")
    if order_by:
        raise typer.BadParameter(f"--order-by is for a new index; {out} exists")
    if reduction is not None:
        raise typer.BadParameter(
            f"--precision, --largest, --mass and --max-terms are for a new index; {out} exists"
        )
    if dense is not None or fusion is not None:
        raise typer.BadParameter(f"--dense and --fusion are for a new index; {out} exists")
    # Named again, encoders must be those the index was made with.
    given: AnyEncoder | dict[str, AnyEncoder] | None = None
    if isinstance(encoder, dict):
        given = {name: load_any_encoder(each, options.get(name)) for name, each in encoder.items()}
    elif encoder or options:
        given = load_any_encoder(encoder or "bm25", options)
    if chunking is not None:  # named again, it must be that of the index
        return ParentRetriever.open(out, given, chunking=chunking, memory_budget=memory)
    return open_retriever(out, given, memory_budget=memory)
