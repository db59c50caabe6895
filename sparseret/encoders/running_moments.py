"""Mean and variance of features, block by block.

With n, mean m and squared deviations S of what came before, and those of a block (marked b)::

    d = m_b - m,   m <- m + d n_b / (n + n_b),   S <- S + S_b + d^2 n n_b / (n + n_b)

References:
    Tony F. Chan, Gene H. Golub, Randall J. LeVeque. Algorithms for Computing the Sample Variance:
    Analysis and Recommendations. The American Statistician, 1983.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["RunningMoments"]


class RunningMoments:
    """Moments of vectors that come in blocks.

    Args:
        n_features: width of the vectors.

    Attributes:
        count: vectors so far.
        mean: float64, shape (n_features,); zeros before the first.
        squares: sums of squared deviations from the mean, float64, shape (n_features,).
    """

    def __init__(self, n_features: int) -> None:
        self.count = 0
        self.mean: NDArray[np.float64] = np.zeros(n_features)
        self.squares: NDArray[np.float64] = np.zeros(n_features)

    def add(self, block: NDArray[Any]) -> None:
        """Take vectors, shape (n, n_features); none of them is no change."""
        if not len(block):
            return
        wide = block.astype(np.float64)
        mean = wide.mean(axis=0)
        total = self.count + len(wide)
        gap = mean - self.mean
        self.squares += np.square(wide - mean).sum(axis=0)
        self.squares += np.square(gap) * (self.count * len(wide) / total)
        self.mean += gap * (len(wide) / total)
        self.count = total
