"""The largest values of each row of a dense matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparseret.kernels import Rows

__all__ = ["keep_winners"]


def keep_winners(
    scores: NDArray[np.float32], k: int, values: NDArray[np.float32] | None = None
) -> Rows:
    """The k largest scores of each row; of equal ones those with the smaller columns.

    Args:
        scores: finite, shape (n, dim).
        k: at most dim.
        values: what is kept where a score wins, shape (n, dim); the scores themselves without it.

    Returns:
        Rows with ascending columns; values that are zero are left out.
    """
    n, dim = scores.shape
    if k < dim:
        least = np.partition(scores, dim - k, axis=1)[:, dim - k, None]
        wins = scores >= least
        crowded = np.flatnonzero(wins.sum(axis=1) > k)
        if len(crowded):  # more than fit in are equal to the k-th
            above = scores[crowded] > least[crowded]
            equal = wins[crowded] & ~above
            places = k - above.sum(axis=1, keepdims=True)
            wins[crowded] = above | (equal & (equal.cumsum(axis=1) <= places))
    else:
        wins = np.ones(scores.shape, dtype=bool)
    kept = scores if values is None else values
    wins &= kept != 0
    row_of, columns = np.nonzero(wins)
    indptr = np.concatenate(([0], np.cumsum(np.bincount(row_of, minlength=n)))).astype(np.int64)
    return Rows(indptr, columns.astype(np.int32), kept[wins])
