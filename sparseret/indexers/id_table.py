"""Ids of documents by their numbers: read from the catalog once, then kept."""

from __future__ import annotations

from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import CorruptIndexError
from sparseret.indexers.catalog import Catalog

__all__ = ["IdTable"]

_MAX_KEPT = 2**23
"""Beyond this range of numbers (8 bytes each) ids are read anew for each search."""


class IdTable:
    """Maps document numbers to ids within one snapshot. Usable from several threads.

    Args:
        catalog: a connection that holds the snapshot.
        first: smallest document number.
        last: largest document number; below ``first`` for an empty collection.
    """

    def __init__(self, catalog: Catalog, first: int, last: int) -> None:
        self._catalog = catalog
        self._first = first
        size = last + 1 - first
        self._size = size if size <= _MAX_KEPT else 0

    @cached_property
    def _kept(self) -> list[str | None]:
        """Ids by number, None where not read yet; made at the first search."""
        return [None] * self._size

    def ids(self, numbers: NDArray[np.int64]) -> list[str]:
        """Ids in the order of ``numbers``, which may repeat.

        Raises:
            CorruptIndexError: a number is not in the catalog.
        """
        if not self._size:
            distinct, at = np.unique(numbers, return_inverse=True)
            read = self._read(distinct)
            return [read[i] for i in at.tolist()]
        kept, first = self._kept, self._first
        asked = numbers.tolist()
        if asked and min(asked) < first:
            return self._read(np.unique(numbers))  # raises
        try:
            found = [kept[number - first] for number in asked]
        except IndexError:
            return self._read(np.unique(numbers))  # raises
        if None in found:
            missing = np.unique([n for n, id in zip(asked, found, strict=True) if id is None])
            for number, id in zip(missing.tolist(), self._read(missing), strict=True):
                kept[number - first] = id
            found = [kept[number - first] for number in asked]
        return cast("list[str]", found)

    def _read(self, numbers: NDArray[np.int64]) -> list[str]:
        found = self._catalog.ids(numbers)
        if len(found) != len(numbers):
            raise CorruptIndexError(
                f"{self._catalog.folder}: a segment names documents that the catalog lacks. "
                "`sparseret verify` tells which file is damaged; restore it or index again"
            )
        return [found[number] for number in numbers.tolist()]
