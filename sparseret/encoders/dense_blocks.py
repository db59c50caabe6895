"""What codecs have in common: vectors taken in blocks, and chosen places made rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparseret import vectors
from sparseret.encoders.codecs import check_dense
from sparseret.kernels import top_k
from sparseret.progress import progress_bar
from sparseret.protocols import Vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["keep_winners", "read_blocks", "rows_of", "sparse_rows", "transform_blocks"]

_BLOCK_VALUES = 2**22
"""Of dense vectors that are held at a time."""
_MOST_VALUES = 2**24
"""The same, where a codec asks for so many rows."""


def sparse_rows(X: Any, n_features: int | None = None) -> csr_array | None:  # noqa: N803
    """Sparse vectors as canonical CSR, shape (n, n_features); None for dense ones.

    Raises:
        VectorError: of another width, or not finite.
    """
    from scipy.sparse import issparse

    return vectors.check(X, dim=n_features) if issparse(X) else None


def read_blocks(
    X: Any,  # noqa: N803
    n_features: int,
    *,
    rows: int | None = None,
    show: bool = False,
) -> Iterator[NDArray[np.float32]]:
    """Dense blocks of vectors, checked, at least one; mapped ones are read as they are needed.

    Args:
        X: dense or sparse, shape (n, n_features).
        n_features: the width that is required.
        rows: of a block, fewer where these would take more than 64 MiB; None for some 16 MiB.
        show: whether to show a progress bar.

    Raises:
        VectorError: not two-dimensional, of another width, or not finite.
    """
    sparse: Any = sparse_rows(X, n_features)
    if sparse is not None:
        for rest in _sparse_blocks(sparse, _size(n_features, rows), show):
            yield rest.toarray()
        return
    source: Any = X if hasattr(X, "shape") else np.asarray(X)
    if len(source.shape) != 2:
        check_dense(source)  # says what is wrong
    n, size = source.shape[0], _size(n_features, rows)
    with progress_bar("Coding", n, show=show) as advance:
        for begin in range(0, max(1, n), size):
            numbers = range(begin, begin + size)
            block = check_dense(source[begin : begin + size], n_features, numbers=numbers)
            yield block
            advance(len(block))


def _size(n_features: int, rows: int | None) -> int:
    width = max(1, n_features)
    return max(1, _BLOCK_VALUES // width if rows is None else min(rows, _MOST_VALUES // width))


def _sparse_blocks(source: Any, size: int, show: bool) -> Iterator[csr_array]:
    n = source.shape[0]
    with progress_bar("Coding", n, show=show) as advance:
        for begin in range(0, max(1, n), size):
            block: Any = source[begin : begin + size]
            yield vectors.check(block)
            advance(block.shape[0])


def transform_blocks(
    X: Vectors,  # noqa: N803
    codes: Callable[[NDArray[np.float32]], csr_array],
    n_features: int,
    *,
    rows: int | None = None,
    show: bool = False,
    of_sparse: Callable[[csr_array], csr_array] | None = None,
) -> csr_array:
    """Codes of vectors, float32, shape (n, dim), made block by block: ``X`` may be memory-mapped.

    Args:
        X: vectors, dense or sparse, shape (n, n_features).
        codes: of a block, float32, shape (rows, n_features), which may have no rows; a row of
            codes depends on its vector alone.
        n_features: width of the vectors.
        rows: of a block; None for some 16 MiB of them.
        show: whether to show a progress bar.
        of_sparse: codes of a block of sparse vectors, where there is a better way to them than by
            dense ones.

    Raises:
        VectorError: ``X`` is no (n, n_features) array of finite numbers.
    """
    from scipy.sparse import vstack

    sparse = None if of_sparse is None else sparse_rows(X, n_features)
    if sparse is None or of_sparse is None:
        parts = [codes(block) for block in read_blocks(X, n_features, rows=rows, show=show)]
    else:
        size = rows or _size(n_features, rows)
        parts = [of_sparse(block) for block in _sparse_blocks(sparse, size, show)]
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
