"""Ids of documents by their numbers: read from the catalog once, then kept."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import CorruptIndexError
from sparseret.indexers.catalog import Catalog

__all__ = ["IdTable"]

_FEW = 100
"""Up to so many, a loop beats NumPy."""
_MAX_KEPT = 2**23
"""Beyond this range of numbers (9 bytes each) ids are read anew for each search."""


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
    def _kept(self) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
        """Ids by number, and which of them were read; made at the first search."""
        return np.empty(self._size, dtype=object), np.zeros(self._size, dtype=bool)

    def few(self, numbers: NDArray[np.int64]) -> list[str]:
        """:meth:`ids` as a list, faster for a handful of numbers that were asked for before."""
        if self._size and len(numbers) <= _FEW:
            ids, first = self._kept[0], self._first
            try:
                found = [ids[number - first] for number in numbers.tolist()]
            except IndexError:  # one that is not there: `ids` says so
                found = [None]
            if None not in found and (not len(numbers) or int(numbers.min()) >= first):
                return found
        every: list[str] = self.ids(numbers).tolist()
        return every

    def ids(self, numbers: NDArray[np.int64]) -> NDArray[np.object_]:
        """Ids in the order of ``numbers``, which may repeat.

        Raises:
            CorruptIndexError: a number is not in the catalog.
        """
        if not self._size:
            distinct, at = np.unique(numbers, return_inverse=True)
            return self._read(distinct)[at]
        at = numbers - self._first
        if len(at) and int(at.view(np.uint64).max()) >= self._size:
            return self._read(np.unique(numbers))  # raises
        ids, read = self._kept
        known = read[at]
        if not known.all():
            missing = np.unique(numbers[~known])
            ids[missing - self._first] = self._read(missing)
            read[missing - self._first] = True
        return ids[at]

    def _read(self, numbers: NDArray[np.int64]) -> NDArray[np.object_]:
        found = self._catalog.ids(numbers)
        if len(found) != len(numbers):
            raise CorruptIndexError(
                f"{self._catalog.folder}: a segment names documents that the catalog lacks. "
                "`sparseret verify` tells which file is damaged; restore it or index again"
            )
        return np.array([found[number] for number in numbers.tolist()], dtype=object)
