"""Searches go past FastAPI's routing and layers, which take as long as one in a small index."""

from __future__ import annotations

import re
from typing import NamedTuple

from pydantic import ValidationError
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from sparseret.errors import SparseretError
from sparseret.serve.problems import Problem, problem_of
from sparseret.serve.search_routes import SEARCH, search_endpoint
from sparseret.serve.served import NAME
from sparseret.serve.service import Service

__all__ = ["Shortcut"]

_PATH = re.compile(SEARCH.replace("{index}", f"({NAME.strip('^$')})"))


class _Route(NamedTuple):
    """What the log asks of a route."""

    path: str


class Shortcut:
    """ASGI middleware: answers searches itself, as their route would; all else goes on.

    The route is there as well, for OpenAPI and for names that are none.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._search = search_endpoint(service)
        self._route = _Route(SEARCH)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        found = None
        if scope["type"] == "http" and scope["method"] == "POST":
            found = _PATH.fullmatch(scope["path"])
        if found is None:
            await self._app(scope, receive, send)
            return
        scope["route"], scope["path_params"] = self._route, {"index": found[1]}
        try:
            response = await self._search(Request(scope, receive), found[1])
        except (Problem, SparseretError, ValidationError) as error:
            problem = problem_of(error, self._service.without_paths)
            if problem is None:  # pragma: no cover - these are all known there
                raise
            response = problem.response()
        await response(scope, receive, send)
