"""Why a document has its score: what each term of a query, and each leg, adds to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.protocols import Encoder

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Explanation", "LegScore", "TermScore", "term_scores"]


class TermScore(NamedTuple):
    """What one term adds to a score."""

    term: str
    query_weight: float
    document_weight: float
    contribution: float
    """query_weight * document_weight in float32."""


class LegScore(NamedTuple):
    """What one leg of an index says of a document."""

    name: str
    score: float
    """Float32, equal to the score of a search in that leg alone."""
    rank: int | None = None
    """Among the leg's results that are fused, from 1; None where it is not among them."""
    share: float = 0.0
    """What the leg adds to the score of the whole."""
    terms: Sequence[TermScore] = ()
    """Terms of query and document in common, largest contribution first; none of dense vectors."""
    missing: Sequence[str] = ()
    """Terms of the query that the document lacks."""


class Explanation(NamedTuple):
    """Why a document has its score."""

    id: str
    score: float
    """Of one leg, the float32 sum of the contributions in the order of columns: equal to the
    search score. Of several, the sum of their shares."""
    terms: list[TermScore]
    """Of an index of one leg: terms in common, largest contribution first."""
    missing: list[str]
    """Of an index of one leg: terms of the query that the document lacks."""
    legs: Sequence[LegScore] = ()
    """Of an index of several legs: each of them."""


def term_scores(
    query: csr_array,
    columns: NDArray[np.int32],
    weights: NDArray[np.float32],
    encoder: Encoder,
) -> tuple[float, list[TermScore], list[str]]:
    """Take a score apart: the score, the terms in common, and those that the document lacks.

    Args:
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
    return float(score), terms, missing
