"""Search chunks, return parents: long documents are cut, and found by their best passages.

An index of chunks is an index like any other, whose documents are the chunks. That numbered ``n``,
from 0, of the document ``id`` has the id ``id#n``; the number is what follows the last ``#``, so
that ids with a ``#`` of their own cannot collide. Its metadata are those of the document, and under
the key ``_chunk`` its place. The text of a document is nowhere but in its chunks, from which it is
put together again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sparseret.chunks import Chunking, chunking_from_json
from sparseret.documents import Document
from sparseret.errors import IncompatibleIndexError
from sparseret.feedback import Feedback
from sparseret.parents.places import CHUNK, ChunkPlace, chunks_of, on_chunks, whole_document
from sparseret.parents.ranking import ParentResult, search_like, search_parents
from sparseret.parents.writing import ChunkWriter
from sparseret.protocols import Hits, Reranker
from sparseret.reranking.stage import RerankStage
from sparseret.retriever import Retriever
from sparseret.views.view import Request

if TYPE_CHECKING:
    from sparseret.explanation import Explanation
    from sparseret.indexers.dense_settings import DenseSettings
    from sparseret.indexers.filters import Filter
    from sparseret.indexers.folder import IndexFolder
    from sparseret.indexers.fusion import Fusion
    from sparseret.indexers.reduction import Reduction
    from sparseret.indexers.state import State
    from sparseret.legs import AnyEncoder

__all__ = ["CHUNKING", "ParentRetriever", "open_retriever"]

CHUNKING = "chunking"
"""Key of the catalog under which an index of chunks says how texts are cut."""


class ParentRetriever:
    """Search a collection of long documents by their chunks.

    Use :meth:`create` or :meth:`open`. Everything said of transactions, threads and snapshots of a
    :class:`sparseret.Retriever` holds for documents as wholes: a change reaches all chunks of a
    document in the same commit.

    >>> with ParentRetriever.create("books.idx", chunking=Chunking(200, 40)) as books:
    ...     books.add([Document("1", long_text)])
    >>> with ParentRetriever.open("books.idx") as books:
    ...     for book in books.search("inverted indexes", k=3):
    ...         print(book.id, book.passages[0].text)

    Attributes:
        retriever: of the chunks, for whatever concerns them alone: legs, modes, calibration.
        chunking: how texts are cut.
    """

    def __init__(self, retriever: Retriever, chunking: Chunking) -> None:
        self.retriever = retriever
        self.chunking = chunking
        self._writer = ChunkWriter(retriever, chunking)
        self._counted: tuple[State, int] | None = None

    @classmethod
    def create(
        cls,
        path: str | Path,
        encoder: str | AnyEncoder | Mapping[str, str | AnyEncoder] = "bm25",
        *,
        chunking: Chunking | None = None,
        encoder_options: Mapping[str, Any] | None = None,
        filter_fields: Sequence[str] = (),
        order_by: str | None = None,
        reduction: Reduction | None = None,
        dense: DenseSettings | None = None,
        fusion: Fusion | None = None,
        memory_budget: int | None = None,
    ) -> ParentRetriever:
        """Make an empty index of chunks in a new or empty folder, which records the chunking.

        Args:
            path: the folder.
            encoder: as of :meth:`sparseret.Retriever.create`, as are all others but:
            chunking: how texts are cut; None for 200 words, of which 40 are shared.

        Raises:
            IndexExistsError, ConfigurationError, StorageError
        """
        wanted = Chunking() if chunking is None else chunking
        retriever = Retriever.create(
            path, encoder, encoder_options=encoder_options,
            filter_fields=[f"{CHUNK}.parent" if f == "_id" else f for f in filter_fields],
            order_by=order_by, reduction=reduction, dense=dense, fusion=fusion,
            memory_budget=memory_budget,
        )  # fmt: skip
        try:
            retriever.index.set_meta(CHUNKING, wanted.to_json())
            retriever.refresh()
        except BaseException:
            retriever.close()
            raise
        return cls(retriever, wanted)

    @classmethod
    def open(
        cls,
        path: str | Path,
        encoder: AnyEncoder | Mapping[str, AnyEncoder] | None = None,
        *,
        chunking: Chunking | None = None,
        degrade: bool = False,
        memory_budget: int | None = None,
    ) -> ParentRetriever:
        """Open an index of chunks.

        Args:
            path: its folder.
            encoder: as of :meth:`sparseret.Retriever.open`, as are all others but:
            chunking: the one that the index must have been made with; None for whichever it was.

        Raises:
            IncompatibleIndexError: an index of whole documents, or of other chunks.
            IndexNotFoundError, CorruptIndexError, ConfigurationError
        """
        opened = open_retriever(path, encoder, degrade=degrade, memory_budget=memory_budget)
        if isinstance(opened, Retriever):
            opened.close()
            raise IncompatibleIndexError(
                f"{path} holds whole documents, not chunks: open it as a Retriever, or index its "
                "documents again with ParentRetriever.create"
            )
        if chunking is not None and chunking != opened.chunking:
            opened.close()
            raise IncompatibleIndexError(
                f"{path} was made with {opened.chunking.description}, not with "
                f"{chunking.description}: open it as it is, or index its documents again"
            )
        return opened

    # --- searching --------------------------------------------------------------------------

    def search(
        self,
        query: str | None = None,
        k: int = 10,
        *,
        passages: int = 1,
        summed: int = 1,
        like: Sequence[str] = (),
        unlike: Sequence[str] = (),
        alpha: float = 1.0,
        beta: float = 0.75,
        gamma: float = 0.15,
        filter: Filter | str | None = None,
        exact: bool | None = None,
        recall: float | None = None,
        legs: Sequence[str] | None = None,
        fusion: Fusion | None = None,
        depth: int = 100,
        degrade: bool = False,
        rerank: Reranker | Sequence[Reranker] | None = None,
        rerank_depth: int = 100,
        time_budget: float | None = None,
    ) -> list[ParentResult]:
        """The best k documents, best first, each with its best passages.

        The score of a document is that of its best chunk, or the sum of the best ``summed``: of
        those behind the first, positive ones alone. Equal scores come in the order of the best
        chunks, whose ties go by insertion. The search asks for more and more chunks until no chunk
        that is left could change which documents are the best k, or none matches any more.

        Args:
            query: any text; may be left out where ``like`` is given.
            k: documents, at least 1.
            passages: how many of its best chunks a result names at most, among those that the
                search has asked for. The best one always is.
            summed: how many of its best chunks make the score of a document.
            like: ids of documents, not of chunks, as ``unlike``.
            unlike: ids of documents unlike those wanted.
            alpha: as all others, of :meth:`sparseret.Retriever.search`, with chunks for documents;
                fields of a filter are those of documents.
            beta: how much the documents liked count.
            gamma: how much the documents unliked count against.
            filter: a condition on the documents' metadata.
            exact: True for the results of the full product, which is the default.
            recall: the cheapest search that reached this share when it was calibrated.
            legs: of an index of several, those to search.
            fusion: how their results are made one.
            depth: chunks of each leg that are fused.
            degrade: whether to go on without legs and re-rankers that fail.
            rerank: rates the best chunks anew.
            rerank_depth: how many of them.
            time_budget: seconds that re-ranking may take.

        Raises:
            DocumentError: no document has an id of ``like`` or ``unlike``.
            CorruptIndexError: the index holds documents that are no chunks.
            LegError, RerankError, ConfigurationError, FilterError, VectorError
        """
        view = self.retriever.view
        stage = RerankStage.of(rerank, rerank_depth, time_budget)
        request = Request(
            k, on_chunks(filter), exact, recall, legs, fusion, depth, degrade, threads=1
        )
        liked, unliked = chunks_of(view.state.catalog, like), chunks_of(view.state.catalog, unlike)
        feedback = Feedback(liked, unliked, alpha, beta, gamma)
        ranked = search_like(view, query, feedback, request, summed, stage)
        return ranked.results(view, passages)[0]

    def search_batch(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        passages: int = 1,
        summed: int = 1,
        filter: Filter | str | None = None,
        exact: bool | None = None,
        recall: float | None = None,
        legs: Sequence[str] | None = None,
        fusion: Fusion | None = None,
        depth: int = 100,
        degrade: bool = False,
        rerank: Reranker | Sequence[Reranker] | None = None,
        rerank_depth: int = 100,
        time_budget: float | None = None,
        threads: int | None = None,
    ) -> list[list[ParentResult]]:
        """:meth:`search` for many queries, spread over ``threads`` (None for one per core)."""
        view = self.retriever.view
        stage = RerankStage.of(rerank, rerank_depth, time_budget)
        request = Request(
            k, on_chunks(filter), exact, recall, legs, fusion, depth, degrade, threads
        )
        return search_parents(view, queries, request, summed, stage).results(view, passages)

    def retrieve(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        summed: int = 1,
        filter: Filter | str | None = None,
        exact: bool | None = None,
        recall: float | None = None,
        legs: Sequence[str] | None = None,
        fusion: Fusion | None = None,
        depth: int = 100,
        degrade: bool = False,
        rerank: Reranker | Sequence[Reranker] | None = None,
        rerank_depth: int = 100,
        time_budget: float | None = None,
        threads: int | None = None,
    ) -> Hits:
        """Ids and scores of documents alone, and the mode."""
        view = self.retriever.view
        stage = RerankStage.of(rerank, rerank_depth, time_budget)
        request = Request(
            k, on_chunks(filter), exact, recall, legs, fusion, depth, degrade, threads
        )
        return search_parents(view, queries, request, summed, stage).hits()

    def explain(
        self,
        query: str | None,
        id: str,
        *,
        like: Sequence[str] = (),
        unlike: Sequence[str] = (),
        alpha: float = 1.0,
        beta: float = 0.75,
        gamma: float = 0.15,
        filter: Filter | str | None = None,
        legs: Sequence[str] | None = None,
        fusion: Fusion | None = None,
        depth: int = 100,
        degrade: bool = False,
    ) -> Explanation:
        """:meth:`sparseret.Retriever.explain` of a passage, by its id.

        Of an index of several legs, ``depth`` must be the number of chunks that the search got.

        Raises:
            DocumentError: no passage has the id, or no document one of ``like`` or ``unlike``.
            ConfigurationError, LegError
        """
        catalog = self.retriever.view.state.catalog
        return self.retriever.explain(
            query, id, like=chunks_of(catalog, like), unlike=chunks_of(catalog, unlike),
            alpha=alpha, beta=beta, gamma=gamma, filter=on_chunks(filter), legs=legs,
            fusion=fusion, depth=depth, degrade=degrade,
        )  # fmt: skip

    # --- documents --------------------------------------------------------------------------

    def __len__(self) -> int:
        """Documents, not chunks; the first call after a commit looks at all ids."""
        state = self.retriever.view.state
        if self._counted is None or self._counted[0] is not state:
            heads = state.catalog.numbers_where("id GLOB '*#0'", ())
            self._counted = (state, len(heads))
        return self._counted[1]

    def document(self, id: str) -> Document | None:
        """The whole document with an id, or None."""
        view = self.retriever.view
        catalog = view.state.catalog
        chunks = chunks_of(catalog, [id], missing_ok=True)
        found = catalog.documents(chunks)
        return whole_document([chunk for chunk in found if chunk is not None]) if chunks else None

    def documents(self) -> Iterator[Document]:
        """All documents in the order they were added, as of now whatever is committed meanwhile."""
        together: list[Document] = []
        for chunk in self.retriever.documents():
            together.append(chunk)
            if len(together) == ChunkPlace.of(together[0]).total:
                yield whole_document(together)
                together = []

    def add(self, documents: Iterable[Document], *, show_progress: bool = False) -> int:
        """Cut, encode and append documents; visible after :meth:`commit`. Returns how many.

        A document of more than 1,000 chunks is stored in steps: where a later one fails,
        everything since the last commit is forgotten, so that no part of it can stay.

        Raises:
            DuplicateIdError: an id is in the index already, or comes twice.
            DocumentError: also metadata with a key ``_chunk``.
            VectorError, IndexLockedError, StorageError
        """
        return self._writer.add(documents, show_progress=show_progress)

    def update(self, documents: Iterable[Document], *, show_progress: bool = False) -> int:
        """Add documents, replacing all chunks of those whose ids are there; the last of an id wins.

        Returns how many were given.
        """
        return self._writer.update(documents, show_progress=show_progress)

    def delete(self, ids: Iterable[str]) -> int:
        """Delete documents; unknown ids are ignored. Returns how many there were."""
        return self._writer.delete(ids)

    def commit(self) -> None:
        """Make all changes since the last commit durable and visible."""
        with self._writer.lock:
            self.retriever.commit()

    def rollback(self) -> None:
        """Forget all changes since the last commit."""
        with self._writer.lock:
            self.retriever.rollback()

    def merge(
        self, progress: Callable[[int, int], None] | None = None, *, calibrate: bool = True
    ) -> int:
        """:meth:`sparseret.Retriever.merge`."""
        with self._writer.lock:
            return self.retriever.merge(progress, calibrate=calibrate)

    def refresh(self) -> None:
        """See what others have committed since."""
        self.retriever.refresh()

    def close(self) -> None:
        """Forget uncommitted changes and release all files."""
        self.retriever.close()

    def __enter__(self) -> ParentRetriever:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.retriever.__exit__(kind, error, trace)

    # --- about ------------------------------------------------------------------------------

    @property
    def index(self) -> IndexFolder:
        """The folder, open."""
        return self.retriever.index

    @property
    def path(self) -> Path:
        """The index folder."""
        return self.retriever.path

    @property
    def n_bytes(self) -> int:
        """Size of the index on disk, bytes."""
        return self.retriever.n_bytes

    @property
    def encoders(self) -> dict[str, AnyEncoder]:
        """By leg; without those that could not be made (``degrade``)."""
        return self.retriever.encoders

    @property
    def description(self) -> str:
        """The encoders and the chunking in one line."""
        return f"{self.retriever.description}, {self.chunking.description}"


def open_retriever(
    path: str | Path,
    encoder: AnyEncoder | Mapping[str, AnyEncoder] | None = None,
    *,
    degrade: bool = False,
    memory_budget: int | None = None,
) -> Retriever | ParentRetriever:
    """Open an index as what it is: of whole documents, or of chunks.

    Arguments and errors are those of :meth:`sparseret.Retriever.open`.
    """
    retriever = Retriever.open(path, encoder, degrade=degrade, memory_budget=memory_budget)
    catalog = retriever.view.state.catalog
    if not catalog.has_meta(CHUNKING):
        return retriever
    try:
        return ParentRetriever(retriever, chunking_from_json(catalog.meta(CHUNKING)))
    except BaseException:
        retriever.close()
        raise
