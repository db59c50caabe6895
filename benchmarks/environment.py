"""Where and with what a benchmark ran."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["Environment", "environment", "environment_lines"]

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


def environment(distributions: Sequence[str] = _DISTRIBUTIONS) -> Environment:
    """The environment of this process, with the versions of the distributions named."""
    return Environment(
        command=_command(),
        time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        versions=tuple((name, _version(name)) for name in distributions),
    )


def environment_lines(environment: Environment) -> list[str]:
    """Command, machine and versions, as Markdown."""
    versions = ", ".join(
        f"{name} {version}" for name, version in environment.versions if version != "absent"
    )
    return [
        f"`{environment.command}`",
        "",
        f"{environment.time}; {environment.cpu}, {environment.cores} cores, "
        f"{environment.memory_gb} GB; {environment.system}; Python {environment.python}; "
        f"{versions}",
    ]


def _command() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = sys.argv[0] if spec is None else f"python -m {spec.name.removesuffix('.__main__')}"
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
