"""Ways to find the best documents of a window, all of them exact and on one thread."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from benchmarks.own_index import POSITION
from benchmarks.ranges.records import AFTERWARDS, RANGE, Method
from sparseret import kernels
from sparseret.indexers.impact_data import ImpactData
from sparseret.indexers.inverted import InvertedIndex

if TYPE_CHECKING:
    from sparseret.indexers.segment_file import SegmentFile

__all__ = ["Answer", "Methods", "Query", "Window"]

_MARGIN = 2
"""How many times the expected number of results is asked for at first."""
_GROWTH = 4


class Window(NamedTuple):
    """Consecutive documents in every form that a method takes."""

    documents: range
    """Positions in the corpus."""
    numbers: range
    """Document numbers in the index."""
    where: str
    """The same as a filter in words."""
    bitmaps: list[NDArray[np.uint64] | None]
    """The same as bitmaps of each segment."""


class Query(NamedTuple):
    """One query in every form that a method takes."""

    row: csr_array
    """Shape (1, n_columns)."""
    dense: NDArray[np.float32]
    """Shape (n_columns,)."""


class Answer(NamedTuple):
    """The best documents of a window."""

    documents: NDArray[np.int64]
    """Positions in the corpus, best first."""
    scores: NDArray[np.float32]


_Search = Callable[[Query, Window], Any]


class Methods:
    """All methods on one corpus.

    Args:
        index: of the corpus, with positions as metadata (:func:`benchmarks.own_index.fresh_index`).
        matrix: the same documents, shape (n_documents, n_columns).
        k: answers a query.
    """

    def __init__(self, index: InvertedIndex, matrix: csr_array, k: int) -> None:
        self._index = index
        self._search = index.snapshot.search
        self._matrix = matrix
        self._by_column = matrix.T.tocsr()
        self._k = k
        self._n = int(matrix.shape[0])
        self._first = index.snapshot.entries[0].first
        self._segments = [_kernel_segment(file) for file in index.snapshot.files]
        self._all: dict[str, tuple[Method, _Search, Callable[[Any], Answer]]] = {}
        self._add(RANGE, "before", "`Snapshot.search(between=...)`", self._range, self._of_numbers)
        self._add(
            "where", "before", "`InvertedIndex.search(where=...)`: the range as a filter in words, "
            "which the catalog looks up again for each query, and string ids in the answer",
            self._where, self._of_ids,
        )  # fmt: skip
        self._add(
            "bitmap", "before", "`kernels.search(allowed=...)` with bitmaps that are ready, "
            "and nothing that tells that they are consecutive",
            self._bitmap, lambda r: Answer(r.rows, r.scores),
        )  # fmt: skip
        self._add(
            "scipy, sliced", "before", "product of the window's rows, a CSR matrix without copies, "
            "and a vector, then `argpartition`", self._sliced, lambda found: found,
        )  # fmt: skip
        self._add(
            "growing k", AFTERWARDS, f"`Snapshot.search` for {_MARGIN} times as many results as "
            f"hold k of the window by expectation, then for {_GROWTH} times as many, until they do",
            self._growing, self._of_numbers,
        )  # fmt: skip
        self._add(
            "all ranked", AFTERWARDS, "`Snapshot.search` for all documents, then those of the "
            "window", self._all_ranked, self._of_numbers,
        )  # fmt: skip
        self._add(
            "scipy, masked", AFTERWARDS, "`query @ documents.T` of CSR matrices, then the columns "
            "of the window, then `argpartition`", self._masked, lambda found: found,
        )  # fmt: skip

    @property
    def methods(self) -> list[Method]:
        """In the order of :meth:`calls`."""
        return [method for method, _, _ in self._all.values()]

    def window(self, documents: range) -> Window:
        """A window in all forms."""
        begin, end = documents.start, documents.stop
        return Window(
            documents,
            range(self._first + begin, self._first + end),
            f"{POSITION} >= {begin} and {POSITION} < {end}",
            self._bitmaps(documents),
        )

    def calls(
        self, queries: Sequence[Query], windows: Sequence[Window]
    ) -> list[Callable[[int], Any]]:
        """A call of each method that puts query q to window q; raw answers, and all is timed."""

        def bound(search: _Search) -> Callable[[int], Any]:
            return lambda q: search(queries[q], windows[q])

        return [bound(search) for _, search, _ in self._all.values()]

    def answer(self, method: str, raw: Any) -> Answer:
        """What a call of the method returned, in the form that can be compared."""
        return self._all[method][2](raw)

    # --- before the ranking --------------------------------------------------------------------

    def _range(self, query: Query, window: Window) -> Any:
        return self._search(query.row, self._k, between=window.numbers)

    def _where(self, query: Query, window: Window) -> Any:
        return self._index.search(query.row, self._k, where=window.where, threads=1)

    def _bitmap(self, query: Query, window: Window) -> Any:
        return kernels.search(self._segments, query.row, self._k, allowed=window.bitmaps)

    def _sliced(self, query: Query, window: Window) -> Answer:
        begin, end = window.documents.start, window.documents.stop
        rows = self._matrix
        first, last = rows.indptr[begin], rows.indptr[end]
        # Views: slicing the matrix itself would copy its rows.
        part = csr_array(
            (rows.data[first:last], rows.indices[first:last], rows.indptr[begin : end + 1] - first),
            shape=(end - begin, rows.shape[1]),
        )
        scores = part @ query.dense
        found = np.flatnonzero(scores)
        return self._best(found + begin, scores[found])

    # --- afterwards ----------------------------------------------------------------------------

    def _growing(self, query: Query, window: Window) -> Any:
        wanted = math.ceil(_MARGIN * self._k * self._n / len(window.documents))
        while True:
            asked = min(wanted, self._n)
            found = self._search(query.row, asked)
            inside = _inside(found.numbers[0], window.numbers)
            if len(inside) >= self._k or len(found.numbers[0]) < asked or asked == self._n:
                best = inside[: self._k]
                return found._replace(
                    numbers=[found.numbers[0][best]], scores=[found.scores[0][best]]
                )
            wanted *= _GROWTH

    def _all_ranked(self, query: Query, window: Window) -> Any:
        found = self._search(query.row, self._n)
        best = _inside(found.numbers[0], window.numbers)[: self._k]
        return found._replace(numbers=[found.numbers[0][best]], scores=[found.scores[0][best]])

    def _masked(self, query: Query, window: Window) -> Answer:
        product = query.row @ self._by_column
        inside = _inside(product.indices, window.documents)
        return self._best(product.indices[inside].astype(np.int64), product.data[inside])

    # --- details -------------------------------------------------------------------------------

    def _add(
        self,
        name: str,
        filters: str,
        remarks: str,
        search: _Search,
        answer: Callable[[Any], Answer],
    ) -> None:
        self._all[name] = (Method(name, filters, remarks), search, answer)

    def _best(self, documents: NDArray[np.int64], scores: NDArray[np.float32]) -> Answer:
        if len(scores) > self._k:
            best = np.argpartition(scores, -self._k)[-self._k :]
            documents, scores = documents[best], scores[best]
        order = np.lexsort((documents, -scores))
        return Answer(documents[order], scores[order])

    def _of_numbers(self, found: Any) -> Answer:
        return Answer(found.numbers[0] - self._first, found.scores[0])

    @staticmethod
    def _of_ids(hits: Any) -> Answer:
        return Answer(np.array([int(id) for id in hits.ids[0]], np.int64), hits.scores[0])

    def _bitmaps(self, documents: range) -> list[NDArray[np.uint64] | None]:
        bitmaps: list[NDArray[np.uint64] | None] = []
        first = 0
        for segment in self._segments:
            mask = np.zeros(-(-segment.n_docs // 64) * 64, bool)
            mask[max(documents.start - first, 0) : max(documents.stop - first, 0)] = True
            mask[segment.n_docs :] = False
            bitmaps.append(np.packbits(mask, bitorder="little").view(np.uint64))
            first += segment.n_docs
        return bitmaps


def _inside(numbers: NDArray[Any], window: range) -> NDArray[np.int64]:
    return np.flatnonzero((numbers >= window.start) & (numbers < window.stop))


def _kernel_segment(file: SegmentFile) -> kernels.Segment | kernels.ImpactSegment:
    """A segment as the kernel has it; every segment of a fresh index of weights is one of these."""
    data = file.data
    weights = data.code_values if data.coded else None
    if isinstance(data, ImpactData):
        return kernels.ImpactSegment(
            data.lists, data.row_ptr, data.row_ranks, data.row_values, weights, file.window_bits
        )
    return kernels.Segment(data.n_docs, data.postings, weights, file.window_bits)
