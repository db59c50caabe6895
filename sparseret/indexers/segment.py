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

__all__ = [
    "MAX_SEGMENT_NNZ",
    "SegmentData",
    "build_segment",
    "code_type",
    "decode",
    "merge_segments",
    "row_range",
]

MAX_SEGMENT_NNZ = 2**24
"""Segments are not merged beyond this many stored values: it bounds the memory of a merge."""

_REMEDY = ": `sparseret verify` tells which file is damaged"

_NONE = np.empty(0, np.float32)

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
    def nnz(self) -> int:
        """Number of stored values."""
        return len(self.row_columns)

    @property
    def coded(self) -> bool:
        """Whether stored values are codes."""
        return self.row_values.dtype != np.float32

    def values(self, codes_or_values: NDArray[Any]) -> NDArray[np.float32]:
        """Stored values as float32: decodes ``row_values`` or any part of it."""
        return decode(self.code_values, codes_or_values) if self.coded else codes_or_values

    def lengths_of(self, codes: NDArray[Any]) -> NDArray[np.float32]:
        """Document length behind each code, where there is weighting."""
        return decode(self.code_lengths, codes)

    def columns(self, inside: slice) -> NDArray[np.int32]:
        """Columns of a stretch of the row arrays."""
        return self.row_columns[inside]

    def row(self, position: int) -> slice:
        """Where the columns and values of one document lie."""
        return row_range(self.row_ptr, position, self.nnz)


def row_range(row_ptr: NDArray[np.int64], position: int, nnz: int) -> slice:
    """The stretch of one row, checked, as offsets come from a file. Raises CorruptIndexError."""
    begin, end = int(row_ptr[position]), int(row_ptr[position + 1])
    if not 0 <= begin <= end <= nnz:
        raise CorruptIndexError(f"row_ptr is out of range{_REMEDY}")
    return slice(begin, end)


def decode(table: NDArray[np.float32], codes: NDArray[Any]) -> NDArray[np.float32]:
    """Values behind codes, checked, as codes come from a file. Raises CorruptIndexError."""
    try:
        return np.asarray(table[codes], dtype=np.float32)
    except IndexError as error:
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
    lengths = _NONE
    if weighted:
        row_of = np.repeat(np.arange(n), np.diff(rows.indptr))
        lengths = np.bincount(row_of, weights=rows.data, minlength=n).astype(np.float32)
    book = kernels.make_codebook(
        rows.indptr,
        rows.data,
        lengths if weighted else None,
        _max_codes(weighted),
    )
    values: NDArray[Any] = rows.data
    code_values = code_lengths = _NONE
    if book is not None:
        values = book.codes.astype(code_type(len(book.values)))
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
    kept = [_kept(data, live) for data, live in parts]
    numbers = np.concatenate([k.numbers for k in kept])
    row_ptr = np.concatenate(([0], np.cumsum(np.concatenate([k.sizes for k in kept]))))
    row_ptr = row_ptr.astype(np.int64)
    columns = np.concatenate([k.data.row_columns[k.values] for k in kept])
    codes = _merge_codes(kept, limit=_max_codes(weighted))
    if codes is None:
        values = np.concatenate([k.data.values(k.data.row_values[k.values]) for k in kept])
        rows = vectors.from_arrays(row_ptr, columns, values, vectors.MAX_DIM)
        return build_segment(numbers, rows, weighted=weighted, window_bits=window_bits)
    return SegmentData(
        numbers=numbers,
        row_ptr=row_ptr,
        row_columns=columns,
        row_values=codes.codes,
        lengths=np.concatenate([k.data.lengths[k.documents] for k in kept if weighted] or [_NONE]),
        code_values=codes.values,
        code_lengths=codes.lengths if weighted else _NONE,
        postings=kernels.invert(row_ptr, columns, codes.codes, window_bits),
    )


class _Kept(NamedTuple):
    """What a merge takes of one segment."""

    data: SegmentData
    documents: NDArray[np.bool_] | slice
    values: NDArray[np.bool_] | slice
    """Of the row arrays."""
    numbers: NDArray[np.int64]
    sizes: NDArray[np.int64]
    """Values of each document."""


def _kept(data: SegmentData, live: NDArray[np.bool_] | None) -> _Kept:
    sizes = np.diff(data.row_ptr)
    if live is None:
        return _Kept(data, slice(None), slice(None), data.numbers, sizes)
    return _Kept(data, live, np.repeat(live, sizes), data.numbers[live], sizes[live])


class _Codes(NamedTuple):
    codes: NDArray[Any]
    values: NDArray[np.float32]
    lengths: NDArray[np.float32]


def _merge_codes(kept: Sequence[_Kept], limit: int) -> _Codes | None:
    """Codes of the merged rows, and what is behind them, as building would give them.

    Works on the tables of codes, so that values are never spread out: a merge needs the memory of
    the codes alone. None where a segment is not coded, or the codes are too many.
    """
    if not all(k.data.coded or not len(k.data.row_values) for k in kept):
        return None
    keys = [_code_keys(k.data.code_values, k.data.code_lengths) for k in kept]
    used = []
    for k, key in zip(kept, keys, strict=True):
        seen = np.zeros(len(key), dtype=bool)
        seen[k.data.row_values[k.values]] = True
        used.append(key[seen])
    table = np.unique(np.concatenate(used))
    if len(table) > limit:
        return None
    narrow = code_type(len(table))
    codes = [
        np.searchsorted(table, key).astype(narrow)[k.data.row_values[k.values]]
        for k, key in zip(kept, keys, strict=True)
    ]
    return _Codes(
        np.concatenate(codes),
        (table >> np.uint64(32)).astype(np.uint32).view(np.float32),
        (table & np.uint64(0xFFFFFFFF)).astype(np.uint32).view(np.float32),
    )


def _code_keys(values: NDArray[np.float32], lengths: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Bits of (value, length) pairs as one integer each: the order of codes."""
    high = values.view(np.uint32).astype(np.uint64) << np.uint64(32)
    return high | lengths.view(np.uint32) if len(lengths) else high


def _max_codes(weighted: bool) -> int:
    return 2**31 - 1 if weighted else _PLAIN_CODES


def code_type(n_codes: int) -> type[np.unsignedinteger[Any]]:
    """The narrowest type that counts so many codes."""
    if n_codes <= 2**8:
        return np.uint8
    return np.uint16 if n_codes <= 2**16 else np.uint32
