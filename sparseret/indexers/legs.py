"""The legs of an index: the vector spaces that it holds of each document, and how each is kept.

An index has one leg or several, such as BM25's counts, learned weights and dense vectors. They
share the catalog: documents, deletions, filters and commits. A segment is the same documents in
every leg, one immutable file for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["LegKind", "LegRecord", "LegStore", "PartFile", "WrittenFile", "calibration_is_due"]

_LEAST_CALIBRATED = 2000  # documents: below, exact search is as fast

LegKind: TypeAlias = Literal["inverted", "dense"]


class LegRecord(NamedTuple):
    """What the catalog says of a leg."""

    name: str
    """Empty in an index of one leg."""
    kind: LegKind
    first: bool = True
    """Of several legs, whether it is the first: settings of that one have no prefix."""

    def key(self, key: str) -> str:
        """Where the catalog keeps a setting of this leg."""
        return key if self.first else f"leg:{self.name}:{key}"


class WrittenFile(NamedTuple):
    """A leg's file of one segment, written and fsynced."""

    nnz: int
    """Values in it."""
    bytes: int
    header_crc: int


class PartFile(Protocol):
    """A leg's file of one segment, open."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Numbers of its documents, ascending."""

    def damaged(self) -> list[str]:
        """Names of the arrays whose checksum is wrong; reads the whole file."""


class LegStore(Protocol):
    """How the vectors of a leg are written, read and merged; the writer knows no more of them."""

    @property
    def bytes_per_value(self) -> int:
        """What a buffered value takes until it is written: itself, and the work on its segment."""

    @property
    def max_nnz(self) -> int:
        """Values beyond which segments are not merged."""

    def n_values(self, rows: Any) -> int:
        """Values of some rows: stored ones, or all of dense vectors."""

    def write(self, path: Path, numbers: NDArray[np.int64], batches: Sequence[Any]) -> WrittenFile:
        """Write a new file of the rows of some batches.

        Args:
            path: of the file.
            numbers: of the documents, ascending, one a row of all batches.
            batches: rows, as they were added.

        Raises:
            StorageError: the system refuses; no partial file is left.
        """

    def read(self, path: Path, *, size: int, header_crc: int) -> PartFile:
        """Map a file; its header is checked against what the catalog says.

        Raises:
            FileNotFoundError, CorruptIndexError, IncompatibleIndexError
        """

    def merge(
        self, path: Path, parts: Sequence[tuple[Any, NDArray[np.bool_] | None]]
    ) -> WrittenFile:
        """Write a new file of the documents of others.

        Args:
            path: of the new file.
            parts: files of this leg, ascending by numbers, and which documents of each are kept,
                shape (n_docs,); None for all. One document at least is kept.
        """


def calibration_is_due(n: int, n_calibrated: int | None) -> bool:
    """Whether a leg of n documents should be calibrated.

    Args:
        n: documents that it has.
        n_calibrated: how many it had when it was calibrated; None if it never was.
    """
    if n < _LEAST_CALIBRATED:
        return False
    return n_calibrated is None or not 0.5 < n / max(n_calibrated, 1) < 2.0
