"""Merging segments gives what building the live rows anew would give, array by array."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparseret import vectors
from sparseret.indexers.segment import SegmentData, build_segment, merge_segments

BITS = 4


def flat(data: SegmentData) -> dict[str, np.ndarray]:
    arrays = {**data._asdict(), **data.postings._asdict()}
    del arrays["postings"]
    return arrays


def assert_equal(got: SegmentData, want: SegmentData) -> None:
    for name, array in flat(want).items():
        np.testing.assert_array_equal(flat(got)[name], array, err_msg=name)
        assert flat(got)[name].dtype == array.dtype, name


def parts_and_whole(
    matrix: np.ndarray, splits: list[int], live: np.ndarray, *, weighted: bool
) -> tuple[list[tuple[SegmentData, np.ndarray | None]], SegmentData]:
    numbers = np.arange(len(matrix), dtype=np.int64) * 3 + 5
    parts = []
    for rows in np.split(np.arange(len(matrix)), splits):
        data = build_segment(
            numbers[rows], vectors.check(matrix[rows]), weighted=weighted, window_bits=BITS
        )
        parts.append((data, None if live[rows].all() else live[rows]))
    whole = build_segment(
        numbers[live], vectors.check(matrix[live]), weighted=weighted, window_bits=BITS
    )
    return parts, whole


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 60),
    n_parts=st.integers(1, 4),
    dead=st.sampled_from([0.0, 0.2, 1.0]),
    weighted=st.booleans(),
    distinct=st.sampled_from([1, 3, 1000]),
)
def test_merge_equals_build(
    seed: int, n: int, n_parts: int, dead: float, weighted: bool, distinct: int
) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.integers(1, distinct + 1, size=(n, 12)) * (rng.random((n, 12)) < 0.3)
    splits = sorted(rng.integers(0, n + 1, size=n_parts - 1).tolist())
    parts, whole = parts_and_whole(
        matrix.astype(np.float32), splits, rng.random(n) >= dead, weighted=weighted
    )
    assert_equal(merge_segments(parts, weighted=weighted, window_bits=BITS), whole)


@pytest.mark.parametrize("sizes", [(40_000, 40_000), (70_000, 100), (100, 70_000), (0, 70_000)])
def test_codes_that_do_not_fit_together_become_plain(sizes: tuple[int, int]) -> None:
    """Either part may have more distinct values than 16 bits, or only both together."""
    values = np.random.default_rng(0).permutation(np.arange(1, sum(sizes) + 1))
    matrix = np.zeros((-(-sizes[0] // 100) + -(-sizes[1] // 100), 100), dtype=np.float32)
    matrix.reshape(-1)[: sum(sizes)] = values
    live = np.ones(len(matrix), dtype=bool)
    parts, whole = parts_and_whole(matrix, [-(-sizes[0] // 100)], live, weighted=False)
    merged = merge_segments(parts, weighted=False, window_bits=BITS)
    assert not merged.coded
    assert_equal(merged, whole)


def test_plain_values_become_codes_when_few_are_left() -> None:
    matrix = np.arange(1, 70_001, dtype=np.float32).reshape(700, 100)
    live = np.zeros(700, dtype=bool)
    live[:5] = True
    parts, whole = parts_and_whole(matrix, [], live, weighted=False)
    assert not parts[0][0].coded
    merged = merge_segments(parts, weighted=False, window_bits=BITS)
    assert merged.coded
    assert_equal(merged, whole)
