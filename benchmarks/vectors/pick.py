"""Picking, for each level of recall, an engine's fastest setting that reaches it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.vectors.measure import time_rounds
from benchmarks.vectors.opening import Way, opened
from benchmarks.vectors.records import EXACT, LEVELS
from benchmarks.vectors.truth import Truth

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Candidate", "pick"]

_SHORTLIST = 3
_ROUNDS = 3


class Candidate(NamedTuple):
    """A setting and what the sweep found of it on the tuning queries."""

    way: Way
    recall: float
    best_us: float


def pick(
    candidates: Sequence[Candidate], queries: csr_array, k: int, truth: Truth
) -> list[tuple[Way, tuple[float, ...]]]:
    """One engine's settings to be measured, each with the levels that it was picked for.

    The three fastest for each level are timed again side by side, for the sweep is short and its
    settings are not timed at the same moment. Settings of which the engine promises a recall are
    kept in any case.

    Args:
        candidates: of one engine and one k.
        queries: the tuning queries.
        k: answers a query.
        truth: of the tuning queries.
    """
    shortlists = {
        level: sorted(
            (c for c in candidates if _reaches(c, level)), key=lambda candidate: candidate.best_us
        )[:_SHORTLIST]
        for level in (*LEVELS, EXACT)
    }
    # Ways are told apart by identity, not by content.
    ways = list(dict.fromkeys(c.way for shortlist in shortlists.values() for c in shortlist))
    with opened(ways, queries) as pairs:
        timed = time_rounds(pairs, queries, k, truth, _ROUNDS)
    best_us = {way: t.best_us for way, t in zip(ways, timed, strict=True)}
    levels: dict[Way, tuple[float, ...]] = {}
    for level, shortlist in shortlists.items():
        if shortlist:
            way = min((c.way for c in shortlist), key=lambda way: best_us[way])
            levels[way] = (*levels.get(way, ()), level)
    return [
        (c.way, levels.get(c.way, ()))
        for c in candidates
        if c.way in levels or c.way.setting.promised is not None
    ]


def _reaches(candidate: Candidate, level: float) -> bool:
    if level == EXACT:
        return candidate.way.setting.exact
    return candidate.recall >= level
