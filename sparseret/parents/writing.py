"""Documents as chunks in an index: all chunks of a document come and go together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from sparseret.chunks import Chunking
from sparseret.documents import Document, document_batches, id_problem
from sparseret.errors import DocumentError, DuplicateIdError
from sparseret.indexers.search import check_ids
from sparseret.parents.places import CHUNK, ChunkPlace, chunk_id, split_id
from sparseret.progress import progress_bar
from sparseret.retriever import Retriever

__all__ = ["ChunkWriter"]

_BATCH = 1000
_BATCH_CHARACTERS = 2**24
"""Up to these a retriever takes documents in one piece, all or none of them."""


class ChunkWriter:
    """Cuts documents, and changes the index of their chunks.

    Attributes:
        lock: held during each change, and to be held for a commit.
    """

    def __init__(self, retriever: Retriever, chunking: Chunking) -> None:
        self._retriever = retriever
        self._chunking = chunking
        self.lock = threading.RLock()

    def add(self, documents: Iterable[Document], *, show_progress: bool = False) -> int:
        """:meth:`ParentRetriever.add`."""
        return self._in_batches(documents, self._append, show_progress)

    def update(self, documents: Iterable[Document], *, show_progress: bool = False) -> int:
        """:meth:`ParentRetriever.update`."""
        return self._in_batches(documents, self._replace, show_progress)

    def delete(self, ids: Iterable[str]) -> int:
        """:meth:`ParentRetriever.delete`."""
        check_ids(ids)
        with self.lock:
            totals = self._stored(dict.fromkeys(ids))
            self._retriever.delete(
                [chunk_id(id, n) for id, total in totals.items() for n in range(total)]
            )
            return len(totals)

    def _in_batches(
        self,
        documents: Iterable[Document],
        store: Callable[[Mapping[str, list[Document]]], None],
        show_progress: bool,
    ) -> int:
        total = len(documents) if isinstance(documents, Sequence) else None
        added = 0
        with progress_bar("Indexing", total, show=show_progress) as advance:
            for batch in document_batches(documents):
                for some in self._cut(batch):
                    with self.lock:
                        store(some)
                added += len(batch)
                advance(len(batch))
        return added

    def _cut(self, batch: Sequence[Document]) -> Iterator[dict[str, list[Document]]]:
        """Chunks by document, of as many documents as a retriever takes in one piece."""
        together: dict[str, list[Document]] = {}
        count = characters = 0
        for document in batch:
            chunks = self._chunks(document)
            size = sum(len(chunk.text) + len(chunk.title) for chunk in chunks)
            full = count + len(chunks) > _BATCH or characters + size >= _BATCH_CHARACTERS
            if together and (full or document.id in together):
                yield together
                together, count, characters = {}, 0, 0
            together[document.id] = chunks
            count, characters = count + len(chunks), characters + size
        if together:
            yield together

    def _chunks(self, document: Document) -> list[Document]:
        if problem := id_problem(document.id):
            raise DocumentError(problem)
        if CHUNK in document.metadata:
            raise DocumentError(
                f"document {document.id!r}: the key {CHUNK!r} of its metadata is taken, as an "
                "index of chunks keeps their places there: rename it"
            )
        spans = self._chunking.spans(document.text)
        places = [ChunkPlace(document.id, n, len(spans), *span) for n, span in enumerate(spans)]
        return [
            Document(
                chunk_id(document.id, place.number),
                document.text[place.start : place.end],
                document.title,
                {**document.metadata, CHUNK: place._asdict()},
            )
            for place in places
        ]

    def _append(self, parents: Mapping[str, list[Document]]) -> None:
        self._store(self._retriever.add, parents)

    def _replace(self, parents: Mapping[str, list[Document]]) -> None:
        before = self._stored(parents)
        self._store(self._retriever.update, parents)
        surplus = [
            chunk_id(id, n) for id, total in before.items() for n in range(len(parents[id]), total)
        ]
        if surplus:
            self._retriever.delete(surplus)

    def _store(
        self, store: Callable[[Iterable[Document]], int], parents: Mapping[str, list[Document]]
    ) -> None:
        chunks = [chunk for of_parent in parents.values() for chunk in of_parent]
        try:
            store(chunks)
        except DuplicateIdError as error:  # of a first chunk, before anything was stored
            parent = split_id(error.id)[0]
            told = str(error).replace(repr(error.id), repr(parent))
            raise DuplicateIdError(told, parent) from error
        except BaseException:
            if sum(1 for _ in document_batches(chunks)) > 1:  # some of them may be stored
                self._retriever.rollback()
            raise

    def _stored(self, ids: Iterable[str]) -> dict[str, int]:
        """How many chunks documents have that the writer knows, uncommitted ones included."""
        wanted = list(ids)
        writer = self._retriever.index.writer
        heads = writer.catalog.documents([chunk_id(id, 0) for id in wanted])
        return {
            id: ChunkPlace.of(head).total
            for id, head in zip(wanted, heads, strict=True)
            if head is not None
        }
