"""Promises about BM25 and about starting, held against ``lexical`` and ``startup``."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from benchmarks.lexical.records import SearchReport
from benchmarks.promises.target import Target, at_least
from benchmarks.startup import StartupReport

__all__ = ["fast", "indexes_fast", "starts_fast"]

_OURS, _PEER = "sparseret", "bm25s-numba"
_LARGE = 1_000_000


def fast(report: SearchReport) -> Iterator[Target]:
    """Batches are three times as fast as bm25s's on a large corpus, and nowhere slower."""
    for facts in report.corpora:
        cells = [cell for cell in report.throughput if cell.corpus == facts.corpus]
        for level, k, threads in dict.fromkeys((c.level, c.k, c.threads) for c in cells):
            here = {
                c.engine: c.rounds
                for c in cells
                if (c.level, c.k, c.threads) == (level, k, threads)
            }
            if _OURS not in here or _PEER not in here:
                continue
            ratio = median(peer / own for peer, own in zip(here[_PEER], here[_OURS], strict=True))
            # Three times is promised at k = 10; nowhere may search be slower.
            least = 3.0 if k == 10 and facts.documents >= _LARGE else 1.0
            what = f"{facts.corpus}: queries/s, {level}, k={k}, {threads} thread(s), over {_PEER}"
            yield at_least(what, ratio, least)


def indexes_fast(report: SearchReport) -> Iterator[Target]:
    """From texts; bm25s's second save, of the documents, is left out: less work than ours."""
    for facts in report.corpora:
        seconds = {
            built.engine: median(
                sum(stage.seconds for stage in stages if stage.name != "save documents")
                for stages in built.rounds
            )
            for built in report.indexing
            if (built.corpus, built.level) == (facts.corpus, "text")
        }
        if _OURS in seconds and _PEER in seconds:
            ours, peer = seconds[_OURS], seconds[_PEER]
            what = (
                f"{facts.corpus}: indexing from texts, durable, documents stored; {_PEER} without "
                "documents"
            )
            yield Target(what, f"≤ {peer:.2f} s", f"{ours:.2f} s", ours <= peer)


def starts_fast(report: StartupReport) -> Iterator[Target]:
    """Opening takes less than 0.3 s, and a fresh process answers within a second."""
    for life in report.lives:
        where = f"{report.corpus}, {life.files} files"
        if life.what == f"Python, {_OURS}":
            opened = median(
                stage.seconds for stages in life.stages for stage in stages if stage.name == "open"
            )
            yield Target(f"{where}: open", "< 0.3 s", f"{opened:.3f} s", opened < 0.3)
        if life.what in (f"Python, {_OURS}", f"`{_OURS} search`"):
            wall = median(life.wall)
            what = f"{where}: first query of a fresh process, imports included ({life.what})"
            yield Target(what, "< 1 s", f"{wall:.2f} s", wall < 1)
