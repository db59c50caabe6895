"""What one thread of the machine can do."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from benchmarks.limits.records import Machine
from sparseret import kernels, vectors

__all__ = ["measure_machine"]

_ARRAY_BYTES = 2**29
"""Larger than any cache."""
_ROUNDS = 5
_DOCUMENTS = 2**kernels.IMPACT_BITS
_COLUMNS = 64
_PER_COLUMN = 2**12
"""Postings of each column: 64 columns of 8 kB stay in the second cache, with 64 kB of sums."""


def measure_machine() -> Machine:
    """Bandwidth and rate of adding; takes a few seconds and half a gigabyte."""
    array = np.ones(_ARRAY_BYTES // 4, np.float32)
    words = array.view(np.int64)
    # Whichever is fastest says most about the memory: each of them also computes something.
    ways: tuple[tuple[str, Callable[[], object]], ...] = (
        ("np.sum of float32", lambda: array.sum()),
        ("np.max of float32", lambda: array.max()),
        ("np.bitwise_or of int64", lambda: np.bitwise_or.reduce(words)),
        ("np.dot of float32 with itself", lambda: np.dot(array, array)),
    )
    rates = tuple((name, _ARRAY_BYTES / 1e9 / _best_seconds(run)) for name, run in ways)
    return Machine(rates, _ARRAY_BYTES / 1e6, _scatter_ns())


def _scatter_ns() -> float:
    """Nanoseconds a posting of the search kernel on a segment that the cache holds.

    An approximate search that may cut nothing reads all postings; what does not depend on their
    number is the same for a query of half the columns, and goes away in the difference.
    """
    rng = np.random.default_rng(5)
    chosen = np.stack([rng.choice(_DOCUMENTS, _PER_COLUMN, replace=False) for _ in range(_COLUMNS)])
    columns = np.repeat(np.arange(_COLUMNS, dtype=np.int32), _PER_COLUMN)
    documents = chosen.reshape(-1)
    order = np.lexsort((columns, documents))
    row_ptr = np.concatenate(([0], np.cumsum(np.bincount(documents, minlength=_DOCUMENTS))))
    weights = rng.uniform(0.1, 3.0, len(columns)).astype(np.float32)
    ranked = kernels.rank_columns(columns[order], weights)
    builder = kernels.ImpactBuilder(ranked.columns, ranked.column_max)
    docs = builder.add(row_ptr, ranked.ranks, weights)
    segment = kernels.ImpactSegment(builder.finish(docs), row_ptr, ranked.ranks, weights)

    def seconds_and_postings(n_columns: int) -> tuple[float, int]:
        query = vectors.from_arrays(
            np.array([0, n_columns], np.int64),
            np.arange(n_columns, dtype=np.int32),
            np.ones(n_columns, np.float32),
            _COLUMNS,
        )
        effort = kernels.Effort(cut=0.0, candidates=1)
        postings = kernels.search([segment], query, 1, effort=effort).work.postings

        def often() -> None:
            for _ in range(200):
                kernels.search([segment], query, 1, effort=effort)

        return _best_seconds(often) / 200, postings

    all_seconds, all_postings = seconds_and_postings(_COLUMNS)
    half_seconds, half_postings = seconds_and_postings(_COLUMNS // 2)
    return (all_seconds - half_seconds) / (all_postings - half_postings) * 1e9


def _best_seconds(run: Callable[[], object]) -> float:
    run()
    times = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)
