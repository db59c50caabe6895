"""Sparse signed codes: the strongest components of a very sparse random projection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from sparseret import vectors
from sparseret.encoders.codecs import SavedCodec, write_codec
from sparseret.encoders.random_projection import SparseRandomProjection, read_blocks
from sparseret.encoders.row_ops import stack_rows
from sparseret.encoders.winners import keep_winners
from sparseret.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from scipy.sparse import csr_array

__all__ = ["SignedProjection"]

_NAME = "random-projection"
_BLOCK_VALUES = 2**22


class SignedProjection:
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
    def name(self) -> str:
        """In the registry of codecs."""
        return _NAME

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

    @property
    def signed(self) -> bool:
        """Codes have negative values."""
        return True

    @property
    def space(self) -> str:
        """Stable id: the settings make the projection."""
        return self._saved.space

    def transform(self, X: ArrayLike, *, show_progress: bool = False) -> csr_array:  # noqa: N803
        """Codes, float32, shape (n, dim), ``active`` values a row (none for a zero vector).

        Raises:
            VectorError: another width, values that are not finite, or above 1e20 in magnitude.
        """
        size = max(1, _BLOCK_VALUES // max(self.dim, self.n_features))
        codes = []
        for block in read_blocks(X, self.n_features, rows=size, show_progress=show_progress):
            dense = self._projection.transform(block)
            codes.append(keep_winners(np.abs(dense), self.active, dense))
        return vectors.from_arrays(*stack_rows(codes), self.dim)

    def save(self, path: str | Path) -> None:
        """Write the settings to a folder; there is nothing else to keep."""
        write_codec(path, self._saved)

    @classmethod
    def from_saved(cls, saved: SavedCodec) -> SignedProjection:
        """The inverse of :meth:`save`."""
        try:
            return cls(**saved.options)
        except TypeError as error:
            raise ConfigurationError(f"{_NAME}: {error}") from error

    @property
    def _saved(self) -> SavedCodec:
        options: dict[str, Any] = {
            "n_features": self.n_features,
            "dim": self.dim,
            "active": self.active,
            "density": self._projection.density,
            "seed": self._projection.seed,
        }
        return SavedCodec(_NAME, options, {})
