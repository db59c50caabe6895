"""How the sparse vectors of a leg are kept: impact-ordered lists, or plain postings (LegStore)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparseret import vectors
from sparseret.indexers.impact_build import part_of_rows, part_of_segment, write_impact_segment
from sparseret.indexers.impact_data import ImpactData, without_lists
from sparseret.indexers.legs import WrittenFile
from sparseret.indexers.segment import (
    MAX_SEGMENT_NNZ,
    SegmentData,
    build_segment,
    merge_segments,
)
from sparseret.indexers.segment_file import SegmentFile, read_segment
from sparseret.indexers.segment_writer import write_segment
from sparseret.kernels import WINDOW_BITS

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["InvertedStore"]

_BYTES_PER_COUNT, _BYTES_PER_WEIGHT = 64, 32

_MAX_IMPACT_NNZ = 2**28
"""Segments with lists are not merged beyond this; a merge takes the memory of a few windows."""


class InvertedStore:
    """Segments of sparse rows (:class:`sparseret.indexers.legs.LegStore`).

    Args:
        weighted: whether vectors are counts, to be weighted at search time.
    """

    def __init__(self, *, weighted: bool) -> None:
        self._weighted = weighted
        self.bytes_per_value = _BYTES_PER_COUNT if weighted else _BYTES_PER_WEIGHT
        self.max_nnz = MAX_SEGMENT_NNZ if weighted else _MAX_IMPACT_NNZ

    def n_values(self, rows: csr_array) -> int:
        """Stored values."""
        return int(rows.nnz)

    def write(
        self, path: Path, numbers: NDArray[np.int64], batches: Sequence[csr_array]
    ) -> WrittenFile:
        """Write a segment of canonical rows."""
        sizes = np.concatenate([np.diff(rows.indptr) for rows in batches])
        rows = vectors.from_arrays(
            np.concatenate(([0], np.cumsum(sizes))).astype(np.int64),
            np.concatenate([rows.indices for rows in batches]),
            np.concatenate([rows.data for rows in batches]),
            vectors.MAX_DIM,
        )
        if self._weighted or (rows.data < 0).any():
            data = build_segment(numbers, rows, weighted=self._weighted, window_bits=WINDOW_BITS)
            return WrittenFile(rows.nnz, *write_segment(path, data, WINDOW_BITS))
        return WrittenFile(rows.nnz, *write_impact_segment(path, [part_of_rows(numbers, rows)]))

    def read(self, path: Path, *, size: int, header_crc: int) -> SegmentFile:
        """Map a segment file."""
        return read_segment(path, size=size, header_crc=header_crc)

    def merge(
        self, path: Path, parts: Sequence[tuple[SegmentFile, NDArray[np.bool_] | None]]
    ) -> WrittenFile:
        """Write a segment of the kept documents of others."""
        if all(_positive(file.data) for file, _ in parts) and not self._weighted:
            rows = [part_of_segment(file.data, live) for file, live in parts]
            nnz = sum(int(part.sizes.sum()) for part in rows)
            return WrittenFile(nnz, *write_impact_segment(path, rows))
        plain = [(without_lists(file.data), live) for file, live in parts]
        merged = merge_segments(plain, weighted=self._weighted, window_bits=WINDOW_BITS)
        return WrittenFile(merged.nnz, *write_segment(path, merged, WINDOW_BITS))


def _positive(data: SegmentData | ImpactData) -> bool:
    if isinstance(data, ImpactData):
        return True
    values = data.code_values if data.coded else data.row_values
    return not (values < 0).any()
