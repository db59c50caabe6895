"""Native kernels, each with the meaning its twin in :mod:`sparseret.kernels.reference` gives it.

All arrays are one-dimensional and contiguous. The kernels release the GIL, use threads of their
own, and check every offset they read, so that an altered file gives an error and no more.
"""

from __future__ import annotations

from typing import Any, NamedTuple

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

from sparseret.kernels.codes import code_scores
from sparseret.kernels.collection import (
    Collection,
    Effort,
    NotCanonicalError,
    Ranking,
    Work,
    search,
)
from sparseret.kernels.dense import dense_products
from sparseret.kernels.random_projection import RandomMatrix, random_projection
from sparseret.kernels.sdr import SdrBits, SdrLists, SdrRanking
from sparseret.kernels.top_k import TopK, statistical_top_k, top_k
from sparseret.kernels.vocabulary_head import PooledRows, VocabularyHead

__all__ = [
    "IMPACT_BITS",
    "WINDOW_BITS",
    "Codebook",
    "Collection",
    "Effort",
    "ImpactBuilder",
    "ImpactLists",
    "ImpactSegment",
    "NotCanonicalError",
    "PooledRows",
    "Postings",
    "RandomMatrix",
    "RankedColumns",
    "Ranking",
    "Rows",
    "SdrBits",
    "SdrLists",
    "SdrRanking",
    "Segment",
    "TopK",
    "VocabularyHead",
    "Work",
    "code_scores",
    "count_terms",
    "dense_products",
    "invert",
    "is_canonical",
    "make_codebook",
    "random_projection",
    "rank_columns",
    "search",
    "statistical_top_k",
    "top_k",
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


IMPACT_BITS = 15
"""Impact-ordered lists are of windows of ``2**IMPACT_BITS`` documents."""


class ImpactLists(NamedTuple):
    """The impact-ordered lists of a segment of positive vectors (docs/storage.md).

    The postings of a list are ordered by weight, heaviest first. Each block of 8 of them has one
    code, and no weight in it exceeds ``code * column_max / 255``.
    """

    columns: NDArray[np.int32]
    """Distinct columns, ascending, shape (n_columns,); the rank of a column is its place here."""
    column_max: NDArray[np.float32]
    """Upper bound of the weights of each column, shape (n_columns,)."""
    column_ptr: NDArray[np.uint32]
    """Offsets of each column into the lists, shape (n_columns + 1,)."""
    lists: NDArray[np.uint32]
    """Two numbers a list, shape (2 * n_lists,): its place in ``words``; window in the upper 16
    bits, number of postings less one in the lower."""
    words: NDArray[np.uint16]
    """The lists of each window side by side. A list has three parts: for one of 64 postings and
    more, a table of how many blocks have at least each of 8 codes; the code of each block, two in
    a word, the lower bits first; the document, within its window, of each posting."""


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


class RankedColumns(NamedTuple):
    """Columns renumbered without gaps."""

    columns: NDArray[np.int32]
    """Distinct columns, ascending."""
    column_max: NDArray[np.float32]
    """Largest value of each, or 0 where none is positive."""
    ranks: NDArray[Any]
    """Position of each value's column among them: uint16 if they are at most 2**16, or uint32."""


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


class ImpactSegment:
    """A segment of positive vectors, ready for search.

    Args:
        lists: its impact-ordered lists.
        row_ptr: offsets of each row, int64, shape (n_docs + 1,).
        row_ranks: ranks of each row's columns, ascending, uint16 or uint32, shape (nnz,).
        row_values: float32 weights, or unsigned codes of 8, 16 or 32 bits, shape (nnz,).
        weights: weight of each code, float32; None where ``row_values`` are weights.
        window_bits: window size the lists were made with.
    """

    def __init__(
        self,
        lists: ImpactLists,
        row_ptr: NDArray[np.int64],
        row_ranks: NDArray[Any],
        row_values: NDArray[Any],
        weights: NDArray[np.float32] | None = None,
        window_bits: int = IMPACT_BITS,
    ) -> None:
        self.n_docs = len(row_ptr) - 1
        self.native = _native.ImpactSegment(
            window_bits, *lists, row_ptr, row_ranks, row_values, weights
        )

    def document_frequencies(self, columns: NDArray[np.int32]) -> NDArray[np.int64]:
        """Number of documents that hold each column, tombstoned ones included."""
        try:
            return self.native.document_frequencies(np.ascontiguousarray(columns, np.int32))
        except _native.CorruptSegment as error:
            raise CorruptIndexError(
                f"{error}: `sparseret verify` tells which file is damaged"
            ) from error


class ImpactBuilder:
    """Makes impact-ordered lists window by window, so that rows need never be held all at once.

    Meaning: :func:`sparseret.kernels.reference.impact_lists`.

    Args:
        columns: distinct columns of all rows to come, ascending, shape (n_columns,).
        column_max: upper bound of the weights of each, shape (n_columns,).
        window_bits: documents per window, as a power of two, 5 to 16.
    """

    def __init__(
        self,
        columns: NDArray[np.int32],
        column_max: NDArray[np.float32],
        window_bits: int = IMPACT_BITS,
    ) -> None:
        self._columns = columns
        self._column_max = column_max
        self._native = _native.ImpactBuilder(column_max, window_bits)

    def add(
        self,
        row_ptr: NDArray[np.int64],
        ranks: NDArray[Any],
        weights: NDArray[np.float32],
        threads: int = 1,
    ) -> NDArray[np.uint16]:
        """Take further rows: whole windows of them, but for the last call.

        Args:
            row_ptr: offsets of these rows from 0, int64, shape (n + 1,).
            ranks: uint16 or uint32, unique within a row, shape (nnz,).
            weights: float32, positive, at most the column's bound, shape (nnz,).
            threads: windows are spread over this many threads.

        Returns:
            ``words`` of the lists of these rows.
        """
        return self._native.add(row_ptr, ranks, weights, max(1, threads))

    def finish(self, words: NDArray[np.uint16]) -> ImpactLists:
        """The lists of all rows; ``words`` is what :meth:`add` returned, joined."""
        column_ptr, lists = self._native.finish()
        return ImpactLists(self._columns, self._column_max, column_ptr, lists, words)


def rank_columns(columns: NDArray[np.int32], values: NDArray[np.float32]) -> RankedColumns:
    """Renumber columns without gaps, in ascending order.

    Meaning: :func:`sparseret.kernels.reference.rank_columns`.

    Args:
        columns: not negative, int32, shape (nnz,).
        values: float32, shape (nnz,).
    """
    return RankedColumns(*_native.rank_columns(columns, values))


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
