"""Vectors to be searched: blends of real ones."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["DenseVectors", "blends"]

_FILE = Path(__file__).resolve().parents[2] / "tests" / "data" / "cranfield-minilm.npz"
_SEED = 3
_NOISE = 0.7
_BLOCK = 8192


class DenseVectors(NamedTuple):
    """A collection and its queries."""

    name: str
    documents: NDArray[np.float32]
    queries: NDArray[np.float32]


def blends(n: int) -> DenseVectors:
    """n unit vectors, each a blend of two of the 1,400 documents of Cranfield, with noise.

    The vectors of all-MiniLM-L6-v2, of 384 values, that the tests have. A blend is their mean under
    a random weight, divided by its norm; the noise is normal, of norm 0.7. The queries are the 225
    real ones.
    """
    with np.load(_FILE) as arrays:
        documents = arrays["documents"].astype(np.float32)
        queries = arrays["queries"].astype(np.float32)
    documents = documents[documents.any(axis=1)]
    dim = documents.shape[1]
    rng = np.random.default_rng(_SEED)
    made = np.empty((n, dim), np.float32)
    for begin in range(0, n, _BLOCK):
        m = min(_BLOCK, n - begin)
        first, second = rng.integers(0, len(documents), (2, m))
        weight = rng.random((m, 1), dtype=np.float32)
        rows = weight * documents[first] + (1 - weight) * documents[second]
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        rows += rng.standard_normal((m, dim), np.float32) * np.float32(_NOISE / np.sqrt(dim))
        made[begin : begin + m] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    name = "blends of pairs of Cranfield's MiniLM vectors, with noise"
    return DenseVectors(name, made, queries)
