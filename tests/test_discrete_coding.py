"""Binary and ternary sparse coding: bars that are superposed are told apart, EM never loses."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from sparseret.encoders.codecs import load_codec
from sparseret.encoders.discrete_coding import CauseStates, DiscreteSparseCoding
from sparseret.encoders.discrete_coding_training import DiscreteCodingTrainer
from sparseret.errors import ConfigurationError, VectorError
from sparseret.protocols import Codec

SIGMA = 2.0


class Bars(NamedTuple):
    causes: NDArray[np.float64]
    codes: NDArray[np.float64]
    images: NDArray[np.float64]


def bars(side: int, n: int, states: CauseStates, seed: int = 0) -> Bars:
    """Images of horizontal and vertical bars, two of them on average, with noise."""
    rng = np.random.default_rng(seed)
    dim = 2 * side
    causes = np.zeros((dim, side, side))
    for i in range(side):
        causes[i, i] = 10
        causes[side + i, :, i] = 10
    causes = causes.reshape(dim, -1)
    codes = (rng.random((n, dim)) < 2 / dim).astype(float)
    if states == "ternary":
        codes *= rng.choice([-1, 1], codes.shape)
    return Bars(causes, codes, codes @ causes + SIGMA * rng.standard_normal((n, side**2)))


def match(true: NDArray[Any], learned: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Of each true cause the learned one with the largest cosine, and that cosine."""
    cosines = (true / np.linalg.norm(true, axis=1)[:, None]) @ (
        learned / np.linalg.norm(learned, axis=1)[:, None]
    ).T
    best = np.abs(cosines).argmax(axis=1)
    return best, cosines[np.arange(len(true)), best]


CASES: list[tuple[CauseStates, int, int, int]] = [
    ("binary", 4, 5, 6),
    ("binary", 5, 5, 7),
    ("ternary", 4, 4, 5),
]


@pytest.mark.parametrize(("states", "side", "active", "preselected"), CASES)
def test_all_bars_are_recovered(
    states: CauseStates, side: int, active: int, preselected: int
) -> None:
    true = bars(side, 600, states)
    trainer = DiscreteCodingTrainer(
        2 * side, preselected=preselected, active=active, states=states, seed=1
    )
    codec = trainer.fit(true.images).codec
    best, cosines = match(true.causes, codec.weights)
    assert sorted(best) == list(range(2 * side))  # each bar by a cause of its own
    assert np.abs(cosines).min() > 0.99
    np.testing.assert_allclose(np.linalg.norm(codec.weights, axis=1), 10 * side**0.5, rtol=0.06)
    assert codec.pi * 2 * side == pytest.approx(np.abs(true.codes).sum(axis=1).mean(), rel=0.06)
    assert codec.sigma == pytest.approx(SIGMA, rel=0.1)
    # The codes are those that the images were made of.
    codes = codec.transform(true.images).toarray()[:, best] * np.sign(cosines)
    assert (codes == true.codes).mean() > 0.98
    assert set(np.unique(codes)) <= ({0, 1} if states == "binary" else {-1, 0, 1})


@pytest.mark.parametrize(("states", "side", "active", "preselected"), CASES)
def test_free_energy_never_decreases(
    states: CauseStates, side: int, active: int, preselected: int
) -> None:
    images = bars(side, 300, states, seed=3).images
    for seed in range(4):
        trainer = DiscreteCodingTrainer(
            2 * side, preselected=preselected, active=active, states=states, seed=seed, restarts=1
        )
        history = np.array(trainer.fit(images).history)
        assert len(history) > 3
        assert (np.diff(history) >= -1e-9 * np.abs(history[1:])).all()


@pytest.mark.parametrize("states", ["binary", "ternary"])
def test_without_truncation_it_is_the_posterior_of_all_states(states: CauseStates) -> None:
    rng = np.random.default_rng(0)
    weights, x = rng.standard_normal((5, 3)), rng.standard_normal((8, 3)).astype(np.float32)
    options: Any = {"sigma": 0.7, "pi": 0.3, "states": states}
    values = (0, 1) if states == "binary" else (-1, 0, 1)
    table = np.array(list(product(values, repeat=5)), float)
    each = 0.3 if states == "binary" else 0.15
    prior = np.prod(np.where(table != 0, each, 0.7), axis=1)
    gaps = x[:, None] - table @ weights.astype(np.float32)
    density = np.exp(-np.sum(gaps**2, axis=2) / (2 * 0.49)) / (2 * math.pi * 0.49) ** 1.5
    joint = density * prior

    mean = DiscreteSparseCoding(weights, preselected=5, active=5, estimate="mean", **options)
    wanted = joint @ table / joint.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(mean.transform(x).toarray(), wanted, atol=1.1e-3)
    assert mean.log_likelihood(x) == pytest.approx(np.log(joint.sum(axis=1)).mean(), rel=1e-6)
    likeliest = DiscreteSparseCoding(weights, preselected=5, active=5, **options)
    np.testing.assert_array_equal(likeliest.transform(x).toarray(), table[joint.argmax(axis=1)])
    # What is left out can only be missing.
    for preselected, active in ((5, 2), (3, 3), (2, 1)):
        less = DiscreteSparseCoding(weights, preselected=preselected, active=active, **options)
        assert less.log_likelihood(x) < mean.log_likelihood(x)
        assert np.diff(less.transform(x).indptr).max() <= active


def test_codec_is_saved_and_read(tmp_path: Path) -> None:
    images = bars(4, 100, "ternary").images
    trainer = DiscreteCodingTrainer(8, preselected=4, active=3, states="ternary", restarts=2)
    codec = trainer.fit(images).codec
    assert isinstance(codec, Codec)
    assert codec.signed
    codec.save(tmp_path / "c")
    again = load_codec(tmp_path / "c")
    assert (again.space, again.description) == (codec.space, codec.description)
    codes = codec.transform(images)
    np.testing.assert_array_equal(again.transform(images).toarray(), codes.toarray())
    assert np.linalg.norm(codec.inverse_transform(codes) - images) < 0.8 * np.linalg.norm(images)
    assert codec.transform(np.zeros((1, 16))).nnz == 0
    same = DiscreteCodingTrainer(8, preselected=4, active=3, states="ternary", restarts=2)
    assert same.fit(images).codec.space == codec.space


def test_causes_that_never_come_stay_finite() -> None:
    # Noiseless, of two causes, with room for six: four are never needed.
    x = np.array([[1, 0, 0], [0, 2, 0], [1, 2, 0], [0, 0, 0]] * 20, float)
    codec = DiscreteCodingTrainer(6, preselected=6, active=6, restarts=3).fit(x).codec
    assert np.isfinite(codec.weights).all()
    assert codec.sigma > 0
    made = codec.inverse_transform(codec.transform(x))
    assert np.abs(made - x).max() < 0.5


def test_bad_input() -> None:
    weights = np.ones((4, 3))
    good: Any = {"sigma": 1.0, "pi": 0.2, "preselected": 3, "active": 2}
    for changed, message in (
        ({"active": 4}, "active must be at most preselected, 3"),
        ({"preselected": 5}, "preselected must be at most 4"),
        ({"preselected": 0}, "preselected must be a whole number from 1"),
        ({"states": "real"}, "states 'real' is not one of binary, ternary"),
        ({"estimate": "mode"}, "estimate 'mode' is not one of map, mean"),
        ({"sigma": 0.0}, "sigma must be above 0"),
        ({"pi": 1.0}, "pi between 0 and 1"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            DiscreteSparseCoding(weights, **{**good, **changed})
    with pytest.raises(ConfigurationError, match="lower one of them"):
        DiscreteCodingTrainer(40, preselected=40, active=10)
    with pytest.raises(ConfigurationError, match="dim must be a whole number from 5"):
        DiscreteCodingTrainer(4, preselected=5, active=2)
    trainer = DiscreteCodingTrainer(4, preselected=3, active=2)
    with pytest.raises(ConfigurationError, match="learned nothing"):
        _ = trainer.codec
    for x in (np.ones((1, 3)), np.ones((5, 3)), np.ones((0, 3))):
        with pytest.raises(VectorError, match="without variation"):
            trainer.fit(x)
    with pytest.raises(VectorError, match="NaN"):
        trainer.fit([[1.0, np.nan], [1, 2]])
    with pytest.raises(VectorError, match="no vectors"):
        DiscreteSparseCoding(weights, **good).log_likelihood(np.ones((0, 3)))


@pytest.mark.parametrize("states", ["binary", "ternary"])
def test_a_stream_is_learned_from(states: CauseStates) -> None:
    """Stepwise EM: more vectors make causes better that the first have set apart."""
    side, true = 4, bars(4, 4000, states)
    trainer = DiscreteCodingTrainer(
        8, preselected=6, active=5, states=states, restarts=6, batch_size=100, seed=1
    )
    first, errors = 300, []
    for begin, end in ((0, first), (first, 1000), (1000, 4000)):
        codec = trainer.partial_fit(true.images[begin:end]).codec
        best, cosines = match(true.causes, codec.weights)
        assert sorted(best) == list(range(2 * side))
        found = codec.weights[best] * np.sign(cosines)[:, None]
        errors.append(float(np.sqrt(np.mean((found - true.causes) ** 2))))
    assert errors[2] < 0.6 * errors[0]
    assert errors[2] < 0.15
    assert codec.sigma == pytest.approx(SIGMA, rel=0.1)
    assert codec.pi * 2 * side == pytest.approx(np.abs(true.codes).sum(axis=1).mean(), rel=0.1)
    with pytest.raises(VectorError, match="3 features, and those before 16"):
        trainer.partial_fit(np.ones((5, 3)))


def test_the_first_of_a_long_stream_are_fitted() -> None:
    true = bars(4, 400, "binary")
    settings: dict[str, Any] = {"preselected": 6, "active": 5, "restarts": 2, "batch_size": 10}
    whole = DiscreteCodingTrainer(8, **settings).partial_fit(true.images)
    parts = DiscreteCodingTrainer(8, **settings).fit(true.images[:160])
    assert parts.codec.space != whole.codec.space
    assert parts.partial_fit(true.images[160:]).codec.space == whole.codec.space
