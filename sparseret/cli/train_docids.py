"""``sparseret train docids``: a softmax over the documents of a small corpus."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sparseret.cli.train_source import DocumentsArgument

__all__ = ["docids_command"]


def docids_command(
    source: DocumentsArgument,
    model: Annotated[
        str,
        typer.Option(
            help="Dense model of sentence-transformers that encodes documents and queries: its "
            "folder, or a repository's id.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="File to write, new.", show_default=False)
    ],
    queries: Annotated[
        Path | None,
        typer.Option(help="Queries to train on, .jsonl or .tsv.", show_default=False),
    ] = None,
    qrels: Annotated[
        Path | None,
        typer.Option(help="Their judgements, of BEIR or TREC.", show_default=False),
    ] = None,
    document_epochs: Annotated[
        int, typer.Option(min=0, help="Passes over passages and sampled terms.")
    ] = 1,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the queries.")] = 10,
    hidden: Annotated[
        int, typer.Option(min=0, help="Units of a layer between query and documents.")
    ] = 0,
    candidates: Annotated[
        int | None,
        typer.Option(min=1, help="Documents drawn for the softmax of a step.", show_default="all"),
    ] = None,
    random: Annotated[
        bool, typer.Option("--random", help="Start from random rows, not from dense vectors.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Examples of a step.")] = 128,
    learning_rate: Annotated[float, typer.Option(help="Of Adam.")] = 1e-3,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is random.")] = 0,
    device: Annotated[str, typer.Option(help="Of torch, such as cuda.")] = "cpu",
) -> None:
    """A docid model: dense vectors of queries to documents, by a softmax that was trained on them.

        sparseret train docids corpus.jsonl --model my-dense-model --queries queries.jsonl
        --qrels qrels/train.tsv --out my.docids

    It is searched from Python (docs/docid-model.md); `sparseret search` does not read it.
    """
    from sparseret.eval.datasets import read_qrels
    from sparseret.readers import read_documents, read_queries
    from sparseret.train.docid_training import DocidTrainer
    from sparseret.train.docids import train_docids

    if (queries is None) != (qrels is None):
        raise typer.BadParameter("--queries and --qrels go together")
    trainers = [
        DocidTrainer(
            start="random" if random and first else "current", hidden=hidden, epochs=passes,
            batch_size=batch_size, learning_rate=learning_rate, candidates=candidates, seed=seed,
            device=device,
        ) if passes else None
        for passes, first in (
            (document_epochs, True), (epochs if queries else 0, not document_epochs)
        )
    ]  # fmt: skip
    index = train_docids(
        model,
        (record.document for record in read_documents(source)),
        out,
        on_documents=trainers[0],
        on_queries=trainers[1],
        queries=None if queries is None else {q.id: q.text for q in read_queries(queries)},
        judgements=None if qrels is None else read_qrels(qrels),
        seed=seed,
        device=device,
        show_progress=sys.stderr.isatty(),
    )
    print(f"{out}: {len(index):,} documents, {index.untrained:,} of them in no example")
    for trainer, what in zip(trainers, ("passages and terms", "queries"), strict=True):
        if trainer is not None:
            print(f"loss over {what}: {trainer.history[0]:.3f} to {trainer.history[-1]:.3f}")
