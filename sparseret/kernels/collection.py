"""Segments searched as one collection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import CorruptIndexError, VectorError
from sparseret.kernels import _native

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from sparseret.kernels import ImpactSegment, Segment

__all__ = ["Collection", "Effort", "NotCanonicalError", "Ranking", "Work", "search"]

_ALL_ROWS = 2**62


class NotCanonicalError(ValueError):
    """Queries are no canonical CSR matrix of the right dimension: `vectors.check` tells why."""


class Work(NamedTuple):
    """What a search of impact-ordered segments did, summed over its queries."""

    postings: int = 0
    """Postings read."""
    rows: int = 0
    """Documents scored from their stored rows."""


class Ranking(NamedTuple):
    """Ranked rows of several queries: those of query q at ``ptr[q]:ptr[q + 1]``."""

    ptr: NDArray[np.int64]
    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    places: NDArray[np.uint32]
    """For an approximate search, the place of each row among the candidates of its segment: fewer
    candidates find those with lower places. Zeros where a segment was searched exactly."""
    work: Work = Work()


class Effort(NamedTuple):
    """How thorough an approximate search is, in each impact-ordered segment."""

    cut: float
    """Lists are read until no document can lack more than this share, 0 to 1, of the largest
    score there could be (the sum over the query's terms of weight times largest weight)."""
    candidates: int
    """That many documents, those that look best by what was read, are scored from their rows."""


class Collection:
    """Segments, rows numbered through, ready for queries that it checks itself.

    Args:
        segments: in the order of their rows.
        dim: columns that queries must have; None takes any.
        signed: whether queries may hold negative values.
        largest: upper bound of the absolute weights in the segments; with 0 it is not checked
            whether scores could exceed float32.
    """

    def __init__(
        self,
        segments: Sequence[Segment | ImpactSegment],
        *,
        dim: int | None = None,
        signed: bool = True,
        largest: float = 0.0,
    ) -> None:
        self._native = _native.Collection(
            [segment.native for segment in segments], -1 if dim is None else dim, signed, largest
        )

    def search(
        self,
        queries: csr_array,
        k: int,
        allowed: Sequence[NDArray[np.uint64] | None] | None = None,
        rows: range | None = None,
        effort: Effort | None = None,
        threads: int = 1,
    ) -> Ranking:
        """Top-k by dot product; exact meaning: :func:`sparseret.kernels.reference.search`.

        Args:
            queries: canonical CSR (:func:`sparseret.vectors.check`), shape (n_queries, dim);
                ``indptr`` may be int32.
            k: at most this many rows a query, at least 1.
            allowed: per segment a bitmap of 64-bit words, bit ``row & 63`` of word ``row >> 6``
                set where the row may be returned; None allows every row.
            rows: consecutive rows that may be returned; the work is in proportion. None for all.
            effort: None for an exact search. Otherwise impact-ordered segments are searched
                approximately: scores are exact, but hits may be missed. Others are searched
                exactly.
            threads: queries are spread over this many threads; results do not depend on it.

        Raises:
            NotCanonicalError: the queries are not what is expected.
            VectorError: scores could exceed float32.
            CorruptIndexError: an offset in the segment points outside it.
        """
        shape: tuple[int, ...] = getattr(queries, "shape", ())
        # Other formats have arrays of the same names.
        if getattr(queries, "format", None) != "csr" or len(shape) != 2:
            raise NotCanonicalError("the queries are no CSR matrix")
        try:
            found = self._native.search(
                shape[0],
                shape[1],
                queries.indptr,
                queries.indices,
                queries.data,
                k,
                allowed,
                0 if rows is None else rows.start,
                _ALL_ROWS if rows is None else rows.stop,
                0.0 if effort is None else effort.cut,
                0 if effort is None else effort.candidates,
                threads if threads > 1 else 1,
            )
        except _native.CorruptSegment as error:
            raise CorruptIndexError(
                f"{error}: `sparseret verify` tells which file is damaged"
            ) from error
        except OverflowError as error:
            raise VectorError(str(error)) from error
        if found is None:
            raise NotCanonicalError("the queries are no canonical CSR matrix")
        ptr, numbers, scores, places, n_postings, n_rows = found
        return Ranking(ptr, numbers, scores, places, Work(n_postings, n_rows))


def search(
    segments: Sequence[Segment | ImpactSegment],
    queries: csr_array,
    k: int,
    *,
    allowed: Sequence[NDArray[np.uint64] | None] | None = None,
    rows: range | None = None,
    effort: Effort | None = None,
    threads: int = 1,
) -> Ranking:
    """:meth:`Collection.search` of segments that are searched once."""
    return Collection(segments).search(queries, k, allowed, rows, effort, threads)
