"""Which effort of an approximate search reaches which recall, measured on the index itself.

A search has two efforts (:class:`sparseret.kernels.Effort`). Calibration runs a grid of them on
sample queries, compares each with exact search, and keeps for every result size the pairs that no
other beats in both recall and cost. A request for a recall then takes the cheapest that reached it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import product
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
_CANDIDATES = (1.2, 1.6, 2.2, 3.0, 4.5, 7.0, 11.0, 18.0, 30.0, 50.0)
_MAX_CANDIDATES = 20_000
_POSTINGS_PER_ROW = 250.0
"""How many postings are read in the time that scoring one document takes."""

_MOST_QUERIES = {10: 500, 100: 150, 1000: 40}
_QUERY_TERMS = 24


class Level(NamedTuple):
    """One effort, and what it did."""

    k: int
    effort: Effort
    recall: float
    """Mean share of the exact top k that was found; equal scores count as found."""
    cost: float
    """Mean work of a query: postings read, and documents scored as 250 postings each."""


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
        sizes = sorted({level.k for level in self.levels})
        size = next((size for size in sizes if size >= k), None)
        for level in self.levels:
            if level.k == size and level.recall >= recall:
                # Candidates were chosen for `size` results; fewer results never need more.
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


class _Search(Protocol):
    """The search of a snapshot."""

    def __call__(
        self, queries: csr_array, k: int, *, effort: Effort | None, threads: int
    ) -> tuple[list[NDArray[np.int64]], list[NDArray[np.float32]], Work]: ...


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
    """Measure the grid of efforts.

    Args:
        search: :meth:`sparseret.indexers.snapshot.Snapshot.search`.
        queries: canonical CSR, shape (n, dim); the first 500 are used (150 and 40 for 100 and
            1000 results).
        n_documents: of the index; result sizes above a tenth of it are left out.
        given: whether the user gave the queries.
        threads: for the searches; the outcome does not depend on it.
        progress: called with (efforts done, efforts in all).
    """
    sizes = [k for k in RESULT_SIZES if 10 * k <= n_documents] if queries.shape[0] else []
    grid = list(product(_CUTS, _CANDIDATES))
    levels: list[Level] = []
    for s, k in enumerate(sizes):
        asked = queries[: _MOST_QUERIES[k]]
        exact = search(asked, k, effort=None, threads=threads)
        worst = _cost(exact[2], asked.shape[0])
        measured = []
        for g, (cut, factor) in enumerate(grid):
            if progress:
                progress(s * len(grid) + g, len(sizes) * len(grid))
            candidates = min(math.ceil(factor * k), _MAX_CANDIDATES)
            effort = Effort(cut, candidates)
            found = search(asked, k, effort=effort, threads=threads)
            level = Level(k, effort, _recall(exact[1], found[1]), _cost(found[2], asked.shape[0]))
            if level.cost < worst:
                measured.append(level)
        levels += _undominated(measured)
    if progress and sizes:
        progress(len(sizes) * len(grid), len(sizes) * len(grid))
    return Calibration(n_documents, queries.shape[0], given, levels)


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
