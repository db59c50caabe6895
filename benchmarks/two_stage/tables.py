"""Two-stage search as Markdown and as a picture."""

from __future__ import annotations

from pathlib import Path

from benchmarks.environment import environment_lines
from benchmarks.markdown import table
from benchmarks.two_stage.records import Corpus, TwoStageReport

__all__ = ["markdown", "plot"]

_COLOURS = ("#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#777777", "#009e73", "#cc79a7")


def markdown(report: TwoStageReport, *, level: int = 1) -> str:
    """The whole report.

    Args:
        report: what was measured.
        level: of the heading.
    """
    lines = [
        f"{'#' * level} Dense search within a budget of memory", "",
        *environment_lines(report.environment), "",
        "Memory is what opening and searching added to the anonymous memory of a process that may "
        "not have more private memory than the budget; mapped files are not in it, as the system "
        "can take them back. Effort is candidates whose vectors are read, or lists of faiss; "
        "*scored again* are 1,000 candidates by their vectors on disk. Times are medians of the "
        "processor time of a query, top 100, one thread, vectors in the page cache; *cold* is "
        "wall-clock time at the least effort with the file dropped from it before. Recall is of "
        "the true 10 and 100 nearest.", "",
    ]  # fmt: skip
    for corpus in report.corpora:
        lines += [f"{'#' * (level + 1)} {corpus.vectors:,} vectors", "", *_corpus(corpus), ""]
    header = ["codes", "candidates", "fitted", "learned"]
    cells = [[r.codes, str(r.candidates), f"{r.fitted:.3f}", f"{r.learned:.3f}"]
             for r in report.learned]  # fmt: skip
    lines += [
        f"{'#' * (level + 1)} Learning", "",
        "Codes of the documents of all collections, fitted to them, and then learned from their "
        "titles: share of the 10 documents nearest to a test query that are among the candidates.",
        "", *table(header, cells), "",
        "nDCG@10 of the full vectors, and with a query adapter learned from titles with negatives "
        "by random walks:", "",
        *table(["collection", "as they are", "adapted"],
               [[name, f"{a:.4f}", f"{b:.4f}"] for name, a, b in report.adapters]),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _corpus(corpus: Corpus) -> list[str]:
    header = ["search", "memory MB", "bytes a vector", "built in s", "effort", "recall@10",
              "recall@100", "ms", "cold ms"]  # fmt: skip
    rows = []
    for way in corpus.ways:
        for i, p in enumerate(way.points):
            first = i == 0
            over = "" if way.within_budget else " (over the budget)"
            cold = f"{way.cold_ms:.1f}" if first and way.cold_ms is not None else ""
            rows.append([
                way.name + over if first else "", f"{way.anonymous_mb:.1f}" if first else "",
                f"{way.bytes_a_vector:.1f}" if first else "",
                f"{way.build_seconds:.0f}" if first and way.build_seconds else "",
                "all" if p.effort is None else f"{p.effort:,}", f"{p.recall_10:.4f}",
                f"{p.recall_100:.4f}", f"{p.median_ms:.2f}", cold,
            ])  # fmt: skip
        if not way.points:
            rows.append([f"{way.name}: does not fit the budget", *[""] * 8])
    about = (
        f"{corpus.name}: {corpus.vectors:,} of {corpus.dim} values, {corpus.vectors_mb:,.0f} MB of "
        f"float32; {corpus.queries} real queries; budget {corpus.budget_mb:g} MB."
    )
    return [about, "", *table(header, rows)]


def plot(path: Path, report: TwoStageReport) -> None:
    """Draw recall by time, a panel a corpus, to an SVG, PNG or PDF file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0 * len(report.corpora), 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(report.corpora), squeeze=False)[0]
    for axes, corpus in zip(panels, report.corpora, strict=True):
        for way, colour in zip(corpus.ways, _COLOURS, strict=False):
            if way.points:
                label = f"{way.name}: {way.bytes_a_vector:,.0f} bytes a vector"
                times = [p.median_ms for p in way.points]
                axes.plot(times, [p.recall_10 for p in way.points], "o-", color=colour, label=label)
        axes.set_xscale("log")
        axes.set_xlabel("ms a query, one thread")
        axes.set_ylabel("recall@10")
        axes.set_title(f"{corpus.vectors:,} vectors, budget {corpus.budget_mb:g} MB", fontsize=10)
        axes.legend(frameon=False, fontsize=7)
    figure.savefig(path, dpi=110)
