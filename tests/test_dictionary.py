"""Pursuits against scikit-learn and scipy; dictionaries that are known, found again from data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sparseret.encoders.codecs import load_codec
from sparseret.encoders.dictionary import Dictionary
from sparseret.encoders.dictionary_training import DictionaryTrainer
from sparseret.encoders.pursuits import Pursued, PursuitMethod, pursue
from sparseret.errors import ConfigurationError, VectorError
from sparseret.protocols import Codec

METHODS: list[tuple[PursuitMethod, bool]] = [
    ("omp", False),
    ("omp", True),
    ("gradient-pursuit", False),
    ("gradient-pursuit", True),
]


def unit(rows: NDArray[Any]) -> NDArray[Any]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def gaussian(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(shape)


def dense(found: Pursued, dim: int) -> NDArray[np.float64]:
    made = np.zeros((len(found.columns), dim))
    np.add.at(made, (np.arange(len(made))[:, None], found.columns), found.values)
    return made


# --- pursuits -----------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3, 17, 30])
def test_orthogonal_matching_pursuit_is_that_of_scikit_learn(k: int) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model", reason="no scikit-learn")
    atoms, x = unit(gaussian(60, 31)), gaussian(50, 31, seed=1)
    wanted = linear_model.orthogonal_mp(atoms.T, x.T, n_nonzero_coefs=k)
    np.testing.assert_allclose(dense(pursue(x, atoms, k), 60), wanted.T, atol=1e-8)


def test_atoms_of_any_length() -> None:
    atoms, x = unit(gaussian(40, 16)), gaussian(20, 16, seed=1)
    lengths = np.random.default_rng(2).uniform(0.01, 100, 40)
    for method, nonnegative in METHODS:
        plain = dense(pursue(x, atoms, 5, method=method, nonnegative=nonnegative), 40)
        scaled = pursue(x, atoms * lengths[:, None], 5, method=method, nonnegative=nonnegative)
        np.testing.assert_allclose(dense(scaled, 40) * lengths, plain, atol=1e-9)


@pytest.mark.parametrize(("dim", "width"), [(20, 33), (60, 30), (7, 7)])
def test_without_a_limit_nonnegative_pursuit_is_nonnegative_least_squares(
    dim: int, width: int
) -> None:
    from scipy.optimize import nnls

    atoms, x = gaussian(dim, width), gaussian(40, width, seed=1)
    found = dense(pursue(x, atoms, dim, nonnegative=True), dim)
    wanted = np.array([nnls(atoms.T, row)[0] for row in x])
    assert (found >= 0).all()
    if dim <= width:
        np.testing.assert_allclose(found, wanted, atol=1e-7)
    # With more atoms than features weights are not unique, and what they make is.
    np.testing.assert_allclose(found @ atoms, wanted @ atoms, atol=1e-6)


@pytest.mark.parametrize(("method", "nonnegative"), METHODS)
def test_more_atoms_never_fit_worse(method: PursuitMethod, nonnegative: bool) -> None:
    atoms, x = gaussian(50, 24), gaussian(30, 24, seed=1)
    before = np.linalg.norm(x, axis=1)
    for k in (1, 2, 4, 8, 16):
        codes = dense(pursue(x, atoms, k, method=method, nonnegative=nonnegative), 50)
        assert ((codes != 0).sum(axis=1) <= k).all()
        assert not nonnegative or (codes >= 0).all()
        error = np.linalg.norm(x - codes @ atoms, axis=1)
        if method == "omp":
            assert (error <= before + 1e-9).all()
        before = error
    assert (before < np.linalg.norm(x, axis=1)).all()


def test_least_squares_fit_better_than_steps() -> None:
    atoms, x = unit(gaussian(200, 64)), gaussian(100, 64, seed=1)
    error = [
        np.linalg.norm(x - dense(pursue(x, atoms, 16, method=method), 200) @ atoms)
        for method in ("omp", "gradient-pursuit")
    ]
    assert error[0] < error[1] < 1.2 * error[0]


@pytest.mark.parametrize(("method", "nonnegative"), METHODS)
def test_a_sum_of_few_atoms_is_taken_apart(method: PursuitMethod, nonnegative: bool) -> None:
    atoms = np.linalg.qr(gaussian(32, 32))[0]
    codes = np.zeros((20, 32))
    rng = np.random.default_rng(3)
    for row in codes:
        row[rng.choice(32, 4, replace=False)] = rng.uniform(1, 2, 4)
    found = dense(pursue(codes @ atoms, atoms, 6, method=method, nonnegative=nonnegative), 32)
    np.testing.assert_allclose(found, codes, atol=1e-7)


@pytest.mark.parametrize(("method", "nonnegative"), METHODS)
def test_degenerate_dictionaries(method: PursuitMethod, nonnegative: bool) -> None:
    base = unit(gaussian(3, 12))
    atoms = np.concatenate([base, base, -base, np.zeros((2, 12)), base * 1e-20])
    x = np.concatenate([gaussian(5, 12, seed=1), np.zeros((1, 12)), base[:1] * 1e30])
    found = dense(pursue(x, atoms, 10, method=method, nonnegative=nonnegative), len(atoms))
    assert np.isfinite(found).all()
    assert not found[5].any()
    assert (np.linalg.norm(x - found @ atoms, axis=1) <= np.linalg.norm(x, axis=1) * 1.001).all()
    np.testing.assert_allclose((found @ atoms)[6], x[6], rtol=1e-6)


# --- the codec ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "nonnegative"), METHODS)
def test_codec(method: PursuitMethod, nonnegative: bool, tmp_path: Path) -> None:
    atoms, x = gaussian(40, 16), gaussian(30, 16, seed=1).astype(np.float32)
    x[3] = 0
    codec = Dictionary(atoms, 4, method=method, nonnegative=nonnegative)
    assert isinstance(codec, Codec)
    codes = codec.transform(x)
    assert codes.shape == (30, 40)
    assert codes.dtype == np.float32
    assert np.diff(codes.indptr).max() <= 4
    assert codes.indptr[4] == codes.indptr[3]
    assert codec.signed == bool((codes.data < 0).any())
    assert np.linalg.norm(codec.inverse_transform(codes) - x) < np.linalg.norm(x)
    codec.save(tmp_path / "d")
    again = load_codec(tmp_path / "d")
    assert again.space == codec.space
    assert again.description == codec.description
    np.testing.assert_array_equal(again.transform(x).toarray(), codes.toarray())
    assert Dictionary(atoms, 5, method=method, nonnegative=nonnegative).space != codec.space
    # A row depends on itself alone, however many stand beside it.
    np.testing.assert_allclose(codec.transform(x[7:8]).toarray(), codes[[7]].toarray(), rtol=1e-5)
    assert codec.transform(x[:0]).shape == (0, 40)


def test_bad_input() -> None:
    atoms = gaussian(4, 3)
    for k in (0, 5, 1.5, True):
        with pytest.raises(ConfigurationError, match="k must be from 1 to 4"):
            Dictionary(atoms, k)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="method 'lasso' is not one of omp, grad"):
        Dictionary(atoms, 2, method="lasso")  # type: ignore[arg-type]
    with pytest.raises(VectorError, match="atom 1 is zero"):
        Dictionary([[1.0, 2], [0, 0]], 1)
    with pytest.raises(VectorError, match="NaN"):
        Dictionary([[1.0, np.nan]], 1)
    with pytest.raises(VectorError, match="4 features, and the codec 3"):
        Dictionary(atoms, 2).transform(gaussian(2, 4))
    with pytest.raises(VectorError, match="vector 1 holds NaN"):
        Dictionary(atoms, 2).transform([[1, 2, 3], [1, np.inf, 3]])
    with pytest.raises(VectorError, match="not finite"):  # a weight that float32 cannot hold
        Dictionary(atoms * 1e-30, 2).transform(np.full((1, 3), 1e30))


# --- learning -----------------------------------------------------------------------------------


def synthetic(
    width: int, dim: int, k: int, n: int, noise: float, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A dictionary and vectors of length 1 made with it, plus noise of this expected length."""
    rng = np.random.default_rng(seed)
    atoms = unit(rng.standard_normal((dim, width)))
    codes = np.zeros((n, dim))
    for row in codes:
        row[rng.choice(dim, k, replace=False)] = rng.standard_normal(k)
    scale = noise / np.sqrt(width)
    return atoms, unit(codes) @ atoms + scale * rng.standard_normal((n, width))


def recovery(true: NDArray[Any], learned: NDArray[Any]) -> NDArray[np.float64]:
    """Of each true atom, the largest cosine with one that was learned."""
    cosines: NDArray[np.float64] = np.abs(unit(true) @ unit(learned).T).max(axis=1)
    return cosines


@pytest.mark.parametrize("objective", ["reconstruction", "masked"])
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_a_known_dictionary_is_recovered(objective: Any, noise: float) -> None:
    atoms, x = synthetic(40, 20, 3, 2000, noise, seed=0)
    trainer = DictionaryTrainer(30, 3, objective=objective, epochs=12, batch_size=200)
    assert recovery(atoms, trainer.fit(x).codec.atoms).mean() >= 0.98


def test_only_the_masked_objective_recovers_it_with_more_atoms_than_needed_and_noise() -> None:
    """Chidambaram et al. 2023: with noise, the best reconstruction is not by the true atoms."""
    from scipy.stats import ttest_rel

    found: dict[Any, list[NDArray[np.float64]]] = {"reconstruction": [], "masked": []}
    error: dict[Any, float] = {}
    for seed in range(3):
        atoms, x = synthetic(40, 20, 5, 1000, 0.5, seed)
        for objective in found:
            trainer = DictionaryTrainer(
                100, 5, objective=objective, epochs=20, batch_size=200, seed=seed
            )
            codec = trainer.fit(x).codec
            found[objective].append(recovery(atoms, codec.atoms))
            error[objective] = float(
                np.linalg.norm(codec.inverse_transform(codec.transform(x)) - x)
            )
    masked, plain = (np.concatenate(found[name]) for name in ("masked", "reconstruction"))
    assert masked.mean() >= 0.95
    assert plain.mean() < 0.94
    assert ttest_rel(masked, plain).pvalue < 1e-6
    # It is the objective that fails, not its optimisation: it is met better, by worse atoms.
    assert error["reconstruction"] < error["masked"]


def test_nonnegative_parts_are_recovered() -> None:
    rng = np.random.default_rng(0)
    atoms = unit(np.abs(rng.standard_normal((12, 30))) * (rng.random((12, 30)) < 0.3) + 1e-3)
    codes = np.abs(rng.standard_normal((1500, 12))) * (rng.random((1500, 12)) < 0.2)
    trainer = DictionaryTrainer(16, 4, nonnegative=True, epochs=10)
    codec = trainer.fit(codes @ atoms).codec
    assert not codec.signed
    assert recovery(atoms, codec.atoms).mean() >= 0.95


def test_partial_fit_learns_as_it_goes() -> None:
    atoms, x = synthetic(30, 15, 2, 4000, 0.1, seed=1)
    trainer = DictionaryTrainer(20, 2, batch_size=100)
    first = recovery(atoms, trainer.partial_fit(x[:100]).codec.atoms).mean()
    for begin in range(100, 4000, 300):
        trainer.partial_fit(x[begin : begin + 300])
    last = recovery(atoms, trainer.codec.atoms).mean()
    assert first + 0.1 < last
    assert last > 0.95


def test_same_seed_same_dictionary(tmp_path: Path) -> None:
    x = gaussian(300, 20).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    made = [
        DictionaryTrainer(30, 3, objective="masked", epochs=2, seed=seed).fit(source).codec.space
        for source, seed in ((x, 0), (mapped, 0), (x, 1))
    ]
    assert made[0] == made[1] != made[2]


def test_few_vectors_and_atoms_without_use() -> None:
    x = np.concatenate([np.eye(6)[:2], np.zeros((1, 6))])
    codec = DictionaryTrainer(8, 1, epochs=200, batch_size=2).fit(x).codec
    assert recovery(np.eye(6)[:2], codec.atoms).min() > 0.999
    np.testing.assert_allclose(np.linalg.norm(codec.atoms, axis=1), 1, rtol=1e-5)
    one = DictionaryTrainer(1, 1).fit([[3.0, 4.0]]).codec
    np.testing.assert_allclose(np.abs(one.atoms), [[0.6, 0.8]], rtol=1e-6)


def test_learning_from_bad_input() -> None:
    with pytest.raises(ConfigurationError, match="learned nothing"):
        _ = DictionaryTrainer(4, 1).codec
    with pytest.raises(VectorError, match="no vectors to learn from"):
        DictionaryTrainer(4, 1).fit(np.zeros((5, 3)))
    with pytest.raises(VectorError, match="vector 2 holds NaN"):
        DictionaryTrainer(4, 1).fit([[1, 1], [1, 2], [np.nan, 1]])
    with pytest.raises(ConfigurationError, match="folds=4 for vectors of 3 features"):
        DictionaryTrainer(4, 1, objective="masked").fit(np.ones((5, 3)))
    with pytest.raises(ConfigurationError, match="k must be from 1 to 4"):
        DictionaryTrainer(4, 5)
    with pytest.raises(ConfigurationError, match="objective 'l1' is not one of"):
        DictionaryTrainer(4, 1, objective="l1")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="folds must be a whole number from 2, got 1"):
        DictionaryTrainer(4, 1, folds=1)
    with pytest.raises(VectorError, match="2 features, and those before 3"):
        DictionaryTrainer(4, 1).partial_fit(np.ones((5, 3))).partial_fit(np.ones((5, 2)))
