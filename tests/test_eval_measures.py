from __future__ import annotations

import math

import pytest

from sparseret.errors import ConfigurationError, DatasetError
from sparseret.eval.measures import DEFAULT_MEASURES, measure, required_depth
from sparseret.eval.runs import RankedDocument, Run


def ranking(*ids: str) -> list[RankedDocument]:
    return [RankedDocument(document, 10.0 - rank) for rank, document in enumerate(ids)]


QRELS = {
    "q1": {"a": 3, "b": 2, "c": 1, "z": 0},
    "q2": {"d": 1, "e": 1},
}
RUN: Run = {
    "q1": ranking("x", "b", "z", "a"),
    "q2": ranking("d"),
}


def dcg(*gains: int) -> float:
    """Järvelin and Kekäläinen, TOIS 2002, with trec_eval's discount: gain / log2(rank + 1)."""
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def test_values_by_hand() -> None:
    scores = measure(RUN, QRELS, ["nDCG@10", "nDCG@2", "Recall@100", "R@2", "MRR@10", "MAP"])
    first, second = scores.per_query["q1"], scores.per_query["q2"]
    assert first["nDCG@10"] == pytest.approx(dcg(0, 2, 0, 3) / dcg(3, 2, 1), abs=1e-9)
    assert first["nDCG@2"] == pytest.approx(dcg(0, 2) / dcg(3, 2), abs=1e-9)
    assert first["Recall@100"] == pytest.approx(2 / 3)
    assert first["R@2"] == pytest.approx(1 / 3)
    assert first["MRR@10"] == pytest.approx(1 / 2)
    assert first["MAP"] == pytest.approx((1 / 2 + 2 / 4) / 3)
    assert second["nDCG@10"] == pytest.approx(dcg(1) / dcg(1, 1), abs=1e-9)
    assert second["Recall@100"] == pytest.approx(1 / 2)
    assert second["MRR@10"] == pytest.approx(1)
    assert second["MAP"] == pytest.approx(1 / 2)
    for name, mean in scores.mean.items():
        assert mean == pytest.approx((first[name] + second[name]) / 2)


def test_cutoff_of_mrr() -> None:
    run = {"q1": ranking("x1", "x2", "a")}
    scores = measure(run, {"q1": {"a": 1}}, ["MRR@2", "MRR@3", "RR", "RR@3"])
    assert scores.mean == pytest.approx({"MRR@2": 0, "MRR@3": 1 / 3, "RR": 1 / 3, "RR@3": 1 / 3})


def test_names_are_kept_as_they_were_given() -> None:
    scores = measure(RUN, QRELS, ["Recall@100", "R@100", "AP", "MAP"])
    assert list(scores.mean) == ["Recall@100", "R@100", "AP", "MAP"]
    assert scores.mean["Recall@100"] == scores.mean["R@100"]
    assert scores.mean["AP"] == scores.mean["MAP"]
    assert list(scores.per_query["q2"]) == ["Recall@100", "R@100", "AP", "MAP"]


def test_options() -> None:
    scores = measure(RUN, QRELS, ["P(rel=2)@4", "P@4", "nDCG(gains={3:0})@10"])
    assert scores.per_query["q1"]["P@4"] == pytest.approx(2 / 4)
    assert scores.per_query["q2"]["P(rel=2)@4"] == 0
    ideal = dcg(2, 1, 0)
    assert scores.per_query["q1"]["nDCG(gains={3:0})@10"] == pytest.approx(dcg(0, 2) / ideal)


@pytest.mark.parametrize("ids", [("a", "b"), ("b", "a")])
def test_ties_are_broken_in_the_order_of_the_run(ids: tuple[str, str]) -> None:
    # trec_eval would put b first both times, as it sorts equal scores by id.
    run = {"q": [RankedDocument(document, 1.0) for document in ids]}
    scores = measure(run, {"q": {"a": 1}}, ["RR", "MRR@10", "nDCG@10", "MAP"])
    expected = 1.0 if ids[0] == "a" else 0.5
    assert scores.mean["RR"] == scores.mean["MRR@10"] == scores.mean["MAP"] == expected
    assert scores.mean["nDCG@10"] == pytest.approx(dcg(*(int(x == "a") for x in ids)))


def test_scores_may_be_negative_or_zero() -> None:
    run = {"q": [RankedDocument("x", 0.0), RankedDocument("a", -5.0)]}
    assert measure(run, {"q": {"a": 1}}, ["RR"]).mean["RR"] == 0.5


@pytest.mark.parametrize("missing", [{}, {"q2": []}])
def test_a_query_without_results_counts_as_zero(missing: Run) -> None:
    scores = measure({"q1": RUN["q1"], **missing}, QRELS)
    assert scores.per_query["q2"] == dict.fromkeys(DEFAULT_MEASURES, 0)
    for name in DEFAULT_MEASURES:
        assert scores.mean[name] == pytest.approx(scores.per_query["q1"][name] / 2)


def test_a_query_without_relevant_documents_counts_as_zero() -> None:
    scores = measure({"q1": RUN["q1"], "q3": ranking("a")}, {"q1": QRELS["q1"], "q3": {"a": 0}})
    assert scores.per_query["q3"] == dict.fromkeys(DEFAULT_MEASURES, 0)
    assert scores.mean["MAP"] == pytest.approx(scores.per_query["q1"]["MAP"] / 2)


def test_queries_that_nobody_judged_are_ignored() -> None:
    assert measure({**RUN, "q9": ranking("a")}, QRELS) == measure(RUN, QRELS)


def test_empty_run() -> None:
    scores = measure({}, QRELS)
    assert scores.mean == dict.fromkeys(DEFAULT_MEASURES, 0)
    assert list(scores.per_query) == ["q1", "q2"]


def test_more_documents_than_float32_could_number() -> None:
    ids = [f"d{n}" for n in range(5000)]
    scores = measure({"q": ranking(*ids)}, {"q": {"d4321": 1}}, ["RR"])
    assert scores.mean["RR"] == pytest.approx(1 / 4322)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ndgc@10", "unknown measure 'ndgc@10'; did you mean nDCG"),
        ("Recal@5", "did you mean Recall"),
        ("xyzzy", "known: AP,"),
        ("nDCG@", "is no measure"),
        ("nDCG @ 10", "is no measure"),
        ("", "is no measure"),
        ("P(5)", "name=value"),
        ("P(relevance=2)@5", "relevance"),
        ("P@five", "is no measure"),
        ("P@1.5", "cutoff"),
        ("P", "cutoff"),
        ("P(rel=)@5", "P"),
        ("P(rel=__import__)@5", "P"),
        ("RBP(p=0.8)", "provider"),
    ],
)
def test_measures_that_do_not_exist(name: str, reason: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        measure(RUN, QRELS, [name])
    assert reason in str(error.value)


def test_nothing_to_measure() -> None:
    with pytest.raises(ConfigurationError, match="no measures"):
        measure(RUN, QRELS, [])
    with pytest.raises(DatasetError, match="no judgements"):
        measure(RUN, {})


def test_depth() -> None:
    assert required_depth(["nDCG@10"]) == 100
    assert required_depth(["nDCG@10", "Recall@500"]) == 500
    assert required_depth(["AP@20"]) == 100
    assert required_depth(DEFAULT_MEASURES) == 1000
    assert required_depth(["MAP", "Recall@5000"]) == 5000
    assert required_depth(["MAP", "Recall@50"], k=50) == 50
    with pytest.raises(ConfigurationError, match="Recall@50 looks at 50 results, but k is 49"):
        required_depth(["MAP", "Recall@50"], k=49)
