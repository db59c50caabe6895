"""The inverted index: vectors under string ids, top-k search, durable and transactional.

It stores rows given to it and knows nothing of text; :class:`sparseret.Retriever` joins it with an
encoder. Usable alone for any sparse vectors.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from sparseret import vectors as vector_checks
from sparseret.documents import Document
from sparseret.errors import (
    ConfigurationError,
    DocumentError,
    IncompatibleIndexError,
    StorageError,
    VectorError,
)
from sparseret.indexers.calibration import Calibration, calibrate
from sparseret.indexers.catalog import ORDER_BY, REDUCTION
from sparseret.indexers.creation import create_folder
from sparseret.indexers.filters import Filter
from sparseret.indexers.order_field import order_field
from sparseret.indexers.reduction import Precision, Reduction
from sparseret.indexers.search import check_count, check_ids, search_snapshot
from sparseret.indexers.snapshot import Snapshot
from sparseret.indexers.writer import Writer
from sparseret.kernels import Effort
from sparseret.protocols import Hits, Weighting

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["InvertedIndex"]

_LARGE_LOG = 2**24  # bytes
_SAMPLE_QUERIES = 100
_LEAST_CALIBRATED = 2000  # documents: below, exact search is as fast
_MAX_NNZ_AT_ONCE = 2**31  # a segment has room for a buffer and this


class InvertedIndex:
    """An index folder, open for reading and, from the first change on, for writing.

    Reads see the snapshot taken when the index was opened, last committed or refreshed through
    this object. Searches may run from many threads at once; changes are serialised.

    Use :meth:`create` or :meth:`open`. As a context manager it commits on a clean exit and forgets
    uncommitted changes after an exception.
    """

    def __init__(
        self,
        path: str | Path,
        weighting: Weighting | None = None,
        memory_budget: int | None = None,
    ) -> None:
        _check_budget(memory_budget)
        self.path = Path(path)
        self.weighting = weighting
        self.memory_budget = memory_budget
        """Bytes that adding documents may take; None for the default of the writer."""
        self._writer: Writer | None = None
        self._write_lock = threading.RLock()
        self.closed = False
        """Whether :meth:`close` was called."""
        self.snapshot = Snapshot(self.path, weighting)
        meta = self.snapshot.catalog.meta
        self.space = meta("space")
        self.dim = int(meta("dim")) if meta("dim") else None
        self.signed = meta("signed") == "1"
        self.reduction = Reduction()
        """What is given up of vectors when they are added."""
        if self.snapshot.catalog.has_meta(REDUCTION):
            self.reduction = Reduction.from_json(meta(REDUCTION))
        weighted = meta("weighted") == "1"
        if weighted != (weighting is not None):
            self.close()
            raise IncompatibleIndexError(
                f"{self.path} stores {'counts' if weighted else 'weights'} of the space "
                f"{self.space!r}: open it with the encoder that made it"
            )

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        space: str = "custom",
        dim: int | None = None,
        signed: bool = True,
        weighting: Weighting | None = None,
        settings: Mapping[str, str] | None = None,
        filter_fields: Sequence[str] = (),
        order_by: str | None = None,
        precision: Precision = "float32",
        largest: float | None = None,
        mass: float = 1.0,
        max_terms: int | None = None,
        memory_budget: int | None = None,
    ) -> InvertedIndex:
        """Make an empty index in a new or empty folder.

        Args:
            path: the folder.
            space: id of the vector space; opening with another is an error.
            dim: number of columns that added vectors must have; None takes any up to 2**31.
            signed: whether vectors may hold negative values.
            weighting: given, values are counts that it turns to weights at search time.
            settings: strings to keep with the index (:meth:`setting`).
            filter_fields: metadata fields to build an SQL index for, so that filters on them need
                not read every document.
            order_by: metadata field, a number or string in each document, that ascends from one
                added document to the next: a filter on it costs as little as what it selects.
            precision: "float32" keeps values; "float16" rounds them to half precision, and
                "uint8" to 255 steps up to ``largest``, when they are added.
            largest: with "uint8", the largest weight to expect.
            mass: share of each document's weight to keep, in its heaviest terms.
            max_terms: of each document's heaviest terms, how many to keep at most. More on these
                four in :class:`sparseret.indexers.reduction.Reduction`.
            memory_budget: bytes that adding documents may take, by default 2**28; more makes
                building faster.

        Raises:
            IndexExistsError: the folder holds an index or other files.
            FilterError: an ``order_by`` or filter field that cannot be indexed.
            ConfigurationError: a precision, largest, mass or max_terms that cannot be.
        """
        _check_budget(memory_budget)
        reduction = Reduction(precision, largest, mass, max_terms)
        if weighting is not None and reduction.is_lossy:
            raise ConfigurationError(
                "counts are neither rounded nor pruned: their weights follow the collection"
            )
        meta = {
            "space": space,
            "dim": "" if dim is None else str(dim),
            "signed": str(int(signed)),
            "weighted": str(int(weighting is not None)),
            **{f"setting:{key}": value for key, value in (settings or {}).items()},
        }
        if reduction.is_lossy:
            meta[REDUCTION] = reduction.to_json()
        if order_by is not None:
            meta[ORDER_BY] = order_field(order_by).text
            filter_fields = [*filter_fields, order_by]
        create_folder(Path(path), meta, filter_fields)
        return cls(path, weighting, memory_budget)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        weighting: Weighting | None = None,
        space: str | None = None,
        memory_budget: int | None = None,
    ) -> InvertedIndex:
        """Open an existing index; takes a snapshot of its last commit.

        Raises:
            IndexNotFoundError: no index there.
            IncompatibleIndexError: of another space, or a newer format.
            CorruptIndexError: a file is missing, truncated or altered.
        """
        index = cls(path, weighting, memory_budget)
        if space is not None and space != index.space:
            index.close()
            raise IncompatibleIndexError(
                f"{index.path} holds vectors of the space {index.space!r}, not {space!r}: "
                "open it with the encoder that made it"
            )
        return index

    # --- reading ----------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.snapshot.n_documents

    def search(
        self,
        vectors: csr_array,
        k: int = 10,
        *,
        allow: Iterable[str] | None = None,
        where: Filter | str | None = None,
        exact: bool | None = None,
        recall: float | None = None,
        effort: Effort | None = None,
        threads: int | None = None,
    ) -> Hits:
        """Top-k by dot product among the live documents, exact unless told otherwise.

        Scores are those of the full float32 product of the stored weights, in either mode; an
        approximate search may miss hits. Ties go to the document added first. Documents that share
        no term with the query are never hits.

        Args:
            vectors: queries, any scipy sparse array of shape (n, dim).
            k: hits a query, at least 1; there are fewer where fewer match.
            allow: ids that may be returned; unknown ones are ignored. None allows all.
            where: metadata filter, as text or tree (:mod:`sparseret.indexers.filters`).
            exact: True for the results of the full product, which is the default.
            recall: 0.5 to 0.999: the cheapest search that found this share of the exact results
                when the index was calibrated (:meth:`tune`). It is exact where that is as cheap,
                or nothing was calibrated; ``mode`` of the result tells.
            effort: in place of ``recall``, how thorough to be.
            threads: None for one per core, at most one per query.

        Raises:
            VectorError, ConfigurationError, FilterError, CorruptIndexError
        """
        return search_snapshot(
            self.snapshot, vectors, k, allow=allow, where=where, exact=exact,
            recall=recall, effort=effort, threads=threads,
        )  # fmt: skip

    def vectors_of(self, ids: Sequence[str]) -> csr_array:
        """Vectors as they are stored, in the order of their ids; float32, shape (len(ids), dim).

        Raises:
            DocumentError: no vector has one of the ids.
        """
        columns, values, indptr = [], [], [0]
        for id in ids:
            numbers = self.snapshot.catalog.numbers_of([id])
            if not len(numbers):
                raise DocumentError(f"no document with id {id!r} in {self.path}")
            row = self.snapshot.row(int(numbers[0]))
            columns.append(row[0])
            values.append(row[1])
            indptr.append(indptr[-1] + len(row[0]))
        return vector_checks.from_arrays(
            np.array(indptr, np.int64),
            np.concatenate([np.empty(0, np.int32), *columns]),
            np.concatenate([np.empty(0, np.float32), *values]),
            self.dim or vector_checks.MAX_DIM,
        )

    @property
    def calibration(self) -> Calibration | None:
        """What :meth:`tune` measured; None if it never did."""
        return self.snapshot.calibration

    def tune(
        self,
        queries: csr_array | None = None,
        *,
        threads: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Calibration:
        """Measure which effort of approximate search reaches which recall, and keep that.

        Commits first. :meth:`merge` does this by itself where it is due.

        Args:
            queries: a sample of those to come, any scipy sparse array of shape (n, dim), positive;
                a few hundred are enough. None makes some from documents, which resembles real
                ones less.
            threads: None for one per core.
            progress: called with (efforts tried, efforts in all).

        Raises:
            VectorError, ConfigurationError, IndexLockedError, StorageError
        """
        if self.weighting is not None:
            raise ConfigurationError(
                "an index of counts is always searched exactly: there is nothing to tune"
            )
        if threads is not None:
            check_count("threads", threads)
        given = queries is not None
        sample = self._check(queries) if given else None
        if sample is not None and not sample.nnz:
            raise ConfigurationError(
                "no query to measure with has any term: give a sample of real ones, or none at all"
            )
        with self._write_lock:
            self.commit()
            if sample is None:
                sample = self.snapshot.sample_queries(_SAMPLE_QUERIES)
            measured = calibrate(
                self.snapshot.search, sample, n_documents=len(self), given=given,
                threads=threads or os.cpu_count() or 1, progress=progress,
            )  # fmt: skip
            self.writer.set_calibration(measured.to_json())
            self.writer.commit()
            self.refresh()
        return measured

    @property
    def calibration_is_due(self) -> bool:
        """Whether the index has no calibration, or one from when it was of another size."""
        if self.weighting is not None or len(self) < _LEAST_CALIBRATED:
            return False
        known = self.calibration
        return known is None or not 0.5 < len(self) / max(known.n_documents, 1) < 2.0

    def setting(self, key: str) -> str:
        """A string given to :meth:`create`."""
        return self.snapshot.catalog.meta(f"setting:{key}")

    def refresh(self) -> None:
        """See what has been committed since, by whomever."""
        self._require_open()
        known = {
            entry.number: file
            for entry, file in zip(self.snapshot.entries, self.snapshot.files, strict=True)
        }
        self.snapshot = Snapshot(self.path, self.weighting, known)

    @property
    def n_bytes(self) -> int:
        """Size of the index folder on disk, bytes."""
        return sum(item.stat().st_size for item in self.path.rglob("*") if item.is_file())

    # --- writing ----------------------------------------------------------------------------

    @property
    def writer(self) -> Writer:
        """The writer, made (and the lock taken) at the first use."""
        self._require_open()
        if self._writer is None:
            self._writer = Writer(
                self.path,
                weighted=self.weighting is not None,
                memory_budget=self.memory_budget,
            )
        return self._writer

    def add(
        self,
        ids: Sequence[str],
        vectors: csr_array,
        *,
        documents: Sequence[Document] | None = None,
    ) -> None:
        """Append vectors; visible after :meth:`commit`.

        Args:
            ids: unique, non-empty, one a row.
            vectors: any scipy sparse array of shape (len(ids), dim); empty rows are legal.
            documents: what to keep with each row, ids equal to ``ids``; by default the id alone.

        Raises:
            DuplicateIdError: an id is in the index or given twice; nothing was added.
            DocumentError: a document out of the order of ``order_by``; nothing was added.
            VectorError: NaN, wrong dimension, negative where not allowed, duplicate columns.
            IndexLockedError, StorageError
        """
        self._append(ids, vectors, documents, replace=False)

    def update(
        self,
        ids: Sequence[str],
        vectors: csr_array,
        *,
        documents: Sequence[Document] | None = None,
    ) -> None:
        """:meth:`add`, replacing documents whose ids are there already."""
        self._append(ids, vectors, documents, replace=True)

    def _append(
        self,
        ids: Sequence[str],
        vectors: csr_array,
        documents: Sequence[Document] | None,
        *,
        replace: bool,
    ) -> None:
        check_ids(ids)
        rows = self._check(vectors)
        if documents is None:
            documents = [Document(id) for id in ids]
        elif any(document.id != id for document, id in zip(documents, ids, strict=False)):
            raise ConfigurationError("documents and ids differ: give them in the same order")
        if len(documents) != rows.shape[0] or len(ids) != rows.shape[0]:
            raise ConfigurationError(
                f"{len(ids)} ids and {len(documents)} documents for {rows.shape[0]} vectors"
            )
        if rows.nnz > _MAX_NNZ_AT_ONCE:
            raise VectorError(
                f"{rows.nnz} values in one call, {_MAX_NNZ_AT_ONCE} is the most: add fewer rows"
            )
        rows = self.reduction.apply(rows)
        if rows is vectors:  # rows are kept until the commit, and the caller may change its own
            rows = vector_checks.from_arrays(
                rows.indptr.copy(), rows.indices.copy(), rows.data.copy(), rows.shape[1]
            )
        with self._write_lock:
            self.writer.add(documents, rows, replace=replace)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents; unknown ids are ignored. Returns how many there were."""
        check_ids(ids)
        with self._write_lock:
            return self.writer.delete(ids)

    def commit(self) -> None:
        """Make all changes durable and visible, then merge small segments where due."""
        with self._write_lock:
            self._require_open()
            if self._writer is not None and self._writer.dirty:
                self._writer.commit()
                try:
                    self._writer.merge_small()
                finally:  # the commit stands, whatever becomes of the merge
                    self.refresh()
                self.trim_log()

    def trim_log(self) -> bool:
        """Let SQLite reuse its write-ahead log if that has grown large; whether it can.

        A log cannot start anew while anyone holds a snapshot taken from it. So the log is copied
        into the database, and then a snapshot taken that needs no log.
        """
        with self._write_lock:
            if self._writer is None or self._writer.catalog.log_bytes() < _LARGE_LOG:
                return False
            if not self._writer.catalog.checkpoint():
                return False
            self.refresh()
            return True

    def rollback(self) -> None:
        """Forget all changes since the last commit."""
        with self._write_lock:
            if self._writer is not None:
                self._writer.rollback()

    def merge(
        self, progress: Callable[[int, int], None] | None = None, *, calibrate: bool = True
    ) -> int:
        """Commit, then merge into as few segments as possible and drop tombstones.

        Interruptible at any time without loss. Returns the number of merges made. Then calibrates
        the index (:meth:`tune`) if that was never done, or it has doubled or halved since, unless
        ``calibrate`` is false.
        """
        with self._write_lock:
            self.writer.commit()
            try:
                merges = self.writer.merge_all(progress)
            finally:
                self.refresh()
            if calibrate and self.calibration_is_due:
                self.tune()
            return merges

    def close(self) -> None:
        """Forget uncommitted changes, release the lock and the files."""
        with self._write_lock:
            self.closed = True
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            self.snapshot.close()

    def __enter__(self) -> InvertedIndex:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None and not self.closed:
                self.commit()
        finally:
            self.close()

    def _require_open(self) -> None:
        if self.closed:
            raise StorageError(f"{self.path} was closed: open it again")

    def _check(self, vectors: object) -> csr_array:
        return vector_checks.check(vectors, dim=self.dim, signed=self.signed)


def _check_budget(memory_budget: object) -> None:
    if memory_budget is None:
        return
    if not isinstance(memory_budget, Integral) or int(memory_budget) < 1:
        raise ConfigurationError(
            f"memory_budget must be a whole number of bytes, at least 1, got {memory_budget!r}"
        )
