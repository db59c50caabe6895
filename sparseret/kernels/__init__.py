"""Native kernels, each with the meaning its twin in :mod:`sparseret.kernels.reference` gives it.

All arrays are one-dimensional and contiguous. The kernels release the GIL, use threads of their
own, and check every offset they read, so that an altered file gives an error and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import CorruptIndexError

try:
    from sparseret.kernels import _native
except ImportError as error:
    raise ImportError(
        "the native module of sparseret is missing: Python has imported the sources instead of "
        "the installed package. Start it in another folder, or install with: pip install -e ."
    ) from error

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = [
    "WINDOW_BITS",
    "Codebook",
    "Postings",
    "Ranking",
    "Rows",
    "Segment",
    "count_terms",
    "invert",
    "is_canonical",
    "make_codebook",
    "search",
]

WINDOW_BITS = 16
"""Documents are scored in windows of ``2**WINDOW_BITS``; postings number them within a window."""


class Postings(NamedTuple):
    """The inverted part of a segment: term -> windows -> documents (docs/storage.md)."""

    columns: NDArray[np.int32]
    """Distinct columns, ascending, shape (n_columns,)."""
    column_ptr: NDArray[np.uint32]
    """Offsets of each column into the blocks, shape (n_columns + 1,)."""
    block_window: NDArray[np.uint16]
    """Window of each block, ascending within a column, shape (n_blocks,)."""
    block_ptr: NDArray[np.uint32]
    """Offsets of each block into the postings, shape (n_blocks + 1,)."""
    docs: NDArray[np.uint16]
    """Document within its window, ascending within a block, shape (nnz,)."""
    values: NDArray[Any]
    """float32 weights, or unsigned codes of 8, 16 or 32 bits, shape (nnz,)."""


class Codebook(NamedTuple):
    """Distinct (value, length) pairs, numbered in ascending order."""

    codes: NDArray[np.uint32]
    """Code of each value, shape (nnz,)."""
    values: NDArray[np.float32]
    """Value behind each code, shape (n_codes,)."""
    lengths: NDArray[np.float32]
    """Length behind each code, shape (n_codes,); zeros where no lengths were given."""


class Rows(NamedTuple):
    """The three arrays of a CSR matrix."""

    indptr: NDArray[np.int64]
    columns: NDArray[np.int32]
    values: NDArray[np.float32]


class Ranking(NamedTuple):
    """Ranked rows of several queries: those of query q at ``ptr[q]:ptr[q + 1]``."""

    ptr: NDArray[np.int64]
    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


class Segment:
    """A segment ready for search.

    Args:
        n_docs: number of documents (rows).
        postings: their inverted form.
        weights: weight of each code, float32; None where ``postings.values`` are weights.
        window_bits: window size the postings were made with.
    """

    def __init__(
        self,
        n_docs: int,
        postings: Postings,
        weights: NDArray[np.float32] | None = None,
        window_bits: int = WINDOW_BITS,
    ) -> None:
        self.n_docs = n_docs
        self.native = _native.Segment(n_docs, window_bits, *postings, weights)

    def document_frequencies(self, columns: NDArray[np.int32]) -> NDArray[np.int64]:
        """Number of documents that hold each column, tombstoned ones included."""
        try:
            return self.native.document_frequencies(np.ascontiguousarray(columns, np.int32))
        except _native.CorruptSegment as error:
            raise CorruptIndexError(
                f"{error}: `sparseret verify` tells which file is damaged"
            ) from error


def search(
    segments: Sequence[Segment],
    queries: csr_array,
    k: int,
    *,
    allowed: Sequence[NDArray[np.uint64] | None] | None = None,
    threads: int = 1,
) -> Ranking:
    """Exact top-k by dot product; meaning: :func:`sparseret.kernels.reference.search`.

    Args:
        segments: searched as one collection; rows are numbered through in this order.
        queries: canonical CSR (:func:`sparseret.vectors.check`), shape (n_queries, dim).
        k: at most this many rows a query, at least 1.
        allowed: per segment a bitmap of 64-bit words, bit ``row & 63`` of word ``row >> 6`` set
            where the row may be returned; None allows every row.
        threads: queries are spread over this many threads; results do not depend on it.

    Raises:
        CorruptIndexError: an offset in the segment points outside it.
    """
    try:
        return Ranking(
            *_native.search(
                [segment.native for segment in segments],
                [None] * len(segments) if allowed is None else list(allowed),
                queries.indptr,
                queries.indices,
                queries.data,
                k,
                max(1, threads),
            )
        )
    except _native.CorruptSegment as error:
        raise CorruptIndexError(
            f"{error}: `sparseret verify` tells which file is damaged"
        ) from error


def invert(
    row_ptr: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[Any],
    window_bits: int = WINDOW_BITS,
) -> Postings:
    """Rows to postings, by counting sort; meaning: :func:`sparseret.kernels.reference.invert`.

    Args:
        row_ptr: offsets of each row, int64, shape (n_docs + 1,).
        columns: unique within a row, int32, shape (nnz,).
        values: float32 or unsigned codes, shape (nnz,).
        window_bits: documents per window, as a power of two, 1 to 16.
    """
    return Postings(*_native.invert(window_bits, row_ptr, columns, values))


def make_codebook(
    row_ptr: NDArray[np.int64],
    values: NDArray[np.float32],
    lengths: NDArray[np.float32] | None,
    limit: int,
) -> Codebook | None:
    """Number the distinct (value, length of its row) pairs; None where they exceed ``limit``.

    Meaning: :func:`sparseret.kernels.reference.make_codebook`.
    """
    made = _native.codebook(row_ptr, values, lengths, limit)
    return None if made is None else Codebook(*made)


def is_canonical(
    indptr: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[np.float32],
    n_columns: int,
    *,
    signed: bool,
) -> bool:
    """Whether arrays are canonical CSR rows: :func:`sparseret.kernels.reference.is_canonical`."""
    return _native.is_canonical(indptr, columns, values, n_columns, signed)


def count_terms(
    run_ptr: NDArray[np.int64], tokens: NDArray[np.int32], weights: NDArray[np.float64]
) -> Rows:
    """Weighted term counts of documents given as runs of tokens, one run a field.

    Meaning: :func:`sparseret.kernels.reference.count_terms`.

    Args:
        run_ptr: offsets of the runs, int64, shape (n_docs * n_fields + 1,).
        tokens: columns, int32; negative ones are skipped.
        weights: what a token of each field counts, float64, shape (n_fields,).
    """
    return Rows(*_native.count_terms(run_ptr, tokens, weights))
