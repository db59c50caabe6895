"""Sparse-expansion hashing: what wins, and that neighbours share winners on real vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("sparseret.kernels._native", reason="the native kernel is not built")

from sparseret import vectors
from sparseret.encoders.bm25 import BM25Encoder
from sparseret.encoders.codecs import load_codec
from sparseret.encoders.dense_blocks import keep_winners
from sparseret.encoders.expansion_hashing import ExpansionHashing
from sparseret.errors import ConfigurationError, VectorError
from sparseret.kernels import RandomMatrix, reference_projection
from sparseret.protocols import Codec
from sparseret.readers import read_documents

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def dense(cranfield: Path) -> Floats:
    """Texts of the bundled corpus as unit vectors of 100 features: latent semantic analysis."""
    from scipy.sparse.linalg import svds

    documents = [record.document for record in read_documents(cranfield)]
    rows = BM25Encoder().fit(documents).encode_documents(documents).astype(np.float64)
    left, strengths, _ = svds(rows, k=100, v0=np.ones(min(rows.shape)))
    embedded = left * strengths
    lengths = np.linalg.norm(embedded, axis=1, keepdims=True)
    return (embedded / np.maximum(lengths, 1e-9)).astype(np.float32)


def recall(scores: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
    """Of the 10 nearest others of each vector, the share among the best 10 by scores."""

    def best(matrix: NDArray[np.float32]) -> NDArray[np.int64]:
        others = matrix.astype(np.float64)
        np.fill_diagonal(others, -np.inf)
        return np.argsort(-others, axis=1, kind="stable")[:, :10]

    pairs = zip(best(scores), best(truth), strict=True)
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in pairs]))


def test_neighbours_are_found_by_shared_winners(dense: Floats) -> None:
    """Ahead of random hyperplanes at the same hash length k, as the paper compares them."""
    truth = dense @ dense.T
    generator = np.random.default_rng(0)
    for k in (16, 32, 64):
        found = []
        for values in ("binary", "sums"):
            codes = ExpansionHashing(100, winners=k, values=values).transform(dense)  # type: ignore[arg-type]
            found.append(recall((codes @ codes.T).toarray(), truth))
        planes = np.sign(dense @ generator.normal(size=(100, k)).astype(np.float32))
        of_planes = recall(planes @ planes.T, truth)
        assert found[0] > 1.6 * of_planes
        assert found[1] > found[0] - 0.01
    assert found[0] > 0.4


def test_codes_are_the_winners(dense: Floats) -> None:
    some = dense[:30]
    codec = ExpansionHashing(100, dim=900, winners=25, sampling=0.2, seed=8)
    assert isinstance(codec, Codec)
    codes = vectors.check(codec.transform(some), dim=900, signed=False)
    assert (codes.data == 1).all()
    assert (np.diff(codes.indptr) == 25).all()
    samples = reference_projection.entries(
        np.arange(100, dtype=np.int32), RandomMatrix(900, 0.2, 8, signed=False)
    )
    centred = some - some.mean(axis=1, keepdims=True)
    sums = centred.astype(np.float64) @ samples
    for row in range(30):
        losers = np.delete(sums[row], codes[[row]].indices)
        assert sums[row][codes[[row]].indices].min() >= losers.max() - 1e-5
    weighed = ExpansionHashing(100, dim=900, winners=25, sampling=0.2, values="sums", seed=8)
    values = vectors.check(weighed.transform(some), signed=False)
    np.testing.assert_array_equal(values.indices, codes.indices)
    np.testing.assert_allclose(values.power(2).sum(axis=1), 1, rtol=1e-5)


def test_a_vector_is_hashed_the_same_alone_and_shifted(dense: Floats) -> None:
    codec = ExpansionHashing(100)
    together = codec.transform(dense)
    assert together.shape == (len(dense), 2000)
    assert (codec.transform(dense[17:18]) != together[[17]]).nnz == 0
    whole = np.round(dense[:50] * 64)  # exact sums: a shift of all features changes nothing
    assert (codec.transform(whole + 3) != codec.transform(whole)).nnz == 0


def test_degenerate_vectors() -> None:
    codec = ExpansionHashing(10, dim=50, winners=5, sampling=1.0)
    flat = codec.transform(np.array([[0.1] * 10, [0.0] * 10, [1e20] * 10], np.float32))
    assert flat.nnz == 0
    # Every unit samples every feature: all sums are equal, and those above 0 win by their number.
    ties = codec.transform(np.arange(10, dtype=np.float32)[None])
    assert ties.nnz in (0, 5)
    assert codec.transform(np.zeros((0, 10))).shape == (0, 50)
    for wrong in (np.zeros((1, 9)), np.full((1, 10), np.nan), np.full((1, 10), 1e39)):
        with pytest.raises(VectorError):
            codec.transform(wrong)


def test_ties_go_to_smaller_columns() -> None:
    scores = np.array([[1, 3, 3, 3, 0], [2, 2, 2, 2, 2], [0, 0, 5, 0, 0]], np.float32)
    rows = keep_winners(scores, 2)
    assert rows.indptr.tolist() == [0, 2, 4, 5]
    assert rows.indices.tolist() == [1, 2, 0, 1, 2]
    everything = keep_winners(scores, 5)
    assert np.diff(everything.indptr).tolist() == [4, 5, 1]


def test_save_and_load(tmp_path: Path, dense: Floats) -> None:
    codec = ExpansionHashing(100, dim=300, winners=9, values="sums", seed=2**63)
    codec.save(tmp_path)
    again = load_codec(tmp_path)
    assert again.space == codec.space
    assert again.description == codec.description
    assert (again.transform(dense[:9]) != codec.transform(dense[:9])).nnz == 0
    assert ExpansionHashing(100, dim=300, winners=9, values="sums").space != codec.space
    for options in (
        {"n_features": 1}, {"dim": 0}, {"winners": 0}, {"winners": 200}, {"sampling": 0},
        {"sampling": 2}, {"values": "excitation"}, {"seed": -1},
    ):  # fmt: skip
        with pytest.raises(ConfigurationError):
            ExpansionHashing(**{"n_features": 10, **options})  # type: ignore[arg-type]
