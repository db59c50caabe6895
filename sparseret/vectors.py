"""Sparse vectors: ``scipy.sparse.csr_array``, float32, sorted unique columns.

There is no matrix class of our own. Vectors are checked once, where they enter
(:func:`check`), and everything behind that border relies on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparseret import kernels
from sparseret.errors import VectorError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["MAX_DIM", "check", "from_arrays"]

MAX_DIM = 2**31
"""Largest dimension: columns are int32, so the largest column is ``2**31 - 1``."""


def from_arrays(
    indptr: NDArray[np.int64], columns: NDArray[np.int32], values: NDArray[np.float32], dim: int
) -> csr_array:
    """Wrap arrays that are already canonical in a ``csr_array`` of shape (len(indptr) - 1, dim).

    The arrays are neither copied nor checked; scipy would widen or copy them to agree in dtype.
    """
    from scipy.sparse import csr_array

    matrix: Any = csr_array((len(indptr) - 1, dim), dtype=np.float32)
    matrix.indptr, matrix.indices, matrix.data = indptr, columns, values
    return matrix


def check(vectors: object, *, dim: int | None = None, signed: bool = True) -> csr_array:
    """Return ``vectors`` as canonical CSR, or say why they cannot be.

    Canonical: ``csr_array`` of shape (n, dim) with float32 ``data``, int32 ``indices`` that are
    sorted and unique within each row, int64 ``indptr``, every value finite and none zero. Explicit
    zeros are dropped and unsorted rows are sorted in a copy; the input is never modified.

    Args:
        vectors: any scipy sparse matrix or array, or a 2-d NumPy array.
        dim: required number of columns; None takes any.
        signed: whether negative values are allowed.

    Raises:
        VectorError: not two-dimensional, wrong ``dim``, dim above 2**31, NaN or infinite values
            (also after conversion to float32), negative values where ``signed`` is false,
            duplicate columns in a row, or index arrays that do not form a CSR matrix.
    """
    from scipy.sparse import csr_array, issparse

    if (
        isinstance(vectors, csr_array)
        and len(vectors.shape) == 2
        and dim in (None, vectors.shape[1])
        and vectors.indptr.dtype == np.int64
        and vectors.indices.dtype == np.int32
        and vectors.data.dtype == np.float32
        and len(vectors.indptr) == vectors.shape[0] + 1
        and kernels.is_canonical(
            vectors.indptr, vectors.indices, vectors.data, vectors.shape[1], signed=signed
        )
    ):
        return vectors  # the common case, in one pass
    if issparse(vectors):
        source: Any = vectors
    else:
        source = np.asarray(vectors)
        if source.ndim != 2 or source.dtype.kind not in "fiub":
            raise VectorError(
                f"expected sparse vectors of shape (n, dim), got {type(vectors).__name__} of shape "
                f"{source.shape} and dtype {source.dtype}; pass a scipy.sparse.csr_array"
            )
    if len(source.shape) != 2:
        raise VectorError(f"expected two dimensions (n, dim), got shape {source.shape}")
    if source.dtype.kind not in "fiub":
        raise VectorError(f"expected real numbers, got dtype {source.dtype}")
    rows, columns = source.shape
    if columns > MAX_DIM:
        raise VectorError(f"dimension {columns} is above the largest supported, {MAX_DIM}")
    if dim is not None and columns != dim:
        raise VectorError(f"vectors have {columns} columns where {dim} are expected")
    if issparse(source) and source.format == "csr":
        _check_structure(source.indptr, source.indices, source.data, rows, columns)
        csr = source
    elif issparse(source) and source.format == "coo":
        # tocsr() would add up duplicates silently; sorting keeps them for the check below.
        order = np.lexsort((source.col, source.row))
        counts = np.bincount(source.row, minlength=rows)
        csr = csr_array(source.shape, dtype=source.dtype)
        csr.indptr = np.concatenate(([0], np.cumsum(counts)))
        csr.indices, csr.data = source.col[order], source.data[order]
    else:
        csr = csr_array(source)

    indptr = np.ascontiguousarray(csr.indptr, dtype=np.int64)
    indices = np.ascontiguousarray(csr.indices[: indptr[-1]], dtype=np.int32)
    with np.errstate(over="ignore"):
        data = np.ascontiguousarray(csr.data[: indptr[-1]], dtype=np.float32)
    row_of = np.repeat(np.arange(rows), np.diff(indptr))
    finite = np.isfinite(data)
    if not finite.all():
        at = int(np.argmin(finite))
        raise VectorError(
            f"row {row_of[at]}, column {indices[at]}: value {csr.data[at]} is not finite as float32"
        )
    if not signed and (data < 0).any():
        at = int(np.argmax(data < 0))
        raise VectorError(
            f"row {row_of[at]}, column {indices[at]}: value {data[at]} is negative; "
            "this vector space is non-negative"
        )
    if len(indices) > 1:
        same_row = row_of[1:] == row_of[:-1]
        if (same_row & (indices[1:] <= indices[:-1])).any():
            order = np.lexsort((indices, row_of))
            indices, data = indices[order], data[order]
            repeated = same_row & (indices[1:] == indices[:-1])
            if repeated.any():
                at = int(np.argmax(repeated))
                raise VectorError(
                    f"row {row_of[at]}: column {indices[at]} occurs more than once; "
                    "add its values up with sum_duplicates() first"
                )
    zero = data == 0
    if zero.any():
        indices, data = indices[~zero], data[~zero]
        kept = np.bincount(row_of[~zero], minlength=rows)
        indptr = np.concatenate(([0], np.cumsum(kept))).astype(np.int64)
    return from_arrays(indptr, indices, data, columns)


def _check_structure(
    indptr: NDArray[Any], indices: NDArray[Any], data: NDArray[Any], rows: int, columns: int
) -> None:
    """Refuse index arrays that scipy accepts unchecked but that point outside the matrix."""
    if len(indptr) != rows + 1 or indptr[0] != 0 or (np.diff(indptr) < 0).any():
        raise VectorError(f"indptr is not an ascending array of {rows + 1} offsets from 0")
    nnz = int(indptr[-1])
    if nnz > min(len(indices), len(data)):
        raise VectorError(f"indptr promises {nnz} values, the arrays hold {len(data)}")
    if nnz and (int(indices[:nnz].min()) < 0 or int(indices[:nnz].max()) >= columns):
        raise VectorError(f"column indices must lie in 0..{columns - 1}")
