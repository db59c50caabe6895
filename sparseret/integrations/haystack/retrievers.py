"""Components of Haystack that retrieve from an index: by text, embedding, sparse embedding."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
from haystack import component, default_from_dict, default_to_dict
from haystack.dataclasses import Document, SparseEmbedding
from haystack.document_stores.types import FilterPolicy, apply_filter_policy

from sparseret.errors import ConfigurationError, VectorError
from sparseret.indexers.filters import Filter, In
from sparseret.integrations.haystack.documents import to_haystack
from sparseret.integrations.haystack.filters import plan_filter
from sparseret.integrations.haystack.legs import dense_leg, sparse_leg, text_legs
from sparseret.integrations.haystack.store import SparseretDocumentStore
from sparseret.retriever import Result

__all__ = [
    "SparseretEmbeddingRetriever",
    "SparseretRetriever",
    "SparseretSparseEmbeddingRetriever",
]


class _Settings:
    """What all components are made with; :class:`SparseretRetriever` says what it means."""

    def __init__(
        self,
        document_store: SparseretDocumentStore,
        *,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        filter_policy: str | FilterPolicy = FilterPolicy.REPLACE,
        recall: float | None = None,
        legs: list[str] | None = None,
    ) -> None:
        if not isinstance(document_store, SparseretDocumentStore):
            raise ConfigurationError("document_store must be a SparseretDocumentStore")
        self.document_store = document_store
        self.filters = filters
        self.top_k = _count(top_k)
        self.filter_policy = (
            FilterPolicy.from_str(filter_policy)
            if isinstance(filter_policy, str)
            else filter_policy
        )
        self.recall = recall
        self.legs = legs

    def to_dict(self) -> dict[str, Any]:
        """Everything that makes the same component again, the store included."""
        data: dict[str, Any] = default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            filters=self.filters,
            top_k=self.top_k,
            filter_policy=self.filter_policy.value,
            recall=self.recall,
            legs=self.legs,
        )
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Any:
        """Undo :meth:`to_dict`."""
        given = dict(data["init_parameters"])
        if isinstance(given["document_store"], dict):
            given["document_store"] = SparseretDocumentStore.from_dict(given["document_store"])
        return default_from_dict(cls, {**data, "init_parameters": given})

    def _how(self, filters: dict[str, Any] | None, top_k: int | None) -> tuple[Filter | None, int]:
        joined = apply_filter_policy(self.filter_policy, self.filters, filters)
        k = self.top_k if top_k is None else _count(top_k)
        store = self.document_store
        plan = plan_filter(joined, store.retriever.index.state.catalog.order_by)
        if plan.theirs is None:
            return plan.ours, k
        return In(("_id",), tuple(d.id for d in store.filter_documents(joined))), k

    def _leg(self) -> str | None:
        if self.legs is None:
            return None
        if len(self.legs) != 1:
            raise ConfigurationError(f"an embedding searches one leg, got {self.legs}")
        return self.legs[0]

    def _found(self, results: Sequence[Result]) -> dict[str, list[Document]]:
        embedding = self.document_store.return_embedding
        return {"documents": [to_haystack(r, score=r.score, embedding=embedding) for r in results]}


@component
class SparseretRetriever(_Settings):
    """Finds documents by the text of a query, in all legs that encode it, fused.

    Args:
        document_store: where to search.
        filters: that documents must satisfy, in Haystack's form; applied before the ranking.
        top_k: most documents to return.
        filter_policy: whether filters of a run replace those above, or join them.
        recall: of approximate search, 0.5 to 0.999; None for exact results.
        legs: of an index of several, names of those to search; None for all that can take such a
            query.

    Raises:
        ConfigurationError: an argument of another kind.
    """

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """The best documents, best first; none for a query without a known word.

        Args:
            query: any text.
            filters: in place of those that the component was made with, or beside them.
            top_k: in place of that of the component.
        """
        where, k = self._how(filters, top_k)
        retriever = self.document_store.retriever
        legs = self.legs or text_legs(retriever)
        return self._found(retriever.search(query, k, filter=where, recall=self.recall, legs=legs))

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """:meth:`run`, in a thread."""
        return await asyncio.to_thread(self.run, query, filters, top_k)


@component
class SparseretEmbeddingRetriever(_Settings):
    """Finds documents by an embedding of the query, as a text embedder of Haystack makes it.

    It searches the embeddings that documents brought (``embedding_dim`` of the store), or else the
    only leg of dense vectors, whose model must be that of the embedder. Arguments are those of
    :class:`SparseretRetriever`; ``legs`` names one leg.
    """

    @component.output_types(documents=list[Document])
    def run(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """The nearest documents; those without an embedding are never found.

        Args:
            query_embedding: as wide as the embeddings of the documents.
            filters: in place of those that the component was made with, or beside them.
            top_k: in place of that of the component.

        Raises:
            VectorError: another width, or numbers that are not finite.
        """
        where, k = self._how(filters, top_k)
        retriever = self.document_store.retriever
        leg = self._leg() or dense_leg(retriever)
        vector = np.asarray(query_embedding, np.float32)
        return self._found(
            retriever.search_vectors({leg: vector}, k, filter=where, recall=self.recall)
        )

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """:meth:`run`, in a thread."""
        return await asyncio.to_thread(self.run, query_embedding, filters, top_k)


@component
class SparseretSparseEmbeddingRetriever(_Settings):
    """Finds documents by a sparse embedding of the query, as of a SPLADE model.

    It searches the only leg whose columns are those of a model; the embedding must come from the
    same one. Arguments are those of :class:`SparseretRetriever`; ``legs`` names one leg.
    """

    @component.output_types(documents=list[Document])
    def run(
        self,
        query_sparse_embedding: SparseEmbedding,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """The documents with the largest inner product.

        Args:
            query_sparse_embedding: columns of the model and their weights.
            filters: in place of those that the component was made with, or beside them.
            top_k: in place of that of the component.

        Raises:
            VectorError: columns that the leg does not have, or weights that are not finite.
        """
        from scipy.sparse import csr_array

        where, k = self._how(filters, top_k)
        retriever = self.document_store.retriever
        leg, dim = sparse_leg(retriever, self._leg())
        columns = np.asarray(query_sparse_embedding.indices, np.int64)
        if len(columns) and not 0 <= columns.min() <= columns.max() < dim:
            raise VectorError(f"columns of the query must be 0 to {dim - 1}, as in the leg {leg!r}")
        weights = np.asarray(query_sparse_embedding.values, np.float32)
        row = csr_array((weights, (np.zeros(len(columns), np.int64), columns)), shape=(1, dim))
        return self._found(
            retriever.search_vectors({leg: row}, k, filter=where, recall=self.recall)
        )

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query_sparse_embedding: SparseEmbedding,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """:meth:`run`, in a thread."""
        return await asyncio.to_thread(self.run, query_sparse_embedding, filters, top_k)


def _count(top_k: int) -> int:
    if top_k < 1:
        raise ConfigurationError(f"top_k must be at least 1, got {top_k}")
    return top_k
