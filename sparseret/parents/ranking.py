"""From ranked chunks to ranked documents.

With ``s_1 >= s_2 >= ...`` the scores of a document's chunks, its score is

    s_1 + max(0, s_2) + ... + max(0, s_m)

for ``m`` chunks that are summed: that of its best chunk where ``m = 1``. A list of the best n
chunks tells at least so much of each document, and at most ``max(0, s_n)`` more for each of the
``m`` that it does not show. So more chunks are asked for, twice as many each time, until no
document outside of the best k could still be one of them, or the list ends. Of an index of several
legs, whose scores depend on how many results are fused, the same is done with the scores of each
list as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.documents import Document
from sparseret.errors import CorruptIndexError
from sparseret.feedback import Feedback
from sparseret.indexers.search import check_count
from sparseret.parents.places import (
    ChunkPlace,
    chunk_id,
    split_id,
    whole_document,
)
from sparseret.protocols import Hits
from sparseret.reranking.stage import RerankStage
from sparseret.views.sparse import check_queries
from sparseret.views.view import Request, View

__all__ = ["ParentResult", "Passage", "Ranked", "search_like", "search_parents"]

_CHUNKS_PER_PARENT = 4
_FEWEST = 32

_NO_SHARES: Mapping[str, float] = {}


class Passage(NamedTuple):
    """A chunk of a document that was found."""

    id: str
    """Of the chunk, as :attr:`ParentRetriever.retriever` knows it."""
    start: int
    """Offset of its first character in the document's text."""
    end: int
    """Offset behind its last."""
    score: float
    text: str
    shares: Mapping[str, float] = _NO_SHARES
    """Of an index of several legs, what each adds to the score; to that of the search itself where
    results are re-ranked."""
    first_stage_score: float | None = None
    """That of the search itself, where results are re-ranked."""
    reranked: bool = False
    """Whether all re-rankers rated it."""


class ParentResult(NamedTuple):
    """One document found by its chunks."""

    id: str
    score: float
    title: str
    text: str
    """All of it."""
    metadata: Mapping[str, Any]
    passages: tuple[Passage, ...]
    """Its best chunks, best first."""
    missing: tuple[str, ...] = ()
    """Legs and re-rankers that could not take part in the search (``degrade``)."""


class _Parent(NamedTuple):
    """A document among the results of a query."""

    id: str
    score: np.float32
    places: list[int]
    """Of its chunks in the list of hits, best first."""


class Ranked(NamedTuple):
    """The best documents of each query, and the chunks that they are of."""

    chunks: Hits
    parents: list[list[_Parent]]

    def hits(self) -> Hits:
        """Ids and scores of documents."""
        return Hits(
            [[parent.id for parent in row] for row in self.parents],
            [np.array([parent.score for parent in row], np.float32) for row in self.parents],
            self.chunks.mode,
        )

    def results(self, view: View, passages: int) -> list[list[ParentResult]]:
        """Documents with their best passages.

        Raises:
            CorruptIndexError: chunks are missing, or are none.
        """
        check_count("passages", passages)
        wholes = _wholes(view, {parent.id for row in self.parents for parent in row})
        return [
            [self._result(view, query, parent, wholes[parent.id], passages) for parent in row]
            for query, row in enumerate(self.parents)
        ]

    def _result(
        self, view: View, query: int, parent: _Parent, whole: _Whole, passages: int
    ) -> ParentResult:
        document, chunk_places = whole
        best = [
            self._passage(view, query, place, document.text, chunk_places)
            for place in parent.places[:passages]
        ]
        return ParentResult(
            parent.id, float(parent.score), document.title, document.text, document.metadata,
            tuple(best), self.chunks.mode.missing,
        )  # fmt: skip

    def _passage(
        self, view: View, query: int, place: int, text: str, chunk_places: Sequence[ChunkPlace]
    ) -> Passage:
        chunks = self.chunks
        id = chunks.ids[query][place]
        where = chunk_places[split_id(id)[1]]
        shares = _NO_SHARES
        if chunks.shares is not None:
            shares = dict(zip(view.names, chunks.shares[query][place].tolist(), strict=True))
        before = chunks.first_stage_scores
        rated = 0 if chunks.n_reranked is None else chunks.n_reranked[query]
        return Passage(
            id, where.start, where.end, float(chunks.scores[query][place]),
            text[where.start : where.end], shares,
            None if before is None else float(before[query][place]), place < rated,
        )  # fmt: skip


class _Whole(NamedTuple):
    """A document, and where its chunks are."""

    document: Document
    places: list[ChunkPlace]


def _wholes(view: View, ids: Collection[str]) -> dict[str, _Whole]:
    """Documents put together from all their chunks. Raises CorruptIndexError."""
    catalog = view.state.catalog
    totals = []
    for id, head in zip(ids, catalog.documents([chunk_id(id, 0) for id in ids]), strict=True):
        if head is None:
            raise CorruptIndexError(f"document {id!r} lacks its first chunk: index it again")
        totals.append(ChunkPlace.of(head).total)
    wanted = [chunk_id(id, n) for id, total in zip(ids, totals, strict=True) for n in range(total)]
    stored = iter(catalog.documents(wanted))
    wholes = {}
    for id, total in zip(ids, totals, strict=True):
        chunks = [chunk for chunk in islice(stored, total) if chunk is not None]
        wholes[id] = _Whole(whole_document(chunks), [ChunkPlace.of(chunk) for chunk in chunks])
    return wholes


def search_like(
    view: View,
    query: str | None,
    feedback: Feedback,
    request: Request,
    summed: int,
    stage: RerankStage,
) -> Ranked:
    """The best documents for a text, chunks like those wanted, or both.

    Args:
        view: of the chunks.
        query: its text; None where chunks alone are the query.
        feedback: with ids of chunks.
        request: with ``k`` documents.
        summed: chunks that make the score of a document.
        stage: what re-ranks the chunks.
    """
    return _rank(
        lambda _, n: view.search_like(query, feedback, request._replace(k=n)),
        1,
        request.k,
        summed,
        stage.first_k(request.k),
        lambda hits: stage.apply(view, [query], hits, _longest(hits), degrade=request.degrade),
    )


def search_parents(
    view: View, queries: Sequence[str], request: Request, summed: int, stage: RerankStage
) -> Ranked:
    """:func:`search_like` for many texts."""
    check_queries(queries)
    return _rank(
        lambda some, n: view.search([queries[q] for q in some], request._replace(k=n)),
        len(queries),
        request.k,
        summed,
        stage.first_k(request.k),
        lambda hits: stage.apply(view, queries, hits, _longest(hits), degrade=request.degrade),
    )


def _longest(hits: Hits) -> int:
    return max((len(ids) for ids in hits.ids), default=0) or 1


def _rank(
    search: Callable[[Sequence[int], int], Hits],
    n_queries: int,
    k: int,
    summed: int,
    first: int,
    rerank: Callable[[Hits], Hits],
) -> Ranked:
    """The best k documents of each query.

    Args:
        search: the best chunks, as many as its second argument says, of the queries at some places.
        n_queries: how many there are.
        k: documents of each.
        summed: chunks that make the score of a document.
        first: chunks to ask for at least.
        rerank: what is done to the chunks of all queries once there are enough.

    Raises:
        ConfigurationError: a number below 1.
        CorruptIndexError: an id that is no chunk's.
    """
    check_count("k", k)
    check_count("summed", summed)
    n = max(first, k * _CHUNKS_PER_PARENT, _FEWEST)
    found: list[Hits | None] = [None] * n_queries
    pending = list(range(n_queries))
    mode = Hits([], []).mode
    while pending:
        hits = search(pending, n)
        mode = hits.mode
        left = []
        for row, query in enumerate(pending):
            found[query] = _row(hits, row)
            if len(hits.ids[row]) == n and not _settled(hits.ids[row], hits.scores[row], k, summed):
                left.append(query)
        pending, n = left, 2 * n
    rows = [hits for hits in found if hits is not None]
    shares = [each for row in rows for each in row.shares or ()]
    chunks = rerank(
        Hits(
            [row.ids[0] for row in rows],
            [row.scores[0] for row in rows],
            mode,
            shares if len(shares) == len(rows) and shares else None,
        )
    )
    parents = [
        _parents(ids, scores, summed)[:k]
        for ids, scores in zip(chunks.ids, chunks.scores, strict=True)
    ]
    return Ranked(chunks, parents)


def _row(hits: Hits, row: int) -> Hits:
    """What was found for one query."""
    shares = None if hits.shares is None else [hits.shares[row]]
    return Hits([hits.ids[row]], [hits.scores[row]], hits.mode, shares)


def _parents(ids: Sequence[str], scores: NDArray[np.float32], summed: int) -> list[_Parent]:
    """Documents of a list of chunks, best first; ties in the order of their best chunks."""
    places: dict[str, list[int]] = {}
    for place, id in enumerate(ids):
        places.setdefault(split_id(id)[0], []).append(place)
    made = []
    for id, of_parent in places.items():
        best = scores[of_parent[:summed]].astype(np.float64)
        rest = np.maximum(best[1:], 0.0).sum()
        made.append(_Parent(id, np.float32(best[0] + rest), of_parent))
    made.sort(key=lambda parent: -parent.score)  # stable
    return made


def _settled(ids: Sequence[str], scores: NDArray[np.float32], k: int, summed: int) -> bool:
    """Whether chunks behind these cannot change the best k documents, nor their scores."""
    parents = _parents(ids, scores, summed)
    if len(parents) < k:
        return False
    if summed == 1:
        return True
    last = max(0.0, float(scores[-1]))
    could_add = [last * max(0, summed - len(parent.places)) for parent in parents]
    if any(could_add[:k]):
        return False
    least = float(parents[k - 1].score)
    outside = zip(parents[k:], could_add[k:], strict=True)
    # One that is not seen yet comes last of equals; one that is seen may come first.
    return least >= last * summed and all(
        least > float(parent.score) + more for parent, more in outside if more
    )
