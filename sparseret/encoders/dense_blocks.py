"""What codecs have in common: dense vectors taken in blocks, and chosen places made rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseret import vectors
from sparseret.encoders.codecs import check_dense
from sparseret.progress import progress_bar

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["rows_of", "transform_blocks"]

_BLOCK_VALUES = 2**22
"""Of dense vectors that are held at a time."""


def transform_blocks(
    X: ArrayLike,  # noqa: N803
    codes: Callable[[NDArray[np.float32]], csr_array],
    n_features: int,
    dim: int,
    *,
    show: bool = False,
) -> csr_array:
    """Codes of vectors, float32, shape (n, dim), made block by block: ``X`` may be memory-mapped.

    Args:
        X: vectors, shape (n, n_features).
        codes: of some of them, float32, shape (rows, n_features); a row depends on itself alone.
        n_features: width of the vectors.
        dim: width of the codes.
        show: whether to show a progress bar.

    Raises:
        VectorError: ``X`` is no (n, n_features) array of finite numbers.
    """
    from scipy.sparse import csr_array, vstack

    source: Any = X if hasattr(X, "shape") else np.asarray(X)
    if len(source.shape) != 2 or source.shape[1] != n_features:
        check_dense(source[:1], n_features)
    n, rows = source.shape[0], max(1, _BLOCK_VALUES // n_features)
    parts = []
    with progress_bar("Coding", n, show=show) as advance:
        for begin in range(0, n, rows):
            numbers = range(begin, min(n, begin + rows))
            block = check_dense(source[begin : begin + rows], n_features, numbers=numbers)
            parts.append(codes(block))
            advance(len(block))
    if not parts:
        return csr_array((0, dim), dtype=np.float32)
    return parts[0] if len(parts) == 1 else vectors.check(vstack(parts, format="csr"))


def rows_of(columns: NDArray[Any], values: NDArray[Any], dim: int) -> csr_array:
    """Sparse rows of chosen columns, float32, shape (n, dim); zeros are left out.

    Args:
        columns: in any order, distinct where the value is not zero, shape (n, k).
        values: parallel to ``columns``.
        dim: width of the rows.

    Raises:
        VectorError: values that float32 cannot hold.
    """
    from scipy.sparse import csr_array

    with np.errstate(over="ignore", under="ignore"):
        kept = values.astype(np.float32)
    wanted = kept != 0
    indptr = np.concatenate(([0], np.cumsum(wanted.sum(axis=1))))
    made = csr_array((kept[wanted], columns[wanted], indptr), shape=(len(columns), dim))
    return vectors.check(made)
