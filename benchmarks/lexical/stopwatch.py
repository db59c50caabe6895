"""Time of one stage after another."""

from __future__ import annotations

import time

from benchmarks.lexical.engines import Stage

__all__ = ["Stopwatch"]


class Stopwatch:
    """Starts when it is made."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def stage(self, name: str) -> Stage:
        """The time since the last stage ended."""
        now = time.perf_counter()
        stage = Stage(name, now - self._last)
        self._last = now
        return stage

    def skip(self) -> None:
        """Forget the time since the last stage ended."""
        self._last = time.perf_counter()
