"""What ``python -m benchmarks limits`` writes down: frozen records."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.environment import Environment

__all__ = ["Limit", "LimitReport", "Machine", "Moved", "Threads"]

POSTING_BYTES = 2.125
"""A document in 16 bits, and an eighth of the code of its block."""


@dataclass(frozen=True)
class Machine:
    """What one thread can do, whatever the index."""

    read_gb_per_second: tuple[tuple[str, float], ...]
    """Ways to read an array that no cache holds, and 1e9 bytes a second of each."""
    array_mb: float
    """Size of that array."""
    scatter_ns: float
    """Nanoseconds a posting, where lists, sums and all else are in the cache."""

    @property
    def best_gb_per_second(self) -> float:
        """The fastest of the ways to read."""
        return max(rate for _, rate in self.read_gb_per_second)


@dataclass(frozen=True)
class Moved:
    """Work of a query: the mean over the queries, with the bytes it cannot do without."""

    postings: float
    rows: float
    """Documents scored from their stored rows."""
    posting_bytes: float
    row_bytes: float
    directory_bytes: float
    """Of the lists that the query's terms have: where each begins, its window and its length."""
    accumulator_bytes: float
    """Sums of 16 bits of all documents, written once and read once; they fit the cache."""

    @property
    def total_bytes(self) -> float:
        """All of them."""
        return self.posting_bytes + self.row_bytes + self.directory_bytes + self.accumulator_bytes


@dataclass(frozen=True)
class Threads:
    """The same queries one a call and in batches, mean µs of a query."""

    single_us: float
    batch_us: float
    """One thread."""
    two_threads_us: float | None
    """None where there was one core."""

    @property
    def scaling(self) -> float | None:
        """Queries a second with two threads over those with one."""
        return None if self.two_threads_us is None else self.batch_us / self.two_threads_us

    @property
    def batch_gain(self) -> float:
        """Queries a second in batches over those one a call, on one thread."""
        return self.single_us / self.batch_us


@dataclass(frozen=True)
class Limit:
    """One mode of searching."""

    mode: str
    """"exact", or the recall that was asked for."""
    median_us: float
    """One query a call, by ``InvertedIndex.search``, ids included."""
    mean_us: float
    p99_us: float
    moved: Moved
    threads: Threads
    instructions: float | None
    """Of the native code and its caller, a query in a batch; None where valgrind is absent."""


@dataclass(frozen=True)
class LimitReport:
    """Everything measured on one corpus."""

    environment: Environment
    corpus: str
    documents: int
    index_windows: int
    k: int
    queries: int
    rounds: int
    instructions_unknown: str | None
    """Why no instructions were counted; None where they were."""
    machine: Machine
    limits: tuple[Limit, ...]
