"""Which segments to merge: a pure function of their sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["FANOUT", "SegmentSize", "plan_full_merge", "plan_merge"]

FANOUT = 8
"""Segments of one size class are merged when this many are neighbours."""

_SMALLEST = 4096


class SegmentSize(NamedTuple):
    """Stored values of a segment, and how much of it is tombstones (0 to 1)."""

    nnz: int
    dead: float


def plan_merge(sizes: Sequence[SegmentSize], max_nnz: int) -> range | None:
    """The next run of neighbouring segments worth merging, or None.

    Size classes grow by a factor of FANOUT. A run qualifies when it holds FANOUT segments of one
    class, and besides them only smaller ones: the merged segment is of a higher class, so each
    value is rewritten O(log n) times over the life of an index. (In the smallest class segments
    of any size count as equal: rewriting so little costs less than keeping it apart.) Only
    neighbours are merged, so segments keep disjoint ranges of document numbers. A segment that is
    more than half tombstones is rewritten alone.
    """
    for i, size in enumerate(sizes):
        if size.dead > 0.5:
            return range(i, i + 1)
    classes = [int(math.log(max(size.nnz, _SMALLEST) / _SMALLEST, FANOUT)) for size in sizes]
    for level in sorted(set(classes)):
        for begin in range(len(sizes)):
            end = begin
            peers = total = 0
            while end < len(sizes) and classes[end] <= level:
                total += sizes[end].nnz
                if total > max_nnz:
                    break
                peers += classes[end] == level
                end += 1
            if peers >= FANOUT:
                return range(begin, end)
    return None


def plan_full_merge(sizes: Sequence[SegmentSize], max_nnz: int) -> list[range]:
    """Runs that leave as few segments as ``max_nnz`` allows, without any tombstone."""
    runs: list[range] = []
    begin = total = 0
    for i, size in enumerate(sizes):
        live = round(size.nnz * (1 - size.dead))
        if i > begin and total + live > max_nnz:
            runs.append(range(begin, i))
            begin, total = i, 0
        total += live
    if begin < len(sizes):
        runs.append(range(begin, len(sizes)))
    return [run for run in runs if len(run) > 1 or sizes[run[0]].dead > 0]
