"""What a search over HTTP gives: of the library's results, with explanations and snippets."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparseret.analysis import Analysis, load_analyzer
from sparseret.explanation import Explanation, TermScore
from sparseret.indexers.fusion import Convex, Fusion, ReciprocalRank
from sparseret.parents import ParentResult, ParentRetriever
from sparseret.protocols import DenseEncoder
from sparseret.retriever import Result, Retriever
from sparseret.serve import models
from sparseret.serve.problems import Problem
from sparseret.serve.work import Ticket
from sparseret.snippets import make_snippet
from sparseret.vectors import MAX_DIM

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["search_index"]


def search_index(
    opened: Retriever | ParentRetriever, wanted: models.SearchRequest, ticket: Ticket
) -> models.SearchAnswer:
    """Search as a request asks.

    Raises:
        Problem: fields that exclude one another, or the client left.
        SparseretError: as of :meth:`sparseret.Retriever.search`.
    """
    began = time.perf_counter()
    # What is found and what is told of it are of one commit.
    if isinstance(opened, ParentRetriever):
        retriever = opened.retriever.pinned()
        parents = ParentRetriever(retriever, opened.chunking)
        rows, missing = _parents(parents, wanted, ticket)
    else:
        retriever = opened.pinned()
        rows, missing = _documents(retriever, wanted, ticket)
    legs = wanted.legs if wanted.vectors is None else list(wanted.vectors)
    mode = retriever.mode(wanted.k, legs=legs, exact=wanted.exact, recall=wanted.recall)
    told = models.Mode(
        exact=mode.exact,
        recall=None if np.isnan(mode.recall) else mode.recall,
        missing=list(missing),
    )
    ms = (time.perf_counter() - began) * 1000
    return models.SearchAnswer(results=rows, mode=told, ms=round(ms, 3))


def _documents(
    retriever: Retriever, wanted: models.SearchRequest, ticket: Ticket
) -> tuple[list[models.ResultBody], Sequence[str]]:
    """Results of an index of whole documents, and legs that were missing."""
    if wanted.passages is not None:
        raise Problem(422, "Validation", "passages are of an index of chunks, and this is none")
    shared, effort, feedback = _arguments(wanted)
    vectors = _vectors(retriever, wanted)
    if vectors is None:
        found = retriever.search(wanted.query, wanted.k, **feedback, **effort, **shared)
    else:
        found = retriever.search_vectors(vectors, wanted.k, **effort, **shared)
    marker = _Marker.of(retriever, wanted)
    rows = []
    for result in found:
        ticket.check()
        explanation = None
        if wanted.explain and vectors is None:
            explanation = retriever.explain(wanted.query, result.id, **feedback, **shared)
        elif wanted.explain:
            explanation = retriever.explain_vectors(vectors, result.id, **shared)
        rows.append(
            _result(
                result,
                wanted,
                shares=dict(result.shares) or None,
                snippet=None if marker is None else marker.mark(result.text),
                explanation=None if explanation is None else _explained(explanation),
            )
        )
    return rows, found[0].missing if found else ()


def _parents(
    opened: ParentRetriever, wanted: models.SearchRequest, ticket: Ticket
) -> tuple[list[models.ResultBody], Sequence[str]]:
    """Results of an index of chunks: documents, each with its best passages."""
    if wanted.vector is not None or wanted.vectors is not None:
        raise Problem(422, "Validation", "an index of chunks is searched by texts, not by vectors")
    shared, effort, feedback = _arguments(wanted)
    found = opened.search(
        wanted.query, wanted.k, passages=wanted.passages or 1, **feedback, **effort, **shared
    )
    marker = _Marker.of(opened.retriever, wanted)
    rows = []
    for result in found:
        ticket.check()
        best = result.passages[0]
        explanation = None
        if wanted.explain:
            explanation = opened.explain(wanted.query, best.id, **feedback, **shared)
        rows.append(
            _result(
                result,
                wanted,
                shares=dict(best.shares) or None,
                snippet=None if marker is None else marker.mark(best.text),
                explanation=None if explanation is None else _explained(explanation),
                passages=[
                    models.PassageBody(start=p.start, end=p.end, score=p.score, text=p.text)
                    for p in result.passages
                ],
            )
        )
    return rows, found[0].missing if found else ()


def _arguments(
    wanted: models.SearchRequest,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Of searches and explanations, of searches alone, and of what is liked."""
    shared = {
        "filter": wanted.filter, "legs": wanted.legs, "fusion": _fusion(wanted.fusion),
        "depth": wanted.depth, "degrade": wanted.degrade,
    }  # fmt: skip
    effort = {"exact": wanted.exact, "recall": wanted.recall}
    return shared, effort, {"like": wanted.like, "unlike": wanted.unlike}


class _Marker:
    """Finds the passage of a text that answers a query best."""

    @classmethod
    def of(cls, retriever: Retriever, wanted: models.SearchRequest) -> _Marker | None:
        """None where no snippets are wanted."""
        if wanted.snippet is None:
            return None
        return cls(retriever, wanted.query or "", wanted.snippet)

    def __init__(self, retriever: Retriever, query: str, width: int) -> None:
        own = [getattr(each, "analyzer", None) for each in retriever.encoders.values()]
        self._analyzer: Analysis = next((each for each in own if each), load_analyzer("simple"))
        self._terms = {span.term for span in self._analyzer.spans(query)}
        self._width = width

    def mark(self, text: str) -> models.SnippetBody:
        snippet = make_snippet(text, self._terms, self._analyzer, self._width)
        return models.SnippetBody(text=snippet.text, marks=snippet.marks)


def _result(
    result: Result | ParentResult, wanted: models.SearchRequest, **more: Any
) -> models.ResultBody:
    return models.ResultBody(
        id=result.id,
        score=result.score,
        title=result.title,
        text=result.text if wanted.text else None,
        metadata=dict(result.metadata),
        **more,
    )


def _explained(explanation: Explanation) -> models.ExplanationBody:
    def terms(scores: Sequence[TermScore]) -> list[models.TermBody]:
        return [models.TermBody(**each._asdict()) for each in scores]

    legs = [
        models.LegBody(
            name=leg.name, score=leg.score, rank=leg.rank, share=leg.share,
            terms=terms(leg.terms), missing=list(leg.missing),
        )
        for leg in explanation.legs
    ]  # fmt: skip
    return models.ExplanationBody(
        score=explanation.score,
        terms=terms(explanation.terms),
        missing=list(explanation.missing),
        legs=legs,
    )


def _fusion(given: models.FusionBody | None) -> Fusion | None:
    if given is None:
        return None
    weights = None if given.weights is None else tuple(given.weights)
    if given.kind == "rrf":
        return ReciprocalRank(weights, given.k)
    return Convex(weights, given.kind)


def _vectors(retriever: Retriever, wanted: models.SearchRequest) -> Any:
    """The vectors of a request as the retriever takes them; None without."""
    given = wanted.vector is not None or wanted.vectors is not None
    if given and (wanted.query is not None or wanted.like or wanted.unlike):
        raise Problem(422, "Validation", "give a text, or vectors, not both")
    if wanted.vectors is not None:
        if wanted.vector is not None:
            raise Problem(422, "Validation", "give vector or vectors, not both")
        return {leg: _vector(retriever, leg, each) for leg, each in wanted.vectors.items()}
    if wanted.vector is None:
        return None
    legs = wanted.legs or retriever.legs
    return _vector(retriever, legs[0], wanted.vector)


def _vector(retriever: Retriever, leg: str, given: models.Vector) -> csr_array | list[float]:
    if leg not in retriever.legs:
        raise Problem(422, "Validation", f"there is no leg {leg!r}: {', '.join(retriever.legs)}")
    encoder = retriever.encoders.get(leg)
    if isinstance(encoder, DenseEncoder):
        return [float(v) for v in given if not isinstance(v, models.SparseValue)]
    values = [v for v in given if isinstance(v, models.SparseValue)]
    if len(values) < len(given):
        raise Problem(
            422, "Validation", f"the leg {leg!r} is of sparse vectors: give index and value of each"
        )
    from scipy.sparse import csr_array

    columns = np.array([v.index for v in values], np.int64)
    weights = np.array([v.value for v in values], np.float64)
    width = None if encoder is None else encoder.dim
    dim = width or min(MAX_DIM, int(columns.max(initial=0)) + 1)
    if len(columns) and columns.max() >= dim:
        raise Problem(422, "Validation", f"index {columns.max()} is not below {dim}")
    order = np.argsort(columns, kind="stable")
    return csr_array((weights[order], columns[order], np.array([0, len(values)])), shape=(1, dim))
