"""Which effort of approximate dense search reaches which recall, measured on a sample."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import CorruptIndexError
from sparseret.indexers.dense_codes import code_kind

if TYPE_CHECKING:
    from sparseret.indexers.dense_snapshot import DenseSnapshot

__all__ = ["DenseCalibration", "DenseLevel", "calibrate_dense"]

_KS = (10, 100)
_EFFORTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_CANDIDATES = (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
"""Efforts of a search by light codes."""
_ENOUGH = 0.999
"""Recall from which on more effort is not tried."""


class DenseLevel(NamedTuple):
    """One effort, as measured."""

    k: int
    effort: int
    recall: float
    """Share of the exact top k that was found, mean over the queries."""
    cost: float
    """Milliseconds a query."""


class DenseCalibration(NamedTuple):
    """What calibration measured of a leg of dense vectors."""

    n_documents: int
    n_queries: int
    given: bool
    """Whether the queries were given, or were documents."""
    levels: list[DenseLevel]
    """Efforts that are cheaper than exact search, ascending for each k."""

    def cheapest(self, recall: float, k: int) -> DenseLevel | None:
        """The least effort that reached a recall for k results or more; None if none did."""
        for at in sorted({level.k for level in self.levels}):
            if at >= k:
                enough = [v for v in self.levels if v.k == at and v.recall >= recall]
                return min(enough, key=lambda v: v.effort) if enough else None
        return None

    def to_json(self) -> str:
        """Text for the catalog."""
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, text: str) -> DenseCalibration:
        """The inverse of :meth:`to_json`.

        Raises:
            CorruptIndexError: the text is something else.
        """
        try:
            made: dict[str, Any] = json.loads(text)
            return cls(**made | {"levels": [DenseLevel(*level) for level in made["levels"]]})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CorruptIndexError(
                f"the catalog's record of the calibration is damaged ({error!r}): run "
                "`sparseret tune` on the index"
            ) from error


def calibrate_dense(
    snapshot: DenseSnapshot,
    queries: NDArray[np.float32],
    *,
    given: bool,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DenseCalibration:
    """Try efforts from the least on, until they find all or cost as much as an exact search.

    Args:
        snapshot: to be searched.
        queries: finite, shape (n, dim).
        given: whether they were given, or are documents.
        threads: None for one per core.
        progress: called with (efforts tried, efforts in all).
    """
    count, most = threads or os.cpu_count() or 1, _KS[-1]
    exact, exact_time = _timed(snapshot, queries, most, None, count)
    levels: list[DenseLevel] = []
    wanted = set(_KS) if len(queries) else set()
    efforts = _EFFORTS if code_kind(snapshot.settings) is None else _CANDIDATES
    for done, effort in enumerate(efforts):
        if progress:
            progress(done, len(efforts))
        for k in sorted(wanted):
            found, cost = _timed(snapshot, queries, k, effort, count)
            recall = _recall(found, exact, k)
            if cost < exact_time:
                levels.append(DenseLevel(k, effort, recall, cost))
            if recall >= _ENOUGH or cost >= 4 * exact_time:
                wanted.discard(k)
    if progress:
        progress(len(efforts), len(efforts))
    return DenseCalibration(snapshot.n_documents, len(queries), given, levels)


def _timed(
    snapshot: DenseSnapshot,
    queries: NDArray[np.float32],
    k: int,
    effort: int | None,
    threads: int,
) -> tuple[list[NDArray[np.int64]], float]:
    start = time.perf_counter()
    found = snapshot.search(queries, k, effort=effort, threads=threads).numbers
    return found, 1e3 * (time.perf_counter() - start) / max(1, len(queries))


def _recall(found: list[NDArray[np.int64]], exact: list[NDArray[np.int64]], k: int) -> float:
    shares = [
        len(np.intersect1d(some, all_[:k])) / min(k, len(all_))
        for some, all_ in zip(found, exact, strict=True)
        if len(all_)
    ]
    return float(np.mean(shares)) if shares else 1.0
