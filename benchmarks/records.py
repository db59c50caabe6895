"""What a benchmark run writes down: frozen records, and their JSON form."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.engines import Level, Size, Stage

__all__ = [
    "Agreement",
    "CorpusFacts",
    "Environment",
    "Indexing",
    "Latency",
    "SearchReport",
    "Throughput",
    "environment",
    "write_json",
]

_DISTRIBUTIONS = ("sparseret", "bm25s", "numba", "numpy", "scipy", "PyStemmer")


@dataclass(frozen=True)
class Environment:
    """Where and with what a benchmark ran."""

    command: str
    time: str
    cpu: str
    cores: int
    memory_gb: float
    system: str
    python: str
    versions: tuple[tuple[str, str], ...]
    """Distribution and version; "absent" where it is not installed."""


@dataclass(frozen=True)
class CorpusFacts:
    """Size of a corpus after analysis, and of the queries put to it."""

    corpus: str
    documents: int
    terms: int
    nonzeros: int
    queries: int
    terms_per_query: float
    postings_per_query: float


@dataclass(frozen=True)
class Indexing:
    """Building an engine's index, several times."""

    corpus: str
    level: Level
    engine: str
    rounds: tuple[tuple[Stage, ...], ...]
    size: Size

    @property
    def stages(self) -> list[Stage]:
        """Median over the rounds of each stage."""
        return [
            Stage(parts[0].name, median(part.seconds for part in parts))
            for parts in zip(*self.rounds, strict=True)
        ]

    @property
    def seconds(self) -> float:
        """Median over the rounds of the sum of all stages."""
        return median(sum(stage.seconds for stage in stages) for stages in self.rounds)


@dataclass(frozen=True)
class Throughput:
    """All queries in one call, several times."""

    corpus: str
    level: Level
    engine: str
    k: int
    threads: int
    queries: int
    rounds: tuple[float, ...]
    """Seconds of each round."""

    @property
    def per_second(self) -> float:
        """Queries per second in the median round."""
        return self.queries / median(self.rounds)


@dataclass(frozen=True)
class Latency:
    """One query a call, one thread."""

    corpus: str
    level: Level
    engine: str
    k: int
    calls: int
    median_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Agreement:
    """How far an engine's scores are from the first engine's."""

    corpus: str
    engine: str
    reference: str
    queries: int
    k: int
    largest_relative_difference: float


@dataclass(frozen=True)
class SearchReport:
    """Everything ``benchmarks.run`` measured."""

    environment: Environment
    corpora: list[CorpusFacts]
    agreement: list[Agreement]
    indexing: list[Indexing]
    throughput: list[Throughput]
    latency: list[Latency]


def environment() -> Environment:
    """The environment of this process."""
    return Environment(
        command=_command(),
        time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        versions=tuple((name, _version(name)) for name in _DISTRIBUTIONS),
    )


def write_json(path: Path, record: Any) -> None:
    """Write a dataclass, however nested, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")


def _command() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = f"python -m {spec.name}" if spec is not None else sys.argv[0]
    return " ".join([program, *sys.argv[1:]])


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "absent"
