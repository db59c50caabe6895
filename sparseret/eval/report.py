"""Tables of an evaluation, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sparseret.eval.evaluate import Report
from sparseret.eval.significance import Comparison
from sparseret.eval.tune_fusion import TunedFusion
from sparseret.protocols import Mode

if TYPE_CHECKING:
    from rich.box import Box
    from rich.console import Console

__all__ = ["print_comparison", "print_report", "print_tuned_fusion"]


def print_report(report: Report, console: Console) -> None:
    """Print the measures, then what the retriever costs, then what is unusual."""
    from rich.markup import escape
    from rich.table import Table

    where = f"[bold]{escape(report.dataset)}[/bold] ({escape(report.split)})"
    console.print(f"{where}: {escape(report.retriever)}", highlight=False, soft_wrap=True)
    table = Table("measure", box=_box())
    table.add_column("value", justify="right")
    for name, value in report.scores.mean.items():
        table.add_row(name, f"{value:.4f}")
    console.print(table)
    for line in _facts(report):
        console.print(escape(line), highlight=False, soft_wrap=True)


def print_comparison(
    comparisons: Sequence[Comparison], ours: str, baseline: str, console: Console
) -> None:
    """Print what tests say of the differences between two runs, a line for each measure."""
    from rich.markup import escape
    from rich.table import Table

    console.print(
        f"[bold]{escape(ours)}[/bold] against [bold]{escape(baseline)}[/bold]",
        highlight=False,
        soft_wrap=True,
    )
    table = Table(box=_box())
    table.add_column("measure", no_wrap=True)
    for name in ("this", "baseline", "difference", "95% interval", "p (t)", "p (rand.)"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("won/tied/lost", justify="right", no_wrap=True)
    for row in comparisons:
        low, high = row.interval
        table.add_row(
            row.measure,
            f"{row.mean:.4f}",
            f"{row.baseline_mean:.4f}",
            f"{row.difference:+.4f}",
            f"{low:+.4f} .. {high:+.4f}",
            _p(row.p_t_test),
            _p(row.p_randomisation),
            f"{row.won}/{row.tied}/{row.lost}",
        )
    console.print(table)
    console.print(
        "p: two-sided, paired t-test and paired randomisation test over queries; "
        "not corrected for the number of measures.",
        highlight=False,
        soft_wrap=True,
    )


def print_tuned_fusion(tuned: TunedFusion, where: str, console: Console) -> None:
    """Print what was chosen, what it is worth, and what it is better than.

    Args:
        tuned: the choice.
        where: which queries, in words.
        console: to print on.
    """
    from rich.markup import escape
    from rich.table import Table

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    n_queries = len(tuned.scores.per_query)
    say(f"[bold]{escape(where)}[/bold]: {escape(', '.join(tuned.legs))}")
    say(f"chosen: [bold]{escape(tuned.fusion.description)}[/bold]")
    folds = len(tuned.folds)
    say(
        f"{escape(tuned.measure)}: {tuned.scores.mean[tuned.measure]:.4f} on queries it was not "
        f"chosen by ({folds} folds of {n_queries:,} queries); {tuned.in_sample:.4f} on those it was"
    )
    table = Table(box=_box())
    table.add_column("tuned against", no_wrap=True)
    for name in ("value", "difference", "95% interval", "p (rand.)", "won/tied/lost"):
        table.add_column(name, justify="right", no_wrap=True)
    for baseline in (*tuned.alone, *tuned.untuned):
        test = baseline.comparison
        low, high = test.interval
        name = f"{baseline.name} (best leg)" if baseline is tuned.best_leg else baseline.name
        table.add_row(
            escape(name),
            f"{test.baseline_mean:.4f}",
            f"{test.difference:+.4f}",
            f"{low:+.4f} .. {high:+.4f}",
            _p(test.p_randomisation),
            f"{test.won}/{test.tied}/{test.lost}",
        )
    console.print(table)
    say(
        "p: two-sided, paired randomisation test over queries; not corrected for the number of "
        "comparisons."
    )
    for i, fold in enumerate(tuned.folds, start=1):
        say(
            f"fold {i}: {fold.mean:.4f}, and {fold.chosen_at:.4f} on the others, by "
            f"{escape(fold.fusion.description)}"
        )


def _facts(report: Report) -> list[str]:
    facts = []
    cost = report.performance
    if cost is not None and report.mode is not None:
        latency = cost.latency
        facts.append(f"search: {_search(report.mode, report.recall)}")
        if latency.mode != report.mode:
            facts.append(f"search for the latency: {_search(latency.mode, report.recall)}")
        facts += [
            f"latency: median {latency.median:.2f} ms, p90 {latency.p90:.2f} ms, "
            f"p99 {latency.p99:.2f} ms (one thread, top {latency.k}, {latency.n_queries} queries)",
            f"throughput: {cost.queries_per_second:,.0f} queries/s (one batch, top {report.depth})",
            f"index: {cost.n_documents:,} documents, {_size(cost.n_bytes)}",
        ]
        if cost.peak_memory_bytes is not None:
            facts.append(f"peak memory of this process: {_size(cost.peak_memory_bytes)}")
    facts.append(f"judged queries: {len(report.scores.per_query):,}")
    empty = sum(not report.run.get(query) for query in report.scores.per_query)
    if empty:
        facts.append(f"queries without any result: {empty:,} (each counts as 0)")
    if report.unknown_queries:
        facts.append(
            f"left out: {report.unknown_queries:,} queries that have judgements but no text"
        )
    if report.drop_self:
        facts.append("self-matches dropped: hits whose id is that of the query do not count")
    return facts


def _search(mode: Mode, asked: float | None) -> str:
    if asked is None:
        return mode.description
    if mode.exact:
        return f"exact, as nothing cheaper is calibrated to recall {asked:g}"
    return f"{mode.description} (asked for {asked:g})"


def _box() -> Box:
    from rich import box

    # Plain characters and no lines at the sides, so that the table is the same in a pipe.
    return box.SIMPLE_HEAD


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def _size(n_bytes: int) -> str:
    size, unit = float(n_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
