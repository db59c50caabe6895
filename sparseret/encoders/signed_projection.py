"""Sparse signed codes: the strongest components of a very sparse random projection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sparseret.encoders.codecs import SavedCodec, StoredCodec
from sparseret.encoders.dense_blocks import keep_winners, transform_blocks
from sparseret.encoders.random_projection import SparseRandomProjection
from sparseret.errors import ConfigurationError
from sparseret.protocols import Vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["SignedProjection"]

_BLOCK_VALUES = 2**22


class SignedProjection(StoredCodec):
    """The ``active`` components of largest magnitude of a projection, with their signs and values.

    With y the projection of x by :class:`SparseRandomProjection`, the code keeps the y_c of largest
    magnitude; of equal ones those with the smaller c.

    Args:
        n_features: width of the dense vectors.
        dim: number of components.
        active: how many of them a code keeps.
        density: of the projection; "auto" is 1 / sqrt(n_features).
        seed: 0 to 2^64 - 1.

    Raises:
        ConfigurationError: a setting out of its range.
    """

    name = "random-projection"
    signed = True

    def __init__(
        self,
        n_features: int,
        *,
        dim: int = 4096,
        active: int = 64,
        density: float | Literal["auto"] = "auto",
        seed: int = 0,
    ) -> None:
        self._projection = SparseRandomProjection(
            dim, density=density, seed=seed, n_features=n_features
        )
        if type(active) is not int or not 1 <= active <= dim:
            raise ConfigurationError(f"active {active!r}: must lie in 1..{dim}, the dim")
        self.active = active

    @property
    def description(self) -> str:
        """Method and main parameters."""
        return f"random projection to {self.dim}, {self.active} signed components kept"

    @property
    def n_features(self) -> int:
        """Width of the vectors it takes."""
        return self._projection.n_features

    @property
    def dim(self) -> int:
        """Number of components."""
        return self._projection.n_components

    def transform(self, X: Vectors, *, show_progress: bool = False) -> csr_array:  # noqa: N803
        """Codes, float32, shape (n, dim), ``active`` values a row (none for a zero vector).

        Raises:
            VectorError: another width, values that are not finite, or above 1e20 in magnitude.
        """
        rows = max(1, _BLOCK_VALUES // max(self.dim, self.n_features))
        return transform_blocks(
            X, self._codes, self.n_features, rows=rows, show=show_progress, of_sparse=self._codes
        )

    def _codes(self, block: Vectors) -> csr_array:
        dense = self._projection.transform(block)
        return keep_winners(np.abs(dense), self.active, dense)

    @property
    def _saved(self) -> SavedCodec:
        options: dict[str, Any] = {
            "n_features": self.n_features,
            "dim": self.dim,
            "active": self.active,
            "density": self._projection.density,
            "seed": self._projection.seed,
        }
        return SavedCodec(self.name, options, {})
