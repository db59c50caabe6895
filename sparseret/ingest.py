"""Index a corpus file: streamed, committed in steps, and continued where it was interrupted.

How far a file was read is committed in the same transaction as its documents, so a second run
neither repeats nor loses any.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from sparseret.errors import ConfigurationError, DocumentError, DuplicateIdError, VectorError
from sparseret.indexers.catalog import SourceEntry
from sparseret.linefile import LineFile, locate, size_on_disk
from sparseret.parents import ParentRetriever
from sparseret.readers import BadLine, Record, read_documents
from sparseret.retriever import Retriever

__all__ = ["IngestReport", "ingest"]

_SECONDS_PER_COMMIT = 60.0
_BATCH = 1000
_BATCH_CHARACTERS = 2**24


class IngestReport(NamedTuple):
    """What one call did."""

    added: int
    skipped: int
    """Bad lines left out, by this call."""
    resumed_after: int
    """Lines that earlier calls had read; 0 for a fresh start."""
    complete_before: bool
    """Whether an earlier call had indexed the whole file, so that nothing was left to do."""


def ingest(
    retriever: Retriever | ParentRetriever,
    source: str | Path,
    *,
    update: bool = False,
    on_error: Literal["stop", "skip"] = "stop",
    on_skip: Callable[[BadLine], None] | None = None,
    format: str | None = None,
    commit_every: int = 100_000,
    advance: Callable[[int, int], None] | None = None,
) -> IngestReport:
    """Add the documents of a file to an index, from where an earlier call ended.

    That call may have been interrupted, or lines may have been appended to the file since. Standard
    input and pipes have no past: they are read as they come.

    Memory is bounded by a batch (1,000 documents or 16 million characters), the writer's buffer
    (:data:`sparseret.indexers.writer.MEMORY_BUDGET`), a million tokens of the
    vocabulary, SQLite's page cache (64 MiB) and one merge
    (:data:`sparseret.indexers.segment.MAX_SEGMENT_NNZ` values), whatever the size of the corpus.

    Args:
        retriever: the index; what was uncommitted in it is committed along.
        source: as for :func:`sparseret.readers.read_documents`.
        update: replace documents whose ids are there already, and read a file from its start that
            an earlier call has indexed to its end.
        on_error: at a bad line, "stop" raises and "skip" goes on. After "stop", everything before
            the bad line stays indexed, and a call with the mended file, or "skip", continues.
        on_skip: called with every line left out.
        format: "jsonl" or "tsv", whatever the suffix says.
        commit_every: documents between two commits, which are also made once a minute.
        advance: called with (documents, bytes of the file) done by this call so far.

    Raises:
        DocumentError, DuplicateIdError, VectorError, StorageError, IndexLockedError
        ConfigurationError: the file is not the one whose indexing was interrupted.
    """
    if commit_every < 1:
        raise ConfigurationError(f"commit_every must be at least 1, got {commit_every}")
    progress = _Progress(retriever, source, update=update, commit_every=commit_every)
    resumed_after = progress.lines

    def note(bad: BadLine) -> None:
        progress.skip(bad)
        if on_skip:
            on_skip(bad)

    records = read_documents(
        source, on_error=on_error, on_skip=note, format=format, skip_lines=progress.lines
    )
    error: DocumentError | None = None
    batch: list[Record] | None = None
    while batch is None or (batch and error is None):
        batch = []
        try:
            for record in _one_batch(records):
                batch.append(record)  # those before a bad line are kept
        except DocumentError as bad_line:
            error = bad_line
        if batch:
            progress.store(batch)
            if advance:
                advance(progress.added, batch[-1].offset)
    progress.finish(complete=error is None)
    if error is not None:
        raise error
    nothing_new = progress.was_complete and not progress.added + progress.skipped
    return IngestReport(progress.added, progress.skipped, resumed_after, nothing_new)


def _one_batch(records: Iterator[Record]) -> Iterator[Record]:
    """The next records, as many as are stored at once: what a retriever takes in one piece."""
    characters = 0
    for count, record in enumerate(records, 1):
        yield record
        characters += len(record.document.text) + len(record.document.title)
        if count >= _BATCH or characters >= _BATCH_CHARACTERS:
            return


class _Progress:
    """Stores batches and commits them together with how far the file was read."""

    def __init__(
        self,
        retriever: Retriever | ParentRetriever,
        source: str | Path,
        *,
        update: bool,
        commit_every: int,
    ) -> None:
        self._path = path = locate(source, "corpus.jsonl")
        self._retriever = retriever
        self._update = update
        self._commit_every = commit_every
        self._name: str | None = None
        self._fingerprint = ""
        self._pending = 0
        self._committed_at = time.monotonic()
        self._skipped_before = self._last_skipped = 0
        self.lines = self.added = self.skipped = 0
        self.was_complete = False
        if size_on_disk(path) is None:
            return  # a pipe, of which a second look would take bytes away
        self._name = str(Path(path).resolve())
        self._fingerprint = _fingerprint(path)
        before = retriever.index.writer.catalog.source(self._name)
        if before is None:
            return
        if before.fingerprint == self._fingerprint:
            if not (before.complete and update):
                self.lines, self._skipped_before = before.lines, before.skipped
                self.was_complete = before.complete
        elif not before.complete and not update:
            raise ConfigurationError(
                f"{path} begins otherwise than when its indexing was interrupted after line "
                f"{before.lines}: read it from the start with --update, or into a new index"
            )

    def skip(self, bad: BadLine) -> None:
        """Count a bad line."""
        self.skipped += 1
        self._last_skipped = bad.line

    def store(self, batch: list[Record]) -> None:
        """Add documents; commit if that is due."""
        documents = [record.document for record in batch]
        try:
            (self._retriever.update if self._update else self._retriever.add)(documents)
        except DuplicateIdError as error:
            self._commit()  # all batches but this one
            lines = [record.line for record in batch if record.document.id == error.id]
            raise DuplicateIdError(f"{self._path}:{lines[-1]}: {error}", error.id) from error
        except (DocumentError, VectorError):
            self._commit()
            raise
        self.added += len(documents)
        self._pending += len(documents)
        self.lines = batch[-1].line
        self._note_position(complete=False)
        late = time.monotonic() - self._committed_at >= _SECONDS_PER_COMMIT
        if late or self._pending >= self._commit_every:
            self._commit()

    def finish(self, *, complete: bool) -> None:
        """Commit what was stored, and that the bad lines after it have been seen."""
        self.lines = max(self.lines, self._last_skipped)
        self._note_position(complete=complete)
        self._commit()

    def _commit(self) -> None:
        self._retriever.commit()
        self._pending, self._committed_at = 0, time.monotonic()

    def _note_position(self, *, complete: bool) -> None:
        """Put the position in the transaction of the documents: they are committed together."""
        if self._name is not None:
            skipped = self._skipped_before + self.skipped
            self._retriever.index.writer.set_source(
                self._name, SourceEntry(self._fingerprint, self.lines, skipped, complete)
            )


def _fingerprint(path: str) -> str:
    """Checksum of the first line: enough to notice another file under the same name."""
    with LineFile(path) as lines:
        return f"{zlib.crc32(next(iter(lines), b'')):08x}"
