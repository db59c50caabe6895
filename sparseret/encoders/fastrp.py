"""FastRP: embeddings of the nodes of a graph by very sparse random projection.

With adjacency A of m edges, degrees d and D = diag(d), the embedding [1]_ is::

    U_k = (D^-1 A)^k L R        L = diag((d / 2m)^beta),  k = 1 .. q
    N   = standardised columns of  sum_k alpha_k * U_k with rows of length 1

Powers of the transition matrix say who is within k steps; L with beta < 0 tones popular nodes down;
R is a very sparse random projection, and as products associate, no power is ever made:
``U_k = D^-1 A U_(k-1)`` is a sparse matrix times a thin one.

References:
    .. [1] Haochen Chen, Syed Fahad Sultan, Yingtao Tian, Muhao Chen, Steven Skiena. Fast and
       accurate network embeddings via very sparse random projection. CIKM 2019, section 3. Rows of
       U_k are normalised and columns of the sum standardised as in the authors' code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sparseret import vectors
from sparseret.encoders.random_projection import SparseRandomProjection
from sparseret.errors import ConfigurationError, VectorError

__all__ = ["FastRP"]


@dataclass(frozen=True)
class FastRP:
    """Settings of an embedding; the defaults are those of the authors' run on BlogCatalog.

    Any codec turns the embedding into sparse codes for an index: ``codec.transform(embedding)``.

    Raises:
        ConfigurationError: a setting out of its range.
    """

    n_components: int = 512
    """Width of the embedding."""
    weights: Sequence[float] = (0.0, 0.0, 1.0, 6.67)
    """alpha_k: what steps 1, 2, ... q count; one at least is not zero."""
    beta: float = -0.64
    """Power of the degrees in L; negative tones popular nodes down."""
    density: float | Literal["auto"] = "auto"
    """Of R; "auto" is 1 / sqrt(number of nodes)."""
    seed: int = 0
    """Of R."""

    def __post_init__(self) -> None:
        weights = tuple(float(weight) for weight in self.weights)
        object.__setattr__(self, "weights", weights)
        if not any(weights) or not all(map(math.isfinite, weights)):
            raise ConfigurationError(f"weights {weights}: must be finite, and not all zero")
        if not abs(self.beta) <= 3:
            raise ConfigurationError(f"beta {self.beta!r}: must lie in -3..3")
        self._projection(1)

    def fit_transform(self, adjacency: Any, *, threads: int = 1) -> NDArray[np.float32]:
        """Embed all nodes of a graph, the same at any number of threads.

        Args:
            adjacency: scipy sparse matrix or array, not negative, shape (n, n): a value is the
                weight of an edge, in both directions for an undirected graph. Of a directed one,
                rows are where edges start, and degrees count what leaves a node.
            threads: the random projection is spread over this many threads.

        Returns:
            float32, shape (n, n_components): each column of mean 0 and variance 1 (or all zero). A
            node without edges stands where a vector of zeros comes to stand.

        Raises:
            VectorError: not square, no nodes, or weights that are negative or not finite.
        """
        graph: Any = vectors.check(adjacency, signed=False)
        n = graph.shape[0]
        if graph.shape[1] != n or not n:
            raise VectorError(f"an adjacency matrix is square and not empty, got {graph.shape}")
        degrees = graph.sum(axis=1, dtype=np.float64)
        total = degrees.sum() or 1.0
        with np.errstate(divide="ignore"):
            inverse = np.where(degrees > 0, 1 / degrees, 0)
            strength = np.where(degrees > 0, (degrees / total) ** self.beta, 0)
        step = graph.data * np.repeat(inverse, np.diff(graph.indptr))
        transition: Any = vectors.from_arrays(
            graph.indptr, graph.indices, step.astype(np.float32), n
        )
        weighted = (step * (strength / strength.max(initial=1))[graph.indices]).astype(np.float32)
        start = vectors.from_arrays(graph.indptr, graph.indices, weighted, n)
        power = self._projection(n).transform(start, threads=threads)
        merged = np.zeros_like(power)
        steps = max(k for k, weight in enumerate(self.weights) if weight) + 1
        for k, weight in enumerate(self.weights[:steps]):
            if k:
                power = transition @ power
            if weight:
                lengths = np.linalg.norm(power, axis=1, keepdims=True)
                merged += np.float32(weight) * power / np.where(lengths > 0, lengths, 1)
        mean = merged.mean(axis=0, dtype=np.float64)
        deviation = merged.std(axis=0, dtype=np.float64)
        deviation[deviation <= 1e-6 * np.abs(mean)] = 1
        deviation[deviation == 0] = 1
        standardised: NDArray[np.float32] = ((merged - mean) / deviation).astype(np.float32)
        return standardised

    def _projection(self, n: int) -> SparseRandomProjection:
        return SparseRandomProjection(
            self.n_components, density=self.density, seed=self.seed, n_features=n
        )
