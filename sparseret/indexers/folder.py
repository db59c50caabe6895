"""An index folder, open: what every index has in common, whatever legs it has.

:class:`sparseret.indexers.inverted.InvertedIndex` and :class:`sparseret.indexers.dense.DenseIndex`
are folders of one leg; a retriever works on folders of any number.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sparseret.documents import Document
from sparseret.errors import ConfigurationError, IncompatibleIndexError, StorageError
from sparseret.indexers.dense_leg import DenseLeg
from sparseret.indexers.inverted_leg import InvertedLeg
from sparseret.indexers.search import check_count, check_ids
from sparseret.indexers.state import State
from sparseret.indexers.writer import Writer
from sparseret.protocols import Weighting

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["IndexFolder", "check_budget"]

_LARGE_LOG = 2**24  # bytes


class IndexFolder:
    """An index folder, open for reading and, from the first change on, for writing.

    Reads see the state taken when it was opened, last committed or refreshed through this object.
    Searches may run from many threads at once; changes are serialised. As a context manager it
    commits on a clean exit and forgets uncommitted changes after an exception.

    Args:
        path: the folder.
        weightings: by leg, what turns its counts to weights; legs that keep weights have none.
        memory_budget: bytes that adding documents may take; None for the default of the writer.
        degrade: whether to go on without legs whose files are missing or damaged.

    Raises:
        IndexNotFoundError: no index there.
        IncompatibleIndexError: a newer format, or counts without their weighting.
        CorruptIndexError: a file is missing, truncated or altered.
        ConfigurationError: a budget that is no whole number from 1.
    """

    def __init__(
        self,
        path: str | Path,
        weightings: Mapping[str, Weighting] | None = None,
        memory_budget: int | None = None,
        *,
        degrade: bool = False,
    ) -> None:
        check_budget(memory_budget)
        self.path = Path(path)
        self.memory_budget = memory_budget
        """Bytes that adding documents may take; None for the default of the writer."""
        self._writer: Writer | None = None
        self._write_lock = threading.RLock()
        self.closed = False
        """Whether :meth:`close` was called."""
        self._degrade = degrade
        self.state = State(self.path, degrade=degrade)
        """What searches see."""
        given = weightings or {}
        try:
            self.legs: list[InvertedLeg | DenseLeg] = [
                InvertedLeg(self.state, position, given.get(record.name))
                if record.kind == "inverted"
                else DenseLeg(self.state, position)
                for position, record in enumerate(self.state.catalog.legs)
            ]
            """The vector spaces, in the order they were named."""
        except BaseException:
            self.close()
            raise

    def check_kind(self, kind: type[InvertedLeg] | type[DenseLeg]) -> None:
        """Refuse an index that is not one leg of a kind, and close.

        Raises:
            IncompatibleIndexError
        """
        if len(self.legs) != 1 or not isinstance(self.legs[0], kind):
            self.close()
            kinds = {InvertedLeg: "sparse", DenseLeg: "dense"}
            held = " and ".join(f"{kinds[type(leg)]} vectors" for leg in self.legs)
            raise IncompatibleIndexError(
                f"{self.path} holds {held}, not {kinds[kind]} vectors alone: open it as a "
                "Retriever, or as an index of its kind"
            )

    def check_spaces(self, spaces: Sequence[str | None]) -> None:
        """Refuse legs of other vector spaces, and close; None is for one that is not known.

        Raises:
            IncompatibleIndexError
        """
        for leg, space in zip(self.legs, spaces, strict=True):
            if space is not None and leg.space != space:
                self.close()
                raise IncompatibleIndexError(
                    f"{self.path} holds vectors of the space {leg.space!r}, not {space!r}: "
                    "open it with the encoder that made it"
                )

    def __len__(self) -> int:
        return self.state.n_documents

    def setting(self, key: str) -> str:
        """A string kept with the index when it was made."""
        return self.state.catalog.meta(f"setting:{key}")

    @property
    def n_bytes(self) -> int:
        """Size of the index folder on disk, bytes."""
        return sum(item.stat().st_size for item in self.path.rglob("*") if item.is_file())

    def refresh(self) -> None:
        """See what has been committed since, by whomever."""
        self._require_open()
        state = State(self.path, self.state, degrade=self._degrade)
        for leg in self.legs:
            leg.refresh(state)
        self.state = state

    # --- writing ----------------------------------------------------------------------------

    @property
    def writer(self) -> Writer:
        """The writer, made (and the lock taken) at the first use."""
        self._require_open()
        if self._writer is None:
            stores = [leg.store for leg in self.legs]
            self._writer = Writer(self.path, stores, memory_budget=self.memory_budget)
        return self._writer

    def append(
        self,
        ids: Sequence[str],
        vectors: Sequence[Any],
        documents: Sequence[Document] | None = None,
        *,
        replace: bool = False,
    ) -> None:
        """Append vectors of every leg; visible after :meth:`commit`.

        Args:
            ids: unique, non-empty.
            vectors: of each leg, one row an id.
            documents: what to keep with each row, ids equal to ``ids``; by default the id alone.
            replace: replace documents whose ids are there already.

        Raises:
            DuplicateIdError: an id is in the index or given twice; nothing was added.
            DocumentError: a document out of the order of ``order_by``; nothing was added.
            VectorError: vectors that their leg cannot hold; nothing was added.
            IndexLockedError, StorageError
        """
        check_ids(ids)
        rows = [leg.rows_to_keep(given) for leg, given in zip(self.legs, vectors, strict=True)]
        if documents is None:
            documents = [Document(id) for id in ids]
        elif any(document.id != id for document, id in zip(documents, ids, strict=False)):
            raise ConfigurationError("documents and ids differ: give them in the same order")
        for of_leg in rows:
            if len(documents) != of_leg.shape[0] or len(ids) != of_leg.shape[0]:
                raise ConfigurationError(
                    f"{len(ids)} ids and {len(documents)} documents for {of_leg.shape[0]} vectors"
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

    def set_meta(self, key: str, text: str) -> None:
        """Commit what was measured or tuned under a key of the catalog, and see it."""
        with self._write_lock:
            self.writer.set_meta(key, text)
            self.writer.commit()
            self.refresh()

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
        the legs for which that was never done, or which have doubled or halved since, unless
        ``calibrate`` is false.
        """
        with self._write_lock:
            self.writer.commit()
            try:
                merges = self.writer.merge_all(progress)
            finally:
                self.refresh()
            if calibrate:
                for leg in self.legs:
                    if leg.calibration_is_due:
                        self.calibrate(leg)
            return merges

    def calibrate(
        self,
        leg: InvertedLeg | DenseLeg,
        queries: Any = None,
        *,
        threads: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Commit, then measure which effort of approximate search in a leg reaches which recall.

        Args:
            leg: of this index.
            queries: vectors; None makes some from documents.
            threads: None for one per core.
            progress: called with (efforts tried, efforts in all).

        Raises:
            ConfigurationError: the leg is always searched exactly; or no query that says anything.
            VectorError, IndexLockedError, StorageError
        """
        if threads is not None:
            check_count("threads", threads)
        sample = leg.sample(queries)
        with self._write_lock:
            self.commit()
            measured = leg.calibrate(sample, threads=threads, progress=progress)
            self.set_meta(*measured)

    def close(self) -> None:
        """Forget uncommitted changes, release the lock and the files."""
        with self._write_lock:
            self.closed = True
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            self.state.close()

    def __enter__(self) -> Self:
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


def check_budget(memory_budget: object) -> None:
    """Refuse what is no number of bytes. Raises ConfigurationError."""
    if memory_budget is None:
        return
    if not isinstance(memory_budget, Integral) or int(memory_budget) < 1:
        raise ConfigurationError(
            f"memory_budget must be a whole number of bytes, at least 1, got {memory_budget!r}"
        )
