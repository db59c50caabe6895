"""Rows to lists and back, in files on disk, so that memory is that of one number a row or list."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import VectorError

__all__ = ["Lists", "Scatter", "Transposer"]

_AT_ONCE = 2**22


class Lists(NamedTuple):
    """Values by list, the items of each in ascending order."""

    columns: NDArray[np.int32]
    """Which list each is, ascending, shape (n_lists,)."""
    ptr: NDArray[np.int64]
    """Where each begins, shape (n_lists + 1,)."""
    items: NDArray[Any]
    """Mapped, int32, shape (nnz,)."""
    values: NDArray[Any]
    """Mapped, int32, shape (nnz,)."""

    def list(self, place: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Items and values of a list."""
        inside = slice(int(self.ptr[place]), int(self.ptr[place + 1]))
        return self.items[inside].astype(np.int64), self.values[inside].astype(np.int64)


class Scatter:
    """Puts values into lists whose lengths are known, each list in the order its values come.

    Args:
        folder: for the files.
        sizes: of the lists, shape (n_lists,).
    """

    def __init__(self, folder: Path, sizes: NDArray[np.int64]) -> None:
        self.ptr = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
        nnz = max(1, int(self.ptr[-1]))  # an empty file cannot be mapped
        self.items = np.memmap(folder / "items", np.int32, "w+", shape=(nnz,))
        self.values = np.memmap(folder / "values", np.int32, "w+", shape=(nnz,))
        self._next = self.ptr[:-1].copy()

    def put_one_each(self, lists: NDArray[np.int64], item: int, values: NDArray[np.int64]) -> None:
        """Put a value of one item into each of several lists, all different."""
        places = self._next[lists]
        self.items[places] = item
        self.values[places] = values
        self._next[lists] += 1

    def put(
        self, lists: NDArray[np.int64], items: NDArray[np.int64], values: NDArray[np.int64]
    ) -> None:
        """Put values into lists in the order they come."""
        order = np.argsort(lists, kind="stable")
        ordered = lists[order]
        first = np.flatnonzero(np.diff(ordered, prepend=-1))
        counts = np.diff(first, append=len(ordered))
        within = np.arange(len(ordered)) - np.repeat(first, counts)
        places = self._next[ordered] + within
        self.items[places] = items[order]
        self.values[places] = values[order]
        self._next[ordered[first]] += counts


class Transposer:
    """Takes rows of whole numbers and gives the list of each column.

    Args:
        folder: for files of 20 bytes a value.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._columns = (folder / "columns").open("wb")
        self._values = (folder / "row-values").open("wb")
        self._sizes: list[NDArray[np.int64]] = []
        self._sums: list[NDArray[np.int64]] = []

    def add(
        self, indptr: NDArray[np.int64], columns: NDArray[np.int32], values: NDArray[Any]
    ) -> None:
        """Append rows; values are whole numbers of 31 bits."""
        sizes = np.diff(indptr)
        self._sizes.append(sizes)
        whole = values.astype(np.int64)
        running = np.concatenate(([0], np.cumsum(whole)))
        self._sums.append(running[indptr[1:]] - running[indptr[:-1]])
        self._columns.write(columns.astype(np.int32).tobytes())
        self._values.write(whole.astype(np.int32).tobytes())

    def sums(self) -> NDArray[np.int64]:
        """Sum of each row."""
        return np.concatenate([np.empty(0, np.int64), *self._sums])

    def finish(self) -> Lists:
        """The lists of all columns that have any value."""
        self._columns.close()
        self._values.close()
        sizes = np.concatenate([np.empty(0, np.int64), *self._sizes])
        if len(sizes) > np.iinfo(np.int32).max:
            raise VectorError(f"{len(sizes)} documents, and the format has numbers of 31 bits")
        ptr = np.concatenate(([0], np.cumsum(sizes)))
        nnz = int(ptr[-1])
        if not nnz:
            nothing = np.empty(0, np.int32)
            return Lists(nothing, np.zeros(1, np.int64), nothing, nothing)
        columns = np.memmap(self._folder / "columns", np.int32, "r")
        values = np.memmap(self._folder / "row-values", np.int32, "r")
        present = np.empty(0, np.int32)
        for begin in range(0, nnz, _AT_ONCE):
            present = np.union1d(present, columns[begin : begin + _AT_ONCE])
        counts = np.zeros(len(present), np.int64)
        for begin in range(0, nnz, _AT_ONCE):
            found = np.searchsorted(present, columns[begin : begin + _AT_ONCE])
            counts += np.bincount(found, minlength=len(present))
        scatter = Scatter(self._folder, counts)
        for begin in range(0, nnz, _AT_ONCE):
            end = min(begin + _AT_ONCE, nnz)
            rows = np.searchsorted(ptr, np.arange(begin, end), "right") - 1
            lists = np.searchsorted(present, columns[begin:end])
            scatter.put(lists, rows, values[begin:end].astype(np.int64))
        return Lists(present.astype(np.int32), scatter.ptr, scatter.items, scatter.values)
