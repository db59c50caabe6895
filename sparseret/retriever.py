"""Retriever: encoders, index and documents joined. The only place that knows all three."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from sparseret.documents import Document, document_batches
from sparseret.errors import ConfigurationError, CorruptIndexError, LegError
from sparseret.explanation import Explanation
from sparseret.feedback import Feedback
from sparseret.indexers.catalog import FUSION
from sparseret.indexers.dense_settings import DenseSettings
from sparseret.indexers.folder import IndexFolder
from sparseret.indexers.fusion import Convex, Fusion, fusion_from_json
from sparseret.legs import (
    AnyEncoder,
    bind_legs,
    create_index,
    open_index,
    recorded_encoders,
)
from sparseret.protocols import CollectionEncoder, Hits, Mode, Reranker, Vocabulary
from sparseret.reranking.stage import RerankStage
from sparseret.views.view import Request, View

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from scipy.sparse import csr_array

    from sparseret.indexers.calibration import Calibration
    from sparseret.indexers.dense_calibration import DenseCalibration
    from sparseret.indexers.filters import Filter
    from sparseret.indexers.reduction import Reduction

__all__ = ["Result", "Retriever"]

_NO_SHARES: Mapping[str, float] = {}


class Result(NamedTuple):
    """One document found."""

    id: str
    score: float
    title: str
    text: str
    metadata: Mapping[str, Any]
    shares: Mapping[str, float] = _NO_SHARES
    """Of an index of several legs, what each adds to the score; to that of the search itself where
    results are re-ranked."""
    missing: tuple[str, ...] = ()
    """Legs and re-rankers that could not take part in the search (``degrade``)."""
    first_stage_score: float | None = None
    """That of the search itself, where results are re-ranked."""
    reranked: bool = False
    """Whether all re-rankers rated the document; not where their time was over before."""


class Retriever:
    """Search a collection of documents by text.

    Use :meth:`create` or :meth:`open`. Searches may run from many threads at once, and see the
    last commit made or refreshed through this object. As a context manager it commits on a clean
    exit and forgets uncommitted changes after an exception.

    >>> with Retriever.create("my.idx") as retriever:
    ...     retriever.add([Document("1", "Sparse vectors in an inverted index")])
    >>> with Retriever.open("my.idx") as retriever:
    ...     retriever.search("inverted indexes", k=3)

    An index may have several legs, each with its encoder: words, learned weights, dense vectors.
    Documents are added, deleted, filtered and committed in all of them at once, and a search
    fuses what they find (docs/hybrid.md).

    >>> legs = {"words": "bm25", "meaning": "dense:my-model"}
    >>> with Retriever.create("hybrid.idx", legs) as retriever: ...
    """

    def __init__(
        self,
        index: IndexFolder,
        encoders: Sequence[AnyEncoder | Exception],
    ) -> None:
        self.index = index
        self._encoders = encoders
        self._counting: tuple[Vocabulary, CollectionEncoder] | None = None
        self._lock = threading.RLock()
        self._view = self._make_view()

    @classmethod
    def create(
        cls,
        path: str | Path,
        encoder: str | AnyEncoder | Mapping[str, str | AnyEncoder] = "bm25",
        *,
        encoder_options: Mapping[str, Any] | None = None,
        filter_fields: Sequence[str] = (),
        order_by: str | None = None,
        reduction: Reduction | None = None,
        dense: DenseSettings | None = None,
        fusion: Fusion | None = None,
        memory_budget: int | None = None,
    ) -> Retriever:
        """Make an empty index in a new or empty folder.

        Args:
            path: the folder.
            encoder: a name in :mod:`sparseret.registry`, or an encoder, of sparse or of dense
                vectors; or several, by the names of their legs.
            encoder_options: options of a named encoder, such as ``{"k1": 0.9, "b": 0.4}``; with
                several, by the names of their legs.
            filter_fields: metadata fields that filters should find without reading every document.
            order_by: metadata field in whose ascending order documents will be added: filters on it
                cost as little as what they select (docs/filters.md).
            reduction: what is given up of sparse vectors when they are added, for a smaller index
                (docs/storage.md); not for encoders of counts, such as BM25.
            dense: how dense vectors are kept and searched; None keeps them as they are.
            fusion: how the results of several legs are made one, by default the mean of min-max
                normalised scores; :meth:`set_fusion` changes it.
            memory_budget: bytes that vectors may take before they are written, by default 2**28;
                more makes adding faster. It is not recorded in the index.

        Raises:
            IndexExistsError, ConfigurationError, StorageError
        """
        index, encoders = create_index(
            Path(path), encoder, encoder_options or {}, filter_fields=filter_fields,
            order_by=order_by, reduction=reduction, dense=dense, memory_budget=memory_budget,
        )  # fmt: skip
        made = cls(index, encoders)
        if fusion is not None:
            try:
                made.set_fusion(fusion)
            except BaseException:
                made.close()
                raise
        return made

    @classmethod
    def open(
        cls,
        path: str | Path,
        encoder: AnyEncoder | Mapping[str, AnyEncoder] | None = None,
        *,
        degrade: bool = False,
        memory_budget: int | None = None,
    ) -> Retriever:
        """Open an index.

        Args:
            path: its folder.
            encoder: needed only where the one the index was made with is not in the registry; of
                several legs, those of some or all of them by name.
            degrade: whether to open an index of several legs where some have lost their files, or
                their encoders cannot be made, say because a model is not there. It can be searched
                without those legs, and not be added to.
            memory_budget: as in :meth:`create`.

        Raises:
            IndexNotFoundError: no index there.
            IncompatibleIndexError: the index was made with another encoder, or a newer sparseret.
            CorruptIndexError: a file is missing, truncated or altered.
            ConfigurationError: an encoder cannot be made again.
        """
        encoders = recorded_encoders(Path(path), encoder, degrade=degrade)
        return cls(open_index(Path(path), encoders, memory_budget, degrade=degrade), encoders)

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
        legs: Sequence[str] | None = None,
        fusion: Fusion | None = None,
        depth: int = 100,
        degrade: bool = False,
        rerank: Reranker | Sequence[Reranker] | None = None,
        rerank_depth: int = 100,
        time_budget: float | None = None,
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
            legs: of an index of several, names of those to search; one alone gives its own scores.
            fusion: how their results are made one; by default as the index says.
            depth: results of each leg that are fused; k where that is more.
            degrade: whether to go on without legs and re-rankers that fail; ``missing`` of each
                result names them.
            rerank: rates what was found anew, and so decides the order; several do so one after
                another (docs/hybrid.md).
            rerank_depth: results of the search that it gets; what is beyond keeps its order.
            time_budget: seconds that re-ranking a query may take. Results that are not reached in
                time keep their order, behind the others; ``reranked`` of each tells.

        Raises:
            DocumentError: no document has an id of ``like`` or ``unlike``.
            LegError: of several legs, one failed.
            RerankError: a re-ranker failed.
            ConfigurationError, FilterError, VectorError, CorruptIndexError
        """
        view, stage = self._view, RerankStage.of(rerank, rerank_depth, time_budget)
        first = stage.first_k(k)
        request = Request(first, filter, exact, recall, legs, fusion, depth, degrade, threads=1)
        feedback = Feedback(like, unlike, alpha, beta, gamma)
        hits = view.search_like(query, feedback, request)
        return _results(view, stage.apply(view, [query], hits, k, degrade=degrade))[0]

    def search_batch(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
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
    ) -> list[list[Result]]:
        """:meth:`search` for many queries, spread over ``threads`` (None for one per core)."""
        view, stage = self._view, RerankStage.of(rerank, rerank_depth, time_budget)
        first = stage.first_k(k)
        request = Request(first, filter, exact, recall, legs, fusion, depth, degrade, threads)
        hits = view.search(queries, request)
        return _results(view, stage.apply(view, queries, hits, k, degrade=degrade))

    def search_vectors(
        self,
        vectors: csr_array | ArrayLike | Mapping[str, csr_array | ArrayLike | str],
        k: int = 10,
        *,
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
    ) -> list[Result]:
        """:meth:`search` by a vector that was made elsewhere, in place of a text.

        Args:
            vectors: one query vector, sparse of shape (1, dim) or dense of shape (dim,), for an
                index of one leg or the one named in ``legs``; or a vector of each leg that is to
                take part, by its name, or a text for a leg whose encoder is to make it.

        All other arguments are those of :meth:`search`. Re-rankers get no text of a query.

        Raises:
            VectorError: another width, values that are not finite, or negative ones where the
                encoder of the leg makes none.
            LegError, ConfigurationError, FilterError, CorruptIndexError
        """
        view, stage = self._view, RerankStage.of(rerank, rerank_depth, time_budget)
        first = stage.first_k(k)
        request = Request(first, filter, exact, recall, legs, fusion, depth, degrade, threads=1)
        hits = view.search_vectors(vectors, request)
        return _results(view, stage.apply(view, [None], hits, k, degrade=degrade))[0]

    def retrieve(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
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
        """Ids and scores alone, and the mode: :meth:`search_batch` without reading documents."""
        view, stage = self._view, RerankStage.of(rerank, rerank_depth, time_budget)
        first = stage.first_k(k)
        request = Request(first, filter, exact, recall, legs, fusion, depth, degrade, threads)
        return stage.apply(view, queries, view.search(queries, request), k, degrade=degrade)

    def mode(
        self,
        k: int = 10,
        *,
        exact: bool | None = None,
        recall: float | None = None,
        legs: Sequence[str] | None = None,
    ) -> Mode:
        """How a search with these arguments is made: exact, or to which calibrated recall.

        It depends on the index alone, not on the query or the filter.

        Raises:
            ConfigurationError
        """
        return self._view.mode(Request(k, exact=exact, recall=recall, legs=legs))

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
        """The terms that query and document share, with weights and contributions.

        Of an index of several legs, what each says of the document and adds to its score. As
        scores of legs are normalised over what they find, arguments must be those of the search.
        Re-rankers have no part in it: it is that of the score before them.

        All arguments but ``id`` are those of :meth:`search`.

        Raises:
            DocumentError: no document has the id, or one of ``like`` or ``unlike``.
            ConfigurationError, LegError
        """
        request = Request(
            1, filter, legs=legs, fusion=fusion, depth=depth, degrade=degrade, threads=1
        )
        feedback = Feedback(like, unlike, alpha, beta, gamma)
        return self._view.explain(query, id, feedback, request)

    def explain_vectors(
        self,
        vectors: csr_array | ArrayLike | Mapping[str, csr_array | ArrayLike | str],
        id: str,
        *,
        filter: Filter | str | None = None,
        legs: Sequence[str] | None = None,
        fusion: Fusion | None = None,
        depth: int = 100,
        degrade: bool = False,
    ) -> Explanation:
        """:meth:`explain` for a search by vectors; arguments are those of :meth:`search_vectors`.

        Raises:
            DocumentError: no document has the id.
            VectorError, ConfigurationError, LegError
        """
        request = Request(
            1, filter, legs=legs, fusion=fusion, depth=depth, degrade=degrade, threads=1
        )
        return self._view.explain_vectors(vectors, id, request)

    # --- documents --------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._view.state.n_documents

    def document(self, id: str) -> Document | None:
        """The document with an id, or None."""
        view = self._view  # held, as a commit beside it would close the catalog
        return view.state.catalog.documents([id])[0]

    def documents(self, filter: Filter | str | None = None) -> Iterator[Document]:
        """The documents that satisfy a filter, all without one, in the order they were added.

        They are those of now, whatever is committed meanwhile.

        Raises:
            FilterError
        """
        view = self._view
        return _held(view, view.documents(filter))

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
        leg: str | None = None,
        threads: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Calibration | DenseCalibration:
        """Commit, then measure which effort of approximate search reaches which recall.

        What was measured is kept with the index, and searches that ask for a ``recall`` go by it.
        :meth:`merge` does this by itself, without queries, where the index has 2,000 documents and
        was never measured, or has doubled or halved since.

        Args:
            queries: texts of queries like those to come; a few hundred are enough. None makes some
                from documents, which resemble real ones less.
            leg: which to measure; needed in an index of several.
            threads: None for one per core.
            progress: called with (efforts tried, efforts in all).

        Raises:
            ConfigurationError: an index that is always searched exactly, as one of counts is; or
                queries without a known term.
            VectorError, IndexLockedError, StorageError
        """
        names = [each.name for each in self.index.legs]
        if (leg is None and len(names) > 1) or (leg is not None and leg not in names):
            raise ConfigurationError(f"leg must be one of {', '.join(names)}, got {leg!r}")
        with self._lock:
            chosen = self.index.legs[0 if leg is None else names.index(leg)]
            sample = None
            if queries is not None:
                views = {view.name: view for view in self._view.legs}
                sample = views[chosen.name].encode_queries(queries)
            try:
                self.index.calibrate(chosen, sample, threads=threads, progress=progress)
            finally:
                self._view = self._make_view()
            measured = chosen.calibration
        if measured is None:  # pragma: no cover - it has just been kept
            raise CorruptIndexError(f"{self.path}: what was measured is not there")
        return measured

    def set_fusion(self, fusion: Fusion) -> None:
        """Commit, and record how the results of the legs are made one from now on.

        Raises:
            ConfigurationError: an index of one leg, or another number of weights.
            IndexLockedError, StorageError
        """
        if len(self.index.legs) < 2:
            raise ConfigurationError("an index of one leg has nothing to fuse")
        with self._lock:
            self._view.check_fusion(fusion)
            try:
                self.index.set_meta(FUSION, fusion.to_json())
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
    def legs(self) -> list[str]:
        """Names of the legs; one, which is empty, in an index of one leg."""
        return [leg.name for leg in self.index.legs]

    @property
    def fusion(self) -> Fusion:
        """How the results of several legs are made one."""
        return self._view.fusion

    @property
    def lower_bounds(self) -> dict[str, float]:
        """By leg, the least score that it could give: 0 without negative weights, -1 of a cosine;
        legs without such a bound are left out.
        """
        bounds = {leg.name: leg.lower_bound for leg in self._view.legs}
        return {name: bound for name, bound in bounds.items() if bound is not None}

    @property
    def encoders(self) -> dict[str, AnyEncoder]:
        """By leg; without those that could not be made (``degrade``)."""
        pairs = zip(self.legs, self._encoders, strict=True)
        return {name: encoder for name, encoder in pairs if not isinstance(encoder, Exception)}

    @property
    def encoder(self) -> AnyEncoder:
        """Of the first leg."""
        return next(iter(self.encoders.values()))

    @property
    def description(self) -> str:
        """The encoders in one line, and of several legs how their results are made one."""
        named = [f"{name}: " * bool(name) + e.description for name, e in self.encoders.items()]
        fused = f"; {self.fusion.description}" * (len(self.legs) > 1)
        return " + ".join(named) + fused

    def pinned(self) -> Retriever:
        """The same index as of now, for several reads that must agree, whatever is committed or
        refreshed meanwhile. It is for reading alone, and needs not be closed.
        """
        return copy(self)  # whose view nobody replaces

    @property
    def view(self) -> View:
        """What searches see: the index at one commit, which never changes."""
        return self._view

    @property
    def current_encoder(self) -> AnyEncoder:
        """The encoder of the first leg as searches use it: with the vocabulary and statistics of
        the last commit seen, where it depends on them.
        """
        return self._view.legs[0].encoder

    @property
    def current_encoders(self) -> dict[str, AnyEncoder]:
        """By leg, :attr:`current_encoder`; without those that could not be made (``degrade``)."""
        return {leg.name: leg.encoder for leg in self._view.legs}

    # --- details ----------------------------------------------------------------------------

    def _make_view(self) -> View:
        state = self.index.state
        legs, absent = bind_legs(self.index.legs, self._encoders)
        fusion: Fusion = Convex()
        if state.catalog.has_meta(FUSION):
            fusion = fusion_from_json(state.catalog.meta(FUSION))
        return View(state, legs, fusion, absent)

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
                    ids = [document.id for document in batch]
                    self.index.append(ids, rows, batch, replace=replace)
                added += taken
                advance(taken)
        return added

    def _encode_documents(self, batch: Sequence[Document]) -> list[Any]:
        """Vectors of every leg."""
        for name, reason in self._view.absent.items():
            raise LegError(f"nothing can be added without the leg {name}: {reason}", name)
        rows: list[Any] = []
        for encoder in self.encoders.values():
            if isinstance(encoder, CollectionEncoder):
                rows.append(self._bound(encoder).count_documents(batch))
            else:
                rows.append(encoder.encode_documents(batch))
        return rows

    def _bound(self, encoder: CollectionEncoder) -> CollectionEncoder:
        """The encoder over the vocabulary of the writer."""
        writer = self.index.writer
        writer.begin()  # terms are added in the transaction of their documents
        if self._counting is None or self._counting[0] is not writer.vocabulary:
            self._counting = (writer.vocabulary, encoder.bind(writer.vocabulary, None))
        return self._counting[1]


def _results(view: View, hits: Hits) -> list[list[Result]]:
    """Hits with their documents."""
    wanted = list(dict.fromkeys(chain.from_iterable(hits.ids)))
    found = dict(zip(wanted, view.state.catalog.documents(wanted), strict=True))
    names, missing = view.names, hits.mode.missing
    results = []
    for query, (ids, scores) in enumerate(zip(hits.ids, hits.scores, strict=True)):
        shares = None if hits.shares is None else hits.shares[query].tolist()
        before = None if hits.first_stage_scores is None else hits.first_stage_scores[query]
        rated = 0 if hits.n_reranked is None else hits.n_reranked[query]
        row = []
        for place, (id, score) in enumerate(zip(ids, scores.tolist(), strict=True)):
            document = found[id]
            if document is None:  # pragma: no cover - a snapshot names no missing document
                raise CorruptIndexError(f"document {id!r} is in a segment but not the catalog")
            added = _NO_SHARES
            if shares is not None:
                added = dict(zip(names, shares[place], strict=True))
            first = None if before is None else float(before[place])
            row.append(
                Result(
                    id, score, document.title, document.text, document.metadata, added, missing,
                    first, place < rated,
                )
            )  # fmt: skip
        results.append(row)
    return results


def _held(view: View, documents: Iterator[Document]) -> Iterator[Document]:  # noqa: ARG001
    yield from documents  # the view keeps the catalog open


def _last_of_each_id(batch: list[Document], rows: list[Any]) -> tuple[list[Document], list[Any]]:
    """Within one update the last version of a document wins."""
    last = {document.id: i for i, document in enumerate(batch)}
    if len(last) == len(batch):
        return batch, rows
    kept = sorted(last.values())
    return [batch[i] for i in kept], [of_leg[kept] for of_leg in rows]
