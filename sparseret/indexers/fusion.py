"""One ranking from those of several legs, such as BM25, learned sparse vectors and dense ones.

With ``w`` the weights, which sum to 1, the score of a document is ``sum over legs of w * v``, where
``v`` is, by the kind of fusion:

:class:`ReciprocalRank`
    ``v = 1 / (k + rank)``: Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion Outperforms
    Condorcet and Individual Rank Learning Methods", SIGIR 2009, with weights. Ranks count from 1.
    Equal scores share the rank of the first of them (1, 2, 2, 4), so the order in which a leg lists
    them means nothing. A document that the leg lacks: 0.
:class:`Convex`
    ``v`` is the leg's score, normalised over its list for that query: Bruch, Gai and Ingber, "An
    Analysis of Fusion Functions for Hybrid Retrieval", ACM TOIS 2023. With ``min``, ``max``,
    ``mean`` and ``sd`` those of the list (``sd`` with divisor n):

    =================  ==========================================  =============  ==============
    normaliser         a score ``s``                               all equal      document lacks
    =================  ==========================================  =============  ==============
    ``min-max``        ``(s - min) / (max - min)``                 1              0
    ``theoretical``    ``(s - bound) / (max - bound)``             1; 0 at bound  0
    ``z-score``        ``(s - mean) / sd``                         0              that of ``min``
    ``distribution``   ``(s - mean) / (6 sd) + 1/2``, in 0 to 1    1/2            0
    =================  ==========================================  =============  ==============

    ``bound`` is the least score that the leg could give to any document: 0 for BM25 and other
    sparse vectors without negative values, -1 for a cosine. Under ``z-score`` a document that the
    leg lacks counts as the leg's last hit, as it would hardly have come before that one.
    ``distribution`` puts mean - 3 sd at 0 and mean + 3 sd at 1, as Qdrant's distribution-based
    score fusion does.

A leg of weight 0 takes no part: a document that no other leg found is no hit. A leg without hits
adds 0 to every document.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import ConfigurationError, VectorError

__all__ = [
    "Convex",
    "Fused",
    "Fusion",
    "Leg",
    "Normaliser",
    "ReciprocalRank",
    "check_fusion",
    "contributions",
    "fuse",
    "fusion_from_json",
    "total",
    "unit_weights",
]

Normaliser: TypeAlias = Literal["min-max", "z-score", "theoretical", "distribution"]
"""How the scores of a list become comparable with those of another."""

_ALL_EQUAL: dict[Normaliser, float] = {"min-max": 1.0, "z-score": 0.0, "distribution": 0.5}
"""What hits are worth in a list whose scores are all the same."""

_FEW = 400
"""Up to here sorting all costs less than finding the best first."""

_BOUND_TOLERANCE = 1e-5
"""What rounding may put a score below its leg's bound, as it does with cosines."""


class Leg(NamedTuple):
    """What one leg found for one query."""

    numbers: NDArray[np.int64]
    """Document numbers, distinct, best first, shape (n,)."""
    scores: NDArray[np.floating[Any]]
    """Parallel to ``numbers``, finite, never rising."""
    lower_bound: float | None = None
    """The least score that the leg could give to any document; None where there is none."""


class Fused(NamedTuple):
    """The best documents of all legs together: higher score first, then smaller number."""

    numbers: NDArray[np.int64]
    """Document numbers, shape (n,)."""
    scores: NDArray[np.float64]
    """Parallel to ``numbers``."""
    shares: NDArray[np.float64]
    """What each leg adds to each score, shape (n, legs); a row sums to its score, to within
    rounding."""


@dataclass(frozen=True, slots=True)
class ReciprocalRank:
    """Weighted reciprocal rank fusion: ``sum over legs of w / (k + rank)``.

    Attributes:
        weights: one a leg, not negative, not all 0; divided by their sum. None: equal ones.
        k: a larger one makes first ranks matter less; 60 in the paper, whose weights are all 1,
            which gives the same order as equal ones that sum to 1.

    Raises:
        ConfigurationError: weights or k out of range.
    """

    weights: tuple[float, ...] | None = None
    k: float = 60.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", _checked_weights(self.weights))
        if not _is_number(self.k) or not 0.0 <= self.k < math.inf:
            raise ConfigurationError(f"k of reciprocal ranks must be 0 or more, got {self.k!r}")
        object.__setattr__(self, "k", float(self.k))

    @property
    def description(self) -> str:
        """In words, such as "reciprocal rank (k=60), weights 0.3, 0.7" or "..., equal"."""
        return f"reciprocal rank (k={self.k:g}), {_described(self.weights)}"

    def to_json(self) -> str:
        """For the catalog; :func:`fusion_from_json` reads it."""
        return json.dumps({"kind": "reciprocal-rank", "weights": self.weights, "k": self.k})


@dataclass(frozen=True, slots=True)
class Convex:
    """Convex combination of normalised scores: ``sum over legs of w * normalised(s)``.

    Attributes:
        weights: one a leg, not negative, not all 0; divided by their sum. None: equal ones.
        normaliser: ``min-max``, ``z-score``, ``theoretical`` (every leg needs a lower bound) or
            ``distribution``.

    Raises:
        ConfigurationError: weights out of range, or an unknown normaliser.
    """

    weights: tuple[float, ...] | None = None
    normaliser: Normaliser = "min-max"

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", _checked_weights(self.weights))
        if self.normaliser not in get_args(Normaliser):
            raise ConfigurationError(
                f"unknown normaliser {self.normaliser!r}; known: {', '.join(get_args(Normaliser))}"
            )

    @property
    def description(self) -> str:
        """In words, such as "convex (min-max), weights 0.3, 0.7"."""
        return f"convex ({self.normaliser}), {_described(self.weights)}"

    def to_json(self) -> str:
        """For the catalog; :func:`fusion_from_json` reads it."""
        return json.dumps(
            {"kind": "convex", "weights": self.weights, "normaliser": self.normaliser}
        )


Fusion: TypeAlias = ReciprocalRank | Convex
"""How rankings become one."""


def fusion_from_json(text: str) -> Fusion:
    """What ``to_json`` wrote.

    Raises:
        ConfigurationError: anything else.
    """
    kinds: dict[str, type[ReciprocalRank] | type[Convex]]
    kinds = {"reciprocal-rank": ReciprocalRank, "convex": Convex}
    try:
        options = json.loads(text)
        kind = kinds[options.pop("kind")]
        return kind(**options)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"no fusion is written as {text!r} ({error})") from error


def check_fusion(fusion: Fusion, lower_bounds: Sequence[float | None]) -> None:
    """Refuse a fusion that does not fit its legs, before anything is searched.

    Args:
        fusion: how rankings become one.
        lower_bounds: of each leg: its :attr:`Leg.lower_bound`.

    Raises:
        ConfigurationError: no leg, another number of weights, or a leg without the lower bound that
            the theoretical normaliser needs.
    """
    _check_number_of_legs(fusion, len(lower_bounds))
    if isinstance(fusion, Convex) and fusion.normaliser == "theoretical":
        for i, bound in enumerate(lower_bounds):
            _check_bound(i, bound)


def fuse(fusion: Fusion, legs: Sequence[Leg], k: int) -> Fused:
    """The best k documents of all legs together, for one query.

    Equal scores come in the order of numbers, which is that of insertion. The order of the legs
    changes nothing but the columns of the shares.

    Raises:
        ConfigurationError: as :func:`check_fusion`; ``k`` below 1; scores below the lower bound
            that the theoretical normaliser relies on.
        VectorError: numbers and scores of different lengths; scores that rise or are not finite.
    """
    if k < 1:
        raise ConfigurationError(f"k must be at least 1, got {k}")
    weights = unit_weights(fusion, len(legs))
    parts = [i for i, weight in enumerate(weights) if weight and len(legs[i].numbers)]
    if not parts:
        return Fused(np.empty(0, np.int64), np.empty(0), np.empty((0, len(legs))))
    found = [contributions(fusion, legs[i], i) for i in parts]
    listed = np.concatenate([legs[i].numbers for i in parts])
    order = listed.argsort()
    in_order = listed[order]
    first = np.ones(len(listed), np.bool_)
    np.not_equal(in_order[1:], in_order[:-1], out=first[1:])
    numbers = in_order[first]
    row = np.empty(len(listed), np.int64)
    row[order] = np.add.accumulate(first, dtype=np.int64)
    row -= 1
    shares = np.zeros((len(legs), len(numbers)))
    begin = 0
    for i, (values, missing) in zip(parts, found, strict=True):
        if missing:
            shares[i] = weights[i] * missing
        values *= weights[i]
        shares[i][row[begin : begin + len(values)]] = values
        begin += len(values)
    scores = total([shares[i] for i in parts])
    best = _best(scores, k)
    return Fused(numbers[best], scores[best], shares.take(best, axis=1).T)


def contributions(fusion: Fusion, leg: Leg, place: int) -> tuple[NDArray[np.float64], float]:
    """What a leg says of documents, before weights: the ``v`` of the module's formula.

    Args:
        fusion: how rankings become one; its weights are not used.
        leg: with at least one hit.
        place: of the leg among the legs, from 0, for messages.

    Returns:
        Values of the leg's hits, float64, shape (n,), and that of any document it lacks.

    Raises:
        ConfigurationError: the theoretical normaliser, without a bound or with scores below it.
        VectorError: numbers and scores of different lengths; scores that rise or are not finite.
    """
    scores: NDArray[np.float64] = leg.scores.astype(np.float64)
    _check_scores(scores, len(leg.numbers), place)
    if isinstance(fusion, ReciprocalRank):
        return np.reciprocal(fusion.k + _ranks(scores)), 0.0
    if fusion.normaliser == "theoretical":
        return _above_bound(scores, leg.lower_bound, place), 0.0
    most, least = float(scores[0]), float(scores[-1])
    if most == least:
        return np.full(len(scores), _ALL_EQUAL[fusion.normaliser]), 0.0
    scores -= least
    scores /= most - least
    if fusion.normaliser == "min-max":
        return scores, 0.0
    # These two are the same of scores in 0 to 1, where no square overflows or vanishes.
    scores -= np.add.reduce(scores) / len(scores)
    sd = math.sqrt(float(scores @ scores) / len(scores))
    if fusion.normaliser == "z-score":
        scores /= sd
        return scores, float(scores[-1])
    scores /= 6.0 * sd
    scores += 0.5
    if scores[0] > 1.0 or scores[-1] < 0.0:
        np.clip(scores, 0.0, 1.0, out=scores)
    return scores, 0.0


def unit_weights(fusion: Fusion, n_legs: int) -> list[float]:
    """The weights of the legs, divided by their sum.

    Raises:
        ConfigurationError: no leg, or another number of weights.
    """
    _check_number_of_legs(fusion, n_legs)
    if fusion.weights is None:
        return [1.0 / n_legs] * n_legs
    # Divided by the largest first, as the sum of large ones might overflow.
    most = max(fusion.weights)
    scaled = [weight / most for weight in fusion.weights]
    return [weight / math.fsum(scaled) for weight in scaled]


def total(shares: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Sum of arrays of one shape, elementwise, whose last digit the order of arrays cannot change.

    At each place the values are added from the least to the largest. Without that, documents whose
    shares are the same but of other legs would differ by rounding, and not tie.
    """
    ascending = list(shares)
    if len(ascending) > 2:  # a + b is b + a
        for end in range(len(ascending) - 1, 0, -1):
            for i in range(end):
                low, high = ascending[i], ascending[i + 1]
                ascending[i], ascending[i + 1] = np.minimum(low, high), np.maximum(low, high)
    added = ascending[0].copy()
    for values in ascending[1:]:
        added += values
    return added


def _best(scores: NDArray[np.float64], k: int) -> NDArray[np.intp]:
    """Places of the k largest, larger first, then earlier."""
    if k >= len(scores) or len(scores) <= _FEW:
        return (-scores).argsort(kind="stable")[:k]
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    candidates = np.flatnonzero(scores >= least)
    return candidates[(-scores[candidates]).argsort(kind="stable")[:k]]


def _ranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 + the number of higher scores, for scores that never rise."""
    ranks = np.arange(1.0, len(scores) + 1.0)
    ranks[1:][scores[1:] == scores[:-1]] = 1.0
    shared: NDArray[np.float64] = np.maximum.accumulate(ranks)
    return shared


def _above_bound(
    scores: NDArray[np.float64], given: float | None, place: int
) -> NDArray[np.float64]:
    bound = _check_bound(place, given)
    if scores[-1] < bound - _BOUND_TOLERANCE * max(1.0, abs(bound)):
        raise ConfigurationError(
            f"leg {place + 1} has a score of {scores[-1]:g}, below its lower bound {bound:g}; "
            "declare the least score that it can give, or take another normaliser"
        )
    above: NDArray[np.float64] = np.maximum(scores - bound, 0.0)
    return above / above[0] if above[0] > 0.0 else above


def _check_bound(place: int, bound: float | None) -> float:
    if bound is None or not math.isfinite(bound):
        raise ConfigurationError(
            f"leg {place + 1} has no lower bound of its scores, which the theoretical normaliser "
            "needs (0 for BM25, -1 for a cosine); declare it, or take another normaliser"
        )
    return bound


def _check_scores(scores: NDArray[np.float64], n_numbers: int, place: int) -> None:
    if scores.shape != (n_numbers,):
        raise VectorError(
            f"leg {place + 1} has {n_numbers} document numbers, but scores of shape {scores.shape}"
        )
    falls = np.logical_and.reduce(scores[1:] <= scores[:-1])
    # Of scores that never rise, the first and the last tell of all: a NaN is not <= anything.
    if not (falls and math.isfinite(float(scores[0]) - float(scores[-1]))):
        raise VectorError(
            f"the scores of leg {place + 1} must be finite and never rise; sort its hits by score"
        )


def _check_number_of_legs(fusion: Fusion, n_legs: int) -> None:
    if not n_legs:
        raise ConfigurationError("there are no legs to fuse; give at least one")
    if fusion.weights is not None and len(fusion.weights) != n_legs:
        raise ConfigurationError(
            f"{len(fusion.weights)} weights for {n_legs} legs; give one a leg, or none at all"
        )


def _checked_weights(weights: object) -> tuple[float, ...] | None:
    if weights is None:
        return None
    if not isinstance(weights, Iterable):
        raise ConfigurationError(f"weights must be numbers, one a leg, got {weights!r}")
    given = tuple(weights)
    for weight in given:
        if not _is_number(weight) or not 0.0 <= weight < math.inf:
            raise ConfigurationError(f"weights must be finite and not negative, got {weight!r}")
    if not any(given):
        raise ConfigurationError(f"at least one weight must be above 0, got {given}")
    return tuple(float(weight) for weight in given)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _described(weights: tuple[float, ...] | None) -> str:
    if weights is None:
        return "equal"
    return f"weights {', '.join(f'{weight:g}' for weight in weights)}"
