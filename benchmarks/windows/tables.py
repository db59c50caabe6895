"""Windows of dense vectors as Markdown."""

from __future__ import annotations

from benchmarks.environment import environment_lines
from benchmarks.markdown import table
from benchmarks.windows.methods import OURS, PEERS
from benchmarks.windows.records import DenseTimes, DenseWindows, DenseWindowsReport

__all__ = ["markdown"]


def markdown(report: DenseWindowsReport, *, level: int = 1) -> str:
    """The whole report.

    Args:
        report: what was measured.
        level: of the heading.
    """
    rows = []
    for size in report.dense_windows:
        times = {t.method: t for t in size.times}
        rows.append(
            [
                f"2^-{size.exponent}", f"{size.documents:,}",
                *(_cell(times.get(m.name)) for m in report.methods), _gain(size),
            ]
        )  # fmt: skip
    names = [m.name for m in report.methods]
    header = ["window", "documents", *names, "faiss's faster graph / sparseret"]
    return "\n".join(
        [
            f"{'#' * level} Windows of dense vectors",
            "",
            *environment_lines(report.environment),
            "",
            f"{report.documents:,} vectors of {report.dim} values: {report.vectors}. Settings "
            f"`{report.settings}`; {report.segment_bytes / 1e6:,.0f} MB, built in "
            f"{report.build_seconds:,.0f} s by one thread. {report.queries} queries a size, each "
            f"with one of {report.dense_windows[0].windows} random windows; top {report.k}, one "
            "thread. Mean µs of processor time a query, of each query's median over "
            f"{report.rounds} rounds, at the least effort whose mean recall is {report.recall} or "
            "more; in brackets that effort and the recall. A dash: no effort reached it within the "
            "time.",
            "",
            *table(header, rows),
            "",
            *(f"- {m.name}: {m.remarks}" for m in report.methods),
            "",
        ]
    )


def _cell(times: DenseTimes | None) -> str:
    if times is None:
        return "-"
    if times.effort is None:
        return f"{times.mean_us:,.0f}"
    return f"{times.mean_us:,.0f} ({times.effort:,}; {times.recall:.3f})"


def _gain(size: DenseWindows) -> str:
    ours = size.mean_us(OURS)
    others = [mean for name in PEERS if (mean := size.mean_us(name)) is not None]
    return f"{min(others) / ours:.1f} ×" if ours and others else "-"
