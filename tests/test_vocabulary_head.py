"""The vocabulary head against its reference: equal to the last bit, and attacked at its bounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparseret.errors import ConfigurationError, VectorError
from sparseret.kernels import PooledRows, VocabularyHead, _native, reference

Floats = NDArray[np.float32]


@pytest.fixture(params=_native.instruction_sets())
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    _native.use_instruction_set(request.param)
    yield request.param
    _native.use_instruction_set(_native.instruction_sets()[-1])


def assert_same(got: PooledRows, want: PooledRows, ulp: int = 0) -> None:
    for name, a, b in zip(got._fields, got, want, strict=True):
        assert a.dtype == b.dtype, name
        if name == "values" and ulp and len(a) == len(b):
            np.testing.assert_array_max_ulp(a, b, ulp)
        else:
            np.testing.assert_array_equal(a, b, err_msg=name)


def assert_like_the_reference(
    hidden: Floats, weight: Floats, bias: Floats, offsets: Any, threshold: float = 0.0
) -> tuple[PooledRows, PooledRows]:
    """Maxima and sums, in both precisions; returns those in float32."""
    ends = np.asarray(offsets, np.int64)
    found = []
    for precision, logits in (("int8", reference.rounded_logits), ("float32", reference.logits)):
        head = VocabularyHead(weight, bias, precision)  # type: ignore[arg-type]
        known = logits(hidden, weight, bias)
        maxima = head.maxima(hidden, ends, threshold=threshold)
        assert_same(maxima, reference.vocabulary_maxima(known, ends, threshold))
        # Logarithms differ between libraries in the last bit of double precision.
        sums = head.sums(hidden, ends, threshold=threshold)
        assert_same(sums, reference.vocabulary_sums(known, ends, threshold), ulp=1)
        found = [maxima, sums]
    return found[0], found[1]


def normal(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("width", [1, 3, 16, 31, 64, 130])
@pytest.mark.parametrize("n_columns", [1, 31, 33, 100])
def test_equals_the_reference(instruction_set: str, width: int, n_columns: int) -> None:
    """Sizes on both sides of a group of places, a lane of sums, a tile; blocks of every size."""
    lengths = [0, 1, 2, 5, 11, 12, 13, 23, 25, 0, 36, 40, 0]
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    hidden = normal(width, int(offsets[-1]), width)
    weight, bias = normal(n_columns, n_columns, width), normal(7, n_columns)
    for shift in (0.0, 3.0 * width**0.5):  # dense, sparse
        moved = bias - np.float32(shift)
        maxima, _ = assert_like_the_reference(hidden, weight, moved, offsets)
        assert (np.diff(maxima.indptr)[[0, 9, 12]] == 0).all()
    assert_like_the_reference(hidden, weight, bias, offsets, threshold=1.25)


def test_a_vocabulary_of_many_chunks(instruction_set: str) -> None:
    hidden, weight = normal(1, 30, 20), normal(2, 9000, 20)
    bias = normal(3, 9000) - np.float32(12)
    maxima, _ = assert_like_the_reference(hidden, weight, bias, [0, 9, 9, 30])
    assert 0 < len(maxima.values) < 9000


SCALES = [0.0, 1e-45, 1e-30, 1e-19, 1e-3, 1.0, 1e15]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("other", SCALES)
def test_scales(instruction_set: str, scale: float, other: float) -> None:
    """Zeros and denormal numbers to the largest that are allowed; biases near the products."""
    hidden = np.clip(normal(1, 14, 9), -1, 1) * np.float32(scale)
    weight = np.clip(normal(2, 40, 9), -1, 1) * np.float32(other)
    for size in (0.0, 1e-45, 1e-30, scale * other, 1.0):
        bias = (normal(3, 40) * np.float32(min(size, 1e14))).astype(np.float32)
        assert_like_the_reference(hidden, weight, bias, [0, 5, 14])


def test_rows_of_very_different_sizes(instruction_set: str) -> None:
    hidden = normal(1, 60, 24) * (10.0 ** np.random.default_rng(2).integers(-9, 9, (60, 1)))
    weight = normal(3, 70, 24) * (10.0 ** np.random.default_rng(4).integers(-9, 9, (70, 1)))
    bias = normal(5, 70) * 10.0 ** np.random.default_rng(6).integers(-9, 9, 70)
    arrays = (hidden, weight, bias)
    hidden, weight, bias = (array.astype(np.float32) for array in arrays)
    assert_like_the_reference(hidden, weight, bias, [0, 1, 30, 60])


@pytest.mark.parametrize("kind", ["equal rows", "constant", "zero", "one place", "negative"])
def test_degenerate_states(instruction_set: str, kind: str) -> None:
    hidden, weight, bias = normal(1, 27, 17), normal(2, 50, 17), normal(3, 50)
    if kind == "equal rows":
        hidden[:] = hidden[0]
    elif kind == "constant":
        hidden[:] = 0.7
    elif kind == "zero":
        hidden[:] = 0
        bias[::2] = 0
    elif kind == "one place":
        hidden[:, 1:] = 0
    else:
        bias -= 1000
    maxima, sums = assert_like_the_reference(hidden, weight, bias, [0, 26, 27])
    assert (len(maxima.values) == 0) == (kind == "negative")
    assert (len(sums.values) == 0) == (kind == "negative")


def test_nothing_in_nothing_out(instruction_set: str) -> None:
    weight, bias = normal(1, 5, 3), np.ones(5, np.float32)
    for offsets in ([0], [0, 0], [0, 0, 0]):
        maxima, sums = assert_like_the_reference(
            np.empty((0, 3), np.float32), weight, bias, offsets
        )
        assert len(maxima.indptr) == len(offsets)
        assert maxima.indptr[-1] == sums.indptr[-1] == 0


def steps(values: Floats, n: int) -> Floats:
    """The float32 numbers n steps above."""
    toward = np.float32(np.inf if n > 0 else -np.inf)
    for _ in range(abs(n)):
        values = np.nextafter(values, toward)
    return values


@pytest.mark.parametrize("n_steps", [-1, 0, 1, 2])
def test_maxima_next_to_the_threshold(instruction_set: str, n_steps: int) -> None:
    """Every column's largest product is the negated bias, or a few float32 steps beside it."""
    hidden, weight = normal(1, 90, 40), normal(2, 300, 40)
    offsets = [0, 90]
    products = reference.logits(hidden, weight, np.zeros(300, np.float32)).max(axis=0)
    bias = steps(-products, n_steps)
    maxima, sums = assert_like_the_reference(hidden, weight, bias, offsets)
    assert len(maxima.values) == len(sums.values) == (300 if n_steps > 0 else 0)
    # The same at another threshold.
    bias = np.float32(2.5) - products
    assert_like_the_reference(hidden, weight, bias, offsets, threshold=2.5)


@pytest.mark.parametrize("width", [2, 50, 257, 1000])
@pytest.mark.parametrize("of", ["states", "columns", "both"])
def test_rounding_that_errs_as_much_as_it_can(instruction_set: str, width: int, of: str) -> None:
    """Residuals parallel to the other vector: the bound of Cauchy and Schwarz is reached."""
    rng = np.random.default_rng(width)
    signs = rng.choice([-1.0, 1.0], (64, width))

    def vectors(residual: float) -> NDArray[np.float64]:
        """Integers up to 127, so that the scale is 1, and a residual in every other place."""
        integers = 100 * signs if of == "both" else rng.integers(-40, 40, (64, width)).astype(float)
        integers[:, 0] = 127 * signs[:, 0]
        residuals = residual * signs
        residuals[:, 0] = 0
        return integers + residuals

    states = vectors(0.499 if of != "columns" else 0.0)
    columns = 127.0 * signs if of == "states" else vectors(0.499)
    if of == "columns":
        states = 127.0 * signs
    hidden, weight = states.astype(np.float32), columns.astype(np.float32)
    # Text t is row t alone, and column t the one it errs most with.
    products = reference.logits(hidden, weight, np.zeros(64, np.float32))
    rounded = reference.rounded_logits(hidden, weight, np.zeros(64, np.float32))
    lost = np.diag(products) - np.diag(rounded)
    assert (lost > 0).all()
    for n_steps in (0, 1):
        bias = steps(-np.diag(products), n_steps)
        maxima, _ = assert_like_the_reference(hidden, weight, bias, np.arange(65))
        got = {
            int(text) for text in range(64)
            if text in maxima.columns[maxima.indptr[text] : maxima.indptr[text + 1]]
        }  # fmt: skip
        assert got == (set(range(64)) if n_steps else set())
    # Beside a row that is short and exact the same holds.
    short = np.zeros_like(hidden)
    short[:, 0] = -weight[:, 0]
    for pair in ([hidden, short], [short, hidden]):
        rows = np.stack(pair, axis=1).reshape(128, width)
        two, _ = assert_like_the_reference(rows, weight, bias, np.arange(0, 129, 2))
        assert len(two.values) >= 64
    # The screen prefers the other row of a text by as much as it can be wrong.
    decoys = np.rint(hidden) + np.where(signs > 0, -0.499, 0.499)
    decoys[:, 0] = hidden[:, 0]
    rows = np.stack([decoys, hidden], axis=1).reshape(128, width).astype(np.float32)
    assert_like_the_reference(rows, weight, bias, np.arange(0, 129, 2))


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    lengths=st.lists(st.integers(0, 30), max_size=6),
    width=st.integers(1, 40),
    n_columns=st.integers(1, 80),
    values=st.sampled_from(["normal", "small integers", "mixed", "extreme"]),
    threshold=st.sampled_from([0.0, 0.5, 3.0]),
    shift=st.sampled_from([0.0, 1.0, 10.0]),
)
def test_any_input(
    seed: int, lengths: list[int], width: int, n_columns: int, values: str, threshold: float,
    shift: float,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)

    def some(*shape: int) -> Floats:
        made = rng.normal(size=shape)
        if values == "small integers":  # ties
            made = np.rint(made)
        elif values == "mixed":
            made = made * 10.0 ** rng.integers(-6, 6, shape)
        elif values == "extreme":
            made = rng.choice([0.0, 1e-45, -1e-38, 1e-20, 1.0, -1.0, 1e10, -1e15, 1e15], shape)
        return made.astype(np.float32)

    offsets = np.cumsum([0, *lengths])
    hidden, weight = some(int(offsets[-1]), width), some(n_columns, width)
    bias = some(n_columns) - np.float32(shift)
    assert_like_the_reference(hidden, weight, bias, offsets, threshold)


def test_nothing_depends_on_threads_or_processor() -> None:
    hidden, weight = normal(1, 200, 48), normal(2, 5000, 48)
    bias, offsets = normal(3, 5000) - np.float32(10), np.array([0, 3, 120, 120, 200])
    for precision in ("float32", "int8"):
        head = VocabularyHead(weight, bias, precision)  # type: ignore[arg-type]
        for pool in (head.maxima, head.sums):
            found = []
            for name in _native.instruction_sets():
                _native.use_instruction_set(name)
                found += [pool(hidden, offsets, threads=threads) for threads in (1, 2, 7)]
            for other in found[1:]:
                assert_same(other, found[0])
            assert 0 < len(found[0].values) < 15_000


def test_other_dtypes_and_orders_are_converted() -> None:
    hidden, weight, bias = normal(1, 12, 6), normal(2, 40, 6), normal(3, 40)
    want = VocabularyHead(weight, bias).maxima(hidden, np.array([0, 12]))
    head = VocabularyHead(np.asfortranarray(weight), bias.astype(np.float64))  # type: ignore[arg-type]
    wide = np.repeat(hidden.astype(np.float64), 2, axis=1)[:, ::2]
    assert_same(head.maxima(wide, [0, 12], threads=0), want)  # type: ignore[arg-type]


def test_what_is_refused() -> None:
    weight, bias = normal(1, 40, 6), normal(2, 40)
    head = VocabularyHead(weight, bias)
    with pytest.raises(ConfigurationError, match='choose "float32" or "int8"'):
        VocabularyHead(weight, bias, "float16")  # type: ignore[arg-type]
    with pytest.raises(VectorError, match=r"bias: shape \(39,\), the decoder has 40 columns"):
        VocabularyHead(weight, bias[1:])
    for bad in (weight[:0], weight[:, :0], np.zeros((1, 16385), np.float32)):
        with pytest.raises(VectorError, match="width may be 1 to 16384"):
            VocabularyHead(bad, bias[: len(bad)])
    with pytest.raises(VectorError, match=r"weight: .* expected 2 dimensions"):
        VocabularyHead(weight[0], bias)
    for value in (np.nan, np.inf, -np.inf, 2e15, -2e15):
        spoilt = weight.copy()
        spoilt[3, 2] = value
        with pytest.raises(VectorError, match="weight: values must be finite"):
            VocabularyHead(spoilt, bias)
        with pytest.raises(VectorError, match="hidden: values must be finite"):
            head.maxima(spoilt, np.array([0, 40]))
        with pytest.raises(VectorError, match="bias: values must be finite"):
            VocabularyHead(weight, spoilt[:, 2])
    with pytest.raises(VectorError, match=r"shape \(40, 5\), the decoder's width is 6"):
        head.sums(weight[:, 1:], np.array([0, 40]))
    for offsets in ([], [0], [1, 40], [0, 39], [0, 41], [[0, 40]]):
        with pytest.raises(VectorError, match="must go from 0 to the 40 rows"):
            head.maxima(weight, np.array(offsets, np.int64))
    with pytest.raises(VectorError, match="must ascend"):
        head.maxima(weight, np.array([0, 30, 20, 40]))
    for threshold in (-0.1, np.nan, np.inf, 1e39):
        with pytest.raises(ConfigurationError, match="threshold"):
            head.sums(weight, np.array([0, 40]), threshold=threshold)
