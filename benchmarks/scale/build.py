"""The process that streams a generated corpus into one index, and keeps no document elsewhere.

It leaves the index in FOLDER/index, queries in FOLDER/tuning.npz and FOLDER/asked.npz, and what
building took in FOLDER/building.json.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from scipy import sparse

from benchmarks import generate_vectors
from benchmarks.records_io import write_json
from benchmarks.scale.records import Building, StageCost
from sparseret.indexers.inverted import InvertedIndex

__all__ = ["main"]

_Result = TypeVar("_Result")


class _Stages:
    """Time by stage; a stage that comes again is added to."""

    def __init__(self) -> None:
        self._wall: dict[str, float] = {}
        self._cpu: dict[str, float] = {}

    def time(self, name: str, run: Callable[[], _Result]) -> _Result:
        wall, cpu = time.perf_counter(), time.process_time()
        result = run()
        self._wall[name] = self._wall.get(name, 0.0) + time.perf_counter() - wall
        self._cpu[name] = self._cpu.get(name, 0.0) + time.process_time() - cpu
        return result

    def costs(self) -> tuple[StageCost, ...]:
        return tuple(StageCost(name, wall, self._cpu[name]) for name, wall in self._wall.items())


def main(arguments: Sequence[str]) -> None:
    """Build: FOLDER, number of documents, memory budget in bytes or "-", number of queries."""
    folder, n, budget, n_queries = Path(arguments[0]), int(arguments[1]), *arguments[2:]
    queries = generate_vectors.queries(n, 2 * int(n_queries))
    tuning, asked = queries[: int(n_queries)], queries[int(n_queries) :]
    for name, rows in (("tuning", tuning), ("asked", asked)):
        sparse.save_npz(folder / f"{name}.npz", rows, compressed=False)
    stages = _Stages()
    with InvertedIndex.create(
        folder / "index", dim=generate_vectors.VOCABULARY, signed=False,
        memory_budget=None if budget == "-" else int(budget),
    ) as index:  # fmt: skip
        first = 0
        chunks = generate_vectors.documents(n)
        while (rows := stages.time("generate", lambda: next(chunks, None))) is not None:
            ids = [str(i) for i in range(first, first + rows.shape[0])]
            stages.time("add", partial(index.add, ids, rows))
            first += len(ids)
        stages.time("commit", index.commit)
        stages.time("merge", index.merge)
        stages.time("tune", lambda: index.tune(tuning))
        segments = len(index.snapshot.files)
    size = sum(f.stat().st_size for f in (folder / "index").rglob("*") if f.is_file())
    write_json(folder / "building.json", Building(stages.costs(), segments, size))
