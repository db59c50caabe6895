"""Growth as Markdown and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.environment import environment_lines
from benchmarks.markdown import table
from benchmarks.scale.records import MEMORY_LIMIT_GIB, ScaleReport, Size, gib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["markdown", "plot_report"]


def markdown(report: ScaleReport, *, level: int = 1) -> str:
    """The whole report.

    Args:
        report: what was measured.
        level: of the heading.
    """
    heading = "#" * level
    lines = [
        f"{heading} Growth: msmarco-like",
        "",
        *environment_lines(report.environment),
        "",
        "Documents are generated and added chunk by chunk, committed once and merged; making them "
        "is timed apart. Merging includes the index's own calibration, and it is tuned with given "
        "queries after that. Memory is that of the whole process, with the chunk that is being "
        "made; peaks include mapped files, which the system can take back.",
        "",
        f"{heading}# Building",
        "",
        *_building(report),
        "",
        f"{heading}# A fresh process: resident MB, anonymous + files",
        "",
        *_opening(report),
        "",
        f"{heading}# Searching",
        "",
        "µs a query on one thread; recall against the index's own exact search.",
        "",
        *_searching(report),
    ]
    return "\n".join(lines) + "\n"


def _building(report: ScaleReport) -> list[str]:
    rows = []
    for size in report.sizes:
        building, n = size.building, size.documents
        own = ", ".join(
            f"{s.name} {s.wall_seconds:,.0f}" for s in building.stages if s.name != "generate"
        )
        made = next(s for s in building.stages if s.name == "generate")
        budget = "default" if size.memory_budget is None else f"{size.memory_budget / 1e6:,.0f}"
        rows.append(
            [
                f"{n:,}", f"{building.seconds():,.0f}", f"{building.seconds(cpu=True):,.0f}", own,
                f"{made.wall_seconds:,.0f}", budget, f"{gib(size.built.peak_resident_mb):.2f}",
                f"{gib(size.built.peak_anonymous_mb):.2f}", _files_gib(size),
                f"{size.peak_gib / MEMORY_LIMIT_GIB:.0%}",
                f"{building.disk_bytes / 2**30:.2f}", f"{building.disk_bytes / n:,.0f}",
                str(building.segments),
            ]
        )  # fmt: skip
    header = [
        "documents", "wall s", "CPU s", "stages, wall s", "generating s", "budget MB", "peak GiB",
        "peak anonymous GiB", "peak files GiB",
        f"peak, searching too, of {MEMORY_LIMIT_GIB:.0f} GiB", "disk GiB", "bytes/document",
        "segments",
    ]  # fmt: skip
    return table(header, rows)


def _files_gib(size: Size) -> str:
    files = size.built.peak_files_mb
    return "-" if files is None else f"{gib(files):.2f}"


def _opening(report: ScaleReport) -> list[str]:
    moments = [r.when for r in report.sizes[0].searching.resident]
    rows = []
    for size in report.sizes:
        found = size.searching
        rows.append(
            [
                f"{size.documents:,}", f"{found.open_ms:.1f}", f"{found.first_query_ms:.1f}",
                *(f"{r.anonymous_mb:,.0f} + {r.files_mb:,.0f}" for r in found.resident),
                f"{gib(size.searched.peak_resident_mb):.2f}",
            ]
        )  # fmt: skip
    return table(["documents", "open ms", "first query ms", *moments, "peak GiB"], rows)


def _searching(report: ScaleReport) -> list[str]:
    rows = []
    for size in report.sizes:
        for mode in size.searching.modes:
            scaling = mode.scaling
            rows.append(
                [
                    f"{size.documents:,}", mode.mode, f"{mode.recall:.4f}",
                    f"{mode.median_us:,.0f}", f"{mode.mean_us:,.0f}", f"{mode.p99_us:,.0f}",
                    f"{mode.p99_us / mode.median_us:.1f}", f"{mode.batch_us:,.0f}",
                    "-" if scaling is None else f"{scaling:.2f} ×",
                ]
            )  # fmt: skip
    header = [
        "documents", "asked for", "recall", "median", "mean", "p99", "p99 / median",
        "batch, mean", "batch, 2 threads over 1",
    ]  # fmt: skip
    return table(header, rows)


def plot_report(path: Path, report: ScaleReport) -> bool:
    """Draw PATH.png and .svg; False where matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(10.0, 7.0), layout="constrained")
    FigureCanvasAgg(figure)
    building, memory, disk, searching = figure.subplots(2, 2).ravel()
    sizes = report.sizes
    _lines(building, report, "building, s", {
        "wall": [s.building.seconds() for s in sizes],
        "CPU": [s.building.seconds(cpu=True) for s in sizes],
    })  # fmt: skip
    _lines(memory, report, "peak memory, GiB", {
        "building": [gib(s.built.peak_resident_mb) for s in sizes],
        "building, anonymous": [gib(s.built.peak_anonymous_mb) for s in sizes],
        "searching, files included": [gib(s.searched.peak_resident_mb) for s in sizes],
    })  # fmt: skip
    memory.axhline(MEMORY_LIMIT_GIB, color="#777777", linestyle=":")
    _lines(disk, report, "disk, GiB", {"index": [s.building.disk_bytes / 2**30 for s in sizes]})
    _lines(searching, report, "median µs a query, one thread", {
        mode.mode: [s.searching.modes[i].median_us for s in sizes]
        for i, mode in enumerate(sizes[0].searching.modes)
    })  # fmt: skip
    for suffix in ("png", "svg"):
        metadata = {"Date": None} if suffix == "svg" else {}
        figure.savefig(path.with_suffix(f".{suffix}"), dpi=120, metadata=metadata)
    return True


def _lines(axes: Axes, report: ScaleReport, what: str, lines: dict[str, list[float]]) -> None:
    documents = [size.documents for size in report.sizes]
    for (name, ys), colour in zip(lines.items(), ("#000000", "#0072b2", "#d55e00"), strict=False):
        axes.plot(documents, ys, marker="o", markersize=4, color=colour, label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("documents")
    axes.set_ylabel(what)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False)
