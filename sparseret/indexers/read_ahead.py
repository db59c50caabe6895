"""Reading of some rows of a mapped array, all of them asked for before the first is waited for."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["read_ahead"]


def read_ahead(
    mapped: mmap.mmap | bytes, begin: int, row_bytes: int, rows: NDArray[np.int64]
) -> None:
    """Tell the system that rows are about to be read, so that it reads them side by side.

    Without it, each row that is not in memory is waited for in turn, and pages around it that
    nothing needs are read with it. Does nothing where the system cannot be told.

    Args:
        mapped: the file.
        begin: where the array begins in it, in bytes.
        row_bytes: of a row.
        rows: ascending.
    """
    willneed = getattr(mmap, "MADV_WILLNEED", None)
    if willneed is None or not isinstance(mapped, mmap.mmap) or not len(rows):
        return
    page = mmap.PAGESIZE
    first = (begin + rows * row_bytes) // page
    last = (begin + (rows + 1) * row_bytes - 1) // page
    # Stretches of pages that touch are one.
    fresh = np.flatnonzero(first[1:] > last[:-1] + 1) + 1
    starts = first[np.r_[0, fresh]]
    stops = last[np.r_[fresh - 1, len(rows) - 1]] + 1
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        mapped.madvise(willneed, start * page, min(stop * page, len(mapped)) - start * page)
