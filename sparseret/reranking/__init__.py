"""A second look at what a search found: re-rankers, and the stage that asks them.

What a re-ranker is, :class:`sparseret.protocols.Reranker` says.
"""

from __future__ import annotations

from sparseret.reranking.diversity import Diversity
from sparseret.reranking.full_vectors import FullVectors

__all__ = ["Diversity", "FullVectors"]
