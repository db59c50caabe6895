"""``POST /indexes/{index}/search`` and ``POST /encode``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from sparseret.analysis import Analysis, load_analyzer
from sparseret.explanation import Explanation, TermScore
from sparseret.indexers.fusion import Convex, Fusion, ReciprocalRank
from sparseret.protocols import DenseEncoder, Encoder
from sparseret.retriever import Result, Retriever
from sparseret.serve import models
from sparseret.serve.bodies import DirectRoute, answer, takes
from sparseret.serve.problems import Problem, responses
from sparseret.serve.served import NAME
from sparseret.serve.service import Service
from sparseret.serve.work import Ticket
from sparseret.snippets import make_snippet
from sparseret.vectors import MAX_DIM

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["INDEX", "search_routes"]

INDEX = Path(description="Name of the index.", pattern=NAME, examples=["cranfield"])
_EXAMPLES = {
    "text": {"query": "heat transfer in hypersonic flow", "k": 3},
    "filter": {"query": "flutter", "filter": "year >= 1955", "explain": True, "snippet": 160},
    "vector": {"vector": [{"index": 17, "value": 1.5}, {"index": 230, "value": 0.25}]},
    "more like these": {"like": ["184", "29"], "unlike": ["31"]},
}
_TEXTS = {"query": {"inputs": "lift of a wing"}, "documents": {"inputs": ["a", "b"], "top": 10}}


def search_routes(service: Service) -> APIRouter:
    """Routes for searching and for looking at vectors."""
    router = APIRouter(tags=["search"], route_class=DirectRoute)

    @router.post(
        "/indexes/{index}/search",
        summary="Search an index by text, by vectors, or by documents like those wanted",
        responses={200: {"model": models.SearchAnswer}, **responses(404, 415, 422, 424)},
        openapi_extra=takes(models.SearchRequest, _EXAMPLES),
    )
    async def search(request: Request, index: str = INDEX) -> Response:
        retriever = service.indexes[index].retriever
        wanted = await service.body(request, models.SearchRequest)
        if wanted.k > service.settings.max_k:
            raise Problem(
                413, "Validation", f"k = {wanted.k} is above the limit of {service.settings.max_k}"
            )
        return await service.read(request, lambda ticket: _search(retriever, wanted, ticket))

    @router.post(
        "/encode",
        summary="Encode texts, and name the terms of their vectors",
        responses={200: {"model": models.EncodeAnswer}, **responses(404, 415, 422, 424)},
        openapi_extra=takes(models.EncodeRequest, _TEXTS),
    )
    async def encode(request: Request) -> Response:
        wanted = await service.body(request, models.EncodeRequest)
        texts = [wanted.inputs] if isinstance(wanted.inputs, str) else wanted.inputs
        limit = service.settings.max_inputs
        if len(texts) > limit:
            raise Problem(413, "Validation", f"{len(texts)} texts are above the limit of {limit}")
        encoder = _encoder(service, wanted)
        return await service.read(request, lambda _: _encode(encoder, texts, wanted))

    return router


def _search(retriever: Retriever, wanted: models.SearchRequest, ticket: Ticket) -> Response:
    began = time.perf_counter()
    shared: dict[str, Any] = {
        "filter": wanted.filter, "legs": wanted.legs, "fusion": _fusion(wanted.fusion),
        "depth": wanted.depth, "degrade": wanted.degrade,
    }  # fmt: skip
    effort: dict[str, Any] = {"exact": wanted.exact, "recall": wanted.recall}
    vectors = _vectors(retriever, wanted)
    feedback: dict[str, Any] = {"like": wanted.like, "unlike": wanted.unlike}
    legs = wanted.legs
    if vectors is None:
        found = retriever.search(wanted.query, wanted.k, **feedback, **effort, **shared)
    else:
        found = retriever.search_vectors(vectors, wanted.k, **effort, **shared)
        legs = list(vectors) if isinstance(vectors, Mapping) else legs
    explained: list[Explanation | None] = []
    for result in found:
        ticket.check()
        if not wanted.explain:
            explained.append(None)
        elif vectors is None:
            explained.append(retriever.explain(wanted.query, result.id, **feedback, **shared))
        else:
            explained.append(retriever.explain_vectors(vectors, result.id, **shared))
    mode = retriever.mode(wanted.k, legs=legs, **effort)
    marker = None
    if wanted.snippet is not None:
        marker = _Marker(retriever, wanted.query or "", wanted.snippet)
    rows = [
        _result(result, explanation, marker, with_text=wanted.text)
        for result, explanation in zip(found, explained, strict=True)
    ]
    told = models.Mode(
        exact=mode.exact,
        recall=None if np.isnan(mode.recall) else mode.recall,
        missing=list(found[0].missing) if found else [],
    )
    ms = (time.perf_counter() - began) * 1000
    return answer(models.SearchAnswer(results=rows, mode=told, ms=round(ms, 3)))


class _Marker:
    """Finds the passage of a text that answers a query best."""

    def __init__(self, retriever: Retriever, query: str, width: int) -> None:
        own = [getattr(each, "analyzer", None) for each in retriever.encoders.values()]
        self._analyzer: Analysis = next((each for each in own if each), load_analyzer("simple"))
        self._terms = {span.term for span in self._analyzer.spans(query)}
        self._width = width

    def mark(self, text: str) -> models.SnippetBody:
        snippet = make_snippet(text, self._terms, self._analyzer, self._width)
        return models.SnippetBody(text=snippet.text, marks=snippet.marks)


def _result(
    result: Result, explanation: Explanation | None, marker: _Marker | None, *, with_text: bool
) -> models.ResultBody:
    return models.ResultBody(
        id=result.id,
        score=result.score,
        title=result.title,
        text=result.text if with_text else None,
        metadata=dict(result.metadata),
        shares=dict(result.shares) or None,
        snippet=None if marker is None else marker.mark(result.text),
        explanation=None if explanation is None else _explained(explanation),
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


def _encoder(service: Service, wanted: models.EncodeRequest) -> Encoder:
    """The encoder of sparse vectors that is asked for."""
    if wanted.index is None:
        return service.sparse_encoder()
    encoders = service.indexes[wanted.index].retriever.current_encoders
    if wanted.leg is not None and wanted.leg not in encoders:
        raise Problem(
            404, "NotFound", f"no leg {wanted.leg!r}; there are: {', '.join(map(repr, encoders))}"
        )
    for name, encoder in encoders.items():
        if not isinstance(encoder, DenseEncoder) and wanted.leg in (None, name):
            return encoder
    raise Problem(424, "Backend", "only sparse vectors have terms: see /embed for dense ones")


def _encode(encoder: Encoder, texts: list[str], wanted: models.EncodeRequest) -> Response:
    query = wanted.kind == "query"
    rows = encoder.encode_queries(texts) if query else encoder.encode_documents(texts)
    encoded = []
    for begin, end in zip(rows.indptr, rows.indptr[1:], strict=False):
        columns, values = rows.indices[begin:end], rows.data[begin:end]
        order = np.lexsort((columns, -values))[: wanted.top]
        terms = [
            models.WeightedTerm(
                index=int(columns[i]), term=encoder.term(int(columns[i])), value=float(values[i])
            )
            for i in order
        ]
        encoded.append(models.EncodedText(terms=terms, nnz=len(columns)))
    return answer(models.EncodeAnswer(encoder=encoder.description, dim=encoder.dim, texts=encoded))
