"""A search report as a picture: queries per second and seconds of indexing, a row a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.lexical.records import SearchReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot"]

# Colours that colour-blind readers tell apart, one an engine in the order of the run.
_COLOURS = ("#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#777777", "#009e73", "#cc79a7")


def plot(path: Path, report: SearchReport) -> None:
    """Draw to a PNG, SVG or PDF file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    engines = list(dict.fromkeys(built.engine for built in report.indexing))
    colours = dict(zip(engines, _COLOURS * len(engines), strict=False))
    n = len(report.corpora)
    figure = Figure(figsize=(15.0, 3.4 * n + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(n, 3, squeeze=False)
    for row, facts in zip(panels, report.corpora, strict=True):
        _searching(row[0], report, facts.corpus, "vectors", colours)
        _searching(row[1], report, facts.corpus, "text", colours)
        _indexing(row[2], report, facts.corpus, colours)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(engines), frameon=False)
    figure.savefig(path, dpi=110)


def _searching(
    axes: Axes, report: SearchReport, corpus: str, level: str, colours: dict[str, str]
) -> None:
    cells = [c for c in report.throughput if (c.corpus, c.level) == (corpus, level)]
    groups = list(dict.fromkeys((c.k, c.threads) for c in cells))
    present = [engine for engine in colours if any(c.engine == engine for c in cells)]
    width = 0.8 / max(len(present), 1)
    for i, engine in enumerate(present):
        own = [c for c in cells if c.engine == engine]
        places = [groups.index((c.k, c.threads)) + (i + 0.5) * width - 0.4 for c in own]
        axes.bar(places, [c.per_second for c in own], width, color=colours[engine], label=engine)
    axes.set_yscale("log")
    axes.set_ylabel("queries / s")
    axes.set_xticks(range(len(groups)), [f"k={k}\n{t} thr." for k, t in groups], fontsize=8)
    what = "search alone" if level == "vectors" else "from query strings to ids"
    axes.set_title(f"{corpus}: {what}", fontsize=10)
    axes.grid(axis="y", alpha=0.3)


def _indexing(axes: Axes, report: SearchReport, corpus: str, colours: dict[str, str]) -> None:
    """One bar a level and engine, its stages stacked."""
    built = [b for b in report.indexing if b.corpus == corpus][::-1]
    for y, own in enumerate(built):
        left = 0.0
        for i, stage in enumerate(own.stages):
            shade = 1.0 if i % 2 == 0 else 0.55
            axes.barh(y, stage.seconds, left=left, color=colours[own.engine], alpha=shade)
            left += stage.seconds
    axes.set_yticks(range(len(built)), [f"{b.engine} ({b.level})" for b in built], fontsize=8)
    axes.set_xlabel("seconds (shades: stages)")
    axes.set_title(f"{corpus}: indexing", fontsize=10)
