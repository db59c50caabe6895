r"""Relevance feedback: a query made of documents that are like what is wanted, and unlike it.

Rocchio's formula [1]_, on vectors of length 1 as in [2]_::

    q' = alpha q / ||q|| + beta mean_{d liked} d / ||d|| - gamma mean_{d unliked} d / ||d||

Columns that come out negative are dropped, unless vectors of the space may be negative. Lengths of
1 make the factors mean the same for every encoder.

References:
    .. [1] J. J. Rocchio. Relevance Feedback in Information Retrieval. In: The SMART Retrieval
       System, 1971.
    .. [2] Gerard Salton, Chris Buckley. Improving Retrieval Performance by Relevance Feedback.
       Journal of the American Society for Information Science, 1990.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret import vectors
from sparseret.errors import ConfigurationError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Feedback", "Row", "rocchio"]


class Row(NamedTuple):
    """A sparse vector."""

    columns: NDArray[np.int32]
    """Ascending."""
    weights: NDArray[np.float32]
    """Parallel to ``columns``."""


@dataclass(frozen=True)
class Feedback:
    """Which documents a query is made of, and how much each part of it counts.

    Raises:
        ConfigurationError: one string in place of several ids, an id on both sides, or a factor
            that is no number from 0.
    """

    like: Sequence[str] = ()
    """Ids of documents like those wanted; an id counts once."""
    unlike: Sequence[str] = ()
    """Ids of documents unlike those wanted."""
    alpha: float = 1.0
    """Of the text of the query."""
    beta: float = 0.75
    """Of the documents liked."""
    gamma: float = 0.15
    """Of the documents unliked."""

    def __post_init__(self) -> None:
        for name in ("like", "unlike"):
            ids = getattr(self, name)
            if isinstance(ids, str) or not all(isinstance(id, str) for id in ids):
                raise ConfigurationError(f"{name} must be a list of ids, which are strings")
            object.__setattr__(self, name, tuple(dict.fromkeys(ids)))
        both = sorted({*self.like} & {*self.unlike})
        if both:
            raise ConfigurationError(f"{both[0]!r} cannot be both liked and unliked: drop one")
        for name in ("alpha", "beta", "gamma"):
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not 0 <= value < math.inf:
                raise ConfigurationError(f"{name} must be a number from 0, got {value!r}")

    @property
    def ids(self) -> tuple[str, ...]:
        """Of all documents that are judged."""
        return (*self.like, *self.unlike)


def rocchio(
    query: Row | None,
    liked: Sequence[Row],
    unliked: Sequence[Row],
    feedback: Feedback,
    *,
    dim: int | None,
    signed: bool,
) -> csr_array:
    """The query that feedback makes, canonical, shape (1, dim).

    Args:
        query: of the text; None without.
        liked: documents of ``feedback.like``.
        unliked: documents of ``feedback.unlike``.
        feedback: the factors.
        dim: width; None for one that is wide enough.
        signed: whether weights may be negative.
    """
    parts = [(query, feedback.alpha)] if query is not None else []
    parts += [(row, feedback.beta / len(liked)) for row in liked]
    parts += [(row, -feedback.gamma / len(unliked)) for row in unliked]
    columns = np.concatenate([np.empty(0, np.int32), *(row.columns for row, _ in parts)])
    weights = np.concatenate([np.empty(0), *(_scaled(row, factor) for row, factor in parts)])
    distinct, place = np.unique(columns, return_inverse=True)
    summed = np.bincount(place, weights, minlength=len(distinct)).astype(np.float32)
    kept = (summed != 0) if signed else (summed > 0)
    if dim is None:
        dim = int(distinct[-1]) + 1 if len(distinct) else 1
    indptr = np.array([0, kept.sum()], np.int64)
    return vectors.from_arrays(indptr, distinct[kept], summed[kept], dim)


def _scaled(row: Row, factor: float) -> NDArray[np.float64]:
    wide = row.weights.astype(np.float64)
    length = float(np.linalg.norm(wide))
    made: NDArray[np.float64] = wide * (factor / length if length else 0.0)
    return made
