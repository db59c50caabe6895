"""The service on a port: uvicorn, with limits of connections and of time for requests to arrive."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

from sparseret.errors import ConfigurationError, MissingExtraError
from sparseret.serve.app import create_app
from sparseret.serve.service import Service

__all__ = ["run"]

_PART = 2**16
"""Bytes of a long request that must come in the time for a whole short one, and most that headers
may have."""


def run(service: Service) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was accepted.

    Raises:
        MissingExtraError: uvicorn is not installed.
        ConfigurationError: the port cannot be had.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtraError("uvicorn", "serve", "serving") from error
    settings = service.settings
    _log_lines()
    config = uvicorn.Config(
        create_app(service),
        host=settings.host,
        port=settings.port,
        http=_protocol(settings.body_timeout, settings.max_connections),
        ws="none",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.shutdown_timeout),
    )
    server = uvicorn.Server(config)
    announce = server.startup

    async def startup(sockets: Any = None) -> None:
        await announce(sockets)
        for each in server.servers:
            for socket in each.sockets:
                address = socket.getsockname()
                shown = f"[{address[0]}]" if ":" in address[0] else address[0]
                print(f"serving at http://{shown}:{address[1]}", flush=True)

    server.startup = startup  # type: ignore[method-assign]
    try:
        server.run()
    except SystemExit as end:  # uvicorn's way to say that it could not start
        if end.code:
            raise ConfigurationError(
                f"{settings.host}:{settings.port} cannot be listened on: take another --port"
            ) from end


def _protocol(timeout: float, most: int) -> type[asyncio.Protocol]:
    """Uvicorn's protocol, which has no limits of its own for connections that send nothing."""
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    base: Any = AutoHTTPProtocol

    class LimitedProtocol(base):  # type: ignore[misc]
        """Closes connections beyond a number, and those whose requests do not come.

        A request must be there in the time; a long one at least a part of it in each such time.
        """

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self._patience: asyncio.TimerHandle | None = None
            self._received = 0
            if len(self.connections) > most:
                transport.close()
                return
            self._wait()

        def data_received(self, data: bytes) -> None:
            if self._patience is None and self._settled():
                self._wait()  # a further request on the same connection
            self._received += len(data)
            super().data_received(data)
            if self._patience is None or (self._received < _PART and not self._arrived()):
                return
            self._patience.cancel()
            self._patience = None
            if self._arrived():
                return
            if self._settled():
                self._give_up()  # headers without end
            else:
                self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            if self._patience is not None:
                self._patience.cancel()
                self._patience = None
            super().connection_lost(exc)

        def _settled(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _arrived(self) -> bool:
            return self.cycle is not None and not self.cycle.more_body

        def _wait(self) -> None:
            self._received = 0
            self._patience = self.loop.call_later(timeout, self._give_up)

        def _give_up(self) -> None:
            self._patience = None
            if not self.transport.is_closing():
                self.transport.abort()

    return LimitedProtocol


def _log_lines() -> None:
    """Log requests to standard error, a JSON object a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("sparseret.serve")
    log.handlers = [handler]
    log.propagate = False
    log.setLevel(logging.INFO)
