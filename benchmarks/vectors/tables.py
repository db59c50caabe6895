"""A comparison on one corpus as Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.environment import environment_lines
from benchmarks.markdown import table
from benchmarks.vectors.records import EXACT, LEVELS, Measured, VectorReport

__all__ = ["against_best_peer", "markdown"]

_OURS = "sparseret"


def markdown(report: VectorReport, *, level: int = 1) -> str:
    """The whole report.

    Args:
        report: what was measured.
        level: of the heading.
    """
    corpus = report.corpus
    heading = "#" * level
    lines = [
        f"{heading} {corpus.name}",
        "",
        *environment_lines(report.environment),
        "",
        f"{corpus.documents:,} documents of {corpus.nonzeros_per_document:.0f} stored values, "
        f"queries of {corpus.nonzeros_per_query:.1f}, {corpus.postings_per_query:,.0f} postings a "
        f"query; settings picked on {corpus.tuning_queries} queries, figures from "
        f"{corpus.held_out_queries} others, {report.rounds} rounds, one thread.",
    ]
    for k in dict.fromkeys(m.k for m in report.measured):
        lines += ["", f"{heading}# {corpus.name}: top {k}", ""]
        lines += [
            "One query a call: median (99th percentile) in µs [mean of a query in the batch call], "
            "at the fastest setting that reached the recall on the tuning half.",
            "",
        ]
        lines += _by_level(report, k)
        lines += ["", "The settings behind it, on the held-out half:", "", *_settings(report, k)]
        if any(m.promised is not None and m.k == k for m in report.measured):
            lines += ["", "Recall promised, and kept:", "", *_promises(report, k)]
    lines += ["", f"{heading}# {corpus.name}: building", "", *_building(report)]
    lines += ["", "How each is called:", ""]
    lines += [
        f"- {engine.name} ({engine.distribution} {engine.version}): {engine.remarks}"
        for engine in report.engines
        if not engine.skipped
    ]
    skipped = [engine for engine in report.engines if engine.skipped]
    if skipped:
        lines += ["", "Left out: " + "; ".join(f"{e.name} ({e.skipped})" for e in skipped) + "."]
    return "\n".join(lines) + "\n"


def against_best_peer(
    report: VectorReport, k: int, level: float
) -> tuple[Measured, Measured] | None:
    """Our setting and the fastest peer's for a level of recall, each peer by its faster call.

    Returns:
        None where we or all peers have nothing that reaches the level.
    """
    picked = [m for m in report.measured if m.k == k and level in m.levels]
    ours = next((m for m in picked if m.engine == _OURS), None)
    peers = [m for m in picked if m.engine != _OURS]
    if ours is None or not peers:
        return None
    return ours, min(peers, key=lambda m: m.best_us)


def _by_level(report: VectorReport, k: int) -> list[str]:
    levels = (*LEVELS, EXACT)
    rows = [
        [engine, *(_cell(_picked(report, k, engine, level)) for level in levels)]
        for engine in _engines(report, k)
    ]
    pairs = [against_best_peer(report, k, level) for level in levels]
    if any(pairs):
        single = [
            f"{p[1].best_us / p[0].mean_us:.2f} × ({p[1].engine})" if p else "-" for p in pairs
        ]
        faster = [f"{p[1].best_us / p[0].best_us:.2f} ×" if p else "-" for p in pairs]
        rows += [
            ["fastest peer", *(p[1].engine if p else "-" for p in pairs)],
            ["its faster call / sparseret, one query a call", *single],
            ["its faster call / sparseret's faster call", *faster],
        ]
    return table(["engine", *map(_level_name, levels)], rows)


def _cell(m: Measured | None) -> str:
    if m is None:
        return "-"
    batch = "" if m.batch_us is None else f" [{m.batch_us:,.0f}]"
    return f"{m.median_us:,.0f} ({m.p99_us:,.0f}){batch}"


def _settings(report: VectorReport, k: int) -> list[str]:
    rows = [
        [
            m.engine, _join(_level_name(level) for level in m.levels), _join((m.build, m.setting)),
            f"{m.recall:.4f}", f"{m.worst_recall:.2f}", f"{m.median_us:,.0f}", f"{m.mean_us:,.0f}",
            f"{m.p99_us:,.0f}", "-" if m.batch_us is None else f"{m.batch_us:,.0f}",
        ]
        for m in report.measured
        if m.k == k and m.levels
    ]  # fmt: skip
    header = ["engine", "for", "built and searched with", "recall", "worst 1%", "median", "mean",
              "p99", "batch, mean"]  # fmt: skip
    return table(header, rows)


def _promises(report: VectorReport, k: int) -> list[str]:
    rows = [
        [
            m.engine, m.setting, f"{m.promised:.3f}", f"{m.recall:.4f}", f"{m.worst_recall:.2f}",
            f"{m.median_us:,.0f}", f"{m.p99_us:,.0f}",
        ]
        for m in report.measured
        if m.k == k and m.promised is not None
    ]  # fmt: skip
    header = ["engine", "setting", "promised", "recall", "worst 1%", "median µs", "p99 µs"]
    return table(header, rows)


def _building(report: VectorReport) -> list[str]:
    rows = []
    n = report.corpus.documents
    for b in report.built:
        if b.failed:
            rows.append([b.engine, b.build, b.failed, *["-"] * 5])
            continue
        rows.append(
            [
                b.engine, b.build, f"{b.wall_seconds:.1f}", f"{b.cpu_seconds:.1f}",
                f"{b.peak_mb:,.0f} ({b.before_mb:,.0f})", f"{b.disk_bytes / n:,.0f}",
                "-" if b.memory_bytes is None else f"{b.memory_bytes / n:,.0f}",
                f"{b.open_seconds:.2f}",
            ]
        )  # fmt: skip
    header = ["engine", "built with", "wall s", "CPU s", "peak MB (before)", "bytes/doc on disk",
              "in memory", "opening s"]  # fmt: skip
    return table(header, rows)


def _engines(report: VectorReport, k: int) -> list[str]:
    return list(dict.fromkeys(m.engine for m in report.measured if m.k == k and m.levels))


def _picked(report: VectorReport, k: int, engine: str, level: float) -> Measured | None:
    for m in report.measured:
        if (m.engine, m.k) == (engine, k) and level in m.levels:
            return m
    return None


def _level_name(level: float) -> str:
    return "exact" if level == EXACT else f"{level * 100:g}%"


def _join(parts: Iterable[str]) -> str:
    return "; ".join(part for part in parts if part != "-") or "-"
