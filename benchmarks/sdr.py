"""Overlap search of binary codes, beside faiss: ``python -m benchmarks sdr``.

Codes are drawn at random; so are half of the queries, the others are stored codes of which half of
the active cells have moved. All codes and queries have as many active cells, so that the ranking by
overlap is that by Hamming distance. Every method must find the same overlaps. Writes FILE.json and
FILE.md.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, thread_time_ns

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from benchmarks.environment import Environment, environment, environment_lines
from benchmarks.markdown import table
from benchmarks.records_io import write_json
from benchmarks.rounds import latency, time_calls
from benchmarks.say import say
from sparseret.encoders.sdr import add_noise
from sparseret.indexers.sdr import SdrIndex
from sparseret.kernels import SdrBits
from sparseret.vectors import check_binary, from_arrays

__all__ = ["FAISS", "OverlapReport", "main", "markdown"]

FAISS = "faiss IndexBinaryFlat"
_KINDS = ("stored, half moved", "random")
_NOISE = 0.5
_SEED = 11
_CHUNK = 20_000

_Search = Callable[[int], NDArray[np.int64]]
"""Overlaps of the best codes of a query, by its number."""


@dataclass(frozen=True)
class Searched:
    """One method on one kind of query."""

    method: str
    queries: str
    median_us: float
    """Of a query, microseconds of processor time."""
    p99_us: float
    times_fastest: float
    """Median over queries of the time, divided by that of SdrIndex as built by default."""


@dataclass(frozen=True)
class Kept:
    """One method's codes in memory."""

    method: str
    seconds: float
    """To build it, from sparse rows; of packed bits for faiss."""
    bytes_per_code: float


@dataclass(frozen=True)
class OverlapReport:
    """Everything measured."""

    environment: Environment
    codes: int
    cells: int
    active: int
    k: int
    queries: int
    """Of each kind."""
    rounds: int
    chosen: str
    """The layout that SdrIndex.build keeps by default, by what it measured."""
    overlap_searches: tuple[Searched, ...]
    layouts: tuple[Kept, ...]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks sdr", description=__doc__)
    parser.add_argument("--codes", type=int, default=1_000_000)
    parser.add_argument("--cells", type=int, default=2048)
    parser.add_argument("--active", type=int, default=40)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--queries", type=int, default=50, help="of each kind")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/sdr"))
    options = parser.parse_args(arguments)
    report = _measure(options)
    write_json(options.out.with_name(f"{options.out.name}.json"), report)
    text = markdown(report)
    options.out.with_name(f"{options.out.name}.md").write_text(text, encoding="utf-8")
    print(text)


def _measure(options: argparse.Namespace) -> OverlapReport:
    rng = np.random.default_rng(_SEED)
    say(f"{options.codes:,} codes")
    codes = _draw(rng, options.codes, options.cells, options.active)
    places = rng.choice(options.codes, options.queries)
    kinds = (
        add_noise(codes[places], _NOISE, seed=_SEED),
        _draw(rng, options.queries, options.cells, options.active),
    )
    say("building")
    kept: list[Kept] = []

    def built(method: str, keep: str) -> SdrIndex:
        start = perf_counter()
        index = SdrIndex.build(codes, keep=keep)  # type: ignore[arg-type]
        kept.append(Kept(method, perf_counter() - start, index.bytes_per_code))
        return index

    default = built("SdrIndex", "cheaper")
    chosen = "lists" if default.bits is None else "bits"
    other = "bits" if chosen == "lists" else "lists"
    indexes = {"SdrIndex": default, f"SdrIndex, {other}": built(f"SdrIndex, {other}", other)}
    flat = None
    if importlib.util.find_spec("faiss"):
        packed = _bytes(codes)
        start = perf_counter()
        flat = _faiss(packed, options.cells)
        kept.append(Kept(FAISS, perf_counter() - start, float(packed.shape[1])))
    found: list[Searched] = []
    for kind, rows in zip(_KINDS, kinds, strict=True):
        say(f"searching: {kind}")
        calls: dict[str, _Search] = {
            name: _own(index, rows, options.k) for name, index in indexes.items()
        }
        if flat is not None:
            calls[FAISS] = _theirs(flat, _bytes(rows), options.active, options.k)
        found += _compared(calls, kind, rows.shape[0], options.rounds)
    names = ("sparseret", "numpy", "scipy", "faiss-cpu")
    return OverlapReport(
        environment(names), options.codes, options.cells, options.active, options.k,
        options.queries, options.rounds, chosen, tuple(found), tuple(kept),
    )  # fmt: skip


def _compared(calls: dict[str, _Search], kind: str, n: int, rounds: int) -> list[Searched]:
    """Raises ValueError where methods find different overlaps."""
    # A scan takes so long that other processes get their turns in it, and a short search does not:
    # by the wall clock, a busy machine would flatter the short one.
    timed = time_calls(list(calls.values()), n, rounds, clock=thread_time_ns)
    for name, own in zip(calls, timed, strict=True):
        if not all(map(np.array_equal, own.answers, timed[0].answers)):
            raise ValueError(f"{name} finds other overlaps than {next(iter(calls))}")
    out = []
    for name, own in zip(calls, timed, strict=True):
        summary = latency(own.microseconds)
        ratio = float(np.median(own.microseconds / timed[0].microseconds))
        out.append(Searched(name, kind, summary.median_us, summary.p99_us, ratio))
    return out


def _draw(rng: np.random.Generator, n: int, cells: int, active: int) -> csr_array:
    """Random codes of ``active`` cells each."""
    columns = np.empty((n, active), np.int32)
    for first in range(0, n, _CHUNK):
        part = columns[first : first + _CHUNK]
        keys = rng.random((len(part), cells), np.float32)
        part[:] = np.argpartition(keys, active - 1, axis=1)[:, :active]
        part.sort(axis=1)
    indptr = np.arange(n + 1, dtype=np.int64) * active
    return from_arrays(indptr, columns.reshape(-1), np.ones(n * active, np.float32), cells)


def _bytes(codes: csr_array) -> NDArray[np.uint8]:
    words = SdrBits.build(codes).words.view(np.uint8).reshape(codes.shape[0], -1)
    return np.ascontiguousarray(words[:, : -(-codes.shape[1] // 8)])


def _own(index: SdrIndex, queries: csr_array, k: int) -> _Search:
    rows = [check_binary(queries[[q]]) for q in range(queries.shape[0])]
    return lambda q: index.search(rows[q], k, threads=1).overlaps[0].astype(np.int64)


def _faiss(packed: NDArray[np.uint8], cells: int) -> object:
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexBinaryFlat(-(-cells // 8) * 8)
    index.add(packed)
    return index


def _theirs(index: object, queries: NDArray[np.uint8], active: int, k: int) -> _Search:
    def search(q: int) -> NDArray[np.int64]:
        distances, _ = index.search(queries[q : q + 1], k)  # type: ignore[attr-defined]
        overlaps = active - distances[0].astype(np.int64) // 2
        return overlaps[overlaps > 0]

    return search


def markdown(report: OverlapReport) -> str:
    """The whole report."""
    searched = [
        [s.method, s.queries, f"{s.median_us:,.0f}", f"{s.p99_us:,.0f}", f"{s.times_fastest:.1f}"]
        for s in report.overlap_searches
    ]
    kept = [[k.method, f"{k.bytes_per_code:.1f}", f"{k.seconds:.1f}"] for k in report.layouts]
    return (
        "\n".join(
            [
                *environment_lines(report.environment),
                "",
                f"{report.codes:,} codes of {report.cells:,} cells, {report.active} active; top "
                f"{report.k}, one query a call, one thread, whose processor time it is; "
                f"{report.queries} queries of each kind, {report.rounds} rounds in turns. SdrIndex "
                f"keeps {report.chosen} here, by what it "
                'measured; "times SdrIndex" is a median over queries. All find the same overlaps.',
                "",
                *table(
                    ("method", "queries", "median, µs", "99th percentile", "times SdrIndex"),
                    searched,
                ),
                "",
                *table(("method", "bytes a code", "seconds to build"), kept),
            ]
        )
        + "\n"
    )
