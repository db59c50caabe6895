"""Sparse-expansion hashing: similar vectors share winners among many sums of a few features.

The circuit by which the fly tells odours apart [1]_: a vector x with d features is centred, spread
over m >> d units that each add up a random tenth of the features, and of the excited units
the k strongest win::

    y_u = sum of (x_i - mean(x)) over the features i that unit u samples
    code = the k largest y above 0, as ones or as they are, with length 1

The sampling matrix is sparse and binary, so the expansion is cheap, and m does not lengthen the
hash: only winners are stored and matched, in an inverted index.

References:
    .. [1] Sanjoy Dasgupta, Charles Stevens, Saket Navlakha. A neural algorithm for a fundamental
       computing problem. Science 358 (2017).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from sparseret.encoders.codecs import SavedCodec, StoredCodec
from sparseret.encoders.dense_blocks import keep_winners, transform_blocks
from sparseret.encoders.options import whole_number
from sparseret.encoders.random_projection import project_dense
from sparseret.errors import ConfigurationError
from sparseret.kernels import RandomMatrix
from sparseret.protocols import Vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["ExpansionHashing"]

_EXPANSION = 20
_BLOCK_VALUES = 2**22


class ExpansionHashing(StoredCodec):
    """Codes of k winners among m units that sample the features at random.

    Nothing is learned or stored: the samples are made from the seed as they are needed.

    Args:
        n_features: d, width of the dense vectors.
        dim: m, number of units; None for 20 a feature; the fly has 40.
        winners: k, units that stay active.
        sampling: probability that a unit samples a feature, above 0 to 1; a tenth in the fly.
        values: "binary" for ones, or "sums" for the winners' y, scaled to a vector of length 1.
        seed: 0 to 2^64 - 1.

    Raises:
        ConfigurationError: a setting out of its range.
    """

    name = "expansion-hashing"
    signed = False

    def __init__(
        self,
        n_features: int,
        *,
        dim: int | None = None,
        winners: int = 32,
        sampling: float = 0.1,
        values: Literal["binary", "sums"] = "binary",
        seed: int = 0,
    ) -> None:
        whole_number("n_features", n_features, 2)
        units = _EXPANSION * n_features if dim is None else dim
        self._matrix = RandomMatrix(units, sampling, seed, signed=False)
        self._matrix.check()
        if type(winners) is not int or not 1 <= winners < units:
            raise ConfigurationError(f"winners {winners!r}: must lie in 1..{units - 1}")
        if values not in ("binary", "sums"):
            raise ConfigurationError(f'values {values!r}: choose "binary" or "sums"')
        self.n_features = n_features
        self.winners = winners
        self.values = values

    @property
    def description(self) -> str:
        """Method and main parameters."""
        return f"sparse expansion to {self.dim}, {self.winners} winners, {self.values}"

    @property
    def dim(self) -> int:
        """Number of units."""
        return self._matrix.n_components

    def transform(self, X: Vectors, *, show_progress: bool = False) -> csr_array:  # noqa: N803
        """Codes, float32, shape (n, dim), ``winners`` values a row; fewer if fewer are above 0.

        A vector whose features are all equal excites nothing, and its code is empty. Of equal sums
        those of the smaller units win.

        Raises:
            VectorError: another width, values that are not finite, or above 1e20 in magnitude.
        """
        rows = max(1, _BLOCK_VALUES // self.dim)
        return transform_blocks(X, self._codes, self.n_features, rows=rows, show=show_progress)

    def _codes(self, block: NDArray[np.float32]) -> csr_array:
        mean = block.mean(axis=1, dtype=np.float64, keepdims=True)
        sums = project_dense((block - mean).astype(np.float32), self._matrix)
        sums[(block == block[:, :1]).all(axis=1)] = 0  # and not the mean's rounding
        codes = keep_winners(np.maximum(sums, 0), self.winners)
        if self.values == "binary":
            codes.data[:] = 1
            return codes
        row_of = np.repeat(np.arange(len(block)), np.diff(codes.indptr))
        squares = np.bincount(row_of, np.square(codes.data.astype(np.float64)))
        codes.data = (codes.data / np.sqrt(squares)[row_of]).astype(np.float32)
        return codes

    @property
    def _saved(self) -> SavedCodec:
        options: dict[str, Any] = {
            "n_features": self.n_features,
            "dim": self.dim,
            "winners": self.winners,
            "sampling": self._matrix.density,
            "values": self.values,
            "seed": self._matrix.seed,
        }
        return SavedCodec(self.name, options, {})
