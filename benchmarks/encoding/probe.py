"""Memory of one encoder, in a process of its own; prints two numbers of bytes."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.encoding.encoders import load
from benchmarks.process import memory_mb

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Encode the texts of a JSON file: NAME MODEL EXPORTED MAX_LENGTH BATCH FILE."""
    name, model, exported, max_length, batch, file = arguments or sys.argv[1:]
    texts = json.loads(Path(file).read_text("utf-8"))
    encode = load(name, Path(model), Path(exported), int(max_length), int(batch))
    encode(["a short text"])
    # Writing 5 there sets the peak back to what is resident now.
    Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status")
    before = memory_mb(status.read_text())["VmRSS"]
    encode(texts)
    print(json.dumps([before, memory_mb(status.read_text())["VmHWM"]]))
