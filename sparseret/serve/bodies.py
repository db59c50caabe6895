"""Bodies of requests: bounded in size, checked, and parsed off the event loop if large."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from sparseret.serve.problems import Problem
from sparseret.serve.work import ClientGone

__all__ = ["DirectRoute", "answer", "parse", "read_body", "takes"]

M = TypeVar("M", bound=BaseModel)
JSON = "application/json"
NDJSON = "application/x-ndjson"


async def read_body(request: Request, limit: int, content_type: str) -> bytes:
    """The whole body; how long it may take is up to the server.

    Raises:
        Problem: another content type, too large, or compressed.
        ClientGone: the client left while it sent.
    """
    headers = request.headers
    given = headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != content_type:
        # Another type could be sent by any web page without asking.
        raise Problem(415, "Unsupported", f"send the content type {content_type}, not {given!r}")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "Unsupported", "send the body as it is, not compressed")
    declared = headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            parts.append(part)
    except ClientDisconnect:
        raise ClientGone from None
    return b"".join(parts)


class DirectRoute(APIRoute):
    """A route that hands the request to its endpoint, with the parts of the path by their names.

    FastAPI describes it, and does not look into it: that takes it longer than a search does.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What serves a request."""
        endpoint = self.endpoint

        async def serve(request: Request) -> Response:
            made: Response = await endpoint(request, **request.path_params)
            return made

        return serve


def parse(model: type[M], body: bytes) -> M:
    """The body as an object; pydantic's ValidationError where it is none."""
    return model.model_validate_json(body)


def answer(model: BaseModel, status: int = 200) -> Response:
    """An object as a response."""
    return Response(model.model_dump_json(exclude_none=True), status, media_type=JSON)


def takes(
    model: type[BaseModel], examples: Mapping[str, Any], content_type: str = JSON
) -> dict[str, Any]:
    """What OpenAPI says of a body that the endpoint itself reads.

    Args:
        model: of the body; of each line where that is NDJSON.
        examples: by name.
        content_type: JSON, unless given.
    """
    reference = {"$ref": f"#/components/schemas/{model.__name__}"}
    shown = {name: {"value": value} for name, value in examples.items()}
    content = {content_type: {"schema": reference, "examples": shown}}
    return {"requestBody": {"required": True, "content": content}}


def _too_large(limit: int) -> Problem:
    return Problem(413, "Validation", f"the body is larger than the limit of {limit} bytes")
