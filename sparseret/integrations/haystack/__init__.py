"""Haystack 2: a document store, and components that retrieve from it."""

from __future__ import annotations

from sparseret.errors import MissingExtraError

try:
    import haystack  # noqa: F401
except ImportError as error:
    raise MissingExtraError("haystack-ai", "haystack", "the document store of Haystack") from error

from sparseret.integrations.haystack.retrievers import (
    SparseretEmbeddingRetriever,
    SparseretRetriever,
    SparseretSparseEmbeddingRetriever,
)
from sparseret.integrations.haystack.store import SparseretDocumentStore

__all__ = [
    "SparseretDocumentStore",
    "SparseretEmbeddingRetriever",
    "SparseretRetriever",
    "SparseretSparseEmbeddingRetriever",
]
