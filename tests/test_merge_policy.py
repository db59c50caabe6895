"""The merge policy as arithmetic: what it picks, what it costs, what it leaves."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseret.indexers.merge_policy import FANOUT, SegmentSize, plan_full_merge, plan_merge

UNLIMITED = 2**60

sizes = st.lists(
    st.builds(
        SegmentSize,
        nnz=st.one_of(st.integers(0, 100), st.integers(0, 2**20), st.sampled_from([4096, 32768])),
        dead=st.one_of(st.just(0.0), st.floats(0, 1)),
    ),
    max_size=40,
)
limits = st.one_of(st.integers(1, 2**21), st.just(UNLIMITED))


def alive(nnz: int, count: int = 1) -> list[SegmentSize]:
    return [SegmentSize(nnz, 0.0)] * count


def merged(sizes: list[SegmentSize], run: range) -> list[SegmentSize]:
    """The segments after a merge of ``run``; one that nothing is left of is no more."""
    live = sum(round(size.nnz * (1 - size.dead)) for size in sizes[run.start : run.stop])
    rest = all(size.dead == 1 for size in sizes[run.start : run.stop])
    return [*sizes[: run.start], *([] if rest else alive(live)), *sizes[run.stop :]]


# --- one merge ----------------------------------------------------------------------------------


@given(sizes, limits)
def test_a_planned_merge_is_legal_and_due(sizes: list[SegmentSize], max_nnz: int) -> None:
    run = plan_merge(sizes, max_nnz)
    if run is None:
        assert all(size.dead <= 0.5 for size in sizes)
        return
    assert run.step == 1
    assert 0 <= run.start < run.stop <= len(sizes)
    chosen = sizes[run.start : run.stop]
    if len(run) == 1:
        assert chosen[0].dead > 0.5
    else:
        assert len(run) >= FANOUT
        assert sum(size.nnz for size in chosen) <= max_nnz


@given(sizes, limits)
def test_merging_comes_to_an_end(sizes: list[SegmentSize], max_nnz: int) -> None:
    for _ in range(2 * len(sizes) + 1):
        run = plan_merge(sizes, max_nnz)
        if run is None:
            return
        sizes = merged(sizes, run)
    pytest.fail("still merging")


def test_few_segments_are_left_alone() -> None:
    assert plan_merge([], UNLIMITED) is None
    assert plan_merge(alive(10, FANOUT - 1), UNLIMITED) is None
    assert plan_merge(alive(10, FANOUT), UNLIMITED) == range(FANOUT)
    # Different classes: large ones do not count as neighbours of small ones.
    assert plan_merge([*alive(10, FANOUT - 1), *alive(10**6)], UNLIMITED) is None
    assert plan_merge([*alive(10**6), *alive(10, FANOUT)], UNLIMITED) == range(1, FANOUT + 1)
    # A small one among large ones does not keep them apart.
    mixed = [*alive(10**6, 4), *alive(10), *alive(10**6, 4)]
    assert plan_merge(mixed, UNLIMITED) == range(9)


@pytest.mark.parametrize("dead", [0.51, 0.9, 1.0])
def test_a_segment_that_is_mostly_tombstones_is_rewritten_alone(dead: float) -> None:
    segments = [*alive(10**6), SegmentSize(10**7, dead), *alive(10)]
    assert plan_merge(segments, 10**5) == range(1, 2)


def test_half_dead_segments_may_stay() -> None:
    assert plan_merge([SegmentSize(10**6, 0.5)], UNLIMITED) is None


@pytest.mark.parametrize("begin", [0, 3])
def test_a_run_that_is_too_large_is_merged_in_parts(begin: int) -> None:
    """Segments too large to be merged must not keep their neighbours from it."""
    large, small = 10**6, 3 * 10**5  # of one class
    limit = FANOUT * small + 10
    segments = [*alive(large, begin), *alive(small, FANOUT), *alive(large, 5)]
    run = plan_merge(segments, limit)
    assert run is not None
    assert run == range(begin, begin + FANOUT)
    assert plan_merge(alive(small, 3 * FANOUT), limit) == range(FANOUT)


# --- over a life --------------------------------------------------------------------------------


@pytest.mark.parametrize("nnz", [1, 50, 5000, 10**6])
def test_small_commits_cost_a_logarithmic_number_of_rewrites(nnz: int) -> None:
    segments: list[SegmentSize] = []
    written = 0
    commits = 2000
    most = 0
    for _ in range(commits):
        segments += alive(nnz)
        while (run := plan_merge(segments, UNLIMITED)) is not None:
            written += sum(size.nnz for size in segments[run.start : run.stop])
            segments = merged(segments, run)
        most = max(most, len(segments))
    assert sum(size.nnz for size in segments) == commits * nnz
    levels = math.ceil(math.log(commits * nnz / 4096, FANOUT)) if commits * nnz > 4096 else 1
    assert most <= (FANOUT - 1) * (levels + 1) + 1
    # Within the smallest class every merge may rewrite it all, but that is little.
    smallest = FANOUT * 4096 / (FANOUT - 1)
    assert written <= commits * (nnz * levels + smallest)


def test_deleting_costs_no_more_than_was_written() -> None:
    """Every value is dropped by a rewrite that drops at least as many as it keeps."""
    nnz, live = 10**6, 1.0
    rewritten = 0.0
    segment = SegmentSize(nnz, 0.0)
    for step in range(1, 100):
        live = 1 - step / 100
        segment = SegmentSize(segment.nnz, 1 - live * nnz / segment.nnz)
        if plan_merge([segment], UNLIMITED) is not None:
            rewritten += live * nnz
            segment = SegmentSize(round(live * nnz), 0.0)
    assert rewritten <= nnz


# --- full merges --------------------------------------------------------------------------------


@given(sizes, limits)
def test_a_full_merge_leaves_nothing_to_merge(sizes: list[SegmentSize], max_nnz: int) -> None:
    runs = plan_full_merge(sizes, max_nnz)
    assert all(run.step == 1 and run.start < run.stop <= len(sizes) for run in runs)
    assert all(one.stop <= other.start for one, other in pairwise(runs))
    covered = {place for run in runs for place in run}
    assert all(place in covered or size.dead == 0 for place, size in enumerate(sizes))
    after = sizes
    for run in reversed(runs):
        live = [round(s.nnz * (1 - s.dead)) for s in sizes[run.start : run.stop]]
        assert len(run) == 1 or sum(live) <= max_nnz
        after = merged(after, run)
    assert all(size.dead == 0 for size in after)
    assert plan_merge(after, max_nnz) is None
    # No two neighbours that remain would fit into one; empty ones may come from rewrites.
    assert all(a.nnz + b.nnz > max_nnz or 0 in (a.nnz, b.nnz) for a, b in pairwise(after))
    assert plan_full_merge(after, max_nnz) == [] or 0 in [size.nnz for size in after]


def test_a_full_merge_of_a_clean_segment_is_nothing() -> None:
    assert plan_full_merge([], 100) == []
    assert plan_full_merge(alive(50), 100) == []
    assert plan_full_merge(alive(500, 3), 100) == []
    assert plan_full_merge([SegmentSize(50, 0.01)], 100) == [range(1)]
    assert plan_full_merge(alive(40, 5), 100) == [range(2), range(2, 4)]
