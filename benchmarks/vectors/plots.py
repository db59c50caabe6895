"""Recall against latency, a picture for each k."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.vectors.records import VectorReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_report"]

# Colours that colour-blind readers tell apart; an engine keeps its own in all pictures.
_STYLES = {
    "sparseret": ("#000000", "o"),
    "seismic": ("#0072b2", "s"),
    "sindi": ("#d55e00", "^"),
    "bmp": ("#009e73", "D"),
    "kannolo": ("#cc79a7", "v"),
    "splade-index": ("#e69f00", "P"),
    "pisa": ("#56b4e9", "X"),
    "qdrant-edge": ("#8c6d31", "<"),
    "bm25s": ("#b2b200", ">"),
    "scipy": ("#777777", "*"),
}
_LEAST_RECALL = 0.8
_SHOWN_NINES = 1e-4  # a recall of 1 is drawn here on the axis of 1 - recall


def plot_report(path: Path, report: VectorReport) -> bool:
    """Draw PATH-kK.png and .svg for each k; False where matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    for k in dict.fromkeys(m.k for m in report.measured):
        figure = Figure(figsize=(8.0, 5.0), layout="constrained")
        FigureCanvasAgg(figure)
        _draw(figure.subplots(), report, k)
        for suffix in ("png", "svg"):
            metadata = {"Date": None} if suffix == "svg" else {}
            figure.savefig(path.with_name(f"{path.name}-k{k}.{suffix}"), dpi=120, metadata=metadata)
    return True


def _draw(axes: Axes, report: VectorReport, k: int) -> None:
    """Best settings of the sweep as lines, those measured on the held-out half as marks."""
    for engine, (colour, mark) in _STYLES.items():
        front = _front(report, engine, k)
        measured = [m for m in report.measured if (m.engine, m.k) == (engine, k)]
        if not front and not measured:
            continue
        xs, ys = [_miss(recall) for recall, _ in front], [us for _, us in front]
        axes.plot(xs, ys, color=colour, linewidth=1.0, alpha=0.6)
        axes.plot(
            [_miss(m.recall) for m in measured], [m.mean_us for m in measured],
            mark, color=colour, label=engine, markersize=6,
        )  # fmt: skip
    axes.set_yscale("log")
    axes.set_xscale("log")
    axes.invert_xaxis()
    ticks = [0.2, 0.1, 0.05, 0.03, 0.01, 0.005, 0.001, _SHOWN_NINES]
    axes.set_xticks(ticks, [*(f"{1 - tick:g}" for tick in ticks[:-1]), "1"])
    axes.minorticks_off()
    axes.set_xlim(1 - _LEAST_RECALL, _SHOWN_NINES * 0.8)
    axes.set_xlabel(f"recall@{k}")
    axes.set_ylabel("mean µs a query, one thread")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False)
    corpus = report.corpus
    axes.set_title(
        f"{corpus.name}: {corpus.documents:,} documents, top {k} (lines: tuning queries; marks: "
        "held-out)",
        fontsize=9,
    )


def _front(report: VectorReport, engine: str, k: int) -> list[tuple[float, float]]:
    """Settings that no other setting beats in both recall and time."""
    points = sorted(
        ((s.recall, s.mean_us) for s in report.swept if (s.engine, s.k) == (engine, k)),
        key=lambda point: (-point[0], point[1]),
    )
    front: list[tuple[float, float]] = []
    for recall, us in points:
        if recall >= _LEAST_RECALL and (not front or us < front[-1][1]):
            front.append((recall, us))
    return front


def _miss(recall: float) -> float:
    return max(1 - recall, _SHOWN_NINES)
