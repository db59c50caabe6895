"""All legs of an index at one commit: searched together, their results made one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparseret.documents import Document
from sparseret.errors import (
    ConfigurationError,
    DocumentError,
    LegError,
    SparseretError,
    VectorError,
)
from sparseret.explanation import Explanation
from sparseret.feedback import Feedback
from sparseret.indexers.filters import Filter
from sparseret.indexers.fusion import Fused, Fusion, Leg, check_fusion, fuse
from sparseret.indexers.search import (
    Selection,
    check_count,
    ids_of,
    search_leg,
    search_mode,
    select,
)
from sparseret.indexers.state import State
from sparseret.protocols import Hits, Mode
from sparseret.views.dense import DenseView
from sparseret.views.sparse import SparseView, check_queries

__all__ = ["FAILURES", "LegView", "Request", "View"]

LegView: TypeAlias = SparseView | DenseView

_BATCH = 1000
"""Documents read from the catalog at a time."""

FAILURES = (SparseretError, ArithmeticError, LookupError, OSError, RuntimeError, ValueError)
"""What an encoder or a package behind it may raise; others are mistakes in a program."""


class Request(NamedTuple):
    """How to search, whatever for."""

    k: int = 10
    filter: Filter | str | None = None
    exact: bool | None = None
    recall: float | None = None
    legs: Sequence[str] | None = None
    """Names of the legs that take part; None for all."""
    fusion: Fusion | None = None
    """How their results are made one; None for that of the index."""
    depth: int = 100
    """Results of each leg that are fused, at least k."""
    degrade: bool = False
    """Whether to go on without legs that fail."""
    threads: int | None = None


class _Found(NamedTuple):
    """What one leg found, one entry a query."""

    numbers: list[NDArray[np.int64]]
    scores: list[NDArray[np.float32]]
    mode: Mode


class View(NamedTuple):
    """An index at one commit: replaced as a whole, never changed."""

    state: State
    legs: tuple[LegView, ...]
    fusion: Fusion
    """Of an index of several legs, unless a request has another."""
    absent: Mapping[str, Exception] = {}
    """Legs that could not be opened, and why."""

    def search(self, queries: Sequence[str], request: Request) -> Hits:
        """The best k documents of each query.

        Raises:
            LegError: a leg failed, and is not to be gone without.
            ConfigurationError, FilterError, VectorError, CorruptIndexError
        """
        check_queries(queries)
        return self._hits(lambda leg: leg.encode_queries(queries), len(queries), request)

    def search_like(self, query: str | None, feedback: Feedback, request: Request) -> Hits:
        """:meth:`search` for a text, documents like those wanted, or both; one query.

        Raises:
            DocumentError: no document has an id of the feedback.
        """
        check_count("k", request.k)
        ask = self._asking(query, feedback)
        found = self._hits(ask, 1, request._replace(k=request.k + len(feedback.ids)))
        return _without(found, feedback.ids, request.k)

    def search_vectors(self, vectors: object, request: Request) -> Hits:
        """:meth:`search` by one vector that somebody else made, or one of each leg by its name.

        Raises:
            VectorError: a vector that its leg does not take, or several.
        """
        ask, request = self._given(vectors, request)
        return self._hits(ask, 1, request)

    def mode(self, request: Request) -> Mode:
        """How a search with a request is made, whatever the query."""
        legs = self._chosen(request)[0]
        k = request.k if len(legs) == 1 else max(request.k, request.depth)
        return _joined(
            [search_mode(leg.snapshot, k, exact=request.exact, recall=request.recall)
             for leg in legs], ()
        )  # fmt: skip

    def explain(
        self, query: str | None, id: str, feedback: Feedback, request: Request
    ) -> Explanation:
        """What each leg, and each term, adds to the score of a document.

        Raises:
            DocumentError: no document has the id, or one of the feedback.
            LegError, ConfigurationError
        """
        return self._explain(self._asking(query, feedback), id, request)

    def explain_vectors(self, vectors: object, id: str, request: Request) -> Explanation:
        """:meth:`explain` for a search by vectors.

        Raises:
            VectorError: a vector that its leg does not take, or several.
        """
        ask, request = self._given(vectors, request)
        return self._explain(ask, id, request)

    def _explain(self, ask: Callable[[LegView], Any], id: str, request: Request) -> Explanation:
        number = self.number_of(id)
        legs, _ = self._chosen(request)
        if len(legs) == 1:
            only = legs[0].score(ask(legs[0]), number)
            return Explanation(id, only.score, list(only.terms), list(only.missing))
        vectors: dict[str, Any] = {}

        def note(leg: LegView) -> Any:
            vectors[leg.name] = ask(leg)
            return vectors[leg.name]

        taking, found = self._search_legs(legs, note, 1, request)
        fused = self._fuse(taking, found, 0, request, k=sum(len(f.numbers[0]) for f in found) or 1)
        at = np.flatnonzero(fused.numbers == number)
        shares = fused.shares[at[0]] if len(at) else np.zeros(len(taking))
        scores = []
        for leg, of_leg, share in zip(taking, found, shares, strict=True):
            rank = np.flatnonzero(of_leg.numbers[0] == number)
            scores.append(
                leg.score(vectors[leg.name], number)._replace(
                    rank=int(rank[0]) + 1 if len(rank) else None, share=float(share)
                )
            )
        return Explanation(id, float(fused.scores[at[0]]) if len(at) else 0.0, [], [], scores)

    def documents(self, filter: Filter | str | None = None) -> Iterator[Document]:
        """The documents that satisfy a filter, all without one, in the order they were added.

        Raises:
            FilterError: at once, not at the first document.
        """
        if filter is None:
            return self.state.catalog.iterate_documents()
        selection = select(self.state, None, filter)
        numbers = selection.allow
        if numbers is None:
            between = selection.between or range(0)
            numbers = np.arange(between.start, between.stop, dtype=np.int64)
        return self._documents_of(numbers)

    def _documents_of(self, numbers: NDArray[np.int64]) -> Iterator[Document]:
        for start in range(0, len(numbers), _BATCH):
            ids = self.state.catalog.ids(numbers[start : start + _BATCH])
            found = self.state.catalog.documents([ids[number] for number in sorted(ids)])
            yield from (document for document in found if document is not None)

    def check_fusion(self, fusion: Fusion) -> None:
        """Refuse a fusion that does not fit the legs. Raises ConfigurationError."""
        check_fusion(fusion, [leg.lower_bound for leg in self.legs])

    def number_of(self, id: str) -> int:
        """The number of a document. Raises DocumentError where there is none."""
        numbers = self.state.catalog.numbers_of([id])
        if not len(numbers):
            raise DocumentError(f"no document with id {id!r} in {self.state.catalog.folder}")
        return int(numbers[0])

    # --- details ----------------------------------------------------------------------------

    def _asking(self, query: str | None, feedback: Feedback) -> Callable[[LegView], Any]:
        """What makes the query vector for a leg."""
        if query is not None:
            check_queries([query])
        if not feedback.ids:
            if query is None:
                raise ConfigurationError("a query must be a string; without one, give ids in like")
            return lambda leg: leg.encode_queries([query])
        if query is None and not feedback.like:
            raise ConfigurationError(
                "unlike alone says nothing of what is wanted: give a query, or ids in like"
            )
        liked = [self.number_of(id) for id in feedback.like]
        unliked = [self.number_of(id) for id in feedback.unlike]
        return lambda leg: leg.query(query, liked, unliked, feedback)

    def _given(self, vectors: object, request: Request) -> tuple[Callable[[LegView], Any], Request]:
        """What looks up the query vector for a leg, and the request for the legs that have one."""
        if not isinstance(vectors, Mapping):
            legs = self.names if request.legs is None else list(request.legs)
            if len(legs) != 1:
                raise ConfigurationError(
                    f"one vector is for one leg: name it in legs=, or give a mapping from names; "
                    f"the legs are {', '.join(self.names)}"
                )
            vectors = {legs[0]: vectors}
        elif request.legs is not None and {*request.legs} != {*vectors}:
            raise ConfigurationError("legs names others than those that vectors are given for")

        texts = {name: given for name, given in vectors.items() if isinstance(given, str)}
        rows = {
            leg.name: leg.query_vectors(vectors[leg.name])
            for leg in self.legs
            if leg.name in vectors and leg.name not in texts
        }
        for of_leg in rows.values():
            if of_leg.shape[0] != 1:
                raise VectorError(f"expected one query vector, got {of_leg.shape[0]}")

        def look_up(leg: LegView) -> Any:
            return leg.encode_queries([texts[leg.name]]) if leg.name in texts else rows[leg.name]

        return look_up, request._replace(legs=list(vectors))

    def _hits(self, ask: Callable[[LegView], Any], n_queries: int, request: Request) -> Hits:
        check_count("k", request.k)
        legs, absent = self._chosen(request)
        if len(legs) == 1 and not absent:
            selection = select(self.state, None, request.filter)
            found = _search(legs[0], ask, request, selection, request.k)
            return Hits(ids_of(self.state, found.numbers), found.scores, found.mode)
        taking, every = self._search_legs(legs, ask, n_queries, request)
        fused = [self._fuse(taking, every, q, request, k=request.k) for q in range(n_queries)]
        there = [leg.name for leg in taking]
        left = [leg.name for leg in legs if leg.name not in there]
        return Hits(
            ids_of(self.state, [f.numbers for f in fused]),
            [f.scores.astype(np.float32) for f in fused],
            _joined([f.mode for f in every], (*absent, *left)),
            [self._spread(f.shares, there) for f in fused],
        )

    def _spread(self, shares: NDArray[np.float64], legs: Sequence[str]) -> NDArray[np.float64]:
        """Shares of the legs that took part as a column for each leg of the index."""
        wide = np.zeros((len(shares), len(self.names)))
        wide[:, [self.names.index(name) for name in legs]] = shares
        return wide

    @property
    def names(self) -> list[str]:
        """Of all legs of the index, in their order."""
        return [leg.leg.name for leg in self.state.legs]

    def _chosen(self, request: Request) -> tuple[Sequence[LegView], list[str]]:
        """Legs that take part, and names of those that would and cannot."""
        wanted = self.names if request.legs is None else list(dict.fromkeys(request.legs))
        if isinstance(request.legs, str) or not wanted:
            raise ConfigurationError("legs must be a list of names, one at least")
        if unknown := [name for name in wanted if name not in self.names]:
            raise ConfigurationError(
                f"there is no leg {unknown[0]!r}; the index has {', '.join(self.names)}"
            )
        absent = [name for name in wanted if name in self.absent]
        if absent and not request.degrade:
            reason = self.absent[absent[0]]
            raise LegError(
                f"the leg {absent[0]} could not be opened: {reason}. With degrade=True, searches "
                "go on without it", absent[0],
            ) from reason  # fmt: skip
        legs = [leg for leg in self.legs if leg.name in wanted]
        if not legs:
            raise LegError(f"none of the legs {', '.join(wanted)} could be opened", wanted[0])
        return legs, absent

    def _search_legs(
        self,
        legs: Sequence[LegView],
        ask: Callable[[LegView], Any],
        n_queries: int,
        request: Request,
    ) -> tuple[list[LegView], list[_Found]]:
        """Legs, without those that failed and are gone without, and what each found."""
        check_count("depth", request.depth)
        check_fusion(self._fusion(legs, request), [leg.lower_bound for leg in legs])
        depth, selection = max(request.k, request.depth), select(self.state, None, request.filter)

        def one(leg: LegView) -> _Found | LegError:
            try:
                return _search(leg, ask, request, selection, depth)
            except LegError as error:
                return error

        if n_queries == 1 and len(legs) > 1:
            # Each leg of a single query has its thread; those of a batch take all cores in turn.
            others = [_pool(os.getpid()).submit(one, leg) for leg in legs[1:]]
            every = [one(legs[0]), *(other.result() for other in others)]
        else:
            every = [one(leg) for leg in legs]
        failed = [error for error in every if isinstance(error, LegError)]
        if failed and (not request.degrade or len(failed) == len(every)):
            raise failed[0]
        pairs = zip(legs, every, strict=True)
        sound = [(leg, found) for leg, found in pairs if not isinstance(found, LegError)]
        return [leg for leg, _ in sound], [found for _, found in sound]

    def _fusion(self, legs: Sequence[LegView], request: Request) -> Fusion:
        """That of the request or the index, with the weights of the legs that take part."""
        fusion = self.fusion if request.fusion is None else request.fusion
        weights = fusion.weights
        if weights is None or len(weights) != len(self.names):
            return fusion  # of another number: an error where it is used
        kept = tuple(weights[self.names.index(leg.name)] for leg in legs)
        return replace(fusion, weights=kept if any(kept) else None)

    def _fuse(
        self, legs: Sequence[LegView], found: Sequence[_Found], query: int, request: Request, k: int
    ) -> Fused:
        lists = [
            Leg(of_leg.numbers[query], of_leg.scores[query], leg.lower_bound)
            for leg, of_leg in zip(legs, found, strict=True)
        ]
        return fuse(self._fusion(legs, request), lists, k)


def _search(
    leg: LegView, ask: Callable[[LegView], Any], request: Request, selection: Selection, k: int
) -> _Found:
    vectors = _guarded(leg, ask)
    return _Found(
        *search_leg(
            leg.snapshot,
            vectors,
            k,
            selection,
            exact=request.exact,
            recall=request.recall,
            threads=request.threads,
        )
    )


def _guarded(leg: LegView, ask: Callable[[LegView], Any]) -> Any:
    try:
        return ask(leg)
    except FAILURES as error:
        if not leg.name:  # the only one
            raise
        raise LegError(f"the leg {leg.name}: {error}", leg.name) from error


def _joined(modes: Sequence[Mode], missing: tuple[str, ...]) -> Mode:
    exact = all(mode.exact for mode in modes)
    return Mode(exact, min(mode.recall for mode in modes), missing)


def _without(hits: Hits, ids: Sequence[str], k: int) -> Hits:
    """The best k hits of each query that are none of these documents."""
    if not ids:
        return hits
    kept = [[i for i, id in enumerate(row) if id not in ids][:k] for row in hits.ids]
    shares = hits.shares
    return hits._replace(
        ids=[[row[i] for i in places] for row, places in zip(hits.ids, kept, strict=True)],
        scores=[scores[places] for scores, places in zip(hits.scores, kept, strict=True)],
        shares=None if shares is None else [s[p] for s, p in zip(shares, kept, strict=True)],
    )


@lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:  # noqa: ARG001
    """Threads for legs; a forked process makes its own."""
    return ThreadPoolExecutor(max_workers=32, thread_name_prefix="sparseret-leg")
