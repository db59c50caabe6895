"""Chances of matches and misses: against whole-number arithmetic, the paper, and simulation."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from sparseret.encoders import sdr_theory
from sparseret.encoders.sdr import add_noise
from sparseret.errors import ConfigurationError
from sparseret.vectors import check_binary


def exact_false_match(n: int, a: int, s: int, threshold: int) -> Fraction:
    ways = sum(comb(s, b) * comb(n - s, a - b) for b in range(threshold, s + 1))
    return Fraction(ways, comb(n, a))


@pytest.mark.parametrize(
    ("cells", "active", "synapses", "threshold", "published"),
    [(10_000, 300, 24, 12, 8.37584522709849e-13), (10_000, 300, 30, 15, 1.04849765783378e-15)],
)
def test_false_matches_as_published(
    cells: int, active: int, synapses: int, threshold: int, published: float
) -> None:
    """Values that go with Ahmad and Hawkins's equation in their notebooks."""
    got = sdr_theory.false_match(cells, active, threshold, synapses=synapses)
    assert got == pytest.approx(published, rel=1e-9)


@pytest.mark.parametrize(("cells", "active", "synapses"),
                         [(1, 1, 1), (7, 7, 3), (50, 5, 5), (2048, 40, 40), (2**20, 100, 30),
                          (200_000, 4000, 20)])  # fmt: skip
def test_false_matches_in_whole_numbers(cells: int, active: int, synapses: int) -> None:
    for threshold in {1, (synapses + 1) // 2, synapses}:
        got = sdr_theory.false_match(cells, active, threshold, synapses=synapses)
        want = exact_false_match(cells, active, synapses, threshold)
        assert got == pytest.approx(float(want), rel=1e-7)
    chances = sdr_theory.overlap_probabilities(cells, active, synapses)
    assert chances.shape == (active + 1,)
    assert chances.sum() == pytest.approx(1, abs=1e-8)


def test_unions_in_whole_numbers() -> None:
    """All pairs and triples of patterns, and all inputs, of a small space."""
    from itertools import combinations, product

    n, a = 6, 2
    codes = [frozenset(cells) for cells in combinations(range(n), a)]
    for patterns in (0, 1, 2, 3):
        counts = np.zeros(a + 1)
        for drawn in product(codes, repeat=patterns):
            counts[len(frozenset().union(*drawn) & codes[0])] += 1
        got = sdr_theory.overlap_probabilities(n, a, patterns=patterns)
        np.testing.assert_allclose(got, counts / counts.sum(), atol=1e-12)
    mean = got @ np.arange(a + 1)
    assert mean / a == pytest.approx(sdr_theory.union_density(n, a, 3))


def draw(rng: np.random.Generator, n: int, cells: int, active: int) -> NDArray[np.bool_]:
    out = np.zeros((n, cells), bool)
    places = np.argpartition(rng.random((n, cells)), active - 1, axis=1)[:, :active]
    np.put_along_axis(out, places, True, axis=1)
    return out


def assert_agrees(times: int, trials: int, chance: float) -> None:
    """Within the bounds that 999,999 of 1,000,000 such simulations keep."""
    interval = binomtest(times, trials).proportion_ci(1 - 1e-6, method="exact")
    assert interval.low <= chance <= interval.high


@pytest.mark.parametrize(("cells", "active", "synapses", "threshold", "patterns"),
                         [(200, 10, 10, 2, 1), (200, 10, 10, 4, 5), (100, 12, 6, 2, 4),
                          (64, 8, 8, 6, 12)])  # fmt: skip
def test_predictions_agree_with_simulation(
    cells: int, active: int, synapses: int, threshold: int, patterns: int
) -> None:
    rng = np.random.default_rng(7)
    trials, noise = 8000, 0.6
    unions = np.zeros((trials, cells), bool)
    for p in range(patterns):
        whole = draw(rng, trials, cells, active)
        # The first `synapses` in a random order of the pattern's cells.
        known = np.argsort(np.where(whole, rng.random((trials, cells)), 2), axis=1)[:, :synapses]
        unions[np.arange(trials)[:, None], known] = True
        if p == 0:
            stored = whole
    false = (unions & draw(rng, trials, cells, active)).sum(axis=1) >= threshold
    given = {"synapses": synapses, "patterns": patterns}
    assert_agrees(
        int(false.sum()), trials, sdr_theory.false_match(cells, active, threshold, **given)
    )
    noisy = add_noise(check_binary(stored), noise, seed=3).toarray() > 0
    missed = (unions & noisy).sum(axis=1) < threshold
    chance = sdr_theory.miss(cells, active, threshold, noise=noise, **given)
    assert_agrees(int(missed.sum()), trials, chance)
    density = sdr_theory.union_density(cells, synapses, patterns)
    assert unions.mean() == pytest.approx(density, abs=4 / np.sqrt(trials * cells))


def test_misses_at_the_ends() -> None:
    assert sdr_theory.miss(100, 10, 10, noise=0) == 0
    assert sdr_theory.miss(100, 10, 10, noise=0.1) == pytest.approx(1)
    assert sdr_theory.miss(100, 10, 9, noise=0.1) == 0
    assert sdr_theory.miss(100, 10, 1, noise=1) == pytest.approx(1)
    # Of 5 known cells of 10, the one that moved is known with chance one half.
    assert sdr_theory.miss(100, 10, 5, noise=0.1, synapses=5) == pytest.approx(0.5)
    others = [sdr_theory.miss(100, 10, 8, noise=0.5, patterns=m) for m in (1, 2, 10, 1000)]
    assert others == sorted(others, reverse=True)
    assert others[-1] == pytest.approx(0, abs=1e-12)


def test_thresholds_and_capacities_meet_their_target() -> None:
    for cells, active, patterns, target in (
        (2048, 40, 1, 1e-9), (2048, 40, 20, 1e-6), (500, 20, 3, 1e-3), (65_536, 200, 1, 1e-300),
    ):  # fmt: skip
        threshold = sdr_theory.choose_threshold(cells, active, target=target, patterns=patterns)
        assert sdr_theory.false_match(cells, active, threshold, patterns=patterns) <= target
        assert sdr_theory.false_match(cells, active, threshold - 1, patterns=patterns) > target
        held = sdr_theory.capacity(cells, active, threshold, target=target)
        assert held >= patterns
        assert sdr_theory.false_match(cells, active, threshold, patterns=held) <= target
        assert sdr_theory.false_match(cells, active, threshold, patterns=held + 1) > target
    assert sdr_theory.capacity(10, 5, 1, target=0.01) == 0


def test_large_unions_neither_overflow_nor_vanish() -> None:
    assert sdr_theory.false_match(2048, 40, 40, patterns=10**12) == pytest.approx(1)
    assert 0 < sdr_theory.false_match(10**9, 500, 50) < 1e-200
    assert sdr_theory.log10_codes(2048, 40) == pytest.approx(
        np.log10(float(comb(2048, 40))), rel=1e-12
    )
    assert sdr_theory.union_density(2048, 40, 0) == 0
    assert sdr_theory.union_density(5, 5, 1) == 1


def test_a_plan_is_all_of_it() -> None:
    made = sdr_theory.plan(2048, 40, target=1e-6, patterns=20, noise=0.25, synapses=30)
    assert made.threshold == sdr_theory.choose_threshold(
        2048, 40, target=1e-6, patterns=20, synapses=30
    )
    assert made.false_match <= 1e-6
    assert made.capacity >= 20
    fixed = sdr_theory.plan(2048, 40, target=1e-6, threshold=3)
    assert fixed.threshold == 3
    assert fixed.false_match > 1e-6
    assert fixed.capacity == 0


def test_what_cannot_be() -> None:
    for sizes in ((0, 1), (10, 11), (10, 0), (-5, -6)):
        with pytest.raises(ConfigurationError, match="each is at least 1"):
            sdr_theory.false_match(*sizes, 1)
    with pytest.raises(ConfigurationError, match="threshold 6: 1 to 5"):
        sdr_theory.false_match(100, 10, 6, synapses=5)
    with pytest.raises(ConfigurationError, match="no threshold keeps false matches at 1e-09"):
        sdr_theory.choose_threshold(20, 5, target=1e-9)
    for target in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(ConfigurationError, match="between 0 and 1"):
            sdr_theory.capacity(100, 10, 5, target=target)
    with pytest.raises(ConfigurationError, match="noise 2"):
        sdr_theory.miss(100, 10, 5, noise=2)
    with pytest.raises(ConfigurationError, match="less noise"):
        sdr_theory.miss(12, 10, 5, noise=1)
    with pytest.raises(ConfigurationError, match="the pattern itself"):
        sdr_theory.miss(100, 10, 5, noise=0, patterns=0)
    with pytest.raises(ConfigurationError, match="none or more"):
        sdr_theory.false_match(100, 10, 5, patterns=-1)
    with pytest.raises(ConfigurationError, match="up to 2,048 active"):
        sdr_theory.false_match(10**6, 5000, 5, patterns=2)
