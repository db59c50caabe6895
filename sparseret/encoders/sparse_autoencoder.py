r"""k-sparse autoencoders as codecs: dense vectors to the few latents that describe them.

With the dictionary of latents W_dec, one row a latent::

    z     = W_enc (x - b_pre) + b_lat
    code  = what is chosen of z: the k largest, or those above thresholds
    x_hat = code W_dec + b_pre

The kinds differ in how they are trained (:mod:`sparseret.encoders.autoencoder_recipes`), and little
in this: the original [1]_ keeps negative values ("linear"), later ones [2]_ [3]_ take
ReLU; their encoder and decoder are one matrix ("tied") or two.

References:
    .. [1] Alireza Makhzani, Brendan Frey. k-Sparse Autoencoders. 2013.
    .. [2] Leo Gao et al. Scaling and evaluating sparse autoencoders. 2024, section 2.
    .. [3] Tiansheng Wen et al. Beyond Matryoshka: Revisiting Sparse Coding for Adaptive
       Representation. 2025, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from sparseret import vectors
from sparseret.encoders.codecs import SavedCodec, StoredCodec, check_dense
from sparseret.encoders.dense_blocks import rows_of, transform_blocks
from sparseret.encoders.nonnegative_refit import refit_values
from sparseret.errors import ConfigurationError, VectorError
from sparseret.kernels import top_k
from sparseret.protocols import Vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Activation", "AutoencoderWeights", "SparseAutoencoder", "standardize"]

Activation: TypeAlias = Literal["relu", "linear"]

_BLOCK_VALUES = 2**24
"""Of affinities that are held at a time."""
_SMALL = 1e-5
"""Added to the standard deviation where vectors are normalised, as sentence-transformers does."""


@dataclass(frozen=True)
class AutoencoderWeights:
    """What a k-sparse autoencoder has learned; float32, finite.

    Raises:
        VectorError: shapes that do not fit together, or values that are not finite.
    """

    encoder: NDArray[np.float32]
    """Shape (dim, n_features)."""
    pre_bias: NDArray[np.float32]
    """Shape (n_features,)."""
    latent_bias: NDArray[np.float32]
    """Shape (dim,)."""
    decoder: NDArray[np.float32] | None = None
    """Shape (dim, n_features); None where it is the encoder ("tied")."""
    thresholds: NDArray[np.float32] | None = None
    """What a latent must exceed, shape (dim,); None where the k largest are chosen."""

    def __post_init__(self) -> None:
        if np.ndim(self.encoder) != 2 or 0 in np.shape(self.encoder):
            raise VectorError(f"encoder: shape {np.shape(self.encoder)}, not (dim, n_features)")
        dim, n_features = self.encoder.shape
        for name, shape in (
            ("encoder", (dim, n_features)),
            ("pre_bias", (n_features,)),
            ("latent_bias", (dim,)),
            ("decoder", (dim, n_features)),
            ("thresholds", (dim,)),
        ):
            given = getattr(self, name)
            if given is None and name in ("decoder", "thresholds"):
                continue
            array = np.ascontiguousarray(given, np.float32)
            if array.shape != shape:
                raise VectorError(f"{name}: shape {array.shape}, expected {shape}")
            if not np.isfinite(array).all():
                raise VectorError(f"{name}: holds values that are not finite")
            object.__setattr__(self, name, array)

    @property
    def dictionary(self) -> NDArray[np.float32]:
        """The decoder, shape (dim, n_features)."""
        return self.encoder if self.decoder is None else self.decoder

    @property
    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Those that are there, by name."""
        names = ("encoder", "pre_bias", "latent_bias", "decoder", "thresholds")
        return {name: array for name in names if (array := getattr(self, name)) is not None}


class SparseAutoencoder(StoredCodec):
    """A trained k-sparse autoencoder (:class:`sparseret.protocols.Codec`).

    ``fit`` and ``partial_fit`` are those of
    :class:`sparseret.encoders.autoencoder_training.AutoencoderTrainer`, which makes these.

    Args:
        weights: what was learned.
        k: latents that a code keeps at most; ignored where the weights have thresholds.
        activation: "relu" drops what is not positive, "linear" keeps negative values among the k
            largest.
        normalize: whether each vector is given mean 0 and standard deviation 1 first.
        refit: whether the values of the chosen latents are fitted anew, by non-negative least
            squares (:mod:`sparseret.encoders.nonnegative_refit`): better codes, and slower.

    Raises:
        ConfigurationError: an option out of its range.
    """

    name = "autoencoder"

    def __init__(
        self,
        weights: AutoencoderWeights,
        k: int,
        *,
        activation: Activation = "relu",
        normalize: bool = False,
        refit: bool = False,
    ) -> None:
        if activation not in get_args(Activation):
            raise ConfigurationError(
                f"activation {activation!r} is not one of {', '.join(get_args(Activation))}"
            )
        self.weights = weights
        self.dim, self.n_features = weights.encoder.shape
        if type(k) is not int or not 1 <= k <= self.dim:
            raise ConfigurationError(f"k must be from 1 to {self.dim}, the latents, got {k!r}")
        if normalize and self.n_features < 2:
            raise ConfigurationError("normalize=True needs vectors of 2 features or more")
        if refit and (activation == "linear" or weights.thresholds is not None):
            raise ConfigurationError("refit=True goes with the k largest and ReLU only")
        self.k = k
        self.refit = bool(refit)
        self.activation = activation
        self.normalize = bool(normalize)
        # Folded, so that a vector is read once.
        self._bias = weights.latent_bias - weights.encoder @ weights.pre_bias

    @property
    def dictionary(self) -> NDArray[np.float32]:
        """What codes are weights of, a row each, shape (dim, n_features)."""
        return self.weights.dictionary

    @property
    def signed(self) -> bool:
        """Whether codes may hold negative values."""
        return self.activation == "linear"

    @property
    def description(self) -> str:
        """One line for people."""
        chosen = f"k={self.k}" if self.weights.thresholds is None else "by thresholds"
        chosen += ", refitted" * self.refit
        return f"autoencoder ({self.n_features} features to {self.dim} latents, {chosen})"

    def with_k(self, k: int) -> SparseAutoencoder:
        """The same with another k: Makhzani and Frey take 1 to 3 times that of training (2.1)."""
        weights = replace(self.weights, thresholds=None)
        return self._with(weights, k, refit=self.refit)

    def refitted(self) -> SparseAutoencoder:
        """The same with ``refit``."""
        return self._with(self.weights, self.k, refit=True)

    def _with(self, weights: AutoencoderWeights, k: int, *, refit: bool) -> SparseAutoencoder:
        return SparseAutoencoder(
            weights, k, activation=self.activation, normalize=self.normalize, refit=refit
        )

    # --- codes ------------------------------------------------------------------------------

    def transform(self, X: Vectors, *, show_progress: bool = False) -> csr_array:  # noqa: N803
        """Codes, float32, shape (n, dim), at most k values a row unless by thresholds.

        Of equal latents those with the smaller columns are taken. A zero vector has an empty code:
        it stands for a text without words. Sparse vectors are multiplied as they
        are, unless they are normalised first; the sums of a product come in another order then.

        Raises:
            VectorError: ``X`` is no (n, n_features) array of finite numbers.
        """
        from scipy.sparse import issparse

        rows = max(1, _BLOCK_VALUES // self.dim)
        if self.normalize or not issparse(X):
            return transform_blocks(X, self._codes, self.n_features, rows=rows, show=show_progress)
        if self.refit:  # for which a block is made dense
            rows = max(1, min(rows, _BLOCK_VALUES // self.n_features))

        def of_sparse(block: csr_array) -> csr_array:
            latents = block @ self._turned
            latents += self._bias
            dense = block.toarray() if self.refit else None
            return self._choose(latents, np.diff(block.indptr) > 0, dense)

        return transform_blocks(
            X, self._codes, self.n_features, rows=rows, show=show_progress, of_sparse=of_sparse
        )

    @cached_property
    def _turned(self) -> NDArray[np.float32]:
        """The encoder as SciPy wants it, which would else copy it for each product."""
        return np.ascontiguousarray(self.weights.encoder.T)

    def affinities(self, X: NDArray[np.float32]) -> NDArray[np.float32]:  # noqa: N803
        """All latents before any is chosen, float32, shape (n, dim); for small n."""
        dense = check_dense(X, self.n_features)
        if self.normalize:
            dense = standardize(dense)
        made: NDArray[np.float32] = dense @ self.weights.encoder.T
        made += self._bias
        return made

    def _codes(self, dense: NDArray[np.float32]) -> csr_array:
        latents = self.affinities(dense)
        prepared = standardize(dense) if self.normalize else dense
        return self._choose(latents, np.any(dense, axis=1), prepared)

    def _choose(
        self,
        latents: NDArray[np.float32],
        some: NDArray[np.bool_],
        targets: NDArray[np.float32] | None,
    ) -> csr_array:
        """Codes from all latents, which may be changed.

        Args:
            latents: shape (n, dim).
            some: whether each vector is other than zero.
            targets: what values are fitted to; needed by ``refit`` alone.
        """
        if self.weights.thresholds is not None:
            latents[latents <= np.maximum(self.weights.thresholds, 0)] = 0
            latents[~some] = 0
            return vectors.check(latents)
        columns, values = top_k(latents, self.k)
        if self.refit and targets is not None:
            left = targets - self.weights.pre_bias
            values = refit_values(left, self.weights.dictionary, columns, np.maximum(values, 0))
        if self.activation == "relu":
            values = np.maximum(values, 0)
        values[~some] = 0
        return rows_of(columns, values, self.dim)

    def inverse_transform(self, codes: csr_array) -> NDArray[np.float32]:
        """Reconstructions, float32, shape (n, n_features).

        Where vectors are normalised, it is the normalised one that is reconstructed: mean and
        length are not in the code.

        Raises:
            VectorError: codes of another width.
        """
        checked = vectors.check(codes, dim=self.dim)
        made: NDArray[np.float32] = checked @ self.weights.dictionary
        made += self.weights.pre_bias
        return made

    def project(self, X: Vectors, k: int) -> csr_array:  # noqa: N803
        """The k largest positive products with the directions of latents, shape (n, dim).

        For queries: the product of all of them with a code is, up to what is the same for all
        codes, the product of the vector with the reconstruction of that code. So this ranks as the
        vectors themselves do where reconstructions are good; the code of a query ranks by which
        latents both have. Not for normalised vectors, whose codes do not reconstruct them.

        Raises:
            ConfigurationError: k is out of its range, or vectors are normalised.
            VectorError: as of :meth:`transform`.
        """
        return self.directions(k).transform(X)

    def directions(self, k: int) -> SparseAutoencoder:
        """What :meth:`project` does, as a codec; errors as there."""
        if self.normalize:
            raise ConfigurationError("codes of normalised vectors do not reconstruct the vectors")
        directions = AutoencoderWeights(
            self.weights.dictionary,
            np.zeros(self.n_features, np.float32),
            np.zeros(self.dim, np.float32),
        )
        return SparseAutoencoder(directions, k)

    # --- saving -----------------------------------------------------------------------------

    @property
    def _saved(self) -> SavedCodec:
        options = {
            "k": self.k, "activation": self.activation, "normalize": self.normalize,
            "refit": self.refit,
        }  # fmt: skip
        return SavedCodec(self.name, options, dict(self.weights.arrays))

    @classmethod
    def from_saved(cls, saved: SavedCodec) -> SparseAutoencoder:
        """Undo :meth:`save`."""
        return cls(AutoencoderWeights(**saved.arrays), **saved.options)


def standardize(dense: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each vector with mean 0 and standard deviation 1; the same shape."""
    centred = dense - dense.mean(axis=1, keepdims=True)
    made: NDArray[np.float32] = centred / (centred.std(axis=1, ddof=1, keepdims=True) + _SMALL)
    return made
