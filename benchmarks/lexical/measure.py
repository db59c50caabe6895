"""Measuring engines fairly: rounds alternate between them, so that a slow spell hits them all."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.corpora import DATA
from benchmarks.lexical.engines import Engine, Level, Stage, engines_of
from benchmarks.lexical.material import Material
from benchmarks.lexical.records import Agreement, Indexing, Latency, Throughput

__all__ = [
    "DisagreementError",
    "built_engines",
    "check_agreement",
    "measure_latency",
    "measure_throughput",
]

_TOLERANCE = 1e-4
_LEAST_SECONDS = 0.1
"""A round repeats its call until this much time is over, so that the clock's grain is nothing."""


class DisagreementError(Exception):
    """Two engines rank the same vectors with different scores: their times compare nothing."""


@contextmanager
def built_engines(
    material: Material, level: Level, names: Sequence[str], rounds: int
) -> Iterator[tuple[list[Engine], list[Indexing]]]:
    """Build every engine ``rounds`` times, alternating; the last ones built are handed out."""
    times: list[list[tuple[Stage, ...]]] = [[] for _ in engines_of(level, names)]
    engines: list[Engine] = []
    DATA.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DATA, prefix="indexes-") as scratch:
        for r in range(rounds):
            for engine in engines:
                engine.close()
            engines = engines_of(level, names)
            for i in _rotated(len(engines), r):
                folder = Path(scratch, f"{r}-{engines[i].name}")
                folder.mkdir()
                # What earlier work left must not be collected on this engine's time.
                gc.collect()
                gc.freeze()
                times[i].append(tuple(engines[i].build(material, folder)))
        yield (
            engines,
            [
                Indexing(material.name, level, engine.name, tuple(stages), engine.size())
                for engine, stages in zip(engines, times, strict=True)
            ],
        )
        for engine in engines:
            engine.close()


def check_agreement(material: Material, engines: Sequence[Engine], k: int) -> list[Agreement]:
    """Compare the best k scores of each query with the first engine's.

    Raises:
        DisagreementError: they differ by more than 1e-4 of the largest score.
    """
    n = len(material.queries)

    def scores(engine: Engine) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        table = np.zeros((n, k), np.float32)
        found = engine.search(engine.encode(material, 0, n), k, 1)
        for q, row in enumerate(found.scores):
            table[q, : len(row)] = row
        return table

    expected = scores(engines[0])
    made = []
    for engine in engines[1:]:
        difference = np.abs(scores(engine) - expected).max(axis=1) / expected.max(axis=1)
        worst = int(np.argmax(difference))
        if difference[worst] > _TOLERANCE:
            raise DisagreementError(
                f"{material.name}: {engine.name} and {engines[0].name} differ by "
                f"{difference[worst]:.2g} of the best score at query {material.queries[worst]!r}"
            )
        made.append(
            Agreement(material.name, engine.name, engines[0].name, n, k, float(difference[worst]))
        )
    return made


def measure_throughput(
    material: Material, level: Level, engines: Sequence[Engine], k: int, threads: int, rounds: int
) -> list[Throughput]:
    """All queries in one call; every engine is warmed up with one call, which also compiles."""
    n = len(material.queries)
    calls = [_call(engine, material, 0, n, k, threads) for engine in engines]
    repeats = [max(1, round(_LEAST_SECONDS / _seconds(call, 1, warm_up=True))) for call in calls]
    times: list[list[float]] = [[] for _ in engines]
    for r in range(rounds):
        for i in _rotated(len(engines), r):
            times[i].append(_seconds(calls[i], repeats[i]))
    return [
        Throughput(material.name, level, engine.name, k, threads, n, tuple(seconds))
        for engine, seconds in zip(engines, times, strict=True)
    ]


def measure_latency(
    material: Material, level: Level, engines: Sequence[Engine], k: int, rounds: int
) -> list[Latency]:
    """One query a call, one thread; the engines take turns query by query."""
    n = len(material.queries)
    calls = [[_call(engine, material, q, q + 1, k, 1) for q in range(n)] for engine in engines]
    for row in calls:
        row[0]()  # compiles
    times = np.empty((len(engines), rounds, n))
    for r in range(rounds):
        for q in range(n):
            for i in _rotated(len(engines), r + q):
                times[i, r, q] = _seconds(calls[i][q], 1)
    return [
        Latency(
            material.name, level, engine.name, k, rounds * n,
            median_ms=float(np.median(times[i])) * 1e3,
            p99_ms=float(np.percentile(times[i], 99)) * 1e3,
        )
        for i, engine in enumerate(engines)
    ]  # fmt: skip


def _call(
    engine: Engine, material: Material, begin: int, end: int, k: int, threads: int
) -> Callable[[], object]:
    queries = engine.encode(material, begin, end)
    return lambda: engine.search(queries, k, threads)


def _seconds(call: Callable[[], object], repeats: int, *, warm_up: bool = False) -> float:
    """Mean time of a call, in seconds."""
    if warm_up:
        call()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def _rotated(n: int, by: int) -> list[int]:
    return [(i + by) % n for i in range(n)]
