"""The border check of sparse vectors: what comes through is canonical, what does not says why."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sparseret import vectors
from sparseret.errors import VectorError
from sparseret.kernels import reference

ARRAYS: dict[str, Callable[[Any], Any]] = {
    "csr": sp.csr_array,
    "csc": sp.csc_array,
    "coo": sp.coo_array,
    "bsr": sp.bsr_array,
    "dia": sp.dia_array,
    "dok": sp.dok_array,
    "lil": sp.lil_array,
}
MATRICES: dict[str, Callable[[Any], Any]] = {
    "csr": sp.csr_matrix,
    "csc": sp.csc_matrix,
    "coo": sp.coo_matrix,
}
EVERY: list[Any] = [pytest.param(make, id=f"{name}_array") for name, make in ARRAYS.items()]
EVERY += [pytest.param(make, id=f"{name}_matrix") for name, make in MATRICES.items()]
EVERY.append(pytest.param(np.array, id="dense"))

DENSE = np.array([[0, 2, 0, -1], [0, 0, 0, 0], [5, 0, 0.5, 0]])


def assert_canonical(checked: sp.csr_array, *, signed: bool = True) -> None:
    assert type(checked) is sp.csr_array
    dtypes = checked.indptr.dtype, checked.indices.dtype, checked.data.dtype
    assert dtypes == (np.int64, np.int32, np.float32)
    assert len(checked.indptr) == checked.shape[0] + 1
    assert reference.is_canonical(
        checked.indptr, checked.indices, checked.data, checked.shape[1], signed=signed
    )


def arrays_of(matrix: Any) -> list[Any]:
    if isinstance(matrix, np.ndarray):
        return [matrix.copy()]
    names = ("indptr", "indices", "row", "col", "offsets", "rows", "data")
    found = [copy.deepcopy(getattr(matrix, name)) for name in names if hasattr(matrix, name)]
    return [
        *found,
        matrix.shape,
        matrix.dtype,
        dict(matrix.items()) if hasattr(matrix, "items") else 0,
    ]


def unchanged(before: list[Any], after: list[Any]) -> bool:
    pairs = zip(before, after, strict=True)
    return all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f") if isinstance(a, np.ndarray) else a == b
        for a, b in pairs
    )


def raw_csr(
    indptr: Any = (0, 2, 3),
    indices: Any = (0, 1, 2),
    data: Any = (1.0, 2.0, 3.0),
    *,
    shape: tuple[int, int] = (2, 3),
    kind: Any = sp.csr_array,
    types: tuple[Any, Any, Any] = (np.int32, np.int32, np.float64),
) -> Any:
    """Arrays set behind scipy's back, which checks only what its constructors are given."""
    matrix = kind(shape)
    for name, array, dtype in zip(
        ("indptr", "indices", "data"), (indptr, indices, data), types, strict=True
    ):
        setattr(matrix, name, np.array(array, dtype))
    return matrix


# --- what is accepted ---------------------------------------------------------------------------


@pytest.mark.parametrize("make", EVERY)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int8, np.longdouble])
def test_every_format_and_number_type(make: Callable[[Any], Any], dtype: Any) -> None:
    dense = DENSE.astype(dtype)
    matrix = make(dense)
    before = arrays_of(matrix)
    checked = vectors.check(matrix, dim=4)
    assert_canonical(checked)
    np.testing.assert_array_equal(checked.toarray(), dense.astype(np.float32))
    assert unchanged(before, arrays_of(matrix))


@pytest.mark.parametrize("make", EVERY)
def test_booleans_are_zeros_and_ones(make: Callable[[Any], Any]) -> None:
    checked = vectors.check(make(DENSE != 0), signed=False)
    assert_canonical(checked, signed=False)
    np.testing.assert_array_equal(checked.toarray(), DENSE != 0)


def test_half_precision_and_nested_lists() -> None:
    for source in (DENSE.astype(np.float16), DENSE.tolist()):
        checked = vectors.check(source)
        assert_canonical(checked)
        np.testing.assert_array_equal(checked.toarray(), DENSE)


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (5, 0), (5, 4)])
@pytest.mark.parametrize("make", [sp.csr_array, sp.csc_array, sp.coo_array, np.zeros])
def test_nothing_is_a_legal_matrix(make: Callable[[Any], Any], shape: tuple[int, int]) -> None:
    checked = vectors.check(make(shape), dim=shape[1])
    assert_canonical(checked)
    assert checked.shape == shape
    assert checked.nnz == 0


def test_canonical_input_is_not_copied() -> None:
    checked = vectors.check(DENSE)
    assert vectors.check(checked, dim=4) is checked
    float64 = raw_csr([0, 1, 1], [2], [1.0], types=(np.int64, np.int32, np.float64))
    assert np.shares_memory(vectors.check(float64).indices, float64.indices)


def test_rows_are_sorted_and_zeros_dropped_in_a_copy() -> None:
    for types in ((np.int32, np.int32, np.float64), (np.int64, np.int32, np.float32)):
        matrix = raw_csr([0, 3, 5], [2, 0, 1, 1, 0], [1, 2, 0.0, -0.0, 4], types=types)
        before = arrays_of(matrix)
        checked = vectors.check(matrix)
        assert_canonical(checked)
        np.testing.assert_array_equal(checked.toarray(), [[2, 0, 1], [4, 0, 0]])
        assert checked.nnz == 3
        assert unchanged(before, arrays_of(matrix))


def test_what_is_too_small_for_float32_is_zero() -> None:
    checked = vectors.check(np.array([[1e-300, 1e-45, 2e-46, -1e-60, 1.0]]))
    assert_canonical(checked)
    assert checked.indices.tolist() == [1, 4]
    assert checked.data[0] == np.finfo(np.float32).smallest_subnormal


def test_values_past_the_end_of_indptr_are_ignored() -> None:
    matrix = raw_csr([0, 1, 2], [0, 2, 99], [1, 2, np.nan])
    np.testing.assert_array_equal(vectors.check(matrix).toarray(), [[1, 0, 0], [0, 0, 2]])


def test_the_widest_matrix() -> None:
    matrix = sp.coo_array(([1.0], ([0], [2**31 - 1])), shape=(1, 2**31))
    checked = vectors.check(matrix)
    assert_canonical(checked)
    assert checked.indices.tolist() == [2**31 - 1]


def test_strided_and_read_only_arrays() -> None:
    matrix = raw_csr(types=(np.int64, np.int32, np.float32))
    matrix.data = np.arange(1, 7, dtype=np.float32)[::2]
    for array in (matrix.indptr, matrix.indices, matrix.data):
        array.flags.writeable = False
    np.testing.assert_array_equal(vectors.check(matrix).toarray(), [[1, 3, 0], [0, 0, 5]])


# --- what is refused ----------------------------------------------------------------------------


def refused(matrix: Any, pattern: str, **options: Any) -> None:
    with pytest.raises(VectorError, match=pattern):
        vectors.check(matrix, **options)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3.5e38, -1e300])
@pytest.mark.parametrize("make", EVERY)
def test_values_that_are_not_finite_as_float32(make: Callable[[Any], Any], bad: float) -> None:
    dense = DENSE.copy()
    dense[2, 1] = bad
    refused(make(dense), r"row 2, column 1: value .* not finite")


@pytest.mark.parametrize("make", EVERY)
def test_negative_values_where_unsigned(make: Callable[[Any], Any]) -> None:
    refused(make(DENSE), r"row 0, column 3: value -1\.0 is negative", signed=False)
    assert_canonical(vectors.check(make(np.abs(DENSE)), signed=False), signed=False)


@pytest.mark.parametrize("make", EVERY)
def test_wrong_dimension(make: Callable[[Any], Any]) -> None:
    for dim in (3, 5, 0):
        refused(make(DENSE), rf"4 columns where {dim}", dim=dim)


def test_too_many_columns() -> None:
    for matrix in (
        sp.csr_array((1, 2**31 + 1)),
        sp.coo_array((1, 2**40)),
        vectors.from_arrays(
            np.array([0, 1]), np.zeros(1, np.int32), np.ones(1, np.float32), 2**31 + 1
        ),
    ):
        refused(matrix, "above the largest")


def test_duplicates_are_refused_and_never_added_up() -> None:
    rows, columns = np.array([0, 1, 1]), np.array([0, 2, 2])
    coo = sp.coo_array((np.ones(3), (rows, columns)), shape=(2, 3))
    for kind in (sp.coo_array, sp.coo_matrix):
        refused(kind(coo), "row 1: column 2 occurs more than once")
    for types in ((np.int32, np.int32, np.float64), (np.int64, np.int32, np.float32)):
        refused(raw_csr([0, 0, 3], [2, 0, 2], [1, 1, 1], types=types), "row 1: column 2 occurs")
    csc = raw_csr([0, 2, 2, 2], [1, 1], [1, 1], kind=sp.csc_array)
    refused(csc, "row 1: column 0 occurs")
    bsr = sp.bsr_array((np.ones((2, 1, 1)), np.zeros(2, int), np.array([0, 2, 2])), shape=(2, 2))
    refused(bsr, "row 0: column 0 occurs")
    # A duplicate that is an explicit zero is a duplicate none the less.
    refused(raw_csr([0, 0, 2], [2, 2], [1, 0]), "row 1: column 2 occurs")


@pytest.mark.parametrize(
    "other",
    [
        np.ones(3),
        np.ones((2, 2, 2)),
        np.float32(1),
        sp.csr_array(np.ones(3)),
        sp.coo_array(np.ones((2, 2, 2))),
        np.ones((2, 2), complex),
        sp.csr_array(np.ones((2, 2), complex)),
        np.ones((2, 2), object),
        np.array([["1", "2"]]),
        np.zeros((2, 2), "datetime64[s]"),
        [[1.0], [1.0, 2.0]],
        "text",
        None,
        {0: 1.0},
    ],
    ids=lambda other: type(other).__name__,
)
def test_what_is_no_matrix_of_real_numbers(other: object) -> None:
    refused(other, r"expected real|expected sparse")


WRONG_STRUCTURE = [
    ({"indptr": [0, 2, 9]}, "promises 9"),
    ({"indptr": [0, 2]}, "3 offsets"),
    ({"indptr": [0, 1, 2, 3]}, "3 offsets"),
    ({"indptr": []}, "3 offsets"),
    ({"indptr": [1, 2, 3]}, "3 offsets"),
    ({"indptr": [0, 3, 2]}, "3 offsets"),
    ({"indptr": [0, -1, 3]}, "3 offsets"),
    ({"indices": [0, 1, 3]}, r"0\.\.2"),
    ({"indices": [0, -1, 2]}, r"0\.\.2"),
    ({"indices": [0, 1]}, "promises 3"),
    ({"data": [1.0]}, "promises 3"),
    ({"data": [[1.0], [2.0], [3.0]]}, "one-dimensional"),
    ({"indices": [[0, 1, 2]]}, "one-dimensional"),
]


@pytest.mark.parametrize(("arrays", "pattern"), WRONG_STRUCTURE)
@pytest.mark.parametrize(
    "types",
    [(np.int32, np.int32, np.float64), (np.int64, np.int32, np.float32)],
    ids=["converted", "fast"],
)
@pytest.mark.parametrize("kind", [sp.csr_array, sp.csc_array])
def test_index_arrays_that_make_no_matrix(
    kind: Any, types: tuple[Any, Any, Any], arrays: dict[str, Any], pattern: str
) -> None:
    shape = (2, 3) if kind is sp.csr_array else (3, 2)
    assert vectors.check(raw_csr(shape=shape, kind=kind, types=types)).nnz == 3
    refused(raw_csr(**arrays, shape=shape, kind=kind, types=types), pattern)


def test_index_arrays_of_other_types() -> None:
    refused(raw_csr([0, 2, 1], types=(np.uint64, np.int32, np.float64)), "3 offsets")
    refused(raw_csr(types=(np.float64, np.int32, np.float64)), "not integers")
    refused(raw_csr(types=(np.int32, np.float64, np.float64)), "not integers")


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("place", [-1, 3, 10**9])
def test_coordinates_outside_the_shape(axis: int, place: int) -> None:
    matrix = sp.coo_array(np.eye(3))
    matrix.coords[axis][0] = place
    refused(matrix, "within the shape")


# --- in general ---------------------------------------------------------------------------------

SMALL = st.sampled_from([0.0, -0.0, 1.0, -2.5, 1e-50, 3e38, 0.1])


@st.composite
def any_csr(draw: st.DrawFn) -> Any:
    """CSR arrays with unsorted rows and explicit zeros, of mixed dtypes."""
    dim = draw(st.integers(1, 6))
    rows = draw(st.lists(st.lists(st.integers(0, dim - 1), unique=True, max_size=dim), max_size=5))
    indptr = np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(int)
    count = int(indptr[-1])
    return raw_csr(
        indptr,
        [column for row in rows for column in row],
        draw(st.lists(SMALL, min_size=count, max_size=count)),
        shape=(len(rows), dim),
        types=(
            draw(st.sampled_from([np.int32, np.int64])),
            draw(st.sampled_from([np.int32, np.int64])),
            draw(st.sampled_from([np.float32, np.float64])),
        ),
    )


@given(any_csr())
def test_checked_rows_are_canonical_and_equal_to_the_input(matrix: Any) -> None:
    before = arrays_of(matrix)
    checked = vectors.check(matrix)
    assert_canonical(checked)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(checked.toarray(), matrix.toarray().astype(np.float32))
    assert unchanged(before, arrays_of(matrix))
    assert vectors.check(checked) is checked


@given(
    hnp.arrays(
        st.sampled_from([np.float64, np.float32, np.float16, np.int16, np.bool_]),
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=5),
    ),
    st.sampled_from([make.values[0] for make in EVERY]),
    st.booleans(),
)
def test_any_dense_matrix_in_any_format(dense: Any, make: Any, signed: bool) -> None:
    if dense.dtype == np.float16 or 0 in dense.shape:
        make = np.array  # scipy has none of these in every format
    matrix = make(dense)
    before = arrays_of(matrix)
    with np.errstate(over="ignore"):
        expected = dense.astype(np.float32)
    legal = bool(np.isfinite(expected).all()) and (signed or not (expected < 0).any())
    try:
        checked = vectors.check(matrix, signed=signed)
    except VectorError:
        assert not legal
    else:
        assert legal
        assert_canonical(checked, signed=signed)
        np.testing.assert_array_equal(checked.toarray(), expected)
    assert unchanged(before, arrays_of(matrix))
