"""Random projection, hashing, and embedding of a graph: ``python -m benchmarks projection``.

Projects BM25 vectors of real texts, beside scikit-learn where it is there; finds nearest neighbours
by codes of equal length; embeds BlogCatalog's graph where it is there, and classifies its nodes.
Writes FILE.json and FILE.md.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from benchmarks.corpora import load_corpus
from benchmarks.environment import Environment, environment, environment_lines
from benchmarks.graph import GraphScore, graph_lines, measure_graph
from benchmarks.hashes import HashRecall, hash_lines, measure_hashes
from benchmarks.markdown import table
from benchmarks.records_io import write_json
from benchmarks.say import say
from sparseret import vectors
from sparseret.encoders.bm25 import BM25Encoder
from sparseret.encoders.random_projection import SparseRandomProjection

__all__ = ["OWN", "ProjectionReport", "main", "markdown", "measure_projections", "times_own"]

OWN = "sparseret"


@dataclass(frozen=True)
class Projection:
    """One method on all texts."""

    method: str
    density: str
    """A number, or "auto"."""
    components: int
    milliseconds: tuple[float, ...]
    """Of the projection of all texts, in each round."""


@dataclass(frozen=True)
class ProjectionReport:
    """Everything measured."""

    environment: Environment
    corpus: str
    texts: int
    features: int
    values: int
    projections: list[Projection]
    hashes: list[HashRecall]
    graph: list[GraphScore]
    """Empty where the graph or scikit-learn is absent."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks projection", description=__doc__)
    parser.add_argument("--corpus", default="scifact", help="whose BM25 vectors are projected")
    parser.add_argument("--components", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--hash-corpus", default="cranfield", help="whose texts are hashed")
    parser.add_argument("--ratios", nargs="*", type=float, default=[0.1, 0.5],
                        help="shares of the graph's nodes to train on")  # fmt: skip
    parser.add_argument("--splits", type=int, default=5, help="of the graph, for each share")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/projection"))
    options = parser.parse_args(arguments)
    texts = bm25_vectors(options.corpus)
    report = ProjectionReport(
        environment(("sparseret", "numpy", "scipy", "scikit-learn")),
        options.corpus, *texts.shape, texts.nnz,
        measure_projections(texts, options.components, options.rounds),
        measure_hashes(bm25_vectors(options.hash_corpus), options.hash_corpus),
        measure_graph(options.ratios, options.splits),
    )  # fmt: skip
    write_json(options.out.with_suffix(".json"), report)
    options.out.with_suffix(".md").write_text(markdown(report), encoding="utf-8")
    print(markdown(report))


def bm25_vectors(corpus: str) -> Any:
    """Of all documents of a corpus, in the form that scikit-learn's kernels take, too."""
    documents = load_corpus(corpus).documents
    rows = vectors.check(BM25Encoder().fit(documents).encode_documents(documents))
    return csr_array((rows.data, rows.indices, rows.indptr.astype(np.int32)), rows.shape)


def measure_projections(texts: Any, n_components: int, rounds: int) -> list[Projection]:
    """Time each method at both densities; they take turns, in rounds.

    Raises:
        ValueError: a projection is not the product with its own components.
    """
    measured = []
    for density in ("auto", 1 / 3):
        own = SparseRandomProjection(n_components, density=density).fit(texts)  # type: ignore[arg-type]
        used = np.unique(texts.indices)
        product = texts[:, used] @ own.components(used)
        if np.abs(own.transform(texts) - product).max() > 1e-4 * np.abs(product).max():
            raise ValueError(f"{OWN} gives something else than the product with its components")
        methods: dict[str, Callable[[Any], Any]] = {OWN: own.transform}
        methods |= _peers(texts, n_components, density)
        times: dict[str, list[float]] = {name: [] for name in methods}
        for _ in range(rounds):
            for name, transform in methods.items():
                start = perf_counter()
                transform(texts)
                times[name].append((perf_counter() - start) * 1e3)
        label = density if isinstance(density, str) else f"{density:.3f}"
        measured += [
            Projection(name, label, n_components, tuple(taken)) for name, taken in times.items()
        ]
    return measured


def _peers(texts: Any, n_components: int, density: float | str) -> dict[str, Callable[[Any], Any]]:
    if not importlib.util.find_spec("sklearn"):
        say("scikit-learn is not installed, and left out")
        return {}
    from sklearn import random_projection

    def fitted(*, dense_output: bool) -> Callable[[Any], Any]:
        peer = random_projection.SparseRandomProjection(
            n_components, density=density, dense_output=dense_output, random_state=0
        )
        made: Callable[[Any], Any] = peer.fit(texts).transform
        return made

    return {
        "scikit-learn": fitted(dense_output=False),
        "scikit-learn, dense_output": fitted(dense_output=True),
    }


def times_own(report: ProjectionReport, projection: Projection) -> float:
    """Median over rounds of a method's time over sparseret's at the same density."""
    own = next(p for p in report.projections if p.method == OWN and p.density == projection.density)
    pairs = zip(projection.milliseconds, own.milliseconds, strict=True)
    return median(a / b for a, b in pairs)


def markdown(report: ProjectionReport) -> str:
    """The whole report."""
    rows = [
        [p.method, p.density, f"{median(p.milliseconds):.1f}", f"{times_own(report, p):.1f}"]
        for p in report.projections
    ]
    lines = [
        *environment_lines(report.environment),
        "",
        f"BM25 vectors of {report.corpus}, {report.texts:,} rows of {report.features:,} features, "
        f"{report.values:,} values, to {report.projections[0].components} components, one thread. "
        "scikit-learn multiplies with a matrix that it has made and stored before, sparseret makes "
        'its own in this time; "times sparseret" is the median of the ratios of paired rounds.',
        "",
        *table(["method", "density", "ms", "times sparseret"], rows),
        "",
        *hash_lines(report.hashes),
    ]
    if report.graph:
        lines += ["", *graph_lines(report.graph)]
    return "\n".join(lines) + "\n"
