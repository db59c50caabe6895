"""Fusion against its formula in plain Python, and what must not matter: the order of the legs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparseret.errors import ConfigurationError, VectorError
from sparseret.indexers.fusion import (
    Convex,
    Fused,
    Fusion,
    Leg,
    ReciprocalRank,
    check_fusion,
    fuse,
    fusion_from_json,
)

NORMALISERS = ("min-max", "z-score", "theoretical", "distribution")
FUSIONS: list[Fusion] = [ReciprocalRank(), *(Convex(None, name) for name in NORMALISERS)]  # type: ignore[arg-type]
NAMES = [fusion.description for fusion in FUSIONS]


def leg(hits: dict[int, float], lower_bound: float | None = None) -> Leg:
    best_first = sorted(hits.items(), key=lambda hit: -hit[1])
    return Leg(
        np.array([number for number, _ in best_first], np.int64),
        np.array([score for _, score in best_first], np.float32),
        lower_bound,
    )


def values_of(fusion: Fusion, one: Leg) -> tuple[dict[int, float], float]:
    """What a leg says of each of its hits and of any other document; the formula, read aloud."""
    scores = [float(score) for score in one.scores]
    if not scores:
        return {}, 0.0
    most, least, missing = max(scores), min(scores), 0.0
    mean = math.fsum(scores) / len(scores)
    sd = math.sqrt(math.fsum((s - mean) ** 2 for s in scores) / len(scores))
    if isinstance(fusion, ReciprocalRank):
        values = [1.0 / (fusion.k + 1 + sum(t > s for t in scores)) for s in scores]
    elif fusion.normaliser == "min-max":
        values = [(s - least) / (most - least) if most > least else 1.0 for s in scores]
    elif fusion.normaliser == "theoretical":
        assert one.lower_bound is not None
        above = [s - one.lower_bound for s in scores]
        values = [value / max(above) if max(above) > 0 else 0.0 for value in above]
    elif fusion.normaliser == "z-score":
        values = [(s - mean) / sd if most > least else 0.0 for s in scores]
        missing = min(values)
    else:
        values = [
            min(max((s - mean + 3 * sd) / (6 * sd), 0.0), 1.0) if most > least else 0.5
            for s in scores
        ]
    return dict(zip(one.numbers.tolist(), values, strict=True)), missing


def reference(fusion: Fusion, legs: Sequence[Leg]) -> dict[int, list[float]]:
    """Shares of every document."""
    weights = fusion.weights or (1.0,) * len(legs)
    found = [values_of(fusion, one) for one in legs]
    documents = {
        number for (values, _), weight in zip(found, weights, strict=True) if weight
        for number in values
    }  # fmt: skip
    return {
        number: [
            weight / sum(weights) * values.get(number, missing)
            for (values, missing), weight in zip(found, weights, strict=True)
        ]
        for number in documents
    }


def check(fused: Fused, expected: dict[int, list[float]], k: int) -> None:
    n_legs = fused.shares.shape[1]
    assert fused.numbers.dtype == np.int64
    assert fused.scores.dtype == fused.shares.dtype == np.float64
    assert len(fused.numbers) == len(fused.scores) == min(k, len(expected))
    assert len(set(fused.numbers.tolist())) == len(fused.numbers)
    np.testing.assert_allclose(fused.shares.sum(1), fused.scores, rtol=1e-12, atol=1e-13)
    for number, shares in zip(fused.numbers.tolist(), fused.shares, strict=True):
        np.testing.assert_allclose(shares, expected[number], rtol=1e-9, atol=1e-7)
    order = list(zip((-fused.scores).tolist(), fused.numbers.tolist(), strict=True))
    assert order == sorted(order)
    left = set(expected) - set(fused.numbers.tolist())
    if left and n_legs:
        assert max(sum(expected[number]) for number in left) <= fused.scores[-1] + 1e-6


# Few numbers and few distinct scores make documents in common, ties and lists of equal scores.
SCORES = st.one_of(
    st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    st.floats(0.0, 50.0, width=32),
    st.sampled_from([1e-45, 3e-45, 1e-38, 3e38, 3.4e38]),
)
LEGS = st.lists(
    st.dictionaries(st.integers(0, 30), SCORES, max_size=25).map(lambda hits: leg(hits, 0.0)),
    min_size=1,
    max_size=4,
)
WEIGHTS = st.sampled_from([0.0, 0.25, 1.0, 1.0, 3.0])


@st.composite
def cases(draw: st.DrawFn) -> tuple[Fusion, list[Leg], int]:
    legs = draw(LEGS)
    weights: tuple[float, ...] | None = tuple(draw(WEIGHTS) for _ in legs)
    if not any(weights or ()):
        weights = None
    kind = draw(st.sampled_from(["rank", *NORMALISERS]))
    fusion: Fusion
    if kind == "rank":
        fusion = ReciprocalRank(weights, draw(st.sampled_from([0, 1, 60])))
    else:
        fusion = Convex(weights, kind)  # type: ignore[arg-type]
    return fusion, legs, draw(st.sampled_from([1, 3, 10, 1000]))


@settings(deadline=None, max_examples=300)
@given(cases())
def test_the_formula(case: tuple[Fusion, list[Leg], int]) -> None:
    fusion, legs, k = case
    check(fuse(fusion, legs, k), reference(fusion, legs), k)


@settings(deadline=None, max_examples=200)
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_legs_changes_only_that_of_shares(
    case: tuple[Fusion, list[Leg], int], random: Any
) -> None:
    fusion, legs, k = case
    order = list(range(len(legs)))
    random.shuffle(order)
    weights = fusion.weights and tuple(fusion.weights[i] for i in order)
    turned: Fusion
    if isinstance(fusion, ReciprocalRank):
        turned = ReciprocalRank(weights, fusion.k)
    else:
        turned = Convex(weights, fusion.normaliser)
    ours, theirs = fuse(fusion, legs, k), fuse(turned, [legs[i] for i in order], k)
    np.testing.assert_array_equal(ours.numbers, theirs.numbers)
    np.testing.assert_array_equal(ours.scores, theirs.scores)
    np.testing.assert_array_equal(ours.shares[:, order], theirs.shares)


@settings(deadline=None, max_examples=100)
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_equal_scores_within_a_leg_changes_nothing(
    case: tuple[Fusion, list[Leg], int], random: Any
) -> None:
    fusion, legs, k = case
    mixed = []
    for one in legs:
        hits = list(zip(one.numbers.tolist(), one.scores.tolist(), strict=True))
        random.shuffle(hits)
        mixed.append(leg(dict(hits), 0.0))
    for ours, theirs in zip(fuse(fusion, legs, k), fuse(fusion, mixed, k), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("fusion", FUSIONS, ids=NAMES)
@pytest.mark.parametrize("k", [1, 10, 100, 700, 5000])
def test_many_hits(fusion: Fusion, k: int) -> None:
    rng = np.random.default_rng(k)
    legs = [
        leg(dict(zip(rng.permutation(2000)[:900].tolist(), scores.tolist(), strict=True)), 0.0)
        for scores in (rng.random(900), rng.integers(0, 9, 900), rng.exponential(9.0, 900))
    ]
    check(fuse(fusion, legs, k), reference(fusion, legs), k)


def test_reciprocal_ranks_by_hand() -> None:
    fused = fuse(ReciprocalRank(), [leg({7: 3.0, 1: 2.0}), leg({1: 9.0, 4: 9.0, 2: 5.0})], 10)
    assert fused.numbers.tolist() == [1, 4, 7, 2]
    # The equal scores of the second leg share rank 1, and the next hit has rank 3.
    np.testing.assert_allclose(
        fused.shares * 2, [[1 / 62, 1 / 61], [0, 1 / 61], [1 / 61, 0], [0, 1 / 63]]
    )


@pytest.mark.parametrize(
    ("normaliser", "first", "second", "missing"),
    [
        ("min-max", [1.0, 0.5, 0.0], [1.0], 0.0),
        ("theoretical", [1.0, 0.75, 0.5], [1.0], 0.0),
        ("z-score", [math.sqrt(1.5), 0.0, -math.sqrt(1.5)], [0.0], -math.sqrt(1.5)),
        ("distribution", [0.5 + math.sqrt(1.5) / 6, 0.5, 0.5 - math.sqrt(1.5) / 6], [0.5], 0.0),
    ],
)
def test_normalisers_by_hand(
    normaliser: Any, first: list[float], second: list[float], missing: float
) -> None:
    legs = [leg({0: 4.0, 1: 3.0, 2: 2.0}, 0.0), leg({3: 8.0}, 0.0)]
    fused = fuse(Convex((1, 1), normaliser), legs, 10)
    shares = dict(zip(fused.numbers.tolist(), (2 * fused.shares).tolist(), strict=True))
    assert [shares[i][0] for i in range(3)] == pytest.approx(first)
    assert [shares[3][1]] == pytest.approx(second)
    assert shares[3][0] == pytest.approx(missing)


@pytest.mark.parametrize("fusion", FUSIONS, ids=NAMES)
def test_lists_without_hits(fusion: Fusion) -> None:
    empty, some = leg({}, 0.0), leg({5: 2.0, 3: 1.0}, 0.0)
    nothing = fuse(fusion, [empty, empty], 10)
    assert nothing.numbers.dtype == np.int64
    assert (len(nothing.numbers), nothing.scores.shape, nothing.shares.shape) == (0, (0,), (0, 2))
    fused = fuse(fusion, [empty, some], 10)
    assert fused.numbers.tolist() == [5, 3]
    assert fused.shares[:, 0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "fusion", [ReciprocalRank((0, 2)), Convex((0, 1)), Convex((0, 1), "z-score")]
)
def test_a_leg_of_weight_0_takes_no_part(fusion: Fusion) -> None:
    legs = [leg({1: 5.0, 2: 4.0}), leg({2: 3.0, 9: 1.0})]
    fused = fuse(fusion, legs, 10)
    assert fused.numbers.tolist() == [2, 9]
    assert fused.shares[:, 0].tolist() == [0.0, 0.0]


def test_equal_shares_of_other_legs_tie() -> None:
    """Added from left to right, 1/61 + 1/62 + 1/63 is not 1/63 + 1/61 + 1/62."""
    legs = [leg({5: 3.0, 3: 2.0, 4: 1.0}), leg({4: 3.0, 5: 2.0, 3: 1.0}),
            leg({3: 3.0, 4: 2.0, 5: 1.0})]  # fmt: skip
    fused = fuse(ReciprocalRank(), legs, 3)
    assert len(set(fused.scores.tolist())) == 1
    assert fused.numbers.tolist() == [3, 4, 5]


def test_doubles_out_of_all_proportion() -> None:
    for scores in ([1e300, 1e299, 1.0], [3e-323, 1e-323, 0.0], [1e300, -1e300]):
        numbers = np.arange(len(scores))
        for normaliser in ("min-max", "z-score", "distribution"):
            fused = fuse(Convex(None, normaliser), [Leg(numbers, np.array(scores))], 5)  # type: ignore[arg-type]
            assert np.isfinite(fused.scores).all()
            assert fused.numbers.tolist() == numbers.tolist()


def test_weights_are_divided_by_their_sum() -> None:
    legs = [leg({1: 5.0, 2: 4.0}), leg({2: 3.0, 9: 1.0})]
    for a, b in (((1, 3), (0.25, 0.75)), ((1e308, 1e308), (0.5, 0.5)), ((7, 7), None)):
        np.testing.assert_array_equal(
            fuse(Convex(a), legs, 9).shares, fuse(Convex(b), legs, 9).shares
        )


def test_cosines_a_little_below_their_bound() -> None:
    fused = fuse(Convex(None, "theoretical"), [leg({1: 1.0, 2: -1.000001}, -1.0)], 9)
    assert fused.scores.tolist() == [1.0, 0.0]
    at_bound = fuse(Convex(None, "theoretical"), [leg({1: 0.0, 2: 0.0}, 0.0)], 9)
    assert at_bound.scores.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "fusion", [*FUSIONS, ReciprocalRank((0.1, 0.7), 20), Convex((1, 0, 2 / 3), "z-score")]
)
def test_json_round_trip(fusion: Fusion) -> None:
    assert fusion_from_json(fusion.to_json()) == fusion
    json.loads(fusion.to_json())


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", "{}", '{"kind": "average"}', '{"kind": "convex", "k": 3}',
     '{"kind": "convex", "weights": [-1], "normaliser": "min-max"}', '{"kind": ["convex"]}'],
)  # fmt: skip
def test_other_json(text: str) -> None:
    with pytest.raises(ConfigurationError):
        fusion_from_json(text)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: ReciprocalRank(k=-1), "0 or more"),
        (lambda: ReciprocalRank(k=math.nan), "0 or more"),
        (lambda: ReciprocalRank(k="60"), "0 or more"),
        (lambda: ReciprocalRank((0.0, 0.0)), "above 0"),
        (lambda: ReciprocalRank(()), "above 0"),
        (lambda: Convex((1.0, -0.5)), "not negative"),
        (lambda: Convex((1.0, math.nan)), "not negative"),
        (lambda: Convex((1.0, math.inf)), "not negative"),
        (lambda: Convex((1.0, True)), "not negative"),
        (lambda: Convex("11"), "not negative"),
        (lambda: Convex(0.5), "one a leg"),
        (lambda: Convex(None, "minmax"), "known: min-max, z-score"),
    ],
)
def test_impossible_fusions(make: Any, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        make()


def test_fusions_that_do_not_fit() -> None:
    one = leg({1: 1.0})
    for call in (
        lambda legs: fuse(Convex((1.0, 1.0)), legs, 3),
        lambda legs: check_fusion(Convex((1.0, 1.0)), [None for _ in legs]),
    ):
        with pytest.raises(ConfigurationError, match="2 weights for 3 legs"):
            call([one] * 3)
        with pytest.raises(ConfigurationError, match="no legs"):
            call([])
    theoretical = Convex(None, "theoretical")
    with pytest.raises(ConfigurationError, match="leg 2 has no lower bound"):
        check_fusion(theoretical, [0.0, None])
    with pytest.raises(ConfigurationError, match="leg 1 has no lower bound"):
        fuse(theoretical, [one], 3)
    with pytest.raises(ConfigurationError, match=r"leg 1 has a score of -2, below its .* -1"):
        fuse(theoretical, [leg({1: 3.0, 2: -2.0}, -1.0)], 3)
    check_fusion(theoretical, [0.0, -1.0])
    check_fusion(ReciprocalRank(), [None])
    with pytest.raises(ConfigurationError, match="k must be at least 1"):
        fuse(ReciprocalRank(), [one], 0)


@pytest.mark.parametrize("fusion", FUSIONS, ids=NAMES)
@pytest.mark.parametrize(
    "scores", [[1.0, 2.0], [math.nan, 1.0], [1.0, math.nan], [math.inf, 1.0], [math.nan, math.nan],
               [math.inf, math.inf], [1.0, -math.inf], [1.0], [1.0, 1.0, 1.0]]
)  # fmt: skip
def test_impossible_scores(fusion: Fusion, scores: list[float]) -> None:
    bad = Leg(np.array([4, 2]), np.array(scores, np.float32), 0.0)
    with pytest.raises(VectorError, match="leg 2"):
        fuse(fusion, [leg({1: 1.0}, 0.0), bad], 3)
