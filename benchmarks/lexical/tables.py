"""A search report as Markdown."""

from __future__ import annotations

from statistics import median

from benchmarks.environment import environment_lines
from benchmarks.lexical.records import SearchReport, Throughput
from benchmarks.markdown import table

__all__ = ["markdown"]

_OURS = "sparseret"
_PEER = "bm25s-numba"


def markdown(report: SearchReport) -> str:
    """The whole report, best read rendered."""
    lines = [*environment_lines(report.environment), "", "## Corpora", ""]
    lines += table(
        ["corpus", "documents", "terms", "stored values", "queries", "terms/query",
         "postings/query"],
        [
            [f.corpus, f"{f.documents:,}", f"{f.terms:,}", f"{f.nonzeros:,}", f"{f.queries:,}",
             f"{f.terms_per_query:.1f}", f"{f.postings_per_query:,.0f}"]
            for f in report.corpora
        ],
    )  # fmt: skip
    lines += ["", "## Agreement of the best scores on the same vectors", ""]
    lines += table(
        ["corpus", "engine", "against", "queries", "k", "largest relative difference"],
        [
            [a.corpus, a.engine, a.reference, str(a.queries), str(a.k),
             f"{a.largest_relative_difference:.1e}"]
            for a in report.agreement
        ],
    )  # fmt: skip
    for facts in report.corpora:
        lines += [
            "",
            f"## {facts.corpus}",
            "",
            "### Indexing",
            "",
            *_indexing(report, facts.corpus),
        ]
        lines += ["", "### Search, queries/s", "", *_throughput(report, facts.corpus)]
        lines += ["", "### One query a call, ms (median, 99th percentile)", ""]
        lines += _latency(report, facts.corpus)
    return "\n".join(lines) + "\n"


def _indexing(report: SearchReport, corpus: str) -> list[str]:
    rows = [
        [
            f"{built.engine} ({built.level})",
            f"{built.seconds:.2f}",
            ", ".join(f"{stage.name} {stage.seconds:.2f}" for stage in built.stages),
            f"{built.size.index / 1e6:.1f}",
            f"{built.size.documents / 1e6:.1f}" if built.size.documents else "-",
        ]
        for built in report.indexing
        if built.corpus == corpus
    ]
    return table(["engine (level)", "seconds", "stages", "index MB", "documents MB"], rows)


def _throughput(report: SearchReport, corpus: str) -> list[str]:
    """A row for each level, k and number of threads; engines side by side."""
    cells = [cell for cell in report.throughput if cell.corpus == corpus]
    engines = list(dict.fromkeys(cell.engine for cell in cells))
    rows = []
    for level, k, threads in dict.fromkeys((c.level, c.k, c.threads) for c in cells):
        here = {c.engine: c for c in cells if (c.level, c.k, c.threads) == (level, k, threads)}
        numbers = [f"{here[e].per_second:,.0f}" if e in here else "-" for e in engines]
        rows.append(
            [level, str(k), str(threads), *numbers, _ratio(here.get(_OURS), here.get(_PEER))]
        )
    return table(["level", "k", "threads", *engines, f"{_OURS} / {_PEER}"], rows)


def _ratio(ours: Throughput | None, peer: Throughput | None) -> str:
    """Median of the ratios of paired rounds: both sides of each met the same load."""
    if ours is None or peer is None:
        return "-"
    paired = zip(peer.rounds, ours.rounds, strict=True)
    return f"{median(theirs / own for theirs, own in paired):.2f}"


def _latency(report: SearchReport, corpus: str) -> list[str]:
    cells = [cell for cell in report.latency if cell.corpus == corpus]
    engines = list(dict.fromkeys(cell.engine for cell in cells))
    rows = []
    for level, k in dict.fromkeys((c.level, c.k) for c in cells):
        here = {c.engine: c for c in cells if (c.level, c.k) == (level, k)}
        rows.append(
            [level, str(k)]
            + [
                f"{here[e].median_ms:.2f}, {here[e].p99_ms:.2f}" if e in here else "-"
                for e in engines
            ]
        )
    return table(["level", "k", *engines], rows)
