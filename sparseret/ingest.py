"""Index a corpus file: streamed, committed in steps, and continued where it was interrupted.

How far a file was read is committed in the same transaction as its documents, so a second run
neither repeats nor loses any.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from sparseret.documents import Document
from sparseret.errors import ConfigurationError, DocumentError, DuplicateIdError
from sparseret.indexers.catalog import SourceEntry
from sparseret.linefile import STDIN, LineFile, locate
from sparseret.readers import BadLine, read_documents
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
    """Lines that an earlier, interrupted call had indexed; 0 for a fresh start."""
    complete_before: bool
    """Whether an earlier call had indexed the whole file, so that nothing was left to do."""


def ingest(
    retriever: Retriever,
    source: str | Path,
    *,
    update: bool = False,
    on_error: Literal["stop", "skip"] = "stop",
    on_skip: Callable[[BadLine], None] | None = None,
    format: str | None = None,
    commit_every: int = 100_000,
    advance: Callable[[int, int], None] | None = None,
) -> IngestReport:
    """Add the documents of a file to an index.

    Memory is bounded by a batch (1,000 documents or 16 million characters), the writer's buffer
    (:data:`sparseret.indexers.writer.MAX_BUFFERED_NNZ` values) and the vocabulary of a million
    tokens, whatever the size of the corpus.

    Args:
        retriever: the index; what was uncommitted in it is committed along.
        source: as for :func:`sparseret.readers.read_documents`.
        update: replace documents whose ids are there already, and read a file again that an
            earlier call has indexed to its end.
        on_error: at a bad line, "stop" raises and "skip" goes on. After "stop", everything before
            the bad line stays indexed, and a call with the mended file, or "skip", continues.
        on_skip: called with every line left out.
        format: "jsonl" or "tsv", whatever the suffix says.
        commit_every: documents between two commits, which are also made once a minute.
        advance: called with (documents, bytes of the file) done by this call so far.

    Raises:
        DocumentError, DuplicateIdError, StorageError, IndexLockedError
        ConfigurationError: the file is not the one whose indexing was interrupted.
    """
    if commit_every < 1:
        raise ConfigurationError(f"commit_every must be at least 1, got {commit_every}")
    progress = _Progress(retriever, source, update=update, commit_every=commit_every)
    if progress.complete_before:
        return IngestReport(0, 0, progress.lines, complete_before=True)
    resumed_after = progress.lines

    def note(bad: BadLine) -> None:
        progress.skipped += 1
        if on_skip:
            on_skip(bad)

    records = read_documents(
        source, on_error=on_error, on_skip=note, format=format, skip_lines=progress.lines
    )
    batch: list[Document] = []
    characters = line = 0
    try:
        for record in records:
            batch.append(record.document)
            characters += len(record.document.text)
            line = record.line
            if len(batch) >= _BATCH or characters >= _BATCH_CHARACTERS:
                progress.store(batch, line)
                batch, characters = [], 0
                if advance:
                    advance(progress.added, record.offset)
    except DuplicateIdError:
        progress.commit()  # all but the batch with the duplicate
        raise
    except DocumentError:
        # What came before the bad line is good; the next call goes on from here.
        progress.store(batch, line)
        progress.commit()
        raise
    progress.store(batch, line)
    progress.commit(complete=True)
    return IngestReport(
        progress.added, progress.skipped, resumed_after=resumed_after, complete_before=False
    )


class _Progress:
    """Stores batches and commits them together with how far the file was read."""

    def __init__(
        self, retriever: Retriever, source: str | Path, *, update: bool, commit_every: int
    ) -> None:
        path = locate(source, "corpus.jsonl")
        self._retriever = retriever
        self._update = update
        self._commit_every = commit_every
        self._name = None if path == STDIN else str(Path(path).resolve())
        self._fingerprint = "" if self._name is None else _fingerprint(path)
        self._pending = 0
        self._committed_at = time.monotonic()
        self._skipped_before = 0
        self.lines = self.added = self.skipped = 0
        self.complete_before = False
        before = self._name and retriever.index.writer.catalog.source(self._name)
        if not before:
            return
        if before.fingerprint == self._fingerprint:
            self.complete_before = before.complete and not update
            if not before.complete or not update:
                self.lines, self._skipped_before = before.lines, before.skipped
        elif not before.complete and not update:
            raise ConfigurationError(
                f"{path} begins otherwise than when its indexing was interrupted after line "
                f"{before.lines}: read it from the start with --update, or into a new index"
            )

    def store(self, batch: list[Document], line: int) -> None:
        """Add documents read up to ``line``; commit if that is due."""
        if batch:
            (self._retriever.update if self._update else self._retriever.add)(batch)
            self.added += len(batch)
            self._pending += len(batch)
            self.lines = line
        late = time.monotonic() - self._committed_at >= _SECONDS_PER_COMMIT
        if late or self._pending >= self._commit_every:
            self.commit()

    def commit(self, *, complete: bool = False) -> None:
        """Commit documents and position in one transaction."""
        if self._name is not None:
            skipped = self._skipped_before + self.skipped
            self._retriever.index.writer.set_source(
                self._name, SourceEntry(self._fingerprint, self.lines, skipped, complete)
            )
        self._retriever.commit()
        self._pending, self._committed_at = 0, time.monotonic()


def _fingerprint(path: str) -> str:
    """Checksum of the first line: enough to notice another file under the same name."""
    with LineFile(path) as lines:
        return f"{zlib.crc32(next(iter(lines), b'')):08x}"
