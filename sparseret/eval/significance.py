"""Is one run better than another, or was it luck? Paired tests over the queries of a dataset.

Smucker, Allan and Carterette, "A Comparison of Statistical Significance Tests for Information
Retrieval Evaluation", CIKM 2007: the randomisation test and Student's t-test agree with one another
and are recommended; the sign test and Wilcoxon's are not.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import DatasetError
from sparseret.eval.measures import Scores

__all__ = ["Comparison", "compare"]

_TIE = 1e-9
_BATCH = 2_000_000  # values drawn at a time: bounds the memory of the test at some 50 MB


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a run does against a baseline by one measure, over the same queries.

    Attributes:
        measure: name of the measure.
        mean: mean of the run.
        baseline_mean: mean of the baseline.
        difference: mean of the differences, run minus baseline.
        interval: 95% confidence interval of ``difference``, by the t distribution.
        p_t_test: two-sided p of the paired t-test.
        p_randomisation: two-sided p of the paired randomisation test.
        won: number of queries where the run is better.
        tied: number of queries where both are the same, to within 1e-9.
        lost: number of queries where the baseline is better.
    """

    measure: str
    mean: float
    baseline_mean: float
    difference: float
    interval: tuple[float, float]
    p_t_test: float
    p_randomisation: float
    won: int
    tied: int
    lost: int


def compare(
    scores: Scores, baseline: Scores, measure: str, *, n_resamples: int = 9999, seed: int = 0
) -> Comparison:
    """Test whether two runs differ by a measure.

    With d_i the difference on query i: the t-test asks how far mean(d) lies from 0 in units of its
    standard error; the randomisation test, how often |mean(d)| is reached when each d_i changes its
    sign by the toss of a coin, which is what swapping the runs on query i would do. All sign
    patterns are tried where there are at most ``n_resamples`` (p is exact then), otherwise a random
    sample of that size. Equal runs have p = 1.

    Args:
        scores: of the run, from :func:`sparseret.eval.measures.measure`.
        baseline: of the other run, over the same queries.
        measure: name of a measure that both have.
        n_resamples: number of sign patterns.
        seed: of the random sample, so that the same runs give the same p.

    Raises:
        DatasetError: different queries, fewer than two, or a measure that one of them lacks.
    """
    from scipy import stats

    if scores.per_query.keys() != baseline.per_query.keys():
        raise DatasetError(
            "the two runs were rated on different queries; rate both against the same judgements"
        )
    if len(scores.per_query) < 2:
        raise DatasetError("a significance test needs at least two queries")
    if measure not in scores.mean or measure not in baseline.mean:
        raise DatasetError(f"{measure} was not computed for both runs")
    ours = np.array([values[measure] for values in scores.per_query.values()])
    theirs = np.array([baseline.per_query[query][measure] for query in scores.per_query])
    differences = ours - theirs
    differences[np.abs(differences) <= _TIE] = 0.0
    mean = float(differences.mean())
    if not differences.any():
        interval, p_t_test, p_randomisation = (0.0, 0.0), 1.0, 1.0
    else:
        with warnings.catch_warnings():
            # Differences that are all the same make the t statistic infinite, and p rightly 0.
            warnings.simplefilter("ignore", RuntimeWarning)
            t_test: Any = stats.ttest_1samp(differences, 0.0)
            low, high = t_test.confidence_interval(0.95)
        interval, p_t_test = (float(low), float(high)), float(t_test.pvalue)
        p_randomisation = _randomisation(differences, n_resamples, seed)
    return Comparison(
        measure=measure,
        mean=scores.mean[measure],
        baseline_mean=baseline.mean[measure],
        difference=mean,
        interval=interval,
        p_t_test=p_t_test,
        p_randomisation=p_randomisation,
        won=int((differences > 0).sum()),
        tied=int((differences == 0).sum()),
        lost=int((differences < 0).sum()),
    )


def _randomisation(differences: NDArray[np.float64], n_resamples: int, seed: int) -> float:
    from scipy import stats

    # The sign of a tie changes nothing, so ties are left out: fewer patterns, the same p.
    changed = differences[differences != 0]
    if len(changed) == 1:  # scipy wants two; both patterns reach the mean
        return 1.0
    result: Any = stats.permutation_test(
        (changed,),
        lambda sample, axis: sample.sum(axis=axis),
        permutation_type="samples",
        n_resamples=n_resamples,
        vectorized=True,
        batch=max(1, _BATCH // len(changed)),
        # Since scipy 1.15 the parameter is called rng, but the older name is still taken.
        random_state=np.random.default_rng(seed),
    )
    return float(result.pvalue)
