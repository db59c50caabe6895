"""The plain way: a product of sparse matrices, then a partition of each row."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.lexical.engines import Found, Size, Stage
from benchmarks.lexical.material import Material
from benchmarks.lexical.stopwatch import Stopwatch

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["ScipyProduct"]

_CHUNK = 64
"""Queries a product: bounds the memory of its result, and pays the set-up of a product rarely."""


class ScipyProduct:
    """``queries @ documents.T``, both CSR, so that only postings of the queries are read."""

    name = "scipy"

    def build(self, material: Material, folder: Path) -> list[Stage]:  # noqa: ARG002
        weights = material.weights
        watch = Stopwatch()
        self._transposed: csr_array = weights.T.tocsr()
        return [watch.stage("transpose")]

    def size(self) -> Size:
        t = self._transposed
        return Size(t.data.nbytes + t.indices.nbytes + t.indptr.nbytes, 0)

    def encode(self, material: Material, begin: int, end: int) -> csr_array:
        rows: csr_array = material.query_vectors[begin:end]
        return rows

    def search(self, queries: csr_array, k: int, threads: int) -> Found:
        starts = range(0, queries.shape[0], _CHUNK)
        if threads == 1:
            parts = [self._chunk(queries[i : i + _CHUNK], k) for i in starts]
        else:
            with ThreadPoolExecutor(threads) as pool:
                parts = list(pool.map(lambda i: self._chunk(queries[i : i + _CHUNK], k), starts))
        return Found(
            [ids for part in parts for ids in part.ids],
            [scores for part in parts for scores in part.scores],
        )

    def close(self) -> None:
        del self._transposed

    def _chunk(self, queries: csr_array, k: int) -> Found:
        product = queries @ self._transposed
        ids: list[NDArray[np.int32]] = []
        scores: list[NDArray[np.float32]] = []
        for begin, end in pairwise(product.indptr):
            row = product.data[begin:end]
            best = np.argpartition(row, -k)[-k:] if k < len(row) else np.arange(len(row))
            best = best[np.argsort(-row[best], kind="stable")]
            ids.append(product.indices[begin:end][best])
            scores.append(row[best])
        return Found(ids, scores)
