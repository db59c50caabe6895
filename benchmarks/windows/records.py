"""What ``python -m benchmarks windows`` writes down: frozen records."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.environment import Environment

__all__ = ["DenseMethod", "DenseTimes", "DenseWindows", "DenseWindowsReport"]


@dataclass(frozen=True)
class DenseMethod:
    """A way to find the nearest vectors of a window."""

    name: str
    remarks: str


@dataclass(frozen=True)
class DenseTimes:
    """A method at the least effort that reached the recall; microseconds a query."""

    method: str
    effort: int | None
    """None for an exact method."""
    recall: float
    median_us: float
    mean_us: float
    p99_us: float
    queries: int
    """How many were put: fewer where the method is slow."""


@dataclass(frozen=True)
class DenseWindows:
    """Windows of one size."""

    exponent: int
    """The windows hold 2**-exponent of the corpus."""
    documents: int
    windows: int
    """Number of random windows; queries take turns with them."""
    times: tuple[DenseTimes, ...]
    """Of the methods that reached the recall."""

    def mean_us(self, method: str) -> float | None:
        """Mean of a query; None for a method that did not reach the recall."""
        return next((t.mean_us for t in self.times if t.method == method), None)


@dataclass(frozen=True)
class DenseWindowsReport:
    """Everything measured on one collection of vectors."""

    environment: Environment
    vectors: str
    """What they are."""
    documents: int
    dim: int
    settings: str
    """Of the segment, as JSON."""
    segment_bytes: int
    build_seconds: float
    k: int
    recall: float
    """That every approximate method had to reach, as the mean over the queries."""
    queries: int
    rounds: int
    methods: tuple[DenseMethod, ...]
    dense_windows: tuple[DenseWindows, ...]
