"""What a request is told that cannot be done: status, kind and message, the same body everywhere.

The body is that of Hugging Face's text-embeddings-inference (TEI), as are the statuses of the
endpoints that it has, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from sparseret import errors

__all__ = ["Problem", "ProblemBody", "ProblemType", "problem_of", "responses"]

ProblemType = Literal[
    "Backend", "Overloaded", "Validation", "Tokenizer", "Empty", "NotFound",
    "Conflict", "Unauthorized", "Forbidden", "Timeout", "Unsupported",
]  # fmt: skip


class ProblemBody(BaseModel):
    """Why a request was refused or failed."""

    error: str
    """For people: what is wrong, and what to do."""
    error_type: ProblemType


class Problem(Exception):  # noqa: N818 - not an error of the service, but its answer
    """Ends a request with a status and a reason."""

    def __init__(
        self,
        status: int,
        kind: ProblemType,
        message: str,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind: ProblemType = kind
        self.retry_after = retry_after
        self.headers = headers or {}

    def response(self) -> Response:
        """As the client gets it."""
        headers = dict(self.headers)
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        body = ProblemBody(error=_printable(str(self)), error_type=self.kind)
        return Response(body.model_dump_json(), self.status, headers, "application/json")


_STATUSES: tuple[tuple[type[Exception], int, ProblemType], ...] = (
    (errors.DuplicateIdError, 409, "Conflict"),
    (errors.IndexExistsError, 409, "Conflict"),
    (errors.IndexLockedError, 409, "Conflict"),
    (errors.IndexNotFoundError, 404, "NotFound"),
    (errors.MissingExtraError, 424, "Backend"),
    (errors.LegError, 424, "Backend"),
    (errors.RerankError, 424, "Backend"),
    (errors.ConfigurationError, 422, "Validation"),
    (errors.DocumentError, 422, "Validation"),
    (errors.FilterError, 422, "Validation"),
    (errors.VectorError, 422, "Validation"),
    (errors.StorageError, 507, "Backend"),
    (errors.SparseretError, 424, "Backend"),
)


def problem_of(error: Exception, told: Callable[[str], str] = lambda text: text) -> Problem | None:
    """What an error is to a client; None for a mistake in the service.

    Args:
        error: raised by a route.
        told: what a client is told in place of a message of the library.
    """
    if isinstance(error, Problem):
        return error
    if isinstance(error, ValidationError):
        return Problem(422, "Validation", _told(error))
    for kind, status, name in _STATUSES:
        if isinstance(error, kind):
            return Problem(status, name, told(str(error)))
    return None


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of these statuses, and of those that any request may have."""
    return {status: _RESPONSES[status] for status in (*statuses, 401, 403, 413, 429, 504)}


def _response(description: str, **example: str) -> dict[str, Any]:
    content = {"application/json": {"example": example}}
    return {"description": description, "model": ProblemBody, "content": content}


_RESPONSES: Mapping[int, dict[str, Any]] = {
    400: _response("Nothing was given", error="`inputs` cannot be empty", error_type="Empty"),
    401: _response("No key, or an unknown one", error="a key is needed", error_type="Unauthorized"),
    403: _response("The key, or the page, may not", error="needs a key that may write",
                   error_type="Forbidden"),
    404: _response("No such index or document", error="no index 'news'", error_type="NotFound"),
    409: _response("In the way of what is there", error="document id 'a' is in the index already",
                   error_type="Conflict"),
    413: _response("Larger than the limit", error="batch size 33 > maximum allowed batch size 32",
                   error_type="Validation"),
    415: _response("Another content type", error="send application/json",
                   error_type="Unsupported"),
    422: _response("Values that cannot be", error="k: should be at least 1",
                   error_type="Validation"),
    424: _response("A model or a file is not there", error="no dense encoder is served",
                   error_type="Backend"),
    429: _response("Too busy", error="the service is overloaded", error_type="Overloaded"),
    504: _response("Took too long", error="the request took longer than 30 s",
                   error_type="Timeout"),
    507: _response("The disk refused", error="no space left on device", error_type="Backend"),
}  # fmt: skip


def _told(error: ValidationError) -> str:
    """All that is wrong, one line, without what was given: it may be a document."""
    seen = []
    for each in error.errors(include_url=False, include_input=False, include_context=False)[:5]:
        place = ".".join(str(part) for part in each["loc"])
        seen.append(f"{place}: {each['msg']}" if place else str(each["msg"]))
    left = error.error_count() - len(seen)
    return "; ".join(seen) + (f"; and {left} more" if left > 0 else "")


def _printable(text: str) -> str:
    """Without halves of surrogate pairs, which JSON in UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode()
