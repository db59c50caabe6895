"""Promises about random projection, held against ``projection``."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.projection import OWN, ProjectionReport, times_own
from benchmarks.promises.target import Target, at_least

__all__ = ["faster"]

_TIMES = {"auto": 2.0}
_TIMES_OTHERWISE = 20.0


def faster(report: ProjectionReport) -> Iterator[Target]:
    """Twice as fast as scikit-learn at its automatic density, and 20 times at density 1/3."""
    for projection in report.projections:
        if projection.method != OWN:
            what = f"{report.corpus}: speed over {projection.method}, density {projection.density}"
            least = _TIMES.get(projection.density, _TIMES_OTHERWISE)
            yield at_least(what, times_own(report, projection), least)
