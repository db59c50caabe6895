"""Ways to find the nearest vectors of a window, on one thread and the same graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.windows.records import DenseMethod
from sparseret.indexers.dense_segment import DenseSegment

__all__ = ["OURS", "PEERS", "Search", "all_methods"]

OURS = "sparseret"
PEERS = ("faiss, afterwards", "faiss, selector")
_MARGIN = 2
_GROWTH = 2

Rows = NDArray[np.int64]
Search = Callable[[NDArray[np.float32], range, int], Rows]
"""Of a query, shape (1, dim), a window, and an effort; rows, best first."""


class Ways(NamedTuple):
    """A method, and whether it takes an effort."""

    method: DenseMethod
    search: Search
    approximate: bool


def all_methods(segment: DenseSegment, k: int) -> list[Ways]:
    """All methods on one segment of unit vectors that has a graph."""
    import faiss

    faiss.omp_set_num_threads(1)
    data = segment.file.joined
    index = faiss.read_index(faiss.ZeroCopyIOReader(faiss.swig_ptr(data), len(data)))
    n = segment.n_docs

    def exact(query: NDArray[np.float32], window: range, effort: int) -> Rows:  # noqa: ARG001
        return segment.search(query, k, inside=window)[0].rows

    def ours(query: NDArray[np.float32], window: range, effort: int) -> Rows:
        return segment.search(query, k, inside=window, effort=effort)[0].rows

    def afterwards(query: NDArray[np.float32], window: range, effort: int) -> Rows:
        asked = min(n, math.ceil(_MARGIN * k * n / len(window)))
        while True:
            params = faiss.SearchParametersHNSW(efSearch=max(effort, asked))
            rows = _real(index.search(query, asked, params=params))
            inside = rows[(rows >= window.start) & (rows < window.stop)]
            if len(inside) >= min(k, len(window)) or asked == n:
                return inside[:k]
            asked = min(n, asked * _GROWTH)

    def selector(query: NDArray[np.float32], window: range, effort: int) -> Rows:
        chosen = faiss.IDSelectorRange(window.start, window.stop)
        params = faiss.SearchParametersHNSW(efSearch=effort, sel=chosen)
        return _real(index.search(query, k, params=params))

    flat = faiss.IndexFlatIP(segment.dim)
    if segment.vectors.dtype == np.float32:
        flat.add(segment.vectors)

    def flat_selector(query: NDArray[np.float32], window: range, effort: int) -> Rows:  # noqa: ARG001
        chosen = faiss.IDSelectorRange(window.start, window.stop)
        return _real(flat.search(query, k, params=faiss.SearchParameters(sel=chosen)))

    return [
        Ways(
            DenseMethod(OURS, "`DenseSegment.search(inside=..., effort=...)`"), ours, True
        ),
        Ways(DenseMethod("sparseret, exact", "`DenseSegment.search(inside=...)`"), exact, False),
        Ways(
            DenseMethod(
                PEERS[0], f"`IndexHNSW.search` for {_MARGIN} times as many results as hold k of "
                f"the window by expectation, then for {_GROWTH} times as many, until they do",
            ),
            afterwards, True,
        ),
        Ways(
            DenseMethod(
                PEERS[1], "`IndexHNSW.search` with an `IDSelectorRange`, at the least efSearch "
                "that reaches the recall",
            ),
            selector, True,
        ),
        Ways(
            DenseMethod("faiss, flat", "`IndexFlat.search` with an `IDSelectorRange`; exact"),
            flat_selector, False,
        ),
    ]  # fmt: skip


def _real(found: Any) -> Rows:
    rows: Rows = found[1][0]
    return rows[rows >= 0]
