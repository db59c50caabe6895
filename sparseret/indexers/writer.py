"""The one writer of an index: buffers rows, writes segments, commits, merges.

Order of a commit: segment files are written and fsynced, then one SQLite transaction names them.
Whatever dies in between leaves files that no catalog names; the next writer removes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparseret import vectors
from sparseret.documents import Document, id_problem
from sparseret.errors import (
    CorruptIndexError,
    DocumentError,
    DuplicateIdError,
    IndexLockedError,
    StorageError,
)
from sparseret.indexers.catalog import Catalog, SegmentEntry, SourceEntry
from sparseret.indexers.impact_build import part_of_rows, part_of_segment, write_impact_segment
from sparseret.indexers.impact_data import ImpactData, without_lists
from sparseret.indexers.merge_policy import SegmentSize, plan_full_merge, plan_merge
from sparseret.indexers.order_field import order_field
from sparseret.indexers.segment import (
    MAX_SEGMENT_NNZ,
    SegmentData,
    build_segment,
    merge_segments,
)
from sparseret.indexers.segment_file import read_segment, verify_segment
from sparseret.indexers.segment_writer import write_segment
from sparseret.indexers.vocabulary import CatalogVocabulary
from sparseret.kernels import WINDOW_BITS

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["MEMORY_BUDGET", "SEGMENT_FOLDER", "Writer"]

MEMORY_BUDGET = 2**28
"""Bytes that adding documents may take, by default."""

_BYTES_PER_COUNT, _BYTES_PER_WEIGHT = 64, 32
"""What a buffered value takes until it is written: itself, and the work on its segment."""

_MAX_BUFFERED = 2**30
"""Values, however large the budget: with 2**31 of one call they still fit a segment."""

_MAX_IMPACT_NNZ = 2**28
"""Segments with lists are not merged beyond this; a merge takes the memory of a few windows."""

SEGMENT_FOLDER = "segments"


class Writer:
    """Holds the lock of an index and its write transaction.

    Nothing is visible to others, or survives a crash, before :meth:`commit`.

    Args:
        folder: of the index.
        weighted: whether vectors are counts, to be weighted at search time.
        memory_budget: bytes that adding documents may take; None for MEMORY_BUDGET.

    Raises:
        IndexLockedError: another writer has the index.
    """

    def __init__(self, folder: Path, *, weighted: bool, memory_budget: int | None = None) -> None:
        from filelock import FileLock, Timeout  # readers need not wait for it

        self._folder = folder
        self._weighted = weighted
        budget = MEMORY_BUDGET if memory_budget is None else memory_budget
        bytes_per_value = _BYTES_PER_COUNT if weighted else _BYTES_PER_WEIGHT
        self._max_buffered = min(max(1, budget // bytes_per_value), _MAX_BUFFERED)
        self._max_nnz = MAX_SEGMENT_NNZ if weighted else _MAX_IMPACT_NNZ
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

    def add(self, documents: Sequence[Document], rows: csr_array, *, replace: bool = False) -> None:
        """Append documents and their canonical rows, shape (len(documents), dim).

        Args:
            documents: with distinct ids.
            rows: one a document.
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
            self._buffered_nnz += rows.nnz
            if self._buffered_nnz >= self._max_buffered:
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

    def set_calibration(self, text: str) -> None:
        """Keep what calibration measured, to be committed."""
        self.begin()
        self.catalog.set_calibration(text)

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
            self._merge(self.catalog.segments()[run.start : run.stop])
            done += 1
        return done

    def merge_all(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Merge into as few segments as allowed, without tombstones; returns the merges made.

        Each merge is committed on its own, so an interrupted call loses at most the one under
        way. ``progress`` is called with (merges done, merges planned).
        """
        entries = self.catalog.segments()
        runs = plan_full_merge(self._sizes(), self._max_nnz)
        for done, run in enumerate(runs):
            if progress:
                progress(done, len(runs))
            self._merge(entries[run.start : run.stop])
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
        self._buffer: list[tuple[np.ndarray[tuple[int], np.dtype[np.int64]], csr_array]] = []
        self._buffered_nnz = 0
        self._next_number = None
        self._pending_files: list[Path] = []
        self._changed = False

    def _flush(self) -> None:
        """Write the buffered rows as a segment that the open transaction names."""
        if not self._buffer:
            return
        numbers = np.concatenate([numbers for numbers, _ in self._buffer])
        sizes = np.concatenate([np.diff(rows.indptr) for _, rows in self._buffer])
        rows = vectors.from_arrays(
            np.concatenate(([0], np.cumsum(sizes))).astype(np.int64),
            np.concatenate([rows.indices for _, rows in self._buffer]),
            np.concatenate([rows.data for _, rows in self._buffer]),
            vectors.MAX_DIM,
        )
        self._buffer, self._buffered_nnz = [], 0
        if self._weighted or (rows.data < 0).any():
            data = build_segment(numbers, rows, weighted=self._weighted, window_bits=WINDOW_BITS)
            self._add_segment(
                numbers, rows.nnz, lambda path: write_segment(path, data, WINDOW_BITS)
            )
        else:
            part = part_of_rows(numbers, rows)
            self._add_segment(numbers, rows.nnz, lambda path: write_impact_segment(path, [part]))

    def _add_segment(
        self,
        numbers: NDArray[np.int64],
        nnz: int,
        write: Callable[[Path], tuple[int, int]],
    ) -> None:
        """Write a segment file, and name it in the open transaction."""
        number = self.catalog.next_segment()
        file = f"{SEGMENT_FOLDER}/{number:06d}.safetensors"
        path = self._folder / file
        size, header_crc = write(path)
        self._pending_files.append(path)
        self.catalog.add_segment(
            SegmentEntry(
                number=number,
                file=file,
                first=int(numbers[0]),
                last=int(numbers[-1]),
                n_docs=len(numbers),
                nnz=nnz,
                bytes=size,
                header_crc=header_crc,
            )
        )

    def _sizes(self) -> list[SegmentSize]:
        dead = self.catalog.tombstones()
        sizes = []
        for entry in self.catalog.segments():
            begin, end = np.searchsorted(dead, [entry.first, entry.last + 1])
            sizes.append(SegmentSize(entry.nnz, int(end - begin) / max(entry.n_docs, 1)))
        return sizes

    def _merge(self, entries: Sequence[SegmentEntry]) -> None:
        """Replace neighbouring segments by one of their live documents."""
        dead = self.catalog.tombstones()
        parts = []
        for entry in entries:
            file = read_segment(
                self._folder / entry.file, size=entry.bytes, header_crc=entry.header_crc
            )
            if damaged := verify_segment(file):  # never copied under a fresh checksum
                raise CorruptIndexError(
                    f"{file.path}: the checksum of {', '.join(damaged)} is wrong, so it is not "
                    "merged; what was committed stays. Restore the file from a backup, or index "
                    "again"
                )
            live = ~np.isin(file.data.numbers, dead, assume_unique=True)
            parts.append((file.data, None if live.all() else live))
        self.begin()
        try:
            self.catalog.remove_segments(entries)
            self._write_merged(parts)
            self.catalog.commit()
        except BaseException:
            self.rollback()
            raise
        self._start_clean()
        for entry in entries:
            _unlink(self._folder / entry.file)

    def _write_merged(
        self, parts: Sequence[tuple[SegmentData | ImpactData, NDArray[np.bool_] | None]]
    ) -> None:
        if all(_positive(data) for data, _ in parts) and not self._weighted:
            rows = [part_of_segment(data, live) for data, live in parts]
            numbers = np.concatenate([part.numbers for part in rows])
            nnz = sum(int(part.sizes.sum()) for part in rows)
            if len(numbers):
                self._add_segment(numbers, nnz, lambda path: write_impact_segment(path, rows))
            return
        plain = [(without_lists(data), live) for data, live in parts]
        merged = merge_segments(plain, weighted=self._weighted, window_bits=WINDOW_BITS)
        if merged.n_docs:
            self._add_segment(
                merged.numbers, merged.nnz, lambda path: write_segment(path, merged, WINDOW_BITS)
            )

    def _remove_orphans(self) -> None:
        """Delete segment files that no commit names: what a crash left behind."""
        named = {entry.file for entry in self.catalog.segments()}
        for path in (self._folder / SEGMENT_FOLDER).glob("*.safetensors"):
            if f"{SEGMENT_FOLDER}/{path.name}" not in named:
                _unlink(path)


def _positive(data: SegmentData | ImpactData) -> bool:
    if isinstance(data, ImpactData):
        return True
    values = data.code_values if data.coded else data.row_values
    return not (values < 0).any()


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
