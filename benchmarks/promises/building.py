"""Promises about building, held against reports of ``python -m benchmarks run``.

A peer is judged by the index that it needs for a recall of 95%: by all that were picked for that or
more, or by all that it built where none was.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.promises.target import Target, at_least, at_most
from benchmarks.vectors.records import Built, VectorReport

__all__ = ["faster_than_seismic", "faster_than_sindi", "smaller_than_seismic"]

_OURS = "sparseret"
_RECALL = 0.95
_REAL, _GENERATED = 0.6, 0.8
"""Share of Seismic's bytes that an index of real, and of generated, vectors may take."""


def faster_than_seismic(report: VectorReport) -> Iterator[Target]:
    """Building takes a fortieth of Seismic's processor time."""
    yield from _cpu(report, "seismic", 40.0)


def faster_than_sindi(report: VectorReport) -> Iterator[Target]:
    """Building takes no more processor time than SINDI's."""
    yield from _cpu(report, "sindi", 1.0)


def smaller_than_seismic(report: VectorReport) -> Iterator[Target]:
    """The index on disk is smaller than Seismic's."""
    ours, peers = _builds(report, _OURS), _builds(report, "seismic")
    if ours and peers:
        least = min(peers, key=lambda built: built.disk_bytes)
        most = _GENERATED if report.corpus.name.startswith("msmarco-like") else _REAL
        what = f"{report.corpus.name}: bytes on disk, over Seismic's ({least.build})"
        yield at_most(what, ours[0].disk_bytes / least.disk_bytes, most)


def _cpu(report: VectorReport, peer: str, least: float) -> Iterator[Target]:
    ours, peers = _builds(report, _OURS), _builds(report, peer)
    if ours and peers:
        fastest = min(peers, key=lambda built: built.cpu_seconds)
        what = f"{report.corpus.name}: processor time of building, {peer}'s ({fastest.build})"
        yield at_least(f"{what} over sparseret's", fastest.cpu_seconds / ours[0].cpu_seconds, least)


def _builds(report: VectorReport, engine: str) -> list[Built]:
    built = [b for b in report.built if b.engine == engine and not b.failed]
    good = {
        m.build
        for m in report.measured
        if m.engine == engine and any(level >= _RECALL for level in m.levels)
    }
    return [b for b in built if b.build in good] or built
