"""How the vectors of a dense leg are kept (:class:`sparseret.indexers.legs.LegStore`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparseret.indexers.dense_segment import (
    DenseSegment,
    merge_dense,
    read_dense_segment,
    write_dense_segment,
)
from sparseret.indexers.dense_settings import DenseSettings
from sparseret.indexers.legs import WrittenFile
from sparseret.indexers.quantiser import Quantiser

__all__ = ["DenseStore"]


class DenseStore:
    """Segments of dense rows.

    Args:
        settings: of the leg.
        quantiser: of its light codes, learned; None to fit one to each segment.
    """

    bytes_per_value = 8
    """The value, and once more where batches are joined."""
    max_nnz = 2**29
    """2 GiB of vectors, which faiss holds while it builds."""

    def __init__(self, settings: DenseSettings, quantiser: Quantiser | None = None) -> None:
        self._settings = settings
        self._quantiser = quantiser

    def n_values(self, rows: NDArray[np.float32]) -> int:
        """All values."""
        return rows.size

    def write(
        self, path: Path, numbers: NDArray[np.int64], batches: Sequence[NDArray[np.float32]]
    ) -> WrittenFile:
        """Write a segment of finite rows."""
        rows = np.concatenate(batches)
        made = write_dense_segment(path, numbers, rows, self._settings, quantiser=self._quantiser)
        return WrittenFile(rows.size, *made)

    def read(self, path: Path, *, size: int, header_crc: int) -> DenseSegment:
        """Map a segment file."""
        return read_dense_segment(path, size=size, header_crc=header_crc)

    def merge(
        self, path: Path, parts: Sequence[tuple[DenseSegment, NDArray[np.bool_] | None]]
    ) -> WrittenFile:
        """Write a segment of the kept documents of others."""
        kept = sum(s.n_docs if live is None else int(live.sum()) for s, live in parts)
        made = merge_dense(parts, path, self._settings, quantiser=self._quantiser)
        return WrittenFile(kept * parts[0][0].dim, *made)
