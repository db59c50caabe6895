"""``sparseret train``: models that are made from one's own data."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sparseret.encoders.autoencoder_training import AutoencoderTrainer

__all__ = ["train_app"]

train_app = typer.Typer(no_args_is_help=True, help="Train on your own documents or vectors.")


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
    source: Annotated[
        str,
        typer.Argument(
            help="Documents: a .jsonl or .tsv file (also .gz, .zst) or a folder in BEIR's layout, "
            "with --model. Or vectors: a .npy file, a row each, which may be larger than memory.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write, new.", show_default=False)
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Dense model of sentence-transformers that encodes the documents: its folder, or "
            "a repository's id.",
            show_default=False,
        ),
    ] = None,
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

    From vectors it makes a codec, the option `codec` of that encoder:

        sparseret train autoencoder vectors.npy --latents 4096 -k 64 --out my-codec
    """
    from sparseret.encoders.autoencoder_training import AutoencoderTrainer

    trainer = AutoencoderTrainer(
        latents, k, recipe.value, epochs=epochs, batch_size=batch_size,
        learning_rate=learning_rate, refit=refit, seed=seed, device=device,
    )  # fmt: skip
    show = sys.stderr.isatty()
    if source.endswith(".npy"):
        if model is not None or query_k is not None or short:
            raise typer.BadParameter("--model, --query-k and --short go with documents")
        from sparseret.encoders.codecs import open_vectors

        _refuse_used(out)
        trainer.fit(open_vectors(source), show_progress=show).codec.save(out)
        told = trainer.codec.description
    else:
        if model is None:
            raise typer.BadParameter("documents need --model; vectors are in a .npy file")
        from sparseret.readers import read_documents
        from sparseret.train.codes import train_codes

        documents = (record.document for record in read_documents(source))
        encoder = train_codes(
            model, documents, out, trainer, short=short, query_k=query_k, show_progress=show
        )
        told = encoder.description
    _tell(trainer, told, out)


def _refuse_used(out: Path) -> None:
    from sparseret.errors import ConfigurationError

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigurationError(f"{out} exists and is not an empty folder: choose another")


def _tell(trainer: AutoencoderTrainer, what: str, out: Path) -> None:
    last = trainer.history[-1]
    print(f"{out}: {what}")
    print(
        f"{len(trainer.history):,} steps; error {last.reconstruction:.3f} of the variance, "
        f"{last.dead:.1%} of latents idle"
    )
