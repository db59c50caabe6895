"""Sparse retrieval: encoders make sparse vectors, indexes keep them, a retriever joins them with
documents. Start with :class:`Retriever` and :class:`Document`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparseret.documents import Document
    from sparseret.errors import SparseretError
    from sparseret.explanation import Explanation
    from sparseret.indexers.dense import DenseIndex
    from sparseret.indexers.filters import field
    from sparseret.indexers.inverted import InvertedIndex
    from sparseret.protocols import Hits
    from sparseret.readers import read_documents
    from sparseret.registry import load_encoder
    from sparseret.retriever import Result, Retriever

__version__ = "0.1.0"

_HOMES = {
    "DenseIndex": "indexers.dense",
    "Document": "documents",
    "Explanation": "explanation",
    "Hits": "protocols",
    "InvertedIndex": "indexers.inverted",
    "Result": "retriever",
    "Retriever": "retriever",
    "SparseretError": "errors",
    "field": "indexers.filters",
    "load_encoder": "registry",
    "read_documents": "readers",
}

__all__ = [
    "DenseIndex",
    "Document",
    "Explanation",
    "Hits",
    "InvertedIndex",
    "Result",
    "Retriever",
    "SparseretError",
    "field",
    "load_encoder",
    "read_documents",
]


def __getattr__(name: str) -> Any:
    """Import public names at their first use: ``import sparseret`` itself stays fast."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
