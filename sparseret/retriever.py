"""Retriever: encoder, index and documents joined. The only place that knows all three."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from sparseret import vectors as vector_checks
from sparseret.documents import Document, document_batches
from sparseret.errors import (
    ConfigurationError,
    CorruptIndexError,
    DocumentError,
    IncompatibleIndexError,
    VectorError,
)
from sparseret.explanation import Explanation, explain_score
from sparseret.feedback import Feedback, Row, rocchio
from sparseret.indexers.inverted import InvertedIndex
from sparseret.indexers.search import check_count, search_mode, search_snapshot
from sparseret.indexers.snapshot import Snapshot
from sparseret.indexers.vocabulary import CatalogVocabulary
from sparseret.protocols import (
    CollectionEncoder,
    Encoder,
    Hits,
    Mode,
    TermWeights,
    Vocabulary,
)
from sparseret.registry import load_encoder

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from sparseret.indexers.calibration import Calibration
    from sparseret.indexers.filters import Filter
    from sparseret.indexers.reduction import Reduction

__all__ = ["Result", "Retriever"]


class Result(NamedTuple):
    """One document found."""

    id: str
    score: float
    title: str
    text: str
    metadata: Mapping[str, Any]


class _View(NamedTuple):
    """A snapshot and the encoder under its statistics: replaced together, never changed."""

    snapshot: Snapshot
    encoder: Encoder


class Retriever:
    """Search a collection of documents by text.

    Use :meth:`create` or :meth:`open`. Searches may run from many threads at once, and see the
    last commit made or refreshed through this object. As a context manager it commits on a clean
    exit and forgets uncommitted changes after an exception.

    >>> with Retriever.create("my.idx") as retriever:
    ...     retriever.add([Document("1", "Sparse vectors in an inverted index")])
    >>> with Retriever.open("my.idx") as retriever:
    ...     retriever.search("inverted indexes", k=3)
    """

    def __init__(self, index: InvertedIndex, encoder: Encoder) -> None:
        self.index = index
        self.encoder = encoder
        self._counting: tuple[Vocabulary, CollectionEncoder] | None = None
        self._lock = threading.RLock()
        self._view = self._make_view()

    @classmethod
    def create(
        cls,
        path: str | Path,
        encoder: str | Encoder = "bm25",
        *,
        encoder_options: Mapping[str, Any] | None = None,
        filter_fields: Sequence[str] = (),
        order_by: str | None = None,
        reduction: Reduction | None = None,
        memory_budget: int | None = None,
    ) -> Retriever:
        """Make an empty index in a new or empty folder.

        Args:
            path: the folder.
            encoder: a name in :mod:`sparseret.registry`, or an encoder.
            encoder_options: options of a named encoder, such as ``{"k1": 0.9, "b": 0.4}``.
            filter_fields: metadata fields that filters should find without reading every document.
            order_by: metadata field in whose ascending order documents will be added: filters on it
                cost as little as what they select (docs/filters.md).
            reduction: what is given up of vectors when they are added, for a smaller index
                (docs/storage.md); not for encoders of counts, such as BM25.
            memory_budget: bytes that vectors may take before they are written, by default 2**28;
                more makes adding faster. It is not recorded in the index.

        Raises:
            IndexExistsError, ConfigurationError, StorageError
        """
        if isinstance(encoder, str):
            encoder = load_encoder(encoder, encoder_options)
        elif encoder_options:
            raise ConfigurationError("encoder_options are for an encoder given by name")
        settings = {"encoder": json.dumps({"name": encoder.name, "options": encoder.options})}
        index = InvertedIndex.create(
            path,
            space=encoder.space,
            dim=encoder.dim,
            signed=encoder.signed,
            weighting=encoder if isinstance(encoder, CollectionEncoder) else None,
            settings=settings,
            filter_fields=filter_fields,
            order_by=order_by,
            memory_budget=memory_budget,
            **({} if reduction is None else asdict(reduction)),
        )
        return cls(index, encoder)

    @classmethod
    def open(
        cls,
        path: str | Path,
        encoder: Encoder | None = None,
        *,
        memory_budget: int | None = None,
    ) -> Retriever:
        """Open an index.

        Args:
            path: its folder.
            encoder: needed only where the one the index was made with is not in the registry.
            memory_budget: as in :meth:`create`.

        Raises:
            IndexNotFoundError: no index there.
            IncompatibleIndexError: the index was made with another encoder, or a newer sparseret.
            CorruptIndexError: a file is missing, truncated or altered.
        """
        if encoder is None:
            encoder = _recorded_encoder(Path(path))
        index = InvertedIndex.open(
            path,
            space=encoder.space,
            weighting=encoder if isinstance(encoder, CollectionEncoder) else None,
            memory_budget=memory_budget,
        )
        return cls(index, encoder)

    # --- searching --------------------------------------------------------------------------

    def search(
        self,
        query: str | None = None,
        k: int = 10,
        *,
        like: Sequence[str] = (),
        unlike: Sequence[str] = (),
        alpha: float = 1.0,
        beta: float = 0.75,
        gamma: float = 0.15,
        filter: Filter | str | None = None,
        exact: bool | None = None,
        recall: float | None = None,
    ) -> list[Result]:
        """The best k documents, best first; fewer where fewer match, none for an empty query.

        The search is exact unless ``recall`` is given.

        Args:
            query: any text; may be left out where ``like`` is given.
            k: at least 1.
            like: ids of documents like those wanted. They and those in ``unlike`` become a part of
                the query (:mod:`sparseret.feedback`), and are no results.
            unlike: ids of documents unlike those wanted.
            alpha: how much the text counts, with ``like`` or ``unlike``.
            beta: how much the documents liked count.
            gamma: how much the documents unliked count against.
            filter: metadata condition that documents must satisfy, such as
                ``'year >= 2015 and lang = "en"'`` (docs/filters.md); applied before ranking.
            exact: True for the results of the full product, which is the default.
            recall: 0.5 to 0.999: the cheapest search that found this share of the exact results
                when the index was calibrated (:meth:`tune`). It is exact where that is as cheap,
                nothing was calibrated, or the index is one of counts; :meth:`mode` tells.

        Raises:
            DocumentError: no document has an id of ``like`` or ``unlike``.
            ConfigurationError, FilterError, CorruptIndexError
        """
        view = self._view
        check_count("k", k)
        feedback = Feedback(like, unlike, alpha, beta, gamma)
        hits = search_snapshot(
            view.snapshot,
            self._query_vector(view, query, feedback),
            k + len(feedback.ids),
            where=filter,
            exact=exact,
            recall=recall,
            threads=1,
        )
        return _results(view, _without(hits, feedback.ids, k))[0]

    def search_batch(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        filter: Filter | str | None = None,
        exact: bool | None = None,
        recall: float | None = None,
        threads: int | None = None,
    ) -> list[list[Result]]:
        """:meth:`search` for many queries, spread over ``threads`` (None for one per core)."""
        view = self._view
        hits = self._hits(view, queries, k, filter, exact, recall, threads)
        return _results(view, hits)

    def retrieve(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        filter: Filter | str | None = None,
        exact: bool | None = None,
        recall: float | None = None,
        threads: int | None = None,
    ) -> Hits:
        """Ids and scores alone, and the mode: :meth:`search_batch` without reading documents."""
        return self._hits(self._view, queries, k, filter, exact, recall, threads)

    def mode(self, k: int = 10, *, exact: bool | None = None, recall: float | None = None) -> Mode:
        """How a search with these arguments is made: exact, or to which calibrated recall.

        It depends on the index alone, not on the query or the filter.

        Raises:
            ConfigurationError
        """
        return search_mode(self._view.snapshot, k, exact=exact, recall=recall)

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
    ) -> Explanation:
        """The terms that query and document share, with weights and contributions.

        All arguments but ``id`` are those of :meth:`search`.

        Raises:
            DocumentError: no document has the id, or one of ``like`` or ``unlike``.
            ConfigurationError
        """
        view = self._view
        row = self._row(view, id)
        vector = self._query_vector(view, query, Feedback(like, unlike, alpha, beta, gamma))
        return explain_score(id, vector, *row, view.encoder)

    # --- documents --------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._view.snapshot.n_documents

    def document(self, id: str) -> Document | None:
        """The document with an id, or None."""
        view = self._view  # held, as a commit beside it would close the catalog
        return view.snapshot.catalog.documents([id])[0]

    def documents(self) -> Iterator[Document]:
        """All documents in the order they were added, as of now whatever is committed meanwhile."""
        return _documents(self._view)

    def add(self, documents: Iterable[Document], *, show_progress: bool = False) -> int:
        """Encode and append documents; visible after :meth:`commit`. Returns how many.

        The documents are taken in batches, so an iterator may be larger than memory.

        Raises:
            DuplicateIdError: an id is in the index already, or comes twice.
            DocumentError, VectorError, IndexLockedError, StorageError
        """
        return self._add(documents, replace=False, show_progress=show_progress)

    def update(self, documents: Iterable[Document], *, show_progress: bool = False) -> int:
        """Add documents, replacing those whose ids are there already; the last of an id wins.

        Returns how many were given.
        """
        return self._add(documents, replace=True, show_progress=show_progress)

    def delete(self, ids: Iterable[str]) -> int:
        """Delete documents; unknown ids are ignored. Returns how many there were."""
        with self._lock:
            return self.index.delete(ids if isinstance(ids, str) else list(ids))

    def commit(self) -> None:
        """Make all changes since the last commit durable and visible."""
        with self._lock:
            try:
                self.index.commit()
            finally:
                if not self.index.closed:
                    self._view = self._make_view()
            if self.index.trim_log():  # the view held the snapshot that was in the way
                self._view = self._make_view()

    def rollback(self) -> None:
        """Forget all changes since the last commit."""
        with self._lock:
            self.index.rollback()

    def merge(
        self, progress: Callable[[int, int], None] | None = None, *, calibrate: bool = True
    ) -> int:
        """Commit, then merge segments and drop what deleted documents left. Returns the merges.

        Calibrates the index (:meth:`tune`) where that is due, unless ``calibrate`` is false.
        """
        with self._lock:
            try:
                return self.index.merge(progress, calibrate=calibrate)
            finally:
                self._view = self._make_view()

    def tune(
        self,
        queries: Sequence[str] | None = None,
        *,
        threads: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Calibration:
        """Commit, then measure which effort of approximate search reaches which recall.

        What was measured is kept with the index, and searches that ask for a ``recall`` go by it.
        :meth:`merge` does this by itself, without queries, where the index has 2,000 documents and
        was never measured, or has doubled or halved since.

        Args:
            queries: texts of queries like those to come; a few hundred are enough. None makes some
                from documents, which resemble real ones less.
            threads: None for one per core.
            progress: called with (efforts tried, efforts in all).

        Raises:
            ConfigurationError: an index of counts, such as BM25's, which is always searched
                exactly; or queries without a known term.
            VectorError, IndexLockedError, StorageError
        """
        with self._lock:
            sample = None
            if queries is not None:
                sample = self._encode_queries(self._view.encoder, queries)
            try:
                return self.index.tune(sample, threads=threads, progress=progress)
            finally:
                self._view = self._make_view()

    def refresh(self) -> None:
        """See what others have committed since."""
        with self._lock:
            self.index.refresh()
            self._view = self._make_view()

    def close(self) -> None:
        """Forget uncommitted changes and release all files."""
        with self._lock:
            self.index.close()

    def __enter__(self) -> Retriever:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None and not self.index.closed:
                self.commit()
        finally:
            self.close()

    # --- about ------------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """The index folder."""
        return self.index.path

    @property
    def n_bytes(self) -> int:
        """Size of the index on disk, documents included, bytes."""
        return self.index.n_bytes

    @property
    def description(self) -> str:
        """The encoder in one line."""
        return self.encoder.description

    @property
    def current_encoder(self) -> Encoder:
        """The encoder as searches use it: with the vocabulary and statistics of the last commit
        seen, where it depends on them.
        """
        return self._view.encoder

    # --- details ----------------------------------------------------------------------------

    def _make_view(self) -> _View:
        snapshot = self.index.snapshot
        encoder = self.encoder
        if isinstance(encoder, CollectionEncoder):
            encoder = encoder.bind(CatalogVocabulary(snapshot.catalog), snapshot)
        return _View(snapshot, encoder)

    def _encode_queries(self, encoder: Encoder, queries: Sequence[str]) -> csr_array:
        if isinstance(queries, str) or not all(isinstance(query, str) for query in queries):
            raise ConfigurationError("a query must be a string, and several a list of strings")
        vectors = vector_checks.check(encoder.encode_queries(queries), dim=encoder.dim)
        if vectors.shape[0] != len(queries):
            raise VectorError(
                f"the encoder {encoder.name!r} made {vectors.shape[0]} vectors of "
                f"{len(queries)} queries"
            )
        return vectors

    def _query_vector(self, view: _View, query: str | None, feedback: Feedback) -> csr_array:
        """Of a text, or of a text and documents; canonical, shape (1, dim)."""
        if not feedback.ids:
            if query is None:
                raise ConfigurationError("a query must be a string; without one, give ids in like")
            return self._encode_queries(view.encoder, [query])
        if query is None and not feedback.like:
            raise ConfigurationError(
                "unlike alone says nothing of what is wanted: give a query, or ids in like"
            )
        text, dim = None, view.encoder.dim
        if query is not None:
            encoded = self._encode_queries(view.encoder, [query])
            text, dim = Row(encoded.indices, encoded.data), encoded.shape[1]
        liked, unliked = (
            [self._as_query(view, self._row(view, id)) for id in ids]
            for ids in (feedback.like, feedback.unlike)
        )
        return rocchio(text, liked, unliked, feedback, dim=dim, signed=view.encoder.signed)

    def _row(self, view: _View, id: str) -> Row:
        numbers = view.snapshot.catalog.numbers_of([id])
        if not len(numbers):
            raise DocumentError(f"no document with id {id!r} in {self.path}")
        return Row(*view.snapshot.row(int(numbers[0])))

    def _as_query(self, view: _View, document: Row) -> Row:
        if not isinstance(view.encoder, TermWeights):
            return document
        weights = document.weights * view.encoder.term_weights(document.columns)
        return document._replace(weights=weights)

    def _hits(
        self,
        view: _View,
        queries: Sequence[str],
        k: int,
        filter: Filter | str | None,
        exact: bool | None,
        recall: float | None,
        threads: int | None,
    ) -> Hits:
        return search_snapshot(
            view.snapshot,
            self._encode_queries(view.encoder, queries),
            k,
            where=filter,
            exact=exact,
            recall=recall,
            threads=threads,
        )

    def _add(self, documents: Iterable[Document], *, replace: bool, show_progress: bool) -> int:
        from sparseret.progress import progress_bar

        total = len(documents) if isinstance(documents, Sequence) else None
        added = 0
        with progress_bar("Indexing", total, show=show_progress) as advance:
            for batch in document_batches(documents):
                taken = len(batch)
                with self._lock:
                    # Encoding comes first: a document that cannot be encoded changes nothing.
                    rows = self._encode_documents(batch)
                    if replace:
                        batch, rows = _last_of_each_id(batch, rows)
                    store = self.index.update if replace else self.index.add
                    store([document.id for document in batch], rows, documents=batch)
                added += taken
                advance(taken)
        return added

    def _encode_documents(self, batch: Sequence[Document]) -> csr_array:
        if not isinstance(self.encoder, CollectionEncoder):
            return self.encoder.encode_documents(batch)
        writer = self.index.writer
        writer.begin()  # terms are added in the transaction of their documents
        if self._counting is None or self._counting[0] is not writer.vocabulary:
            self._counting = (writer.vocabulary, self.encoder.bind(writer.vocabulary, None))
        return self._counting[1].count_documents(batch)


def _recorded_encoder(path: Path) -> Encoder:
    """The encoder an index was made with, from its own record."""
    from sparseret.indexers.catalog import Catalog

    catalog = Catalog(path, writable=False)
    try:
        if not catalog.has_meta("setting:encoder"):
            raise IncompatibleIndexError(
                f"{path} holds vectors without an encoder: open it as an InvertedIndex"
            )
        recorded = json.loads(catalog.meta("setting:encoder"))
        name, options = recorded["name"], recorded["options"]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise CorruptIndexError(
            f"{path}: the record of the encoder is damaged. Restore catalog.sqlite from a backup"
        ) from error
    finally:
        catalog.close()
    try:
        return load_encoder(name, options)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{path} was made with the encoder {name!r}, which cannot be made again: {error}. "
            "Install the package it comes from, or give it: Retriever.open(path, encoder=...)"
        ) from error


def _results(view: _View, hits: Hits) -> list[list[Result]]:
    """Hits with their documents."""
    wanted = list(dict.fromkeys(chain.from_iterable(hits.ids)))
    found = dict(zip(wanted, view.snapshot.catalog.documents(wanted), strict=True))
    results = []
    for ids, scores in zip(hits.ids, hits.scores, strict=True):
        row = []
        for id, score in zip(ids, scores.tolist(), strict=True):
            document = found[id]
            if document is None:  # pragma: no cover - a snapshot names no missing document
                raise CorruptIndexError(f"document {id!r} is in a segment but not the catalog")
            row.append(Result(id, score, document.title, document.text, document.metadata))
        results.append(row)
    return results


def _without(hits: Hits, ids: Sequence[str], k: int) -> Hits:
    """The best k hits of each query that are none of these documents."""
    if not ids:
        return hits
    kept = [[i for i, id in enumerate(row) if id not in ids][:k] for row in hits.ids]
    return hits._replace(
        ids=[[row[i] for i in places] for row, places in zip(hits.ids, kept, strict=True)],
        scores=[scores[places] for scores, places in zip(hits.scores, kept, strict=True)],
    )


def _documents(view: _View) -> Iterator[Document]:
    yield from view.snapshot.catalog.iterate_documents()  # the view keeps the catalog open


def _last_of_each_id(batch: list[Document], rows: csr_array) -> tuple[list[Document], csr_array]:
    """Within one update the last version of a document wins."""
    last = {document.id: i for i, document in enumerate(batch)}
    if len(last) == len(batch):
        return batch, rows
    kept = sorted(last.values())
    return [batch[i] for i in kept], rows[kept]
