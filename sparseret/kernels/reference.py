"""What the native kernels mean, in plain NumPy. Slow, short, and the thing tests compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparseret.kernels import (
    IMPACT_BITS,
    WINDOW_BITS,
    Codebook,
    ImpactLists,
    PooledRows,
    Postings,
    RankedColumns,
    Ranking,
    Rows,
    TopK,
)
from sparseret.kernels.top_k import normal_quantile

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = [
    "count_terms",
    "impact_lists",
    "invert",
    "is_canonical",
    "logits",
    "make_codebook",
    "rank_columns",
    "rounded_logits",
    "search",
    "statistical_top_k",
    "top_k",
    "vocabulary_maxima",
    "vocabulary_sums",
]

BLOCK = 8
"""Postings that share one code."""
LEVELS = np.array([160, 112, 80, 56, 40, 28, 18, 10])
"""Codes at which a list may be cut."""
LONG_LIST = 64
"""Postings from which on a list tells, in front of its codes, how many blocks reach each level."""


def search(
    documents: csr_array,
    queries: csr_array,
    k: int,
    *,
    allowed: NDArray[np.bool_] | None = None,
) -> Ranking:
    """Exact top-k by dot product.

    The score of a document is the float32 sum, over the query's columns in ascending order, of
    the float32 products of weights: the order and arithmetic of scipy's CSR product. A document
    is a hit if it shares a column with the query, whatever its score. Higher scores come first,
    then lower rows.

    Args:
        documents: canonical CSR, shape (n_docs, dim).
        queries: canonical CSR, shape (n_queries, dim).
        k: at most this many rows a query.
        allowed: rows that may be returned, bool, shape (n_docs,); None for all.
    """
    by_column = documents.tocsc()
    ptr, rows, scores = [0], [], []
    for q in range(queries.shape[0]):
        score = np.zeros(documents.shape[0], dtype=np.float32)
        matched = np.zeros(documents.shape[0], dtype=bool)
        for i in range(queries.indptr[q], queries.indptr[q + 1]):
            column = queries.indices[i]
            inside = slice(by_column.indptr[column], by_column.indptr[column + 1])
            score[by_column.indices[inside]] += queries.data[i] * by_column.data[inside]
            matched[by_column.indices[inside]] = True
        if allowed is not None:
            matched &= allowed
        hits = np.flatnonzero(matched)
        hits = hits[np.lexsort((hits, -score[hits]))][:k]
        rows.append(hits.astype(np.int64))
        scores.append(score[hits])
        ptr.append(ptr[-1] + len(hits))
    return Ranking(
        np.array(ptr, dtype=np.int64),
        np.concatenate([np.empty(0, np.int64), *rows]),
        np.concatenate([np.empty(0, np.float32), *scores]),
        np.zeros(ptr[-1], dtype=np.uint32),
    )


def invert(
    row_ptr: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[Any],
    window_bits: int = WINDOW_BITS,
) -> Postings:
    """Sort (row, column, value) triples by column, then row; start a block where the window of
    ``2**window_bits`` rows changes.
    """
    rows = np.repeat(np.arange(len(row_ptr) - 1), np.diff(row_ptr))
    order = np.lexsort((rows, columns))
    rows, columns, values = rows[order], columns[order], values[order]
    windows = rows >> window_bits
    fresh = np.ones(len(rows), dtype=bool)
    fresh[1:] = (columns[1:] != columns[:-1]) | (windows[1:] != windows[:-1])
    starts = np.flatnonzero(fresh)
    distinct, blocks_per_column = np.unique(columns[starts], return_counts=True)
    return Postings(
        columns=distinct.astype(np.int32),
        column_ptr=np.concatenate(([0], np.cumsum(blocks_per_column))).astype(np.uint32),
        block_window=windows[starts].astype(np.uint16),
        block_ptr=np.append(starts, len(rows)).astype(np.uint32),
        docs=(rows & ((1 << window_bits) - 1)).astype(np.uint16),
        values=values,
    )


def rank_columns(columns: NDArray[np.int32], values: NDArray[np.float32]) -> RankedColumns:
    """Number the distinct columns in ascending order; NaN counts as no value, and no column's
    largest value is below 0.
    """
    distinct, ranks = np.unique(columns, return_inverse=True)
    largest = np.zeros(len(distinct), np.float32)
    np.fmax.at(largest, ranks, values)
    wide = np.uint16 if len(distinct) <= 2**16 else np.uint32
    return RankedColumns(distinct.astype(np.int32), largest, ranks.astype(wide))


def impact_lists(
    columns: NDArray[np.int32],
    column_max: NDArray[np.float32],
    row_ptr: NDArray[np.int64],
    ranks: NDArray[Any],
    weights: NDArray[np.float32],
    window_bits: int = IMPACT_BITS,
) -> ImpactLists:
    """What an :class:`~sparseret.kernels.ImpactBuilder` makes of the rows, in whatever portions.

    Sort postings by window, column, code and document, where
    ``code = ceil(weight * 255 / column_max)``, heaviest first: each column of each window is a
    list. The code of a block is that of its first posting.
    """
    rows = np.repeat(np.arange(len(row_ptr) - 1), np.diff(row_ptr))
    windows = rows >> window_bits
    codes = np.ceil(weights.astype(np.float64) * 255 / column_max[ranks]).clip(1, 255)
    order = np.lexsort((rows, -codes, ranks, windows))
    rows, windows, codes, ranks = (array[order] for array in (rows, windows, codes, ranks))
    fresh = np.ones(len(rows), dtype=bool)
    fresh[1:] = (ranks[1:] != ranks[:-1]) | (windows[1:] != windows[:-1])
    starts = np.flatnonzero(fresh)
    docs = rows & ((1 << window_bits) - 1)
    words, places = [np.empty(0, np.uint16)], []
    n_words = 0
    for start, stop in zip(starts, np.append(starts, len(rows))[1:], strict=True):
        places.append((n_words, windows[start] << 16 | stop - start - 1))
        blocks = codes[start:stop:BLOCK].astype(np.uint16)
        table = (blocks >= LEVELS[:, None]).sum(axis=1) if stop - start >= LONG_LIST else []
        padded = np.append(blocks, np.zeros(len(blocks) % 2, np.uint16))
        made = np.concatenate((table, padded[::2] | padded[1::2] << 8, docs[start:stop]))
        words.append(made.astype(np.uint16))
        n_words += len(made)
    by_column = np.argsort(ranks[starts], kind="stable")
    counts = np.bincount(ranks[starts], minlength=len(columns))
    return ImpactLists(
        columns=columns,
        column_max=column_max,
        column_ptr=np.concatenate(([0], np.cumsum(counts))).astype(np.uint32),
        lists=np.array(places, np.uint32).reshape(-1, 2)[by_column].reshape(-1),
        words=np.concatenate(words),
    )


def make_codebook(
    row_ptr: NDArray[np.int64],
    values: NDArray[np.float32],
    lengths: NDArray[np.float32] | None,
    limit: int,
) -> Codebook | None:
    """Distinct (value, length of its row) pairs in ascending order of their bit patterns."""
    if lengths is None:
        lengths = np.zeros(len(row_ptr) - 1, dtype=np.float32)
    length_of = np.repeat(lengths, np.diff(row_ptr))
    keys = values.view(np.uint32).astype(np.uint64) << np.uint64(32) | length_of.view(np.uint32)
    distinct, codes = np.unique(keys, return_inverse=True)
    if len(distinct) > limit:
        return None
    return Codebook(
        codes=codes.astype(np.uint32),
        values=(distinct >> np.uint64(32)).astype(np.uint32).view(np.float32),
        lengths=(distinct & np.uint64(0xFFFFFFFF)).astype(np.uint32).view(np.float32),
    )


def count_terms(
    run_ptr: NDArray[np.int64], tokens: NDArray[np.int32], weights: NDArray[np.float64]
) -> Rows:
    """``value[document, column] = sum over fields f of weights[f] * count of column in f``."""
    n_fields = len(weights)
    indptr = [0]
    columns: list[int] = []
    values: list[float] = []
    for document in range((len(run_ptr) - 1) // n_fields):
        row: dict[int, float] = {}
        for field in range(n_fields):
            run = document * n_fields + field
            for token in tokens[run_ptr[run] : run_ptr[run + 1]]:
                if token >= 0:
                    row[int(token)] = row.get(int(token), 0.0) + weights[field]
        columns.extend(sorted(row))
        values.extend(row[column] for column in sorted(row))
        indptr.append(len(columns))
    return Rows(
        np.array(indptr, dtype=np.int64),
        np.array(columns, dtype=np.int32),
        np.array(values, dtype=np.float32),
    )


def is_canonical(
    indptr: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[np.float32],
    n_columns: int,
    *,
    signed: bool,
) -> bool:
    """Ascending offsets over all values; in each row ascending columns inside the matrix; values
    finite and not zero, nor negative unless ``signed``.
    """
    if not len(indptr) or indptr[0] != 0 or not indptr[-1] == len(columns) == len(values):
        return False
    if (np.diff(indptr) < 0).any():
        return False
    row_of = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    ascending = (row_of[1:] != row_of[:-1]) | (columns[1:] > columns[:-1])
    inside = (columns >= 0) & (columns < n_columns)
    sound = np.isfinite(values) & (values != 0) & (signed | (values > 0))
    return bool(ascending.all() and inside.all() and sound.all())


def logits(
    hidden: NDArray[np.float32], weight: NDArray[np.float32], bias: NDArray[np.float32]
) -> NDArray[np.float32]:
    """``hidden @ weight.T + bias`` in float32, with a fixed order of additions.

    Place l of 16 sums adds the products of places l, l + 16, l + 32, ... in that order. Then the
    halves of the sums are added, until there is one, and last the bias.
    """
    width = hidden.shape[1]
    products = np.zeros((len(hidden), len(weight), -(-width // 16) * 16), np.float32)
    products[:, :, :width] = hidden[:, None] * weight[None]
    sums = np.zeros((len(hidden), len(weight), 16), np.float32)
    for first in range(0, width, 16):
        sums = sums + products[:, :, first : first + 16]
    for half in (8, 4, 2, 1):
        sums = sums[:, :, :half] + sums[:, :, half:]
    return sums[:, :, 0] + bias


def rounded_logits(
    hidden: NDArray[np.float32], weight: NDArray[np.float32], bias: NDArray[np.float32]
) -> NDArray[np.float32]:
    """``hidden @ weight.T + bias`` of rows rounded to 8 bits, those of ``weight`` as well.

    A row becomes integers of -127 to 127 times a scale: its largest magnitude / 127, or 2^-60 if
    that is more. The sum of products of integers is exact. It is rounded to float32, and again
    after each product with a scale, that of ``hidden`` first, and after the addition of the bias.
    """

    def rounded(rows: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        largest = np.abs(rows).max(axis=1, keepdims=True)
        scales = np.maximum(largest / np.float32(127), np.float32(2.0**-60))
        return np.rint(rows / scales).clip(-127, 127).astype(np.int64), scales

    (states, state_scales), (columns, column_scales) = rounded(hidden), rounded(weight)
    sums = (states @ columns.T).astype(np.float32)
    return sums * state_scales * column_scales.T + bias


def vocabulary_maxima(
    logits: NDArray[np.float32], offsets: NDArray[np.int64], threshold: float = 0.0
) -> PooledRows:
    """Per text and column the largest logit, where it is above ``threshold``.

    Args:
        logits: :func:`logits` or :func:`rounded_logits`, shape (n_rows, n_columns).
        offsets: of each text into the rows, shape (n_texts + 1,).
        threshold: as float32.
    """
    texts = np.split(logits, offsets[1:-1])[: len(offsets) - 1]
    return _above([text.max(axis=0, initial=-np.inf) for text in texts], threshold)


def vocabulary_sums(
    logits: NDArray[np.float32], offsets: NDArray[np.int64], threshold: float = 0.0
) -> PooledRows:
    """Per text and column the sum of log(1 + max(0, logit)), where it is above ``threshold``.

    Arguments are those of :func:`vocabulary_maxima`. Logarithms are summed in double precision.
    """
    texts = np.split(logits, offsets[1:-1])[: len(offsets) - 1]
    return _above(
        [
            np.log1p(np.maximum(text, 0).astype(np.float64)).sum(axis=0).astype(np.float32)
            for text in texts
        ],
        threshold,
    )


def _above(pooled: list[NDArray[np.float32]], threshold: float) -> PooledRows:
    chosen = [np.flatnonzero(values > np.float32(threshold)) for values in pooled]
    return PooledRows(
        np.cumsum([0, *map(len, chosen)], dtype=np.int64),
        np.concatenate([np.empty(0), *chosen]).astype(np.int32),
        np.concatenate(
            [np.empty(0), *(values[at] for values, at in zip(pooled, chosen, strict=True))]
        ).astype(np.float32),
    )


def code_scores(codes: NDArray[np.uint8], tables: NDArray[np.float32]) -> NDArray[np.float32]:
    """What :func:`sparseret.kernels.code_scores` computes, shape (m, n): float32 sums, in order."""
    sums = np.zeros((len(tables), len(codes)), np.float32)
    for place in range(codes.shape[1]):
        sums += tables[:, place, codes[:, place]]
    return sums


def dense_products(
    rows: NDArray[np.float32] | NDArray[np.float16], queries: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What :func:`sparseret.kernels.dense_products` computes, shape (m, n).

    Sixteen float32 sums: sum l adds the products of places l, l + 16, ... in that order; then l and
    l + 8 are added, l and l + 4, l and l + 2, 0 and 1.
    """
    missing = ((0, 0), (0, -rows.shape[1] % 16))
    wide = np.pad(rows.astype(np.float32), missing)
    asked = np.pad(queries, missing)
    sums = np.zeros((len(queries), len(rows), 16), np.float32)
    for place in range(0, wide.shape[1], 16):
        sums += asked[:, None, place : place + 16] * wide[None, :, place : place + 16]
    for half in (8, 4, 2, 1):
        sums = sums[:, :, :half] + sums[:, :, half : 2 * half]
    return sums[:, :, 0]


def top_k(rows: NDArray[np.float32], k: int) -> TopK:
    """The k largest values of each row, of equal ones the first; columns ascending."""
    order = np.argsort(-rows, axis=1, kind="stable")[:, :k]
    columns = np.sort(order, axis=1).astype(np.int32)
    return TopK(columns, np.take_along_axis(rows, columns, axis=1))


def statistical_top_k(rows: NDArray[np.float32], k: int) -> Rows:
    """The values above ``mean + std * q``, q the (1 - k / width) quantile of the normal one.

    Sums are of float64 numbers: sixteen interleaved ones in ascending order, added up in order.
    """
    n, width = rows.shape
    padded = np.zeros((n, -(-width // 16) * 16))
    padded[:, :width] = rows
    lanes = padded.reshape(n, -1, 16)
    totals = [np.zeros(n), np.zeros(n)]
    for total, parts in zip(totals, (lanes, lanes * lanes), strict=True):
        for sums in np.cumsum(parts, axis=1)[:, -1].T:
            total += sums
    mean = totals[0] / width
    variance = np.maximum(totals[1] / width - mean * mean, 0)
    thresholds = mean + normal_quantile(k, width) * np.sqrt(variance)
    kept = rows > thresholds[:, None]
    owners, columns = np.nonzero(kept)
    indptr = np.searchsorted(owners, np.arange(n + 1)).astype(np.int64)
    return Rows(indptr, columns.astype(np.int32), rows[kept])
