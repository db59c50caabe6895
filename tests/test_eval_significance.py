from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from sparseret.errors import DatasetError
from sparseret.eval.measures import Scores
from sparseret.eval.significance import compare


def scores(values: Sequence[float], name: str = "m") -> Scores:
    per_query = {f"q{at}": {name: float(value)} for at, value in enumerate(values)}
    return Scores(mean={name: float(np.mean(values))}, per_query=per_query)


OURS = [0.9, 0.4, 0.7, 0.3, 0.8]
THEIRS = [0.5, 0.5, 0.6, 0.3, 0.2]


def test_brute_force_over_all_sign_patterns() -> None:
    differences = np.array(OURS) - np.array(THEIRS)
    observed = abs(differences.mean())
    means = [
        abs(np.mean(differences * signs)) for signs in itertools.product((1, -1), repeat=len(OURS))
    ]
    expected = np.mean([mean >= observed - 1e-12 for mean in means])
    result = compare(scores(OURS), scores(THEIRS), "m")
    assert result.p_randomisation == pytest.approx(expected)
    assert (result.won, result.tied, result.lost) == (3, 1, 1)


def test_t_test_and_interval() -> None:
    differences = np.array(OURS) - np.array(THEIRS)
    n = len(differences)
    error = differences.std(ddof=1) / np.sqrt(n)
    t = differences.mean() / error
    half = stats.t.ppf(0.975, n - 1) * error
    result = compare(scores(OURS), scores(THEIRS), "m")
    assert result.p_t_test == pytest.approx(2 * stats.t.sf(abs(t), n - 1))
    assert result.p_t_test == pytest.approx(stats.ttest_rel(OURS, THEIRS).pvalue)
    mean = differences.mean()
    assert result.interval == pytest.approx((mean - half, mean + half))
    assert result.difference == pytest.approx(mean)
    assert result.mean == pytest.approx(0.62)
    assert result.baseline_mean == pytest.approx(0.42)


def test_turned_around() -> None:
    there, back = (
        compare(scores(OURS), scores(THEIRS), "m"),
        compare(scores(THEIRS), scores(OURS), "m"),
    )
    assert back.difference == pytest.approx(-there.difference)
    assert back.p_t_test == pytest.approx(there.p_t_test)
    assert back.p_randomisation == pytest.approx(there.p_randomisation)
    assert (back.won, back.lost) == (there.lost, there.won)


def test_large_samples_agree_with_the_t_test_and_repeat_exactly() -> None:
    random = np.random.default_rng(3)
    theirs = random.uniform(0, 0.8, 400)
    ours = theirs + random.normal(0.01, 0.1, 400)
    result = compare(scores(ours), scores(theirs), "m")
    assert 0.001 < result.p_t_test < 0.2
    assert result.p_randomisation == pytest.approx(result.p_t_test, abs=0.01)
    assert result == compare(scores(ours), scores(theirs), "m")
    other = compare(scores(ours), scores(theirs), "m", seed=1)
    assert other.p_randomisation == pytest.approx(result.p_randomisation, abs=0.01)


def test_no_difference_is_rarely_significant() -> None:
    random = np.random.default_rng(5)
    found = 0
    for _ in range(200):
        ours, theirs = random.uniform(size=(2, 9))
        result = compare(scores(ours), scores(theirs), "m")
        found += result.p_randomisation < 0.05
    # The level of the test: 10 of 200 expected, standard deviation 3.
    assert 2 <= found <= 20


def test_equal_runs() -> None:
    result = compare(scores(OURS), scores(OURS), "m")
    assert (result.p_t_test, result.p_randomisation) == (1.0, 1.0)
    assert (result.difference, result.interval) == (0.0, (0.0, 0.0))
    assert (result.won, result.tied, result.lost) == (0, 5, 0)


def test_a_single_changed_query_proves_nothing() -> None:
    result = compare(scores([0.5, 0.5, 0.5, 0.9]), scores([0.5, 0.5, 0.5, 0.1]), "m")
    assert result.p_randomisation == 1.0
    assert result.p_t_test == pytest.approx(stats.ttest_1samp([0, 0, 0, 0.8], 0).pvalue)


def test_noise_of_rounding_is_a_tie() -> None:
    result = compare(scores([0.1 + 0.2, 0.5]), scores([0.3, 0.5]), "m")
    assert (result.tied, result.p_t_test) == (2, 1.0)


@pytest.mark.filterwarnings("error")
def test_the_same_gain_everywhere() -> None:
    result = compare(scores([0.75, 0.5, 1.0]), scores([0.5, 0.25, 0.75]), "m")
    assert result.p_t_test == 0.0
    assert result.interval == (0.25, 0.25)
    assert result.p_randomisation == pytest.approx(2 / 8)


def test_what_cannot_be_compared() -> None:
    with pytest.raises(DatasetError, match="different queries"):
        compare(scores(OURS), scores(OURS[:4]), "m")
    with pytest.raises(DatasetError, match="at least two"):
        compare(scores([0.5]), scores([0.6]), "m")
    with pytest.raises(DatasetError, match="n was not computed"):
        compare(scores(OURS), scores(THEIRS), "n")
