"""Which effort of an approximate search reaches which recall, measured on the index itself.

A search has two efforts (:class:`sparseret.kernels.Effort`). For each of some cuts, calibration
searches sample queries with many candidates and compares with exact search. The place that a hit
had among the candidates tells how many would have been enough for it, so one search shows the
recall of every number of candidates. For each recall that may be asked for, the cheapest pair is
searched once more, and what that did is kept; a request takes the cheapest that reached it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sparseret import vectors
from sparseret.errors import ConfigurationError
from sparseret.kernels import Effort, Work

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Calibration", "Level", "calibrate", "check_effort", "made_queries"]

RESULT_SIZES = (10, 100, 1000)
"""A search for k results uses what was measured for the smallest of these that is at least k."""

_CUTS = (0.02, 0.04, 0.07, 0.1, 0.14, 0.18, 0.22, 0.27, 0.33, 0.4, 0.5)
_RECALLS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.88, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99,
            0.995, 0.998, 0.999)  # fmt: skip
_MOST_CANDIDATES = 50
"""Times the number of results."""
_POSTINGS_PER_ROW = 500.0
"""How many postings are read in the time that scoring one document takes."""

_TRIES = 4
_MOST_QUERIES = {10: 1000, 100: 300, 1000: 60}
_QUERY_TERMS = 24


class Level(NamedTuple):
    """One effort, and what it did."""

    k: int
    effort: Effort
    recall: float
    """Mean share of the exact top k that was found; equal scores count as found."""
    cost: float
    """Mean work of a query: postings read, and documents scored as 500 postings each."""


class Calibration(NamedTuple):
    """What was measured."""

    n_documents: int
    n_queries: int
    given: bool
    """Whether the queries were given by the user, or else made from documents."""
    levels: list[Level]
    """By k, then by cost; recall rises with cost."""

    def cheapest(self, recall: float, k: int) -> Level | None:
        """The cheapest effort that reached a recall for k results; None if only exact does."""
        size = None
        for level in self.levels:
            if level.k < k:
                continue
            # Candidates were chosen for `size` results; fewer results never need more.
            size = size or level.k
            if level.k != size:
                return None
            if level.recall >= recall:
                return level
        return None

    def to_json(self) -> str:
        """For the catalog."""
        levels = [[v.k, *v.effort, v.recall, v.cost] for v in self.levels]
        return json.dumps([self.n_documents, self.n_queries, self.given, levels])

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """What :meth:`to_json` wrote."""
        n_documents, n_queries, given, levels = json.loads(text)
        return cls(
            n_documents, n_queries, given,
            [Level(k, Effort(cut, n), recall, cost) for k, cut, n, recall, cost in levels],
        )  # fmt: skip


class _Found(Protocol):
    """What a snapshot finds."""

    @property
    def scores(self) -> list[NDArray[np.float32]]: ...
    @property
    def places(self) -> list[NDArray[np.uint32]]: ...
    @property
    def work(self) -> Work: ...


class _Search(Protocol):
    """The search of a snapshot."""

    def __call__(
        self, queries: csr_array, k: int, *, effort: Effort | None, threads: int
    ) -> _Found: ...


def check_effort(effort: object) -> None:
    """Refuse an effort out of range. Raises ConfigurationError."""
    if not isinstance(effort, Effort):
        raise ConfigurationError(f"effort must be an Effort, got {type(effort).__name__}")
    if not 0.0 <= effort.cut <= 1.0:
        raise ConfigurationError(f"cut must lie in 0 to 1, got {effort.cut}")
    if effort.candidates < 1:
        raise ConfigurationError(f"candidates must be at least 1, got {effort.candidates}")


def calibrate(
    search: _Search,
    queries: csr_array,
    *,
    n_documents: int,
    given: bool,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Find the cheapest effort for each of many recalls.

    Args:
        search: :meth:`sparseret.indexers.snapshot.Snapshot.search`.
        queries: canonical CSR, shape (n, dim); the first 1000 are used (300 and 60 for 100 and
            1000 results).
        n_documents: of the index; result sizes above a tenth of it are left out.
        given: whether the user gave the queries.
        threads: for the searches; the outcome does not depend on it.
        progress: called with (steps done, steps in all).
    """
    sizes = [k for k in RESULT_SIZES if 10 * k <= n_documents] if queries.shape[0] else []
    steps = len(sizes) * (len(_CUTS) + len(_RECALLS))
    levels: list[Level] = []
    for s, k in enumerate(sizes):
        asked = queries[: _MOST_QUERIES[k]]
        exact = search(asked, k, effort=None, threads=threads)
        worst = _cost(exact.work, asked.shape[0])
        curves = []
        for c, cut in enumerate(_CUTS):
            if progress:
                progress(s * (steps // len(sizes)) + c, steps)
            found = search(asked, k, effort=Effort(cut, _MOST_CANDIDATES * k), threads=threads)
            curves.append(_curve(cut, exact.scores, found))
        measured: dict[Effort, Level] = {}
        for r, recall in enumerate(_RECALLS):
            if progress:
                progress(s * (steps // len(sizes)) + len(_CUTS) + r, steps)
            effort = _cheapest(curves, recall, k)
            if effort is None or effort in measured:
                continue
            for _ in range(_TRIES):
                found = search(asked, k, effort=effort, threads=threads)
                achieved = _recall(exact.scores, found.scores)
                measured[effort] = Level(k, effort, achieved, _cost(found.work, asked.shape[0]))
                if achieved >= recall:
                    break
                # With fewer candidates the search looks less far for them, and misses some.
                effort = Effort(effort.cut, effort.candidates + 1 + effort.candidates // 20)
        levels += _undominated([level for level in measured.values() if level.cost < worst])
    if progress and sizes:
        progress(steps, steps)
    return Calibration(n_documents, queries.shape[0], given, levels)


class _Curve(NamedTuple):
    """What one cut does, for any number of candidates."""

    cut: float
    postings: float
    """Mean of a query."""
    recall: NDArray[np.float64]
    """Of the first candidate alone, the first two, and so on."""


def _curve(cut: float, exact: list[NDArray[np.float32]], found: _Found) -> _Curve:
    """The recall that each number of candidates would have reached."""
    gained = np.zeros(1, np.float64)
    n_queries = 0
    for want, got, places in zip(exact, found.scores, found.places, strict=True):
        if not len(want):
            continue
        n_queries += 1
        # No more than are wanted, where scores tie.
        right = np.sort(places[got >= want[-1]])[: len(want)].astype(np.int64)
        if len(right) and right[-1] >= len(gained):
            gained = np.concatenate((gained, np.zeros(int(right[-1]) + 1 - len(gained))))
        np.add.at(gained, right, 1.0 / len(want))
    recall = np.cumsum(gained) / n_queries if n_queries else np.ones(1)
    return _Curve(cut, found.work.postings / max(len(exact), 1), recall)


def _cheapest(curves: list[_Curve], recall: float, k: int) -> Effort | None:
    """The cut and candidates of the least cost that reach a recall; None where none do."""
    best: Effort | None = None
    least = math.inf
    for curve in curves:
        if curve.recall[-1] < recall:
            continue
        candidates = max(int(np.searchsorted(curve.recall, recall)) + 1, k)
        cost = curve.postings + _POSTINGS_PER_ROW * candidates
        if cost < least:
            best, least = Effort(curve.cut, candidates), cost
    return best


def made_queries(
    rows: list[tuple[NDArray[np.int32], NDArray[np.float32]]], dim: int, seed: int = 0
) -> csr_array:
    """Queries from documents, for want of real ones: a random half of each one's heaviest terms.

    Args:
        rows: columns and weights of each document.
        dim: number of columns of the result.
        seed: of the random choice.
    """
    rng = np.random.default_rng(seed)
    ptr, columns, values = [0], [], []
    for row_columns, row_values in rows:
        heaviest = np.argsort(-row_values, kind="stable")[: 2 * _QUERY_TERMS]
        n = min(len(heaviest), _QUERY_TERMS)
        chosen = np.sort(rng.choice(heaviest, n, replace=False)) if n else heaviest
        columns.append(row_columns[chosen])
        values.append(row_values[chosen])
        ptr.append(ptr[-1] + n)
    return vectors.from_arrays(
        np.array(ptr, np.int64),
        np.concatenate([np.empty(0, np.int32), *columns]),
        np.concatenate([np.empty(0, np.float32), *values]),
        dim,
    )


def _recall(exact: list[NDArray[np.float32]], found: list[NDArray[np.float32]]) -> float:
    """Mean over queries of the share of results with at least the k-th exact score."""
    shares = []
    for want, got in zip(exact, found, strict=True):
        if len(want):
            shares.append(min(int((got >= want[-1]).sum()), len(want)) / len(want))
    return float(np.mean(shares)) if shares else 1.0


def _cost(work: Work, n_queries: int) -> float:
    return (work.postings + _POSTINGS_PER_ROW * work.rows) / n_queries


def _undominated(levels: list[Level]) -> list[Level]:
    """In order of cost, those that have more recall than all cheaper ones."""
    kept: list[Level] = []
    for level in sorted(levels, key=lambda level: (level.cost, -level.recall, level.effort)):
        if not kept or level.recall > kept[-1].recall:
            kept.append(level)
    return kept
