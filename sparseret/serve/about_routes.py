"""``/info``, ``/health`` and ``/metrics``: what the service is and how it fares."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import PlainTextResponse, Response

from sparseret import __version__
from sparseret.protocols import DenseEncoder
from sparseret.serve import tei_models as models
from sparseret.serve.bodies import answer
from sparseret.serve.problems import responses
from sparseret.serve.service import Service
from sparseret.serve.tokens import Tokens

__all__ = ["about_routes"]

_MANY_TOKENS = 16384


def about_routes(service: Service) -> APIRouter:
    """Routes about the service itself."""
    router = APIRouter(tags=["service"])

    @router.get(
        "/info",
        summary="What is served, and its limits",
        responses={200: {"model": models.Info}, **responses()},
    )
    async def info() -> Response:
        return answer(_info(service))

    @router.get(
        "/health",
        summary="Whether the service answers",
        response_class=Response,
        responses={200: {"description": "It does"}},
    )
    async def health() -> Response:
        return Response(status_code=200)

    @router.get(
        "/metrics",
        summary="Counts and times for Prometheus",
        response_class=PlainTextResponse,
        responses={200: {"content": {"text/plain": {}}}, **responses()},
    )
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    return router


def _info(service: Service) -> models.Info:
    settings = service.settings
    served = service.encoders_served()
    model: dict[str, dict[str, str]] = {"embedding": {"pooling": "none"}}
    length, name, space = 0, "none", None
    if served:
        first = served[0]
        name, space = first.description, first.space
        sparse = not isinstance(first, DenseEncoder)
        model = {"embedding": {"pooling": "splade" if sparse else "mean"}}
        tokens = Tokens.of(first)
        length = 0 if tokens is None else tokens.max_length
    return models.Info(
        model_id=name,
        model_sha=space,
        model_dtype="float32",
        model_type=model,
        max_concurrent_requests=service.reads.capacity,
        max_input_length=length,
        max_batch_tokens=_MANY_TOKENS,
        max_batch_requests=settings.max_batch,
        max_client_batch_size=settings.max_inputs,
        auto_truncate=False,
        tokenization_workers=settings.threads,
        version=__version__,
        max_k=settings.max_k,
        indexes=[index.name for index in service.indexes.all()],
    )
