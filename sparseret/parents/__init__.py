"""Indexes of chunks: long documents are cut, and found by their best passages."""

from __future__ import annotations

from sparseret.parents.ranking import ParentResult, Passage
from sparseret.parents.retriever import ParentRetriever, open_retriever

__all__ = ["ParentResult", "ParentRetriever", "Passage", "open_retriever"]
