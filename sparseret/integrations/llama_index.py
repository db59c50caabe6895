"""LlamaIndex: a retriever, and a vector store (docs/integrations/llama-index.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparseret.documents import Document
from sparseret.errors import ConfigurationError, MissingExtraError
from sparseret.indexers.filters import And, Filter, In
from sparseret.indexers.fusion import Fusion
from sparseret.indexers.search import as_filter
from sparseret.integrations.given_vectors import EmbeddedDocument, GivenVectors
from sparseret.integrations.llama_index_filters import read_metadata_filters
from sparseret.integrations.stores import (
    EMBEDDING,
    Changes,
    create_store,
    embedding_width,
    open_store,
    title_of,
)
from sparseret.legs import AnyEncoder
from sparseret.protocols import DenseEncoder, Reranker
from sparseret.reranking import Diversity
from sparseret.retriever import Result, Retriever

try:
    from llama_index.core.bridge.pydantic import PrivateAttr
    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.retrievers import BaseRetriever
    from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle, TextNode
    from llama_index.core.vector_stores.types import (
        BasePydanticVectorStore,
        MetadataFilters,
        VectorStoreQuery,
        VectorStoreQueryResult,
    )
    from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict
except ImportError as error:
    raise MissingExtraError(
        "llama-index-core", "llama-index", "the LlamaIndex integration"
    ) from error

__all__ = ["SparseretRetriever", "SparseretVectorStore"]

_NAME = "llama-index"
_PARENT = "ref_doc_id"
"""Metadata key of the document that a node is a part of."""


class SparseretRetriever(BaseRetriever):
    """Documents of an index as scored nodes, by any search of texts that the index offers.

    Args:
        index: a :class:`sparseret.Retriever` that is open, or the folder of an index.
        similarity_top_k: most nodes to return; there are fewer where fewer match.
        filters: metadata condition: LlamaIndex's, text, or ``sparseret.field(...)``.
        recall: as all up to ``time_budget``, of :meth:`sparseret.Retriever.search`.
        legs: see there.
        fusion: see there.
        depth: see there.
        degrade: see there.
        rerank: see there.
        rerank_depth: see there.
        time_budget: see there.
        callback_manager: of LlamaIndex.

    Raises:
        FilterError: a condition that is none.
        IndexNotFoundError, IncompatibleIndexError, CorruptIndexError
    """

    def __init__(
        self,
        index: Retriever | str | Path,
        *,
        similarity_top_k: int = 10,
        filters: MetadataFilters | Filter | str | None = None,
        recall: float | None = None,
        legs: Sequence[str] | None = None,
        fusion: Fusion | None = None,
        depth: int = 100,
        degrade: bool = False,
        rerank: Reranker | Sequence[Reranker] | None = None,
        rerank_depth: int = 100,
        time_budget: float | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        if not isinstance(index, Retriever):
            index = Retriever.open(index, degrade=degrade)
        self.retriever = index
        """The index, with all that it offers beyond this class."""
        self.similarity_top_k = similarity_top_k
        self.filters = filters
        _read_filters(filters, self.retriever)
        self._options: dict[str, Any] = {
            "recall": recall,
            "legs": legs,
            "fusion": fusion,
            "depth": depth,
            "degrade": degrade,
            "rerank": rerank,
            "rerank_depth": rerank_depth,
            "time_budget": time_budget,
        }
        super().__init__(callback_manager=callback_manager)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = self.retriever.search(
            query_bundle.query_str,
            self.similarity_top_k,
            filter=_read_filters(self.filters, self.retriever),
            **self._options,
        )
        return [NodeWithScore(node=_to_node(result), score=result.score) for result in found]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


class SparseretVectorStore(BasePydanticVectorStore):
    """An index as LlamaIndex's vector store: words, learned sparse weights, embeddings, or several.

    Encoders of the index read the texts of nodes; the embeddings of nodes and queries are those
    that LlamaIndex brings. Every change is committed before the method returns, so there is
    nothing to persist.

    Args:
        retriever: an open index; :meth:`create` and :meth:`open` make one.
    """

    stores_text: bool = True
    is_embedding_query: bool = True
    """Whether queries need an embedding: not in a store that was made without."""

    _retriever: Retriever = PrivateAttr()
    _changes: Changes = PrivateAttr()

    def __init__(self, retriever: Retriever) -> None:
        super().__init__(is_embedding_query=EMBEDDING in retriever.legs)
        self._retriever = retriever
        self._changes = Changes(retriever)

    @classmethod
    def create(
        cls,
        path: str | Path,
        encoder: str | AnyEncoder | Mapping[str, str | AnyEncoder] | None = "bm25",
        *,
        embed_dim: int | None = None,
        filter_fields: Sequence[str] = (),
        **options: Any,
    ) -> SparseretVectorStore:
        """Make an empty index.

        Args:
            path: a new or empty folder.
            encoder: as of :meth:`sparseret.Retriever.create`; None for embeddings alone.
            embed_dim: width of the embeddings, which become a leg called ``embedding`` and are
                compared by their cosine; None for a store without them.
            filter_fields: as of :meth:`sparseret.Retriever.create`, beside the id of the document
                that a node is a part of.
            options: others of :meth:`sparseret.Retriever.create`, such as ``fusion``.

        Raises:
            IndexExistsError, ConfigurationError, StorageError
        """
        if embed_dim is not None and (type(embed_dim) is not int or embed_dim < 1):
            raise ConfigurationError(f"embed_dim must be a whole number from 1, got {embed_dim!r}")
        fields = list(dict.fromkeys([_PARENT, *filter_fields]))
        vectors = None if embed_dim is None else GivenVectors(_NAME, embed_dim)
        return cls(create_store(path, encoder, vectors, filter_fields=fields, **options))

    @classmethod
    def open(cls, path: str | Path) -> SparseretVectorStore:
        """Open the index of a store.

        Raises:
            IndexNotFoundError, IncompatibleIndexError, CorruptIndexError, ConfigurationError
        """
        width = embedding_width(path)
        return cls(open_store(path, None if width is None else GivenVectors(_NAME, width)))

    @classmethod
    def class_name(cls) -> str:
        """Of LlamaIndex's registry of components."""
        return "SparseretVectorStore"

    @property
    def client(self) -> Retriever:
        """The index, with all that it offers beyond this class."""
        return self._retriever

    # --- changes ----------------------------------------------------------------------------

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:  # noqa: ARG002
        """Add nodes, or replace those of the same ids; returns their ids.

        Raises:
            ConfigurationError: a node without the embedding that the store needs.
            DocumentError, VectorError, IndexLockedError, StorageError
        """
        self._changes.put([self._document(node) for node in nodes])
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:  # noqa: ARG002
        """Delete all nodes of a document."""
        self._changes.delete_where(In((_PARENT,), (ref_doc_id,)))

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Delete the nodes of these ids that satisfy a filter.

        Raises:
            ConfigurationError: neither is given; :meth:`clear` deletes all nodes.
        """
        chosen = self._chosen(node_ids, filters)
        if chosen is None:
            raise ConfigurationError("give node_ids or filters; clear() deletes all nodes")
        self._changes.delete_where(chosen)

    def clear(self) -> None:
        """Delete all nodes."""
        self._changes.delete_where(None)

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """:meth:`add` in a thread."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """:meth:`delete` in a thread."""
        await asyncio.to_thread(self.delete, ref_doc_id, **delete_kwargs)

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """:meth:`delete_nodes` in a thread."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    async def aclear(self) -> None:
        """:meth:`clear` in a thread."""
        await asyncio.to_thread(self.clear)

    # --- searching --------------------------------------------------------------------------

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """The nodes of these ids, in their order, that satisfy a filter; all without either."""
        chosen = self._chosen(node_ids, filters)
        found = {d.id: _to_node(d) for d in self._retriever.documents(chosen)}
        ids = found if node_ids is None else dict.fromkeys(node_ids)
        return [found[id] for id in ids if id in found]

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """:meth:`get_nodes` in a thread."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The best nodes, by what the query's mode says.

        ``default`` and ``mmr`` compare embeddings; in a store without, the text in all legs.
        ``sparse`` and ``text_search`` ask sparse legs for the text. ``hybrid`` asks all legs, and
        ``alpha`` says what dense vectors count, the sparse ones counting the rest.

        Args:
            query: ``doc_ids`` and ``node_ids`` that are empty are as none.
            kwargs: of :meth:`sparseret.Retriever.search`, such as ``recall``.

        Raises:
            ConfigurationError: another mode, or a query without the text or the embedding that
                its mode needs.
            FilterError, VectorError
        """
        mode = query.mode.value
        if mode not in ("default", "mmr", "sparse", "text_search", "hybrid"):
            raise ConfigurationError(
                f"the mode {mode!r} is not offered: use default, mmr, sparse, text_search or hybrid"
            )
        options: dict[str, Any] = dict(kwargs)
        k = query.similarity_top_k
        if mode == "mmr":
            threshold = options.pop("mmr_threshold", query.mmr_threshold)
            factor = options.pop("mmr_prefetch_factor", 4)
            options["rerank"] = Diversity(0.5 if threshold is None else threshold)
            options["rerank_depth"] = options.pop("mmr_prefetch_k", None) or int(k * factor)
        asked = self._asked(query, mode)
        if mode == "hybrid":
            options.setdefault("depth", max(query.sparse_top_k or 100, k))
            k = query.hybrid_top_k or k
            if query.alpha is not None:
                options.setdefault("fusion", self._weighted(query.alpha))
        chosen = self._chosen(query.node_ids or None, query.filters, query.doc_ids or None)
        found = self._retriever.search_vectors(asked, k, filter=chosen, **options)
        return VectorStoreQueryResult(
            nodes=[_to_node(result) for result in found],
            similarities=[result.score for result in found],
            ids=[result.id for result in found],
        )

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """:meth:`query` in a thread."""
        return await asyncio.to_thread(self.query, query, **kwargs)

    # --- details ----------------------------------------------------------------------------

    def _asked(self, query: VectorStoreQuery, mode: str) -> dict[str, Any]:
        """What each leg that takes part is asked: a text, or an embedding."""
        if mode in ("default", "mmr"):
            legs = [EMBEDDING] if self.is_embedding_query else self._retriever.legs
        elif mode == "hybrid":
            legs = self._retriever.legs
        else:
            legs = self._legs(dense=False)
        given = {leg: query.query_embedding if leg == EMBEDDING else query.query_str
                 for leg in legs}  # fmt: skip
        if not given or None in given.values():
            raise ConfigurationError(
                f"the mode {mode!r} of this store needs "
                + ("a query_embedding" if given.get(EMBEDDING, "") is None else "a query_str")
                + (", and an encoder of texts: make the store with one" if not given else "")
            )
        return given

    def _weighted(self, alpha: float) -> Fusion:
        """The index's fusion, by which dense legs count ``alpha`` and sparse ones the rest."""
        dense, sparse = self._legs(dense=True), self._legs(dense=False)
        if not 0 <= alpha <= 1 or not dense or not sparse:
            raise ConfigurationError(
                f"alpha, from 0 to 1, weighs embeddings against texts in a store with both; got "
                f"{alpha!r} for {len(dense)} dense and {len(sparse)} sparse legs"
            )
        weights = (
            alpha / len(dense) if leg in dense else (1 - alpha) / len(sparse)
            for leg in self._retriever.legs
        )
        return replace(self._retriever.fusion, weights=tuple(weights))

    def _legs(self, *, dense: bool) -> list[str]:
        """Names of the legs of one kind."""
        encoders = self._retriever.encoders.items()
        return [name for name, e in encoders if isinstance(e, DenseEncoder) == dense]

    def _chosen(
        self,
        node_ids: list[str] | None,
        filters: MetadataFilters | None,
        doc_ids: list[str] | None = None,
    ) -> Filter | None:
        """The filter of all conditions; None for none."""
        lists = (("_id", node_ids), (_PARENT, doc_ids))
        parts: list[Filter] = [In((key,), tuple(ids)) for key, ids in lists if ids is not None]
        read = _read_filters(filters, self._retriever)
        parts += [] if read is None else [read]
        return And(tuple(parts)) if len(parts) > 1 else next(iter(parts), None)

    def _document(self, node: BaseNode) -> Document:
        metadata = node_to_metadata_dict(node, remove_text=True)
        text = node.get_content(metadata_mode=MetadataMode.NONE)
        title = title_of(node.metadata)
        if not self.is_embedding_query:
            return Document(node.node_id, text, title, metadata)
        if node.embedding is None:
            raise ConfigurationError(
                f"the node {node.node_id!r} has no embedding, and this store has a leg of them"
            )
        return EmbeddedDocument(node.node_id, text, title, metadata, node.embedding)


def _read_filters(
    filters: MetadataFilters | Filter | str | None, retriever: Retriever
) -> Filter | None:
    if isinstance(filters, MetadataFilters):
        return read_metadata_filters(filters, retriever)
    return None if filters is None else as_filter(filters)


def _to_node(found: Result | Document) -> BaseNode:
    if "_node_content" in found.metadata:
        return metadata_dict_to_node(dict(found.metadata), text=found.text)
    metadata = dict(found.metadata)
    if found.title:
        metadata.setdefault("title", found.title)
    return TextNode(id_=found.id, text=found.text, metadata=metadata)
