"""The HTTP application: routes, errors, and what surrounds them."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

from sparseret import __version__
from sparseret.errors import SparseretError
from sparseret.serve import models, tei_models
from sparseret.serve.about_routes import about_routes
from sparseret.serve.document_routes import document_routes
from sparseret.serve.front import PUBLIC, Front
from sparseret.serve.index_routes import index_routes
from sparseret.serve.page_routes import page_routes
from sparseret.serve.problems import Problem, ProblemType, problem_of
from sparseret.serve.search_routes import search_routes
from sparseret.serve.service import Service
from sparseret.serve.shortcut import Shortcut
from sparseret.serve.tei_routes import tei_routes

__all__ = ["create_app"]

_BODIES: tuple[type[BaseModel], ...] = (
    models.CreateRequest, models.DeleteRequest, models.DocumentIn, models.EncodeRequest,
    models.SearchRequest, tei_models.EmbedRequest, tei_models.EmbedSparseRequest,
    tei_models.RerankRequest, tei_models.TokenizeRequest,
)  # fmt: skip
"""Of requests that are read by the routes themselves, for OpenAPI."""
_KINDS: dict[int, ProblemType] = {404: "NotFound", 405: "Unsupported"}
_DESCRIPTION = """Sparse, dense and hybrid search over indexes of sparseret.

Encoding endpoints are those of Hugging Face's text-embeddings-inference. All errors look alike:
`{"error": "what is wrong", "error_type": "its kind"}`."""


def create_app(service: Service) -> FastAPI:
    """The application of a service, for any ASGI server; it closes the service when it ends.

    :func:`sparseret.serve.server.run` serves it with all limits; another server must set limits of
    connections and of time for headers itself.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        over = threading.Event()
        refreshing = threading.Thread(target=_refresh, args=(service, over), daemon=True)
        refreshing.start()
        try:
            yield
        finally:
            over.set()
            service.close()

    front = Middleware(Front, settings=service.settings, keys=service.keys, metrics=service.metrics)
    allowed = service.settings.cors_origins
    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(allowed),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["Authorization", "Content-Type"],
    )
    app = FastAPI(
        title="sparseret",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # these pages come from elsewhere
        redoc_url=None,
        middleware=[*([cors] if allowed else []), front, Middleware(Shortcut, service=service)],
    )
    for routes in (search_routes, tei_routes, document_routes, index_routes, about_routes):
        app.include_router(routes(service))
    app.include_router(page_routes())

    async def explain(request: Request, error: Exception) -> Response:  # noqa: ARG001
        return _problem(error, service).response()

    for kind in (Problem, SparseretError, ValidationError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, explain)
    app.add_exception_handler(Exception, _failed)
    _describe(app, with_keys=service.keys is not None)
    return app


def _refresh(service: Service, over: threading.Event) -> None:
    while not over.wait(service.settings.refresh):
        with suppress(SparseretError, OSError):  # then the state that was read before is served on
            service.indexes.refresh()


def _problem(error: Exception, service: Service) -> Problem:
    if isinstance(error, HTTPException):
        kind = _KINDS.get(error.status_code, "Validation")
        return Problem(error.status_code, kind, str(error.detail), headers=error.headers)
    if isinstance(error, RequestValidationError):
        told = "; ".join(
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()
        )
        return Problem(422, "Validation", told)
    problem = problem_of(error, service.without_paths)
    if problem is None:  # pragma: no cover - only of kinds that are known there
        raise error
    return problem


async def _failed(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """A mistake of ours: the log has it, the client does not."""
    return Problem(500, "Backend", "the service failed; its log has the reason").response()


def _describe(app: FastAPI, *, with_keys: bool) -> None:
    """Complete what FastAPI says in OpenAPI of bodies and keys."""
    made = app.openapi  # before it is replaced

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = made()
            reference = "#/components/schemas/{model}"
            _, bodies = models_json_schema(
                [(model, "validation") for model in _BODIES], ref_template=reference
            )
            components = schema.setdefault("components", {})
            components.setdefault("schemas", {}).update(bodies["$defs"])
            if with_keys:
                components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
                for path, operations in schema["paths"].items():
                    for operation in operations.values():
                        if path not in PUBLIC:
                            operation["security"] = [{"key": []}]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
