"""A segment in memory: the stored rows (the truth) and their inverted form, derived from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret import kernels, vectors
from sparseret.errors import CorruptIndexError
from sparseret.kernels import Postings

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["MAX_SEGMENT_NNZ", "SegmentData", "build_segment", "merge_segments"]

MAX_SEGMENT_NNZ = 2**25
"""Segments are not merged beyond this many stored values: it bounds the memory of a merge."""

_REMEDY = ": `sparseret verify` tells which file is damaged"

_PLAIN_CODES = 2**16
"""Vectors without weighting are coded only while their distinct values fit 16 bits."""


class SegmentData(NamedTuple):
    """Arrays of a segment of n documents with nnz stored values (docs/storage.md).

    A stored value is either a float32 or a code: its position in ``code_values`` and
    ``code_lengths``. Collections whose weights depend on statistics (BM25) store counts, always
    coded together with the length of their document, so that one small table gives every weight.
    """

    numbers: NDArray[np.int64]
    """Document numbers, ascending, shape (n,)."""
    row_ptr: NDArray[np.int64]
    """Offsets of each document into the row arrays, shape (n + 1,)."""
    row_columns: NDArray[np.int32]
    """Columns of each document, ascending, shape (nnz,)."""
    row_values: NDArray[Any]
    """float32 values, or codes of 8, 16 or 32 bits, shape (nnz,)."""
    lengths: NDArray[np.float32]
    """Sum of each document's values, shape (n,); shape (0,) where there is no weighting."""
    code_values: NDArray[np.float32]
    """Value of each code, shape (n_codes,); shape (0,) where values are not coded."""
    code_lengths: NDArray[np.float32]
    """Document length of each code, shape (n_codes,); shape (0,) where there is no weighting."""
    postings: Postings

    @property
    def n_docs(self) -> int:
        """Number of documents."""
        return len(self.numbers)

    @property
    def coded(self) -> bool:
        """Whether stored values are codes."""
        return self.row_values.dtype != np.float32

    def values(self, codes_or_values: NDArray[Any]) -> NDArray[np.float32]:
        """Stored values as float32: decodes ``row_values`` or any part of it."""
        return self._decode(self.code_values, codes_or_values) if self.coded else codes_or_values

    def lengths_of(self, codes: NDArray[Any]) -> NDArray[np.float32]:
        """Document length behind each code, where there is weighting."""
        return self._decode(self.code_lengths, codes)

    def row(self, position: int) -> slice:
        """Where the columns and values of one document lie."""
        begin, end = int(self.row_ptr[position]), int(self.row_ptr[position + 1])
        if not 0 <= begin <= end <= len(self.row_columns):
            raise CorruptIndexError(f"row_ptr is out of range{_REMEDY}")
        return slice(begin, end)

    @staticmethod
    def _decode(table: NDArray[np.float32], codes: NDArray[Any]) -> NDArray[np.float32]:
        try:
            return np.asarray(table[codes], dtype=np.float32)
        except IndexError as error:  # codes come from a file
            raise CorruptIndexError(f"a code is not in its table{_REMEDY}") from error


def build_segment(
    numbers: NDArray[np.int64], rows: csr_array, *, weighted: bool, window_bits: int
) -> SegmentData:
    """Make a segment of canonical rows.

    Args:
        numbers: ascending document numbers, shape (n,).
        rows: canonical CSR (:func:`sparseret.vectors.check`), shape (n, dim).
        weighted: whether values are counts to be weighted by collection statistics.
        window_bits: documents per window, as a power of two.
    """
    n = len(numbers)
    lengths = np.empty(0, np.float32)
    if weighted:
        row_of = np.repeat(np.arange(n), np.diff(rows.indptr))
        lengths = np.bincount(row_of, weights=rows.data, minlength=n).astype(np.float32)
    book = kernels.make_codebook(
        rows.indptr,
        rows.data,
        lengths if weighted else None,
        2**31 - 1 if weighted else _PLAIN_CODES,
    )
    values: NDArray[Any] = rows.data
    code_values = code_lengths = np.empty(0, np.float32)
    if book is not None:
        values = book.codes.astype(_code_type(len(book.values)))
        code_values = book.values
        code_lengths = book.lengths if weighted else code_lengths
    return SegmentData(
        numbers=numbers,
        row_ptr=rows.indptr,
        row_columns=rows.indices,
        row_values=values,
        lengths=lengths,
        code_values=code_values,
        code_lengths=code_lengths,
        postings=kernels.invert(rows.indptr, rows.indices, values, window_bits),
    )


def merge_segments(
    parts: Sequence[tuple[SegmentData, NDArray[np.bool_] | None]],
    *,
    weighted: bool,
    window_bits: int,
) -> SegmentData:
    """One segment of the live documents of several, in their order.

    Args:
        parts: segments with ascending, disjoint ranges of document numbers, each with a mask of
            its live documents, shape (n,), or None where all are.
        weighted: as in :func:`build_segment`.
        window_bits: as in :func:`build_segment`.
    """
    numbers, sizes, columns, values = [], [], [], []
    for data, live in parts:
        row_sizes = np.diff(data.row_ptr)
        if live is None:
            numbers.append(data.numbers)
            sizes.append(row_sizes)
            columns.append(data.row_columns)
            values.append(data.values(data.row_values))
        else:
            kept = np.repeat(live, row_sizes)
            numbers.append(data.numbers[live])
            sizes.append(row_sizes[live])
            columns.append(data.row_columns[kept])
            values.append(data.values(data.row_values[kept]))
    row_ptr = np.concatenate(([0], np.cumsum(np.concatenate(sizes)))).astype(np.int64)
    rows = vectors.from_arrays(
        row_ptr, np.concatenate(columns), np.concatenate(values), vectors.MAX_DIM
    )
    return build_segment(np.concatenate(numbers), rows, weighted=weighted, window_bits=window_bits)


def _code_type(n_codes: int) -> type[np.unsignedinteger[Any]]:
    if n_codes <= 2**8:
        return np.uint8
    return np.uint16 if n_codes <= 2**16 else np.uint32
