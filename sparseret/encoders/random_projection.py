"""Very sparse random projection: distances are kept, the matrix is never stored.

The projection of a vector x with d features to k components is::

    y = x R / sqrt(p k)        R[i, c] = +1 or -1, each with probability p / 2, or else 0

so that the expectation of |y|^2 is |x|^2, and distances between n vectors are all kept within a
factor of 1 +- eps once k is a few times log(n) / eps^2 (Johnson and Lindenstrauss). The density p
is 1/3 [1]_ or, "very sparse", 1 / sqrt(d) [2]_.

References:
    .. [1] Dimitris Achlioptas. Database-friendly random projections: Johnson-Lindenstrauss with
       binary coins. Journal of Computer and System Sciences 66 (2003).
    .. [2] Ping Li, Trevor Hastie, Kenneth Church. Very sparse random projections. KDD 2006.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseret import kernels, vectors
from sparseret.encoders.dense_blocks import read_blocks
from sparseret.errors import ConfigurationError, VectorError
from sparseret.kernels import RandomMatrix

__all__ = ["SparseRandomProjection", "project_dense"]


class SparseRandomProjection:
    """Projects sparse or dense vectors of any width to dense ones of a few hundred components.

    Every entry of R is made from the seed and its place when it is needed, so a vocabulary that
    grows, or hashed features of up to 2^31, cost nothing. The same vector gives the same result to
    the last bit, sparse or dense, alone or in a batch, on any processor, at any number of threads.

    Args:
        n_components: k, the width of the results.
        density: p, above 0 to 1, or "auto" for 1 / sqrt(d); realised to within 2^-33.
        seed: 0 to 2^64 - 1. Another seed gives an independent projection.
        n_features: d; None takes it from :meth:`fit`.

    Raises:
        ConfigurationError: a setting out of its range.
    """

    def __init__(
        self,
        n_components: int,
        *,
        density: float | Literal["auto"] = "auto",
        seed: int = 0,
        n_features: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.density = density
        self.seed = seed
        self._n_features = n_features
        if n_features is not None and (
            type(n_features) is not int or not 1 <= n_features <= vectors.MAX_DIM
        ):
            raise ConfigurationError(f"n_features {n_features!r}: must lie in 1..{vectors.MAX_DIM}")
        if density != "auto" and not isinstance(density, (int, float)):
            raise ConfigurationError(f'density {density!r}: give a number, or "auto"')
        RandomMatrix(n_components, 1.0 if density == "auto" else density, seed).check()

    @property
    def n_features(self) -> int:
        """Width d of the vectors it takes. Raises ConfigurationError before it is known."""
        if self._n_features is None:
            raise ConfigurationError(
                "the projection knows no number of features yet: call fit(X), or give n_features"
            )
        return self._n_features

    @property
    def matrix(self) -> RandomMatrix:
        """R, as its settings."""
        density = 1 / math.sqrt(self.n_features) if self.density == "auto" else self.density
        return RandomMatrix(self.n_components, density, self.seed)

    def fit(self, X: Any) -> SparseRandomProjection:  # noqa: N803
        """Take the number of features from vectors, shape (n, d); nothing else is learned.

        Raises:
            VectorError: not two-dimensional, or without features.
        """
        shape = X.shape if hasattr(X, "shape") else np.shape(X)
        if len(shape) != 2 or not 1 <= shape[1] <= vectors.MAX_DIM:
            raise VectorError(f"expected vectors of shape (n, n_features), got shape {shape}")
        self._n_features = int(shape[1])
        return self

    def transform(
        self,
        X: Any,  # noqa: N803
        *,
        threads: int = 1,
        show_progress: bool = False,
    ) -> NDArray[np.float32]:
        """Projections, float32, shape (n, n_components).

        Args:
            X: a scipy sparse matrix or array, or dense vectors, which may be memory-mapped: they
                are read in blocks.
            threads: rows and components are spread over this many threads.
            show_progress: a bar on standard error, for dense vectors.

        Raises:
            VectorError: another width, values that are not finite, or above 1e20 in magnitude.
            ConfigurationError: not fitted.
        """
        from scipy.sparse import issparse

        scale = self._scale
        if issparse(X):
            rows: Any = vectors.check(X, dim=self.n_features)
            return kernels.random_projection(
                rows.indptr, rows.indices, rows.data, self.matrix, scale=scale, threads=threads
            )
        blocks = [
            project_dense(block, self.matrix, scale=scale, threads=threads)
            for block in read_blocks(X, self.n_features, show=show_progress)
        ]
        return np.concatenate([np.empty((0, self.n_components), np.float32), *blocks])

    def fit_transform(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """:meth:`fit`, then :meth:`transform`."""
        return self.fit(X).transform(X)

    def components(self, features: ArrayLike) -> NDArray[np.float32]:
        """Rows of R / sqrt(p k), float32, shape (len(features), n_components).

        Raises:
            VectorError: a feature outside of 0..n_features - 1.
        """
        chosen = np.asarray(features)
        if chosen.ndim != 1 or (len(chosen) and chosen.dtype.kind not in "iu"):
            raise VectorError(f"features must be whole numbers of shape (n,), got {chosen.dtype}")
        if len(chosen) and not 0 <= chosen.min() <= chosen.max() < self.n_features:
            raise VectorError(f"features must lie in 0..{self.n_features - 1}")
        n = len(chosen)
        return kernels.random_projection(
            np.arange(n + 1), chosen.astype(np.int32), np.ones(n, np.float32), self.matrix,
            scale=self._scale,
        )  # fmt: skip

    @property
    def _scale(self) -> float:
        return 1 / math.sqrt(self.matrix.exact_density * self.n_components)


def project_dense(
    block: NDArray[np.float32], matrix: RandomMatrix, *, scale: float = 1.0, threads: int = 1
) -> NDArray[np.float32]:
    """Dense rows times a random matrix: what their sparse form gives, to the last bit.

    Args:
        block: finite, C-contiguous, shape (n, n_features).
        matrix: of any number of rows.
        scale: of the result.
        threads: rows and components are spread over this many threads.
    """
    n, width = block.shape
    return kernels.random_projection(
        np.arange(n + 1, dtype=np.int64) * width,
        np.tile(np.arange(width, dtype=np.int32), n),
        block.reshape(-1),
        matrix,
        scale=scale,
        threads=threads,
    )
