"""``sparseret train concepts``: codes whose columns are named."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from sparseret.cli.train_source import DocumentsArgument

__all__ = ["concepts_command"]


class LossName(str, Enum):
    """What concepts are trained by."""

    none = "none"
    contrastive = "contrastive"
    gumbel = "gumbel"
    l1 = "l1"


def concepts_command(
    source: DocumentsArgument,
    model: Annotated[
        str,
        typer.Option(
            help="Dense model of sentence-transformers that encodes documents and names: its "
            "folder, or a repository's id.",
            show_default=False,
        ),
    ],
    concepts: Annotated[
        Path, typer.Option(help="Names of concepts, one a line.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write, new.", show_default=False)
    ],
    k: Annotated[int, typer.Option("-k", min=1, help="Concepts that a code keeps.")] = 32,
    loss: Annotated[
        LossName, typer.Option(help="What they are trained by (docs/concepts.md).")
    ] = LossName.contrastive,
    temperature: Annotated[float, typer.Option(help="Of the softmax over the batch.")] = 0.1,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over titles and sentences.")] = 3,
    batch_size: Annotated[int, typer.Option(min=2, help="Pairs of a step.")] = 256,
    learning_rate: Annotated[float, typer.Option(help="Of Adam.")] = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is random.")] = 0,
    device: Annotated[str, typer.Option(help="Of torch, such as cuda.")] = "cpu",
) -> None:
    """A concept bottleneck: dense vectors to codes whose columns have names.

        sparseret train concepts corpus.jsonl --model my-dense-model --concepts names.txt
        --out my-concepts

        sparseret index corpus.jsonl --encoder codes:my-concepts

    With `--loss none` nothing is trained: directions of concepts are the vectors of their names.
    """
    from sparseret.encoders.concept_training import ConceptTrainer
    from sparseret.readers import read_documents
    from sparseret.train.concepts import name_concepts, read_names, train_concepts

    start = name_concepts(model, read_names(concepts), k, device=device)
    trainer = None
    if loss is not LossName.none:
        trainer = ConceptTrainer(
            start, loss.value, temperature=temperature, epochs=epochs, batch_size=batch_size,
            learning_rate=learning_rate, seed=seed, device=device,
        )  # fmt: skip
    documents = (record.document for record in read_documents(source))
    encoder = train_concepts(
        model, documents, out, start, trainer, device=device, show_progress=sys.stderr.isatty()
    )
    print(f"{out}: {encoder.description}")
    if trainer is not None:
        kept = trainer.fidelity()
        print(
            f"{len(trainer.history):,} steps; loss {trainer.history[0]:.3f} to "
            f"{trainer.history[-1]:.3f}; cosine of concepts with their names {kept.mean():.3f}, "
            f"least {kept.min():.3f}"
        )
