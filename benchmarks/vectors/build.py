"""Building an index in a process of its own, so that its time and memory are its own.

That process runs :func:`main`: it leaves the index in FOLDER/index and what it cost in
FOLDER/cost.json.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.corpora import DATA
from benchmarks.vectors.corpora import VectorCorpus, load_vectors
from benchmarks.vectors.engine import Engine, Options, make_engine, option_line

__all__ = ["Cost", "FailedError", "Index", "build_index"]

# The root comes last, so that an installed sparseret is found before its sources.
_PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from benchmarks.vectors.build import main; main(sys.argv[2:])"
)
_THREADS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


class FailedError(Exception):
    """An index could not be built."""


class Cost(NamedTuple):
    """What building took."""

    wall_seconds: float
    cpu_seconds: float
    peak_mb: float
    before_mb: float


class Index(NamedTuple):
    """A built index."""

    folder: Path
    options: Options
    cost: Cost
    disk_bytes: int


def build_index(
    engine: Engine, corpus: VectorCorpus, options: Options, *, threads: int, limit: float
) -> Index:
    """Build, or find what an earlier run built under the same options with the same version.

    Args:
        engine: which one.
        corpus: the documents.
        options: one of ``engine.builds(corpus)``.
        threads: what engines that build with several threads are told to use.
        limit: seconds after which the process is stopped.

    Raises:
        FailedError: it failed, or took too long.
    """
    slug = option_line(options).replace(", ", "-").replace("=", "")
    name = f"{engine.name}-{version(engine.distribution)}{slug}-{threads}"
    home = DATA / "indexes" / corpus.name.replace(":", "-") / name
    if not (engine.reusable and (home / "cost.json").exists()):
        shutil.rmtree(home, ignore_errors=True)
        (home / "index").mkdir(parents=True)
        _run(engine, corpus, options, home, threads, limit)
    cost = Cost(**json.loads((home / "cost.json").read_text("utf-8")))
    size = sum(f.stat().st_size for f in (home / "index").rglob("*") if f.is_file())
    return Index(home / "index", options, cost, size)


def _run(
    engine: Engine, corpus: VectorCorpus, options: Options, home: Path, threads: int, limit: float
) -> None:
    command = [sys.executable, "-c", _PROGRAM, str(Path(__file__).resolve().parents[2])]
    command += [engine.name, corpus.name, str(home), json.dumps(options)]
    variables = {**os.environ, **dict.fromkeys(_THREADS, str(threads))}
    # Some engines talk on standard output, all of them through this process's descriptors.
    with tempfile.TemporaryFile("w+") as printed:
        try:
            ended = subprocess.run(
                command, cwd=home, env=variables, stdout=printed, stderr=printed, timeout=limit,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise FailedError(f"stopped after {limit:.0f} s") from None
        if ended.returncode:
            printed.seek(0)
            lines = printed.read().strip().splitlines() or [f"status {ended.returncode}"]
            raise FailedError(lines[-1][:200])


def main(arguments: Sequence[str]) -> None:
    """Build one index in this process."""
    name, corpus_name, home, options = arguments
    engine = make_engine(name)
    corpus = load_vectors(corpus_name)
    with tempfile.TemporaryDirectory(dir=home) as scratch:
        converted = engine.convert(corpus, Path(scratch))
        cost = _measured(engine, converted, Path(home, "index"), json.loads(options))
    Path(home, "cost.json").write_text(json.dumps(cost._asdict()), encoding="utf-8")


def _measured(engine: Engine, converted: Any, folder: Path, options: Options) -> Cost:
    before_mb = _memory_mb("VmRSS")
    # Forget the peak so far, which is of the conversion.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    cpu, wall = _cpu_seconds(), time.perf_counter()
    engine.build(converted, folder, options)
    return Cost(time.perf_counter() - wall, _cpu_seconds() - cpu, _memory_mb("VmHWM"), before_mb)


def _cpu_seconds() -> float:
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    return total


def _memory_mb(field: str) -> float:
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise FailedError(f"no {field} in /proc/self/status: this needs Linux")
