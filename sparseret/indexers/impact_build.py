"""Segments of positive vectors: their rows beside impact-ordered lists, written window by window.

A segment is written from *parts*, be they rows that were just added or older segments, without
ever holding more of it than a few windows: the memory of a merge does not grow with its size.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret import kernels
from sparseret.indexers.impact_data import ImpactData
from sparseret.indexers.segment import SegmentData, code_type, decode
from sparseret.indexers.segment_writer import SegmentWriter
from sparseret.kernels import IMPACT_BITS

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Part", "part_of_rows", "part_of_segment", "write_impact_segment"]

_MAX_CODES = 2**16
_NONE = np.empty(0, np.float32)
_THREADS = os.cpu_count() or 1


class Part(NamedTuple):
    """Rows to be written, of one origin."""

    numbers: NDArray[np.int64]
    """Of its live documents, ascending."""
    sizes: NDArray[np.int64]
    """Values of each live document."""
    live: NDArray[np.int64] | None
    """Positions of the live documents among ``row_ptr``; None where all are."""
    row_ptr: NDArray[np.int64]
    columns: NDArray[np.int32]
    column_max: NDArray[np.float32]
    ranks: NDArray[Any]
    """Into ``columns``."""
    values: NDArray[Any]
    """float32, or codes for ``code_values``."""
    code_values: NDArray[np.float32] | None

    def positions(self, begin: int, end: int) -> NDArray[np.bool_] | NDArray[np.int64] | slice:
        """Where the values of live documents begin..end are in ``ranks`` and ``values``."""
        if begin == end:
            return slice(0, 0)
        if self.live is None:
            return slice(int(self.row_ptr[begin]), int(self.row_ptr[end]))
        starts = self.row_ptr[self.live[begin:end]]
        sizes = self.sizes[begin:end]
        offsets = np.repeat(starts - np.concatenate(([0], np.cumsum(sizes)[:-1])), sizes)
        places: NDArray[np.int64] = offsets + np.arange(int(sizes.sum()))
        return places


def part_of_rows(numbers: NDArray[np.int64], rows: csr_array) -> Part:
    """Canonical rows with positive values, shape (len(numbers), dim)."""
    ranked = kernels.rank_columns(rows.indices, rows.data)
    book = kernels.make_codebook(rows.indptr, rows.data, None, _MAX_CODES)
    values: NDArray[Any] = rows.data
    if book is not None:
        values = book.codes.astype(code_type(len(book.values)))
    return Part(
        numbers, np.diff(rows.indptr), None, rows.indptr, ranked.columns, ranked.column_max,
        ranked.ranks, values, None if book is None else book.values,
    )  # fmt: skip


def part_of_segment(data: ImpactData | SegmentData, live: NDArray[np.bool_] | None) -> Part:
    """The live documents of a segment; one without lists must hold positive weights."""
    if isinstance(data, ImpactData):
        columns, column_max = data.lists.columns, data.lists.column_max
        ranks: NDArray[Any] = data.row_ranks
    else:
        ranked = kernels.rank_columns(data.row_columns, data.values(data.row_values))
        columns, column_max, ranks = ranked
    sizes = np.diff(data.row_ptr)
    places = None if live is None else np.flatnonzero(live)
    return Part(
        data.numbers if places is None else data.numbers[places],
        sizes if places is None else sizes[places],
        places, data.row_ptr, columns, column_max, ranks, data.row_values,
        data.code_values if data.coded else None,
    )  # fmt: skip


class _Whole(NamedTuple):
    """What a segment needs to know of all its parts before the first row is written."""

    columns: NDArray[np.int32]
    column_max: NDArray[np.float32]
    ranks: list[NDArray[Any]]
    """For each part, the new rank of each of its ranks."""
    code_values: NDArray[np.float32] | None
    codes: list[NDArray[Any]]
    """For each part, the new code of each of its codes; empty where values are not coded."""

    @property
    def value_type(self) -> np.dtype[Any]:
        """Of the stored values."""
        if self.code_values is None:
            return np.dtype(np.float32)
        return np.dtype(code_type(len(self.code_values)))


def write_impact_segment(
    path: Path, parts: Sequence[Part], *, window_bits: int = IMPACT_BITS
) -> tuple[int, int]:
    """Write and fsync a segment of all rows of the parts; returns what write_segment does.

    Args:
        path: must not exist.
        parts: with ascending, disjoint document numbers.
        window_bits: documents per window, as a power of two.

    Raises:
        StorageError: the disk is full, or the system refuses otherwise; no partial file is left.
    """
    whole = _join(parts)
    numbers = np.concatenate([part.numbers for part in parts])
    sizes = np.concatenate([part.sizes for part in parts])
    row_ptr = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    nnz = int(row_ptr[-1])
    builder = kernels.ImpactBuilder(whole.columns, whole.column_max, window_bits)
    rank_type = np.dtype(np.uint16 if len(whole.columns) <= 2**16 else np.uint32)
    largest = float(whole.column_max.max(initial=0.0))
    sized = {
        "numbers": (np.dtype(np.int64), len(numbers)),
        "row_ptr": (np.dtype(np.int64), len(row_ptr)),
        "row_values": (whole.value_type, nnz),
        "row_ranks": (rank_type, nnz),
    }
    # Where there is one value only, the columns of a row say all.
    binary = whole.code_values is not None and len(whole.code_values) == 1
    if binary:
        del sized["row_values"]
    with SegmentWriter(
        path,
        sized,
        growing=("lists.words", np.dtype(np.uint16)),
        window_bits=window_bits,
        largest=largest,
    ) as file:
        file.append("numbers", numbers)
        file.append("row_ptr", row_ptr)
        at_once = _THREADS << window_bits
        for begin in range(0, len(numbers), at_once):
            end = min(begin + at_once, len(numbers))
            ranks, values = _gather(parts, whole, begin, end)
            inside = row_ptr[begin : end + 1] - row_ptr[begin]
            weights = values if whole.code_values is None else whole.code_values[values]
            file.append("lists.words", builder.add(inside, ranks, weights, _THREADS))
            file.append("row_ranks", ranks)
            if not binary:
                file.append("row_values", values)
        lists = builder.finish(np.empty(0, np.uint16))
        return file.finish(
            {
                "lists.columns": lists.columns,
                "lists.column_max": lists.column_max,
                "lists.column_ptr": lists.column_ptr,
                "lists.lists": lists.lists,
                "code_values": _NONE if whole.code_values is None else whole.code_values,
            }
        )


def _join(parts: Sequence[Part]) -> _Whole:
    columns = np.unique(np.concatenate([part.columns for part in parts]))
    rank_type = np.uint16 if len(columns) <= 2**16 else np.uint32
    column_max = np.zeros(len(columns), np.float32)
    ranks = []
    for part in parts:
        places = np.searchsorted(columns, part.columns)
        np.maximum.at(column_max, places, part.column_max)
        ranks.append(places.astype(rank_type))
    tables = [part.code_values for part in parts if len(part.values)]
    table = None
    if all(values is not None for values in tables):
        table = np.unique(np.concatenate([_NONE, *(t for t in tables if t is not None)]))
        table = table if len(table) <= _MAX_CODES else None
    codes: list[NDArray[Any]] = []
    if table is not None:
        narrow = code_type(len(table))
        for part in parts:
            known = _NONE if part.code_values is None else part.code_values
            codes.append(np.searchsorted(table, known).astype(narrow))
    return _Whole(columns, column_max, ranks, table, codes)


def _gather(
    parts: Sequence[Part], whole: _Whole, begin: int, end: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Ranks and stored values of live documents begin..end, counted through all parts."""
    ranks: list[NDArray[Any]] = []
    values: list[NDArray[Any]] = []
    for p, first, last in _overlaps(parts, begin, end):
        part = parts[p]
        places = part.positions(first, last)
        stored = part.values[places]
        if whole.code_values is not None:
            stored = whole.codes[p][stored]
        elif part.code_values is not None:
            stored = decode(part.code_values, stored)
        ranks.append(whole.ranks[p][part.ranks[places]])
        values.append(stored)
    if len(ranks) == 1:
        return np.ascontiguousarray(ranks[0]), np.ascontiguousarray(values[0])
    return np.concatenate(ranks), np.concatenate(values)


def _overlaps(parts: Sequence[Part], begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(part, first, last) of its live documents that lie in begin..end of all."""
    base = 0
    for p, part in enumerate(parts):
        n = len(part.numbers)
        first, last = max(begin - base, 0), min(end - base, n)
        if first < last:
            yield p, first, last
        base += n
