"""Vectors of candidates, as the legs of an index keep them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparseret.protocols import TermWeights
from sparseret.views.dense import DenseView
from sparseret.views.sparse import SparseView
from sparseret.views.view import View

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["IndexVectors"]


class IndexVectors:
    """What one commit of an index keeps of some documents.

    Satisfies :class:`sparseret.protocols.StoredVectors`. Rows are read when they are asked for.

    Args:
        view: of the index.
        ids: of live documents; rows come in their order.
    """

    def __init__(self, view: View, ids: Sequence[str]) -> None:
        self._view = view
        self._ids = ids

    def dense(self, space: str | None = None) -> NDArray[np.float32] | None:
        """Vectors as they are scored, shape (n, dim), of a leg of dense vectors; None without.

        Args:
            space: of the leg's encoder; None takes the first leg.
        """
        for leg in self._view.legs:
            if isinstance(leg, DenseView) and space in (None, leg.encoder.space):
                rows = np.empty((len(self._ids), leg.snapshot.dim), np.float32)
                for row, number in zip(rows, self._numbers, strict=True):
                    row[:] = leg.snapshot.row(number)
                return rows
        return None

    def sparse(self) -> csr_array | None:
        """Rows of the first leg of sparse vectors, weighed as queries are; None without.

        Columns that no row has are left out, the others stay in their order.
        """
        from scipy.sparse import csr_array

        for leg in self._view.legs:
            if isinstance(leg, SparseView):
                rows = [leg.snapshot.row(number) for number in self._numbers]
                ends = np.cumsum([0, *(len(columns) for columns, _ in rows)])
                columns = np.concatenate([np.empty(0, np.int32), *(row[0] for row in rows)])
                weights = np.concatenate([np.empty(0, np.float32), *(row[1] for row in rows)])
                used, places = np.unique(columns, return_inverse=True)
                if isinstance(leg.encoder, TermWeights):
                    weights = weights * leg.encoder.term_weights(used)[places]
                return csr_array((weights, places, ends), shape=(len(rows), len(used)))
        return None

    @cached_property
    def _numbers(self) -> list[int]:
        """Of the documents, in the order of the ids."""
        state = self._view.state
        numbers = state.catalog.numbers_of(self._ids)
        by_id = dict(zip(state.ids(numbers), numbers.tolist(), strict=True))
        return [by_id[id] for id in self._ids]
