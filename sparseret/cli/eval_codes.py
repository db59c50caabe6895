"""``sparseret eval-codes``: what sparse codes lose, and how they are used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from sparseret.encoders.codes import CodesEncoder
    from sparseret.encoders.sparse_autoencoder import SparseAutoencoder
    from sparseret.eval.code_card import CodeCard
    from sparseret.eval.code_retrieval import CodeRetrieval

__all__ = ["eval_codes_command"]


def eval_codes_command(
    folder: Annotated[
        Path,
        typer.Argument(
            help="An encoder of codes, or a codec (sparseret train autoencoder).",
            show_default=False,
        ),
    ],
    vectors: Annotated[
        Path | None,
        typer.Option(help="Dense vectors to rate it on: a .npy file.", show_default=False),
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
            "-k", min=1, help="Latents to keep; repeat it for more.", show_default="as it is saved"
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
    """Rate a dictionary: error, dead and dense latents, stability, retrieval.

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
    found: list[CodeRetrieval] = []
    if vectors is not None:
        from sparseret.encoders.codecs import open_vectors

        inputs = open_vectors(vectors)
    else:
        from sparseret.eval.code_retrieval import encode_collection, rate_retrieval

        collection = encode_collection(_needed(encoder, folder), dataset or "")
        inputs = collection.documents
        query_k = None if encoder is None else encoder.query_k
        found = [rate_retrieval(None, collection)]
        found += [
            rate_retrieval(codec.with_k(n) if n != codec.k else codec, collection, query_k=query_k)
            for n in (k or [codec.k])
        ]
    from sparseret.eval.code_card import match_dictionaries, probe_codes, rate_codes

    cards = [rate_codes(codec.with_k(n) if k else codec, inputs) for n in (k or [codec.k])]
    stability = None
    if against is not None:
        stability = match_dictionaries(
            codec.weights.dictionary, _open(against)[1].weights.dictionary
        )
    probed = None
    if labels is not None:
        classes = labels.read_text("utf-8").splitlines()
        probed = probe_codes(codec.transform(inputs), classes)
    if plot is not None:
        from sparseret.eval.plots import plot_densities

        plot_densities(plot, [card.densities for card in cards], [f"k={n}" for n in k or [codec.k]])
    if as_json:
        _print_json(cards, found, stability, probed)
    else:
        from sparseret.cli.console import make_console

        console = make_console()
        console.print(codec.description, highlight=False, soft_wrap=True)
        _print(cards, found, stability, probed, console)


def _open(folder: Path) -> tuple[CodesEncoder | None, SparseAutoencoder]:
    from sparseret.encoders.codecs import load_codec
    from sparseret.encoders.codes import CodesEncoder
    from sparseret.encoders.sparse_autoencoder import SparseAutoencoder
    from sparseret.errors import ConfigurationError

    if (folder / "modules.json").exists():
        saved = (folder / "encoder.json").exists()
        encoder = CodesEncoder.load(folder) if saved else CodesEncoder(folder)
        codec = encoder.codec
    else:
        encoder, codec = None, load_codec(folder)
    if not isinstance(codec, SparseAutoencoder):
        raise ConfigurationError(f"{folder}: {codec.name} does not reconstruct vectors")
    return encoder, codec


def _needed(encoder: CodesEncoder | None, folder: Path) -> CodesEncoder:
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
            f"{card.nnz:.1f}", f"{card.normalized_error:.3f}", f"{card.linear_error:.3f}",
            f"{card.nonlinear_error:.3f}", f"{card.cosine:.3f}", f"{card.dead:.1%}",
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
