"""Maximal marginal relevance: what is relevant and not what was said already.

Documents are chosen one after another, each time the one with the largest

    lambda * relevance(d) - (1 - lambda) * max over chosen documents c of cosine(d, c)

where relevance is the score of the stage before, moved to 0 .. 1 over the candidates.

Reference: Jaime Carbonell, Jade Goldstein. The Use of MMR, Diversity-Based Reranking for Reordering
Documents and Producing Summaries. SIGIR 1998.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparseret import kernels
from sparseret.errors import ConfigurationError
from sparseret.indexers.dense_exact import normalised
from sparseret.protocols import Candidates

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Diversity", "marginal_relevance"]


class Diversity:
    """Puts first what is relevant and unlike what stands before it.

    Satisfies :class:`sparseret.protocols.Reranker`. Documents are compared by the cosines of the
    vectors that the index keeps: of its first dense leg or, without one, of its first sparse leg,
    weighed as queries are. The score of a document is the value it was chosen with
    (:func:`marginal_relevance`); all candidates are rated at once.

    Args:
        lambda_: what relevance counts, 0 to 1; novelty counts the rest. At 1 nothing changes.

    Raises:
        ConfigurationError: ``lambda_`` is not in its range.
    """

    name = "mmr"

    def __init__(self, lambda_: float = 0.7) -> None:
        number: Any = lambda_
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number <= 1:
            raise ConfigurationError(f"lambda_ must be a number from 0 to 1, got {lambda_!r}")
        self.lambda_ = float(number)

    @property
    def description(self) -> str:
        """One line for people."""
        return f"mmr (lambda={self.lambda_:g})"

    def rescore(self, candidates: Candidates) -> Iterator[NDArray[np.float64]]:
        """Values of all candidates, in one batch.

        Raises:
            ConfigurationError: there are no vectors to compare by.
        """
        vectors = candidates.vectors
        if vectors is None:
            raise ConfigurationError(f"{self.name} compares the vectors of an index: search one")
        dense = vectors.dense()
        sparse = vectors.sparse() if dense is None else None
        if dense is not None:
            cosines = _dense_cosines(dense)
        elif sparse is not None:
            cosines = _sparse_cosines(sparse)
        else:
            raise ConfigurationError(f"{self.name} needs a leg whose encoder could be opened")
        yield marginal_relevance(candidates.scores, cosines, self.lambda_)


def marginal_relevance(
    scores: NDArray[Any], cosines: Callable[[int], NDArray[np.float64]], lambda_: float
) -> NDArray[np.float64]:
    """The value with which each document is chosen, shape (n,), as the module says.

    Relevances are (s - min) / (max - min), or 1 where all scores are the same. Before anything is
    chosen, the largest cosine counts as -1, the least there is, so that values never rise from one
    choice to the next: their order is that of choosing. Of equal values, the first is chosen.

    Args:
        scores: finite, shape (n,).
        cosines: those of the document at a place with all, shape (n,).
        lambda_: 0 to 1.
    """
    values = np.empty(len(scores))
    if not len(scores):
        return values
    relevance = scores.astype(np.float64)
    relevance -= relevance.min()
    top = relevance.max()
    relevance = relevance / top if top > 0 else np.ones(len(scores))
    nearest = np.full(len(scores), -1.0)
    left = np.ones(len(scores), bool)
    for _ in range(len(scores)):
        marginal = np.where(left, lambda_ * relevance - (1 - lambda_) * nearest, -np.inf)
        chosen = int(np.argmax(marginal))
        values[chosen] = marginal[chosen]
        left[chosen] = False
        np.maximum(nearest, cosines(chosen), out=nearest)
    return values


def _dense_cosines(rows: NDArray[np.float32]) -> Callable[[int], NDArray[np.float64]]:
    unit = normalised(rows)

    def cosines(place: int) -> NDArray[np.float64]:
        # One row at a time: no more than what is chosen among is ever held.
        products = kernels.dense_products(unit, unit[place : place + 1])[0].astype(np.float64)
        made: NDArray[np.float64] = np.clip(products, -1.0, 1.0)
        return made

    return cosines


def _sparse_cosines(rows: csr_array) -> Callable[[int], NDArray[np.float64]]:
    unit = rows.astype(np.float64)
    norms = np.sqrt(np.asarray(unit.multiply(unit).sum(axis=1)).ravel())
    unit.data /= np.repeat(np.where(norms > 0, norms, 1.0), np.diff(unit.indptr))

    def cosines(place: int) -> NDArray[np.float64]:
        inside = slice(unit.indptr[place], unit.indptr[place + 1])
        other = np.zeros(unit.shape[1])
        other[unit.indices[inside]] = unit.data[inside]
        made: NDArray[np.float64] = np.clip(unit @ other, -1.0, 1.0)
        return made

    return cosines
