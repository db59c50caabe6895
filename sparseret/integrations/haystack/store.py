"""A document store of Haystack that is an index folder."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from haystack import default_from_dict, default_to_dict
from haystack.dataclasses import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.utils.filters import document_matches_filter

from sparseret.errors import DuplicateIdError
from sparseret.integrations.haystack import metadata
from sparseret.integrations.haystack.documents import from_haystack, to_haystack
from sparseret.integrations.haystack.filters import plan_filter
from sparseret.integrations.haystack.legs import open_or_create, recorded
from sparseret.legs import AnyEncoder
from sparseret.retriever import Retriever

__all__ = ["SparseretDocumentStore"]


class SparseretDocumentStore:
    """Keeps documents in the folder of an index, and makes the folder where there is none.

    Every write is committed before it returns, and seen by all stores of the folder in this
    process, in whatever thread. What other processes write is seen after
    ``store.retriever.refresh()``.

    Args:
        path: folder of the index; one made elsewhere serves as well.
        encoder: of the texts, as in :meth:`sparseret.Retriever.create`: a name, an encoder, or
            several by the names of their legs. None takes BM25 for a new index, and for an old one
            whatever it was made with.
        encoder_options: of named encoders, for a new index.
        filter_fields: top-level fields of ``meta`` that filters should find fast, for a new index.
        embedding_dim: width of the embeddings that documents bring. A new index gets a leg of
            dense vectors, ``embedding``, which :class:`SparseretEmbeddingRetriever` searches.
            Without it, embeddings are kept, and not searched.
        embedding_metric: how embeddings are compared, by cosine or inner product.
        return_embedding: whether searches give embeddings back.

    Raises:
        ConfigurationError: an index that is there has other encoders.
        IncompatibleIndexError, CorruptIndexError, StorageError
    """

    def __init__(
        self,
        path: str | Path,
        *,
        encoder: str | AnyEncoder | Mapping[str, str | AnyEncoder] | None = None,
        encoder_options: Mapping[str, Any] | None = None,
        filter_fields: Sequence[str] = (),
        embedding_dim: int | None = None,
        embedding_metric: Literal["cosine", "ip"] = "cosine",
        return_embedding: bool = False,
    ) -> None:
        self._open = open_or_create(
            Path(path), encoder, encoder_options or {}, filter_fields, embedding_dim,
            embedding_metric,
        )  # fmt: skip
        self.filter_fields = list(filter_fields)
        self.return_embedding = return_embedding

    @property
    def retriever(self) -> Retriever:
        """The index behind the store, and behind all stores of its folder in this process."""
        return self._open.retriever

    def to_dict(self) -> dict[str, Any]:
        """The folder, and what makes the same store again where it is not there."""
        data: dict[str, Any] = default_to_dict(
            self,
            path=str(self.retriever.path),
            filter_fields=self.filter_fields,
            return_embedding=self.return_embedding,
            **recorded(self.retriever),
        )
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SparseretDocumentStore:
        """Undo :meth:`to_dict`."""
        store: SparseretDocumentStore = default_from_dict(cls, data)
        return store

    # --- documents --------------------------------------------------------------------------

    def count_documents(self) -> int:
        """Number of documents."""
        return len(self.retriever)

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """The documents that satisfy a filter, all without one, in the order they were written.

        Raises:
            haystack.errors.FilterError: a filter that is none.
        """
        return list(self._matching(filters))

    def write_documents(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """Write documents, all or, after an error, none; returns how many were written.

        Args:
            documents: their ids are printable strings, their ``meta`` holds JSON values.
            policy: what to do with those whose ids are there already, or come twice: FAIL, which
                is the default, SKIP or OVERWRITE.

        Raises:
            DuplicateDocumentError: an id is there, under FAIL.
            ValueError: something that is not a list of documents.
            DocumentError: a document that no index can hold.
            VectorError: an embedding of another width.
        """
        if not isinstance(documents, list) or not all(isinstance(d, Document) for d in documents):
            raise ValueError("write_documents takes a list of haystack.Document")
        made = [from_haystack(document) for document in documents]
        with self._open.writing:
            if policy == DuplicatePolicy.SKIP:
                made = list({d.id: d for d in reversed(made)}.values())[::-1]
                made = [d for d in made if self.retriever.document(d.id) is None]
            return self._write(made, replace=policy == DuplicatePolicy.OVERWRITE)

    def delete_documents(self, document_ids: list[str]) -> None:
        """Delete documents; ids that are unknown are ignored."""
        with self._open.writing:
            self._delete(document_ids)

    def delete_all_documents(self, recreate_index: bool = False) -> None:
        """Delete all documents. The index keeps its settings.

        Args:
            recreate_index: whether to make the index as new, by giving back what deleted documents
                take on disk; otherwise later merges do.
        """
        with self._open.writing:
            self._delete([document.id for document in self.retriever.documents()])
            if recreate_index:
                self.retriever.merge(calibrate=False)

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Delete the documents that satisfy a filter; returns how many."""
        with self._open.writing:
            return self._delete([document.id for document in self._matching(filters)])

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Put fields into ``meta`` of the documents that satisfy a filter; returns how many.

        They count as written anew, and stand last in the order of documents.
        """
        with self._open.writing:
            found = self._matching(filters)
            changed = [from_haystack(replace(d, meta={**d.meta, **meta})) for d in found]
            return self._write(changed, replace=True)

    # --- metadata ---------------------------------------------------------------------------

    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        """How many documents satisfy a filter."""
        return sum(1 for _ in self._matching(filters))

    def count_unique_metadata_by_filter(
        self, filters: dict[str, Any], metadata_fields: list[str]
    ) -> dict[str, int]:
        """How many different values fields have in the documents that satisfy a filter."""
        return metadata.count_unique(self.filter_documents(filters), metadata_fields)

    def get_metadata_fields_info(self) -> dict[str, dict[str, str]]:
        """By field of ``meta``: {"type": "keyword", "int", "float" or "boolean"}."""
        return metadata.fields_info(self._matching(None))

    def get_metadata_field_min_max(self, metadata_field: str) -> dict[str, Any]:
        """Least and largest value of a field as {"min": ..., "max": ...}; None without one."""
        return metadata.min_max(self._matching(None), metadata_field)

    def get_metadata_field_unique_values(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        """A page of the different values of a field, and how many there are.

        Args:
            metadata_field: with or without "meta." before it.
            search_term: what values must contain, in capital or small letters.
            from_: values before the page.
            size: values of the page, at most.
            filters: of the documents that count.
        """
        found = self._matching(filters)
        return metadata.unique_values(found, metadata_field, search_term, from_, size)

    # --- the same, beside the event loop ------------------------------------------------------

    async def count_documents_async(self) -> int:
        """:meth:`count_documents`."""
        return await asyncio.to_thread(self.count_documents)

    async def filter_documents_async(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """:meth:`filter_documents`, in a thread."""
        return await asyncio.to_thread(self.filter_documents, filters)

    async def write_documents_async(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """:meth:`write_documents`, in a thread."""
        return await asyncio.to_thread(self.write_documents, documents, policy)

    async def delete_documents_async(self, document_ids: list[str]) -> None:
        """:meth:`delete_documents`, in a thread."""
        await asyncio.to_thread(self.delete_documents, document_ids)

    async def delete_all_documents_async(self, recreate_index: bool = False) -> None:
        """:meth:`delete_all_documents`, in a thread."""
        await asyncio.to_thread(self.delete_all_documents, recreate_index)

    async def delete_by_filter_async(self, filters: dict[str, Any]) -> int:
        """:meth:`delete_by_filter`, in a thread."""
        return await asyncio.to_thread(self.delete_by_filter, filters)

    async def update_by_filter_async(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """:meth:`update_by_filter`, in a thread."""
        return await asyncio.to_thread(self.update_by_filter, filters, meta)

    async def count_documents_by_filter_async(self, filters: dict[str, Any]) -> int:
        """:meth:`count_documents_by_filter`, in a thread."""
        return await asyncio.to_thread(self.count_documents_by_filter, filters)

    async def count_unique_metadata_by_filter_async(
        self, filters: dict[str, Any], metadata_fields: list[str]
    ) -> dict[str, int]:
        """:meth:`count_unique_metadata_by_filter`, in a thread."""
        return await asyncio.to_thread(
            self.count_unique_metadata_by_filter, filters, metadata_fields
        )

    async def get_metadata_fields_info_async(self) -> dict[str, dict[str, str]]:
        """:meth:`get_metadata_fields_info`, in a thread."""
        return await asyncio.to_thread(self.get_metadata_fields_info)

    async def get_metadata_field_min_max_async(self, metadata_field: str) -> dict[str, Any]:
        """:meth:`get_metadata_field_min_max`, in a thread."""
        return await asyncio.to_thread(self.get_metadata_field_min_max, metadata_field)

    async def get_metadata_field_unique_values_async(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        """:meth:`get_metadata_field_unique_values`, in a thread."""
        return await asyncio.to_thread(
            self.get_metadata_field_unique_values, metadata_field, search_term, from_, size, filters
        )

    # --- details ----------------------------------------------------------------------------

    def _matching(self, filters: Mapping[str, Any] | None) -> Iterator[Document]:
        plan = plan_filter(filters, self.retriever.index.state.catalog.order_by)
        found = (to_haystack(document) for document in self.retriever.documents(plan.ours))
        if plan.theirs is None:
            return found
        theirs = dict(plan.theirs)
        return (document for document in found if document_matches_filter(theirs, document))

    def _write(self, documents: list[Any], *, replace: bool) -> int:
        write = self.retriever.update if replace else self.retriever.add
        try:
            write(documents)
        except DuplicateIdError as error:
            self.retriever.rollback()
            raise DuplicateDocumentError(f"a document with the id {error.id!r} exists") from error
        except BaseException:
            self.retriever.rollback()
            raise
        self.retriever.commit()
        return len(documents)

    def _delete(self, ids: list[str]) -> int:
        deleted = self.retriever.delete(ids)
        self.retriever.commit()
        return deleted
