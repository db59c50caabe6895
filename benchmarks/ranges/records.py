"""What ``python -m benchmarks ranges`` writes down: frozen records."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.environment import Environment

__all__ = ["AFTERWARDS", "RANGE", "Method", "MethodTimes", "RangeReport", "WindowSize"]

RANGE = "range"
"""The method that the others are compared with."""
AFTERWARDS = "afterwards"
"""How a method filters that ranks first and drops what lies outside."""


@dataclass(frozen=True)
class Method:
    """A way to find the best documents of a window."""

    name: str
    filters: str
    """"before" the ranking, or AFTERWARDS."""
    remarks: str


@dataclass(frozen=True)
class MethodTimes:
    """Microseconds a query of one method, over the queries."""

    method: str
    median_us: float
    mean_us: float
    p99_us: float
    queries: int
    """How many were put: fewer where the method is slow."""


@dataclass(frozen=True)
class WindowSize:
    """Windows of one size."""

    exponent: int
    """The windows hold 2**-exponent of the corpus."""
    documents: int
    windows: int
    """Number of random windows; queries take turns with them."""
    mean_hits: float
    times: tuple[MethodTimes, ...]

    def mean_us(self, method: str) -> float:
        """Mean of a query."""
        return next(t.mean_us for t in self.times if t.method == method)


@dataclass(frozen=True)
class RangeReport:
    """Everything measured on one corpus."""

    environment: Environment
    corpus: str
    documents: int
    k: int
    queries: int
    rounds: int
    methods: tuple[Method, ...]
    window_sizes: tuple[WindowSize, ...]

    def speed_up(self, size: WindowSize) -> float:
        """Mean time of a query, filtered afterwards in the fastest way, over that of the range."""
        names = [m.name for m in self.methods if m.filters == AFTERWARDS]
        return min(map(size.mean_us, names)) / size.mean_us(RANGE)
