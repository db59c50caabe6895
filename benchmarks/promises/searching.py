"""Promises about searching sparse vectors, held against reports of ``python -m benchmarks run``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from benchmarks.promises.target import Target, at_least, at_most
from benchmarks.recall import RecallReport
from benchmarks.vectors.records import EXACT, LEVELS, Measured, VectorReport
from benchmarks.vectors.tables import against_best_peer

__all__ = [
    "far_ahead",
    "fast",
    "fast_for_hundred",
    "is_exact",
    "keeps",
    "keeps_recall",
    "many_results",
    "static",
    "steady",
]

_OURS = "sparseret"
RECALL_SLACK = 0.01
"""By how much the recall on queries not seen before may fall short of what was asked for."""
_STATIC_PEERS = ("bm25s", "scipy")


class _Lead(NamedTuple):
    """How many times as fast as a peer we mean to be, for the top 10 of a kind of corpus."""

    corpus: str
    """How its name begins."""
    level: float
    peer: str
    peer_level: float
    times: float


_LEADS = (
    *(_Lead("splade-long", EXACT, peer, 0.9, 1.0) for peer in ("seismic", "sindi", "kannolo")),
    *(_Lead("splade-long", EXACT, peer, EXACT, 3.0) for peer in ("pisa", "bmp")),
    _Lead("splade-short", EXACT, "seismic", 0.9, 1.0),
    _Lead("splade-short", 0.95, "seismic", 0.95, 5.0),
    _Lead("splade-short", 0.99, "seismic", 0.99, 7.0),
    *(_Lead("splade-short", level, "sindi", level, 2.5) for level in (0.95, 0.99)),
    *(_Lead("msmarco-like", level, "seismic", level, 3.0) for level in (0.95, 0.99)),
    *(_Lead("msmarco-like", level, "sindi", level, 5.0) for level in (0.95, 0.99)),
    *(_Lead("msmarco-like", EXACT, peer, EXACT, 3.0) for peer in ("sindi", "scipy")),
    _Lead("msmarco-like", EXACT, "seismic", 0.99, 1 / 1.5),
)


def fast(report: VectorReport) -> Iterator[Target]:
    """At no recall is any peer faster."""
    for k in _ks(report):
        for level in (*LEVELS, EXACT):
            yield from _against_peer(report, k, level, 1.0)


def far_ahead(report: VectorReport) -> Iterator[Target]:
    """Of some peers we are several times as fast; each by its faster call, ours one by one.

    Engines that round what they are given never promise to be exact: at that level they stand with
    their setting of the highest recall.
    """
    if report.corpus.name.endswith("-static"):
        return
    measured = [m for m in report.measured if m.k == 10]
    for lead in _LEADS:
        if not report.corpus.name.startswith(lead.corpus):
            continue
        ours = [m for m in _own(report, 10) if lead.level in m.levels]
        theirs = [m for m in measured if m.engine == lead.peer]
        at = [m for m in theirs if lead.peer_level in m.levels]
        if lead.peer_level == EXACT and not at and theirs:
            at = [max(theirs, key=lambda m: (m.recall, -m.best_us))]
        for m, peer in zip(ours, at, strict=False):
            what = f"{report.corpus.name}: top 10, {_level(lead.level)}, over {lead.peer}'s "
            reached = _level(lead.peer_level)
            if lead.peer_level == EXACT and EXACT not in peer.levels:
                reached = f"best, recall {peer.recall:.3f}"
            yield at_least(what + reached, peer.best_us / m.mean_us, lead.times)


def fast_for_hundred(report: VectorReport) -> Iterator[Target]:
    """Approximate search for 100 results is three times as fast as the fastest peer."""
    for level in LEVELS:
        yield from _against_peer(report, 100, level, 3.0)


def static(report: VectorReport) -> Iterator[Target]:
    """Exact search with inference-free queries is five times as fast as bm25s and scipy."""
    if not report.corpus.name.endswith("-static"):
        return
    for k in _ks(report):
        exact = {m.engine: m for m in report.measured if m.k == k and EXACT in m.levels}
        for peer in _STATIC_PEERS:
            if _OURS in exact and peer in exact:
                times = exact[peer].best_us / exact[_OURS].mean_us
                yield at_least(f"{report.corpus.name}: top {k}, exact, over {peer}", times, 5.0)


def steady(report: VectorReport) -> Iterator[Target]:
    """The 99th percentile is at most four times the median."""
    for k in _ks(report):
        worst = max(_own(report, k), key=lambda m: m.p99_us / m.median_us, default=None)
        if worst is not None:
            what = f"{report.corpus.name}: top {k}, 99th percentile over median; {worst.setting}"
            yield at_most(what, worst.p99_us / worst.median_us, 4.0)


def many_results(report: VectorReport) -> Iterator[Target]:
    """A thousand results take at most three times as long as ten, at each recall."""
    for level in (*LEVELS, EXACT):
        ten, thousand = (
            next((m for m in _own(report, k) if level in m.levels), None) for k in (10, 1000)
        )
        if ten is not None and thousand is not None:
            what = f"{report.corpus.name}: {_level(level)}, top 1000 over top 10"
            yield at_most(what, thousand.mean_us / ten.mean_us, 3.0)


def keeps_recall(report: RecallReport) -> Iterator[Target]:
    """The recall asked for is kept on queries not seen before."""
    for kept in report.kept:
        what = f"{report.corpus}: top {report.k}, recall={kept.asked:g}, mean of the splits"
        yield keeps(what, kept.asked, kept.mean)


def is_exact(report: VectorReport) -> Iterator[Target]:
    """Exact search finds all there is to find."""
    for m in report.measured:
        if m.engine == _OURS and m.promised == EXACT:
            what = f"{report.corpus.name}: top {m.k}, recall of exact search"
            yield Target(what, "1", f"{m.recall:.4f}", m.recall == EXACT)


def keeps(what: str, asked: float, recall: float) -> Target:
    """Whether a recall is within RECALL_SLACK of what was asked for."""
    least = asked - RECALL_SLACK
    return Target(what, f"≥ {least:.3f}", f"{recall:.4f}", recall >= least)


def _against_peer(report: VectorReport, k: int, level: float, least: float) -> Iterator[Target]:
    compared = against_best_peer(report, k, level)
    if compared is not None:
        ours, peer = compared
        what = (
            f"{report.corpus.name}: top {k}, {_level(level)}, one query a call, over "
            f"{peer.engine}'s faster call"
        )
        yield at_least(what, peer.best_us / ours.mean_us, least)


def _ks(report: VectorReport) -> Iterable[int]:
    return dict.fromkeys(m.k for m in report.measured)


def _own(report: VectorReport, k: int) -> list[Measured]:
    return [m for m in report.measured if (m.engine, m.k) == (_OURS, k)]


def _level(level: float) -> str:
    return "exact" if level == EXACT else f"recall {level:g}"
