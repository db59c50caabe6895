"""One state of a dense leg: the segments of one commit, searchable and immutable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache, partial
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from sparseret.indexers.catalog import CALIBRATION
from sparseret.indexers.dense_calibration import DenseCalibration
from sparseret.indexers.dense_segment import DenseSegment
from sparseret.indexers.dense_settings import DenseSettings
from sparseret.indexers.state import State
from sparseret.protocols import Mode

__all__ = ["DenseFound", "DenseSnapshot"]


class DenseFound(NamedTuple):
    """Results of a search, one entry a query."""

    numbers: list[NDArray[np.int64]]
    """Document numbers, best first."""
    scores: list[NDArray[np.float32]]


class DenseSnapshot:
    """What readers search of a leg of dense vectors.

    Args:
        state: of the index.
        leg: position of the leg among those of the index.
        settings: of the leg.
        dim: width of its vectors.
    """

    def __init__(self, state: State, leg: int, settings: DenseSettings, dim: int) -> None:
        self.state = state
        self.catalog = state.catalog
        self.ids, self.numbers_where = state.ids, state.numbers_where
        self.n_documents = state.n_documents
        self.leg_files = state.legs[leg]
        self.files = cast("Sequence[DenseSegment]", self.leg_files.files)
        self.settings = settings
        self.dim = dim

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        *,
        allow: NDArray[np.int64] | None = None,
        between: range | None = None,
        effort: int | None = None,
        threads: int = 1,
    ) -> DenseFound:
        """Top-k by inner product: document numbers and scores, one array of each a query.

        Ties go to the smaller number. Documents and queries of zeros have no hits.

        Args:
            queries: finite, shape (n, dim).
            k: at least 1; fewer are returned where fewer match.
            allow: ascending numbers of the documents that may be returned; None for all.
            between: consecutive numbers, outside of which no document is returned; None for all.
            effort: how thorough to be (``efSearch`` or ``nprobe``); None for an exact search.
            threads: the work is spread over this many threads.

        Raises:
            VectorError: queries that cannot be.
        """
        files = self.leg_files
        allowed = (
            files.live_bitmaps
            if allow is None
            else [files.bitmap(i, allow) for i in range(len(files.files))]
        )
        inside = None if between is None else files.rows_between(between)
        numbers: list[list[NDArray[np.int64]]] = [[] for _ in range(len(queries))]
        scores: list[list[NDArray[np.float32]]] = [[] for _ in range(len(queries))]
        for i, segment in enumerate(self.files):
            first = int(files.first_rows[i])
            rows = None
            if inside is not None:
                rows = range(max(0, inside.start - first), min(segment.n_docs, inside.stop - first))
                if not rows:
                    continue
            hits = segment.search(
                queries, k, allowed=None if allowed is None else allowed[i], inside=rows,
                effort=effort, threads=threads,
            )  # fmt: skip
            for q, found in enumerate(hits):
                numbers[q].append(segment.numbers[found.rows])
                scores[q].append(found.scores)
        best = [_best(n, s, k) for n, s in zip(numbers, scores, strict=True)]
        return DenseFound([n for n, _ in best], [s for _, s in best])

    def row(self, number: int) -> NDArray[np.float32]:
        """The vector of one live document, as it is scored, shape (dim,).

        Raises:
            KeyError: no live document has the number.
        """
        for segment, dead in zip(self.files, self.leg_files.dead, strict=True):
            at = int(np.searchsorted(segment.numbers, number))
            if at < segment.n_docs and segment.numbers[at] == number and at not in dead:
                return np.asarray(segment.vectors[at], np.float32)
        raise KeyError(number)

    @property
    def lower_bound(self) -> float | None:
        """The least score that any document could have."""
        return -1.0 if self.settings.metric == "cosine" else None

    @cached_property
    def calibration(self) -> DenseCalibration | None:
        """Which effort reaches which recall; None if that was never measured."""
        key = self.leg_files.leg.key(CALIBRATION)
        if not self.catalog.has_meta(key):
            return None
        return DenseCalibration.from_json(self.catalog.meta(key))

    @cached_property
    def cheapest(self) -> Callable[[float, int], tuple[int | None, Mode]]:
        """The cheapest effort that reached a recall for k results, or None for exact search."""
        return lru_cache(maxsize=64)(partial(_cheapest, self.calibration))

    def sample_queries(self, n: int) -> NDArray[np.float32]:
        """Vectors of up to n live documents, spread evenly, for calibration; none of them zero."""
        rows = [np.empty((0, self.dim), np.float32)]
        total = max(1, int(self.leg_files.first_rows[-1]))
        for segment, dead in zip(self.files, self.leg_files.dead, strict=True):
            share = max(1, round(n * segment.n_docs / total))
            places = np.unique(np.linspace(0, segment.n_docs - 1, share).astype(np.int64))
            rows.append(np.asarray(segment.vectors[np.setdiff1d(places, dead)], np.float32))
        found = np.concatenate(rows)
        return found[found.any(axis=1)][:n]


def _best(
    numbers: list[NDArray[np.int64]], scores: list[NDArray[np.float32]], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The best k of the best of all segments."""
    if len(numbers) == 1:
        return numbers[0], scores[0]
    if not numbers:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    every, all_scores = np.concatenate(numbers), np.concatenate(scores)
    # Segments come in the order of numbers, so a stable order puts ties right.
    order = np.argsort(-all_scores, kind="stable")[:k]
    return every[order], all_scores[order]


def _cheapest(
    calibration: DenseCalibration | None, recall: float, k: int
) -> tuple[int | None, Mode]:
    level = None if calibration is None else calibration.cheapest(recall, k)
    if level is None:
        return None, Mode()
    return level.effort, Mode(exact=False, recall=level.recall)
