"""The one writer of an index: buffers rows, writes segments, commits, merges.

Order of a commit: segment files are written and fsynced, then one SQLite transaction names them.
Whatever dies in between leaves files that no catalog names; the next writer removes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparseret.documents import Document, id_problem
from sparseret.errors import (
    CorruptIndexError,
    DocumentError,
    DuplicateIdError,
    IndexLockedError,
    StorageError,
)
from sparseret.indexers.catalog import Catalog, SegmentEntry, SourceEntry
from sparseret.indexers.legs import LegRecord, LegStore, PartFile, WrittenFile
from sparseret.indexers.merge_policy import SegmentSize, plan_full_merge, plan_merge
from sparseret.indexers.order_field import order_field
from sparseret.indexers.vocabulary import CatalogVocabulary

__all__ = ["MEMORY_BUDGET", "SEGMENT_FOLDER", "Writer"]

MEMORY_BUDGET = 2**28
"""Bytes that adding documents may take, by default."""

_MAX_BUFFERED = 2**30
"""Values, however large the budget: with 2**31 of one call they still fit a segment."""

SEGMENT_FOLDER = "segments"


class Writer:
    """Holds the lock of an index and its write transaction.

    Nothing is visible to others, or survives a crash, before :meth:`commit`.

    Args:
        folder: of the index.
        stores: how the vectors of each leg are kept, in the order of the catalog.
        memory_budget: bytes that adding documents may take; None for MEMORY_BUDGET.

    Raises:
        IndexLockedError: another writer has the index.
    """

    def __init__(
        self, folder: Path, stores: Sequence[LegStore], *, memory_budget: int | None = None
    ) -> None:
        from filelock import FileLock, Timeout  # readers need not wait for it

        self._folder = folder
        self._stores = stores
        self._budget = MEMORY_BUDGET if memory_budget is None else memory_budget
        self._max_nnz = min(store.max_nnz for store in stores)
        self._lock = FileLock(folder / "writer.lock", thread_local=False)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise IndexLockedError(
                f"another process or object is writing to {folder}: wait until it is done, or "
                "close it"
            ) from error
        except OSError as error:
            raise StorageError(f"cannot lock {folder} for writing: {error}") from error
        try:
            self.catalog = Catalog(folder, writable=True)
            self._legs = self.catalog.legs
            self._remove_orphans()
        except BaseException:
            self._lock.release()
            raise
        self._next_number: int | None = None
        self.vocabulary = CatalogVocabulary(self.catalog)
        """Terms of the open transaction; another object after each rollback."""
        self._start_clean()

    def close(self) -> None:
        """Forget what was not committed and give the lock back."""
        try:
            self.rollback()
        finally:
            self.catalog.close()
            self._lock.release()

    # --- changes ----------------------------------------------------------------------------

    @property
    def dirty(self) -> bool:
        """Whether there is anything to commit."""
        return self._changed

    def add(
        self, documents: Sequence[Document], rows: Sequence[Any], *, replace: bool = False
    ) -> None:
        """Append documents and their vectors.

        Args:
            documents: with distinct ids.
            rows: of each leg, canonical or dense rows, one a document.
            replace: delete documents of the same ids first.

        Raises:
            DuplicateIdError: an id is in the index, or twice among ``documents``.
            DocumentError: a document cannot be stored, or is not in the order of the field by
                which the index is ordered. Like a duplicate, it leaves things as they
                were before the call.
            StorageError: everything since the last commit is forgotten.
        """
        _check_documents(documents)
        if not documents:
            return
        self.begin()
        if self._next_number is None:
            self._next_number = self.catalog.next_number()
        try:
            with self.catalog.savepoint():
                if replace:
                    self.catalog.delete_documents([document.id for document in documents])
                self.catalog.add_documents(documents, self._next_number)
                self._check_order(self._next_number)
        except StorageError:
            self.rollback()
            raise
        try:
            numbers = np.arange(self._next_number, self._next_number + len(documents))
            self._next_number += len(documents)
            self._buffer.append((numbers, rows))
            for leg, (store, added) in enumerate(zip(self._stores, rows, strict=True)):
                self._buffered[leg] += store.n_values(added)
            if self._is_full():
                self._flush()
        except BaseException:  # documents without their rows must never be committed
            self.rollback()
            raise

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents; unknown ids are ignored. Returns how many there were."""
        self.begin()
        try:
            return len(self.catalog.delete_documents(ids))
        except StorageError:
            self.rollback()
            raise

    def set_source(self, name: str, entry: SourceEntry) -> None:
        """Record how far an input was read, to be committed with its documents."""
        self.begin()
        self.catalog.set_source(name, entry)

    def set_meta(self, key: str, text: str) -> None:
        """Keep what was measured or tuned, to be committed."""
        self.begin()
        self.catalog.set_meta(key, text)

    def begin(self) -> None:
        """Start a transaction unless one is open."""
        self.catalog.begin()
        self._changed = True

    def commit(self) -> None:
        """Make all changes durable and visible; on failure all of them are forgotten."""
        try:
            self._flush()
            self.catalog.commit()
        except BaseException:
            self.rollback()
            raise
        self._start_clean()

    def rollback(self) -> None:
        """Forget everything since the last commit."""
        self.catalog.rollback()
        for path in self._pending_files:
            path.unlink(missing_ok=True)
        self.vocabulary = CatalogVocabulary(self.catalog)
        self._start_clean()

    # --- merging ----------------------------------------------------------------------------

    def merge_small(self) -> int:
        """Merge what the merge policy asks for; returns the number of merges. Commit first."""
        done = 0
        while (run := plan_merge(self._sizes(), self._max_nnz)) is not None:
            self._merge(self._segments()[run.start : run.stop])
            done += 1
        return done

    def merge_all(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Merge into as few segments as allowed, without tombstones; returns the merges made.

        Each merge is committed on its own, so an interrupted call loses at most the one under
        way. ``progress`` is called with (merges done, merges planned).
        """
        segments = self._segments()
        runs = plan_full_merge(self._sizes(), self._max_nnz)
        for done, run in enumerate(runs):
            if progress:
                progress(done, len(runs))
            self._merge(segments[run.start : run.stop])
        if progress and runs:
            progress(len(runs), len(runs))
        return len(runs)

    # --- details ----------------------------------------------------------------------------

    def _check_order(self, first: int) -> None:
        """Refuse documents, of numbers from ``first`` on, that are not in the order promised."""
        if self.catalog.order_by is None:
            return
        order = order_field(self.catalog.order_by)
        found = self.catalog.out_of_order(order.value, order.json_type, first)
        if found is not None:
            raise DocumentError(order.complaint(found))

    def _start_clean(self) -> None:
        self._buffer: list[tuple[np.ndarray[tuple[int], np.dtype[np.int64]], Sequence[Any]]] = []
        self._buffered = [0] * len(self._stores)
        self._next_number = None
        self._pending_files: list[Path] = []
        self._changed = False

    def _is_full(self) -> bool:
        taken = sum(
            n * store.bytes_per_value for n, store in zip(self._buffered, self._stores, strict=True)
        )
        return taken >= self._budget or max(self._buffered) >= _MAX_BUFFERED

    def _flush(self) -> None:
        """Write the buffered rows as a segment that the open transaction names."""
        if not self._buffer:
            return
        numbers = np.concatenate([numbers for numbers, _ in self._buffer])
        batches = [rows for _, rows in self._buffer]
        self._buffer, self._buffered = [], [0] * len(self._stores)
        self._add_segment(
            numbers,
            lambda leg, path: self._stores[leg].write(
                path, numbers, [rows[leg] for rows in batches]
            ),
        )

    def _add_segment(
        self,
        numbers: np.ndarray[tuple[int], np.dtype[np.int64]],
        write: Callable[[int, Path], WrittenFile],
    ) -> None:
        """Write a file for each leg, and name them in the open transaction."""
        number = self.catalog.next_segment()
        for leg, record in enumerate(self._legs):
            file = f"{SEGMENT_FOLDER}/{number:06d}{_suffix(record)}.safetensors"
            path = self._folder / file
            written = write(leg, path)
            self._pending_files.append(path)
            self.catalog.add_segment(
                record,
                SegmentEntry(
                    number=number,
                    file=file,
                    first=int(numbers[0]),
                    last=int(numbers[-1]),
                    n_docs=len(numbers),
                    nnz=written.nnz,
                    bytes=written.bytes,
                    header_crc=written.header_crc,
                ),
            )

    def _segments(self) -> list[tuple[SegmentEntry, ...]]:
        """Entries of all segments, one of each leg."""
        return list(zip(*map(self.catalog.segments, self._legs), strict=True))

    def _sizes(self) -> list[SegmentSize]:
        dead = self.catalog.tombstones()
        sizes = []
        for entries in self._segments():
            begin, end = np.searchsorted(dead, [entries[0].first, entries[0].last + 1])
            nnz = max(entry.nnz for entry in entries)
            sizes.append(SegmentSize(nnz, int(end - begin) / max(entries[0].n_docs, 1)))
        return sizes

    def _merge(self, segments: Sequence[tuple[SegmentEntry, ...]]) -> None:
        """Replace neighbouring segments by one of their live documents."""
        dead = self.catalog.tombstones()
        parts, numbers = [], []
        for entries in segments:
            files = [self._sound(*pair) for pair in zip(self._stores, entries, strict=True)]
            live = ~np.isin(files[0].numbers, dead, assume_unique=True)
            if live.any():
                parts.append((files, None if live.all() else live))
                numbers.append(files[0].numbers[live])
        self.begin()
        try:
            self.catalog.remove_segments([entries[0] for entries in segments])
            if parts:
                self._add_segment(
                    np.concatenate(numbers),
                    lambda leg, path: self._stores[leg].merge(
                        path, [(files[leg], live) for files, live in parts]
                    ),
                )
            self.catalog.commit()
        except BaseException:
            self.rollback()
            raise
        self._start_clean()
        for entries in segments:
            for entry in entries:
                _unlink(self._folder / entry.file)

    def _sound(self, store: LegStore, entry: SegmentEntry) -> PartFile:
        file = store.read(self._folder / entry.file, size=entry.bytes, header_crc=entry.header_crc)
        if damaged := file.damaged():  # never copied under a fresh checksum
            raise CorruptIndexError(
                f"{file.path}: the checksum of {', '.join(damaged)} is wrong, so it is not "
                "merged; what was committed stays. Restore the file from a backup, or index again"
            )
        return file

    def _remove_orphans(self) -> None:
        """Delete segment files that no commit names: what a crash left behind."""
        named = {entry.file for entries in self._segments() for entry in entries}
        for path in (self._folder / SEGMENT_FOLDER).glob("*.safetensors"):
            if f"{SEGMENT_FOLDER}/{path.name}" not in named:
                _unlink(path)


def _suffix(leg: LegRecord) -> str:
    """Of file names; an index of one leg needs none."""
    return "" if leg.first else f".{leg.name}"


def _unlink(path: Path) -> None:
    """Remove a file nobody needs; where a reader's mapping forbids it, a later writer will."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def _check_documents(documents: Sequence[Document]) -> None:
    ids = [document.id for document in documents]
    if problem := next(filter(None, map(id_problem, ids)), None):
        raise DocumentError(problem)
    if len(set(ids)) == len(ids):
        return
    seen: set[str] = set()
    for document in documents:
        if document.id in seen:
            raise DuplicateIdError(f"document id {document.id!r} occurs twice", document.id)
        seen.add(document.id)
