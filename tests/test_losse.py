"""Losse and its regression: cells, neighbours, and weights that equal those of the whole data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sparseret.kernels._native", reason="the native kernel is not built")

from scipy.sparse import csr_array

from sparseret import vectors
from sparseret.encoders.codecs import load_codec
from sparseret.encoders.losse import Losse
from sparseret.encoders.online_ridge import OnlineRidge
from sparseret.errors import ConfigurationError, VectorError
from sparseret.protocols import Codec


def normal(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def cells_by_definition(codec: Losse, vector: Any) -> Any:
    """Every node of every grid, by the formula of the module."""
    nodes = codec.bins + 1
    standard = (vector.astype(np.float64) - codec._mean) / codec._deviation
    heights = codec.bins / (1 + np.exp(-(standard @ codec._projection)))
    code = np.zeros((codec.groups, *[nodes] * codec.directions))
    for group, height in enumerate(heights.reshape(codec.groups, codec.directions)):
        for node in np.ndindex(*code.shape[1:]):
            code[(group, *node)] = np.prod(np.maximum(0, 1 - np.abs(height - node)))
    return code.reshape(-1)


@pytest.mark.parametrize("directions", [1, 2, 3])
@pytest.mark.parametrize("fitted", [False, True])
def test_cells_are_what_the_formula_says(directions: int, fitted: bool) -> None:
    dense = normal(1, 20, 7) * 3 + 1
    codec = Losse(7, groups=6, bins=4, directions=directions, seed=3)
    assert isinstance(codec, Codec)
    if fitted:
        codec.fit(dense)
    codes = vectors.check(codec.transform(dense), dim=6 * 5**directions, signed=False)
    for row in range(20):
        want = cells_by_definition(codec, dense[row])
        np.testing.assert_allclose(codes[[row]].toarray()[0], want, atol=1e-6)
    assert (np.diff(codes.indptr) == 6 * 2**directions).all()
    np.testing.assert_allclose(codes.sum(axis=1), 6, rtol=1e-6)


def test_near_vectors_share_cells() -> None:
    dense = normal(2, 200, 16)
    codec = Losse(16, groups=40).fit(dense)
    shared = []
    for step in (1e-6, 0.03, 0.3, 3.0):
        moved = dense + step * normal(3, 200, 16)
        both = codec.transform(dense) * codec.transform(moved)
        shared.append(both.nnz / (200 * 40 * 4))
        if step == 1e-6:  # the code is continuous
            assert np.abs(codec.transform(dense) - codec.transform(moved)).max() < 1e-4
    assert shared == sorted(shared, reverse=True)
    assert shared[0] > 0.99
    assert shared[1] > 0.85
    assert shared[3] < 0.35


def test_alone_or_in_a_batch() -> None:
    dense = normal(4, 3000, 9)
    codec = Losse(9).fit(dense)
    together = codec.transform(dense)
    for row in (0, 2999):
        alone = codec.transform(dense[row : row + 1])
        assert alone.data.tobytes() == together[[row]].data.tobytes()
        np.testing.assert_array_equal(alone.indices, together[[row]].indices)


def test_ends_of_the_grid_and_constant_features() -> None:
    codec = Losse(3, groups=5, bins=2)
    far = np.array([[1e30, 0, 0], [-1e30, 0, 0], [0, 0, 0]], np.float32)
    codes = vectors.check(codec.transform(far), signed=False)
    np.testing.assert_allclose(codes.sum(axis=1), 5)
    assert (np.diff(codes.indptr) == 5).all()  # at corners, and in the middle: one node each
    constant = np.full((10, 3), 0.1, np.float32)
    constant[:, 0] = np.arange(10)
    fitted = codec.fit(constant)
    assert np.isfinite(fitted.transform(constant).data).all()
    assert fitted._deviation[1:].tolist() == [1, 1]
    with pytest.raises(VectorError, match="at least one"):
        codec.fit(np.zeros((0, 3)))
    for wrong in (np.zeros((1, 2)), np.array([[0, np.nan, 0]])):
        with pytest.raises(VectorError):
            codec.transform(wrong)
        with pytest.raises(VectorError):
            codec.fit(wrong)


def test_save_and_load(tmp_path: Path) -> None:
    dense = normal(5, 50, 6)
    codec = Losse(6, groups=4, bins=3, seed=1)
    before = codec.space
    codec.fit(dense)
    assert codec.space != before
    codec.save(tmp_path)
    again = load_codec(tmp_path)
    assert again.space == codec.space
    assert again.description == codec.description
    assert (again.transform(dense) != codec.transform(dense)).nnz == 0
    for options in (
        {"n_features": 0}, {"groups": 0}, {"bins": 0}, {"directions": 0}, {"seed": -1},
        {"directions": 17}, {"bins": 2**20, "directions": 3}, {"groups": 2.0},
    ):  # fmt: skip
        with pytest.raises(ConfigurationError):
            Losse(**{"n_features": 4, **options})  # type: ignore[arg-type]


def batch_ridge(rows: Any, targets: Any, alpha: float) -> Any:
    dense = rows.toarray().astype(np.float64)
    return np.linalg.solve(dense.T @ dense + alpha * np.eye(dense.shape[1]), dense.T @ targets)


def test_a_stream_gives_the_weights_of_all_its_data() -> None:
    """In whatever order and parts; with columns that come up late, and some that never do."""
    dense = normal(6, 600, 5)
    dense[300:] += 4  # the stream moves on to where it has not been
    codec = Losse(5, groups=12, bins=6)
    rows = codec.transform(dense)
    targets = np.stack([np.sin(dense.sum(axis=1)), np.abs(dense[:, 0])], axis=1)
    want = batch_ridge(rows, targets, 0.1)
    orders = {"forward": np.arange(600), "backward": np.arange(600)[::-1]}
    orders["mixed"] = np.random.default_rng(0).permutation(600)
    for order in orders.values():
        for size in (1, 37, 600):
            ridge = OnlineRidge(codec.dim, 2, alpha=0.1)
            for first in range(0, 600, size):
                part = order[first : first + size]
                ridge.partial_fit(rows[part], targets[part])
            assert ridge.n_seen == 600
            np.testing.assert_allclose(ridge.coefficients(), want, atol=1e-7)
            np.testing.assert_allclose(ridge.predict(rows), rows @ want, atol=1e-5)
    never = np.setdiff1d(np.arange(codec.dim), rows.indices)
    assert len(never)
    assert not ridge.coefficients()[never].any()


def test_the_prediction_is_exact_after_each_row() -> None:
    """The model learns a function as it goes, and forgets nothing (the paper's setting)."""
    dense = np.sort(normal(7, 80, 1), axis=0)
    codec = Losse(1, groups=20, directions=1).fit(dense)
    rows, targets = codec.transform(dense), np.sin(3 * dense[:, 0]).astype(np.float64)
    ridge = OnlineRidge(codec.dim, alpha=1e-3)
    assert not ridge.predict(rows).any()
    for row in range(80):
        ridge.partial_fit(rows[[row]], targets[row : row + 1])
        so_far = rows[: row + 1]
        want = so_far @ batch_ridge(so_far, targets[: row + 1, None], 1e-3)
        np.testing.assert_allclose(ridge.predict(so_far), want, atol=1e-5)
    assert np.abs(ridge.predict(rows)[:, 0] - targets).max() < 0.1


@given(
    st.lists(st.dictionaries(st.integers(0, 9), st.floats(-4, 4, width=16), max_size=5), max_size=9)
)
@settings(max_examples=40)
def test_any_rows(given_rows: list[dict[int, float]]) -> None:
    dense = np.zeros((len(given_rows), 10), np.float32)
    for row, values in enumerate(given_rows):
        for column, value in values.items():
            dense[row, column] = value
    targets = np.arange(len(dense), dtype=float)[:, None]
    ridge = OnlineRidge(10, alpha=0.5).partial_fit(dense, targets)
    ridge.partial_fit(dense[:0], targets[:0])
    want = batch_ridge(csr_array(dense), targets, 0.5)
    np.testing.assert_allclose(ridge.coefficients(), want, atol=1e-8)


def test_bad_input_adds_nothing() -> None:
    ridge = OnlineRidge(4, 2)
    rows = np.eye(4, dtype=np.float32)
    ridge.partial_fit(rows, np.ones((4, 2)))
    before = ridge.coefficients()
    for wrong, targets in (
        (rows, np.ones((3, 2))), (rows, np.ones(4)), (rows, np.full((4, 2), np.nan)),
        (rows[:, :3], np.ones((4, 2))), (np.full((4, 4), np.inf), np.ones((4, 2))),
        (rows, np.full((4, 2), "a")),
    ):  # fmt: skip
        with pytest.raises(VectorError):
            ridge.partial_fit(wrong, targets)
    np.testing.assert_array_equal(ridge.coefficients(), before)
    assert ridge.n_seen == 4
    with pytest.raises(VectorError):
        ridge.predict(np.ones((1, 5)))
    for options in ({"alpha": 0}, {"alpha": float("nan")}, {"n_outputs": 0}, {"n_features": 0}):
        with pytest.raises(ConfigurationError):
            OnlineRidge(**{"n_features": 2, **options})  # type: ignore[arg-type]


def test_moments_in_parts_are_those_of_the_whole() -> None:
    x = np.random.default_rng(3).normal(5, [1, 0, 100, 1e-3], (500, 4)).astype(np.float32)
    whole = Losse(4, groups=6).fit(x)
    parts = Losse(4, groups=6)
    for begin in range(0, 500, 7):
        parts.partial_fit(x[begin : begin + 7])
    np.testing.assert_allclose(parts._mean, whole._mean, rtol=1e-12)
    np.testing.assert_allclose(parts._deviation, whole._deviation, rtol=1e-9)
    np.testing.assert_allclose(parts._mean, x.mean(axis=0, dtype=np.float64), rtol=1e-12)
    wide = x.astype(np.float64).std(axis=0)
    np.testing.assert_allclose(parts._deviation[[0, 2, 3]], wide[[0, 2, 3]], rtol=1e-9)
    before = parts.space
    bad = x[:9].copy()
    bad[8, 0] = np.nan
    with pytest.raises(VectorError, match="vector 8"):
        parts.partial_fit(bad)
    assert parts.space == before  # nothing of it was taken


def test_a_loaded_codec_learns_anew_only(tmp_path: Path) -> None:
    x = np.random.default_rng(4).standard_normal((50, 4)).astype(np.float32)
    Losse(4, groups=6).save(tmp_path / "raw")
    load_codec(tmp_path / "raw").partial_fit(x)  # it has seen nothing: nothing is lost
    Losse(4, groups=6).fit(x).save(tmp_path / "fitted")
    loaded = load_codec(tmp_path / "fitted")
    with pytest.raises(ConfigurationError, match=r"call fit\(X\)"):
        loaded.partial_fit(x)
    assert loaded.fit(2 * x).partial_fit(x).space != Losse(4, groups=6).fit(x).space
