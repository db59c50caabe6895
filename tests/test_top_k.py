"""The largest values of rows against their NumPy meaning, on every instruction set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparseret import kernels
from sparseret.errors import ConfigurationError, VectorError
from sparseret.kernels import _native, reference


@pytest.fixture(params=_native.instruction_sets())
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    _native.use_instruction_set(request.param)
    yield request.param
    _native.use_instruction_set(_native.instruction_sets()[-1])


def check(rows: NDArray[np.float32], k: int) -> None:
    found, wanted = kernels.top_k(rows, k), reference.top_k(rows, k)
    np.testing.assert_array_equal(found.columns, wanted.columns)
    np.testing.assert_array_equal(found.values, wanted.values)


def adversarial(kind: str, n: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    rows = rng.standard_normal((n, width)).astype(np.float32)
    if kind == "equal":
        rows[:] = 1.5
    elif kind == "few":
        rows = rng.integers(-2, 3, (n, width)).astype(np.float32)
    elif kind == "zeros":
        rows = np.where(rows > 0, np.float32(0), np.float32(-0.0))
    elif kind == "infinite":
        rows[rows > 1] = np.inf
        rows[rows < -1] = -np.inf
    elif kind == "denormal":
        rows *= np.float32(1e-42)
    elif kind == "ascending":
        rows.sort(axis=1)
    elif kind == "descending":
        rows = -np.sort(-rows, axis=1)
    elif kind == "one lane":
        rows = -np.abs(rows)
        rows[:, ::16] *= -1
    elif kind == "extreme":
        rows = np.clip(rows, -1, 1) * np.float32(3e38)
    return rows


KINDS = (
    "normal", "equal", "few", "zeros", "infinite", "denormal", "ascending", "descending",
    "one lane", "extreme",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [1, 2, 15, 16, 17, 31, 100, 1000, 5003])
def test_top_k_equals_reference(instruction_set: str, kind: str, width: int) -> None:
    rows = adversarial(kind, 3, width, np.random.default_rng(width))
    for k in sorted({1, min(2, width), width // 3 or 1, width}):
        check(rows, k)


@given(st.data())
def test_top_k_of_any_floats(data: st.DataObject) -> None:
    width = data.draw(st.integers(1, 80))
    values = st.floats(width=32, allow_nan=False) | st.sampled_from([0.0, -0.0, 1.0])
    row = data.draw(st.lists(values, min_size=width, max_size=width))
    check(np.array([row], np.float32), data.draw(st.integers(1, width)))


def test_top_k_of_wide_rows(instruction_set: str) -> None:
    rows = np.random.default_rng(0).standard_normal((4, 65536)).astype(np.float32)
    for k in (32, 256, 5000, 65536):
        check(rows, k)


def test_threads_give_the_same() -> None:
    rows = np.random.default_rng(0).integers(0, 9, (50, 300)).astype(np.float32)
    for made in (kernels.top_k, kernels.statistical_top_k):
        one, many = made(rows, 7, threads=1), made(rows, 7, threads=4)
        for first, second in zip(one, many, strict=True):
            np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("place", [0, 15, 16, 40, 98])
def test_not_a_number_is_refused(instruction_set: str, place: int) -> None:
    rows = np.ones((3, 99), np.float32)
    rows[1, place] = np.nan
    with pytest.raises(VectorError, match="row 1 holds"):
        kernels.top_k(rows, 5)
    with pytest.raises(VectorError, match="row 1 holds"):
        kernels.statistical_top_k(rows, 5)
    rows[1, place] = np.inf
    with pytest.raises(VectorError, match="row 1 holds"):
        kernels.statistical_top_k(rows, 5)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "infinite"])
@pytest.mark.parametrize("width", [2, 15, 16, 33, 1000])
def test_statistical_top_k_equals_reference(instruction_set: str, kind: str, width: int) -> None:
    rows = adversarial(kind, 4, width, np.random.default_rng(width))
    for k in sorted({1, width // 2, width - 1}):
        found, wanted = kernels.statistical_top_k(rows, k), reference.statistical_top_k(rows, k)
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one, other)


def test_statistical_top_k_is_about_k_of_normal_values() -> None:
    rows = np.random.default_rng(0).standard_normal((50, 20_000)).astype(np.float32)
    for k in (32, 256):
        counts = np.diff(kernels.statistical_top_k(rows, k).indptr)
        # A count has the variance of a Poisson variable, k, or less; of 50 the mean is k / 50.
        assert abs(counts.mean() - k) < 4 * np.sqrt(k / 50)


def test_bad_arguments() -> None:
    rows = np.ones((2, 5), np.float32)
    for k in (0, 6, -1, True):
        with pytest.raises(ConfigurationError, match="k must be from 1"):
            kernels.top_k(rows, k)
    for k in (0, 5):
        with pytest.raises(ConfigurationError, match="k must be from 1"):
            kernels.statistical_top_k(rows, k)
    for shape in ((5,), (2, 0), (1, 2, 3)):
        with pytest.raises(VectorError, match="expected"):
            kernels.top_k(np.ones(shape, np.float32), 1)
    assert kernels.top_k(rows[:0], 2).columns.shape == (0, 2)
