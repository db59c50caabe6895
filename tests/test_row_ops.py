"""Joining and pruning rows, against plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sparseret.kernels._native", reason="the native kernel is not built")

from sparseret.encoders.row_ops import (
    Pruning,
    empty_rows,
    join_rows,
    prune_rows,
    read_pruning,
    stack_rows,
    take_rows,
    with_values,
)
from sparseret.errors import ConfigurationError
from sparseret.kernels import Rows

Vector = dict[int, float]
VECTORS = st.lists(
    st.dictionaries(st.integers(0, 9), st.sampled_from([0.25, 0.5, 1.0, 1.5, 3.0]), max_size=8),
    max_size=6,
)


def rows_of(vectors: list[Vector]) -> Rows:
    ends = np.cumsum([0, *map(len, vectors)])
    pairs = [pair for vector in vectors for pair in sorted(vector.items())]
    return Rows(
        ends.astype(np.int64),
        np.array([column for column, _ in pairs], np.int32),
        np.array([value for _, value in pairs], np.float32),
    )


def vectors_of(rows: Rows) -> list[Vector]:
    made = []
    for begin, end in zip(rows.indptr[:-1], rows.indptr[1:], strict=True):
        columns = rows.columns[begin:end].tolist()
        assert columns == sorted(set(columns))
        made.append(dict(zip(columns, rows.values[begin:end].tolist(), strict=True)))
    assert rows.indptr.dtype == np.int64
    assert (rows.columns.dtype, rows.values.dtype) == (np.int32, np.float32)
    return made


def pruned(vector: Vector, pruning: Pruning) -> Vector:
    largest = max(vector.values(), default=0)
    left = {
        column: value
        for column, value in vector.items()
        if value >= pruning.threshold and value >= pruning.relative * largest
    }
    kept: Vector = {}
    for column, value in sorted(left.items(), key=lambda pair: (-pair[1], pair[0])):
        enough = sum(kept.values()) >= pruning.mass * sum(left.values())
        if (pruning.mass < 1 and enough) or len(kept) == pruning.top_k:
            break
        kept[column] = value
    return dict(sorted(kept.items()))


@given(
    VECTORS,
    st.sampled_from([0, 0.5, 2]),
    st.sampled_from([0, 0.1, 0.5, 1]),
    st.sampled_from([0.25, 0.5, 1]),
    st.sampled_from([None, 1, 2, 5]),
)
def test_pruning(
    vectors: list[Vector], threshold: float, relative: float, mass: float, top_k: int | None
) -> None:
    pruning = Pruning(threshold, relative, mass, top_k)
    made = vectors_of(prune_rows(rows_of(vectors), pruning))
    assert made == [pruned(vector, pruning) for vector in vectors]


@given(VECTORS, st.sampled_from(["max", "sum"]), st.randoms(use_true_random=False))
def test_joining(vectors: list[Vector], how: Any, random: Any) -> None:
    owners = [random.randrange(4) for _ in vectors]
    expected: list[Vector] = [{} for _ in range(5)]
    for vector, owner in zip(vectors, owners, strict=True):
        for column, value in vector.items():
            before = expected[owner].get(column, 0.0)
            expected[owner][column] = before + value if how == "sum" else max(before, value)
    made = join_rows(rows_of(vectors), np.array(owners, np.int64), 5, how)
    assert vectors_of(made) == [dict(sorted(vector.items())) for vector in expected]


@given(VECTORS, st.randoms(use_true_random=False))
def test_joining_where_each_has_one(vectors: list[Vector], random: Any) -> None:
    owners = random.sample(range(8), len(vectors))
    expected: list[Vector] = [{} for _ in range(8)]
    for vector, owner in zip(vectors, owners, strict=True):
        expected[owner] = dict(sorted(vector.items()))
    assert vectors_of(join_rows(rows_of(vectors), np.array(owners, np.int64), 8, "max")) == expected


@given(VECTORS)
def test_other_values(vectors: list[Vector]) -> None:
    rows = rows_of(vectors)
    made = vectors_of(with_values(rows, np.floor(rows.values)))
    wanted = [{c: float(int(v)) for c, v in sorted(vector.items())} for vector in vectors]
    assert made == [{c: v for c, v in vector.items() if v} for vector in wanted]


@given(VECTORS, VECTORS, st.randoms(use_true_random=False))
def test_stacking_and_taking(first: list[Vector], second: list[Vector], random: Any) -> None:
    vectors = [*first, *second]
    order = list(range(len(vectors)))
    random.shuffle(order)
    stacked = stack_rows([rows_of(first), rows_of(second)])
    made = vectors_of(take_rows(stacked, np.array(order, np.int64)))
    assert made == [dict(sorted(vectors[place].items())) for place in order]


def test_nothing() -> None:
    assert vectors_of(stack_rows([])) == []
    assert vectors_of(empty_rows(2)) == [{}, {}]


def test_settings_of_pruning() -> None:
    assert Pruning(top_k=3, threshold=1).options == {"top_k": 3, "threshold": 1.0}
    assert read_pruning({"mass": 0.5}, "pruning") == Pruning(mass=0.5)
    assert read_pruning(None, "pruning") == Pruning()
    wrong: list[Any] = [{"mass": 0}, {"mass": 1.5}, {"mass": "all"}, {"relative": -1}]
    wrong += [{"top_k": 0}, {"top_k": 2.5}, {"top_k": True}, {"threshold": float("nan")}, {"k": 3}]
    for given_ in wrong:
        with pytest.raises(ConfigurationError, match="pruning"):
            read_pruning(given_, "pruning")
