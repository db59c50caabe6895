"""What is said of codes, where it is known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sparseret import vectors
from sparseret.encoders.latent_labels import label_latents, read_labels, write_labels
from sparseret.encoders.sparse_autoencoder import AutoencoderWeights, SparseAutoencoder
from sparseret.errors import ConfigurationError, VectorError
from sparseret.eval.code_card import match_dictionaries, probe_codes, rate_codes

N, WIDTH = 400, 8


def both_signs(scale: float = 1.0, latents: int = 2 * WIDTH) -> SparseAutoencoder:
    """Every coordinate and its negative: what is kept is reconstructed, times ``scale``."""
    rows = np.zeros((latents, WIDTH))
    rows[:WIDTH], rows[WIDTH : 2 * WIDTH] = np.eye(WIDTH), -np.eye(WIDTH)
    bias = np.zeros(latents)
    bias[2 * WIDTH :] = -1  # these are never positive
    weights = AutoencoderWeights(rows, np.zeros(WIDTH), bias, decoder=rows * scale)
    return SparseAutoencoder(weights, WIDTH)


def inputs(n: int = N) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((n, WIDTH)).astype(np.float32)


def test_perfect_codes() -> None:
    card = rate_codes(both_signs(latents=20), inputs())
    assert card.n == N
    assert card.nnz == WIDTH
    assert card.normalized_error == pytest.approx(0, abs=1e-10)
    assert card.explained_variance == pytest.approx(1)
    assert card.cosine == pytest.approx(1)
    assert card.dead == 4 / 20
    assert card.dense == 16 / 20
    assert card.densities[:16].mean() == pytest.approx(0.5)


def test_an_error_that_is_linear_in_the_vectors() -> None:
    """Reconstructions of half the length leave half of the vector over."""
    card = rate_codes(both_signs(scale=0.5), inputs())
    assert card.normalized_error == pytest.approx(0.25, rel=0.02)
    assert card.linear_error == pytest.approx(card.normalized_error, rel=1e-4)
    assert card.nonlinear_error == pytest.approx(0, abs=1e-4)


def test_an_error_that_is_not_linear() -> None:
    """Dropping all but the largest coordinate is not a linear map, though partly like one."""
    card = rate_codes(both_signs().with_k(1), inputs(2000))
    squares = np.sort(inputs(2000) ** 2, axis=1)
    assert card.normalized_error == pytest.approx(squares[:, :-1].sum() / squares.sum(), rel=0.01)
    assert 0.2 < card.linear_error < card.normalized_error
    assert card.nonlinear_error > 0.05


def test_what_cannot_be_rated() -> None:
    with pytest.raises(VectorError, match="at least 4"):
        rate_codes(both_signs(), inputs(3))
    with pytest.raises(VectorError, match="no variance"):
        rate_codes(both_signs(), np.ones((9, WIDTH)))


def test_dictionaries_of_two_seeds() -> None:
    rng = np.random.default_rng(0)
    one = rng.standard_normal((50, 40))
    assert match_dictionaries(one, 3 * one[rng.permutation(50)]) == pytest.approx(1)
    assert match_dictionaries(one, rng.standard_normal((50, 40))) < 0.6
    with pytest.raises(VectorError, match="shapes"):
        match_dictionaries(one, one[:9])


def test_probes_find_the_latent_that_tells_classes_apart() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    codes = rng.random((300, 30)) * (rng.random((300, 30)) < 0.3)
    assert probe_codes(vectors.check(codes), labels, n_latents=1) < 0.65
    codes[np.arange(300), 5 * labels] = 2
    assert probe_codes(vectors.check(codes), labels, n_latents=1) > 0.9
    with pytest.raises(ConfigurationError, match="two classes"):
        probe_codes(vectors.check(codes), [0] * 300)
    with pytest.raises(VectorError, match="labels"):
        probe_codes(vectors.check(codes), labels[:9])


def test_labels_are_the_terms_that_tell_most() -> None:
    texts = ["the red apple", "a red pear", "red wine", "blue sky the", "the blue sea", "blue"] * 3
    codes = np.zeros((18, 4))
    codes[:, 0] = [1 if "red" in text else 0 for text in texts]
    codes[:, 1] = [2 if "blue" in text else 0 for text in texts]
    codes[0, 2] = 1  # too few
    labels = label_latents(vectors.check(codes), texts, n_terms=1)
    assert labels == {0: "red", 1: "blue"}
    with pytest.raises(VectorError, match="parallel"):
        label_latents(vectors.check(codes), texts[:3])


def test_labels_are_kept(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("labels")
    assert read_labels(folder) == {}
    write_labels(folder, {3: "drei", 1: "eins"})
    assert read_labels(folder) == {1: "eins", 3: "drei"}
    (folder / "labels.json").write_text('{"x": "y"}')
    with pytest.raises(ConfigurationError, match="does not hold labels"):
        read_labels(folder)


def test_a_card_of_vectors_that_are_mapped_or_sparse(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In blocks, and with means far from zero, as of all vectors at once."""
    from scipy.sparse import csr_array

    from sparseret.encoders import dense_blocks

    x = inputs() + 100
    whole = rate_codes(both_signs(), x)
    file = tmp_path_factory.mktemp("mapped") / "x.npy"
    np.save(file, x)
    monkeypatch.setattr(dense_blocks, "_BLOCK_VALUES", 30 * WIDTH)
    for given in (np.load(file, mmap_mode="r"), csr_array(x), x.tolist()):
        card = rate_codes(both_signs(), given)
        for one, other in zip(card[:-1], whole[:-1], strict=True):
            assert one == pytest.approx(other, rel=1e-6, abs=1e-9)
        np.testing.assert_array_equal(card.densities, whole.densities)
