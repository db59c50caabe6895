"""What codecs have in common: dense vectors taken in blocks, and chosen places made rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseret import vectors
from sparseret.encoders.codecs import check_dense
from sparseret.kernels import top_k
from sparseret.progress import progress_bar

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["keep_winners", "read_blocks", "rows_of", "transform_blocks"]

_BLOCK_VALUES = 2**22
"""Of dense vectors that are held at a time."""


def read_blocks(
    X: Any,  # noqa: N803
    n_features: int,
    *,
    rows: int | None = None,
    show: bool = False,
) -> Iterator[NDArray[np.float32]]:
    """Dense vectors in checked blocks, at least one; mapped ones are read as they are needed.

    Args:
        X: shape (n, n_features).
        n_features: the width that is required.
        rows: of a block; None for some 16 MiB of them.
        show: whether to show a progress bar.

    Raises:
        VectorError: not two-dimensional, of another width, or not finite.
    """
    source: Any = X if hasattr(X, "shape") else np.asarray(X)
    if len(source.shape) != 2:
        check_dense(source)  # says what is wrong
    n, size = source.shape[0], rows or max(1, _BLOCK_VALUES // max(1, n_features))
    with progress_bar("Coding", n, show=show) as advance:
        for begin in range(0, max(1, n), size):
            numbers = range(begin, begin + size)
            block = check_dense(source[begin : begin + size], n_features, numbers=numbers)
            yield block
            advance(len(block))


def transform_blocks(
    X: ArrayLike,  # noqa: N803
    codes: Callable[[NDArray[np.float32]], csr_array],
    n_features: int,
    *,
    rows: int | None = None,
    show: bool = False,
) -> csr_array:
    """Codes of vectors, float32, shape (n, dim), made block by block: ``X`` may be memory-mapped.

    Args:
        X: vectors, shape (n, n_features).
        codes: of a block, float32, shape (rows, n_features), which may have no rows; a row of
            codes depends on its vector alone.
        n_features: width of the vectors.
        rows: of a block; None for some 16 MiB of them.
        show: whether to show a progress bar.

    Raises:
        VectorError: ``X`` is no (n, n_features) array of finite numbers.
    """
    from scipy.sparse import vstack

    parts = [codes(block) for block in read_blocks(X, n_features, rows=rows, show=show)]
    return parts[0] if len(parts) == 1 else vectors.check(vstack(parts, format="csr"))


def keep_winners(
    scores: NDArray[np.float32], k: int, values: NDArray[np.float32] | None = None
) -> csr_array:
    """The k largest scores of each row; of equal ones those with the smaller columns.

    Args:
        scores: no NaN, shape (n, dim).
        k: at most dim.
        values: what is kept where a score wins, shape (n, dim); the scores themselves without it.

    Returns:
        Codes, float32, shape (n, dim); values that are zero are left out.
    """
    columns = top_k(scores, k).columns
    kept = np.take_along_axis(scores if values is None else values, columns, axis=1)
    return rows_of(columns, kept, scores.shape[1])


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
