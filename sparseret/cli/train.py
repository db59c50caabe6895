"""``sparseret train``: models that are made from one's own data."""

from __future__ import annotations

import sys
from enum import Enum
from typing import Annotated

import typer

from sparseret.cli.train_concepts import concepts_command
from sparseret.cli.train_docids import docids_command
from sparseret.cli.train_graph import graph_command
from sparseret.cli.train_source import (
    EncodedBy,
    ModelOption,
    OutOption,
    SourceArgument,
    train_source,
)

__all__ = ["train_app"]

train_app = typer.Typer(no_args_is_help=True, help="Train on your own documents or vectors.")
train_app.command("concepts")(concepts_command)
train_app.command("graph")(graph_command)
train_app.command("docids")(docids_command)


class RecipeName(str, Enum):
    """Published kinds of autoencoders."""

    k_sparse = "k-sparse"
    topk = "topk"
    mutual_choice = "mutual-choice"
    feature_choice = "feature-choice"
    csr = "csr"
    csr_v2 = "csr-v2"


@train_app.callback()
def root() -> None:
    """Train on your own documents or vectors."""


@train_app.command("autoencoder")
def autoencoder_command(
    source: SourceArgument,
    out: OutOption,
    model: ModelOption = None,
    encoder: EncodedBy = None,
    latents: Annotated[
        int | None,
        typer.Option(min=2, help="Columns of the codes.", show_default="4 times the features"),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Latents that a code keeps.")] = 32,
    query_k: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="For queries, so many products with latents in place of a code: slower, and "
            "ranks more as the dense vectors do.",
            show_default="codes",
        ),
    ] = None,
    recipe: Annotated[
        RecipeName, typer.Option(help="How it is trained (docs/codes.md).")
    ] = RecipeName.csr,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the vectors.")] = 40,
    batch_size: Annotated[int, typer.Option(min=2, help="Vectors of a step.")] = 256,
    learning_rate: Annotated[float, typer.Option(help="Of Adam.")] = 1e-3,
    short: Annotated[
        bool,
        typer.Option("--short/--whole", help="Train on titles and some sentences, too."),
    ] = False,
    refit: Annotated[
        bool,
        typer.Option(
            "--refit", help="Fit the values of chosen latents anew: better and slower codes."
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is random.")] = 0,
    device: Annotated[str, typer.Option(help="Of torch, such as cuda.")] = "cpu",
) -> None:
    """A k-sparse autoencoder: dense vectors to sparse codes.

    From documents it makes an encoder, model included:

        sparseret train autoencoder corpus.jsonl --model my-dense-model --out my-codes

        sparseret index corpus.jsonl --encoder codes:my-codes

    With a sparse encoder in place of a dense model, `sparse-codes` takes the place of `codes`:

        sparseret train autoencoder corpus.jsonl --encoder splade:my-model --latents 4096
        --out my-codes

    From vectors it makes a codec, the option `codec` of that encoder:

        sparseret train autoencoder vectors.npy --latents 4096 -k 64 --out my-codec
    """
    from sparseret.encoders.autoencoder_training import AutoencoderTrainer

    trainer = AutoencoderTrainer(
        latents, k, recipe.value, epochs=epochs, batch_size=batch_size,
        learning_rate=learning_rate, refit=refit, seed=seed, device=device,
    )  # fmt: skip
    show = sys.stderr.isatty()
    told = train_source(
        source, out, lambda found: trainer.fit(found, show_progress=show).codec,
        model=model, encoder=encoder, short=short, query_k=query_k, device=device,
    )  # fmt: skip
    last = trainer.history[-1]
    print(f"{out}: {told}")
    print(
        f"{len(trainer.history):,} steps; error {last.reconstruction:.3f} of the variance, "
        f"{last.dead:.1%} of latents idle"
    )


@train_app.command("codec")
def codec_command(
    name: Annotated[
        str,
        typer.Argument(
            help="dictionary, discrete-sparse-coding, vq, or drawn at random: expansion-hashing, "
            "losse, random-projection, sdr-dense.",
            show_default=False,
        ),
    ],
    source: SourceArgument,
    out: OutOption,
    model: ModelOption = None,
    encoder: EncodedBy = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            "-O",
            metavar="KEY=VALUE",
            help="Option of the codec, such as dim=1024; repeat it for more.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Another codec: a dictionary, codebooks, hashes, projections.

    From documents it makes an encoder, model included, from vectors a codec:

        sparseret train codec vq corpus.jsonl --model my-dense-model -O codebooks=48
        -O entries=256 --out my-codes

        sparseret train codec dictionary vectors.npy -O dim=1024 -O k=16 --out my-codec
    """
    from sparseret.cli.options import parse_options
    from sparseret.train.codes import train_codec

    options = parse_options(option)
    show = sys.stderr.isatty()
    told = train_source(
        source, out, lambda found: train_codec(name, found, options, show_progress=show),
        model=model, encoder=encoder,
    )  # fmt: skip
    print(f"{out}: {told}")
