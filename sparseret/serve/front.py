"""What every request passes first: who asks, from where, with which key. And what is noted."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sparseret.serve.keys import Key, KeyFile
from sparseret.serve.metrics import Metrics
from sparseret.serve.problems import Problem
from sparseret.serve.settings import Settings
from sparseret.serve.work import ClientGone

__all__ = ["PUBLIC", "Front", "may_write"]

PUBLIC = ("/", "/health", "/openapi.json")
"""What needs no key, with everything under /page/."""
_log = logging.getLogger("sparseret.serve")
_UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
_SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class Front:
    """ASGI middleware around the whole application."""

    def __init__(
        self, app: ASGIApp, settings: Settings, keys: KeyFile | None, metrics: Metrics
    ) -> None:
        self._app = app
        self._settings = settings
        self._allowed_hosts = settings.allowed_hosts
        self._keys = keys
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # no web sockets here: the connection is closed
        began = time.perf_counter()
        noted: dict[str, Any] = {"status": 499, "bytes": 0}

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                noted["status"] = message["status"]
                message["headers"] = [*message.get("headers", ()), *_SAFE_HEADERS]
            else:
                noted["bytes"] += len(message.get("body", b""))
            await send(message)

        key = None
        try:
            key = self._admit(scope)
            scope["key"] = key
            await self._app(scope, receive, noting)
        except Problem as problem:
            await problem.response()(scope, receive, noting)
        except ClientGone:
            pass
        finally:
            self._note(scope, key, noted, time.perf_counter() - began)

    def _admit(self, scope: Scope) -> Key | None:
        """The key that was shown, if keys are needed.

        Raises:
            Problem: another host or origin, or no key where one is needed.
        """
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if self._allowed_hosts is not None and _without_port(host) not in self._allowed_hosts:
            raise Problem(421, "Forbidden", f"this service is not {host!r}: allow it with --name")
        origin = headers.get(b"origin")
        if origin is not None and scope["method"] in _UNSAFE:
            named = origin.decode("latin-1").lower()
            own = named.partition("://")[2]
            if own != host and named not in self._settings.cors_origins:
                raise Problem(403, "Forbidden", "pages of other origins may not use this service")
        if self._keys is None:
            return None
        key = self._shown(headers)
        path, reading = scope["path"], scope["method"] in ("GET", "HEAD")
        public = reading and (path in PUBLIC or path.startswith("/page/"))
        if key is None and not public:
            raise Problem(401, "Unauthorized", "a key is needed: Authorization: Bearer KEY")
        return key

    def _shown(self, headers: dict[bytes, bytes]) -> Key | None:
        kind, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if kind.lower() != "bearer" or self._keys is None:
            return None
        return self._keys.find(token.strip())

    def _note(self, scope: Scope, key: Key | None, noted: dict[str, Any], seconds: float) -> None:
        """Count and log a request: its route, and nothing of what it asked or got."""
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.observe(scope["method"], route, noted["status"], seconds)
        if _log.isEnabledFor(logging.INFO):
            line = {
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "method": scope["method"],
                "route": route,
                "index": scope.get("path_params", {}).get("index"),
                "status": noted["status"],
                "bytes": noted["bytes"],
                "ms": round(seconds * 1000, 3),
                "key": None if key is None else key.name,
                "client": (scope.get("client") or ("",))[0],
            }
            _log.info(json.dumps(line))


def may_write(scope: Scope, *, keys: bool) -> None:
    """Refuse a key that may only read. Raises Problem."""
    key: Key | None = scope.get("key")
    if keys and (key is None or "write" not in key.scopes):
        raise Problem(403, "Forbidden", "this needs a key that may write")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
