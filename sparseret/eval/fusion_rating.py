"""How good each of many fusions is for each query: fast enough to try hundreds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sparseret.eval.datasets import Qrels
from sparseret.eval.fusion_lists import LegLists, fused_run
from sparseret.eval.measures import measure, required_depth
from sparseret.indexers.fusion import Fusion, Leg, contributions, total, unit_weights

__all__ = ["FusionRatings"]

_NDCG = re.compile(r"nDCG@(\d+)")


class FusionRatings:
    """Values of a measure, by fusion and query; each fusion is rated once.

    ``nDCG@k`` is computed here, for all weights of one kind of fusion at a time; it equals that of
    ir_measures. Any other measure is left to ir_measures, a fusion at a time.

    Args:
        lists: what each leg found.
        qrels: judgements of the same queries.
        name: of the measure.

    Raises:
        ConfigurationError: an unknown measure.
    """

    def __init__(self, lists: LegLists, qrels: Qrels, name: str) -> None:
        self._lists = lists
        self._qrels = qrels
        self._measure = name
        self._depth = required_depth([name])
        match = _NDCG.fullmatch(name)
        self._cutoff = int(match[1]) if match else None
        self._known: dict[Fusion, NDArray[np.float64]] = {}

    def rate(self, fusions: Sequence[Fusion]) -> NDArray[np.float64]:
        """Values of the measure, shape (fusions, queries), queries in the order of the lists."""
        new = [fusion for fusion in dict.fromkeys(fusions) if fusion not in self._known]
        kinds: dict[Fusion, list[Fusion]] = {}
        for fusion in new:
            kinds.setdefault(replace(fusion, weights=None), []).append(fusion)
        for kind, of_kind in kinds.items():
            if self._cutoff is None:
                values = self._by_ir_measures(of_kind)
            else:
                values = self._ndcg(kind, of_kind, self._cutoff)
            self._known.update(zip(of_kind, values, strict=True))
        return np.array([self._known[fusion] for fusion in fusions])

    def _by_ir_measures(self, fusions: Sequence[Fusion]) -> NDArray[np.float64]:
        values = np.empty((len(fusions), len(self._lists.queries)))
        for row, fusion in zip(values, fusions, strict=True):
            run = fused_run(dict.fromkeys(self._lists.queries, fusion), self._lists, self._depth)
            rated = measure(run, self._qrels, [self._measure]).per_query
            row[:] = [rated[query][self._measure] for query in self._lists.queries]
        return values

    def _ndcg(self, kind: Fusion, fusions: Sequence[Fusion], cutoff: int) -> NDArray[np.float64]:
        n_legs = len(self._lists.names)
        weights = np.array([unit_weights(fusion, n_legs) for fusion in fusions])
        values = np.empty((len(fusions), len(self._lists.queries)))
        for column, (query, legs) in enumerate(self._lists.queries.items()):
            table = _Table(kind, legs)
            judged = self._qrels[query]
            documents = [self._lists.documents[number] for number in table.numbers.tolist()]
            gains = np.array([max(judged.get(document, 0), 0) for document in documents])
            ideal = np.array(sorted(judged.values(), reverse=True)).clip(0)
            values[:, column] = _ndcg(table, weights, gains, ideal, cutoff)
        return values


class _Table:
    """What each leg says of each document that any of them found for one query.

    Attributes:
        numbers: of documents, ascending, shape (n,).
        values: before weights, shape (legs, n).
        found: whether the leg has the document, shape (legs, n).
    """

    def __init__(self, kind: Fusion, legs: Sequence[Leg]) -> None:
        self.numbers = np.unique(np.concatenate([leg.numbers for leg in legs]))
        self.values = np.zeros((len(legs), len(self.numbers)))
        self.found = np.zeros(self.values.shape, np.bool_)
        for i, leg in enumerate(legs):
            if len(leg.numbers):
                values, missing = contributions(kind, leg, i)
                self.values[i] = missing
                places = np.searchsorted(self.numbers, leg.numbers)
                self.values[i, places] = values
                self.found[i, places] = True


def _ndcg(
    table: _Table,
    weights: NDArray[np.float64],
    gains: NDArray[np.int64],
    ideal: NDArray[np.int64],
    cutoff: int,
) -> NDArray[np.float64]:
    """nDCG of the rankings of a query by each row of weights, shape (rows,).

    Args:
        table: what the legs say.
        weights: divided by their sums, shape (rows, legs).
        gains: of the documents of the table.
        ideal: gains of all judged documents, largest first.
        cutoff: how many documents of a ranking count.
    """
    discounts = 1.0 / np.log2(np.arange(2, cutoff + 2))
    most = float(ideal[:cutoff] @ discounts[: len(ideal)])
    if not gains.any() or not most:
        return np.zeros(len(weights))
    # The same products and sums as those of fuse(), so that the same documents tie.
    scores = total([w[:, None] * v for w, v in zip(weights.T, table.values, strict=True)])
    hit = (weights > 0.0) @ table.found
    scores[~hit] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :cutoff]
    gained = np.where(np.take_along_axis(hit, best, axis=1), gains[best], 0)
    rated: NDArray[np.float64] = gained @ discounts[: gained.shape[1]] / most
    return rated
