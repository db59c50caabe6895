"""Overlap search of binary codes: by inverted lists, or by a scan of packed bits.

Both find the same, by :func:`sparseret.kernels.reference_sdr.search`; they differ in cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import CorruptIndexError
from sparseret.kernels import _native

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["BLOCK_BITS", "MAX_ACTIVE", "MAX_CELLS", "SdrBits", "SdrLists", "SdrRanking"]

BLOCK_BITS = 15
"""Codes are counted in blocks of ``2**BLOCK_BITS``: their counters fit the first cache."""
MAX_CELLS = 2**20
"""Cells that a code may have: the lists have an offset for each cell and block."""
MAX_ACTIVE = 2**16 - 1
"""Active cells that a stored code may have, so that counters of 16 bits hold any overlap."""

_CHUNK = 256


class SdrRanking(NamedTuple):
    """The best codes of each query, one query after the other; ties in order of the codes."""

    counts: NDArray[np.int64]
    """Matches of each query, shape (n_queries,)."""
    rows: NDArray[np.int64]
    """Numbers of the codes, shape (sum of counts,)."""
    overlaps: NDArray[np.int32]
    """Cells that they share with the query, shape (sum of counts,), best first in a query."""


class SdrLists:
    """Codes as inverted lists: block after block of codes, and in it cell after cell.

    Args:
        n_codes: number of codes.
        n_cells: cells of each, 1 to :data:`MAX_CELLS`.
        most_active: no code has more active cells than this, at most :data:`MAX_ACTIVE`.
        docs: code within its block, uint16, shape (nnz,).
        ptr: offsets of each cell's list from the block's first, uint32, shape
            (n_blocks * (n_cells + 1),).
        blocks: where the lists of each block begin in ``docs``, and their end, int64, shape
            (n_blocks + 1,).
        block_bits: codes of a block, as a power of two, 1 to 16.

    Raises:
        CorruptIndexError: arrays that are no such lists.
    """

    def __init__(
        self,
        n_codes: int,
        n_cells: int,
        most_active: int,
        docs: NDArray[np.uint16],
        ptr: NDArray[np.uint32],
        blocks: NDArray[np.int64],
        block_bits: int = BLOCK_BITS,
    ) -> None:
        self.docs, self.ptr, self.blocks = docs, ptr, blocks
        self.n_cells, self.most_active = n_cells, most_active
        try:
            self._native = _native.SdrLists(
                n_codes, n_cells, most_active, block_bits, docs, ptr, blocks
            )
        except ValueError as error:
            raise CorruptIndexError(f"no inverted lists: {error}; build the index again") from error

    @classmethod
    def build(cls, codes: csr_array, block_bits: int = BLOCK_BITS) -> SdrLists:
        """Lists of the rows of a canonical matrix, whose values are not looked at.

        Meaning: :func:`sparseret.kernels.reference_sdr.build_lists`.
        """
        n_codes, n_cells = codes.shape
        arrays = _native.build_sdr_lists(n_cells, block_bits, codes.indptr, codes.indices)
        most = int(np.diff(codes.indptr).max(initial=0))
        return cls(n_codes, n_cells, most, *arrays, block_bits)

    @property
    def n_bytes(self) -> int:
        """Memory that the lists take, bytes."""
        return self.docs.nbytes + self.ptr.nbytes + self.blocks.nbytes

    def search(
        self, queries: csr_array, k: int, *, threshold: int = 1, threads: int = 1
    ) -> SdrRanking:
        """The k codes of largest overlap with each row of a canonical matrix.

        Args:
            queries: of ``n_cells`` columns; their values are not looked at.
            k: matches a query, at least 1; fewer where fewer codes reach the threshold.
            threshold: smallest overlap, at least 1.
            threads: queries are spread over this many; results do not depend on it.
        """
        return SdrRanking(
            *self._native.search(queries.indptr, queries.indices, k, threshold, max(1, threads))
        )


class SdrBits:
    """Codes as rows of bits: cell c is bit c % 64 of word c // 64.

    Args:
        n_codes: number of codes.
        n_cells: cells of each, 1 to :data:`MAX_CELLS`.
        words: uint64, shape (n_codes * words a code,); a code takes a multiple of 256 bits.

    Raises:
        CorruptIndexError: another number of words.
    """

    def __init__(self, n_codes: int, n_cells: int, words: NDArray[np.uint64]) -> None:
        self.words = words
        self.n_cells = n_cells
        try:
            self._native = _native.SdrBits(n_codes, n_cells, words)
        except ValueError as error:
            raise CorruptIndexError(f"no packed bits: {error}; build the index again") from error

    @classmethod
    def build(cls, codes: csr_array) -> SdrBits:
        """Bits of the rows of a canonical matrix, whose values are not looked at."""
        n_codes, n_cells = codes.shape
        return cls(n_codes, n_cells, _native.pack_sdr(n_cells, codes.indptr, codes.indices))

    @staticmethod
    def words_of(n_cells: int) -> int:
        """Words that a code of so many cells takes."""
        return -(-n_cells // _CHUNK) * (_CHUNK // 64)

    @property
    def n_bytes(self) -> int:
        """Memory that the bits take, bytes."""
        return self.words.nbytes

    def search(
        self, queries: csr_array, k: int, *, threshold: int = 1, threads: int = 1
    ) -> SdrRanking:
        """As :meth:`SdrLists.search`, to the last match."""
        return SdrRanking(
            *self._native.search(queries.indptr, queries.indices, k, threshold, max(1, threads))
        )
