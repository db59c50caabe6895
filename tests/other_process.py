"""Test files that run themselves again, in a process with another environment."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

__all__ = ["run_triton"]


def run_triton(file: str, job: str, **environment: str) -> str:
    """What ``python FILE JOB`` prints; skips where there is no Triton."""
    pytest.importorskip("triton", reason="triton is not installed")
    done = subprocess.run(
        [sys.executable, file, job],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
