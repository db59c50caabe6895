"""Losse: locality-sensitive sparse encoding, where few known cells hold a dense vector.

Random directions are grouped, each group spans a grid, and a vector stands between the grid's
nodes [1]_. With the standardised vector x and D directions a group::

    h = B * sigmoid(P x)                      one number of 0 to B for each direction
    a node (n_1, ..., n_D) of a group's grid has the value  prod_i max(0, 1 - |h_i - n_i|)

so 2^D nodes of each group are not zero, known without looking at the others, and their values sum
to 1. Vectors that are near share them, and the code changes continuously (for D = 2 it is bilinear
interpolation). A linear model of the codes is a smooth non-linear model of the vectors, and can be
fitted exactly as data come in (:class:`sparseret.encoders.online_ridge.OnlineRidge`).

References:
    .. [1] Zichen Liu, Chao Du, Wee Sun Lee, Min Lin. Locality sensitive sparse encoding for
       learning world models online. ICLR 2024. P is drawn as in the authors' code: from a normal
       distribution of variance 1 / n_features, cut at two standard deviations.
"""

from __future__ import annotations

import copy
import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparseret import vectors
from sparseret.encoders.codecs import SavedCodec, StoredCodec
from sparseret.encoders.dense_blocks import read_blocks, rows_of, transform_blocks
from sparseret.encoders.options import whole_number
from sparseret.encoders.running_moments import RunningMoments
from sparseret.errors import ConfigurationError, VectorError
from sparseret.protocols import Vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Losse"]

_BLOCK_VALUES = 2**20


class Losse(StoredCodec):
    """Codes of ``groups * 2**directions`` values among ``groups * (bins + 1)**directions`` cells.

    Args:
        n_features: width of the dense vectors.
        groups: number of grids.
        bins: B, intervals along each side of a grid.
        directions: D, sides of a grid.
        seed: of the random directions, a whole number from 0.

    Raises:
        ConfigurationError: a setting out of its range, or more than 2^31 cells.
    """

    name = "losse"
    signed = False

    def __init__(
        self,
        n_features: int,
        *,
        groups: int = 50,
        bins: int = 8,
        directions: int = 2,
        seed: int = 0,
    ) -> None:
        for name, value, least in (
            ("n_features", n_features, 1),
            ("groups", groups, 1),
            ("bins", bins, 1),
            ("directions", directions, 1),
            ("seed", seed, 0),
        ):
            whole_number(name, value, least)
        if directions > 16 or groups * (bins + 1) ** directions > vectors.MAX_DIM:
            raise ConfigurationError(
                f"{groups} grids with {bins + 1} nodes along {directions} sides are more than 2^31 "
                "cells: take fewer directions, bins or groups"
            )
        self.n_features = n_features
        self.groups = groups
        self.bins = bins
        self.directions = directions
        self.seed = seed
        self._projection = _draw(n_features, groups * directions, seed)
        self._mean = np.zeros(n_features)
        self._deviation = np.ones(n_features)
        self._moments: RunningMoments | None = RunningMoments(n_features)

    @property
    def description(self) -> str:
        """Method and main parameters."""
        return f"Losse, {self.groups} grids of {self.bins} bins along {self.directions} directions"

    @property
    def dim(self) -> int:
        """Number of cells."""
        return self.groups * int((self.bins + 1) ** self.directions)

    def fit(self, X: Vectors) -> Losse:  # noqa: N803
        """Learn the mean and the deviation of each feature, by which vectors are standardised.

        Without it vectors are taken as they are. A feature that does not vary is only centred.

        Args:
            X: shape (n, n_features); memory-mapped vectors are read in blocks.

        Raises:
            VectorError: no vectors, another width, or values that are not finite.
        """
        return self._learn(RunningMoments(self.n_features), X)

    def partial_fit(self, X: Vectors) -> Losse:  # noqa: N803
        """Learn from some more vectors; arguments and errors are those of :meth:`fit`.

        The same vectors in parts give what :meth:`fit` gives, but for rounding.

        Raises:
            ConfigurationError: the codec was fitted, saved and loaded.
        """
        if self._moments is None:
            raise ConfigurationError(
                "a saved codec does not keep how many vectors it has seen: call fit(X)"
            )
        return self._learn(copy.deepcopy(self._moments), X)

    def _learn(self, moments: RunningMoments, vectors: Vectors) -> Losse:
        """What was learned before stays where the vectors are refused."""
        for block in read_blocks(vectors, self.n_features):
            moments.add(block)
        if not moments.count:
            raise VectorError("there must be at least one vector to learn from")
        deviation = np.sqrt(moments.squares / moments.count)
        # What is left of a constant feature is rounding, and must not be blown up.
        constant = deviation <= 1e-6 * np.abs(moments.mean)
        self._moments, self._mean = moments, moments.mean.copy()
        self._deviation = np.where(constant | (deviation == 0), 1.0, deviation)
        return self

    def transform(self, X: Vectors, *, show_progress: bool = False) -> csr_array:  # noqa: N803
        """Codes, float32, shape (n, dim); the values of a row sum to ``groups``.

        Raises:
            VectorError: another width, or values that are not finite.
        """
        rows = max(1, _BLOCK_VALUES // (self.n_features + self.groups * 2**self.directions))
        return transform_blocks(X, self._codes, self.n_features, rows=rows, show=show_progress)

    def _codes(self, block: NDArray[np.float32]) -> csr_array:
        # Without BLAS, so that sums do not depend on the size of the block or on threads.
        projected = np.einsum(
            "nd,dk->nk", (block - self._mean) / self._deviation, self._projection, optimize=False
        )
        height = self.bins * 0.5 * (1 + np.tanh(0.5 * projected))  # sigmoid, without overflow
        height = height.reshape(len(block), self.groups, self.directions)
        lower = np.minimum(np.floor(height), self.bins - 1)
        offset = height - lower
        side = self.bins + 1
        strides = side ** np.arange(self.directions - 1, -1, -1)
        first = lower.astype(np.int64) @ strides + np.arange(self.groups) * side**self.directions
        columns, values = [], []
        for corner in itertools.product((0, 1), repeat=self.directions):  # ascending columns
            columns.append(first + int(np.dot(corner, strides)))
            values.append(np.where(np.array(corner) == 1, offset, 1 - offset).prod(axis=2))
        shape = len(block), self.groups * 2**self.directions
        cells = np.stack(columns, axis=2).reshape(shape)
        weights = np.stack(values, axis=2).reshape(shape).astype(np.float32)
        return rows_of(cells, weights, self.dim)

    @classmethod
    def from_saved(cls, saved: SavedCodec) -> Losse:
        """The inverse of :meth:`save`."""
        made = cls(**saved.options)
        made._projection, made._mean, made._deviation = (
            saved.arrays[name] for name in ("projection", "mean", "deviation")
        )
        if made._mean.any() or (made._deviation != 1).any():
            made._moments = None
        return made

    @property
    def _saved(self) -> SavedCodec:
        names = ("n_features", "groups", "bins", "directions", "seed")
        options: dict[str, Any] = {name: getattr(self, name) for name in names}
        # The directions are kept, too: another version of NumPy may draw others.
        arrays = {
            "projection": self._projection,
            "mean": self._mean,
            "deviation": self._deviation,
        }
        return SavedCodec(self.name, options, arrays)


def _draw(n_features: int, n_directions: int, seed: int) -> NDArray[np.float64]:
    """Random directions, float64, shape (n_features, n_directions)."""
    generator = np.random.default_rng(seed)
    drawn = generator.standard_normal(n_features * n_directions)
    while (outside := np.flatnonzero(np.abs(drawn) > 2)).size:
        drawn[outside] = generator.standard_normal(len(outside))
    return drawn.reshape(n_features, n_directions) / math.sqrt(n_features)
