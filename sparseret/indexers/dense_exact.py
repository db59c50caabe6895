"""Exact search of dense vectors, and the scores that every search of them gives.

The score of a stored vector ``v`` for a query ``q`` is the inner product of their float32 (or
float16) values, summed in float64 and rounded to float32 (:func:`exact_scores`). It depends on
nothing but the two vectors. Better is a larger score, then a smaller row.

The scan multiplies in float32, block by block: by a kernel of ours or, for batches of float32, in
whatever order the linear algebra behind NumPy sums. By the classical bound (Higham, "Accuracy and
Stability of Numerical Algorithms", section 3.1), any such sum differs from the exact one by at most
``d u / (1 - d u) * |q| |v|``, u = 2^-24. So a row whose float32 product lies more than twice that
below the k-th largest one is not among the best k; the others, few more than k, are scored exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret import kernels
from sparseret.errors import VectorError

__all__ = [
    "DenseHits",
    "Vectors",
    "as_rows",
    "count_allowed",
    "euclidean_norms",
    "exact_scores",
    "normalised",
    "product_errors",
    "rank_rows",
    "scan",
    "unpack",
]

_UNIT = 2.0**-24
_TINY = 2.0**-126
"""What a value that float32 cannot hold normally may be taken for zero at."""
_MOST = float(np.finfo(np.float32).max)
_BLOCK_ROWS = 2**15
_BLOCK_SCORES = 2**20
"""Products that a block of queries and rows makes at most, but for a single query."""
_BATCH = 12
"""Queries from which BLAS, which uses each value of a row more than once, is the faster."""
_QUERIES = 256
_SCORED_VALUES = 2**20
"""Of float64 rows that are held at a time."""
_WORTH_A_THREAD = 2**22
"""Multiplications."""
_MARGIN = 256


class DenseHits(NamedTuple):
    """The best rows for one query."""

    rows: NDArray[np.int64]
    """Of the segment, best first."""
    scores: NDArray[np.float32]
    """Parallel to ``rows``."""


Vectors = NDArray[np.float32] | NDArray[np.float16]


def as_rows(vectors: Any, dim: int, what: str, first: int = 0) -> NDArray[np.float32]:
    """Finite float32 rows of a given width, the first of which is called row ``first``.

    Raises:
        VectorError: another shape or type, or values that are not finite in float32.
    """
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            rows = np.ascontiguousarray(vectors, np.float32)
    except (TypeError, ValueError) as error:
        raise VectorError(f"{what}: no array of numbers ({error})") from error
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise VectorError(f"{what}: shape {np.shape(vectors)}, expected (n, {dim})")
    finite = np.isfinite(rows)
    if not finite.all():
        raise VectorError(
            f"{what}: row {first + int(np.argmin(finite.all(axis=1)))} holds values that are not "
            "finite in float32"
        )
    return rows


def euclidean_norms(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Norm of each row."""
    wide = rows.astype(np.float64)
    norms: NDArray[np.float64] = np.sqrt((wide * wide).sum(axis=1))
    return norms


def normalised(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows divided by their Euclidean norms, in float64; rows of zeros stay."""
    made = np.empty_like(rows)
    size = max(1, _SCORED_VALUES // rows.shape[1])
    for begin in range(0, len(rows), size):
        wide = rows[begin : begin + size].astype(np.float64)
        norms = euclidean_norms(wide)[:, None]
        made[begin : begin + size] = wide / np.where(norms > 0, norms, 1.0)
    return made


def product_errors(queries: NDArray[np.float32], largest_norm: float) -> NDArray[np.float64]:
    """Largest error of the float32 product of each query with a vector, shape (m,).

    Args:
        queries: shape (m, dim).
        largest_norm: no vector has a larger one.

    Raises:
        VectorError: scores might be beyond float32.
    """
    dim = queries.shape[1]
    norms = euclidean_norms(queries)
    longest = norms.max(initial=0.0)
    if longest * largest_norm > _MOST:
        raise VectorError(
            f"query {int(np.argmax(norms))}: its scores could exceed float32; scale the vectors "
            "down"
        )
    terms = (dim + 2) * _UNIT
    errors: NDArray[np.float64] = norms * (terms / (1 - terms) * 1.001 * largest_norm)
    errors += dim * _TINY * (1 + longest + largest_norm)
    return errors


def exact_scores(
    vectors: Vectors, rows: NDArray[np.int64], query: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Scores of some rows, shape of ``rows``; the meaning of every score of a dense search."""
    scores = np.empty(len(rows), np.float32)
    wide = query.astype(np.float64)
    size = max(1, _SCORED_VALUES // len(query))
    for begin in range(0, len(rows), size):
        # The sum along contiguous rows takes the same steps for each, however many there are.
        products = vectors[rows[begin : begin + size]].astype(np.float64) * wide
        scores[begin : begin + size] = products.sum(axis=1)
    return scores


def rank_rows(
    vectors: Vectors, rows: NDArray[np.int64], query: NDArray[np.float32], k: int
) -> DenseHits:
    """The best k of some rows."""
    scores = exact_scores(vectors, rows, query)
    best = np.lexsort((rows, -scores))[:k]
    return DenseHits(rows[best], scores[best])


def scan(
    vectors: Vectors,
    queries: NDArray[np.float32],
    k: int,
    errors: NDArray[np.float64],
    inside: range,
    allowed: NDArray[np.uint64] | None,
    threads: int,
) -> list[DenseHits]:
    """The best k of the allowed rows inside a range, for each query.

    Args:
        vectors: shape (n, dim).
        queries: as they are multiplied, float32, shape (m, dim).
        k: at least 1.
        errors: of each query (:func:`product_errors`).
        inside: rows.
        allowed: a bit for each row, packed from the lowest; None for all.
        threads: stretches of rows are spread over this many threads; results do not depend on it.
    """
    work = len(inside) * queries.size
    parts = max(1, min(threads, work // _WORTH_A_THREAD, len(inside) // _BLOCK_ROWS + 1))
    bounds = [inside.start + len(inside) * p // parts for p in range(parts + 1)]
    hits: list[DenseHits] = []
    for begin in range(0, len(queries), _QUERIES):
        some = slice(begin, begin + _QUERIES)

        def part(p: int, some: slice = some) -> list[_Best]:
            rows = range(bounds[p], bounds[p + 1])
            return _scan_part(vectors, queries[some], k, errors[some], rows, allowed)

        if parts == 1:
            found = part(0)
        else:
            with ThreadPoolExecutor(parts) as pool:
                found, *others = pool.map(part, range(parts))
            for other in others:
                for one, two in zip(found, other, strict=True):
                    one.add(*two.content())
        hits += [
            rank_rows(vectors, best.content()[0], query, k)
            for best, query in zip(found, queries[some], strict=True)
        ]
    return hits


def unpack(bits: NDArray[np.uint64], begin: int, end: int) -> NDArray[np.bool_]:
    """Bits begin..end of a bitmap, shape (end - begin,)."""
    first = begin // 8
    data = bits.view(np.uint8)[first : -(-end // 8)]
    return np.unpackbits(data, bitorder="little")[begin - 8 * first : end - 8 * first].view(bool)


def count_allowed(inside: range, allowed: NDArray[np.uint64] | None) -> int:
    """Rows inside a range that a bitmap of all rows allows; None allows all."""
    if allowed is None:
        return len(inside)
    return int(np.count_nonzero(unpack(allowed, inside.start, inside.stop)))


class _Best:
    """Rows that may be among the best k, by products with a known error."""

    def __init__(self, k: int, error: float) -> None:
        self._k = k
        self._error = error
        self._rows: list[NDArray[np.int64]] = []
        self._scores: list[NDArray[np.float32]] = []
        self._n = 0
        self._full = k + _MARGIN
        self._is_shrunk = True
        self.floor = np.float32(-np.inf)
        """Rows below it are not among the best."""

    def add(self, rows: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        """Take what is not below the floor."""
        if not len(rows):
            return
        self._rows.append(rows)
        self._scores.append(scores)
        self._n += len(rows)
        self._is_shrunk = False
        if self._n >= self._full:
            self._shrink()

    def content(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows that are left, and their products."""
        self._shrink()
        if not self._rows:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        return self._rows[0], self._scores[0]

    def _shrink(self) -> None:
        if self._is_shrunk:
            return
        rows, scores = np.concatenate(self._rows), np.concatenate(self._scores)
        if len(rows) > self._k:
            kth = float(np.partition(scores, len(scores) - self._k)[-self._k])
            # Twice the error of a product, and what rounding the score to float32 may add.
            lowest = kth - 2 * self._error - 4 * _UNIT * (abs(kth) + self._error) - _TINY
            self.floor = np.nextafter(np.float32(max(lowest, -_MOST)), np.float32(-np.inf))
            kept = scores >= self.floor
            rows, scores = rows[kept], scores[kept]
        self._rows, self._scores, self._n = [rows], [scores], len(rows)
        # Where many rows are alike, few are ever dropped.
        self._full = max(self._full, 2 * self._n)
        self._is_shrunk = True


def _scan_part(
    vectors: Vectors,
    queries: NDArray[np.float32],
    k: int,
    errors: NDArray[np.float64],
    inside: range,
    allowed: NDArray[np.uint64] | None,
) -> list[_Best]:
    best = [_Best(k, error) for error in errors.tolist()]
    size = max(64, min(_BLOCK_ROWS, _BLOCK_SCORES // len(queries)))
    for begin in range(inside.start, inside.stop, size):
        end = min(begin + size, inside.stop)
        if allowed is None:
            _add_block(best, queries, vectors[begin:end], begin)
            continue
        mask = unpack(allowed, begin, end)
        rows = np.flatnonzero(mask)
        if 2 * len(rows) > end - begin:  # leaving out few costs more than looking at them
            _add_block(best, queries, vectors[begin:end], begin, mask=mask)
        elif len(rows):
            _add_block(best, queries, vectors[begin:end][rows], begin, rows=rows)
    return best


def _add_block(
    best: Sequence[_Best],
    queries: NDArray[np.float32],
    block: Vectors,
    begin: int,
    *,
    rows: NDArray[np.int64] | None = None,
    mask: NDArray[np.bool_] | None = None,
) -> None:
    """Multiply the rows from ``begin`` on, or those of ``rows``, or those of a mask."""
    if block.dtype == np.float32 and len(queries) >= _BATCH:
        products: NDArray[np.float32] = queries @ block.T
    else:
        products = kernels.dense_products(block, queries)
    for one, scores in zip(best, products, strict=True):
        places = np.flatnonzero(scores >= one.floor)
        if mask is not None:
            places = places[mask[places]]
        if len(places):
            one.add((places if rows is None else rows[places]) + begin, scores[places])
