"""One state of an index: the segments and tombstones of one commit, searchable and immutable."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret import kernels, vectors
from sparseret.errors import CorruptIndexError
from sparseret.indexers.calibration import Calibration, made_queries
from sparseret.indexers.catalog import CALIBRATION, Catalog, SegmentEntry
from sparseret.indexers.id_table import IdTable
from sparseret.indexers.segment import SegmentData
from sparseret.indexers.segment_file import SegmentFile, read_segment
from sparseret.protocols import Mode, Weighting

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Found", "Snapshot"]


class Found(NamedTuple):
    """Results of a search, one entry a query."""

    numbers: list[NDArray[np.int64]]
    """Document numbers, best first."""
    scores: list[NDArray[np.float32]]
    places: list[NDArray[np.uint32]]
    """Of an approximate search (:class:`sparseret.kernels.Ranking`)."""
    work: kernels.Work


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
        self._segments: list[kernels.Segment | kernels.ImpactSegment] = []
        largest = 0.0
        for file in self.files:
            weights = None
            if file.data.coded:
                weights = file.data.code_values
                if weighting is not None and isinstance(file.data, SegmentData):
                    weights = weighting.weigh(weights, file.data.code_lengths, self.mean_length)
                largest = max(largest, float(np.abs(weights).max(initial=0.0)))
            else:
                largest = max(largest, file.largest)
            self._segments.append(_ready(file, weights))
        self._weighting = weighting
        dim = self.catalog.meta("dim")
        self._dim, self._signed = int(dim) if dim else None, self.catalog.meta("signed") == "1"
        self._collection = kernels.Collection(
            self._segments, dim=self._dim, signed=self._signed, largest=largest
        )
        # Services ask for the same few filters again and again.
        self.numbers_where = lru_cache(maxsize=8)(self.catalog.numbers_where)
        table = IdTable(
            self.catalog,
            first=self.entries[0].first if self.entries else 0,
            last=self.entries[-1].last if self.entries else -1,
        )
        self.ids = table.ids

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
            if isinstance(file.data, SegmentData) and len(file.data.lengths)
            for length in file.data.lengths[dead]
        )
        return total / self.n_documents if self.n_documents else 0.0

    @cached_property
    def _dead_columns(self) -> NDArray[np.int32]:
        """Columns of all tombstoned documents, sorted, each as often as it occurs."""
        columns = [np.empty(0, np.int32)]
        for file, dead in zip(self.files, self._dead, strict=True):
            columns += [file.data.columns(file.data.row(position)) for position in dead]
        return np.sort(np.concatenate(columns))

    # --- search --------------------------------------------------------------------------------

    def search(
        self,
        queries: csr_array,
        k: int,
        *,
        allow: NDArray[np.int64] | None = None,
        between: range | None = None,
        effort: kernels.Effort | None = None,
        threads: int = 1,
    ) -> Found:
        """Top-k: document numbers and scores, one array of each a query.

        Args:
            queries: any scipy sparse array of shape (n, dim); canonical CSR is not copied.
            k: at least 1; fewer are returned where fewer match.
            allow: ascending numbers of the documents that may be returned; None for all.
            between: consecutive numbers, outside of which no document is returned; the work is in
                proportion to the documents inside. None for all.
            effort: None for an exact search (:func:`sparseret.kernels.search`).
            threads: queries are spread over this many threads.

        Raises:
            VectorError: queries that cannot be, or whose scores could exceed float32.
        """
        allowed = self._allowed(allow)
        inside = None if between is None else self._rows_between(between)
        search = self._collection.search
        try:
            ranking = search(queries, k, allowed, inside, effort, threads)
        except (kernels.NotCanonicalError, TypeError):
            # The kernel tells faster than Python could that queries are as they should be. Here
            # they are put right, or what is wrong with them is said.
            checked = vectors.check(queries, dim=self._dim, signed=self._signed)
            ranking = search(checked, k, allowed, inside, effort, threads)
        numbers = self._numbers(ranking.rows)
        if len(ranking.ptr) == 2:  # one query, the common case
            return Found([numbers], [ranking.scores], [ranking.places], ranking.work)
        bounds = ranking.ptr.tolist()
        rows = [slice(*ends) for ends in pairwise(bounds)]
        return Found(
            [numbers[row] for row in rows], [ranking.scores[row] for row in rows],
            [ranking.places[row] for row in rows], ranking.work,
        )  # fmt: skip

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
                if self._weighting is not None and isinstance(data, SegmentData):
                    lengths = data.lengths_of(stored)
                    weights = self._weighting.weigh(weights, lengths, self.mean_length)
                return data.columns(inside), weights
        raise KeyError(number)

    def live_mask(self, segment: int) -> NDArray[np.bool_] | None:
        """Which documents of a segment are live, shape (n_docs,); None where all are."""
        dead = self._dead[segment]
        if not len(dead):
            return None
        mask = np.ones(self.files[segment].data.n_docs, dtype=bool)
        mask[dead] = False
        return mask

    @cached_property
    def calibration(self) -> Calibration | None:
        """Which effort reaches which recall; None if that was never measured."""
        if not self.catalog.has_meta(CALIBRATION):
            return None
        return Calibration.from_json(self.catalog.meta(CALIBRATION))

    @cached_property
    def cheapest(self) -> Callable[[float, int], tuple[kernels.Effort | None, Mode]]:
        """The cheapest effort that reached a recall for k results, or None for exact search."""
        # Of the calibration alone: a cache of a method would keep the snapshot from being dropped.
        return lru_cache(maxsize=64)(partial(_cheapest, self.calibration))

    def sample_queries(self, n: int) -> csr_array:
        """Queries made from up to n live documents, spread evenly, for calibration."""
        rows = []
        for file, dead in zip(self.files, self._dead, strict=True):
            share = max(1, round(n * file.data.n_docs / max(1, int(self._first_rows[-1]))))
            places = np.unique(np.linspace(0, file.data.n_docs - 1, share).astype(np.int64))
            for number in file.data.numbers[np.setdiff1d(places, dead)]:
                columns, values = self.row(int(number))
                if len(columns) and (values > 0).all():
                    rows.append((columns, values))
        return made_queries(rows[:n], self._dim or vectors.MAX_DIM)

    # --- details -------------------------------------------------------------------------------

    def _dead_positions(self, file: SegmentFile) -> NDArray[np.int64]:
        numbers = file.data.numbers
        if not len(numbers):
            return np.empty(0, np.int64)
        begin, end = np.searchsorted(self.tombstones, [numbers[0], numbers[-1] + 1])
        return _positions(numbers, self.tombstones[begin:end])

    def _allowed(self, allow: NDArray[np.int64] | None) -> list[NDArray[np.uint64] | None] | None:
        """Allowed and live documents of each segment as bitmaps for the kernel."""
        if allow is None:
            return self._live_bitmaps
        return [
            self._bitmap(i, _positions(file.data.numbers, allow))
            for i, file in enumerate(self.files)
        ]

    @cached_property
    def _live_bitmaps(self) -> list[NDArray[np.uint64] | None] | None:
        if not any(len(dead) for dead in self._dead):
            return None
        return [
            self._bitmap(i, slice(None)) if len(dead) else None for i, dead in enumerate(self._dead)
        ]

    def _bitmap(self, segment: int, places: NDArray[np.int64] | slice) -> NDArray[np.uint64]:
        n = self.files[segment].data.n_docs
        mask = np.zeros(-(-n // 64) * 64, dtype=bool)
        mask[:n][places] = True
        mask[self._dead[segment]] = False
        return np.packbits(mask, bitorder="little").view(np.uint64)

    def _rows_between(self, numbers: range) -> range:
        """Rows, counted through all segments, of documents with numbers in a range."""
        ends = []
        for wanted in (numbers.start, numbers.stop):
            row = 0
            for file in self.files:
                at = int(np.searchsorted(file.data.numbers, wanted))
                row += at
                if at < file.data.n_docs:
                    break
            ends.append(row)
        return range(*ends)

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


def _cheapest(
    calibration: Calibration | None, recall: float, k: int
) -> tuple[kernels.Effort | None, Mode]:
    level = None if calibration is None else calibration.cheapest(recall, k)
    if level is None:  # nothing cheaper than an exact search is known to be good enough
        return None, Mode()
    return level.effort, Mode(exact=False, recall=level.recall)


def _ready(
    file: SegmentFile, weights: NDArray[np.float32] | None
) -> kernels.Segment | kernels.ImpactSegment:
    data = file.data
    try:
        if isinstance(data, SegmentData):
            return kernels.Segment(data.n_docs, data.postings, weights, file.window_bits)
        return kernels.ImpactSegment(
            data.lists, data.row_ptr, data.row_ranks, data.row_values, weights, file.window_bits
        )
    except ValueError as error:  # arrays of lengths that do not fit each other
        raise CorruptIndexError(
            f"{file.path} is no sound segment file ({error}). Restore it from a backup or build "
            "the index again"
        ) from error


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
