"""``POST /indexes/{index}/search`` and ``POST /encode``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import numpy as np
from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from sparseret.protocols import DenseEncoder, Encoder
from sparseret.serve import models
from sparseret.serve.bodies import DirectRoute, answer, takes
from sparseret.serve.problems import Problem, responses
from sparseret.serve.searching import search_index
from sparseret.serve.served import NAME
from sparseret.serve.service import Service

__all__ = ["INDEX", "SEARCH", "search_endpoint", "search_routes"]

SEARCH = "/indexes/{index}/search"

INDEX = Path(description="Name of the index.", pattern=NAME, examples=["cranfield"])
_EXAMPLES = {
    "text": {"query": "heat transfer in hypersonic flow", "k": 3},
    "filter": {"query": "flutter", "filter": "year >= 1955", "explain": True, "snippet": 160},
    "vector": {"vector": [{"index": 17, "value": 1.5}, {"index": 230, "value": 0.25}]},
    "more like these": {"like": ["184", "29"], "unlike": ["31"]},
}
_TEXTS = {"query": {"inputs": "lift of a wing"}, "documents": {"inputs": ["a", "b"], "top": 10}}


def search_endpoint(service: Service) -> Callable[[Request, str], Awaitable[Response]]:
    """What answers ``POST /indexes/{index}/search``."""

    async def search(request: Request, index: str = INDEX) -> Response:
        opened = service.indexes[index].opened
        wanted = await service.body(request, models.SearchRequest)
        if wanted.k > service.settings.max_k:
            raise Problem(
                413, "Validation", f"k = {wanted.k} is above the limit of {service.settings.max_k}"
            )
        return await service.read(
            request, lambda ticket: answer(search_index(opened, wanted, ticket))
        )

    return search


def search_routes(service: Service) -> APIRouter:
    """Routes for searching and for looking at vectors."""
    router = APIRouter(tags=["search"], route_class=DirectRoute)
    router.add_api_route(
        SEARCH,
        search_endpoint(service),
        methods=["POST"],
        summary="Search an index by text, by vectors, or by documents like those wanted",
        responses={200: {"model": models.SearchAnswer}, **responses(404, 415, 422, 424)},
        openapi_extra=takes(models.SearchRequest, _EXAMPLES),
    )

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
