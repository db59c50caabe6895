"""Timing settings: a sweep on the tuning queries, then rounds on the held-out ones."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.rounds import without_collector
from benchmarks.vectors.engine import Calls, Engine, Setting
from benchmarks.vectors.truth import Truth

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Timed", "quiet", "time_rounds", "time_setting"]

_WARM_UP = 5
_BLOCK = 50
"""Queries of one engine in a row, after some that fill the caches again."""
_PATIENCE = 10.0
"""Seconds after which a setting of the sweep is not tried a second time."""


class Timed(NamedTuple):
    """Answers and times of one setting."""

    recall: NDArray[np.float64]
    """Shape (n_queries,)."""
    microseconds: NDArray[np.float64]
    """Shape (rounds, n_queries)."""
    batch_us: float | None
    """Mean of a query in the batch call: the median of the rounds."""

    @property
    def mean_us(self) -> float:
        """Mean over the queries of each one's median over the rounds."""
        return float(np.median(self.microseconds, axis=0).mean())

    @property
    def best_us(self) -> float:
        """By which settings are picked: the faster of the engine's two calls."""
        return min(self.mean_us, self.batch_us or np.inf)


def time_setting(
    engine: Engine, setting: Setting, queries: csr_array, k: int, truth: Truth
) -> Timed:
    """One setting alone, in two passes over the queries; in one where a pass takes long."""
    calls = engine.calls(queries, k, setting)
    with without_collector():
        for query in calls.queries[:_WARM_UP]:
            calls.search(query)
        began = time.perf_counter()
        found, first = _answers(calls, 0, len(calls.queries))
        passes = [first]
        if time.perf_counter() - began < _PATIENCE:
            passes.append(_answers(calls, 0, len(calls.queries))[1])
        batch = [_batch(calls) for _ in passes]
    return Timed(
        truth.recall([calls.ids(one) for one in found]),
        # The faster pass of each query: what disturbs a short sweep only ever adds time.
        np.min(passes, axis=0)[None],
        min((b for b in batch if b is not None), default=None),
    )


def time_rounds(
    pairs: Sequence[tuple[Engine, Setting]], queries: csr_array, k: int, truth: Truth, rounds: int
) -> list[Timed]:
    """All settings in turn, a block of queries at a time, so that a slow spell meets all of them.

    Args:
        pairs: open engines, each with a setting.
        queries: shape (n_queries, n_columns).
        k: answers a query.
        truth: of these queries.
        rounds: how often each query is put.

    Returns:
        what was timed, parallel to ``pairs``.
    """
    n = queries.shape[0]
    all_calls = [engine.calls(queries, k, setting) for engine, setting in pairs]
    times = np.empty((len(pairs), rounds, n))
    found: list[list[Any]] = [[] for _ in pairs]
    batches: list[list[float]] = [[] for _ in pairs]
    with without_collector():
        for r in range(rounds):
            for block, begin in enumerate(range(0, n, _BLOCK)):
                end = min(begin + _BLOCK, n)
                for i in np.roll(np.arange(len(pairs)), r + block).tolist():
                    for query in all_calls[i].queries[max(begin - _WARM_UP, 0) : begin or 1]:
                        all_calls[i].search(query)
                    answers, times[i, r, begin:end] = _answers(all_calls[i], begin, end)
                    if r == 0:
                        found[i] += [all_calls[i].ids(one) for one in answers]
            for i, calls in enumerate(all_calls):
                took = _batch(calls)
                if took is not None:
                    batches[i].append(took)
    return [
        Timed(truth.recall(found[i]), times[i], float(np.median(b)) if b else None)
        for i, b in enumerate(batches)
    ]


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what native code writes to standard output and error."""
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        for descriptor, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(nowhere)


def _answers(calls: Calls, begin: int, end: int) -> tuple[list[Any], NDArray[np.float64]]:
    """Answers to a range of queries, and the microseconds of each."""
    search, clock = calls.search, time.perf_counter_ns
    found = []
    times = []
    for query in calls.queries[begin:end]:
        start = clock()
        answer = search(query)
        times.append(clock() - start)
        found.append(answer)
    return found, np.array(times) / 1e3


def _batch(calls: Calls) -> float | None:
    """Microseconds a query of the batch call; None where there is none."""
    if calls.batch is None:
        return None
    start = time.perf_counter()
    calls.batch()
    return (time.perf_counter() - start) / len(calls.queries) * 1e6
