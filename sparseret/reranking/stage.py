"""The stage behind a search: its candidates are rated by re-rankers, one after another.

A re-ranker gets the candidates best first, and rates them batch by batch. With a time budget, a
batch is begun only where one as long as the last would still end in time; the first batch of the
first re-ranker always is. Documents that are not reached keep their order, behind those that are,
and are no candidates of the next re-ranker.

The score of a result is that of the last re-ranker. Documents that were not reached, and those
beyond the candidates, are moved as a whole, differences kept, to stand just below; so scores never
rise, as those of runs must not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseret.documents import Document
from sparseret.errors import ConfigurationError, CorruptIndexError, RerankError
from sparseret.indexers.search import check_count
from sparseret.protocols import Candidates, Hits, Reranked, Reranker
from sparseret.reranking.vectors import IndexVectors
from sparseret.views.view import FAILURES, View

__all__ = ["RerankStage"]

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class RerankStage:
    """Which re-rankers rate how many candidates, in which time; without any, nothing is done.

    Raises:
        ConfigurationError: something that is no re-ranker, or a number out of its range.
    """

    rerankers: Sequence[Reranker] = ()
    depth: int = 100
    """Candidates of a query."""
    time_budget: float | None = None
    """Seconds that re-ranking a query may take, all re-rankers together."""
    clock: Callable[[], float] = time.monotonic
    """Seconds."""

    def __post_init__(self) -> None:
        check_count("rerank_depth", self.depth)
        for reranker in self.rerankers:
            if isinstance(reranker, type) or not isinstance(reranker, Reranker):
                raise ConfigurationError(
                    f"rerank must be a re-ranker, or a list of them, and {reranker!r} is none: it "
                    "needs name, description and rescore"
                )
        budget: Any = self.time_budget
        if budget is None:
            return
        if isinstance(budget, bool) or not isinstance(budget, (int, float)) or not budget > 0:
            raise ConfigurationError(f"time_budget must be seconds above 0, got {budget!r}")
        if not self.rerankers:
            raise ConfigurationError("time_budget is that of rerank=: give a re-ranker")

    @classmethod
    def of(
        cls,
        rerank: Reranker | Sequence[Reranker] | None,
        depth: int,
        time_budget: float | None,
    ) -> RerankStage:
        """From the arguments of a search. Raises ConfigurationError."""
        if rerank is None:
            return cls((), depth, time_budget)
        given = tuple(rerank) if isinstance(rerank, Sequence) else (rerank,)
        return cls(given, depth, time_budget)

    def first_k(self, k: int) -> int:
        """Results that the search before must give for k in the end."""
        if not self.rerankers:
            return k
        check_count("k", k)
        return max(k, self.depth)

    def apply(
        self, view: View, queries: Sequence[str | None], hits: Hits, k: int, *, degrade: bool
    ) -> Hits:
        """The best k of each query, re-ranked.

        Args:
            view: that the hits are from.
            queries: their texts; None for one without.
            hits: :meth:`first_k` results of each.
            k: at least 1.
            degrade: whether to go on without re-rankers that fail; the mode names them as missing.

        Raises:
            RerankError: one failed.
            ConfigurationError: one cannot rate such queries, or documents, at all.
        """
        if not self.rerankers:
            return hits
        rankings = [
            _Ranking.of(hits.ids[q], hits.scores[q], self.depth, query)
            for q, query in enumerate(queries)
        ]
        taking: list[str] = []
        missing: list[str] = []
        for reranker in self.rerankers:
            try:
                made = [self._step(view, ranking, reranker, not taking) for ranking in rankings]
            except ConfigurationError:
                raise
            except FAILURES as error:
                if not degrade:
                    raise RerankError(
                        f"the re-ranker {reranker.name}: {error}. With degrade=True, searches go "
                        "on without it", reranker.name,
                    ) from error  # fmt: skip
                missing.append(reranker.name)
                continue
            taking.append(reranker.name)
            rankings = made
        mode = hits.mode._replace(missing=(*hits.mode.missing, *missing))
        rated = [0] * len(rankings)
        if taking:
            unreached = max((ranking.unreached for ranking in rankings), default=0)
            mode = mode._replace(reranked=Reranked(tuple(taking), unreached))
            rated = [min(len(ranking.head) - ranking.skipped, k) for ranking in rankings]
        return _cut(hits._replace(mode=mode, n_reranked=rated), rankings, k)

    def _step(self, view: View, ranking: _Ranking, reranker: Reranker, first: bool) -> _Ranking:
        """A ranking after one re-ranker."""
        n = len(ranking.head)
        if not n:
            return ranking
        begun = self.clock()
        if not first and self._left(ranking.used) <= 0:
            return replace(ranking, skipped=n)
        ids = [ranking.ids[place] for place in ranking.head]
        candidates = Candidates(
            ranking.query,
            _documents(view, ids),
            ranking.head_scores.astype(np.float32),
            IndexVectors(view, ids),
        )
        batches: list[NDArray[np.float64]] = []
        reached, last = 0, 0.0
        scores = iter(reranker.rescore(candidates))
        while reached < n:
            before = self.clock()
            left = self._left(ranking.used + before - begun)
            if batches and (left <= 0 or left < last):
                break
            batch = _checked(next(scores, None), reached, n)
            batches.append(batch)
            reached += len(batch)
            last = self.clock() - before
        rated = np.concatenate(batches)
        order = np.argsort(-rated, kind="stable")
        tails = ranking.tails
        if reached < n:
            tails = [(ranking.head[reached:], ranking.head_scores[reached:]), *tails]
        return replace(
            ranking,
            head=ranking.head[:reached][order],
            head_scores=rated[order],
            tails=tails,
            used=ranking.used + self.clock() - begun,
            cut_off=ranking.cut_off + n - reached,
        )

    def _left(self, used: float) -> float:
        """Seconds of the budget; without one, as many as one likes."""
        return math.inf if self.time_budget is None else self.time_budget - used


@dataclass(frozen=True)
class _Ranking:
    """The hits of one query between two re-rankers, by their places in what the search found."""

    query: str | None
    ids: Sequence[str]
    head: NDArray[np.int64]
    """Candidates, best first."""
    head_scores: NDArray[np.float64]
    tails: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = field(default_factory=list)
    """Places and scores of what stands behind them."""
    used: float = 0.0
    """Seconds."""
    cut_off: int = 0
    """Candidates that are in the tails because time was over."""
    skipped: int = 0
    """Candidates, all in the head, that the last re-ranker had no time for."""

    @classmethod
    def of(
        cls, ids: Sequence[str], scores: NDArray[np.float32], depth: int, query: str | None
    ) -> _Ranking:
        """The hits of a search, before any re-ranker."""
        places, wide = np.arange(len(ids)), scores.astype(np.float64)
        beyond = [(places[depth:], wide[depth:])] if len(ids) > depth else []
        return cls(query, ids, places[:depth], wide[:depth], beyond)

    @property
    def unreached(self) -> int:
        """Candidates that some re-ranker did not rate."""
        return self.cut_off + self.skipped

    def joined(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """All places in their order, and scores that do not rise."""
        places, scores = [self.head], [self.head_scores.astype(np.float32)]
        for tail, tail_scores in self.tails:
            lowest = scores[-1][-1] if len(scores[-1]) else np.float32(0)
            below = float(np.nextafter(lowest, np.float32(-np.inf)))
            moved = tail_scores - (tail_scores[0] - below)
            scores.append(np.maximum(moved, -_LARGEST).astype(np.float32))
            places.append(tail)
        return np.concatenate(places), np.concatenate(scores)


def _documents(view: View, ids: Sequence[str]) -> list[Document]:
    found = view.state.catalog.documents(ids)
    documents = [document for document in found if document is not None]
    if len(documents) != len(ids):  # pragma: no cover - a snapshot names no missing document
        raise CorruptIndexError(f"{view.state.catalog.folder}: a document is not in the catalog")
    return documents


def _checked(batch: Any, reached: int, n: int) -> NDArray[np.float64]:
    """Scores of a batch. Raises ValueError with the reason why they are none."""
    if batch is None:
        raise ValueError(f"it gave {reached} scores for {n} documents")
    try:
        scores = np.asarray(batch, np.float64)
    except TypeError as error:
        raise ValueError(f"it gave {type(batch).__name__} in place of scores") from error
    if scores.ndim != 1 or not len(scores) or reached + len(scores) > n:
        raise ValueError(
            f"it gave scores of shape {scores.shape} where {n - reached} documents were left"
        )
    sound = np.abs(scores) <= _LARGEST  # neither NaN nor infinite, nor beyond float32
    if not sound.all():
        place = int(np.argmin(sound))
        raise ValueError(f"document {reached + place} got the score {scores[place]}")
    return scores


def _cut(hits: Hits, rankings: Sequence[_Ranking], k: int) -> Hits:
    """The best k of each query in their new order."""
    ids, scores, before = [], [], []
    shares: list[NDArray[np.float64]] = []
    for q, ranking in enumerate(rankings):
        places, moved = ranking.joined()
        places = places[:k]
        ids.append([ranking.ids[place] for place in places])
        scores.append(moved[:k])
        before.append(hits.scores[q][places])
        if hits.shares is not None:
            shares.append(hits.shares[q][places])
    return hits._replace(
        ids=ids, scores=scores, first_stage_scores=before,
        shares=None if hits.shares is None else shares,
    )  # fmt: skip
