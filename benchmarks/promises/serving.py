"""Promises about the HTTP service, held against ``service``."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.promises.target import Target, at_most
from benchmarks.service import ServiceReport

__all__ = ["adds", "keeps"]


def adds(report: ServiceReport) -> Iterator[Target]:
    """Half a millisecond on top of a search in the same process."""
    for each in report.overheads:
        if not report.soaks:  # a soak is measured by itself
            what = f"{each.collection}: p50 added to a search"
            yield at_most(what, each.added_p50, 0.5, " ms")


def keeps(report: ServiceReport) -> Iterator[Target]:
    """Nothing that was acknowledged is lost, and nothing fails."""
    for soak in report.soaks:
        what = f"{soak.collection}, {soak.minutes:g} minutes"
        yield at_most(f"{what}: errors", soak.errors, 0, "")
        yield at_most(f"{what}: acknowledged documents lost", soak.lost, 0, "")
