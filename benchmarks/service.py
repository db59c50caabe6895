"""The HTTP service under load: ``python -m benchmarks service``.

Indexes a collection with BM25 and starts ``sparseret serve`` on it, then measures

* what the service adds to a search: queries one after another over one connection, in turns with
  the same searches in this process;
* how many it answers in a second, with clients in processes of their own;
* a soak: searches and writes mixed for some minutes, with the memory of the service watched, and
  at the end a kill in the midst of writes, after which all that was acknowledged must be there.

Writes FILE.json and FILE.md.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environment import Environment, environment, environment_lines
from benchmarks.markdown import table
from benchmarks.records_io import write_json
from benchmarks.say import say
from sparseret.eval.datasets import load_dataset
from sparseret.indexers.verify import verify_index
from sparseret.readers import read_documents
from sparseret.retriever import Retriever

__all__ = ["ServiceReport", "main", "markdown"]

_K = 10
_PERCENTILES = (50, 99)


@dataclass(frozen=True)
class Overhead:
    """One search after another, milliseconds a query."""

    collection: str
    documents: int
    library_p50: float
    library_p99: float
    service_p50: float
    service_p99: float
    added_p50: float
    """Median of the differences, query by query."""


@dataclass(frozen=True)
class Load:
    """Searches of several clients at once."""

    collection: str
    clients: int
    queries_per_second: float
    p50: float
    p99: float


@dataclass(frozen=True)
class Soak:
    """Searches and writes, mixed."""

    collection: str
    minutes: float
    searches: int
    writes: int
    refused: int
    """Answered with 429, and tried again."""
    errors: int
    """Other answers, and connections that broke."""
    search_p50: float
    search_p99: float
    write_p50: float
    write_p99: float
    megabytes: list[float]
    """Resident memory of the service, at even distances of time."""
    acknowledged: int
    """Documents that were acknowledged before the service was killed in the midst of writes."""
    lost: int
    """Of these, how many were not there afterwards."""


@dataclass(frozen=True)
class ServiceReport:
    """Everything measured."""

    environment: Environment
    overheads: list[Overhead]
    loads: list[Load]
    soaks: list[Soak]


class Connection:
    """One kept connection, as thin as can be: what is measured is the service."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, method: str, path: str, body: bytes, kind: str = "json") -> tuple[int, bytes]:
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/{kind}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + body)
        read = b""
        while b"\r\n\r\n" not in read:
            read += self._more()
        head_read, _, rest = read.partition(b"\r\n\r\n")
        length = 0
        for line in head_read.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        parts, left = [rest], length - len(rest)
        while left > 0:
            parts.append(self._more())
            left -= len(parts[-1])
        return int(head_read.split()[1]), b"".join(parts)

    def search(self, query: str) -> tuple[int, bytes]:
        return self.ask("POST", "/indexes/soak/search", _search_body(query))

    def close(self) -> None:
        self._socket.close()

    def _more(self) -> bytes:
        read = self._socket.recv(2**18)
        if not read:
            raise ConnectionError("the service closed the connection")
        return read


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks service", description=__doc__)
    parser.add_argument("--sets", nargs="+", default=["cranfield"], help="datasets, or folders")
    parser.add_argument("--rounds", type=int, default=5, help="of all queries, one after another")
    parser.add_argument("--seconds", type=float, default=10, help="of each load")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 16])
    parser.add_argument("--minutes", type=float, default=30, help="of the soak; 0 for none")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/service"))
    options = parser.parse_args(arguments)
    overheads: list[Overhead] = []
    loads: list[Load] = []
    soaks: list[Soak] = []
    for at, name in enumerate(options.sets):
        dataset = load_dataset(name)
        queries = [query.text for query in dataset.queries]
        with tempfile.TemporaryDirectory(prefix="service-") as folder:
            index = Path(folder, "soak")
            with Retriever.create(index) as made:
                made.add(record.document for record in read_documents(dataset.corpus))
            called = Path(name).name
            service, port = _start(index)
            try:
                overheads.append(_overhead(called, index, port, queries, options.rounds))
                say(f"{called}: {overheads[-1]}")
                for clients in options.clients:
                    loads.append(_load(called, port, queries, clients, options.seconds))
                    say(f"{called}: {loads[-1]}")
                if options.minutes and at == 0:
                    soaks.append(_soak(called, service, index, port, queries, options.minutes))
                    say(f"{called}: {soaks[-1]}")
            finally:
                service.kill()
                service.wait()
    report = ServiceReport(
        environment(("sparseret", "fastapi", "uvicorn", "httptools", "uvloop")),
        overheads, loads, soaks,
    )  # fmt: skip
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out.with_suffix(".json"), report)
    options.out.with_suffix(".md").write_text(markdown(report), "utf-8")
    say(f"written: {options.out}.json and .md")


def _start(index: Path) -> tuple[subprocess.Popen[str], int]:
    code = "from sparseret.cli.app import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", str(index), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    if process.stdout is None:
        raise RuntimeError("no output")
    return process, int(process.stdout.readline().rpartition(":")[2])


def _search_body(query: str) -> bytes:
    return json.dumps({"query": query, "k": _K}).encode()


def _overhead(name: str, index: Path, port: int, queries: Sequence[str], rounds: int) -> Overhead:
    connection = Connection(port)
    bodies = [_search_body(query) for query in queries]
    library, service = (np.full((rounds, len(queries)), np.inf) for _ in range(2))
    with Retriever.open(index) as retriever:
        for query, body in zip(queries, bodies, strict=True):  # both are warm
            found = retriever.search(query, _K)
            status, read = connection.ask("POST", "/indexes/soak/search", body)
            told = json.loads(read)["results"]
            if status != 200 or [r["id"] for r in told] != [r.id for r in found]:
                raise RuntimeError(f"the service and the library differ on {query!r}")
        for r in range(rounds):
            for q, (query, body) in enumerate(zip(queries, bodies, strict=True)):
                start = time.perf_counter()
                retriever.search(query, _K)
                library[r, q] = time.perf_counter() - start
                start = time.perf_counter()
                connection.ask("POST", "/indexes/soak/search", body)
                service[r, q] = time.perf_counter() - start
        n = len(retriever)
    connection.close()
    # A busy moment falls on some rounds: of each query, the better half counts.
    best = [1e3 * np.median(np.sort(each, axis=0)[: (rounds + 1) // 2], axis=0)
            for each in (library, service)]  # fmt: skip
    (l50, l99), (s50, s99) = (np.percentile(each, _PERCENTILES) for each in best)
    added = float(np.median(best[1] - best[0]))
    return Overhead(name, n, float(l50), float(l99), float(s50), float(s99), added)


def _client(port: int, queries: Sequence[str], first: int, seconds: float, times: Any) -> None:
    """One client of a load, in its own process."""
    connection = Connection(port)
    bodies = [_search_body(query) for query in queries]
    taken = []
    end = time.perf_counter() + seconds
    at = first
    while (start := time.perf_counter()) < end:
        status, _ = connection.ask("POST", "/indexes/soak/search", bodies[at % len(bodies)])
        if status == 200:
            taken.append(time.perf_counter() - start)
        at += 1
    times.put(taken)


def _load(name: str, port: int, queries: Sequence[str], clients: int, seconds: float) -> Load:
    times: Any = multiprocessing.Queue()
    every = [
        multiprocessing.Process(target=_client, args=(port, queries, 17 * i, seconds, times))
        for i in range(clients)
    ]
    for each in every:
        each.start()
    taken = np.concatenate([times.get() for _ in every])
    for each in every:
        each.join()
    p50, p99 = np.percentile(1e3 * taken, _PERCENTILES)
    return Load(name, clients, len(taken) / seconds, float(p50), float(p99))


class _Mixed:
    """Threads that search and write until they are told to stop."""

    def __init__(self, port: int, queries: Sequence[str]) -> None:
        self._port, self._queries = port, queries
        self.searches: list[float] = []
        self.writes: list[float] = []
        self.refused = 0
        self.errors = 0
        self.acknowledged: set[str] = set()
        self.over = threading.Event()
        self.killed = False
        self._count = threading.Lock()

    def search(self, worker: int) -> None:
        connection = Connection(self._port)
        at = 31 * worker
        while not self.over.wait(0.002):
            start = time.perf_counter()
            self._ask(partial(connection.search, self._queries[at % len(self._queries)]),
                      self.searches, start)  # fmt: skip
            at += 1

    def write(self, worker: int) -> None:
        """Keeps about 1,000 documents of its own: adds, replaces, deletes."""
        connection = Connection(self._port)
        at = 0
        while not self.over.wait(0.02):
            ids = [f"w{worker}-{(at + j) % 1000}" for j in range(5)]
            documents = "\n".join(
                json.dumps(
                    {"id": id, "text": f"{self._queries[at % len(self._queries)]} {at % 1000}"}
                )
                for id in ids
            )
            start = time.perf_counter()
            path = "/indexes/soak/documents?mode=upsert"
            ask = partial(connection.ask, "POST", path, documents.encode(), "x-ndjson")
            status = self._ask(ask, self.writes, start)
            if status == 200:
                self.acknowledged.update(ids)
            at += 5
            if at % 100 == 0:
                gone = f"w{worker}-{at % 1000}"
                self.acknowledged.discard(gone)
                body = json.dumps({"ids": [gone]}).encode()
                self._ask(partial(connection.ask, "POST", "/indexes/soak/documents/delete", body),
                          self.writes, time.perf_counter())  # fmt: skip

    def _ask(self, ask: Any, times: list[float], start: float) -> int:
        try:
            status: int = ask()[0]
        except (OSError, ValueError, IndexError):
            if not self.killed:
                with self._count:
                    self.errors += 1
            self.over.set()
            return 0
        if status == 200:
            times.append(time.perf_counter() - start)
        elif status == 429:
            with self._count:
                self.refused += 1
            time.sleep(0.1)
        else:
            with self._count:
                self.errors += 1
        return status


def _soak(
    name: str,
    service: subprocess.Popen[str],
    index: Path,
    port: int,
    queries: Sequence[str],
    minutes: float,
) -> Soak:
    mixed = _Mixed(port, queries)
    import psutil

    threads = [threading.Thread(target=mixed.search, args=(i,)) for i in range(3)]
    threads += [threading.Thread(target=mixed.write, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    watched = psutil.Process(service.pid)
    megabytes = []
    for _ in range(30):
        mixed.over.wait(minutes * 2)
        megabytes.append(round(watched.memory_info().rss / 1e6, 1))
    mixed.killed = True
    os.kill(service.pid, signal.SIGKILL)
    for thread in threads:
        thread.join()
    service.wait()
    verify_index(index)
    with Retriever.open(index) as retriever:
        kept = {document.id for document in retriever.documents()}
    searches, writes = 1e3 * np.array(mixed.searches), 1e3 * np.array(mixed.writes)
    return Soak(
        name, minutes, len(searches), len(writes), mixed.refused, mixed.errors,
        *(float(p) for times in (searches, writes) for p in np.percentile(times, _PERCENTILES)),
        megabytes, len(mixed.acknowledged), len(mixed.acknowledged - kept),
    )  # fmt: skip


def markdown(report: ServiceReport) -> str:
    """Tables of what was measured."""
    lines = [
        *environment_lines(report.environment),
        "",
        "The 10 best with their texts, BM25. One search after another over one connection, in "
        "turns with the same search in a process without the service: milliseconds a query, the "
        "median and the 99th percentile of the queries' better halves of rounds, and the median "
        "of the differences.",
        "",
        *table(
            ("collection", "documents", "library p50", "p99", "service p50", "p99", "added p50"),
            [
                (o.collection, f"{o.documents:,}", f"{o.library_p50:.2f}", f"{o.library_p99:.2f}",
                 f"{o.service_p50:.2f}", f"{o.service_p99:.2f}", f"{o.added_p50:.2f}")
                for o in report.overheads
            ],
        ),
        "",
        "Clients in processes of their own, on the same processors as the service.",
        "",
        *table(
            ("collection", "clients", "queries/s", "p50 ms", "p99 ms"),
            [
                (each.collection, str(each.clients), f"{each.queries_per_second:,.0f}",
                 f"{each.p50:.2f}", f"{each.p99:.2f}")
                for each in report.loads
            ],
        ),
    ]  # fmt: skip
    for soak in report.soaks:
        first, last = np.mean(soak.megabytes[5:10]), np.mean(soak.megabytes[-5:])
        lines += [
            "",
            f"Three clients that search and two that add, replace and delete, for "
            f"{soak.minutes:g} minutes ({soak.collection}): {soak.searches:,} searches (p50 "
            f"{soak.search_p50:.1f} ms, p99 {soak.search_p99:.1f}), {soak.writes:,} commits (p50 "
            f"{soak.write_p50:.1f} ms, p99 {soak.write_p99:.1f}), {soak.errors} errors, "
            f"{soak.refused} refused. Memory {first:.0f} MB after a sixth of the time, "
            f"{last:.0f} MB at the end (highest {max(soak.megabytes):.0f}). Then killed in the "
            f"midst of writes: of {soak.acknowledged:,} documents acknowledged, {soak.lost} lost.",
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
