"""A segment of positive vectors in memory: its rows, and impact-ordered lists made from them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import CorruptIndexError
from sparseret.indexers.segment import SegmentData, decode, row_range
from sparseret.kernels import ImpactLists, Postings

__all__ = ["ImpactData", "without_lists"]


class ImpactData(NamedTuple):
    """Arrays of a segment of n documents with nnz positive values (docs/storage.md)."""

    numbers: NDArray[np.int64]
    """Document numbers, ascending, shape (n,)."""
    row_ptr: NDArray[np.int64]
    """Offsets of each document into the row arrays, shape (n + 1,)."""
    row_ranks: NDArray[Any]
    """Positions in ``lists.columns``, ascending in a row, uint16 or uint32, shape (nnz,)."""
    row_values: NDArray[Any]
    """float32 values, or codes of 8 or 16 bits, shape (nnz,)."""
    code_values: NDArray[np.float32]
    """Value of each code, shape (n_codes,); shape (0,) where values are not coded."""
    lists: ImpactLists

    @property
    def n_docs(self) -> int:
        """Number of documents."""
        return len(self.numbers)

    @property
    def nnz(self) -> int:
        """Number of stored values."""
        return len(self.row_values)

    @property
    def coded(self) -> bool:
        """Whether stored values are codes."""
        return self.row_values.dtype != np.float32

    def values(self, codes_or_values: NDArray[Any]) -> NDArray[np.float32]:
        """Stored values as float32: decodes ``row_values`` or any part of it."""
        return decode(self.code_values, codes_or_values) if self.coded else codes_or_values

    def columns(self, inside: slice) -> NDArray[np.int32]:
        """Columns of a stretch of the row arrays."""
        try:
            found: NDArray[np.int32] = self.lists.columns[self.row_ranks[inside]]
        except IndexError as error:  # ranks come from a file
            raise CorruptIndexError(
                "a rank is out of range: `sparseret verify` tells which file is damaged"
            ) from error
        return found

    def row(self, position: int) -> slice:
        """Where the columns and values of one document lie."""
        return row_range(self.row_ptr, position, self.nnz)


def without_lists(data: SegmentData | ImpactData) -> SegmentData:
    """The rows of a segment in the form that takes negative values too, without its postings."""
    if isinstance(data, SegmentData):
        return data
    nothing = np.empty(0, np.uint32)
    return SegmentData(
        data.numbers, data.row_ptr, data.columns(slice(None)), data.row_values,
        np.empty(0, np.float32), data.code_values, np.empty(0, np.float32),
        Postings(
            np.empty(0, np.int32), nothing, np.empty(0, np.uint16), nothing,
            np.empty(0, np.uint16), nothing,
        ),
    )  # fmt: skip
