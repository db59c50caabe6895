"""Running sparseret in processes of their own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

__all__ = ["SPARSERET", "FailedError", "Finished", "memory_mb", "own_module", "seconds_of", "watch"]

SPARSERET = (sys.executable, "-c", "from sparseret.cli.app import main; main()")
"""The ``sparseret`` command of this interpreter."""

_POLL_SECONDS = 0.005
# The root comes last, and the folder where the process starts is left out, so that an installed
# sparseret is found before its sources.
_MODULE = (
    "import importlib, sys; sys.path[0] = sys.argv[1]; sys.path.append(sys.path.pop(0)); "
    "importlib.import_module(sys.argv[2]).main(sys.argv[3:])"
)


class FailedError(Exception):
    """A process ended with an error."""


@dataclass(frozen=True)
class Finished:
    """A process that ended well."""

    seconds: float
    peak_resident_mb: float
    """Largest resident set, mapped files included."""
    peak_anonymous_mb: float
    """Largest resident set without files: what the process cannot give back under pressure."""
    median_anonymous_mb: float
    """Half of the time it was below this: the steady state, without the peaks of merging."""
    peak_files_mb: float | None = None
    """Largest resident part of mapped files: the system can take it back at any time."""


def own_module(module: str) -> tuple[str, ...]:
    """The command that calls ``main`` of a module of the benchmarks, wherever it is started.

    What is appended to it are the arguments.
    """
    return (sys.executable, "-c", _MODULE, str(Path(__file__).resolve().parents[1]), module)


def memory_mb(status: str) -> dict[str, float]:
    """The sizes in the text of a /proc/PID/status, 1e6 bytes; none once the process has ended."""
    sizes = {}
    for line in status.splitlines():
        name, _, value = line.partition(":")
        number, _, unit = value.strip().partition(" ")
        if unit == "kB":  # of 1024 bytes, whatever it says
            sizes[name] = int(number) * 1024 / 1e6
    return sizes


def seconds_of(command: Sequence[str]) -> float:
    """Wall-clock seconds of a command, from its start to its end.

    Raises:
        FailedError: with what it printed on standard error.
    """
    start = time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if ended.returncode:
        raise FailedError(f"{' '.join(command)}: {ended.stderr.strip()}")
    return seconds


def watch(command: Sequence[str]) -> Finished:
    """Run a command and look at its memory every 5 ms, through /proc: Linux only.

    The peak resident set is the kernel's own high-water mark, so nothing of it is missed; the
    anonymous part and that of files are sampled.

    Raises:
        FailedError: with what it printed on standard error.
    """
    start = time.perf_counter()
    resident = 0.0
    files = 0.0
    anonymous = [0.0]
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors) as process:
            status = Path(f"/proc/{process.pid}/status")
            while process.poll() is None:
                sizes = memory_mb(status.read_text())
                resident = max(resident, sizes.get("VmHWM", 0.0))
                anonymous.append(sizes.get("RssAnon", 0.0))
                files = max(files, sizes.get("RssFile", 0.0))
                time.sleep(_POLL_SECONDS)
            seconds = time.perf_counter() - start
        if process.returncode:
            errors.seek(0)
            raise FailedError(f"{' '.join(command)}: {errors.read().strip()}")
    return Finished(seconds, resident, max(anonymous), median(anonymous), files)
