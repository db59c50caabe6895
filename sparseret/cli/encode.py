"""``sparseret encode``: texts as sparse vectors, in words."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from sparseret.cli.console import count
from sparseret.cli.encoders import note_license, note_truncated, resolve_encoder
from sparseret.cli.options import EncoderOptions, parse_options

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import Console

    from sparseret.protocols import CollectionEncoder, Encoder

__all__ = ["encode_command"]

_BAR = 40


def encode_command(
    texts: Annotated[
        list[str],
        typer.Argument(metavar="TEXT...", help="Texts, or - for one a line of standard input."),
    ],
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Encoder, such as splade:FOLDER, or auto.", show_default="that of --index"
        ),
    ] = None,
    encoder_option: EncoderOptions = None,
    index: Annotated[
        Path | None,
        typer.Option(
            help="Use the encoder of this index, with its statistics.", show_default=False
        ),
    ] = None,
    query: Annotated[
        bool, typer.Option("--query", help="Encode as queries; else as documents.")
    ] = False,
    top: Annotated[
        int | None, typer.Option(min=1, help="Terms to print.", show_default="20; all with --json")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object a text, as in a pipe.")
    ] = False,
) -> None:
    """Show what a text becomes: its terms and their weights, as bars.

    sparseret encode "lift of a wing" --encoder splade:my-model --top 15

    sparseret encode "lift of a wing" --index my.idx --query

    sparseret encode - --encoder splade:my-model --json < texts.txt
    """
    if (encoder is None) == (index is None):
        raise typer.BadParameter("give either --encoder or --index")
    if encoder is None and encoder_option:
        raise typer.BadParameter("--encoder-option goes with --encoder")
    given = [line.rstrip("\r\n") for line in sys.stdin] if texts == ["-"] else texts
    with _encoder(encoder, encoder_option, index, query=query) as made:
        encode = made.encode_queries if query else made.encode_documents
        rows = encode(given, show_progress=len(given) > 1 and sys.stderr.isatty())
        note_truncated(made)
        plain = as_json or not sys.stdout.isatty()
        for number, text in enumerate(given):
            inside = slice(int(rows.indptr[number]), int(rows.indptr[number + 1]))
            columns, weights = rows.indices[inside], rows.data[inside]
            order = np.lexsort((columns, -weights))
            if plain:
                _print_json(made, text, columns[order[:top]], weights[order[:top]], len(columns))
            else:
                from rich.console import Console

                shown = order[: top or 20]
                _print_bars(made, text, columns[shown], weights[shown], len(columns), Console())


@contextmanager
def _encoder(
    name: str | None, options: list[str] | None, index: Path | None, *, query: bool
) -> Iterator[Encoder]:
    from sparseret.errors import ConfigurationError
    from sparseret.protocols import CollectionEncoder, DenseEncoder
    from sparseret.registry import load_encoder
    from sparseret.retriever import Retriever

    if index is not None:
        with Retriever.open(index) as retriever:
            current = retriever.current_encoder
            if isinstance(current, DenseEncoder):
                raise ConfigurationError(f"{index} begins with a leg of dense vectors: no terms")
            yield current
        return
    encoder = load_encoder(resolve_encoder(name or ""), parse_options(options))
    if isinstance(encoder, CollectionEncoder) and (query or not _weighs_alone(encoder)):
        raise ConfigurationError(
            f"the weights of {encoder.name} depend on a collection: index one, and give --index"
        )
    note_license(encoder)
    yield encoder


def _weighs_alone(encoder: CollectionEncoder) -> bool:
    """Whether it encodes documents without statistics, as DeepImpact does and BM25 does not."""
    from sparseret.errors import ConfigurationError

    try:
        encoder.encode_documents([])
    except ConfigurationError:
        return False
    return True


def _print_json(
    encoder: Encoder,
    text: str,
    columns: NDArray[np.int32],
    weights: NDArray[np.float32],
    nnz: int,
) -> None:
    terms = [
        {"term": encoder.term(column), "column": column, "weight": weight}
        for column, weight in zip(columns.tolist(), weights.tolist(), strict=True)
    ]
    print(json.dumps({"text": text, "nnz": nnz, "terms": terms}, ensure_ascii=False))


def _print_bars(
    encoder: Encoder,
    text: str,
    columns: NDArray[np.int32],
    weights: NDArray[np.float32],
    nnz: int,
    console: Console,
) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print(Text(text, "bold"))
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(justify="right")
    table.add_column(justify="right", style="dim")
    table.add_column()
    most = float(np.abs(weights).max(initial=0.0)) or 1.0
    said = text.casefold()
    for column, weight in zip(columns.tolist(), weights.tolist(), strict=True):
        term = encoder.term(column)
        # What the text does not say is what the encoder adds to it.
        added = term.casefold().strip("#▁Ġ ") not in said
        bar = "█" * max(1, round(abs(weight) / most * _BAR))
        table.add_row(Text(term), f"{weight:.3f}", Text(bar, "green" if added else "cyan"))
    console.print(table)
    more = f", the {len(columns)} heaviest shown" * (nnz > len(columns))
    console.print(Text(f"{count(nnz, 'term')}{more}; green ones are not in the text", "dim"))
