"""What was promised and what was measured, from results: ``python -m benchmarks targets``.

Prints Markdown tables made of what the other commands wrote.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.encoding.records import EncodingReport
from benchmarks.lexical.records import SearchReport
from benchmarks.limits.records import LimitReport
from benchmarks.markdown import table
from benchmarks.projection import ProjectionReport
from benchmarks.promises import (
    building,
    encoding,
    growing,
    lexical,
    overlap,
    projecting,
    searching,
    selecting,
    serving,
)
from benchmarks.promises.target import Target
from benchmarks.ranges.records import RangeReport
from benchmarks.recall import RecallReport
from benchmarks.result_files import read_results
from benchmarks.scale.records import ScaleReport
from benchmarks.sdr import OverlapReport
from benchmarks.service import ServiceReport
from benchmarks.startup import StartupReport
from benchmarks.top_k import TopKReport
from benchmarks.vectors.records import VectorReport

__all__ = ["PROMISES", "Judged", "Promise", "check", "main", "target_lines"]

_RUN = "python -m benchmarks run --corpus splade-long splade-short msmarco-like:1000000"
_STATIC = "python -m benchmarks run --corpus splade-long-static splade-short-static"
_RECALL = "python -m benchmarks recall --corpus splade-long splade-short msmarco-like:1000000"
_SCALE = "python -m benchmarks scale"
_LIMITS = "python -m benchmarks limits --corpus splade-short msmarco-like:1000000"


class Promise(NamedTuple):
    """Something promised, and which results show whether it is kept."""

    what: str
    command: str
    """That measures it."""
    checks: tuple[tuple[type[Any], Callable[[Any], Iterable[Target]]], ...]
    """What each kind of report says about it."""


class Judged(NamedTuple):
    """A promise and all that the results say about it; nothing where it was not measured."""

    promise: Promise
    targets: list[Target]


PROMISES: tuple[Promise, ...] = (
    Promise(
        "no peer is faster at any recall", _RUN, ((VectorReport, searching.fast),)
    ),
    Promise(
        "top 10: several times as fast as Seismic, SINDI, PISA and BMP",
        _RUN, ((VectorReport, searching.far_ahead),),
    ),
    Promise(
        "top 100, approximate: ≥ 3 × as fast as the fastest peer", _RUN,
        ((VectorReport, searching.fast_for_hundred),),
    ),
    Promise(
        "inference-free queries, exact: ≥ 5 × as fast as bm25s and scipy", _STATIC,
        ((VectorReport, searching.static),),
    ),
    Promise(
        "the recall asked for is kept within a point on other queries", _RECALL,
        ((RecallReport, searching.keeps_recall), (ScaleReport, growing.growth_keeps_recall)),
    ),
    Promise("exact search misses nothing", _RUN, ((VectorReport, searching.is_exact),)),
    Promise(
        "99th percentile ≤ 4 × median", _RUN,
        ((VectorReport, searching.steady), (ScaleReport, growing.growth_steady)),
    ),
    Promise("top 1000 ≤ 3 × top 10", _RUN, ((VectorReport, searching.many_results),)),
    Promise(
        "small ranges ≥ 75 × as fast as filtering afterwards",
        "python -m benchmarks ranges --corpus splade-short msmarco-like:1000000",
        ((RangeReport, growing.small_ranges),),
    ),
    Promise(
        "2 threads ≥ 1.8 × as many queries/s as 1", _LIMITS,
        ((LimitReport, growing.threads_scale), (ScaleReport, growing.growth_scales)),
    ),
    Promise(
        "building: ≤ 1/40 of Seismic's processor time", _RUN,
        ((VectorReport, building.faster_than_seismic),),
    ),
    Promise(
        "building: no more processor time than SINDI", _RUN,
        ((VectorReport, building.faster_than_sindi),),
    ),
    Promise(
        "bytes on disk: ≤ 0.6 × Seismic's for real vectors, 0.8 × for generated ones", _RUN,
        ((VectorReport, building.smaller_than_seismic),),
    ),
    Promise(
        "bytes on disk: no peer's index of equal recall is smaller", _RUN,
        ((VectorReport, building.smallest_at_equal_recall),),
    ),
    Promise("8.8 million documents within 20 GiB", _SCALE, ((ScaleReport, growing.fits_memory),)),
    Promise(
        "SPLADE: ≥ 4 × sentence-transformers' documents/s, in 1/10 of its logits' memory",
        "python -m benchmarks encoding --texts ../shared/data/scifact",
        ((EncodingReport, encoding.documents),),
    ),
    Promise(
        "inference-free queries are encoded in ≤ 1.1 × BM25's time",
        "python -m benchmarks encoding --texts ../shared/data/scifact",
        ((EncodingReport, encoding.queries),),
    ),
    Promise(
        "HTTP service: adds < 0.5 ms to a search (p50)",
        "python -m benchmarks service --minutes 0", ((ServiceReport, serving.adds),),
    ),
    Promise(
        "HTTP service: 30 minutes of searches and writes and a kill: no error, nothing lost",
        "python -m benchmarks service --minutes 30", ((ServiceReport, serving.keeps),),
    ),
    Promise(
        "binary codes, 1M of 2,048 cells with 40 active: ≥ 10 × as fast as faiss IndexBinaryFlat",
        "python -m benchmarks sdr", ((OverlapReport, overlap.searches),),
    ),
    Promise(
        "BM25: ≥ 3 × bm25s's queries/s on a million documents, nowhere fewer",
        "python -m benchmarks lexical", ((SearchReport, lexical.fast),),
    ),
    Promise(
        "BM25: indexing from texts no slower than bm25s", "python -m benchmarks lexical",
        ((SearchReport, lexical.indexes_fast),),
    ),
    Promise(
        "opening in < 0.3 s, first query of a process in < 1 s", "python -m benchmarks startup",
        ((StartupReport, lexical.starts_fast),),
    ),
    Promise(
        "random projection: ≥ 2 × as fast as scikit-learn at its density, ≥ 20 × at 1/3",
        "python -m benchmarks projection", ((ProjectionReport, projecting.faster),),
    ),
    Promise(
        "top-k of wide rows: ≥ 5 × torch.topk; decoding: ≥ 10 × the dense product",
        "python -m benchmarks top-k", ((TopKReport, selecting.faster),),
    ),
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks targets", description=__doc__)
    parser.add_argument(
        "files", nargs="*", type=Path, help="by default all JSON files in benchmarks/results"
    )
    options = parser.parse_args(arguments)
    files = options.files or sorted(Path("benchmarks/results").glob("*.json"))
    records = [result.record for result in read_results(files)]
    print("\n".join(target_lines(check(records))))


def check(records: Sequence[Any]) -> list[Judged]:
    """Every promise, and what the reports say about it."""
    return [
        Judged(
            promise,
            [
                target
                for record in records
                for kind, targets_of in promise.checks
                if isinstance(record, kind)
                for target in targets_of(record)
            ],
        )
        for promise in PROMISES
    ]


def target_lines(judged: Sequence[Judged]) -> list[str]:
    """Two Markdown tables: a line a promise, then all measurements."""
    summary = [[j.promise.what, *_outcome(j)] for j in judged]
    rows = [
        [t.what, t.wanted, t.measured, "reached" if t.met else "**missed**"]
        for j in judged
        for t in j.targets
    ]
    return [
        *table(["promise", "outcome", "measured by"], summary),
        "",
        "Each of them:",
        "",
        *table(["target", "wanted", "measured", "outcome"], rows),
    ]


def _outcome(judged: Judged) -> tuple[str, str]:
    n, met = len(judged.targets), sum(t.met for t in judged.targets)
    command = f"`{judged.promise.command}`"
    if not n:
        return "not measured yet", command
    if met == n:
        return f"reached ({n} of {n})", command
    return f"**missed** (reached {met} of {n})", command
