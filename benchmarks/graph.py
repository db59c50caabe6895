"""Node classification on BlogCatalog from FastRP's embedding, by the protocol of its authors."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.markdown import table
from benchmarks.say import say
from sparseret.encoders.fastrp import FastRP

__all__ = ["PUBLISHED", "GraphScore", "graph_lines", "measure_graph"]

PUBLISHED = {0.1: (0.3723, 0.2281), 0.5: (0.4122, 0.2753), 0.9: (0.4257, 0.2801)}
"""Share of nodes to train on -> micro- and macro-F1 that the authors' notebook shows."""


@dataclass(frozen=True)
class GraphScore:
    """At one share of nodes to train on."""

    nodes: int
    seconds: float
    """Of the embedding."""
    ratio: float
    splits: int
    micro: float
    macro: float

    @property
    def published(self) -> str:
        """Micro- and macro-F1, if there are any."""
        known = PUBLISHED.get(self.ratio)
        return f"{known[0]:.4f}, {known[1]:.4f}" if known else ""


def measure_graph(ratios: Sequence[float], splits: int) -> list[GraphScore]:
    """Embed the graph, and classify nodes; nothing where the graph or scikit-learn is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SPARSERET_DATA", default))
    file = folder / "blogcatalog" / "blogcatalog.mat"
    if not ratios or not file.exists() or not importlib.util.find_spec("sklearn"):
        say(f"no graph: that needs {file} and scikit-learn")
        return []
    from scipy.io import loadmat

    stored = loadmat(file)
    graph, labels = stored["network"], stored["group"].toarray() > 0
    start = perf_counter()
    embedding = FastRP().fit_transform(graph)
    seconds = perf_counter() - start
    scores = []
    for ratio in ratios:
        found = [_classify(embedding, labels, ratio, seed) for seed in range(splits)]
        micro, macro = np.mean(found, axis=0).tolist()
        scores.append(GraphScore(len(labels), seconds, ratio, splits, micro, macro))
    return scores


def _classify(embedding: Any, labels: Any, ratio: float, seed: int) -> tuple[float, float]:
    """Of each test node as many labels are predicted as it has, the most probable ones."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score

    order = np.random.default_rng(seed).permutation(len(embedding))
    train, test = np.split(order, [int(ratio * len(embedding))])
    likely = np.full((len(test), labels.shape[1]), -np.inf)
    for label in np.flatnonzero(labels[train].any(axis=0)):
        model = LogisticRegression(C=0.1, solver="liblinear")
        model.fit(embedding[train], labels[train, label])
        likely[:, label] = model.decision_function(embedding[test])
    place = (-likely).argsort(axis=1, kind="stable").argsort(axis=1)
    predicted = place < labels[test].sum(axis=1, keepdims=True)
    return tuple(
        float(f1_score(labels[test], predicted, average=average, zero_division=0))
        for average in ("micro", "macro")
    )  # type: ignore[return-value]


def graph_lines(scores: Sequence[GraphScore]) -> list[str]:
    """As Markdown."""
    rows = [[f"{g.ratio:.0%}", f"{g.micro:.4f}", f"{g.macro:.4f}", g.published] for g in scores]
    return [
        f"FastRP with its defaults embeds the graph of BlogCatalog, {scores[0].nodes:,} nodes, in "
        f"{scores[0].seconds:.2f} s on one thread. One-vs-rest logistic regression (C = 0.1), the "
        f"mean of {scores[0].splits} splits; published: micro- and macro-F1 that the authors show "
        "in fast-random-projection-blogcatalog.ipynb of their repository, for the same settings.",
        "",
        *table(["trained on", "micro-F1", "macro-F1", "published"], rows),
    ]
