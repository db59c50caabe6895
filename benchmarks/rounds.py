"""Calls in turn, so that a slow spell of the machine meets all of them."""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Latency", "Timed", "latency", "time_batches", "time_calls", "without_collector"]

_BLOCK = 50
_WARM_UP = 3
_LEAST = 10
"""Queries that even the slowest call is put, if there are as many."""


class Timed(NamedTuple):
    """One call, put to every query."""

    answers: list[Any]
    """Of the first round, one a query; of the first queries, if the call is slow."""
    microseconds: NDArray[np.float64]
    """Of each query that has an answer the median over the rounds, shape (n_answers,)."""


class Latency(NamedTuple):
    """Over queries, microseconds."""

    median_us: float
    mean_us: float
    p99_us: float


def latency(microseconds: NDArray[np.float64]) -> Latency:
    """What reports show of the queries' times, shape (n_queries,)."""
    return Latency(
        float(np.median(microseconds)),
        float(microseconds.mean()),
        float(np.percentile(microseconds, 99)),
    )


def time_calls(
    calls: Sequence[Callable[[int], Any]],
    n: int,
    rounds: int,
    seconds: float = math.inf,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> list[Timed]:
    """Put the queries 0 to n - 1 to every call, a block of them at a time.

    Args:
        calls: each takes the number of a query; all it does is timed.
        n: number of queries, at least 1.
        rounds: how often each query is put.
        seconds: what all rounds of one call may take, going by two of the queries. A call
            that is slower is put the first queries only, ten at least.
        clock: nanoseconds; ``time.thread_time_ns`` leaves out what other processes take, for calls
            that stay in this thread.

    Returns:
        what was timed, parallel to ``calls``.
    """
    ends = [_queries_within(seconds / rounds, call, n) for call in calls]
    times = np.zeros((len(calls), rounds, n))
    answers: list[list[Any]] = [[] for _ in calls]
    with without_collector():
        for r in range(rounds):
            for block, begin in enumerate(range(0, n, _BLOCK)):
                for c in np.roll(np.arange(len(calls)), r + block).tolist():
                    end = min(begin + _BLOCK, ends[c])
                    if begin >= end:
                        continue
                    # Fills the caches again, without asking what is about to be asked.
                    for q in range(begin - min(_WARM_UP, n), begin):
                        calls[c](q % n)
                    for q in range(begin, end):
                        start = clock()
                        answer = calls[c](q)
                        times[c, r, q] = clock() - start
                        if r == 0:
                            answers[c].append(answer)
    medians = np.median(times, axis=1) / 1e3
    return [Timed(answers[c], medians[c][: ends[c]]) for c in range(len(calls))]


def time_batches(batch: Callable[[int], Any], n: int, rounds: int) -> tuple[float, float | None]:
    """Mean microseconds of a query in one call for all n: the median of the rounds.

    Args:
        batch: takes the number of threads to use.
        n: queries in a batch.
        rounds: how often it is called, after a call that is not timed.

    Returns:
        with one thread, and with two; None where this process may use one core only.
    """
    threads = (1, 2) if _usable_cores() > 1 else (1,)
    times = np.empty((len(threads), rounds))
    with without_collector():
        for t in threads:
            batch(t)
        for r in range(rounds):
            for i, t in enumerate(threads):
                start = time.perf_counter()
                batch(t)
                times[i, r] = (time.perf_counter() - start) / n * 1e6
    one, *two = np.median(times, axis=1).tolist()
    return one, two[0] if two else None


def _queries_within(seconds: float, call: Callable[[int], Any], n: int) -> int:
    if seconds == math.inf:
        return n
    call(0)
    start = time.perf_counter()
    call(n - 1)
    call(0)
    mean = (time.perf_counter() - start) / 2
    return min(n, max(_LEAST, int(seconds / mean)))


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # a process may be bound to some cores
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def without_collector() -> Iterator[None]:
    """No collection of garbage but one before."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
