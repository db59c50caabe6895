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

__all__ = ["SPARSERET", "FailedError", "Finished", "seconds_of", "watch"]

SPARSERET = (sys.executable, "-c", "from sparseret.cli.app import main; main()")
"""The ``sparseret`` command of this interpreter."""

_POLL_SECONDS = 0.005


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
    anonymous part is sampled.

    Raises:
        FailedError: with what it printed on standard error.
    """
    start = time.perf_counter()
    resident = 0.0
    anonymous = [0.0]
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors) as process:
            status = Path(f"/proc/{process.pid}/status")
            while process.poll() is None:
                for line in status.read_text().splitlines():
                    name, _, value = line.partition(":")
                    if name == "VmHWM":
                        resident = max(resident, int(value.split()[0]) / 1e3)
                    elif name == "RssAnon":
                        anonymous.append(int(value.split()[0]) / 1e3)
                time.sleep(_POLL_SECONDS)
            seconds = time.perf_counter() - start
        if process.returncode:
            errors.seek(0)
            raise FailedError(f"{' '.join(command)}: {errors.read().strip()}")
    return Finished(seconds, resident, max(anonymous), median(anonymous))
