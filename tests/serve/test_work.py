"""Threads of a service: refusals, time limits, clients that leave; texts in micro-batches."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from sparseret.serve.micro_batches import MicroBatcher, batching
from sparseret.serve.problems import Problem
from sparseret.serve.service import Service
from sparseret.serve.work import ClientGone, Ticket, Work


class Client:
    """A client that stays until it leaves."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def receive(self) -> dict[str, str]:
        await self.left.wait()
        return {"type": "http.disconnect"}


def run(test: Callable[[], Any]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


def test_more_than_the_queue_is_refused() -> None:
    async def test() -> None:
        work, block = Work(2, 3, 30, "test"), threading.Event()
        waiting = [
            asyncio.create_task(work.run(Client(), lambda _: block.wait(20)))  # type: ignore[arg-type]
            for _ in range(5)
        ]
        await asyncio.sleep(0.05)
        with pytest.raises(Problem) as refused:
            await work.run(Client(), lambda _: 1)  # type: ignore[arg-type]
        assert (refused.value.status, refused.value.retry_after) == (429, 1)
        assert refused.value.response().headers["retry-after"] == "1"
        block.set()
        assert await asyncio.gather(*waiting) == [True] * 5
        assert await work.run(Client(), lambda _: 1) == 1  # type: ignore[arg-type]
        assert work.taken == 0
        work.close()

    run(test)


def test_what_takes_too_long_is_given_up() -> None:
    async def test() -> None:
        work, block, seen = Work(1, 5, 0.2, "test"), threading.Event(), []

        def slow(ticket: Ticket) -> None:
            block.wait(20)
            seen.append(ticket.wanted)
            ticket.check()

        with pytest.raises(Problem) as late:
            await work.run(Client(), slow)  # type: ignore[arg-type]
        assert (late.value.status, late.value.kind) == (504, "Timeout")
        assert work.taken == 1  # its thread is not free yet
        never: list[int] = []
        with pytest.raises(Problem):
            await work.run(Client(), lambda _: never.append(1))  # type: ignore[arg-type]
        block.set()
        work.close()
        await asyncio.sleep(0.05)
        assert (seen, never, work.taken) == ([False], [], 0)

    run(test)


def test_a_client_that_leaves_frees_its_place() -> None:
    async def test() -> None:
        work, block = Work(1, 5, 30, "test"), threading.Event()
        first = asyncio.create_task(work.run(Client(), lambda _: block.wait(20)))  # type: ignore[arg-type]
        leaving, ran = Client(), []
        second = asyncio.create_task(work.run(leaving, lambda _: ran.append(1)))  # type: ignore[arg-type]
        await asyncio.sleep(0.1)
        leaving.left.set()
        with pytest.raises(ClientGone):
            await second
        block.set()
        await first
        work.close()
        await asyncio.sleep(0.05)
        assert (ran, work.taken) == ([], 0)

    run(test)


def test_errors_reach_who_asked() -> None:
    async def test() -> None:
        work = Work(1, 5, 30, "test")
        with pytest.raises(ZeroDivisionError):
            await work.run(Client(), lambda _: 1 // 0)  # type: ignore[arg-type]
        work.close()

    run(test)


class Slow:
    """Rows of a text's length; the first call waits until it is let go."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.go = threading.Event()

    def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        self.calls.append(texts)
        self.go.wait(20)
        if "bad" in texts:
            raise ValueError("a bad text")
        return np.array([[len(text)] for text in texts], np.float32)


def test_texts_that_wait_go_together() -> None:
    slow = Slow()
    batcher: MicroBatcher[NDArray[np.float32]] = MicroBatcher(slow, 4)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batcher, ["a"])
        while not slow.calls:
            time.sleep(0.001)
        others = []
        for i in range(2, 8):
            others.append(pool.submit(batcher, ["a" * i]))
            while len(batcher._queue) < len(others):
                time.sleep(0.001)
        slow.go.set()
        assert first.result().tolist() == [[1]]
        assert [other.result().tolist() for other in others] == [[[i]] for i in range(2, 8)]
    assert [len(call) for call in slow.calls] == [1, 4, 2]
    assert batcher.calls == 3


def test_a_bad_text_fails_alone() -> None:
    slow = Slow()
    batcher: MicroBatcher[NDArray[np.float32]] = MicroBatcher(slow, 8)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batcher, ["a"])
        while not slow.calls:
            time.sleep(0.001)
        jobs = [pool.submit(batcher, [text]) for text in ("bb", "bad", "cccc")]
        while len(batcher._queue) < 3:
            time.sleep(0.001)
        slow.go.set()
        assert first.result().tolist() == [[1]]
        assert jobs[0].result().tolist() == [[2]]
        with pytest.raises(ValueError, match="bad text"):
            jobs[1].result()
        assert jobs[2].result().tolist() == [[4]]


def test_one_request_may_be_larger_than_a_batch() -> None:
    batcher: MicroBatcher[NDArray[np.float32]] = MicroBatcher(
        lambda texts: np.ones((len(texts), 1), np.float32), 2
    )
    assert batcher(["a"] * 5).shape == (5, 1)
    assert batcher([]).shape == (0, 1)


def test_searches_share_the_model(start: Callable[..., TestClient], letters: Any) -> None:
    client = start()
    before = len(letters.calls)
    for _ in range(3):
        wanted = {"query": "wing", "explain": True}
        assert client.post("/indexes/mixed/search", json=wanted).status_code == 200
    # One query, encoded once: its vector is remembered, for explanations and the next search.
    assert letters.calls[before:] == [["wing"]]


def test_models_are_loaded_before_the_first_request(folder: Path, letters: Any) -> None:
    service = Service([folder], encoders={"letters": letters})
    service.warm()
    assert letters.calls[-1] == ["warm"]
    assert service.indexes["mixed"].retriever.search("wing", legs=["letters"])
    service.close()


def test_encoders_of_counts_are_left_alone() -> None:
    from sparseret.registry import load_encoder

    encoder = load_encoder("bm25")
    assert batching(encoder, 8) is encoder
