"""Numbers and categories as binary codes: near numbers share cells, categories only by chance.

A number x has w active cells of n in a row. With u = (x - low) / (high - low) they begin at

    round(u (n - w)),    or where the range is periodic    round(u n) mod n,

so that the overlap of two numbers falls by one cell a step of (high - low) / (n - w) (or / n,
around the circle), from w to 0. Buckets of this kind: Purdy, "Encoding Data for HTM Systems",
arXiv 1602.05925 (2016).

Join the codes of several values with ``scipy.sparse.hstack(..., format="csr")``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from sparseret.encoders.sdr_hash import cells_of
from sparseret.errors import ConfigurationError, VectorError
from sparseret.vectors import MAX_DIM, from_arrays

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["CategorySdr", "ScalarSdr"]


class ScalarSdr:
    """Codes of numbers within a range.

    Args:
        low: smallest number.
        high: largest number; where periodic, the one that equals ``low``.
        cells: n.
        active: w, of each code.
        periodic: whether the range is a circle, as hours and angles are.

    Raises:
        ConfigurationError: not low < high, or not 1 <= active < cells.
    """

    def __init__(
        self, low: float, high: float, *, cells: int = 400, active: int = 21, periodic: bool = False
    ) -> None:
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ConfigurationError(f"a range from {low} to {high}: give two numbers, low first")
        _check_sizes(cells, active)
        self.low, self.high, self.periodic = float(low), float(high), periodic
        self.cells, self.active = cells, active

    def encode(self, values: ArrayLike) -> csr_array:
        """Codes, float32, values 1, shape (n_values, cells).

        Args:
            values: shape (n_values,); where periodic, any number, else from ``low`` to ``high``.

        Raises:
            VectorError: other shapes, NaN, or numbers out of range.
        """
        given = np.asarray(values)
        if given.ndim != 1 or given.dtype.kind not in "fiu":
            raise VectorError(f"expected numbers of shape (n,), got {given.dtype} {given.shape}")
        numbers = given.astype(np.float64)
        inside = np.isfinite(numbers)
        if not self.periodic:
            inside &= (numbers >= self.low) & (numbers <= self.high)
        if not inside.all():
            at = int(np.argmin(inside))
            raise VectorError(
                f"value {at} is {numbers[at]}, the range {self.low:g} to {self.high:g}: clip it, "
                "or take a wider range"
            )
        share = (numbers - self.low) / (self.high - self.low)
        if self.periodic:
            starts = np.floor((share % 1.0) * self.cells + 0.5).astype(np.int64)
        else:
            starts = np.floor(share * (self.cells - self.active) + 0.5).astype(np.int64)
        cells = (starts[:, None] + np.arange(self.active)) % self.cells
        return _rows(np.sort(cells, axis=1).astype(np.int32).reshape(-1), self.active, self.cells)


class CategorySdr:
    """Codes of categories, which any string may be: cells drawn by a hash of the name.

    Two categories share active^2 / cells cells on average
    (:func:`sparseret.encoders.sdr_theory.overlap_probabilities` of the same sizes).

    Args:
        cells: n.
        active: of each code.
        seed: of the hash: other seeds for other kinds of categories.

    Raises:
        ConfigurationError: not 1 <= active < cells.
    """

    def __init__(self, *, cells: int = 400, active: int = 21, seed: int = 0) -> None:
        _check_sizes(cells, active)
        self.cells, self.active, self.seed = cells, active, seed

    def encode(self, categories: Sequence[str]) -> csr_array:
        """Codes, float32, values 1, shape (len(categories), cells).

        Raises:
            VectorError: one string where several are expected, or a category that is none.
        """
        if isinstance(categories, str) or not all(isinstance(name, str) for name in categories):
            raise VectorError("expected a list of strings, one a category")
        known = {
            name: np.sort(cells_of(name, self.active, self.cells, self.seed))
            for name in dict.fromkeys(categories)
        }
        columns = np.concatenate([np.empty(0, np.int32), *(known[name] for name in categories)])
        return _rows(columns, self.active, self.cells)


def _check_sizes(cells: int, active: int) -> None:
    if not 1 <= active < cells < MAX_DIM:
        raise ConfigurationError(f"{active} active of {cells} cells: at least 1, and not all")


def _rows(columns: np.ndarray, active: int, cells: int) -> csr_array:
    indptr = np.arange(0, len(columns) + 1, active, dtype=np.int64)
    return from_arrays(indptr, columns, np.ones(len(columns), np.float32), cells)
