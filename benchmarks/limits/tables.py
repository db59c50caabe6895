"""Limits as Markdown."""

from __future__ import annotations

from benchmarks.environment import environment_lines
from benchmarks.limits.records import Limit, LimitReport
from benchmarks.markdown import table

__all__ = ["markdown"]


def markdown(report: LimitReport, *, level: int = 1) -> str:
    """The whole report.

    Args:
        report: what was measured.
        level: of the heading.
    """
    heading = "#" * level
    machine = report.machine
    ways = ", ".join(f"{way} {rate:.1f}" for way, rate in machine.read_gb_per_second)
    lines = [
        f"{heading} {report.corpus}: limits of the machine",
        "",
        *environment_lines(report.environment),
        "",
        f"{report.documents:,} documents in {report.index_windows} windows, top {report.k}, "
        f"{report.queries} queries, {report.rounds} rounds.",
        "",
        f"One thread reads {machine.best_gb_per_second:.1f} GB/s from memory (the fastest of: "
        f"{ways}; an array of {machine.array_mb:.0f} MB). The search kernel itself adds a posting "
        f"in {machine.scatter_ns:.2f} ns where all it touches is in the cache.",
        "",
        "Bytes that a query must move, and how long that takes at these rates. Directories say "
        "where lists begin. Sums stay in the cache, so they are left out of the bytes that come "
        "from memory. What other queries have read may still be in the cache, so that a search of "
        "a small index can be faster than the memory.",
        "",
        *_bytes(report),
        "",
        "Batches and threads, mean µs of a query:",
        "",
        *_threads(report),
        "",
        _instruction_line(report),
    ]
    return "\n".join(lines) + "\n"


def _bytes(report: LimitReport) -> list[str]:
    rows = []
    for limit in report.limits:
        done = limit.moved
        from_memory = done.total_bytes - done.accumulator_bytes
        read_us = from_memory / report.machine.best_gb_per_second / 1e3
        add_us = done.postings * report.machine.scatter_ns / 1e3
        batch = limit.threads.batch_us
        rows.append(
            [
                limit.mode, f"{done.postings:,.0f}", f"{done.rows:,.0f}",
                f"{done.posting_bytes / 1e3:,.0f}", f"{done.row_bytes / 1e3:,.0f}",
                f"{done.directory_bytes / 1e3:,.0f}", f"{done.accumulator_bytes / 1e3:,.0f}",
                f"{read_us:,.0f}", f"{add_us:,.0f}", f"{batch:,.0f}", f"{read_us / batch:.0%}",
                f"{add_us / batch:.0%}",
            ]
        )  # fmt: skip
    header = [
        "search", "postings", "rows scored", "kB of postings", "kB of rows", "kB of directories",
        "kB of sums (cache)", "reading, µs", "adding, µs", "measured in a batch, µs",
        "reading / measured", "adding / measured",
    ]  # fmt: skip
    return table(header, rows)


def _threads(report: LimitReport) -> list[str]:
    rows = []
    for limit in report.limits:
        threads = limit.threads
        two, scaling = threads.two_threads_us, threads.scaling
        rows.append(
            [
                limit.mode, f"{limit.median_us:,.0f} ({limit.p99_us:,.0f})",
                f"{threads.single_us:,.0f}", f"{threads.batch_us:,.0f}",
                "-" if two is None else f"{two:,.0f}", f"{1e6 / threads.batch_us:,.0f}",
                "-" if two is None else f"{1e6 / two:,.0f}", f"{threads.batch_gain:.2f} ×",
                "-" if scaling is None else f"{scaling:.2f} ×", _instructions(limit),
            ]
        )  # fmt: skip
    header = [
        "search", "one a call: median (p99)", "one a call", "batch", "batch, 2 threads",
        "queries/s", "queries/s, 2 threads", "batch over one a call", "2 threads over 1",
        "instructions a query",
    ]  # fmt: skip
    return table(header, rows)


def _instructions(limit: Limit) -> str:
    return "-" if limit.instructions is None else f"{limit.instructions:,.0f}"


def _instruction_line(report: LimitReport) -> str:
    if report.instructions_unknown:
        return f"No instructions were counted: {report.instructions_unknown}."
    return (
        "Instructions are counted by valgrind's callgrind, in a batch on one thread. It knows no "
        "AVX-512, so they are those of the kernels for AVX2."
    )
