"""Why a document has its score: what each term of a query adds to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.protocols import Encoder

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Explanation", "TermScore", "explain_score"]


class TermScore(NamedTuple):
    """What one term adds to a score."""

    term: str
    query_weight: float
    document_weight: float
    contribution: float
    """query_weight * document_weight in float32."""


class Explanation(NamedTuple):
    """Why a document has its score."""

    id: str
    score: float
    """Float32 sum of the contributions in the order of columns: equal to the search score."""
    terms: list[TermScore]
    """Terms of query and document in common, largest contribution first."""
    missing: list[str]
    """Terms of the query that the document lacks."""


def explain_score(
    id: str,
    query: csr_array,
    columns: NDArray[np.int32],
    weights: NDArray[np.float32],
    encoder: Encoder,
) -> Explanation:
    """Take a score apart.

    Args:
        id: of the document.
        query: canonical CSR, shape (1, dim).
        columns: of the document, ascending, shape (terms,).
        weights: of the document, parallel to ``columns``.
        encoder: names the columns.
    """
    at = np.searchsorted(columns, query.indices)
    shared = at < len(columns)
    shared[shared] = columns[at[shared]] == query.indices[shared]
    score = np.float32(0)
    terms = []
    for column, query_weight, position in zip(
        query.indices[shared], query.data[shared], at[shared], strict=True
    ):
        contribution = query_weight * weights[position]
        score += contribution
        terms.append(
            TermScore(
                encoder.term(int(column)),
                float(query_weight),
                float(weights[position]),
                float(contribution),
            )
        )
    terms.sort(key=lambda term: -term.contribution)
    missing = [encoder.term(int(column)) for column in query.indices[~shared]]
    return Explanation(id, float(score), terms, missing)
