"""Sparse vectors: ``scipy.sparse.csr_array``, float32, sorted unique columns.

There is no matrix class of our own. Vectors are checked once, where they enter
(:func:`check`), and everything behind that border relies on it.
"""

from __future__ import annotations

from copy import copy
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from sparseret import kernels
from sparseret.errors import VectorError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["MAX_DIM", "check", "check_binary", "from_arrays"]

MAX_DIM = 2**31
"""Largest dimension: columns are int32, so the largest column is ``2**31 - 1``."""

_FEW_ROWS = 64
# Comparing with these is ten times as fast as with the types: it counts in each search.
_INT32, _INT64, _FLOAT32 = np.dtype(np.int32), np.dtype(np.int64), np.dtype(np.float32)
_OFFSETS = (_INT64, _INT32)


def from_arrays(
    indptr: NDArray[np.int64], columns: NDArray[np.int32], values: NDArray[np.float32], dim: int
) -> csr_array:
    """Wrap arrays that are already canonical in a ``csr_array`` of shape (len(indptr) - 1, dim).

    The arrays are neither copied nor checked; scipy would widen or copy them to agree in dtype.
    """
    rows = len(indptr) - 1
    matrix: Any = copy(_blank(rows, dim)) if rows <= _FEW_ROWS else _blank.__wrapped__(rows, dim)
    matrix.indptr, matrix.indices, matrix.data = indptr, columns, values
    return matrix


@lru_cache(maxsize=64)
def _blank(rows: int, dim: int) -> csr_array:
    """An empty matrix to copy: making one takes scipy longer than many a search takes us."""
    from scipy.sparse import csr_array

    return csr_array((rows, dim), dtype=np.float32)


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
    from scipy.sparse import issparse

    if _is_canonical(vectors, dim, signed):  # the common cases, in one pass
        if vectors.indptr.dtype == _INT64:
            return vectors
        indptr = vectors.indptr.astype(np.int64)
        return from_arrays(indptr, vectors.indices, vectors.data, vectors.shape[1])
    source: Any = vectors
    if not issparse(vectors):
        try:
            source = np.asarray(vectors)
        except ValueError as error:  # nested lists of unequal lengths
            raise VectorError(f"expected sparse vectors of shape (n, dim): {error}") from error
    if source.ndim != 2 or source.dtype.kind not in "fiub":
        raise VectorError(
            "expected real sparse vectors of shape (n, dim), such as a scipy.sparse.csr_array; got "
            f"{type(vectors).__name__} of shape {source.shape} and dtype {source.dtype}"
        )
    rows, columns = source.shape
    if columns > MAX_DIM:
        raise VectorError(f"dimension {columns} is above the largest supported, {MAX_DIM}")
    if dim is not None and columns != dim:
        raise VectorError(f"vectors have {columns} columns where {dim} are expected")
    csr = _to_csr(source)

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


def _is_canonical(vectors: object, dim: int | None, signed: bool) -> TypeGuard[csr_array]:
    """Whether vectors are canonical, but for ``indptr``, which may be int32 as scipy likes it."""
    from scipy.sparse import csr_array

    return (
        isinstance(vectors, csr_array)
        and len(vectors.shape) == 2
        and dim in (None, vectors.shape[1])
        and vectors.shape[1] <= MAX_DIM
        and vectors.indptr.dtype in _OFFSETS
        and vectors.indices.dtype == _INT32
        and vectors.data.dtype == _FLOAT32
        and vectors.indptr.ndim == vectors.indices.ndim == vectors.data.ndim == 1
        and len(vectors.indptr) == vectors.shape[0] + 1
        and kernels.is_canonical(
            vectors.indptr.astype(np.int64, copy=False),
            vectors.indices,
            vectors.data,
            vectors.shape[1],
            signed=signed,
        )
    )


def _to_csr(source: Any) -> Any:
    """Two-dimensional numbers of any format as CSR, duplicate columns kept for the checks to see.

    Scipy adds up duplicates where it converts some formats, and trusts index arrays, which anyone
    can set: what points outside the matrix would crash it.
    """
    from scipy.sparse import csr_array, issparse

    if not issparse(source):
        # scipy knows no half precision.
        return csr_array(source.astype(np.float32) if source.dtype == np.float16 else source)
    rows, columns = source.shape
    if source.format == "csr":
        _check_structure(source.indptr, source.indices, source.data, rows, columns)
        return source
    if source.format == "csc":
        _check_structure(source.indptr, source.indices, source.data, columns, rows)
        return source.tocsr()
    entries = source.tocoo(copy=False)
    for axis, size in ((entries.row, rows), (entries.col, columns)):
        if len(axis) != len(entries.data):
            raise VectorError(f"{len(axis)} coordinates for {len(entries.data)} values")
        if len(axis) and (axis.min() < 0 or axis.max() >= size):
            raise VectorError(f"coordinates must lie within the shape, {source.shape}")
    order = np.lexsort((entries.col, entries.row))
    counts = np.bincount(entries.row, minlength=rows)
    csr: Any = csr_array(source.shape, dtype=source.dtype)
    csr.indptr = np.concatenate(([0], np.cumsum(counts)))
    csr.indices, csr.data = entries.col[order], entries.data[order]
    return csr


def _check_structure(
    indptr: NDArray[Any], indices: NDArray[Any], data: NDArray[Any], major: int, minor: int
) -> None:
    """Refuse arrays that scipy accepts unchecked but that point outside a CSR or CSC matrix.

    ``major`` is the number of its rows (CSR) or columns (CSC), ``minor`` that of the others.
    """
    if not indptr.ndim == indices.ndim == data.ndim == 1:
        raise VectorError("indptr, indices and data must be one-dimensional")
    if indptr.dtype.kind not in "iu" or indices.dtype.kind not in "iu":
        raise VectorError(
            f"indptr and indices hold {indptr.dtype} and {indices.dtype}, not integers"
        )
    if len(indptr) != major + 1 or indptr[0] != 0 or (indptr[1:] < indptr[:-1]).any():
        raise VectorError(f"indptr is not an ascending array of {major + 1} offsets from 0")
    nnz = int(indptr[-1])
    if nnz > min(len(indices), len(data)):
        raise VectorError(
            f"indptr promises {nnz} values, there are {len(indices)} indices and {len(data)} values"
        )
    if nnz and (int(indices[:nnz].min()) < 0 or int(indices[:nnz].max()) >= minor):
        raise VectorError(f"indices must lie in 0..{minor - 1}")


def check_binary(codes: object, *, dim: int | None = None) -> csr_array:
    """Return binary codes as canonical CSR whose values are all 1, or say why they cannot be.

    Args:
        codes: as :func:`check` takes them; explicit zeros are dropped.
        dim: required number of columns; None takes any.

    Raises:
        VectorError: as :func:`check`, or a value that is neither 0 nor 1.
    """
    canonical = check(codes, dim=dim)
    other = canonical.data != 1
    if other.any():
        at = int(np.argmax(other))
        row = int(np.searchsorted(canonical.indptr, at, side="right")) - 1
        raise VectorError(
            f"row {row}, column {canonical.indices[at]}: value {canonical.data[at]} in a binary "
            "code, whose values are 0 and 1; compare with a threshold, or keep the largest first"
        )
    return canonical
