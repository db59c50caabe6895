"""Random projection: equal to its reference to the last bit, and distances kept on real vectors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("sparseret.kernels._native", reason="the native kernel is not built")

from scipy.sparse import coo_array, csc_array, csr_array, random_array

from sparseret import kernels, vectors
from sparseret.encoders.bm25 import BM25Encoder
from sparseret.encoders.codecs import load_codec
from sparseret.encoders.random_projection import SparseRandomProjection
from sparseret.encoders.signed_projection import SignedProjection
from sparseret.errors import ConfigurationError, VectorError
from sparseret.kernels import RandomMatrix, _native, reference_projection
from sparseret.protocols import Codec
from sparseret.readers import read_documents

Floats = NDArray[np.float32]


@pytest.fixture(params=_native.instruction_sets())
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    _native.use_instruction_set(request.param)
    yield request.param
    _native.use_instruction_set(_native.instruction_sets()[-1])


@pytest.fixture(scope="module")
def texts(cranfield: Path) -> Any:
    """BM25 vectors of the bundled corpus."""
    documents = [record.document for record in read_documents(cranfield)]
    return vectors.check(BM25Encoder().fit(documents).encode_documents(documents))


def rows_of(seed: int, n: int, dim: int, density: float) -> Any:
    generator = np.random.default_rng(seed)
    return vectors.check(
        csr_array(random_array((n, dim), density=density, rng=generator, dtype=np.float32))
    )


def assert_like_the_reference(rows: Any, matrix: RandomMatrix, scale: float = 1.0) -> Floats:
    arrays = (rows.indptr, rows.indices, rows.data)
    want = reference_projection.random_projection(*arrays, matrix, scale=scale)
    for threads in (1, 2, 7):
        got = kernels.random_projection(*arrays, matrix, scale=scale, threads=threads)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, want)
        # -0.0 is no sum, and equals 0.0 above
        np.testing.assert_array_equal(np.signbit(got), np.signbit(want))
    return want


@pytest.mark.parametrize("n_components", [1, 63, 64, 65, 128, 129, 256, 257, 700])
@pytest.mark.parametrize("density", [1.0, 1 / 3, 0.01, 1 / 128, 0.001, 1e-12])
def test_equals_the_reference(instruction_set: str, n_components: int, density: float) -> None:
    rows = rows_of(n_components, 6, 40, 0.3)
    for signed in (True, False):
        assert_like_the_reference(rows, RandomMatrix(n_components, density, 5, signed), 0.7)


def test_rows_with_few_entries_and_with_more_than_a_list_holds(instruction_set: str) -> None:
    """At two entries a row: rows of each number of entries, to those that are made anew."""
    matrix = RandomMatrix(256, 1 / 128, 11)
    n = 60_000
    features = np.arange(n, dtype=np.int32)
    rows = kernels.random_projection(np.arange(n + 1), features, np.ones(n, np.float32), matrix)
    counts = np.count_nonzero(rows, axis=1)
    assert counts.max() >= 9
    chosen = np.concatenate([np.flatnonzero(counts == c)[:5] for c in range(counts.max() + 1)])
    want = reference_projection.entries(chosen.astype(np.int32), matrix)
    np.testing.assert_array_equal(rows[chosen], want)
    one = vectors.from_arrays(
        np.array([0, len(chosen)]), np.sort(chosen).astype(np.int32),
        np.arange(1, len(chosen) + 1, dtype=np.float32), n,
    )  # fmt: skip
    assert_like_the_reference(one, matrix)


@given(
    st.integers(1, 300),
    st.floats(2**-33, 1.0, exclude_min=True),
    st.integers(0, 2**64 - 1),
    st.booleans(),
    st.lists(
        st.dictionaries(
            st.integers(0, 2**31 - 1), st.floats(-(2.0**66), 2.0**66, width=32), max_size=6
        ),
        max_size=4,
    ),
)
@settings(max_examples=60)
def test_equals_the_reference_on_whatever(
    n_components: int, density: float, seed: int, signed: bool, given_rows: list[dict[int, float]]
) -> None:
    """Features to the largest there can be, values of all sizes, denormal ones and zeros too."""
    rows = csr_array((len(given_rows), 2**31), dtype=np.float32)
    rows.indptr = np.cumsum([0, *map(len, given_rows)], dtype=np.int64)
    rows.indices = np.array([c for row in given_rows for c in sorted(row)], np.int32)
    rows.data = np.array([row[c] for row in given_rows for c in sorted(row)], np.float32)
    matrix = RandomMatrix(n_components, density, seed, signed)
    arrays = (rows.indptr, rows.indices, rows.data)
    want = reference_projection.random_projection(*arrays, matrix)
    for name in _native.instruction_sets():
        _native.use_instruction_set(name)
        np.testing.assert_array_equal(kernels.random_projection(*arrays, matrix, threads=2), want)


def test_rows_without_values_and_no_rows(instruction_set: str) -> None:
    matrix = RandomMatrix(100, 0.5)
    assert not assert_like_the_reference(rows_of(1, 3, 5, 0.0), matrix).any()
    empty = np.empty(0, np.float32)
    got = kernels.random_projection(np.zeros(1, np.int64), empty.astype(np.int32), empty, matrix)
    assert got.shape == (0, 100)


def test_features_that_share_a_place_in_the_cache(instruction_set: str) -> None:
    """Equal modulo every power of two up to 2^18: each takes the other's place."""
    columns = np.array([3, 3 + 2**18, 3 + 2**19, 3 + 2**30] * 5, np.int32)
    rows = csr_array((5, 2**31), dtype=np.float32)
    rows.indptr = np.arange(6, dtype=np.int64) * 4
    rows.indices, rows.data = columns, np.arange(1, 21, dtype=np.float32)
    assert_like_the_reference(rows, RandomMatrix(300, 0.4, 9))


def test_entries_are_drawn_as_they_should_be() -> None:
    """Rates, signs, and independence of features, components and seeds, within 5 deviations."""
    features = np.arange(2000, dtype=np.int32)
    for density in (1 / 3, 0.02):
        a, b = (
            reference_projection.entries(features, RandomMatrix(256, density, s)) for s in (1, 2)
        )
        n = a.size
        assert abs((a != 0).mean() - density) < 5 * np.sqrt(density * (1 - density) / n)
        assert abs(a.mean()) < 5 * np.sqrt(density / n)
        for one, other in ((a, b), (a[1:], a[:-1]), (a[:, 1:], a[:, :-1]), (a[:, 64:], a[:, :-64])):
            product = (one.astype(float) * other).mean()
            assert abs(product) < 5 * density / np.sqrt(one.size)
        # Which entries are zero, apart from the signs.
        rates = (a != 0).mean(axis=0)
        assert np.abs(rates - density).max() < 5 * np.sqrt(density / len(a))
    unsigned = reference_projection.entries(features, RandomMatrix(256, 0.02, 1, signed=False))
    np.testing.assert_array_equal(unsigned, np.abs(a))


@pytest.mark.parametrize("density", ["auto", 1 / 3])
def test_distances_of_texts_are_kept(texts: Any, density: Any) -> None:
    """Johnson-Lindenstrauss: no bias, and the spread that the paper on density derives.

    For u = x - y and y = u R / sqrt(p k), Var(|y|^2) = (2 |u|^4 + (1/p - 3) sum u_i^4) / k.
    """
    k, n = 256, 120
    some = texts[:n]
    i, j = np.triu_indices(n, 1)
    exact = some.astype(np.float64).toarray()
    difference = exact[i] - exact[j]
    squared = np.square(difference).sum(axis=1)
    ratios = []
    for seed in range(8):
        projection = SparseRandomProjection(k, density=density, seed=seed).fit(texts)
        projected = projection.transform(some).astype(np.float64)
        ratios.append(np.square(projected[i] - projected[j]).sum(axis=1) / squared)
    # All pairs see the same matrix: what is independent is the mean over them for each seed.
    means = np.mean(ratios, axis=1)
    assert abs(means.mean() - 1) < 4 * means.std() / np.sqrt(len(means)) < 0.06
    p = projection.matrix.exact_density
    fourth = (difference**4).sum(axis=1) / squared**2
    standard = (np.array(ratios) - 1) / np.sqrt((2 + (1 / p - 3) * fourth) / k)
    assert 0.9 < standard.std() < 1.1
    assert np.abs(standard).max() < 7


def test_any_form_of_the_same_vectors_gives_the_same(texts: Any) -> None:
    some = texts[:20]
    projection = SparseRandomProjection(100, density=0.1).fit(some)
    want = projection.transform(some)
    for form in (csc_array(some), coo_array(some), some.toarray(), some.toarray().astype(float)):
        np.testing.assert_array_equal(projection.transform(form), want)
    assert projection.fit_transform(some).tobytes() == want.tobytes()
    assert projection.transform(some, threads=3).tobytes() == want.tobytes()
    assert projection.transform(some[:0]).shape == (0, 100)
    assert projection.transform(some[:0].toarray()).shape == (0, 100)


def test_components_on_demand() -> None:
    projection = SparseRandomProjection(300, density=0.25, seed=4, n_features=2**31)
    features = np.array([0, 77, 2**31 - 1])
    rows = projection.components(features)
    sparse = vectors.from_arrays(
        np.array([0, 3], np.int64), features.astype(np.int32), np.ones(3, np.float32), 2**31
    )
    scale = np.abs(rows).max()
    assert scale == np.float32(1 / np.sqrt(0.25 * 300))
    np.testing.assert_allclose(projection.transform(sparse)[0], rows.sum(axis=0), rtol=1e-6)
    assert set(np.unique(rows / scale)) == {-1.0, 0.0, 1.0}
    assert projection.components([]).shape == (0, 300)
    for wrong in ([-1], [2**31], [0.5], [[1]]):
        with pytest.raises(VectorError):
            projection.components(wrong)


def test_settings() -> None:
    assert SparseRandomProjection(8).fit(np.zeros((1, 10_000))).matrix.density == 0.01
    with pytest.raises(ConfigurationError, match="call fit"):
        SparseRandomProjection(8).transform(np.zeros((1, 3)))
    for options in (
        {"n_components": 0}, {"n_components": 2.0}, {"n_components": 2**31}, {"density": 0.0},
        {"density": 1.1}, {"density": float("nan")}, {"density": "half"}, {"seed": -1},
        {"seed": 2**64}, {"n_features": 0}, {"n_features": 2**31 + 1},
    ):  # fmt: skip
        with pytest.raises(ConfigurationError):
            SparseRandomProjection(**{"n_components": 4, **options})  # type: ignore[arg-type]
    for empty in (np.zeros(3), np.zeros((3, 0)), np.zeros((2, 2, 2))):
        with pytest.raises(VectorError):
            SparseRandomProjection(4).fit(empty)


def test_bad_vectors() -> None:
    projection = SparseRandomProjection(8, n_features=3)
    for wrong in (
        np.zeros((2, 4)), csr_array((2, 4)), np.array([[0, np.nan, 0]]), np.zeros(3),
        np.array([[0, 1e21, 0]]), csr_array(np.array([[0, np.inf, 0]])), np.array([["a"] * 3]),
    ):  # fmt: skip
        with pytest.raises(VectorError):
            projection.transform(wrong)


def test_arrays_that_no_caller_gives() -> None:
    indptr, columns = np.array([0, 2], np.int64), np.array([0, 1], np.int32)
    values, matrix = np.ones(2, np.float32), RandomMatrix(4, 0.5)
    for arrays in (
        (indptr, columns[:1], values), (indptr + 1, columns, values), (indptr[:0], columns, values),
        (indptr, -columns, values), (indptr, columns, values * np.float32(np.nan)),
        (np.array([0, 3]), columns, values), (np.array([0, 2, 1]), columns, values),
    ):  # fmt: skip
        with pytest.raises(VectorError):
            kernels.random_projection(*arrays, matrix)
    for bad in (RandomMatrix(0, 0.5), RandomMatrix(4, 0.0), RandomMatrix(4, 0.5, -1)):
        with pytest.raises(ConfigurationError):
            kernels.random_projection(indptr, columns, values, bad)


def test_signed_codes(tmp_path: Path) -> None:
    dense = np.random.default_rng(1).normal(size=(40, 30)).astype(np.float32)
    dense[5] = 0
    codec = SignedProjection(30, dim=500, active=20, seed=2)
    assert isinstance(codec, Codec)
    codes = vectors.check(codec.transform(dense), dim=codec.dim)
    assert (np.diff(codes.indptr) == np.where(np.arange(40) == 5, 0, 20)).all()
    assert codec.signed
    assert (codes.data < 0).any()
    full = SparseRandomProjection(500, seed=2, n_features=30).transform(dense)
    for row in (0, 39):
        kept = np.sort(np.argsort(-np.abs(full[row]), kind="stable")[:20])
        np.testing.assert_array_equal(codes[[row]].indices, kept)
        np.testing.assert_array_equal(codes[[row]].data, full[row, kept])
    codec.save(tmp_path)
    again = load_codec(tmp_path)
    assert again.space == codec.space != SignedProjection(30, dim=500, active=20).space
    assert again.description == codec.description
    assert (again.transform(dense) != codes).nnz == 0
    for options in ({"active": 0}, {"active": 501}, {"dim": 0}):
        with pytest.raises(ConfigurationError):
            SignedProjection(30, **{"dim": 500, **options})
