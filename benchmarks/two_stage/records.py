"""What ``python -m benchmarks two-stage`` writes down: frozen records."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.environment import Environment

__all__ = ["Corpus", "Learned", "Point", "TwoStageReport", "Way"]


@dataclass(frozen=True)
class Point:
    """A way to search, at one effort."""

    effort: int | None
    """Candidates, or lists of faiss; None for an exact search."""
    recall_10: float
    recall_100: float
    """Share of the true 10 and 100 nearest, mean over the queries."""
    median_ms: float
    """Processor time of a query, top 100, vectors in the page cache."""


@dataclass(frozen=True)
class Way:
    """A way to search, in a process of its own."""

    name: str
    anonymous_mb: float
    """That opening and searching added to the process's anonymous memory."""
    bytes_a_vector: float
    """The same by the number of vectors."""
    build_seconds: float
    within_budget: bool
    """Whether all was done with no more private memory than the budget allowed."""
    cold_ms: float | None
    """Wall-clock time of a query at the least effort, median of the first, the file not in the
    page cache."""
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Corpus:
    """One collection of vectors."""

    name: str
    vectors: int
    dim: int
    queries: int
    vectors_mb: float
    budget_mb: float
    ways: tuple[Way, ...]


@dataclass(frozen=True)
class Learned:
    """Codes of documents fitted, and learned from titles, by test queries none of which was seen.

    Shares of the 10 documents nearest by the full vectors among so many candidates.
    """

    codes: str
    candidates: int
    fitted: float
    learned: float


@dataclass(frozen=True)
class TwoStageReport:
    """Everything measured."""

    environment: Environment
    corpora: tuple[Corpus, ...]
    learned: tuple[Learned, ...]
    adapters: tuple[tuple[str, float, float], ...]
    """Collection, nDCG@10 of the full vectors, and of queries multiplied by a learned adapter."""
