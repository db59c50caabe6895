"""What the kernels of :mod:`sparseret.kernels.sdr` mean, in NumPy: short, and slow."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Lists", "Matches", "build_lists", "pack", "search"]

_WORD, _CHUNK = 64, 256


class Lists(NamedTuple):
    """Inverted lists (:class:`sparseret.kernels.sdr.SdrLists`)."""

    docs: NDArray[np.uint16]
    ptr: NDArray[np.uint32]
    blocks: NDArray[np.int64]


class Matches(NamedTuple):
    """The best codes of one query."""

    rows: NDArray[np.int64]
    overlaps: NDArray[np.int32]


def search(codes: csr_array, queries: csr_array, k: int, threshold: int = 1) -> list[Matches]:
    """Rows by the number of columns they share with each query, largest first; ties by row."""
    found = []
    stored = codes.astype(bool).toarray().astype(np.int64)
    for query in queries.astype(bool).toarray().astype(np.int64):
        overlaps = stored @ query
        rows = np.argsort(-overlaps, kind="stable")[:k]
        rows = rows[overlaps[rows] >= threshold]
        found.append(Matches(rows, overlaps[rows].astype(np.int32)))
    return found


def build_lists(codes: csr_array, block_bits: int) -> Lists:
    """Which rows of each block hold each column, block after block."""
    n_codes = codes.shape[0]
    size = 1 << block_bits
    docs, ptr, blocks = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [0]
    for first in range(0, n_codes, size):
        part = codes[first : first + size].tocsc()
        part.sort_indices()
        docs.append(part.indices.astype(np.int64))
        ptr.append(part.indptr.astype(np.int64))
        blocks.append(blocks[-1] + part.nnz)
    return Lists(
        np.concatenate(docs).astype(np.uint16),
        np.concatenate(ptr).astype(np.uint32),
        np.array(blocks, np.int64),
    )


def pack(codes: csr_array) -> NDArray[np.uint64]:
    """Bits of each row, filled up to a multiple of 256, in words of 64, lowest bit first."""
    n_codes, n_cells = codes.shape
    width = -(-n_cells // _CHUNK) * _CHUNK
    bits = np.zeros((n_codes, width), np.uint64)
    bits[:, :n_cells] = codes.astype(bool).toarray()
    places = np.uint64(1) << np.arange(_WORD, dtype=np.uint64)
    words: NDArray[np.uint64] = (bits.reshape(-1, _WORD) * places).sum(axis=1, dtype=np.uint64)
    return words
