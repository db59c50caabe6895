"""The rankings of several runs, query by query, as :mod:`sparseret.indexers.fusion` takes them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sparseret.errors import ConfigurationError, DatasetError
from sparseret.eval.datasets import Qrels
from sparseret.eval.runs import RankedDocument, Run
from sparseret.indexers.fusion import Fusion, Leg, fuse

__all__ = ["LegLists", "fused_run", "leg_lists"]


@dataclass(frozen=True, slots=True)
class LegLists:
    """What each leg found for each judged query.

    Attributes:
        names: of the legs.
        documents: ids, in ascending order; a document's number is its place here.
        queries: query id -> one list a leg, in the order of ``names``, without hits where the run
            lacks the query.
    """

    names: list[str]
    documents: list[str]
    queries: Mapping[str, list[Leg]]


def leg_lists(
    runs: Mapping[str, Run], qrels: Qrels, lower_bounds: Mapping[str, float] | None = None
) -> LegLists:
    """Number the documents of some runs.

    The numbers follow the order of ids, whatever the order of the runs: a run does not tell in
    which order documents were added, which is what breaks ties in an index.

    Args:
        runs: name of a leg -> what it retrieved.
        qrels: judgements; queries that nobody judged are left out.
        lower_bounds: name of a leg -> the least score it could give, where there is such a score.

    Raises:
        ConfigurationError: a lower bound of a leg that does not exist, or one that is not finite.
        DatasetError: no judgements; a run with results for none of the judged queries; one with a
            document twice in a ranking, or with scores that rise or are not finite.
    """
    if not qrels:
        raise DatasetError("there are no judgements to tune by")
    bounds = dict(lower_bounds or {})
    for name, bound in bounds.items():
        if name not in runs:
            raise ConfigurationError(
                f"a lower bound for {name!r}, but the runs are {', '.join(runs)}"
            )
        if not math.isfinite(bound):
            raise ConfigurationError(f"the lower bound of {name!r} must be finite, got {bound}")
    for name, run in runs.items():
        if not any(run.get(query) for query in qrels):
            raise DatasetError(
                f"run {name!r} has results for none of the {len(qrels)} judged queries; are its "
                "query ids those of the dataset?"
            )
    found = {
        document.id for run in runs.values() for query in qrels for document in run.get(query, ())
    }
    documents = sorted(found)
    numbers = {document: number for number, document in enumerate(documents)}
    queries = {
        query: [
            _leg(name, query, run.get(query, ()), numbers, bounds.get(name))
            for name, run in runs.items()
        ]
        for query in qrels
    }
    return LegLists(list(runs), documents, queries)


def fused_run(
    fusions: Mapping[str, Fusion], lists: LegLists, k: int
) -> dict[str, list[RankedDocument]]:
    """The run of fused rankings.

    Args:
        fusions: query id -> how its rankings become one.
        lists: what each leg found.
        k: documents of a query.
    """
    run = {}
    for query, fusion in fusions.items():
        fused = fuse(fusion, lists.queries[query], k)
        run[query] = [
            RankedDocument(lists.documents[number], score)
            for number, score in zip(fused.numbers.tolist(), fused.scores.tolist(), strict=True)
        ]
    return run


def _leg(
    name: str,
    query: str,
    ranking: Sequence[RankedDocument],
    numbers: Mapping[str, int],
    bound: float | None,
) -> Leg:
    places = np.array([numbers[document.id] for document in ranking], np.int64)
    scores = np.array([document.score for document in ranking], np.float64)
    if len(np.unique(places)) < len(places):
        raise DatasetError(f"run {name!r} has a document twice for query {query!r}")
    if not (np.isfinite(scores).all() and (scores[1:] <= scores[:-1]).all()):
        raise DatasetError(
            f"the scores of run {name!r} for query {query!r} rise or are not finite; sort them"
        )
    return Leg(places, scores, bound)
