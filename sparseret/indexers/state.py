"""One state of an index: the catalog and the files of one commit, which all legs share."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import CorruptIndexError
from sparseret.indexers.catalog import Catalog, SegmentEntry
from sparseret.indexers.id_table import IdTable
from sparseret.indexers.legs import LegKind, LegRecord, PartFile

__all__ = ["LegFiles", "State", "positions"]


class LegFiles:
    """The segments of one leg.

    Attributes:
        leg: what the catalog says of it.
        entries: of the catalog.
        files: open, in document order.
        dead: rows of deleted documents in each file, ascending.
        first_rows: rows before each file, and of all of them, counted through the segments.
        error: why there are no files, where there should be.
    """

    def __init__(
        self,
        leg: LegRecord,
        entries: Sequence[SegmentEntry],
        files: Sequence[PartFile],
        tombstones: NDArray[np.int64],
        error: CorruptIndexError | None = None,
    ) -> None:
        self.leg = leg
        self.error = error
        self.entries = entries
        self.files = files
        self.dead = [_dead_rows(file.numbers, tombstones) for file in files]
        self.first_rows = np.concatenate(
            ([0], np.cumsum([len(file.numbers) for file in files]))
        ).astype(np.int64)

    def rows_between(self, numbers: range) -> range:
        """Rows, counted through all segments, of documents with numbers in a range."""
        ends = []
        for wanted in (numbers.start, numbers.stop):
            row = 0
            for file in self.files:
                at = int(np.searchsorted(file.numbers, wanted))
                row += at
                if at < len(file.numbers):
                    break
            ends.append(row)
        return range(*ends)

    def bitmap(self, segment: int, allow: NDArray[np.int64] | None) -> NDArray[np.uint64]:
        """Rows of live documents, and of those whose numbers are in ``allow``, as bits."""
        numbers = self.files[segment].numbers
        n = len(numbers)
        mask = np.zeros(-(-n // 64) * 64, dtype=bool)
        mask[:n][slice(None) if allow is None else positions(numbers, allow)] = True
        mask[self.dead[segment]] = False
        return np.packbits(mask, bitorder="little").view(np.uint64)

    @cached_property
    def live_bitmaps(self) -> list[NDArray[np.uint64] | None] | None:
        """Of each segment, None where all documents are live; None where all of all are."""
        if not any(len(dead) for dead in self.dead):
            return None
        return [self.bitmap(i, None) if len(dead) else None for i, dead in enumerate(self.dead)]

    def numbers_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Document numbers of rows counted through all segments."""
        if len(self.files) == 1:
            return self.files[0].numbers[rows]
        segment_of = np.searchsorted(self.first_rows, rows, "right") - 1
        numbers = np.empty(len(rows), dtype=np.int64)
        for s, file in enumerate(self.files):
            inside = segment_of == s
            if inside.any():
                numbers[inside] = file.numbers[rows[inside] - self.first_rows[s]]
        return numbers

    def live_mask(self, segment: int) -> NDArray[np.bool_] | None:
        """Which documents of a segment are live, shape (n_docs,); None where all are."""
        dead = self.dead[segment]
        if not len(dead):
            return None
        mask = np.ones(len(self.files[segment].numbers), dtype=bool)
        mask[dead] = False
        return mask


class State:
    """Holds a read transaction on the catalog, and the mapped files of all legs.

    A state sees nothing that is committed after it was taken, and everything it sees stays
    readable until it is closed or dropped, merged files included.

    Args:
        folder: the index.
        known: an earlier state, whose open files are used again.
        degrade: whether to go on without legs whose files are missing or damaged, of several.

    Raises:
        IndexNotFoundError, CorruptIndexError, IncompatibleIndexError, StorageError
    """

    def __init__(self, folder: Path, known: State | None = None, *, degrade: bool = False) -> None:
        open_files = (
            {file.path: file for of_leg in known.legs for file in of_leg.files} if known else {}
        )
        self.catalog, opened = _open(folder, open_files, degrade=degrade)
        self.close = weakref.finalize(self, self.catalog.close)
        self.tombstones = self.catalog.tombstones()
        self.legs: list[LegFiles] = [
            LegFiles(leg, each.entries, each.files, self.tombstones, each.error)
            for leg, each in zip(self.catalog.legs, opened, strict=True)
        ]
        sound = [leg for leg in self.legs if leg.error is None]
        if not sound:
            self.close()
            raise next(leg.error for leg in self.legs if leg.error is not None)
        first = sound[0]
        self.n_documents = int(first.first_rows[-1]) - sum(map(len, first.dead))
        # Services ask for the same few filters again and again.
        self.numbers_where = lru_cache(maxsize=8)(self.catalog.numbers_where)
        table = IdTable(
            self.catalog,
            first=first.entries[0].first if first.entries else 0,
            last=first.entries[-1].last if first.entries else -1,
        )
        self.ids = table.ids


def positions(numbers: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the wanted values stand in ascending ``numbers``; those absent are left out."""
    if len(numbers) == len(wanted) and np.array_equal(numbers, wanted):
        return np.arange(len(numbers))
    at = np.searchsorted(numbers, wanted)
    inside = at < len(numbers)
    at, wanted = at[inside], wanted[inside]
    found: NDArray[np.int64] = at[numbers[at] == wanted]
    return found


def _dead_rows(numbers: NDArray[np.int64], tombstones: NDArray[np.int64]) -> NDArray[np.int64]:
    if not len(numbers):
        return np.empty(0, np.int64)
    begin, end = np.searchsorted(tombstones, [numbers[0], numbers[-1] + 1])
    return positions(numbers, tombstones[begin:end])


class _Opened(NamedTuple):
    entries: list[SegmentEntry]
    files: list[PartFile]
    error: CorruptIndexError | None = None


def _open(
    folder: Path, known: Mapping[Path, PartFile], *, degrade: bool
) -> tuple[Catalog, list[_Opened]]:
    """Catalog and files of one state; tries again if a merge removes a file meanwhile."""
    for attempt in range(10):
        catalog = Catalog(folder, writable=False)
        try:
            catalog.begin_snapshot()
            opened = [
                _open_leg(catalog, leg, known, last=attempt == 9, degrade=degrade)
                for leg in catalog.legs
            ]
        except FileNotFoundError:
            catalog.close()
        except BaseException:
            catalog.close()
            raise
        else:
            return catalog, opened
    raise AssertionError("unreachable")


def _open_leg(
    catalog: Catalog,
    leg: LegRecord,
    known: Mapping[Path, PartFile],
    *,
    last: bool,
    degrade: bool,
) -> _Opened:
    """Files of a leg. Raises FileNotFoundError, unless this is the last attempt."""
    entries, read = catalog.segments(leg), _reader(leg.kind)
    try:
        files = [
            known.get(path) or read(path, size=entry.bytes, header_crc=entry.header_crc)
            for entry in entries
            for path in [catalog.folder / entry.file]
        ]
    except FileNotFoundError as error:
        if not last:
            raise
        missing = CorruptIndexError(
            f"{error.filename} is missing though the catalog lists it. "
            "Restore it from a backup or build the index again"
        )
        if not degrade:
            raise missing from error
        return _Opened(entries, [], missing)
    except CorruptIndexError as error:
        if not degrade:
            raise
        return _Opened(entries, [], error)
    return _Opened(entries, files)


def _reader(kind: LegKind) -> Callable[..., PartFile]:
    if kind == "inverted":
        from sparseret.indexers.segment_file import read_segment

        return read_segment
    from sparseret.indexers.dense_segment import read_dense_segment

    return read_dense_segment
