"""What ``python -m benchmarks scale`` writes down: frozen records."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.environment import Environment
from benchmarks.process import Finished

__all__ = [
    "MEMORY_LIMIT_GIB",
    "Building",
    "Mode",
    "Resident",
    "ScaleReport",
    "Searching",
    "Size",
    "StageCost",
    "gib",
]

MEMORY_LIMIT_GIB = 20.0
"""What the largest index is promised to be built and searched in."""


def gib(megabytes: float) -> float:
    """From 1e6 bytes to 2**30."""
    return megabytes * 1e6 / 2**30


@dataclass(frozen=True)
class StageCost:
    """One stage of building."""

    name: str
    wall_seconds: float
    cpu_seconds: float
    """User and system time of all threads."""


@dataclass(frozen=True)
class Building:
    """What the process that builds says of itself."""

    stages: tuple[StageCost, ...]
    """"generate" is the work of making documents; the others are of the index."""
    segments: int
    disk_bytes: int

    def seconds(self, *, cpu: bool = False) -> float:
        """Of all stages but that of generating."""
        own = [stage for stage in self.stages if stage.name != "generate"]
        return sum(stage.cpu_seconds if cpu else stage.wall_seconds for stage in own)


@dataclass(frozen=True)
class Resident:
    """Resident set at one moment, 1e6 bytes."""

    when: str
    anonymous_mb: float
    files_mb: float
    """Mapped files, which the system can take back at any time."""


@dataclass(frozen=True)
class Mode:
    """One mode of searching, on one thread."""

    mode: str
    """"exact", or the recall that was asked for."""
    asked: float
    recall: float
    """Achieved: the mean share of the exact top k."""
    median_us: float
    mean_us: float
    p99_us: float
    batch_us: float
    """Mean of a query in a batch on one thread."""
    two_threads_us: float | None
    """The same on two threads; None where there was one core."""

    @property
    def scaling(self) -> float | None:
        """Queries a second with two threads over those with one."""
        return None if self.two_threads_us is None else self.batch_us / self.two_threads_us


@dataclass(frozen=True)
class Searching:
    """What a fresh process that opens the index and searches it says of itself."""

    open_ms: float
    first_query_ms: float
    resident: tuple[Resident, ...]
    modes: tuple[Mode, ...]


@dataclass(frozen=True)
class Size:
    """Everything measured of one number of documents."""

    documents: int
    time: str
    version: str
    """Of sparseret."""
    memory_budget: int | None
    """Given to the index, bytes; None for its default."""
    k: int
    queries: int
    """Timed; as many others to calibrate."""
    built: Finished
    building: Building
    searched: Finished
    searching: Searching

    @property
    def peak_gib(self) -> float:
        """Largest resident set of building and searching, mapped files included."""
        return gib(max(self.built.peak_resident_mb, self.searched.peak_resident_mb))


@dataclass(frozen=True)
class ScaleReport:
    """All sizes measured so far."""

    environment: Environment
    """Of the last run."""
    sizes: tuple[Size, ...]
    """By the number of documents."""
