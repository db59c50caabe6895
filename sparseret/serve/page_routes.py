"""``/`` and ``/page/{file}``: the page of the service, which is one more client of its API."""

from __future__ import annotations

import hashlib
from pathlib import Path as FilePath
from typing import NamedTuple

from fastapi import APIRouter, Request
from starlette.responses import Response

from sparseret.serve.problems import Problem

__all__ = ["page_routes"]

_FOLDER = FilePath(__file__).parent / "page"
_HTML = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    # Documents may hold anything. Whatever became of one, no script or style of it would run, and
    # nothing could be sent elsewhere.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # asked for again each time, and seldom sent again
}


class _File(NamedTuple):
    content: bytes
    media_type: str
    etag: str


def page_routes() -> APIRouter:
    """Routes of the page. All of its files are read now; what clients ask for opens none."""
    files = {path.name: _read(path) for path in _FOLDER.iterdir() if path.suffix in _TYPES}
    router = APIRouter(include_in_schema=False)

    async def page(request: Request) -> Response:
        return _answer(request, files[_HTML])

    async def file(request: Request, name: str) -> Response:
        if name not in files or name == _HTML:
            raise Problem(404, "NotFound", "the page has no such file")
        return _answer(request, files[name])

    router.add_api_route("/", page, methods=["GET", "HEAD"])
    router.add_api_route("/page/{name}", file, methods=["GET", "HEAD"])
    return router


def _read(path: FilePath) -> _File:
    content = path.read_bytes()
    return _File(content, _TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def _answer(request: Request, file: _File) -> Response:
    headers = {**_HEADERS, "ETag": file.etag}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(None, 304, headers)
    return Response(file.content, 200, headers, file.media_type)
