"""Work off the event loop: a bounded pool, with refusals, time limits and clients that leave."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from starlette.requests import Request

from sparseret.serve.problems import Problem

__all__ = ["ClientGone", "Ticket", "Work", "current_ticket"]

T = TypeVar("T")
_UNWATCHED = 0.05
"""Seconds before a client is watched for leaving, and a request for being late."""
_current = threading.local()


class Ticket:
    """Of one request: whether anybody still waits for its result."""

    __slots__ = ("_deadline", "given_up")

    def __init__(self, timeout: float) -> None:
        self._deadline = time.monotonic() + timeout
        self.given_up = False

    @property
    def wanted(self) -> bool:
        """Whether the client is there and its time not over."""
        return not self.given_up and time.monotonic() < self._deadline

    def check(self) -> None:
        """Stop here if nobody waits any more. Raises Problem."""
        if not self.wanted:
            raise Problem(504, "Timeout", "the request was given up")


def current_ticket() -> Ticket | None:
    """That of the request which this thread works on."""
    return getattr(_current, "ticket", None)


class Work:
    """Threads for requests, and how many may wait for one.

    Args:
        threads: requests that are worked on at once.
        queue: requests that may wait besides.
        timeout: seconds from acceptance to the answer.
        name: of the threads.
    """

    def __init__(self, threads: int, queue: int, timeout: float, name: str) -> None:
        self.capacity = threads + queue
        self.timeout = timeout
        self.taken = 0
        """Requests that wait or are worked on; those given up count until their thread is free."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"sparseret-{name}")

    async def run(self, request: Request, task: Callable[[Ticket], T]) -> T:
        """The result of a task in a thread.

        Raises:
            Problem: too many others (429), or it took too long (504).
            ClientGone: nobody is there to be answered any more.
        """
        if self.taken >= self.capacity:
            raise Problem(429, "Overloaded", "the service is overloaded: try again", retry_after=1)
        loop = asyncio.get_running_loop()
        ticket, waiter = Ticket(self.timeout), loop.create_future()
        self.taken += 1
        job = self._pool.submit(_do, task, ticket)
        job.add_done_callback(lambda _: _call_soon(loop, lambda: self._finished(waiter)))
        # What follows is only set up where it is needed: nearly all requests are done by then.
        patience: asyncio.TimerHandle = loop.call_later(_UNWATCHED, self._watch, request, waiter)
        try:
            await waiter
            return job.result()
        finally:
            patience.cancel()
            ticket.given_up = True
            job.cancel()

    def _finished(self, waiter: asyncio.Future[None]) -> None:
        self.taken -= 1
        if not waiter.done():
            waiter.set_result(None)

    def _watch(self, request: Request, waiter: asyncio.Future[None]) -> None:
        """End the wait with the time, or with the client's patience."""
        gone = asyncio.ensure_future(_disconnected(request))
        late = asyncio.get_running_loop().call_later(
            self.timeout - _UNWATCHED, _fail, waiter,
            Problem(504, "Timeout", f"the request took longer than {self.timeout:g} s"),
        )  # fmt: skip
        gone.add_done_callback(lambda _: _fail(waiter, ClientGone()))

        def settled(_: asyncio.Future[None]) -> None:
            gone.cancel()
            late.cancel()

        waiter.add_done_callback(settled)

    def close(self) -> None:
        """Finish what was accepted."""
        self._pool.shutdown(wait=True)


class ClientGone(Exception):  # noqa: N818
    """Nobody is there to be answered."""


def _do(task: Callable[[Ticket], T], ticket: Ticket) -> T:
    ticket.check()
    _current.ticket = ticket
    try:
        return task(ticket)
    finally:
        _current.ticket = None


def _fail(waiter: asyncio.Future[None], reason: Exception) -> None:
    if not waiter.done():
        waiter.set_exception(reason)


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
