"""LangChain: a retriever, and a vector store (docs/integrations/langchain.md)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sparseret.documents import Document
from sparseret.errors import ConfigurationError, MissingExtraError
from sparseret.indexers.filters import Filter
from sparseret.indexers.fusion import Convex, Fusion
from sparseret.integrations.embeddings import EmbeddingsEncoder, as_encoder
from sparseret.integrations.filter_dicts import read_filter
from sparseret.integrations.stores import (
    EMBEDDING,
    Changes,
    create_store,
    dense_leg,
    embedding_width,
    open_store,
    title_of,
)
from sparseret.legs import AnyEncoder
from sparseret.reranking import Diversity
from sparseret.retriever import Result, Retriever

try:
    from langchain_core.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForRetrieverRun,
    )
    from langchain_core.documents import Document as LangChainDocument
    from langchain_core.embeddings import Embeddings
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.runnables.config import run_in_executor
    from langchain_core.vectorstores import VectorStore
    from pydantic import ConfigDict, PrivateAttr
except ImportError as error:
    raise MissingExtraError("langchain-core", "langchain", "the LangChain integration") from error

__all__ = ["EmbeddingsEncoder", "SparseretRetriever", "SparseretVectorStore"]

_FilterLike = Filter | str | Mapping[str, Any] | None
_OPTIONS = (
    "recall", "legs", "fusion", "depth", "degrade", "rerank", "rerank_depth", "time_budget",
)  # fmt: skip
"""Fields that are arguments of a search."""
_BOUNDED = ("min-max", "theoretical", "distribution")
"""Normalisers whose fused scores are from 0 to 1."""


class SparseretRetriever(BaseRetriever):
    """Documents of an index as those of LangChain, by any search that the index offers.

    Give ``path`` or ``retriever``. ``invoke(query, k=..., filter=...)`` overrides the fields of
    these names for one query.

    Raises:
        ValueError: neither or both of ``path`` and ``retriever``, or options that cannot be.
        IndexNotFoundError, IncompatibleIndexError, CorruptIndexError
    """

    path: str | Path | None = None
    """Folder of the index."""
    retriever: Retriever | None = None
    """An index that is open."""
    k: int = 10
    """Most documents to return; there are fewer where fewer match."""
    filter: Any = None
    """Metadata condition: text, ``sparseret.field(...)``, or a dictionary."""
    score_key: str | None = None
    """Where in the metadata of a document its score is put; None for nowhere."""
    recall: float | None = None
    """As all that follows, an argument of :meth:`sparseret.Retriever.search`."""
    legs: Sequence[str] | None = None
    fusion: Any = None
    depth: int = 100
    degrade: bool = False
    rerank: Any = None
    rerank_depth: int = 100
    time_budget: float | None = None

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    _index: Retriever = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Open the index, and refuse what no search takes."""
        super().model_post_init(context)
        read_filter(self.filter)
        if self.retriever is not None and self.path is None:
            self._index = self.retriever
        elif self.path is not None and self.retriever is None:
            self._index = Retriever.open(self.path, degrade=self.degrade)
        else:
            raise ConfigurationError("give path, the folder of an index, or retriever")

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002
        k: int | None = None,
        filter: _FilterLike = None,
    ) -> list[LangChainDocument]:
        found = self._index.search(
            query,
            self.k if k is None else k,
            filter=read_filter(self.filter if filter is None else filter),
            **{name: getattr(self, name) for name in _OPTIONS},
        )
        documents = [_to_langchain(result) for result in found]
        if self.score_key is not None:
            for document, result in zip(documents, found, strict=True):
                document.metadata[self.score_key] = result.score
        return documents

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **options: Any
    ) -> list[LangChainDocument]:
        made: list[LangChainDocument] = await run_in_executor(
            None,
            self._get_relevant_documents,
            query,
            run_manager=run_manager.get_sync(),
            **options,
        )
        return made


class SparseretVectorStore(VectorStore):
    """An index as LangChain's vector store: words, learned sparse weights, embeddings, or several.

    Every change is committed before the method returns. Scores are those of the index: larger is
    better. A store without embeddings finds what shares a term with the query, so there may be
    fewer than ``k`` documents.

    Args:
        retriever: an open index; :meth:`create` and :meth:`open` make one.
    """

    def __init__(self, retriever: Retriever) -> None:
        self.retriever = retriever
        """The index, with all that it offers beyond this class."""
        self._changes = Changes(retriever)

    @classmethod
    def create(
        cls,
        path: str | Path,
        encoder: str | AnyEncoder | Mapping[str, str | AnyEncoder] | None = "bm25",
        *,
        embedding: Embeddings | EmbeddingsEncoder | None = None,
        **options: Any,
    ) -> SparseretVectorStore:
        """Make an empty index.

        Args:
            path: a new or empty folder.
            encoder: as of :meth:`sparseret.Retriever.create`; None for embeddings alone.
            embedding: adds a leg of dense vectors, called ``embedding``.
            options: of :meth:`sparseret.Retriever.create`, such as ``filter_fields`` or ``fusion``.

        Raises:
            IndexExistsError, ConfigurationError, StorageError
        """
        return cls(create_store(path, encoder, as_encoder(embedding), **options))

    @classmethod
    def open(
        cls, path: str | Path, *, embedding: Embeddings | EmbeddingsEncoder | None = None
    ) -> SparseretVectorStore:
        """Open an index, with the embeddings that it was made with, if any.

        Raises:
            IndexNotFoundError, IncompatibleIndexError, CorruptIndexError, ConfigurationError
        """
        return cls(open_store(path, as_encoder(embedding, embedding_width(path))))

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | EmbeddingsEncoder | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        path: str | Path | None = None,
        encoder: str | AnyEncoder | Mapping[str, str | AnyEncoder] | None = "bm25",
        **options: Any,
    ) -> SparseretVectorStore:
        """:meth:`create` an index at ``path``, and add texts.

        Raises:
            IndexExistsError, ConfigurationError, StorageError
        """
        if path is None:
            raise ConfigurationError("give path=, a new folder for the index")
        store = cls.create(path, encoder, embedding=embedding, **options)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | EmbeddingsEncoder | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        **options: Any,
    ) -> SparseretVectorStore:
        """:meth:`from_texts` in a thread."""
        made: SparseretVectorStore = await run_in_executor(
            None, cls.from_texts, texts, embedding, metadatas, **options
        )
        return made

    @property
    def embeddings(self) -> Embeddings | None:
        """What embeds texts and queries; None without."""
        encoder = self.retriever.encoders.get(EMBEDDING)
        return encoder.embeddings if isinstance(encoder, EmbeddingsEncoder) else None

    # --- changes ----------------------------------------------------------------------------

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add texts, or replace those of the same ids; returns their ids.

        Raises:
            ConfigurationError: lists of unequal lengths.
        """
        listed = list(texts)
        if metadatas is not None and len(metadatas) != len(listed):
            raise ConfigurationError(f"{len(metadatas)} metadatas for {len(listed)} texts")
        made = [
            LangChainDocument(page_content=text, metadata=metadata)
            for text, metadata in zip(listed, metadatas or [{}] * len(listed), strict=True)
        ]
        return self.add_documents(made, ids=ids, **kwargs)

    def add_documents(
        self, documents: list[LangChainDocument], *, ids: list[str] | None = None
    ) -> list[str]:
        """Add documents, or replace those of the same ids; returns their ids.

        Args:
            documents: a text in the metadata under "title" is that of the document, too.
            ids: in place of those of the documents; a document without one gets a random one.

        Raises:
            ConfigurationError: another number of ids.
            DocumentError: metadata that JSON cannot hold, or an id that is none.
            LegError, VectorError, IndexLockedError, StorageError
        """
        given = [document.id for document in documents] if ids is None else ids
        if len(given) != len(documents):
            raise ConfigurationError(f"{len(given)} ids for {len(documents)} documents")
        chosen = [str(uuid.uuid4()) if id is None else id for id in given]
        self._changes.put(
            [
                Document(id, d.page_content, title_of(d.metadata), d.metadata)
                for id, d in zip(chosen, documents, strict=True)
            ]
        )
        return chosen

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete documents, or all of them without ids; unknown ids are ignored."""
        if kwargs:
            raise ConfigurationError(f"delete does not take {', '.join(kwargs)}")
        if ids is None:
            self._changes.delete_where(None)
        else:
            self._changes.delete(ids)
        return True

    # --- searching --------------------------------------------------------------------------

    def get_by_ids(self, ids: Sequence[str], /) -> list[LangChainDocument]:
        """Documents by their ids, without those that are not there."""
        found = (self.retriever.document(id) for id in dict.fromkeys(ids))
        return [_to_langchain(document) for document in found if document is not None]

    def similarity_search(
        self, query: str, k: int = 4, *, filter: _FilterLike = None, **kwargs: Any
    ) -> list[LangChainDocument]:
        """The best k documents.

        Args:
            query: any text.
            k: at least 1.
            filter: metadata condition: text, ``sparseret.field(...)``, or a dictionary.
            kwargs: of :meth:`sparseret.Retriever.search`, such as ``legs`` or ``recall``.
        """
        found = self.similarity_search_with_score(query, k, filter=filter, **kwargs)
        return [document for document, _ in found]

    def similarity_search_with_score(
        self, query: str, k: int = 4, *, filter: _FilterLike = None, **kwargs: Any
    ) -> list[tuple[LangChainDocument, float]]:
        """:meth:`similarity_search` with scores; larger is better."""
        found = self.retriever.search(query, k, filter=read_filter(filter), **kwargs)
        return [(_to_langchain(result), result.score) for result in found]

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: _FilterLike = None, **kwargs: Any
    ) -> list[LangChainDocument]:
        """The best k documents of the leg of dense vectors; other arguments as for texts."""
        found = self.retriever.search_vectors(
            {self._dense_leg: embedding}, k, filter=read_filter(filter), **kwargs
        )
        return [_to_langchain(result) for result in found]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: _FilterLike = None,
        **kwargs: Any,
    ) -> list[LangChainDocument]:
        """Of the best ``fetch_k`` documents, k that are relevant and unlike each other.

        Documents are compared by their dense vectors or, without those, by their weighted terms;
        ``lambda_mult`` is what relevance counts, 0 to 1 (:class:`sparseret.reranking.Diversity`).
        """
        return self.similarity_search(
            query, k, filter=filter, rerank=Diversity(lambda_mult), rerank_depth=fetch_k, **kwargs
        )

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: _FilterLike = None,
        **kwargs: Any,
    ) -> list[LangChainDocument]:
        """:meth:`max_marginal_relevance_search` for a vector."""
        kwargs |= {"rerank": Diversity(lambda_mult), "rerank_depth": fetch_k}
        return self.similarity_search_by_vector(embedding, k, filter=filter, **kwargs)

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[LangChainDocument, float]]:
        """Scores from 0 to 1: cosines that are not negative, or normalised scores of several legs.

        Raises:
            ConfigurationError: scores without an upper bound, as those of words.
        """
        kwargs.pop("score_threshold", None)  # LangChain applies it afterwards
        legs = kwargs.get("legs") or self.retriever.legs
        fusion: Fusion = kwargs.get("fusion") or self.retriever.fusion
        one_cosine = len(legs) == 1 and self.retriever.lower_bounds.get(legs[0]) == -1
        fused = len(legs) > 1 and isinstance(fusion, Convex) and fusion.normaliser in _BOUNDED
        if not (one_cosine or fused):
            raise ConfigurationError(
                "scores of this search have no upper bound, so none is a relevance from 0 to 1: "
                "use similarity_search_with_score, or a store with embeddings"
            )
        found = self.similarity_search_with_score(query, k, **kwargs)
        return [(document, min(1.0, max(0.0, score))) for document, score in found]

    # --- details ----------------------------------------------------------------------------

    @property
    def _dense_leg(self) -> str:
        leg = dense_leg(self.retriever)
        if leg is None:
            raise ConfigurationError(
                "this store has no embeddings to compare a vector with: search by a text, or make "
                "a store with embedding="
            )
        return leg


def _to_langchain(found: Result | Document) -> LangChainDocument:
    metadata = dict(found.metadata)
    if found.title:  # of an index that was not made through LangChain
        metadata.setdefault("title", found.title)
    return LangChainDocument(id=found.id, page_content=found.text, metadata=metadata)
