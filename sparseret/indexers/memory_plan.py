"""The best two-stage search for a budget of memory, from what a sample of the vectors shows.

Codes of a few kinds and sizes are made of a sample. For each query, the vectors that are truly
nearest have ranks among all codes; a search that reads as many candidates as the largest of these
ranks finds them all. So the ranks tell which number of candidates reaches which recall, and among
the codes that fit the budget those are best that need the fewest, as each candidate is a vector
that may have to be fetched from the disk. In a collection larger than the sample, about as many
more codes lie before the same neighbour: candidates are raised by that factor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret import kernels
from sparseret.errors import ConfigurationError
from sparseret.indexers.dense_exact import as_rows, normalised
from sparseret.indexers.dense_settings import DenseSettings, Metric, VectorPrecision
from sparseret.indexers.quantiser import ENTRIES, CodeKind
from sparseret.indexers.quantiser_fit import fit_quantiser

__all__ = [
    "CodeOption",
    "MeasuredCodes",
    "MemoryPlan",
    "all_in_memory_bytes",
    "measure_codes",
    "options_within",
    "plan_two_stage",
]

_MEASURED = 2**16
"""Vectors of a sample at most."""
_QUERIES = 200
_FITTED = 4
"""Of so many vectors of the sample, one is for fitting."""
_FACTOR_BYTES = 2
_SCORED_VALUES = 2**20
_WORKING_BYTES = 20
"""Of each value of a candidate: as it is read, and twice in float64."""
_SCAN_BYTES = 2**21
"""Of the scores of a block of codes, and the candidates held."""
_SHARES = (4, 8, 16, 32, 64)
"""Values of a vector for each byte of its codes that are tried."""


class CodeOption(NamedTuple):
    """Codes that an index could have."""

    kind: CodeKind
    code_bytes: int

    @property
    def vector_bytes(self) -> int:
        """In memory, for each vector."""
        return self.code_bytes + _FACTOR_BYTES * (self.kind == "binary")

    def memory_bytes(self, n: int, dim: int, candidates: int = 0) -> int:
        """In memory, for n vectors of ``dim`` values: codes, quantiser, and a query on a thread."""
        values = dim + dim * dim + ENTRIES * dim  # of mean, rotation and entries
        if self.kind == "binary":
            values = dim + (dim + ENTRIES) * 8 * self.code_bytes
        working = _WORKING_BYTES * min(candidates * dim, _SCORED_VALUES) + _SCAN_BYTES
        return n * self.vector_bytes + 4 * values + working


class MeasuredCodes(NamedTuple):
    """What a sample showed of an option."""

    option: CodeOption
    n_vectors: int
    """Of the sample."""
    ranks: NDArray[np.int64]
    """Of true neighbours among all codes, 1 for the best; of all queries, ascending."""

    def recall(self, candidates: int) -> float:
        """Share of true neighbours among so many candidates in the sample."""
        return float(np.searchsorted(self.ranks, candidates, "right")) / len(self.ranks)

    def candidates(self, recall: float) -> int:
        """The fewest candidates that reach a recall in the sample."""
        return int(self.ranks[max(0, math.ceil(recall * len(self.ranks) - 1e-9) - 1)])


class MemoryPlan(NamedTuple):
    """How to keep and search vectors."""

    settings: DenseSettings
    candidates: int
    """Effort of a search; 0 where all vectors are in memory."""
    recall: float
    """Expected, by the sample; 1.0 where all vectors are in memory."""
    memory_bytes: int
    """Of an open index, and of one query at a time."""
    disk_bytes: int
    """That a query reads at most; 0 where all vectors are in memory."""


def all_in_memory_bytes(n: int, dim: int, precision: VectorPrecision) -> int:
    """Of n vectors, and of a scan of them by a query on a thread."""
    return n * dim * np.dtype(precision).itemsize + _SCAN_BYTES


def options_within(n: int, dim: int, memory_budget: int) -> list[CodeOption]:
    """Codes that fit a budget, from the largest on; one at least.

    Args:
        n: vectors, at least 1.
        dim: their width, at least 1.
        memory_budget: bytes.

    Raises:
        ConfigurationError: not even the smallest codes fit.
    """
    every: list[CodeOption] = []
    for share in _SHARES:
        most = -(-dim // share)
        every.append(CodeOption("pq", max(s for s in range(1, most + 1) if dim % s == 0)))
        if share >= 8:  # a bit a value at most
            every.append(CodeOption("binary", most))
    every = sorted(set(every), key=lambda option: (-option.vector_bytes, option.kind))
    found = [option for option in every if option.memory_bytes(n, dim) <= memory_budget]
    if not found:
        least = min(option.memory_bytes(n, dim) for option in every)
        raise ConfigurationError(
            f"codes of {n:,} vectors of {dim} values need {least:,} bytes of memory at least, "
            f"and the budget is {memory_budget:,}: give more memory, vectors of fewer values, or "
            "spread them over several machines"
        )
    return found


def measure_codes(
    vectors: Any,
    queries: Any,
    options: Sequence[CodeOption],
    *,
    k: int = 10,
    metric: Metric = "cosine",
    progress: Callable[[int, int], None] | None = None,
) -> list[MeasuredCodes]:
    """Make codes of a sample, and rank the true k nearest of each query by them.

    Args:
        vectors: shape (n, dim); up to 65,536, evenly spread, are read, a fourth of them to fit
            the codes.
        queries: shape (m, dim), like those to come, of which up to 200 are used; None for 200 of
            the vectors, which are then left out of the sample. Real queries are better judges.
        options: as :func:`options_within` gives them.
        k: at least 1.
        metric: of the index.
        progress: called with (options measured, options in all).

    Raises:
        ConfigurationError: k is out of its range, or no query is other than zero.
        VectorError: vectors or queries that cannot be.
    """
    source = vectors if hasattr(vectors, "shape") else np.asarray(vectors)
    n, dim = len(source), source.shape[1] if len(source.shape) == 2 else 0
    places = np.linspace(0, n - 1, min(n, _MEASURED)).astype(np.int64) if n else np.arange(0)
    if queries is None:
        asked_places = places[:: max(1, len(places) // _QUERIES)][:_QUERIES]
        asked = as_rows(source[asked_places], dim, "vectors")
        places = np.setdiff1d(places, asked_places)
    else:
        given = queries if hasattr(queries, "shape") else np.asarray(queries)
        asked = as_rows(given[:: max(1, len(given) // _QUERIES)][:_QUERIES], dim, "queries")
    rows = as_rows(source[places], dim, "vectors")
    if metric == "cosine":
        rows, asked = normalised(rows), normalised(asked)
    rows, asked = rows[rows.any(axis=1)], asked[asked.any(axis=1)]
    # Codes suit best the vectors that they were fitted to: those are not measured.
    is_fitted = np.arange(len(rows)) % _FITTED == 0
    fitted, rows = rows[is_fitted], rows[~is_fitted]
    if not 1 <= k < len(rows):
        raise ConfigurationError(
            f"k must be from 1 to less than the {len(rows)} vectors of the sample, got {k}"
        )
    if not len(asked):
        raise ConfigurationError("no query to measure with is other than zero: give real ones")
    truth = [_nearest(rows, query, k) for query in asked]
    measured = []
    for done, option in enumerate(options):
        if progress:
            progress(done, len(options))
        quantiser = fit_quantiser(option.kind, option.code_bytes, fitted)
        codes, factors = quantiser.encode(rows)
        ranks: list[int] = []
        for query, nearest in zip(asked, truth, strict=True):
            scores = kernels.code_scores(codes, quantiser.table(query)[None])[0]
            if factors is not None:
                scores *= factors
            # Of equal scores, the last: as if all others came before.
            ranks += [int(np.count_nonzero(scores >= score)) for score in scores[nearest]]
        measured.append(MeasuredCodes(option, len(rows), np.sort(np.asarray(ranks, np.int64))))
    if progress:
        progress(len(options), len(options))
    return measured


def plan_two_stage(
    n: int,
    dim: int,
    memory_budget: int,
    measured: Sequence[MeasuredCodes],
    *,
    recall: float = 0.95,
    metric: Metric = "cosine",
    precision: VectorPrecision = "float32",
) -> MemoryPlan:
    """The plan that reads the fewest vectors for a recall, then the one of the least memory.

    Args:
        n: vectors of the collection, at least 1.
        dim: their width.
        memory_budget: bytes.
        measured: by :func:`measure_codes`; those that do not fit the budget are passed over.
        recall: above 0, up to 1.
        metric: of the index.
        precision: of the vectors on disk.

    Raises:
        ConfigurationError: a recall out of its range, or nothing fits the budget.
    """
    if not 0 < recall <= 1:
        raise ConfigurationError(f"recall must be above 0 and up to 1, got {recall!r}")
    whole = all_in_memory_bytes(n, dim, precision)
    if whole <= memory_budget:
        settings = DenseSettings("flat", metric, precision)
        return MemoryPlan(settings, 0, 1.0, whole, 0)
    plans = []
    for codes in measured:
        option, found = codes.option, codes.candidates(recall)
        candidates = min(n, math.ceil(found * max(1.0, n / codes.n_vectors)))
        memory = option.memory_bytes(n, dim, candidates)
        if memory <= memory_budget:
            settings = DenseSettings(option.kind, metric, precision, code_bytes=option.code_bytes)
            disk = candidates * dim * np.dtype(precision).itemsize
            plans.append(MemoryPlan(settings, candidates, codes.recall(found), memory, disk))
    if not plans:
        options_within(n, dim, memory_budget)  # says what is needed
        raise ConfigurationError(
            f"none of the {len(measured)} kinds of codes that were measured fits a budget of "
            f"{memory_budget:,} bytes with its candidates: measure smaller ones, or ask for less "
            "recall"
        )
    return min(plans, key=lambda plan: (plan.candidates, plan.memory_bytes))


def _nearest(rows: NDArray[np.float32], query: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    products = kernels.dense_products(rows, query[None])[0]
    return np.argpartition(-products, k - 1)[:k].astype(np.int64)
