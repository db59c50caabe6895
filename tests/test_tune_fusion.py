"""Tuning a fusion: ratings equal ir_measures', and what is reported was not chosen by itself."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sparseret.cli.app import app
from sparseret.errors import ConfigurationError, DatasetError, SparseretError
from sparseret.eval.fusion_candidates import grid, neighbours, refinements
from sparseret.eval.fusion_lists import fused_run, leg_lists
from sparseret.eval.fusion_rating import FusionRatings
from sparseret.eval.measures import measure, required_depth
from sparseret.eval.runs import RankedDocument, write_run
from sparseret.eval.tune_fusion import TunedFusion, tune_fusion
from sparseret.indexers.fusion import Convex, ReciprocalRank, fusion_from_json

Rankings = dict[str, list[RankedDocument]]


def rankings(queries: list[str], scores: np.ndarray, depth: int) -> Rankings:
    run = {}
    for query, row in zip(queries, scores, strict=True):
        best = np.argsort(-row, kind="stable")[:depth]
        run[query] = [RankedDocument(f"d{place}", float(row[place])) for place in best]
    return run


def collection(
    n_queries: int = 40, n_documents: int = 60, seed: int = 0
) -> tuple[dict[str, Rankings], dict[str, dict[str, int]]]:
    """A good run, a middling one and noise; the middling one has many ties."""
    rng = np.random.default_rng(seed)
    queries = [f"q{i}" for i in range(n_queries)]
    gains = rng.choice([-1, 0, 0, 0, 0, 0, 0, 1, 2], (n_queries, n_documents))
    good = gains + rng.normal(0, 1.0, gains.shape) + 9.0
    middling = np.round(gains + rng.normal(0, 2.0, gains.shape)) + 12.0
    runs = {
        "good": rankings(queries, good, 30),
        "middling": rankings(queries, middling, 20),
        "noise": rankings(queries, rng.random(gains.shape), 25),
    }
    qrels = {
        query: {f"d{place}": int(row[place]) for place in np.flatnonzero(row)}
        for query, row in zip(queries, gains, strict=True)
    }
    return runs, qrels


BOUNDS = {"good": 0.0, "middling": 0.0, "noise": 0.0}


@pytest.mark.parametrize("legs", [2, 3])
@pytest.mark.parametrize("name", ["nDCG@10", "nDCG@3", "MRR@10"])
def test_ratings_are_those_of_ir_measures(legs: int, name: str) -> None:
    runs, qrels = collection(15)
    runs = dict(list(runs.items())[:legs])
    del runs["good"]["q3"]  # a query that one run lacks, one that all lack, one without relevance
    for run in runs.values():
        run.pop("q4", None)
    qrels["q5"] = dict.fromkeys(qrels["q5"], 0)
    lists = leg_lists(runs, qrels, dict.fromkeys(runs, 0.0))
    kinds = grid(legs, bounded=True)
    every = 1 if name == "nDCG@10" else 7
    fusions = [fusion for kind in kinds for fusion in kind][::every]
    rated = FusionRatings(lists, qrels, name).rate([*fusions, ReciprocalRank()])
    for fusion, values in zip([*fusions, ReciprocalRank()], rated, strict=True):
        run = fused_run(dict.fromkeys(qrels, fusion), lists, required_depth([name]))
        expected = measure(run, qrels, [name]).per_query
        assert values == pytest.approx([expected[query][name] for query in qrels], abs=1e-12)


@pytest.mark.parametrize(("legs", "mixed"), [(2, 9), (3, 18), (4, 31), (5, 65)])
def test_the_grid(legs: int, mixed: int) -> None:
    *kinds, alone = grid(legs, bounded=False)
    assert [len(kind) for kind in kinds] == [mixed] * 7
    assert len(grid(legs, bounded=True)) == 9
    assert sorted(fusion.weights or () for fusion in alone) == [
        tuple(float(i == leg) for i in range(legs)) for leg in reversed(range(legs))
    ]
    for kind in kinds:
        assert len(set(kind)) == len(kind)
        assert all(math.isclose(sum(fusion.weights or ()), 1.0) for fusion in kind)
    assert kinds[0][0].weights is not None
    if legs in (2, 4):  # equal weights are on the grid, and come first
        assert set(kinds[0][0].weights) == {1.0 / legs}


def test_refinement() -> None:
    assert list(refinements(2)) == [0.05]
    assert list(refinements(3)) == [0.1, 0.05]
    near = neighbours(Convex((0.3, 0.7), "z-score"), 0.05)
    assert near == [Convex((0.25, 0.75), "z-score"), Convex((0.35, 0.65), "z-score")]
    assert neighbours(Convex((1.0, 0.0)), 0.05) == [Convex((0.95, 0.05))]


def tuned(**options: Any) -> TunedFusion:
    runs, qrels = collection()
    return tune_fusion(runs, qrels, **{"lower_bounds": BOUNDS, **options})


def test_what_is_useful_gets_the_weight() -> None:
    found = tuned()
    weights = dict(zip(found.legs, found.fusion.weights or (), strict=True))
    assert weights["good"] > weights["middling"] > weights["noise"]
    assert found.best_leg.name == "good"
    assert found.scores.mean["nDCG@10"] > found.best_leg.scores.mean["nDCG@10"]
    rrf, min_max = found.untuned
    assert (rrf.name, min_max.name) == (ReciprocalRank().description, Convex().description)
    assert rrf.comparison.difference > 0
    assert rrf.comparison.p_randomisation < 0.05
    # What was chosen on all queries does best on them.
    assert found.in_sample >= found.scores.mean["nDCG@10"] - 1e-12


def test_the_folds_are_the_queries() -> None:
    found = tuned(n_folds=7)
    _, qrels = collection()
    assert len(found.folds) == 7
    assert sorted(query for fold in found.folds for query in fold.queries) == sorted(qrels)
    sizes = [len(fold.queries) for fold in found.folds]
    assert max(sizes) - min(sizes) <= 1
    for fold in found.folds:
        values = [found.scores.per_query[query]["nDCG@10"] for query in fold.queries]
        assert np.mean(values) == pytest.approx(fold.mean)


def test_a_fold_is_rated_by_what_was_chosen_without_it() -> None:
    runs, qrels = collection()
    found = tune_fusion(runs, qrels)
    held_out = found.folds[2].queries
    # Judgements that make noise the best run, in this fold alone.
    for query in held_out:
        qrels[query] = {document.id: 3 for document in runs["noise"][query][:5]}
    again = tune_fusion(runs, qrels)
    assert again.folds[2].queries == held_out
    assert again.folds[2].fusion == found.folds[2].fusion
    assert again.folds[2].chosen_at == found.folds[2].chosen_at
    assert again.folds[2].mean < found.folds[2].mean
    lists = leg_lists(runs, qrels)
    run = fused_run(dict.fromkeys(held_out, found.folds[2].fusion), lists, 100)
    expected = measure(run, {query: qrels[query] for query in held_out}, ["nDCG@10"])
    for query in held_out:
        assert again.scores.per_query[query] == pytest.approx(expected.per_query[query])


def test_same_input_same_output() -> None:
    assert tuned() == tuned()
    assert tuned(seed=1).folds != tuned().folds


def test_the_order_of_runs_changes_only_that_of_weights() -> None:
    runs, qrels = collection()
    forth = tune_fusion(runs, qrels, lower_bounds=BOUNDS)
    back = tune_fusion(dict(reversed(runs.items())), qrels, lower_bounds=BOUNDS)
    assert forth.in_sample == pytest.approx(back.in_sample, abs=0.01)
    lists = leg_lists(runs, qrels), leg_lists(dict(reversed(runs.items())), qrels)
    assert fused_run({"q0": ReciprocalRank()}, lists[0], 50) == fused_run(
        {"q0": ReciprocalRank()}, lists[1], 50
    )


def test_the_theoretical_normaliser_needs_all_bounds() -> None:
    runs, qrels = collection(10)
    steps: list[tuple[int, int]] = []
    tune_fusion(runs, qrels, lower_bounds={"good": 0.0},
                progress=lambda *done: steps.append(done))  # fmt: skip
    assert steps[0] == (0, 8)
    assert steps[-1] == (8, 8)
    tune_fusion(runs, qrels, lower_bounds=BOUNDS, progress=lambda *done: steps.append(done))
    assert steps[-1] == (9, 9)


def test_json() -> None:
    found = tuned()
    data = json.loads(json.dumps(found.to_json()))
    assert fusion_from_json(json.dumps(data["fusion"])) == found.fusion
    assert data["legs"] == ["good", "middling", "noise"]
    assert [leg["name"] for leg in data["alone"]] == data["legs"]
    assert np.mean(list(data["per_query"].values())) == pytest.approx(data["out_of_fold"])
    assert data["alone"][0]["p_randomisation"] == found.alone[0].comparison.p_randomisation


def test_errors() -> None:
    runs, qrels = collection(8)
    good = runs["good"]

    def refused(error: type[SparseretError], match: str, *changed: Any, **options: Any) -> None:
        with pytest.raises(error, match=match):
            tune_fusion(*(changed or (runs, qrels)), **options)

    refused(ConfigurationError, "two runs or more, got 1", {"a": good}, qrels)
    refused(ConfigurationError, "1 folds of 8", n_folds=1)
    refused(ConfigurationError, "9 folds of 8 queries", n_folds=9)
    refused(ConfigurationError, "nonsense", measure_name="nonsense")
    refused(ConfigurationError, "'bm25', but the runs are", lower_bounds={"bm25": 0.0})
    refused(ConfigurationError, "must be finite", lower_bounds={"good": math.nan})
    refused(ConfigurationError, "leg 1 .* below its lower bound 99",
            lower_bounds={**BOUNDS, "good": 99.0})  # fmt: skip
    refused(DatasetError, "no judgements", runs, {})
    refused(DatasetError, "'b' has results for none of the 8 judged", {"a": good, "b": {}}, qrels)
    one, two = good["q1"][:2]
    for ranking, match in (
        ([one, one], "'b' has a document twice for query 'q1'"),
        ([two, one], "'b' for query 'q1' rise"),
        ([one, RankedDocument("x", math.nan)], "not finite"),
    ):
        refused(DatasetError, match, {"a": good, "b": {"q1": ranking}}, qrels)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    runs, qrels = collection(20)
    dataset = tmp_path / "mine"
    (dataset / "qrels").mkdir(parents=True)
    for split in ("test", "dev"):
        rows = [f"{q}\t{d}\t{gain}" for q, judged in qrels.items() for d, gain in judged.items()]
        (dataset / "qrels" / f"{split}.tsv").write_text("\n".join(rows) + "\n")
    lines = [json.dumps({"_id": query, "text": "words"}) for query in qrels]
    (dataset / "queries.jsonl").write_text("\n".join(lines) + "\n")
    lines = [json.dumps({"_id": f"d{i}", "text": "words"}) for i in range(60)]
    (dataset / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    for name, run in runs.items():
        write_run(tmp_path / f"{name}.run", run)
    return tmp_path


def run_cli(folder: Path, *arguments: str) -> Any:
    legs = [f"--run={name}={folder / name}.run" for name in ("good", "middling")]
    return CliRunner().invoke(
        app, ["tune", "--fusion", str(folder / "mine"), *legs, *arguments], env={"COLUMNS": "200"}
    )


def test_command(folder: Path) -> None:
    report = folder / "report.json"
    result = run_cli(folder, "--lower-bound", "good=0", "--lower-bound", "middling=0", "--split",
                     "dev", "--folds", "4", "-m", "nDCG@5", "--json", str(report))  # fmt: skip
    assert result.exit_code == 0, result.output
    data = json.loads(report.read_text())
    assert (data["dataset"], data["split"], data["measure"]) == ("mine", "dev", "nDCG@5")
    assert len(data["folds"]) == 4
    assert "mine (dev): good, middling" in result.stdout
    assert f"nDCG@5: {data['out_of_fold']:.4f} on queries it was not chosen by" in result.stdout
    assert "good (best leg)" in result.stdout
    assert "…" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--run", "middling=again.run"], "occurs twice"),
        (["--run", "noise"], "expected NAME=VALUE"),
        (["--lower-bound", "good=low"], "not a number"),
        (["--folds", "1"], "--folds"),
        (["--threads", "2"], "no effect on --fusion"),
        (["some.idx"], "give an index or runs, not both"),
    ],
)
def test_wrong_usage(folder: Path, arguments: list[str], reason: str) -> None:
    result = run_cli(folder, *arguments)
    assert result.exit_code == 2
    assert reason in result.output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--run", "a=b"], "go with --fusion"),
        (["some.idx", "--folds", "5"], "go with --fusion"),
        ([], "give the folder of an index"),
        (["--fusion", "cranfield", "--run", "a=b"], "twice or more"),
    ],
)
def test_wrong_usage_without_runs(arguments: list[str], reason: str) -> None:
    result = CliRunner().invoke(app, ["tune", *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert reason in result.output
