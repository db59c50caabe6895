"""Promises about building, held against reports of ``python -m benchmarks run``.

A peer is judged by the index that it needs for a recall of 95%: by all that were picked for that or
more, or by all that it built where none was.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.promises.target import Target, at_least, at_most
from benchmarks.vectors.records import EXACT, Built, VectorReport

__all__ = [
    "faster_than_seismic",
    "faster_than_sindi",
    "smaller_than_seismic",
    "smallest_at_equal_recall",
]

_OURS = "sparseret"
_DEFAULT, _HALF = "-", "precision=float16"
"""Our builds: values as they are given, and rounded to half floats."""
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
    """The index on disk is smaller than Seismic's, which holds half floats."""
    peers = _builds(report, "seismic")
    if peers:
        least = min(peers, key=lambda built: built.disk_bytes)
        most = _GENERATED if report.corpus.name.startswith("msmarco-like") else _REAL
        for built in _built(report, _OURS):
            if built.build in (_DEFAULT, _HALF):
                kept = "float32" if built.build == _DEFAULT else "float16"
                what = f"{report.corpus.name}: bytes on disk, {kept}, over Seismic's"
                yield at_most(f"{what} ({least.build})", built.disk_bytes / least.disk_bytes, most)


def smallest_at_equal_recall(report: VectorReport) -> Iterator[Target]:
    """No peer's index that reaches a recall is smaller than ours that does."""
    for level in (_RECALL, 0.99, 0.995, EXACT):
        reached = {
            (s.engine, s.build)
            for s in report.swept
            if (s.exact if level == EXACT else s.recall >= level)
        }
        fit = [b for b in report.built if not b.failed and (b.engine, b.build) in reached]
        ours = [b for b in fit if b.engine == _OURS]
        peers = [b for b in fit if b.engine != _OURS]
        if ours and peers:
            small = min(ours, key=lambda built: built.disk_bytes)
            least = min(peers, key=lambda built: built.disk_bytes)
            said = "exact" if level == EXACT else f"recall {level:g}"
            what = f"{report.corpus.name}: bytes on disk at {said} ({small.build}), over"
            yield at_most(
                f"{what} {least.engine}'s ({least.build})", small.disk_bytes / least.disk_bytes, 1.0
            )


def _cpu(report: VectorReport, peer: str, least: float) -> Iterator[Target]:
    ours = [b for b in _built(report, _OURS) if b.build == _DEFAULT]
    peers = _builds(report, peer)
    if ours and peers:
        fastest = min(peers, key=lambda built: built.cpu_seconds)
        what = f"{report.corpus.name}: processor time of building, {peer}'s ({fastest.build})"
        yield at_least(f"{what} over sparseret's", fastest.cpu_seconds / ours[0].cpu_seconds, least)


def _builds(report: VectorReport, engine: str) -> list[Built]:
    built = _built(report, engine)
    good = {
        m.build
        for m in report.measured
        if m.engine == engine and any(level >= _RECALL for level in m.levels)
    }
    return [b for b in built if b.build in good] or built


def _built(report: VectorReport, engine: str) -> list[Built]:
    return [b for b in report.built if b.engine == engine and not b.failed]
