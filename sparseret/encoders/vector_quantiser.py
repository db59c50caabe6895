r"""Vector quantisation: numbers of the nearest entries of codebooks, as terms of an index.

With m codebooks of n entries each, a code has dim = m n columns, and entry i of codebook c is
column ``c n + i``. What a codebook quantises is

- a slice of the vector (*product* quantisation [1]_), or
- what the codebooks before it have left, x minus their nearest entries (*residual* [2]_).

A code holds 1 for the nearest entry of each codebook, so that the score of two codes is the number
of entries they share. Vectors near a border between entries are torn apart by this; with several
assignments a code holds the next entries too, with the weight of a kernel [3]_ ::

    w_i = exp(-(e_i - e_1) / (2 s^2))    e_i: squared distance to the i-th nearest entry

where s^2 is the mean squared distance of training vectors to their nearest entry.

References:
    .. [1] Hervé Jégou, Matthijs Douze, Cordelia Schmid. Product Quantization for Nearest Neighbor
       Search. TPAMI 2011.
    .. [2] Yongjian Chen, Tao Guan, Cheng Wang. Approximate Nearest Neighbor Search by Residual
       Vector Quantization. Sensors 2010.
    .. [3] Jan van Gemert et al. Visual Word Ambiguity. TPAMI 2010, codeword uncertainty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseret import vectors
from sparseret.encoders.codecs import SavedCodec, StoredCodec
from sparseret.encoders.dense_blocks import rows_of, transform_blocks
from sparseret.encoders.options import whole_number
from sparseret.errors import ConfigurationError, VectorError
from sparseret.protocols import Vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Quantisation", "VectorQuantiser", "slices_of"]

Quantisation: TypeAlias = Literal["product", "residual"]

_BLOCK_VALUES = 2**22
"""Of distances that are held at a time."""


class VectorQuantiser(StoredCodec):
    """Codebooks (:class:`sparseret.protocols.Codec`).

    ``fit`` and ``partial_fit`` are those of
    :class:`sparseret.encoders.quantiser_training.QuantiserTrainer`, which makes these.

    Args:
        entries: float32. Residual: shape (m, n, n_features). Product: shape (m, n, width), where
            ``m width`` is n_features or above it by less than m; slices are as even as they can be,
            the longer ones first, and what an entry has beyond its slice is 0.
        spreads: s^2 of each codebook, not negative, shape (m,).
        n_features: width of the vectors.
        kind: "product" or "residual".
        assignments: entries of a codebook that a code holds, from 1 to n.

    Raises:
        ConfigurationError: an option out of its range.
        VectorError: arrays that do not fit together, or are not finite.
    """

    name = "vq"
    signed = False
    """Whether codes may hold negative values."""

    def __init__(
        self,
        entries: ArrayLike,
        spreads: ArrayLike,
        *,
        n_features: int,
        kind: Quantisation = "product",
        assignments: int = 1,
    ) -> None:
        if kind not in get_args(Quantisation):
            raise ConfigurationError(
                f"kind {kind!r} is not one of {', '.join(get_args(Quantisation))}"
            )
        self.entries: NDArray[np.float32] = np.ascontiguousarray(entries, np.float32)
        self.spreads: NDArray[np.float32] = np.ascontiguousarray(spreads, np.float32)
        if self.entries.ndim != 3 or 0 in self.entries.shape:
            raise VectorError(f"entries: shape {self.entries.shape}, not (m, n, width)")
        m, n, width = self.entries.shape
        whole_number("n_features", n_features, 1)
        expected = n_features if kind == "residual" else -(-n_features // m)
        if width != expected or (kind == "product" and m > n_features):
            raise VectorError(
                f"entries: shape {self.entries.shape} does not fit {kind} quantisation of "
                f"{n_features} features"
            )
        if self.spreads.shape != (m,) or not (self.spreads >= 0).all():
            raise VectorError(f"spreads must be {m} numbers that are not negative")
        if not (np.isfinite(self.entries).all() and np.isfinite(self.spreads).all()):
            raise VectorError("entries or spreads hold values that are not finite")
        if type(assignments) is not int or not 1 <= assignments <= n:
            raise ConfigurationError(
                f"assignments must be from 1 to {n}, the entries, got {assignments!r}"
            )
        self.n_features = n_features
        self.kind: Quantisation = kind
        self.assignments = assignments
        self.dim = m * n

    @property
    def description(self) -> str:
        """One line for people."""
        m, n, _ = self.entries.shape
        several = f", {self.assignments} nearest" if self.assignments > 1 else ""
        return f"vq ({self.n_features} features to {m} x {n} entries, {self.kind}{several})"

    def with_assignments(self, assignments: int) -> VectorQuantiser:
        """The same codebooks with another number of assignments."""
        return VectorQuantiser(
            self.entries, self.spreads, n_features=self.n_features, kind=self.kind,
            assignments=assignments,
        )  # fmt: skip

    # --- codes ------------------------------------------------------------------------------

    def transform(self, X: Vectors, *, show_progress: bool = False) -> csr_array:  # noqa: N803
        """Codes, float32, shape (n, dim); of entries at equal distance the first is taken.

        A zero vector has an empty code: it stands for a text without words.

        Raises:
            VectorError: ``X`` is no (n, n_features) array of finite numbers.
        """
        return transform_blocks(X, self._codes, self.n_features, show=show_progress)

    def _codes(self, dense: NDArray[np.float32]) -> csr_array:
        m, n, _ = self.entries.shape
        columns = np.zeros((len(dense), m, self.assignments), np.int64)
        weights = np.zeros(columns.shape)
        rows = max(1, _BLOCK_VALUES // n)
        for begin in range(0, len(dense), rows):
            block = slice(begin, begin + rows)
            left = dense[block].copy()
            for c, place in enumerate(slices_of(self.n_features, m, self.kind)):
                book = self.entries[c][:, : place.stop - place.start]
                distances = _squared_distances(left[:, place], book)
                near = _nearest(distances, self.assignments)
                gaps = np.take_along_axis(distances, near, axis=1)
                gaps -= gaps[:, :1]
                columns[block, c] = near + c * n
                weights[block, c] = _kernel(gaps, float(self.spreads[c]))
                if self.kind == "residual":
                    left -= book[near[:, 0]]
        weights[~dense.any(axis=1)] = 0
        shape = (len(dense), m * self.assignments)
        return rows_of(columns.reshape(shape), weights.reshape(shape), self.dim)

    def inverse_transform(self, codes: csr_array) -> NDArray[np.float32]:
        """Reconstructions, float32, shape (n, n_features): of each codebook the mean of entries by
        their weights. Raises VectorError for codes of another width."""
        checked: Any = vectors.check(codes, dim=self.dim)
        m, n, _ = self.entries.shape
        made = np.zeros((checked.shape[0], self.n_features), np.float32)
        for c, place in enumerate(slices_of(self.n_features, m, self.kind)):
            part = checked[:, c * n : (c + 1) * n]
            total = np.asarray(part.sum(axis=1)).ravel()[:, None]
            summed = part @ self.entries[c][:, : place.stop - place.start]
            made[:, place] += summed / np.where(total > 0, total, 1)
        return made

    # --- saving -----------------------------------------------------------------------------

    @property
    def _saved(self) -> SavedCodec:
        options = {
            "n_features": self.n_features,
            "kind": self.kind,
            "assignments": self.assignments,
        }
        return SavedCodec(self.name, options, {"entries": self.entries, "spreads": self.spreads})


def slices_of(n_features: int, m: int, kind: Quantisation) -> list[slice]:
    """What each of m codebooks quantises."""
    if kind == "residual":
        return [slice(0, n_features)] * m
    size, longer = divmod(n_features, m)
    ends = [size * (c + 1) + min(c + 1, longer) for c in range(m)]
    return [slice(begin, end) for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


def _squared_distances(rows: NDArray[Any], entries: NDArray[Any]) -> NDArray[np.float64]:
    """Of each row to each entry, float64, shape (len(rows), len(entries))."""
    x, y = np.asarray(rows, np.float64), np.asarray(entries, np.float64)
    made: NDArray[np.float64] = x @ y.T
    made *= -2
    made += np.einsum("ij,ij->i", x, x)[:, None] + np.einsum("ij,ij->i", y, y)
    return np.maximum(made, 0, out=made)


def _nearest(distances: NDArray[np.float64], r: int) -> NDArray[np.int64]:
    near: NDArray[np.int64] = np.argmin(distances, axis=1)[:, None]
    if r > 1:
        near = np.argsort(distances, axis=1, kind="stable")[:, :r]
    return near


def _kernel(gaps: NDArray[np.float64], spread: float) -> NDArray[np.float64]:
    weights: NDArray[np.float64] = np.exp(-gaps / (2 * spread)) if spread else 1.0 * (gaps == 0)
    return weights  # without spread, the limit: equal distances share, others have nothing
