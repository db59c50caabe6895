"""Values of sparse codes fitted anew, by non-negative least squares over the chosen latents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["refit_values"]

_ROUNDS = 100
_BLOCK = 256
_ROW_VALUES = 2**24
"""Of chosen rows that are held at a time."""
"""Codes at a time: each holds its k rows of the dictionary."""


def refit_values(
    targets: NDArray[np.float32],
    dictionary: NDArray[np.float32],
    columns: NDArray[np.int32],
    values: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Values >= 0 that bring the sum of the chosen rows nearest to each target.

    Accelerated proximal gradient steps [1]_ from the values that are there, a fixed number of them;
    a code whose error would grow is left as it is.

    Args:
        targets: float32, shape (n, n_features).
        dictionary: float32, shape (dim, n_features).
        columns: chosen rows, shape (n, k).
        values: float32, at least 0, shape (n, k).

    Returns:
        float32, shape (n, k); what became 0 stays as 0.

    References:
        .. [1] Amir Beck, Marc Teboulle. A Fast Iterative Shrinkage-Thresholding Algorithm for
           Linear Inverse Problems. SIAM Journal on Imaging Sciences, 2009.
    """
    made = np.empty_like(values)
    size = max(1, min(_BLOCK, _ROW_VALUES // max(1, columns.shape[1] * targets.shape[1])))
    for begin in range(0, len(targets), size):
        inside = slice(begin, begin + size)
        rows = dictionary[columns[inside]]
        gram = rows @ rows.transpose(0, 2, 1)
        wanted = np.einsum("nkf,nf->nk", rows, targets[inside])
        # An upper bound of the largest eigenvalue.
        step = 1 / np.maximum(np.abs(gram).sum(axis=2).max(axis=1), 1e-12)[:, None]
        start = values[inside]
        found = ahead = start
        momentum = 1.0
        for _ in range(_ROUNDS):
            slope = (gram @ ahead[:, :, None])[:, :, 0] - wanted
            moved = np.maximum(0, ahead - step * slope)
            following = (1 + np.sqrt(1 + 4 * momentum * momentum)) / 2
            ahead = moved + np.float32((momentum - 1) / following) * (moved - found)
            found, momentum = moved, following
        better = _errors(gram, wanted, found) <= _errors(gram, wanted, start)
        made[inside] = np.where(better[:, None], found, start)
    return made


def _errors(
    gram: NDArray[np.float32], wanted: NDArray[np.float32], values: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Squared errors, but for the squared lengths of the targets."""
    products = (gram @ values[:, :, None])[:, :, 0]
    error: NDArray[np.float32] = ((products - 2 * wanted) * values).sum(axis=1)
    return error
