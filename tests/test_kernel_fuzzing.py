"""A short run of tests/fuzz_kernels.py; longer ones are made by hand (CONTRIBUTING.md)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FUZZER = Path(__file__).with_name("fuzz_kernels.py")
CASES = 400


def test_random_and_malformed_input(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(FUZZER), "--seed", "1", "--cases", str(CASES), "--seconds", "300"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "passed"
    assert "verify passed 0" in done.stdout  # no damaged file went unnoticed
    # Not everything is refused, nor accepted.
    kinds = (
        "build",
        "files",
        "files refused",
        "functions refused",
        "head",
        "sdr",
        "sdr refused",
        "search",
        "segments",
    )
    for kind in kinds:
        assert f"'{kind}'" in done.stdout, done.stdout
