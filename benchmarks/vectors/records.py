"""What a comparison of engines for sparse vectors writes down: frozen records."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.environment import Environment

__all__ = [
    "EXACT",
    "LEVELS",
    "Built",
    "Corpus",
    "EngineFacts",
    "Measured",
    "Swept",
    "VectorReport",
]

LEVELS = (0.9, 0.95, 0.97, 0.99, 0.995)
"""Recalls for which a setting is picked."""
EXACT = 1.0
"""The level of settings of which the engine promises that they are exact."""


@dataclass(frozen=True)
class Corpus:
    """Size of a corpus and of the queries put to it."""

    name: str
    documents: int
    columns: int
    nonzeros_per_document: float
    nonzeros_per_query: float
    postings_per_query: float
    """Mean number of stored values in the columns of a query: what an exhaustive search reads."""
    tuning_queries: int
    held_out_queries: int


@dataclass(frozen=True)
class EngineFacts:
    """An engine of the comparison."""

    name: str
    distribution: str
    version: str
    remarks: str
    skipped: str | None
    """Why it was left out; None where it was not."""


@dataclass(frozen=True)
class Built:
    """Building one index in a process of its own."""

    engine: str
    build: str
    wall_seconds: float
    cpu_seconds: float
    """User and system time of all threads."""
    peak_mb: float
    """Largest resident set of the process while it built, the corpus (``before_mb``) included."""
    before_mb: float
    """Resident set before, with the corpus in the engine's form."""
    disk_bytes: int
    memory_bytes: int | None
    """In memory, where the engine tells."""
    open_seconds: float
    """To open it, calibration on the tuning queries included."""
    failed: str | None = None
    """Why there is no index; None where there is."""


@dataclass(frozen=True)
class Swept:
    """One setting on the tuning queries."""

    engine: str
    build: str
    setting: str
    k: int
    recall: float
    mean_us: float
    batch_us: float | None
    """Mean of a query in the engine's batch call, on one thread."""
    exact: bool
    promised: float | None


@dataclass(frozen=True)
class Measured:
    """One setting on the held-out queries."""

    engine: str
    build: str
    setting: str
    k: int
    levels: tuple[float, ...]
    """The recalls for which it was picked: the fastest to reach them on the tuning queries."""
    promised: float | None
    recall: float
    worst_recall: float
    """Of the 1% of queries with the lowest recall, the mean."""
    median_us: float
    mean_us: float
    p99_us: float
    batch_us: float | None
    round_means_us: tuple[float, ...]
    """Mean of each round."""

    @property
    def best_us(self) -> float:
        """Mean of a query in the faster of the engine's two calls."""
        return self.mean_us if self.batch_us is None else min(self.mean_us, self.batch_us)


@dataclass(frozen=True)
class VectorReport:
    """Everything that ``python -m benchmarks run`` measured on one corpus."""

    environment: Environment
    corpus: Corpus
    rounds: int
    engines: tuple[EngineFacts, ...]
    built: tuple[Built, ...]
    swept: tuple[Swept, ...]
    measured: tuple[Measured, ...]
