"""What a comparison of lexical engines writes down: frozen records."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from benchmarks.environment import Environment
from benchmarks.lexical.engines import Level, Size, Stage

__all__ = ["Agreement", "CorpusFacts", "Indexing", "Latency", "SearchReport", "Throughput"]


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
    """Everything that ``python -m benchmarks lexical`` measured."""

    environment: Environment
    corpora: list[CorpusFacts]
    agreement: list[Agreement]
    indexing: list[Indexing]
    throughput: list[Throughput]
    latency: list[Latency]
