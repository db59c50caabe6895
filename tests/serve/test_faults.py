"""The service as a process: killed, stopped, and attacked through raw sockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sparseret import Retriever
from sparseret.indexers.verify import verify_index

pytest.importorskip("uvicorn", reason="uvicorn is not installed (sparseret[serve])")


class Process:
    """``sparseret serve`` in a process of its own."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, "-c", "from sparseret.cli.app import main; main()", "serve"]
        self.process = subprocess.Popen(
            [*command, "--port", "0", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tempfile.gettempdir(),  # not the sources: they lack the native module
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("serving at http://127.0.0.1:"), self.process.communicate()
        self.port = int(line.rpartition(":")[2])
        self.log: list[str] = []
        threading.Thread(target=self._read_log, daemon=True).start()

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        self.log.extend(self.process.stderr)

    def ask(self, method: str, path: str, body: Any = None, kind: str = "json") -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers = {"content-type": f"application/{kind}"}
            connection.request(method, path, None if body is None else data, headers)
            answer = connection.getresponse()
            read = answer.read()
            return answer.status, json.loads(read) if read else None
        finally:
            connection.close()

    def add(self, *documents: Any, mode: str = "add") -> tuple[int, Any]:
        body = b"\n".join(json.dumps(document).encode() for document in documents)
        path = f"/indexes/words/documents?mode={mode}"
        return self.ask("POST", path, body, "x-ndjson")

    def is_writing(self) -> bool:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port)) as connection:
            connection.request("GET", "/metrics")
            told = connection.getresponse().read().decode()
        return 'sparseret_requests_in_progress{kind="write"} 1.0' in told

    def socket(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


@pytest.fixture
def serve(folder: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def serve(*arguments: object) -> Process:
        started.append(Process(folder / "words.idx", *arguments))
        return started[-1]

    yield serve
    for each in started:
        each.process.kill()
        each.process.communicate()


def test_a_kill_loses_nothing_that_was_acknowledged(
    serve: Callable[..., Process], folder: Path
) -> None:
    acknowledged: list[str] = []
    for round_ in range(3):
        service = serve()
        stop = threading.Event()

        def write(service: Process, worker: int, name: str, stop: threading.Event) -> None:
            for i in range(10_000):
                if stop.is_set():
                    return
                ids = [f"{name}-{worker}-{i}-{j}" for j in range(3)]
                try:
                    status, _ = service.add(*({"id": id, "text": "wing in a jet"} for id in ids))
                except (OSError, http.client.HTTPException):
                    return
                if status == 200:
                    acknowledged.extend(ids)

        writers = [
            threading.Thread(target=write, args=(service, worker, f"r{round_}", stop))
            for worker in range(3)
        ]
        for writer in writers:
            writer.start()
        before = len(acknowledged)
        while len(acknowledged) < before + 30 * (round_ + 1):
            time.sleep(0.005)
        service.process.send_signal(signal.SIGKILL)
        stop.set()
        for writer in writers:
            writer.join()
        verify_index(folder / "words.idx")
        with Retriever.open(folder / "words.idx") as retriever:
            kept = {document.id for document in retriever.documents()}
            assert {*acknowledged} <= kept
            # A request is there as a whole or not at all.
            assert (len(kept) - 3) % 3 == 0
            assert len(retriever.search("jet", k=len(kept))) == len(kept) - 3


def test_a_stop_finishes_what_was_accepted(serve: Callable[..., Process], folder: Path) -> None:
    service = serve()
    documents = [{"id": f"d{i}", "text": "wing " * 200} for i in range(3000)]
    answers: list[tuple[int, Any]] = []
    asking = threading.Thread(target=lambda: answers.append(service.add(*documents)))
    asking.start()
    while not service.is_writing() and not answers:
        time.sleep(0.001)
    service.process.send_signal(signal.SIGTERM)
    asking.join()
    assert answers == [(200, {"accepted": 3000, "documents": 3003})]
    assert service.process.wait(30) in (0, -signal.SIGTERM)
    with Retriever.open(folder / "words.idx") as retriever:
        assert len(retriever) == 3003
    with pytest.raises(ConnectionRefusedError):
        service.socket()


def test_those_who_send_nothing_are_sent_away(serve: Callable[..., Process]) -> None:
    service = serve("--limit", "body_timeout=0.5", "--limit", "max_connections=20")
    idle = [service.socket() for _ in range(10)]
    drip = service.socket()
    drip.sendall(b"POST /indexes/words/search HTTP/1.1\r\nHost: localhost\r\n")
    body = service.socket()
    body.sendall(
        b"POST /indexes/words/search HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    began = time.monotonic()
    for each in (*idle, drip, body):
        with contextlib.suppress(ConnectionResetError):
            while time.monotonic() < began + 15:
                with contextlib.suppress(BrokenPipeError):
                    if each is drip:
                        each.sendall(b"X: y\r\n")
                each.settimeout(0.2)
                try:
                    if each.recv(1000) == b"":
                        break
                except TimeoutError:
                    continue
        each.close()
    assert time.monotonic() < began + 15
    assert service.ask("POST", "/indexes/words/search", {"query": "wing"})[0] == 200


def test_more_connections_than_the_limit_are_closed(serve: Callable[..., Process]) -> None:
    service = serve("--limit", "max_connections=5")
    held = [service.socket() for _ in range(5)]
    extra = service.socket()
    extra.settimeout(10)
    with contextlib.suppress(ConnectionResetError):
        assert extra.recv(1) == b""
    for each in held:
        each.close()
    for _ in range(100):
        with contextlib.suppress(OSError, http.client.HTTPException):
            if service.ask("GET", "/health")[0] == 200:
                return
        time.sleep(0.05)
    pytest.fail("the service did not take connections again")


RAW = [
    b"\x00" * 100,
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"y" * 500_000 + b"\r\n\r\n",
    b"POST /encode HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /encode HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n"
    b"Content-Type: application/json\r\n\r\n",
    b"POST /encode HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Type: application/json\r\n\r\nZZZ\r\n",
    b"POST /encode HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Length: 5\r\nContent-Type: application/json\r\n\r\n0\r\n\r\n",
    b"GET /indexes HTTP/1.1\r\n\r\n",
    b"GET /indexes HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]


def test_what_is_no_request_harms_nobody(serve: Callable[..., Process]) -> None:
    service = serve("--limit", "body_timeout=2")
    for raw in RAW:
        with service.socket() as each, contextlib.suppress(OSError):
            each.sendall(raw)
            each.shutdown(socket.SHUT_WR)
            answer = each.recv(100)
            assert answer == b"" or answer.split()[1] not in (b"200", b"500"), (raw[:80], answer)
    # A giant body is refused before it is sent.
    with service.socket() as each:
        each.sendall(
            b"POST /encode HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 10000000000\r\n\r\n"
        )
        assert b" 413 " in each.recv(100)
    # Headers without end are cut off.
    with service.socket() as each, contextlib.suppress(ConnectionError):
        each.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
        for i in range(100_000):
            each.sendall(b"X%d: %s\r\n" % (i, b"y" * 1000))
        pytest.fail("100 MB of headers were taken")
    assert service.ask("POST", "/indexes/words/search", {"query": "wing"})[0] == 200
    assert service.process.poll() is None
    assert not [line for line in service.log if "Traceback" in line]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--host", "0.0.0.0"], "--insecure"),
        (["--keys", "none.json"], "has no key"),
        (["--limit", "speed=3"], "no limit"),
        (["--limit", "timeout=soon"], "no number"),
        (["--limit", "max_k=0"], "above 0"),
        (["/nowhere"], "neither"),
    ],
)
def test_what_cannot_be_served(
    run: Callable[..., Any], folder: Path, arguments: list[str], told: str
) -> None:
    done = run("serve", folder / "words.idx", *arguments)
    assert done.status in (1, 2)
    assert told in done.err


def test_a_port_that_is_taken(
    serve: Callable[..., Process], folder: Path, run: Callable[..., Any]
) -> None:
    service = serve()
    done = subprocess.run(
        [sys.executable, "-c", "from sparseret.cli.app import main; main()", "serve",
         str(folder / "words.idx"), "--port", str(service.port)],
        capture_output=True, text=True, check=False, cwd=tempfile.gettempdir(),
    )  # fmt: skip
    assert done.returncode == 1
    assert "another --port" in done.stderr


def test_keys_on_the_command_line(run: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "k.json"
    made = run("keys", "add", file, "--name", "site", "--write")
    assert made.out.startswith("sr-")
    assert run("keys", "list", file).out == "site\tread, write\n"
    assert run("keys", "add", file, "--name", "site").status == 1
    assert run("keys", "remove", file, "--name", "site").status == 0
    assert run("keys", "list", file).out == ""


def test_snapshots_on_the_command_line(
    run: Callable[..., Any], folder: Path, tmp_path: Path
) -> None:
    done = run("snapshot", folder / "mixed", "--out", tmp_path / "copies" / "mixed")
    assert done.status == 0, done.err
    verify_index(tmp_path / "copies" / "mixed")
    assert run("snapshot", folder / "mixed", "--out", tmp_path / "copies" / "mixed").status == 1
    assert sorted((tmp_path / "copies").iterdir()) == [tmp_path / "copies" / "mixed"]
