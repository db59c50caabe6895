"""The fusion of several runs that suits a dataset, and an honest account of how good it is.

The fusion is the best of many (:mod:`sparseret.eval.fusion_candidates`) on the judged queries, so
its value on these queries flatters it. What it is worth on others is told by cross-validation: the
queries are cut into folds; for each fold a fusion is chosen on all others, grid and refinement
included, and rated on the fold. The values of all folds together are compared with those of each
run by itself, and of fusions that nobody tuned.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import ConfigurationError
from sparseret.eval.datasets import Qrels
from sparseret.eval.fusion_candidates import grid, neighbours, refinements
from sparseret.eval.fusion_lists import fused_run, leg_lists
from sparseret.eval.fusion_rating import FusionRatings
from sparseret.eval.measures import Scores, measure, required_depth
from sparseret.eval.runs import Run
from sparseret.eval.significance import Comparison, compare
from sparseret.indexers.fusion import Convex, Fusion, ReciprocalRank

__all__ = ["Baseline", "Fold", "TunedFusion", "tune_fusion"]


class Fold(NamedTuple):
    """A part of the queries, and what was chosen without them."""

    fusion: Fusion
    """The best on the queries of all other folds."""
    chosen_at: float
    """Its mean there."""
    queries: list[str]
    """Ids of the queries of this fold."""
    mean: float
    """Its mean here."""


class Baseline(NamedTuple):
    """Something to do better than."""

    name: str
    """Of a leg, or description of a fusion that nobody tuned."""
    scores: Scores
    comparison: Comparison
    """Of the tuned fusion, out of fold, with this."""


class TunedFusion(NamedTuple):
    """A fusion, and how good choosing it is."""

    fusion: Fusion
    """The best on all queries: the one to use; weights in the order of ``legs``."""
    legs: list[str]
    """Names of the runs."""
    measure: str
    """By which it was chosen."""
    in_sample: float
    """Mean of ``fusion`` over the queries it was chosen on: too good."""
    scores: Scores
    """Out of fold: each query by the fusion that was chosen without it."""
    folds: list[Fold]
    alone: list[Baseline]
    """Each leg by itself, in the order of ``legs``."""
    untuned: list[Baseline]
    """Reciprocal ranks with k = 60, and the min-max combination, with equal weights."""

    @property
    def best_leg(self) -> Baseline:
        """The leg of the largest mean over all queries; the first of equal ones."""
        return max(self.alone, key=lambda leg: leg.scores.mean[self.measure])

    def to_json(self) -> dict[str, Any]:
        """For a report in JSON; ``fusion`` is as the catalog of an index keeps it."""
        return {
            "measure": self.measure,
            "legs": self.legs,
            "fusion": json.loads(self.fusion.to_json()),
            "in_sample": self.in_sample,
            "out_of_fold": self.scores.mean[self.measure],
            "folds": [
                {
                    "fusion": json.loads(fold.fusion.to_json()),
                    "chosen_at": fold.chosen_at,
                    "mean": fold.mean,
                    "queries": fold.queries,
                }
                for fold in self.folds
            ],
            "best_leg": self.best_leg.name,
            "alone": [_to_json(baseline) for baseline in self.alone],
            "untuned": [_to_json(baseline) for baseline in self.untuned],
            "per_query": {
                query: values[self.measure] for query, values in self.scores.per_query.items()
            },
        }


def tune_fusion(
    runs: Mapping[str, Run],
    qrels: Qrels,
    *,
    measure_name: str = "nDCG@10",
    n_folds: int = 5,
    seed: int = 0,
    lower_bounds: Mapping[str, float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TunedFusion:
    """Choose how to fuse some runs, and rate that choice by cross-validation.

    Every query of ``qrels`` counts, whether runs have it or not. Documents of equal fused scores
    come in the order of their ids.

    Args:
        runs: name of a leg -> what it retrieved; two or more. Deeper ones are fused better.
        qrels: judgements.
        measure_name: of ir_measures; ``nDCG@k`` takes seconds, others a minute or so.
        n_folds: parts of the queries; 2 or more.
        seed: of the cut into folds; the significance tests have a fixed one.
        lower_bounds: name of a leg -> the least score it could give to any document (0 for BM25,
            -1 for a cosine). The theoretical normaliser is tried where every leg has one.
        progress: called with (steps done, steps in all).

    Raises:
        ConfigurationError: fewer than two runs; fewer than two folds, or more than queries; an
            unknown measure; a lower bound of no leg, or above a score.
        DatasetError: runs that cannot be fused (:func:`sparseret.eval.fusion_lists.leg_lists`), or
            no judgements.
    """
    if len(runs) < 2:
        raise ConfigurationError(f"a fusion needs two runs or more, got {len(runs)}")
    lists = leg_lists(runs, qrels, lower_bounds)
    if not 2 <= n_folds <= len(qrels):
        raise ConfigurationError(
            f"{n_folds} folds of {len(qrels)} queries; make it 2 or more, and no more than queries"
        )
    ratings = FusionRatings(lists, qrels, measure_name)
    kinds = grid(len(runs), bounded=len(lower_bounds or ()) == len(runs))
    candidates = [fusion for kind in kinds for fusion in kind]
    steps = list(refinements(len(runs)))

    def choose(chosen_on: NDArray[np.intp]) -> tuple[Fusion, NDArray[np.float64]]:
        """The best on some queries, and its values for all."""
        best, values = _best(ratings, candidates, chosen_on)
        for step in steps:
            best, values = _best(ratings, [best, *neighbours(best, step)], chosen_on)
        return best, values

    for done, kind in enumerate(kinds):
        if progress:
            progress(done, len(kinds))
        ratings.rate(kind)
    queries = list(lists.queries)
    shuffled = np.random.default_rng(seed).permutation(len(queries))
    folds, fusion_of = [], {}
    for held_out in np.array_split(shuffled, n_folds):
        others = np.setdiff1d(shuffled, held_out)
        fusion, values = choose(others)
        names = [queries[place] for place in np.sort(held_out)]
        folds.append(
            Fold(fusion, float(values[others].mean()), names, float(values[held_out].mean()))
        )
        fusion_of.update(dict.fromkeys(names, fusion))
    depth = required_depth([measure_name])

    def rated(run: Run) -> Scores:
        return measure(run, qrels, [measure_name])

    def baseline(name: str, run: Run) -> Baseline:
        of_run = rated(run)
        return Baseline(name, of_run, compare(scores, of_run, measure_name))

    scores = rated(fused_run({query: fusion_of[query] for query in queries}, lists, depth))
    chosen, values = choose(shuffled)
    if progress:
        progress(len(kinds), len(kinds))
    return TunedFusion(
        fusion=chosen,
        legs=lists.names,
        measure=measure_name,
        in_sample=float(values.mean()),
        scores=scores,
        folds=folds,
        alone=[baseline(name, run) for name, run in runs.items()],
        untuned=[
            baseline(plain.description, fused_run(dict.fromkeys(queries, plain), lists, depth))
            for plain in (ReciprocalRank(), Convex())
        ],
    )


def _best(
    ratings: FusionRatings, fusions: list[Fusion], chosen_on: NDArray[np.intp]
) -> tuple[Fusion, NDArray[np.float64]]:
    """The first of those with the largest mean over some queries, and its values for all."""
    values = ratings.rate(fusions)
    best = int(np.argmax(values[:, chosen_on].mean(axis=1)))
    return fusions[best], values[best]


def _to_json(baseline: Baseline) -> dict[str, Any]:
    return {"name": baseline.name, **asdict(baseline.comparison)}
