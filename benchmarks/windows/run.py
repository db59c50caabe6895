"""Windows of dense vectors: ``python -m benchmarks windows``.

The nearest of windows of consecutive documents, from 1/65536 of the corpus to all of it, at equal
recall, by one graph. Writes windows.json and .md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.environment import environment
from benchmarks.ranges.options import add_window_options
from benchmarks.ranges.run import window_sizes
from benchmarks.records_io import write_json
from benchmarks.rounds import latency, time_calls
from benchmarks.say import say
from benchmarks.windows.methods import Search, Ways, all_methods
from benchmarks.windows.records import DenseTimes, DenseWindows, DenseWindowsReport
from benchmarks.windows.tables import markdown
from benchmarks.windows.vectors import DenseVectors, blends
from sparseret.indexers.dense_segment import (
    DenseSegment,
    read_dense_segment,
    write_dense_segment,
)
from sparseret.indexers.dense_settings import DenseSettings

__all__ = ["main"]

_SEED = 11
_LEAST = 10
"""Queries that a method must answer within the seconds it is given."""
_EFFORTS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    options = _parser().parse_args(arguments)
    say(f"making {options.documents:,} vectors")
    vectors = blends(options.documents)
    settings = DenseSettings(
        "hnsw", precision=options.precision, m=options.m, ef_construction=options.ef_construction
    )
    segment, n_bytes, seconds = _segment(options.folder, vectors, settings)
    report = _measure(segment, vectors, options, n_bytes, seconds)
    write_json(options.out / "windows.json", report)
    text = markdown(report)
    (options.out / "windows.md").write_text(text, encoding="utf-8")
    print(text)


def _segment(
    folder: Path, vectors: DenseVectors, settings: DenseSettings
) -> tuple[DenseSegment, int, float]:
    """The segment, its bytes and the seconds it took; one of a former run is used again."""
    folder.mkdir(parents=True, exist_ok=True)
    n = len(vectors.documents)
    stem = f"{settings.kind}-{settings.precision}-{settings.m}-{settings.ef_construction}-{n}"
    path, note = folder / stem, folder / f"{stem}.json"
    if not note.exists():
        path.unlink(missing_ok=True)
        say("building")
        start = time.perf_counter()
        size, crc = write_dense_segment(path, np.arange(n), vectors.documents, settings)
        note.write_text(json.dumps([size, crc, time.perf_counter() - start]))
    size, crc, seconds = json.loads(note.read_text())
    return read_dense_segment(path, size=size, header_crc=crc), size, seconds


def _measure(
    segment: DenseSegment,
    vectors: DenseVectors,
    options: argparse.Namespace,
    n_bytes: int,
    seconds: float,
) -> DenseWindowsReport:
    rng = np.random.default_rng(_SEED)
    chosen = rng.permutation(len(vectors.queries))[: options.queries]
    queries = [vectors.queries[q : q + 1] / np.linalg.norm(vectors.queries[q]) for q in chosen]
    ways = all_methods(segment, options.k)
    sizes = []
    for exponent, n in window_sizes(segment.n_docs, options.smallest):
        say(f"windows of {n:,} documents")
        starts = rng.integers(segment.n_docs - n + 1, size=options.windows).tolist()
        windows = [range(start, start + n) for start in starts]
        of_query = [windows[q % len(windows)] for q in range(len(queries))]
        times = _one_size(segment, ways, queries, of_query, options)
        sizes.append(DenseWindows(exponent, n, len(windows), times))
    return DenseWindowsReport(
        environment(("sparseret", "numpy", "faiss-cpu")), vectors.name, segment.n_docs, segment.dim,
        segment.settings.to_json(), n_bytes, seconds, options.k, options.recall, len(queries),
        options.rounds, tuple(way.method for way in ways), tuple(sizes),
    )  # fmt: skip


def _one_size(
    segment: DenseSegment,
    ways: Sequence[Ways],
    queries: Sequence[NDArray[np.float32]],
    windows: Sequence[range],
    options: argparse.Namespace,
) -> tuple[DenseTimes, ...]:
    truth = [
        segment.search(query, options.k, inside=window)[0].rows
        for query, window in zip(queries, windows, strict=True)
    ]
    settled = []
    for way in ways:
        effort = None
        if way.approximate:
            effort = _least_effort(way.search, queries, windows, truth, options)
            if effort is None:
                continue
        settled.append((way, effort))

    def bound(search: Search, effort: int) -> Callable[[int], Any]:
        return lambda q: search(queries[q], windows[q], effort)

    calls = [bound(way.search, effort or 1) for way, effort in settled]
    timed = time_calls(calls, len(queries), options.rounds, options.seconds, time.thread_time_ns)
    return tuple(
        DenseTimes(
            way.method.name, effort, _recall(own.answers, truth), *latency(own.microseconds),
            len(own.answers),
        )
        for (way, effort), own in zip(settled, timed, strict=True)
    )  # fmt: skip


def _least_effort(
    search: Search,
    queries: Sequence[NDArray[np.float32]],
    windows: Sequence[range],
    truth: Sequence[NDArray[np.int64]],
    options: argparse.Namespace,
) -> int | None:
    """The least effort of a growing series that reaches the recall; None if time runs out first."""
    for effort in chain(_EFFORTS, (_EFFORTS[-1] << more for more in count(1))):
        start = time.perf_counter()
        found: list[NDArray[np.int64]] = []
        for query, window in zip(queries, windows, strict=True):
            found.append(search(query, window, effort))
            if time.perf_counter() - start > options.seconds * len(queries) / _LEAST:
                return None
        if _recall(found, truth) >= options.recall:
            return effort
    raise AssertionError("unreachable")


def _recall(found: Sequence[NDArray[np.int64]], truth: Sequence[NDArray[np.int64]]) -> float:
    """Mean share of the true rows that were found."""
    shares = [np.isin(t, f).mean() for f, t in zip(found, truth, strict=False) if len(t)]
    return float(np.mean(shares))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks windows", description=__doc__)
    parser.add_argument("--documents", type=int, default=200_000)
    parser.add_argument("--precision", choices=("float32", "float16"), default="float32")
    parser.add_argument("--m", type=int, default=32)
    parser.add_argument("--ef-construction", type=int, default=200)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--recall", type=float, default=0.95)
    add_window_options(parser)
    parser.add_argument(
        "--folder", type=Path, default=Path("build/windows"), help="where the segment is kept"
    )
    return parser
