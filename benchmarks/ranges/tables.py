"""Range filters as Markdown and as a picture."""

from __future__ import annotations

from pathlib import Path

from benchmarks.environment import environment_lines
from benchmarks.markdown import table
from benchmarks.ranges.records import AFTERWARDS, RANGE, MethodTimes, RangeReport

__all__ = ["markdown", "plot_report"]

# Colours that colour-blind readers tell apart.
_COLOURS = ("#000000", "#56b4e9", "#0072b2", "#777777", "#d55e00", "#e69f00", "#cc79a7")


def markdown(report: RangeReport, *, level: int = 1) -> str:
    """The whole report.

    Args:
        report: what was measured.
        level: of the heading.
    """
    rows = []
    for size in report.window_sizes:
        ours = size.mean_us(RANGE)
        rows.append(
            [
                f"2^-{size.exponent}", f"{size.documents:,}", f"{size.mean_hits:.1f}",
                *(_cell(report, t) for t in size.times),
                f"{report.speed_up(size):.1f} ×", f"{size.mean_us('bitmap') / ours:.1f} ×",
            ]
        )  # fmt: skip
    header = ["window", "documents", "hits", *(m.name for m in report.methods)]
    lines = [
        f"{'#' * level} {report.corpus}: ranges of documents",
        "",
        *environment_lines(report.environment),
        "",
        f"{report.documents:,} documents, {report.queries} queries a size, each with one of "
        f"{report.window_sizes[0].windows} random windows of consecutive documents; exact top "
        f"{report.k}, one thread. Mean µs a query, of each query's median over {report.rounds} "
        "rounds; in brackets the number of queries where a method was so slow that it was put "
        "fewer. All methods found the same documents with the same scores (scipy's sums differ in "
        "rounding).",
        "",
        *table([*header, "fastest afterwards / range", "bitmap / range"], rows),
        "",
    ]
    for filters, what in (("before", "Filtered before the ranking"), (AFTERWARDS, "Afterwards")):
        named = [f"{m.name}: {m.remarks}" for m in report.methods if m.filters == filters]
        lines += [f"{what}:", "", *(f"- {line}" for line in named), ""]
    return "\n".join(lines)


def _cell(report: RangeReport, times: MethodTimes) -> str:
    fewer = "" if times.queries == report.queries else f" ({times.queries})"
    return f"{times.mean_us:,.0f}{fewer}"


def plot_report(path: Path, report: RangeReport) -> bool:
    """Draw PATH.png and .svg; False where matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(8.0, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    exponents = [-size.exponent for size in report.window_sizes]
    for method, colour in zip(report.methods, _COLOURS, strict=True):
        style = "--" if method.filters == AFTERWARDS else "-"
        times = [size.mean_us(method.name) for size in report.window_sizes]
        axes.plot(exponents, times, style, marker="o", markersize=4, color=colour,
                  label=method.name)  # fmt: skip
    axes.set_yscale("log")
    ticks = exponents[::2]
    axes.set_xticks(ticks, [f"$2^{{{tick}}}$" for tick in ticks])
    axes.set_xlabel("window, as a share of the corpus")
    axes.set_ylabel("mean µs a query, one thread")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False)
    axes.set_title(
        f"{report.corpus}: {report.documents:,} documents, exact top {report.k} of a window "
        "(dashed: filtered afterwards)",
        fontsize=9,
    )
    for suffix in ("png", "svg"):
        metadata = {"Date": None} if suffix == "svg" else {}
        figure.savefig(path.with_name(f"{path.name}.{suffix}"), dpi=120, metadata=metadata)
    return True
