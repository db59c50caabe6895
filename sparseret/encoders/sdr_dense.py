"""Dense vectors as binary codes: the winners of a sparse random expansion.

    y = S x,    S of shape (n, d) with f entries of +1 or -1 a row,    code = the w largest y > 0

S is never stored: a hash of row and place gives column and sign, and the same entry twice adds up.
Codes do not change when x is scaled by a positive number, and the nearer two vectors are in angle,
the more winners they share.

Expansion and winner-take-all: Dasgupta, Stevens and Navlakha, "A neural algorithm for a fundamental
computing problem", Science 358 (2017), whose entries are 0 and 1; signs as in Achlioptas,
"Database-friendly random projections", JCSS 66 (2003), so that vectors need not be positive.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparseret.encoders.codecs import SavedCodec, StoredCodec
from sparseret.encoders.dense_blocks import keep_winners, transform_blocks
from sparseret.encoders.sdr_hash import scatter
from sparseret.errors import ConfigurationError
from sparseret.protocols import Vectors
from sparseret.vectors import MAX_DIM

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["SdrCodec"]

_BLOCK_BYTES = 2**24


class SdrCodec(StoredCodec):
    """Winner-take-all codes of dense vectors (``sdr-dense``); nothing is learned.

    Args:
        n_features: width d of the vectors.
        cells: n, columns of the codes.
        active: w, winners of a vector.
        fan_in: f, entries of S a row.
        seed: of S.

    Raises:
        ConfigurationError: sizes below 1, or more winners than cells.
    """

    name = "sdr-dense"
    signed = False

    def __init__(
        self, n_features: int, *, cells: int = 2048, active: int = 40, fan_in: int = 10,
        seed: int = 0,
    ) -> None:  # fmt: skip
        if not (n_features >= 1 and fan_in >= 1 and 1 <= active <= cells < MAX_DIM):
            raise ConfigurationError(
                f"{n_features} features, {fan_in} a cell, {active} winners of {cells} cells: each "
                "is at least 1, and winners are at most the cells"
            )
        self.n_features, self.cells, self.active = n_features, cells, active
        self.fan_in, self.seed = fan_in, seed

    @property
    def dim(self) -> int:
        """Number of cells."""
        return self.cells

    @property
    def description(self) -> str:
        """One line for people."""
        return (
            f"sdr-dense ({self.active} winners of {self.cells:,} cells, each of {self.fan_in} of "
            f"{self.n_features} features)"
        )

    def transform(self, X: Vectors, *, show_progress: bool = False) -> csr_array:  # noqa: N803
        """Codes, float32, values 1, shape (n, cells), in blocks: ``X`` may be memory-mapped.

        A vector of zeros has an empty code.

        Raises:
            VectorError: another width, or values that are not finite.
        """
        rows = max(1, _BLOCK_BYTES // (4 * self.cells))
        return transform_blocks(X, self._codes, self.n_features, rows=rows, show=show_progress)

    @property
    def _saved(self) -> SavedCodec:
        options = {"n_features": self.n_features, "cells": self.cells, "active": self.active,
                   "fan_in": self.fan_in, "seed": self.seed}  # fmt: skip
        return SavedCodec(self.name, options, {})

    @cached_property
    def _expansion(self) -> csr_array:
        """S."""
        from scipy.sparse import csr_array

        drawn = scatter(np.arange(self.cells * self.fan_in, dtype=np.uint64), self.seed)
        columns = ((drawn >> np.uint64(1)) % np.uint64(self.n_features)).astype(np.int32)
        signs = np.where(drawn & np.uint64(1), np.float32(1), np.float32(-1))
        indptr = np.arange(0, len(drawn) + 1, self.fan_in)
        made = csr_array((signs, columns, indptr), shape=(self.cells, self.n_features))
        made.sum_duplicates()
        return made

    def _codes(self, block: NDArray[np.float32]) -> csr_array:
        """Winning cells as ones; ties go to the lower cell."""
        # No scaling of a vector changes its winners, and sums of these cannot overflow.
        largest = np.abs(block).max(axis=1, initial=0.0)
        scaled = block / np.where(largest > 0, largest, 1.0)[:, None].astype(np.float32)
        activity: NDArray[np.float32] = (self._expansion @ scaled.T).T
        codes = keep_winners(np.maximum(activity, 0), self.active)
        codes.data[:] = 1
        return codes
