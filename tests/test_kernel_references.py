"""Kernels that prepare impact-ordered segments, against their references."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparseret import kernels
from sparseret.kernels import ImpactBuilder, ImpactLists, reference

TINY = float(np.finfo(np.float32).smallest_subnormal)
HUGE = float(np.finfo(np.float32).max)
WEIGHTS = [1.0, 0.5, 1 / 3, 2.0, 1e-30, TINY, HUGE]


def built(
    column_max: NDArray[np.float32],
    row_ptr: NDArray[np.int64],
    ranks: NDArray[np.unsignedinteger],
    weights: NDArray[np.float32],
    bits: int,
    windows_at_once: int,
    threads: int = 1,
) -> ImpactLists:
    columns = np.arange(len(column_max), dtype=np.int32) * 7
    builder = ImpactBuilder(columns, column_max, bits)
    docs = [np.empty(0, np.uint16)]
    n, step = len(row_ptr) - 1, windows_at_once << bits
    for first in range(0, n, step):
        part = row_ptr[first : first + step + 1]
        inside = slice(part[0], part[-1])
        docs.append(builder.add(part - part[0], ranks[inside], weights[inside], threads))
    return builder.finish(np.concatenate(docs))


def assert_same(got: ImpactLists, want: ImpactLists) -> None:
    for name, a, b in zip(got._fields, got, want, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
        assert a.dtype == b.dtype, name


def assert_built_like_the_reference(
    row_ptr: NDArray[np.int64],
    ranks: NDArray[np.unsignedinteger],
    weights: NDArray[np.float32],
    n_columns: int,
    bits: int,
    slack: float = 1.0,
) -> ImpactLists:
    """``slack`` is how far the bounds of columns lie above their largest weights."""
    column_max = np.zeros(n_columns, np.float32)
    np.maximum.at(column_max, ranks, weights)
    with np.errstate(over="ignore"):
        column_max = np.minimum(column_max * np.float32(slack), np.float32(HUGE))
    columns = np.arange(n_columns, dtype=np.int32) * 7
    want = reference.impact_lists(columns, column_max, row_ptr, ranks, weights, bits)
    for at_once, threads in ((1, 1), (2, 3), (10_000, 2)):
        assert_same(built(column_max, row_ptr, ranks, weights, bits, at_once, threads), want)
    return want


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(
        st.dictionaries(st.integers(0, 9), st.sampled_from(WEIGHTS), max_size=8), max_size=150
    ),
    bits=st.integers(5, 16),
    slack=st.sampled_from([1.0, 1.5, 300.0]),
    wide=st.booleans(),
)
def test_lists_equal_the_reference(
    rows: list[dict[int, float]], bits: int, slack: float, wide: bool
) -> None:
    row_ptr = np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64)
    # Unique within a row, in no order.
    ranks = np.array([rank for row in rows for rank in row], np.uint32 if wide else np.uint16)
    weights = np.array([weight for row in rows for weight in row.values()], np.float32)
    assert_built_like_the_reference(row_ptr, ranks, weights, 10, bits, slack)


@pytest.mark.parametrize("size", [1, 7, 8, 9, 63, 64, 65, 255, 256, 257, 512, 1000])
@pytest.mark.parametrize("kind", ["equal", "spread", "two", "one heavy"])
def test_lists_of_every_length(size: int, kind: str) -> None:
    """On both sides of a block, of a level table, and of the switch between sorts."""
    rng = np.random.default_rng(size)
    weights = {
        "equal": np.full(size, 0.7),
        "spread": rng.random(size) + 1e-6,
        "two": rng.choice([0.1, 0.9], size),
        "one heavy": np.where(np.arange(size) == size // 2, 1e6, 1.0),
    }[kind].astype(np.float32)
    row_ptr = np.arange(size + 1, dtype=np.int64)
    lists = assert_built_like_the_reference(row_ptr, np.zeros(size, np.uint16), weights, 1, 10)
    docs = lists.words[-size:]
    assert sorted(docs) == list(range(size))
    # The promise: no weight exceeds code * column_max / 255.
    table = 8 if size >= reference.LONG_LIST else 0
    stored = lists.words[table:-size].view(np.uint8)
    codes = np.repeat(stored, reference.BLOCK)[:size].astype(np.float64)
    assert (weights[docs] <= codes * float(lists.column_max[0]) / 255 * (1 + 1e-12)).all()


def test_a_list_that_fills_the_largest_window() -> None:
    n = 2**16 + 5
    rng = np.random.default_rng(1)
    ranks = np.zeros(n, np.uint16)
    assert_built_like_the_reference(
        np.arange(n + 1), ranks, rng.random(n, np.float32) + np.float32(0.01), 1, 16
    )


def test_no_rows_and_empty_rows() -> None:
    nothing = (np.empty(0, np.uint16), np.empty(0, np.float32))
    for n_rows in (0, 1, 100):
        for n_columns in (0, 3):
            lists = assert_built_like_the_reference(
                np.zeros(n_rows + 1, np.int64), *nothing, n_columns, 5
            )
            assert len(lists.words) == len(lists.lists) == 0


def test_the_builder_refuses_what_the_bounds_do_not_cover() -> None:
    def add(ranks: list[int], weights: list[float], row_ptr: list[int] | None = None) -> None:
        builder = ImpactBuilder(np.arange(2, dtype=np.int32), np.array([1, np.inf], np.float32), 5)
        ptr = np.array([0, len(ranks)] if row_ptr is None else row_ptr, np.int64)
        builder.add(ptr, np.array(ranks, np.uint16), np.array(weights, np.float32))

    add([0, 1], [1.0, 2.0])
    for ranks, weights in (
        ([2], [0.5]), ([0], [1.5]), ([0], [0.0]), ([0], [-1.0]), ([0], [np.nan]), ([1], [np.inf]),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="out of range"):
            add(ranks, weights)
    with pytest.raises(ValueError, match="differ in length"):
        add([0], [1.0], [0, 0])
    builder = ImpactBuilder(np.zeros(1, np.int32), np.ones(1, np.float32), 5)
    row = (np.array([0, 1]), np.zeros(1, np.uint16), np.ones(1, np.float32))
    builder.add(*row)
    with pytest.raises(ValueError, match="window that was not full"):
        builder.add(*row)
    for bits in (4, 17):
        with pytest.raises(ValueError, match="window_bits"):
            ImpactBuilder(np.zeros(1, np.int32), np.ones(1, np.float32), bits)


def test_a_finished_builder_starts_anew() -> None:
    rng = np.random.default_rng(3)
    columns, bound = np.arange(4, dtype=np.int32), np.ones(4, np.float32)
    builder = ImpactBuilder(columns, bound, 5)
    for n in (40, 70):
        row_ptr = np.arange(n + 1, dtype=np.int64)
        ranks = rng.integers(0, 4, n).astype(np.uint16)
        weights = rng.random(n, np.float32) + np.float32(1e-3)
        weights = np.minimum(weights, np.float32(1))
        got = builder.finish(builder.add(row_ptr, ranks, weights))
        assert_same(got, reference.impact_lists(columns, bound, row_ptr, ranks, weights, 5))


@settings(max_examples=200, deadline=None)
@given(
    entries=st.lists(
        st.tuples(
            st.one_of(st.integers(0, 9), st.integers(0, 2**31 - 1)),
            st.sampled_from([*WEIGHTS, -1.0, -0.0, float("nan"), float("inf")]),
        ),
        max_size=40,
    )
)
def test_rank_columns_equals_reference(entries: list[tuple[int, float]]) -> None:
    columns = np.array([column for column, _ in entries], np.int32)
    values = np.array([value for _, value in entries], np.float32)
    got = kernels.rank_columns(columns, values)
    want = reference.rank_columns(columns, values)
    for name, a, b in zip(got._fields, got, want, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
        assert a.dtype == b.dtype, name


@pytest.mark.parametrize("n", [2**16 - 1, 2**16, 2**16 + 1])
@pytest.mark.parametrize("gap", [1, 30_000])
def test_ranks_widen_where_columns_are_many(n: int, gap: int) -> None:
    columns = np.random.default_rng(n).permutation(n).astype(np.int32) * np.int32(gap)
    values = np.ones(n, np.float32)
    got = kernels.rank_columns(columns, values)
    want = reference.rank_columns(columns, values)
    assert got.ranks.dtype == want.ranks.dtype == (np.uint16 if n <= 2**16 else np.uint32)
    np.testing.assert_array_equal(got.ranks, want.ranks)
    np.testing.assert_array_equal(got.columns, want.columns)


def test_rank_columns_refuses_what_has_no_rank() -> None:
    with pytest.raises(ValueError, match="negative"):
        kernels.rank_columns(np.array([-1], np.int32), np.ones(1, np.float32))
    with pytest.raises(ValueError, match="length"):
        kernels.rank_columns(np.zeros(2, np.int32), np.ones(1, np.float32))
