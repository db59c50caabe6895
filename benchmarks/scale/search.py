"""The fresh process that opens an index, asks it one query, then some, then times its modes.

It leaves what it measured in FOLDER/searching.json.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.process import memory_mb
from benchmarks.records_io import write_json
from benchmarks.rounds import latency, time_batches, time_calls
from benchmarks.scale.records import Mode, Resident, Searching
from sparseret.indexers.inverted import InvertedIndex

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["achieved", "main"]

_RECALLS = (0.95, 0.99)
_SOME = 200


def main(arguments: Sequence[str]) -> None:
    """Search: FOLDER, k, rounds."""
    folder, k, rounds = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    asked = sparse.csr_array(sparse.load_npz(folder / "asked.npz"))
    rows = [asked[q : q + 1] for q in range(asked.shape[0])]
    resident = [_resident("before opening")]
    start = time.perf_counter()
    index = InvertedIndex.open(folder / "index")
    open_ms = (time.perf_counter() - start) * 1e3
    resident.append(_resident("opened"))
    start = time.perf_counter()
    index.search(rows[0], k, threads=1)
    first_ms = (time.perf_counter() - start) * 1e3
    resident.append(_resident("1 query"))
    for row in rows[1:_SOME]:
        index.search(row, k, threads=1)
    resident.append(_resident(f"{len(rows[:_SOME])} queries"))
    modes = _modes(index, asked, rows, k, rounds)
    resident.append(_resident("the end"))
    index.close()
    searching = Searching(open_ms, first_ms, tuple(resident), modes)
    write_json(folder / "searching.json", searching)


def achieved(exact: Sequence[NDArray[np.float32]], found: Sequence[NDArray[np.float32]]) -> float:
    """Mean share of the exact results that were found, by scores: documents that tie are right.

    Args:
        exact: scores of each query's true results, best first.
        found: of those that were found; scores of the same documents are equal.
    """
    shares = [
        min(int((got >= want[-1]).sum()), len(want)) / len(want) if len(want) else 1.0
        for want, got in zip(exact, found, strict=True)
    ]
    return float(np.mean(shares))


def _modes(
    index: InvertedIndex, asked: csr_array, rows: Sequence[csr_array], k: int, rounds: int
) -> tuple[Mode, ...]:
    options: dict[str, dict[str, float]] = {
        "exact": {}, **{f"recall {r:g}": {"recall": r} for r in _RECALLS}
    }  # fmt: skip

    def single(own: dict[str, Any]) -> Callable[[int], Any]:
        return lambda q: index.search(rows[q], k, threads=1, **own)

    def batch(own: dict[str, Any]) -> Callable[[int], Any]:
        return lambda threads: index.search(asked, k, threads=threads, **own)

    timed = time_calls([single(own) for own in options.values()], len(rows), rounds)
    scores = [[hits.scores[0] for hits in own.answers] for own in timed]
    return tuple(
        Mode(
            name, own.get("recall", 1.0), achieved(scores[0], scores[i]),
            *latency(timed[i].microseconds), *time_batches(batch(own), len(rows), rounds),
        )
        for i, (name, own) in enumerate(options.items())
    )  # fmt: skip


def _resident(when: str) -> Resident:
    sizes = memory_mb(Path("/proc/self/status").read_text())
    return Resident(when, sizes["RssAnon"], sizes["RssFile"])
