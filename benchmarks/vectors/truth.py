"""The true top k, and recall against it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Truth", "exact_top"]

_TOLERANCE = 5e-6
"""Relative: float32 sums in another order differ by less, and ties at the k-th score are right."""
_QUERIES_AT_ONCE = 64


class Truth(NamedTuple):
    """The right answers of each query for one k."""

    right: NDArray[np.int64]
    """Sorted ``query * n_documents + document``, for each document of at least the k-th score."""
    wanted: NDArray[np.int64]
    """How many of them there are to find: k, or fewer where fewer match. Shape (n_queries,)."""
    n_documents: int

    def part(self, begin: int, end: int) -> Truth:
        """The truth of queries ``begin`` to ``end``, numbered from 0."""
        first = begin * self.n_documents
        low, high = np.searchsorted(self.right, [first, end * self.n_documents])
        return Truth(self.right[low:high] - first, self.wanted[begin:end], self.n_documents)

    def recall(self, found: Sequence[Any]) -> NDArray[np.float64]:
        """The share of each query's k best that was found, shape (n_queries,).

        Args:
            found: document numbers a query, any sequence; repeated and negative ones count nothing.
        """
        rows = [np.asarray(row, np.int64) for row in found]
        lengths = [len(row) for row in rows]
        query = np.repeat(np.arange(len(rows)), lengths)
        number = np.concatenate([*rows, np.empty(0, np.int64)])
        keys = np.unique((query * self.n_documents + number)[number >= 0])
        place = np.minimum(np.searchsorted(self.right, keys), len(self.right) - 1)
        hits = keys[self.right[place] == keys] // self.n_documents
        counts = np.minimum(np.bincount(hits, minlength=len(rows)), self.wanted)
        shares: NDArray[np.float64] = np.where(
            self.wanted > 0, counts / np.maximum(self.wanted, 1), 1.0
        )
        return shares


def exact_top(
    chunks: Iterable[csr_array], queries: csr_array, ks: Sequence[int]
) -> dict[int, Truth]:
    """The truth for every k, by float32 products of sparse matrices, chunk by chunk.

    Args:
        chunks: the documents in order, shape (any, n_columns) each.
        queries: shape (n_queries, n_columns).
        ks: the numbers of answers.
    """
    n = queries.shape[0]
    most = max(ks)
    numbers = [np.empty(0, np.int64)] * n
    scores = [np.empty(0, np.float32)] * n
    n_documents = 0
    for chunk in chunks:
        by_column = chunk.T.tocsr()
        for first in range(0, n, _QUERIES_AT_ONCE):
            product = queries[first : first + _QUERIES_AT_ONCE] @ by_column
            for q, (begin, end) in enumerate(pairwise(product.indptr.tolist()), start=first):
                all_scores = np.concatenate((scores[q], product.data[begin:end]))
                kept = all_scores >= _threshold(all_scores, most)
                found = product.indices[begin:end].astype(np.int64) + n_documents
                numbers[q] = np.concatenate((numbers[q], found))[kept]
                scores[q] = all_scores[kept]
        n_documents += chunk.shape[0]
    return {k: _truth(numbers, scores, k, n_documents) for k in ks}


def _threshold(scores: NDArray[np.float32], k: int) -> float:
    """What a score must reach to be among the best k, ties and rounding included."""
    if len(scores) <= k:
        return -np.inf
    kth = float(np.partition(scores, -k)[-k])
    return kth - _TOLERANCE * abs(kth)


def _truth(
    numbers: Sequence[NDArray[np.int64]],
    scores: Sequence[NDArray[np.float32]],
    k: int,
    n_documents: int,
) -> Truth:
    keys = [
        query * n_documents + found[own >= _threshold(own, k)]
        for query, (found, own) in enumerate(zip(numbers, scores, strict=True))
    ]
    wanted = np.array([min(k, len(found)) for found in numbers])
    return Truth(np.sort(np.concatenate(keys)), wanted, n_documents)
