"""One way to search, in a process of its own: ``python -m benchmarks.two_stage.probe`` JSON.

Prints a JSON object: anonymous memory that it took, and recall and times by effort.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["main"]

_MEASURED = 100
_REFINED = 10


def main(arguments: list[str] | None = None) -> None:
    """Open, limit, search, and tell."""
    asked = json.loads((arguments or sys.argv[1:])[0])
    queries, truth = np.load(asked["queries"]), np.load(asked["truth"])
    from sparseret.indexers.dense_segment import read_dense_segment

    segment = read_dense_segment(
        Path(asked["segment"]), size=asked["size"], header_crc=asked["crc"]
    )
    # What is loaded and set aside once, by BLAS among others, is not of the search.
    segment.search(queries[:1], 1, inside=range(1))
    ones = np.ones((512, 512), np.float32)
    _ = ones @ ones, ones @ ones[0]
    if asked["way"].startswith("faiss"):
        import faiss

        faiss.omp_set_num_threads(1)
    if asked["cold"]:
        _forget(asked["segment"])
    data = int(re.search(r"VmData:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024  # type: ignore[index]
    limit = data + asked["budget"]
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    before = _anonymous()
    try:
        search = _way(asked, segment)
        cold = _cold(search, queries, asked["efforts"][0]) if asked["cold"] else None
        points = [_point(search, effort, queries, truth) for effort in asked["efforts"]]
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "alloc" not in str(error):
            raise
        print(json.dumps({"fits": False}))
        return
    print(json.dumps({
        "fits": True, "anonymous": _anonymous() - before, "cold_ms": cold, "points": points,
    }))  # fmt: skip


def _way(asked: dict[str, Any], segment: Any) -> Callable[[NDArray[np.float32], Any], Any]:
    """What finds the rows of the best 100 for a query, shape (1, dim), at an effort."""
    from sparseret.indexers.dense_exact import rank_rows, scan

    if asked["way"] == "two-stage":
        return lambda query, effort: segment.search(query, 100, effort=effort)[0].rows
    if asked["way"] == "all in memory":
        vectors = np.array(segment.vectors)
        errors = np.zeros(1)
        whole = range(len(vectors))
        return lambda query, effort: scan(vectors, query, 100, errors, whole, None, 1)[0].rows  # noqa: ARG005
    import faiss

    index = faiss.read_index(asked["index"])
    again = asked["way"] == "faiss, scored again"

    def search(query: NDArray[np.float32], effort: int) -> NDArray[np.int64]:
        params = faiss.SearchParametersIVF(nprobe=effort)
        found = index.search(query, 100 * (_REFINED if again else 1), params=params)[1][0]
        found = found[found >= 0]
        if not again:
            return found
        return rank_rows(segment.vectors, np.sort(found), query[0], 100).rows

    return search


def _point(
    search: Any, effort: int | None, queries: NDArray[np.float32], truth: NDArray[np.int64]
) -> tuple[int | None, float, float, float]:
    found, times = [], []
    for q in range(len(queries)):
        start = time.thread_time()
        found.append(search(queries[q : q + 1], effort))
        times.append(time.thread_time() - start)
    shares = [
        float(np.mean([np.isin(t[:k], f[:k]).mean() for f, t in zip(found, truth, strict=True)]))
        for k in (10, 100)
    ]
    return effort, shares[0], shares[1], 1e3 * float(np.median(times))


def _cold(search: Any, queries: NDArray[np.float32], effort: int | None) -> float:
    search(queries[:1], effort)  # reads the codes
    times = []
    for q in range(1, min(_MEASURED, len(queries))):
        start = time.perf_counter()
        search(queries[q : q + 1], effort)
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times[:20]))


def _forget(path: str) -> None:
    """Have a file dropped from the page cache."""
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def _anonymous() -> int:
    """Anonymous memory of this process, bytes."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return int(re.search(r"Anonymous:\s+(\d+)", text)[1]) * 1024  # type: ignore[index]


if __name__ == "__main__":
    main()
