"""``sparseret eval-codes``: what sparse codes lose, and how they are used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from sparseret.encoders.codes import CodesEncoder
    from sparseret.encoders.sparse_codes import SparseCodesEncoder
    from sparseret.eval.code_card import CodeCard
    from sparseret.eval.code_retrieval import CodeRetrieval
    from sparseret.protocols import Codec

__all__ = ["eval_codes_command"]


def eval_codes_command(
    folder: Annotated[
        Path,
        typer.Argument(
            help="An encoder of codes, or a codec (sparseret train).",
            show_default=False,
        ),
    ],
    vectors: Annotated[
        Path | None,
        typer.Option(help="Vectors to rate it on: a .npy or .npz file.", show_default=False),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Collection to rate an encoder on, and to search: a folder in BEIR's layout, or "
            "a name as of 'eval'.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[
        list[int] | None,
        typer.Option(
            "-k",
            min=1,
            help="Latents to keep, of an autoencoder; repeat it for more.",
            show_default="as it is saved",
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="The same of another seed, for stability.", show_default=False),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Classes of the vectors, a line each, for sparse probes.", show_default=False
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Draw how often latents are active: .png, .svg or .pdf.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Rate codes: error, dead and dense latents, stability, retrieval.

    sparseret eval-codes my-codec --vectors held-out.npy

    sparseret eval-codes my-codes --dataset nfcorpus -k 8 -k 32
    """
    if (vectors is None) == (dataset is None):
        raise typer.BadParameter("give either --vectors or --dataset")
    if labels is not None and vectors is None:
        raise typer.BadParameter("--labels goes with --vectors")
    from sparseret.eval.plots import check_plot

    if plot is not None:
        check_plot(plot)
    encoder, codec = _open(folder)
    codecs = _of_each_k(codec, k)
    found: list[CodeRetrieval] = []
    if vectors is not None:
        from sparseret.encoders.codecs import open_vectors

        inputs = open_vectors(vectors)
    else:
        from sparseret.eval.code_retrieval import encode_collection, rate_retrieval

        texts = _needed(encoder, folder)
        collection = encode_collection(texts, dataset or "")
        inputs = collection.documents
        found = [rate_retrieval(None, collection)]
        found += [rate_retrieval(made, collection, query_k=texts.query_k) for made in codecs]
    from sparseret.eval.code_card import dictionary_of, match_dictionaries, probe_codes, rate_codes

    cards = [rate_codes(made, inputs) for made in codecs]
    stability = None
    if against is not None:
        stability = match_dictionaries(dictionary_of(codec), dictionary_of(_open(against)[1]))
    probed = None
    if labels is not None:
        classes = labels.read_text("utf-8").splitlines()
        probed = probe_codes(codec.transform(inputs), classes)
    if plot is not None:
        from sparseret.eval.plots import plot_densities

        names = [codec.name] if k is None else [f"k={n}" for n in k]
        plot_densities(plot, [card.densities for card in cards], names)
    if as_json:
        _print_json(cards, found, stability, probed)
    else:
        from sparseret.cli.console import make_console

        console = make_console()
        console.print(codec.description, highlight=False, soft_wrap=True)
        _print(cards, found, stability, probed, console)


def _open(folder: Path) -> tuple[CodesEncoder | SparseCodesEncoder | None, Codec]:
    """The encoder, None where the folder is that of a codec alone, and the codec."""
    from sparseret.encoders.codecs import load_codec
    from sparseret.encoders.codes import CodesEncoder
    from sparseret.encoders.sparse_codes import SparseCodesEncoder
    from sparseret.errors import ConfigurationError
    from sparseret.registry import load_saved_encoder

    if (folder / "encoder.json").exists():
        found = load_saved_encoder(folder)
        if not isinstance(found, (CodesEncoder, SparseCodesEncoder)):
            raise ConfigurationError(f"{folder}: the encoder {found.name} makes no codes")
        return found, found.codec
    if (folder / "modules.json").exists():
        read = CodesEncoder(folder)
        return read, read.codec
    return None, load_codec(folder)


def _of_each_k(codec: Codec, k: list[int] | None) -> list[Codec]:
    from sparseret.encoders.sparse_autoencoder import SparseAutoencoder
    from sparseret.errors import ConfigurationError

    if k is None:
        return [codec]
    if not isinstance(codec, SparseAutoencoder):
        raise ConfigurationError(f"-k goes with autoencoders, and this is a codec {codec.name}")
    return [codec.with_k(n) for n in k]


def _needed(
    encoder: CodesEncoder | SparseCodesEncoder | None, folder: Path
) -> CodesEncoder | SparseCodesEncoder:
    from sparseret.errors import ConfigurationError

    if encoder is None:
        raise ConfigurationError(
            f"{folder} is a codec alone, which encodes no texts: give --vectors"
        )
    return encoder


def _print(
    cards: list[CodeCard],
    found: list[CodeRetrieval],
    stability: float | None,
    probed: float | None,
    console: Console,
) -> None:
    from rich.table import Table

    table = Table("nnz", box=None)
    for column in ("error", "linear", "nonlinear", "cosine", "dead", "dense"):
        table.add_column(column, justify="right")
    for card in cards:
        table.add_row(
            f"{card.nnz:.1f}", _share(card.normalized_error), _share(card.linear_error),
            _share(card.nonlinear_error), _share(card.cosine), f"{card.dead:.1%}",
            f"{card.dense:.1%}",
        )  # fmt: skip
    console.print(f"{cards[0].n:,} vectors; errors as shares of their variance", highlight=False)
    console.print(table)
    if found:
        table = Table("vectors", box=None)
        for column in ("nDCG@10", "Recall@100"):
            table.add_column(column, justify="right")
        for row in found:
            table.add_row(row.method, f"{row.ndcg:.4f}", f"{row.recall:.4f}")
        console.print(table)
    if stability is not None:
        console.print(f"latents in common with the other: {stability:.3f}", highlight=False)
    if probed is not None:
        console.print(f"balanced accuracy of sparse probes: {probed:.3f}", highlight=False)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _print_json(
    cards: list[CodeCard],
    found: list[CodeRetrieval],
    stability: float | None,
    probed: float | None,
) -> None:
    rows = [
        {
            **{name: value for name, value in card._asdict().items() if name != "densities"},
            "nonlinear_error": card.nonlinear_error,
        }
        for card in cards
    ]
    print(
        json.dumps(
            {
                "cards": rows,
                "retrieval": [row._asdict() for row in found],
                "stability": stability,
                "probe_accuracy": probed,
            }
        )
    )
