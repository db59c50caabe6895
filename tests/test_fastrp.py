"""FastRP: its formula, communities that were planted, and the published scores on BlogCatalog."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("sparseret.kernels._native", reason="the native kernel is not built")

from scipy.sparse import csr_array

from sparseret.encoders.expansion_hashing import ExpansionHashing
from sparseret.encoders.fastrp import FastRP
from sparseret.encoders.random_projection import SparseRandomProjection
from sparseret.errors import ConfigurationError, VectorError


def block_model(seed: int, sizes: list[int], inside: float, across: float) -> tuple[Any, Any]:
    """A graph with planted communities, and the community of each node."""
    generator = np.random.default_rng(seed)
    community = np.repeat(np.arange(len(sizes)), sizes)
    rate = np.where(community[:, None] == community, inside, across)
    upper = np.triu(generator.random(rate.shape) < rate, 1)
    return csr_array((upper | upper.T).astype(np.float32)), community


def by_definition(graph: Any, settings: FastRP) -> Any:
    """With dense powers of the transition matrix, in double precision."""
    adjacency = graph.toarray().astype(np.float64)
    degrees = adjacency.sum(axis=1)
    n = len(adjacency)
    transition = adjacency / degrees[:, None]
    projection = SparseRandomProjection(
        settings.n_components, density=settings.density, seed=settings.seed, n_features=n
    )
    start = np.diag((degrees / degrees.sum()) ** settings.beta) @ projection.components(
        np.arange(n)
    )
    merged = np.zeros_like(start)
    for k, weight in enumerate(settings.weights, start=1):
        power = np.linalg.matrix_power(transition, k) @ start
        merged += weight * power / np.linalg.norm(power, axis=1, keepdims=True)
    return (merged - merged.mean(axis=0)) / merged.std(axis=0)


@pytest.mark.parametrize("weights", [(1.0,), (0.0, 2.0), (1.0, -1.0, 0.5), (0.0, 1.0, 0.0)])
@pytest.mark.parametrize("beta", [-0.9, 0.0, 0.5])
def test_is_its_formula(weights: tuple[float, ...], beta: float) -> None:
    graph, _ = block_model(1, [30, 20], 0.5, 0.2)
    graph.data[:] = np.random.default_rng(2).random(graph.nnz)  # weighted, and directed
    settings = FastRP(24, weights, beta, density=0.3, seed=5)
    embedding = settings.fit_transform(graph)
    assert embedding.dtype == np.float32
    np.testing.assert_allclose(embedding, by_definition(graph, settings), atol=2e-4)
    assert settings.fit_transform(graph, threads=3).tobytes() == embedding.tobytes()


def test_planted_communities_are_found() -> None:
    """By the nearest mean of few labelled nodes; and from sparse codes of the embedding."""
    graph, community = block_model(3, [150, 150, 150, 150], 0.1, 0.02)
    embedding = FastRP(128).fit_transform(graph)
    codes = ExpansionHashing(128, winners=64).transform(embedding).toarray()
    for vectors, least in ((embedding, 0.95), (codes, 0.9)):
        labelled = np.arange(600) % 10 == 0
        means = np.stack([vectors[labelled & (community == c)].mean(axis=0) for c in range(4)])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        guessed = (vectors @ means.T).argmax(axis=1)
        assert (guessed == community)[~labelled].mean() > least


def test_degenerate_graphs() -> None:
    lone = csr_array((4, 4), dtype=np.float32)
    assert not FastRP(8).fit_transform(lone).any()
    graph = csr_array(np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]], np.float32))
    embedding = FastRP(16, density=1.0).fit_transform(graph)
    assert np.isfinite(embedding).all()
    assert np.isfinite(FastRP(8).fit_transform(csr_array(np.ones((1, 1), np.float32)))).all()
    for wrong in (
        csr_array((2, 3)), csr_array((0, 0)), csr_array(-np.eye(2)), csr_array(np.nan * np.eye(2)),
    ):  # fmt: skip
        with pytest.raises(VectorError):
            FastRP(8).fit_transform(wrong)
    for options in (
        {"weights": ()}, {"weights": (0, 0)}, {"weights": (1, float("nan"))}, {"beta": 4},
        {"beta": float("nan")}, {"n_components": 0}, {"density": 0}, {"seed": -1},
    ):  # fmt: skip
        with pytest.raises(ConfigurationError):
            FastRP(**options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def blogcatalog(collections: Path) -> tuple[Any, NDArray[np.bool_]]:
    """Friendships of 10,312 bloggers, and which of 39 interests each has."""
    from scipy.io import loadmat

    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    file = collections / "blogcatalog" / "blogcatalog.mat"
    if not file.exists():
        pytest.skip(f"{file} is not there: FastRP's example graph")
    stored = loadmat(file)
    return stored["network"], stored["group"].toarray() > 0


def node_classification(
    embedding: Any, labels: NDArray[np.bool_], ratio: float, seed: int
) -> tuple[float, float]:
    """Micro- and macro-F1 by the protocol of DeepWalk and FastRP.

    One-vs-rest logistic regression on a share of the nodes; of each other node as many labels are
    predicted as it has, the most probable ones.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score

    order = np.random.default_rng(seed).permutation(len(embedding))
    train, test = np.split(order, [int(ratio * len(embedding))])
    likely = np.zeros((len(test), labels.shape[1]))
    for label in np.flatnonzero(labels[train].any(axis=0)):
        model = LogisticRegression(C=0.1, solver="liblinear")
        model.fit(embedding[train], labels[train, label])
        likely[:, label] = model.decision_function(embedding[test])
    likely[:, ~labels[train].any(axis=0)] = -np.inf
    place = (-likely).argsort(axis=1, kind="stable").argsort(axis=1)
    predicted = place < labels[test].sum(axis=1, keepdims=True)
    micro, macro = (
        f1_score(labels[test], predicted, average=average, zero_division=0)
        for average in ("micro", "macro")
    )
    return float(micro), float(macro)


def test_published_scores_on_blogcatalog(blogcatalog: tuple[Any, NDArray[np.bool_]]) -> None:
    """Within a point of the authors' run, means of 5 splits: micro-F1 0.3723, macro-F1 0.2281.

    512 components, the defaults here, logistic regression with C = 0.1 on 10% of the nodes, in
    fast-random-projection-blogcatalog.ipynb of the authors' repository (GTmac/FastRP).
    """
    graph, labels = blogcatalog
    embedding = FastRP().fit_transform(graph)
    micro, macro = node_classification(embedding, labels, 0.1, seed=0)
    assert micro == pytest.approx(0.3723, abs=0.01)
    assert macro == pytest.approx(0.2281, abs=0.01)
