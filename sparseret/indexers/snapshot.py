"""One state of an index: the segments and tombstones of one commit, searchable and immutable."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparseret import kernels
from sparseret.errors import CorruptIndexError, VectorError
from sparseret.indexers.catalog import Catalog, SegmentEntry
from sparseret.indexers.id_table import IdTable
from sparseret.indexers.segment_file import SegmentFile, read_segment
from sparseret.protocols import Weighting

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Snapshot"]

_FLOAT32_MAX = float(np.finfo(np.float32).max)


class Snapshot:
    """What readers search. Holds a read transaction on the catalog and the mapped segment files.

    A snapshot sees nothing that is committed after it was taken, and everything it sees stays
    readable until it is closed or dropped, merged files included.

    Args:
        folder: the index.
        weighting: turns stored counts to weights; None where stored values are weights.
        known: segment files an earlier snapshot has open, by segment number, to be used again.

    Raises:
        IndexNotFoundError, CorruptIndexError, IncompatibleIndexError, StorageError
    """

    def __init__(
        self,
        folder: Path,
        weighting: Weighting | None = None,
        known: Mapping[int, SegmentFile] | None = None,
    ) -> None:
        self.catalog, self.entries, self.files = _open(folder, known or {})
        self.close = weakref.finalize(self, self.catalog.close)
        self.tombstones = self.catalog.tombstones()
        self._first_rows = np.concatenate(
            ([0], np.cumsum([file.data.n_docs for file in self.files]))
        ).astype(np.int64)
        self._dead = [self._dead_positions(file) for file in self.files]
        self.n_documents = int(self._first_rows[-1]) - sum(len(dead) for dead in self._dead)
        self.mean_length = self._mean_length()
        self._segments: list[kernels.Segment] = []
        self._largest = 0.0
        for file in self.files:
            weights = None
            if file.data.coded:
                weights = file.data.code_values
                if weighting is not None:
                    weights = weighting.weigh(weights, file.data.code_lengths, self.mean_length)
                self._largest = max(self._largest, float(np.abs(weights).max(initial=0.0)))
            else:
                self._largest = max(self._largest, file.largest)
            self._segments.append(
                kernels.Segment(file.data.n_docs, file.data.postings, weights, file.window_bits)
            )
        self._weighting = weighting
        # Services ask for the same few filters again and again.
        self.numbers_where = lru_cache(maxsize=8)(self.catalog.numbers_where)
        self.ids = IdTable(
            self.catalog,
            first=self.entries[0].first if self.entries else 0,
            last=self.entries[-1].last if self.entries else -1,
        ).ids

    # --- statistics (sparseret.protocols.Statistics) -------------------------------------------

    def document_frequencies(self, columns: NDArray[np.int32]) -> NDArray[np.int64]:
        """Live documents that hold each column, shape of ``columns``."""
        total = np.zeros(len(columns), dtype=np.int64)
        for segment in self._segments:
            total += segment.document_frequencies(columns)
        if not len(self.tombstones):
            return total
        dead = self._dead_columns
        total -= np.searchsorted(dead, columns, "right") - np.searchsorted(dead, columns, "left")
        return total

    def _mean_length(self) -> float:
        total = math.fsum(file.total_length for file in self.files) - math.fsum(
            float(length)
            for file, dead in zip(self.files, self._dead, strict=True)
            if len(file.data.lengths)
            for length in file.data.lengths[dead]
        )
        return total / self.n_documents if self.n_documents else 0.0

    @cached_property
    def _dead_columns(self) -> NDArray[np.int32]:
        """Columns of all tombstoned documents, sorted, each as often as it occurs."""
        columns = [np.empty(0, np.int32)]
        for file, dead in zip(self.files, self._dead, strict=True):
            columns += [file.data.row_columns[file.data.row(position)] for position in dead]
        return np.sort(np.concatenate(columns))

    # --- search --------------------------------------------------------------------------------

    def search(
        self,
        queries: csr_array,
        k: int,
        *,
        allow: NDArray[np.int64] | None = None,
        threads: int = 1,
    ) -> tuple[list[NDArray[np.int64]], list[NDArray[np.float32]]]:
        """Exact top-k: document numbers and scores, one array of each a query.

        Args:
            queries: canonical CSR, shape (n, dim).
            k: at least 1; fewer are returned where fewer match.
            allow: ascending numbers of the documents that may be returned; None for all.
            threads: queries are spread over this many threads.

        Raises:
            VectorError: scores could exceed float32.
        """
        self._check_range(queries)
        allowed = [
            self._bitmap(file, dead, allow)
            for file, dead in zip(self.files, self._dead, strict=True)
        ]
        ranking = kernels.search(self._segments, queries, k, allowed=allowed, threads=threads)
        numbers = self._numbers(ranking.rows)
        bounds = ranking.ptr.tolist()
        rows = [slice(*ends) for ends in pairwise(bounds)]
        return [numbers[row] for row in rows], [ranking.scores[row] for row in rows]

    def row(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Columns and weights of one live document.

        Raises:
            KeyError: no live document has the number.
        """
        for file, dead in zip(self.files, self._dead, strict=True):
            data = file.data
            at = int(np.searchsorted(data.numbers, number))
            if at < data.n_docs and data.numbers[at] == number and at not in dead:
                inside = data.row(at)
                stored = data.row_values[inside]
                weights = data.values(stored)
                if self._weighting is not None:
                    lengths = data.lengths_of(stored)
                    weights = self._weighting.weigh(weights, lengths, self.mean_length)
                return data.row_columns[inside], weights
        raise KeyError(number)

    def live_mask(self, segment: int) -> NDArray[np.bool_] | None:
        """Which documents of a segment are live, shape (n_docs,); None where all are."""
        dead = self._dead[segment]
        if not len(dead):
            return None
        mask = np.ones(self.files[segment].data.n_docs, dtype=bool)
        mask[dead] = False
        return mask

    # --- details -------------------------------------------------------------------------------

    def _check_range(self, queries: csr_array) -> None:
        """Sums of finite products must stay finite: an infinite score has no rank."""
        if not queries.nnz:
            return
        size = np.abs(queries.data).astype(np.float64)
        if size.sum() * self._largest <= _FLOAT32_MAX / 2:
            return
        heaviest = max(float(row.sum()) for row in np.split(size, queries.indptr[1:-1]))
        if heaviest * self._largest > _FLOAT32_MAX / 2:
            raise VectorError(
                f"query weights that sum to {heaviest:.3g} times document weights up to "
                f"{self._largest:.3g} could exceed float32: scale the vectors down"
            )

    def _dead_positions(self, file: SegmentFile) -> NDArray[np.int64]:
        numbers = file.data.numbers
        if not len(numbers):
            return np.empty(0, np.int64)
        begin, end = np.searchsorted(self.tombstones, [numbers[0], numbers[-1] + 1])
        return _positions(numbers, self.tombstones[begin:end])

    def _bitmap(
        self, file: SegmentFile, dead: NDArray[np.int64], allow: NDArray[np.int64] | None
    ) -> NDArray[np.uint64] | None:
        """Allowed and live documents of a segment as a bitmap for the kernel."""
        if allow is None and not len(dead):
            return None
        n = file.data.n_docs
        if allow is None:
            mask = np.ones(n, dtype=bool)
        else:
            mask = np.zeros(n, dtype=bool)
            mask[_positions(file.data.numbers, allow)] = True
        mask[dead] = False
        padded = np.zeros(-(-n // 64) * 64, dtype=bool)
        padded[:n] = mask
        return np.packbits(padded, bitorder="little").view(np.uint64)

    def _numbers(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Document numbers of rows counted through all segments."""
        if len(self.files) == 1:
            return self.files[0].data.numbers[rows]
        segment_of = np.searchsorted(self._first_rows, rows, "right") - 1
        numbers = np.empty(len(rows), dtype=np.int64)
        for s, file in enumerate(self.files):
            inside = segment_of == s
            if inside.any():
                numbers[inside] = file.data.numbers[rows[inside] - self._first_rows[s]]
        return numbers


def _positions(numbers: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the wanted values stand in ascending ``numbers``; those absent are left out."""
    if len(numbers) == len(wanted) and np.array_equal(numbers, wanted):
        return np.arange(len(numbers))
    at = np.searchsorted(numbers, wanted)
    inside = at < len(numbers)
    at, wanted = at[inside], wanted[inside]
    found: NDArray[np.int64] = at[numbers[at] == wanted]
    return found


def _open(
    folder: Path, known: Mapping[int, SegmentFile]
) -> tuple[Catalog, list[SegmentEntry], list[SegmentFile]]:
    """Catalog and segment files of one state; tries again if a merge removes a file meanwhile."""
    for attempt in range(10):
        catalog = Catalog(folder, writable=False)
        try:
            catalog.begin_snapshot()
            entries = catalog.segments()
            files = [
                known.get(entry.number)
                or read_segment(folder / entry.file, size=entry.bytes, header_crc=entry.header_crc)
                for entry in entries
            ]
        except FileNotFoundError as error:
            catalog.close()
            if attempt == 9:
                raise CorruptIndexError(
                    f"{error.filename} is missing though the catalog lists it. "
                    "Restore it from a backup or build the index again"
                ) from error
        except BaseException:
            catalog.close()
            raise
        else:
            return catalog, entries, files
    raise AssertionError("unreachable")
