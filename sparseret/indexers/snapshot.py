"""One state of an inverted leg: the segments of one commit, searchable and immutable."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from sparseret import kernels, vectors
from sparseret.errors import CorruptIndexError
from sparseret.indexers.calibration import Calibration, made_queries
from sparseret.indexers.catalog import CALIBRATION
from sparseret.indexers.segment import SegmentData
from sparseret.indexers.segment_file import SegmentFile
from sparseret.indexers.state import State
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
    """What readers search of a leg of sparse vectors.

    Args:
        state: of the index.
        leg: position of the leg among those of the index.
        weighting: turns stored counts to weights; None where stored values are weights.

    Raises:
        CorruptIndexError: files that do not fit each other.
    """

    def __init__(self, state: State, leg: int = 0, weighting: Weighting | None = None) -> None:
        self.state = state
        self.catalog, self.tombstones = state.catalog, state.tombstones
        self.ids, self.numbers_where = state.ids, state.numbers_where
        self.n_documents = state.n_documents
        self.leg_files = files = state.legs[leg]
        self.entries = files.entries
        self.files = cast("Sequence[SegmentFile]", files.files)
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
        dim = self._meta("dim")
        self._dim, self._signed = int(dim) if dim else None, self._meta("signed") == "1"
        self._collection = kernels.Collection(
            self._segments, dim=self._dim, signed=self._signed, largest=largest
        )

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
            for file, dead in zip(self.files, self.leg_files.dead, strict=True)
            if isinstance(file.data, SegmentData) and len(file.data.lengths)
            for length in file.data.lengths[dead]
        )
        return total / self.n_documents if self.n_documents else 0.0

    @cached_property
    def _dead_columns(self) -> NDArray[np.int32]:
        """Columns of all tombstoned documents, sorted, each as often as it occurs."""
        columns = [np.empty(0, np.int32)]
        for file, dead in zip(self.files, self.leg_files.dead, strict=True):
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
        inside = None if between is None else self.leg_files.rows_between(between)
        search = self._collection.search
        try:
            ranking = search(queries, k, allowed, inside, effort, threads)
        except (kernels.NotCanonicalError, TypeError):
            # The kernel tells faster than Python could that queries are as they should be. Here
            # they are put right, or what is wrong with them is said.
            checked = vectors.check(queries, dim=self._dim, signed=self._signed)
            ranking = search(checked, k, allowed, inside, effort, threads)
        numbers = self.leg_files.numbers_of(ranking.rows)
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
        for file, dead in zip(self.files, self.leg_files.dead, strict=True):
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

    @cached_property
    def calibration(self) -> Calibration | None:
        """Which effort reaches which recall; None if that was never measured."""
        if not self.catalog.has_meta(self.leg_files.leg.key(CALIBRATION)):
            return None
        return Calibration.from_json(self._meta(CALIBRATION))

    @cached_property
    def cheapest(self) -> Callable[[float, int], tuple[kernels.Effort | None, Mode]]:
        """The cheapest effort that reached a recall for k results, or None for exact search."""
        # Of the calibration alone: a cache of a method would keep the snapshot from being dropped.
        return lru_cache(maxsize=64)(partial(_cheapest, self.calibration))

    def sample_queries(self, n: int) -> csr_array:
        """Queries made from up to n live documents, spread evenly, for calibration."""
        rows = []
        for file, dead in zip(self.files, self.leg_files.dead, strict=True):
            share = max(1, round(n * file.data.n_docs / max(1, int(self.leg_files.first_rows[-1]))))
            places = np.unique(np.linspace(0, file.data.n_docs - 1, share).astype(np.int64))
            for number in file.data.numbers[np.setdiff1d(places, dead)]:
                columns, values = self.row(int(number))
                if len(columns) and (values > 0).all():
                    rows.append((columns, values))
        return made_queries(rows[:n], self._dim or vectors.MAX_DIM)

    # --- details -------------------------------------------------------------------------------

    def _meta(self, key: str) -> str:
        return self.catalog.meta(self.leg_files.leg.key(key))

    def _allowed(self, allow: NDArray[np.int64] | None) -> list[NDArray[np.uint64] | None] | None:
        """Allowed and live documents of each segment as bitmaps for the kernel."""
        if allow is None:
            return self.leg_files.live_bitmaps
        return [self.leg_files.bitmap(i, allow) for i in range(len(self.files))]


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
