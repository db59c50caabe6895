r"""Concept bottleneck: codes whose columns are concepts, each with a name of its own.

A concept has a direction w_j among the dense vectors: at first the vector of its name, made by the
model that makes all others. Its scores are standardised over vectors that stand for all, and the k
largest make the code [1]_::

    s_j(x) = (w_j . x - m_j) / d_j         m_j, d_j: mean and deviation of w_j . x
    c(x)   = ReLU(TopK(s(x))), scaled to the length 1

Nothing is trained for this; :class:`sparseret.encoders.concept_training.ConceptTrainer` moves the
directions so that vectors which belong together share concepts. Without the mean, concepts that are
near everything would be in every code, and without the deviation those whose scores vary most.
The paper takes similarities as they are; and it is about images, where the concepts' names are
texts of the same model.

References:
    .. [1] Andrei Semenov, Vladimir Ivanov, Aleksandr Beznosikov, Alexander Gasnikov. Sparse Concept
       Bottleneck Models: Gumbel Tricks in Contrastive Learning. 2024, arXiv:2404.03323.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseret.encoders.codecs import SavedCodec, StoredCodec, check_dense
from sparseret.encoders.dense_blocks import keep_winners, read_blocks, transform_blocks
from sparseret.errors import ConfigurationError, VectorError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["ConceptCodec", "concept_matrix_search"]

_BLOCK_VALUES = 2**22
"""Of scores that are held at a time."""
_CONSTANT = 1e-6
"""Deviations below this share of the scores' size are rounding."""


class ConceptCodec(StoredCodec):
    """Named directions and how vectors are coded by them (:class:`sparseret.protocols.Codec`).

    :meth:`fit` standardises the scores; without it they are products with the directions, plus the
    bias.

    Args:
        directions: vectors of the names, one a row, none zero, shape (dim, n_features). They are
            scaled by :meth:`fit`, so their lengths matter only without it.
        names: of the concepts, distinct.
        k: concepts of a code, at most.
        bias: added to the scores, shape (dim,); None for zeros.

    Attributes:
        directions: float32, shape (dim, n_features).
        bias: float32, shape (dim,).
        names: of the concepts.

    Raises:
        ConfigurationError: k out of its range; names that are empty, double, or too few.
        VectorError: directions that are zero, not finite or no matrix, or a bias of another shape.
    """

    name = "concepts"
    signed = False
    """Whether codes may hold negative values."""

    def __init__(
        self,
        directions: ArrayLike,
        names: Sequence[str],
        k: int = 32,
        *,
        bias: ArrayLike | None = None,
    ) -> None:
        self.directions: NDArray[np.float32] = check_dense(directions)
        if 0 in self.directions.shape:
            raise VectorError(f"directions: shape {self.directions.shape}, not (dim, n_features)")
        self.dim, self.n_features = self.directions.shape
        self.names: tuple[str, ...] = _checked_names(names, self.dim)
        empty = ~self.directions.any(axis=1)
        if empty.any():
            concept = self.names[int(np.argmax(empty))]
            raise VectorError(f"the direction of the concept {concept!r} is zero: leave it out")
        if type(k) is not int or not 1 <= k <= self.dim:
            raise ConfigurationError(f"k must be from 1 to {self.dim}, the concepts, got {k!r}")
        self.k = k
        given = np.zeros(self.dim) if bias is None else bias
        self.bias: NDArray[np.float32] = np.ascontiguousarray(given, np.float32)
        if self.bias.shape != (self.dim,) or not np.isfinite(self.bias).all():
            raise VectorError(f"the bias must be {self.dim} finite numbers, one a concept")

    @property
    def description(self) -> str:
        """One line for people."""
        return f"concepts ({self.n_features} features to {self.dim} concepts, k={self.k})"

    def with_k(self, k: int) -> ConceptCodec:
        """The same concepts with another k. Raises ConfigurationError where it is out of range."""
        return ConceptCodec(self.directions, self.names, k, bias=self.bias)

    def fit(self, X: ArrayLike) -> ConceptCodec:  # noqa: N803
        """Standardise each concept's scores over some vectors; what comes of it does not depend on
        earlier calls.

        Zero vectors are left out: they stand for texts without words.

        Args:
            X: shape (n, n_features); memory-mapped vectors are read twice, in blocks.

        Raises:
            VectorError: another width, values that are not finite, or a concept whose scores do not
                vary, such as those of a single vector.
        """
        count, total = 0, np.zeros(self.n_features)
        for block in read_blocks(X, self.n_features):
            count += int(block.any(axis=1).sum())
            total += block.sum(axis=0, dtype=np.float64)
        if count < 2:
            raise VectorError(f"{count} vectors that are not zero are too few: give 2 or more")
        mean = total / count
        moments = np.zeros((self.n_features, self.n_features))
        largest = 0.0
        for block in read_blocks(X, self.n_features):
            some = block[block.any(axis=1)].astype(np.float64)
            largest = max(largest, float(np.abs(some).max(initial=0.0)))
            some -= mean
            moments += some.T @ some
        wide = self.directions.astype(np.float64)
        variances = np.einsum("jd,jd->j", wide @ moments, wide) / count
        deviations = np.sqrt(np.maximum(variances, 0))
        lengths = np.linalg.norm(wide, axis=1)
        constant = deviations <= _CONSTANT * lengths * largest
        if constant.any():
            concept = self.names[int(np.argmax(constant))]
            raise VectorError(
                f"the scores of the concept {concept!r} do not vary over the vectors: give more of "
                "them, or leave it out"
            )
        wide /= deviations[:, None]
        self.directions = wide.astype(np.float32)
        self.bias = (-(wide @ mean)).astype(np.float32)
        return self

    # --- codes ------------------------------------------------------------------------------

    def scores(self, X: ArrayLike) -> NDArray[np.float32]:  # noqa: N803
        """Of all concepts before any is chosen, the concept matrix: float32, shape (n, dim).

        For small n: nothing here is in blocks.

        Raises:
            VectorError: ``X`` is no (n, n_features) array of finite numbers, or scores are more
                than float32 can hold.
        """
        dense = check_dense(X, self.n_features)
        with np.errstate(over="ignore", invalid="ignore"):
            made: NDArray[np.float32] = dense @ self.directions.T
            made += self.bias
        if not np.isfinite(made).all():
            raise VectorError("scores of concepts are more than float32 holds: scale the vectors")
        return made

    def transform(self, X: ArrayLike, *, show_progress: bool = False) -> csr_array:  # noqa: N803
        """Codes, float32, shape (n, dim), at most k values a row, of length 1.

        Of equal concepts those with the smaller columns are taken. A zero vector has an empty code:
        it stands for a text without words.

        Raises:
            VectorError: as of :meth:`scores`.
        """
        rows = max(1, _BLOCK_VALUES // max(self.dim, self.n_features))
        return transform_blocks(X, self._codes, self.n_features, rows=rows, show=show_progress)

    def _codes(self, dense: NDArray[np.float32]) -> csr_array:
        scores = np.maximum(self.scores(dense), 0)
        scores[~dense.any(axis=1)] = 0
        largest = scores.max(axis=1, keepdims=True)
        scores /= np.where(largest > 0, largest, 1)  # so that squares are neither 0 nor infinite
        codes: Any = keep_winners(scores, self.k)
        lengths = np.sqrt(np.asarray(codes.multiply(codes).sum(axis=1)).ravel())
        codes.data /= np.repeat(lengths, np.diff(codes.indptr))
        made: csr_array = codes
        return made

    # --- saving -----------------------------------------------------------------------------

    @property
    def _saved(self) -> SavedCodec:
        options = {"names": list(self.names), "k": self.k}
        return SavedCodec(self.name, options, {"directions": self.directions, "bias": self.bias})


def concept_matrix_search(items: ArrayLike, classes: ArrayLike) -> NDArray[np.int64]:
    """Classify without training: the class whose row of concepts has the largest cosine.

    Concept Matrix Search of the paper above. Both matrices are scores of the same concepts
    (:meth:`ConceptCodec.scores`), of things to classify and of the names of classes.

    Args:
        items: shape (n, dim).
        classes: shape (m, dim), one or more, none zero.

    Returns:
        Number of the class of each item, shape (n,); of equally good ones the first, as for items
        whose scores are all 0.

    Raises:
        VectorError: shapes that do not fit, values that are not finite, or a class without scores.
    """
    known = check_dense(classes).astype(np.float64)
    asked = check_dense(items, known.shape[1])
    lengths = np.linalg.norm(known, axis=1, keepdims=True)
    if not len(known) or not lengths.all():
        raise VectorError("classes must be one row or more of scores that are not all 0")
    # The length of an item changes nothing in which class is nearest.
    found: NDArray[np.int64] = np.argmax(asked @ (known / lengths).T, axis=1)
    return found


def _checked_names(names: Sequence[str], dim: int) -> tuple[str, ...]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError("names must be a sequence of texts, one a concept")
    if len(names) != dim:
        raise ConfigurationError(f"{len(names)} names for {dim} directions: give one for each")
    known: set[str] = set()
    for place, name in enumerate(names):
        if not name.strip():
            raise ConfigurationError(f"name {place} is empty: leave the concept out")
        if name in known:
            raise ConfigurationError(f"the name {name!r} is there twice: leave one out")
        known.add(name)
    return tuple(names)
