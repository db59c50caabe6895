"""Promises about ranges, threads and growth, held against the reports of their commands."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.limits.records import LimitReport
from benchmarks.promises.searching import keeps
from benchmarks.promises.target import Target, at_least, at_most
from benchmarks.ranges.records import RangeReport
from benchmarks.scale.records import MEMORY_LIMIT_GIB, ScaleReport

__all__ = [
    "fits_memory",
    "growth_keeps_recall",
    "growth_scales",
    "growth_steady",
    "small_ranges",
    "threads_scale",
]

_SMALL = 12
"""Windows of 2**-12 of the corpus and less are small."""
_LARGEST = 8_800_000
_SCALING = 1.8


def small_ranges(report: RangeReport) -> Iterator[Target]:
    """A search of a small window is 75 times as fast as filtering afterwards."""
    small = [size for size in report.window_sizes if size.exponent >= _SMALL]
    if small:
        size = min(small, key=report.speed_up)
        what = (
            f"{report.corpus}: range over the fastest filter afterwards, the least of windows up "
            f"to 2^-{_SMALL} ({size.documents:,} documents)"
        )
        yield at_least(what, report.speed_up(size), 75.0)


def threads_scale(report: LimitReport) -> Iterator[Target]:
    """Two threads answer 1.8 times as many queries as one."""
    for limit in report.limits:
        if limit.threads.scaling is not None:
            what = f"{report.corpus}: {limit.mode}, 2 threads over 1 in batches"
            yield at_least(what, limit.threads.scaling, _SCALING)


def fits_memory(report: ScaleReport) -> Iterator[Target]:
    """8.8 million documents are built and searched within 20 GiB."""
    for size in report.sizes:
        if size.documents >= _LARGEST:
            what = f"{size.documents:,} documents: peak memory of building and searching"
            yield at_most(what, size.peak_gib, MEMORY_LIMIT_GIB, " GiB")


def growth_scales(report: ScaleReport) -> Iterator[Target]:
    """Two threads answer 1.8 times as many queries as one, at each size."""
    for size in report.sizes:
        for mode in size.searching.modes:
            if mode.scaling is not None:
                what = (
                    f"msmarco-like:{size.documents}, as it grew: {mode.mode}, 2 threads over 1 in "
                    "batches"
                )
                yield at_least(what, mode.scaling, _SCALING)


def growth_steady(report: ScaleReport) -> Iterator[Target]:
    """The 99th percentile is at most four times the median, at each size."""
    for size in report.sizes:
        worst = max(size.searching.modes, key=lambda mode: mode.p99_us / mode.median_us)
        what = (
            f"msmarco-like:{size.documents}, as it grew: top {size.k}, 99th percentile over "
            f"median; {worst.mode}"
        )
        yield at_most(what, worst.p99_us / worst.median_us, 4.0)


def growth_keeps_recall(report: ScaleReport) -> Iterator[Target]:
    """The recall asked for is kept on queries not seen before, at each size."""
    for size in report.sizes:
        worst = max(size.searching.modes, key=lambda mode: mode.asked - mode.recall)
        what = (
            f"msmarco-like:{size.documents}, as it grew: top {size.k}, {worst.mode}, the furthest "
            "below what was asked"
        )
        yield keeps(what, worst.asked, worst.recall)
