r"""Codes over a fixed dictionary: the few atoms, one row each, that make up a dense vector.

    x is about  z D,   z has at most k values that are not zero

Which atoms and weights these are is found for each vector anew by a pursuit
(:mod:`sparseret.encoders.pursuits`): slower than the one product of an autoencoder, and the
reference that one is held against. The dictionary may be anyone's, such as the decoder of an
autoencoder, or learned (:mod:`sparseret.encoders.dictionary_training`).

References:
    S. G. Mallat, Z. Zhang. Matching Pursuits with Time-Frequency Dictionaries. IEEE Transactions on
    Signal Processing, 1993.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseret import vectors
from sparseret.encoders.codecs import SavedCodec, StoredCodec, check_dense
from sparseret.encoders.dense_blocks import rows_of, transform_blocks
from sparseret.encoders.pursuits import PursuitMethod, pursue
from sparseret.errors import ConfigurationError, VectorError
from sparseret.protocols import Vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Dictionary", "check_pursuit"]


class Dictionary(StoredCodec):
    """A dictionary and how vectors are coded by it (:class:`sparseret.protocols.Codec`).

    ``fit`` and ``partial_fit`` are those of
    :class:`sparseret.encoders.dictionary_training.DictionaryTrainer`, which makes these.

    Args:
        atoms: one a row, float32, shape (dim, n_features); none of them zero.
        k: atoms of a code, at most.
        method: "omp" (orthogonal matching pursuit) or "gradient-pursuit".
        nonnegative: whether weights must not be negative; "omp" is then non-negative least squares
            by active sets, stopped at k atoms.

    Raises:
        ConfigurationError: an option out of its range.
        VectorError: atoms that are zero, not finite or no matrix.
    """

    name = "dictionary"

    def __init__(
        self,
        atoms: ArrayLike,
        k: int,
        *,
        method: PursuitMethod = "omp",
        nonnegative: bool = False,
    ) -> None:
        self.atoms: NDArray[np.float32] = check_dense(atoms)
        if 0 in self.atoms.shape:
            raise VectorError(f"atoms: shape {self.atoms.shape}, not (dim, n_features)")
        empty = ~self.atoms.any(axis=1)
        if empty.any():
            raise VectorError(f"atom {int(np.argmax(empty))} is zero: leave it out")
        self.dim, self.n_features = self.atoms.shape
        check_pursuit(k, self.dim, method)
        self.k = k
        self.method = method
        self.nonnegative = bool(nonnegative)

    @property
    def dictionary(self) -> NDArray[np.float32]:
        """What codes are weights of, a row each, shape (dim, n_features)."""
        return self.atoms

    @property
    def signed(self) -> bool:
        """Whether codes may hold negative values."""
        return not self.nonnegative

    @property
    def description(self) -> str:
        """One line for people."""
        sign = ", non-negative" if self.nonnegative else ""
        return (
            f"dictionary ({self.n_features} features to {self.dim} atoms, k={self.k}, "
            f"{self.method}{sign})"
        )

    # --- codes ------------------------------------------------------------------------------

    def transform(self, X: Vectors, *, show_progress: bool = False) -> csr_array:  # noqa: N803
        """Codes, float32, shape (n, dim), at most k values a row; none for a zero vector.

        Raises:
            VectorError: ``X`` is no (n, n_features) array of finite numbers, or has weights that
                float32 cannot hold.
        """
        return transform_blocks(X, self._codes, self.n_features, show=show_progress)

    def _codes(self, dense: NDArray[np.float32]) -> csr_array:
        found = pursue(dense, self.atoms, self.k, method=self.method, nonnegative=self.nonnegative)
        return rows_of(found.columns, found.values, self.dim)

    def inverse_transform(self, codes: csr_array) -> NDArray[np.float32]:
        """Reconstructions, float32, shape (n, n_features).

        Raises:
            VectorError: codes of another width.
        """
        made: NDArray[np.float32] = vectors.check(codes, dim=self.dim) @ self.atoms
        return made

    # --- saving -----------------------------------------------------------------------------

    @property
    def _saved(self) -> SavedCodec:
        options = {"k": self.k, "method": self.method, "nonnegative": self.nonnegative}
        return SavedCodec(self.name, options, {"atoms": self.atoms})


def check_pursuit(k: object, dim: int, method: object) -> None:
    """Refuse what :func:`sparseret.encoders.pursuits.pursue` cannot do with ``dim`` atoms.

    Raises:
        ConfigurationError: k or method out of its range.
    """
    if type(k) is not int or not 1 <= k <= dim:
        raise ConfigurationError(f"k must be from 1 to {dim}, the atoms, got {k!r}")
    if method not in get_args(PursuitMethod):
        raise ConfigurationError(
            f"method {method!r} is not one of {', '.join(get_args(PursuitMethod))}"
        )
