"""Model-based retrieval, trained and not: ``python -m benchmarks docids``.

Docid models of collections that have judged training queries, beside the dense vectors they start
from, by nDCG@10 on the test queries. With --split dev a development split judges instead: defaults
were chosen by that. Needs torch and transformers. Prints a table.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.codes import cached_vectors
from benchmarks.markdown import table
from benchmarks.say import say
from sparseret.encoders.dense_text import DenseText, load_dense
from sparseret.encoders.model_folder import find_folder
from sparseret.eval.datasets import Dataset, load_dataset
from sparseret.eval.measures import measure
from sparseret.eval.runs import RankedDocument
from sparseret.indexers.docid_model import DocidIndex
from sparseret.readers import read_documents
from sparseret.train.docid_training import DocidTrainer
from sparseret.train.docids import DocidExample, passage_examples, query_examples, term_examples

__all__ = ["main"]

_MEASURE = "nDCG@10"
_LATE = 5
"""One in so many documents is added after the training."""


class Examples(NamedTuple):
    """Vectors, and the documents that are right for each."""

    vectors: NDArray[np.float32]
    right: list[tuple[str, ...]]

    def __add__(self, other: object) -> Examples:
        """Both."""
        if not isinstance(other, Examples):
            return NotImplemented
        vectors = np.concatenate([self.vectors, other.vectors])
        return Examples(vectors, self.right + other.right)

    def of(self, known: set[str]) -> Examples:
        """Those that have right documents among some, and these of them."""
        left = [tuple(id for id in right if id in known) for right in self.right]
        rows = [place for place, right in enumerate(left) if right]
        return Examples(self.vectors[rows], [left[row] for row in rows])


class Material(NamedTuple):
    """A collection as vectors."""

    dataset: Dataset
    ids: list[str]
    documents: NDArray[np.float32]
    asked: NDArray[np.float32]
    passages: Examples
    terms: Examples
    queries: Examples


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks docids", description=__doc__)
    parser.add_argument("--model", required=True, help="folder of a sentence-transformers model")
    parser.add_argument("--sets", nargs="+", required=True, help="folders in BEIR's layout")
    parser.add_argument("--split", default="test", help="that judges")
    parser.add_argument("--epochs", type=int, default=10, help="passes over the queries")
    options = parser.parse_args(arguments)
    dense = load_dense(find_folder(options.model))
    columns = [_rate(_material(s, dense, options.split), options.epochs) for s in options.sets]
    names = [Path(source).name for source in options.sets]
    rows = [[label, *(_shown(column[label]) for column in columns)] for label in columns[0]]
    print("\n".join(table([_MEASURE, *names], rows)))


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _material(source: str, dense: DenseText, split: str) -> Material:
    name = Path(source).name
    dataset, training = load_dataset(source, split), load_dataset(source, "train")
    documents = [record.document for record in read_documents(dataset.corpus)]
    ids = [document.id for document in documents]
    texts = {query.id: query.text for query in training.queries}

    def examples(what: str, found: Sequence[DocidExample]) -> Examples:
        vectors = cached_vectors(name, what, dense, [example.text for example in found])
        return Examples(vectors, [example.right for example in found])

    # Judged queries have the name under which other benchmarks keep their vectors.
    asked = "queries" if split == "test" else f"queries-{split}"
    return Material(
        dataset,
        ids,
        cached_vectors(name, "documents", dense, [document.content for document in documents]),
        cached_vectors(name, asked, dense, [query.text for query in dataset.queries]),
        examples("parts", list(passage_examples(documents))),
        examples("docid-terms", term_examples(documents)),
        examples("queries-train", query_examples(texts, training.qrels, ids)),
    )


def _rate(m: Material, epochs: int) -> dict[str, float | None]:
    texts = m.passages + m.terms
    once, often = DocidTrainer(epochs=1), DocidTrainer(epochs=epochs)
    vanilla = DocidTrainer(start="random", epochs=3, learning_rate=1e-2)
    stages = {
        "dense vectors": [],
        "random rows; passages and terms, 3 passes": [(vanilla, texts)],
        "passages": [(once, m.passages)],
        "passages and terms": [(once, texts)],
        "queries": [(often, m.queries)],
        "passages and terms, then queries": [(once, texts), (often, m.queries)],
        "the same, 256 hidden units": [
            (DocidTrainer(epochs=1, hidden=256), texts), (often, m.queries),
        ],
        "the same, softmax of 512 drawn documents": [
            (DocidTrainer(epochs=1, candidates=512), texts),
            (DocidTrainer(epochs=epochs, candidates=512), m.queries),
        ],
    }  # fmt: skip
    seen = {id for right in m.queries.right for id in right}
    unseen = {
        query
        for query, grades in m.dataset.qrels.items()
        if not any(grade > 0 and id in seen for id, grade in grades.items())
    }
    found: dict[str, float | None] = {}
    first, last = "dense vectors", "passages and terms, then queries"
    for label, steps in stages.items():
        found[label] = _search(m, steps)
        say(f"{m.dataset.name}, {label}: {found[label]:.4f}")
    for label in (first, last):
        few = _search(m, stages[label], judged=unseen) if unseen else None
        found[f"{label}; queries of unseen documents"] = few
        say(f"{m.dataset.name}, {label}; {len(unseen)} queries of unseen documents: {few}")
    label = f"{last}, then a fifth of the documents added"
    found[label] = _search(m, stages[last], late=range(0, len(m.ids), _LATE))
    say(f"{m.dataset.name}, {label}: {found[label]:.4f}")
    return found


def _search(
    m: Material,
    steps: Sequence[tuple[DocidTrainer, Examples]],
    *,
    late: range = range(0),
    judged: set[str] | None = None,
) -> float:
    """nDCG@10 over all or some queries, of an index trained before ``late`` rows are added."""
    added = [*late]
    early = np.setdiff1d(np.arange(len(m.ids)), added).tolist()
    known = {m.ids[row] for row in early}
    with tempfile.TemporaryDirectory() as folder:
        index = DocidIndex.create(Path(folder, "docids"), m.documents.shape[1])
        index.add([m.ids[row] for row in early], m.documents[early])
        index.commit()
        for trainer, examples in steps:
            chosen = examples.of(known)
            trainer.fit(index, chosen.vectors, chosen.right)
            index.commit()
        if added:
            index.add([m.ids[row] for row in added], m.documents[added])
            index.commit()
        hits = index.search(m.asked, 10)
    qrels = m.dataset.qrels
    asked = qrels.keys() if judged is None else judged
    run = {
        query.id: [RankedDocument(*hit) for hit in zip(ids, scores.tolist(), strict=True)]
        for query, ids, scores in zip(m.dataset.queries, hits.ids, hits.scores, strict=True)
        if query.id in asked
    }
    return measure(run, {query: qrels[query] for query in asked}, [_MEASURE]).mean[_MEASURE]
