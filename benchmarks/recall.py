"""Recall asked for, and recall found on other queries: ``python -m benchmarks recall``.

An index is tuned on one half of the queries, drawn at random, and searched with the other half; so
several times. Writes recall-CORPUS.json and .md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.environment import Environment, environment, environment_lines
from benchmarks.markdown import table
from benchmarks.own_index import fresh_index
from benchmarks.records_io import write_json
from benchmarks.say import say
from benchmarks.vectors.corpora import VectorCorpus, load_vectors
from benchmarks.vectors.truth import Truth, exact_top
from sparseret.indexers.inverted import InvertedIndex

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["RecallReport", "main", "markdown"]

_LEVELS = (0.9, 0.95, 0.97, 0.99, 0.995)
_SEED = 23


@dataclass(frozen=True)
class Kept:
    """One recall that was asked for."""

    asked: float
    achieved: tuple[float, ...]
    """On the held-out queries of each split."""

    @property
    def mean(self) -> float:
        """Over the splits."""
        return float(np.mean(self.achieved))


@dataclass(frozen=True)
class RecallReport:
    """Everything measured on one corpus."""

    environment: Environment
    corpus: str
    documents: int
    k: int
    queries: int
    """Of each half."""
    kept: tuple[Kept, ...]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks recall", description=__doc__)
    parser.add_argument("--corpus", nargs="+", required=True)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--queries", type=int, default=2000, help="both halves together")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args(arguments)
    for name in options.corpus:
        say(f"{name}: reading")
        report = _one_corpus(load_vectors(name), options)
        out = options.out / f"recall-{name.replace(':', '-')}"
        write_json(out.with_name(out.name + ".json"), report)
        text = markdown(report)
        out.with_name(out.name + ".md").write_text(text, encoding="utf-8")
        print(text)


def _one_corpus(corpus: VectorCorpus, options: argparse.Namespace) -> RecallReport:
    rng = np.random.default_rng(_SEED)
    queries = corpus.queries[rng.permutation(corpus.queries.shape[0])[: options.queries]]
    n = queries.shape[0]
    say(f"{corpus.name}: exact answers of {n} queries")
    truth = exact_top(corpus.chunks(), queries, [options.k])[options.k]
    say(f"{corpus.name}: building")
    splits = []
    with fresh_index(corpus, "recall") as index:
        for split in range(options.splits):
            say(f"{corpus.name}: split {split + 1} of {options.splits}")
            order = rng.permutation(n)
            index.tune(queries[np.sort(order[: n // 2])])
            splits.append(_held_out(index, queries, truth, options.k, order[n // 2 :]))
    return RecallReport(
        environment(("sparseret", "numpy", "scipy")), corpus.name, corpus.n_documents, options.k,
        n // 2, tuple(map(Kept, _LEVELS, zip(*splits, strict=True))),
    )  # fmt: skip


def _held_out(
    index: InvertedIndex, queries: csr_array, truth: Truth, k: int, held_out: np.ndarray
) -> list[float]:
    """Mean recall at each level."""
    achieved = []
    for level in _LEVELS:
        found = index.search(queries, k, recall=level).ids
        recalls = truth.recall([[int(id) for id in row] for row in found])
        achieved.append(float(recalls[held_out].mean()))
    return achieved


def markdown(report: RecallReport) -> str:
    """The report for people."""
    rows = [
        [f"{kept.asked:g}", f"{kept.mean:.4f}", f"{min(kept.achieved):.4f}",
         f"{max(kept.achieved):.4f}"]
        for kept in report.kept
    ]  # fmt: skip
    return "\n".join(
        [
            f"# {report.corpus}: recall asked for and found",
            "",
            *environment_lines(report.environment),
            "",
            f"{report.documents:,} documents, top {report.k}; tuned on {report.queries} queries "
            f"and searched with {report.queries} others, {len(report.kept[0].achieved)} times.",
            "",
            *table(("asked", "found, mean", "lowest", "highest"), rows),
            "",
        ]
    )
