"""What a codec does to dense vectors: what it loses, which latents it uses, how stable it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseret.errors import ConfigurationError, MissingExtraError, VectorError
from sparseret.protocols import Codec

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["CodeCard", "Decoder", "match_dictionaries", "probe_codes", "rate_codes"]

_DENSE = 0.1
"""Share of vectors from which on a latent counts as dense."""
_RIDGE = 1e-6


class Decoder(Codec, Protocol):
    """A codec that can be undone."""

    def inverse_transform(self, codes: csr_array) -> NDArray[np.float32]:
        """Reconstructions, float32, shape (n, n_features)."""


class CodeCard(NamedTuple):
    """A codec's figures on some vectors."""

    n: int
    """Vectors."""
    dim: int
    """Latents."""
    nnz: float
    """Mean non-zero values of a code."""
    normalized_error: float
    """Squared error of reconstructions by that of the mean vector: the share of variance
    unexplained, FVU."""
    linear_error: float
    """Part of ``normalized_error`` that a linear map of the vectors predicts ("dark matter" that is
    linear [1]_); measured on the second half with a map fitted to the first."""
    cosine: float
    """Mean cosine between vectors and reconstructions."""
    dead: float
    """Share of latents that no vector activates."""
    dense: float
    """Share of latents that more than a tenth of the vectors activate."""
    densities: NDArray[np.float64]
    """Share of the vectors that activate each latent, shape (dim,)."""

    @property
    def explained_variance(self) -> float:
        """1 - ``normalized_error``."""
        return 1 - self.normalized_error

    @property
    def nonlinear_error(self) -> float:
        """The rest of ``normalized_error``."""
        return self.normalized_error - self.linear_error


def rate_codes(codec: Decoder, X: ArrayLike) -> CodeCard:  # noqa: N803
    """Rate a codec on vectors, shape (n, n_features); better others than it was trained on.

    Raises:
        VectorError: fewer than 4 vectors, all of them the same, or not fit for the codec.

    References:
        .. [1] Joshua Engels, Logan Riggs, Max Tegmark. Decomposing the Dark Matter of Sparse
           Autoencoders. 2024.
    """
    vectors = np.asarray(X, np.float32)
    if vectors.ndim != 2 or len(vectors) < 4:
        raise VectorError(f"give at least 4 vectors, not shape {vectors.shape}")
    codes = codec.transform(vectors)
    made = codec.inverse_transform(codes).astype(np.float64)
    inputs = vectors.astype(np.float64)
    variance = float(((inputs - inputs.mean(axis=0)) ** 2).sum())
    if variance == 0:
        raise VectorError("all vectors are the same: there is no variance to explain")
    left = inputs - made
    error = float((left**2).sum()) / variance
    lengths = np.linalg.norm(inputs, axis=1) * np.linalg.norm(made, axis=1)
    cosines = (inputs * made).sum(axis=1)[lengths > 0] / lengths[lengths > 0]
    densities = np.bincount(codes.indices, minlength=codec.dim) / len(vectors)
    return CodeCard(
        n=len(vectors),
        dim=codec.dim,
        nnz=codes.nnz / len(vectors),
        normalized_error=error,
        linear_error=error * _linear_share(inputs, left),
        cosine=float(cosines.mean()) if len(cosines) else 0.0,
        dead=float((densities == 0).mean()),
        dense=float((densities > _DENSE).mean()),
        densities=densities,
    )


def match_dictionaries(one: ArrayLike, other: ArrayLike) -> float:
    """How much two dictionaries, of two seeds say, have in common: 1 if all latents.

    Mean cosine of the latents under the best one-to-one assignment.

    Args:
        one: a latent a row, shape (dim, n_features).
        other: the same shape.

    Raises:
        VectorError: shapes differ.
    """
    from scipy.optimize import linear_sum_assignment

    first, second = (np.asarray(given, np.float64) for given in (one, other))
    if first.ndim != 2 or first.shape != second.shape or not len(first):
        raise VectorError(f"dictionaries have the shapes {first.shape} and {second.shape}")
    unit = [
        rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        for rows in (first, second)
    ]
    cosines = unit[0] @ unit[1].T
    rows, columns = linear_sum_assignment(-cosines)
    return float(cosines[rows, columns].mean())


def probe_codes(
    codes: csr_array, labels: Sequence[object], *, n_latents: int = 5, seed: int = 0
) -> float:
    """Sparse probing: how well a few latents alone tell classes apart, balanced accuracy, 0 to 1.

    For each class, the latents whose mean differs most between it and the rest are taken, a
    logistic regression is fitted to them on half of the vectors, and judged on the other half;
    the mean over classes.

    Args:
        codes: shape (n, dim).
        labels: class of each, at least two classes of 4 vectors.
        n_latents: latents of each probe.
        seed: of the halves, in which classes have equal shares.

    Raises:
        ConfigurationError: too few vectors of a class, or a number that is none.
        MissingExtraError: scikit-learn is not installed.
        VectorError: there are not as many labels as codes.
    """
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import balanced_accuracy_score
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "probe", "sparse probing") from error
    classes = np.asarray(labels)
    if classes.shape != (codes.shape[0],):
        raise VectorError(f"{codes.shape[0]} codes and labels of shape {classes.shape}")
    names, counts = np.unique(classes, return_counts=True)
    if len(names) < 2 or counts.min() < 4:
        raise ConfigurationError("probing needs two classes or more, of 4 vectors or more each")
    if not 1 <= n_latents <= codes.shape[1]:
        raise ConfigurationError(f"n_latents must be from 1 to {codes.shape[1]}, got {n_latents}")
    fitted, judged = train_test_split(
        np.arange(len(classes)), test_size=0.5, random_state=seed, stratify=classes
    )
    by_column = codes.tocsc()
    accuracies = []
    for name in names:
        inside = classes == name
        differences = np.abs(
            codes[fitted[inside[fitted]]].mean(axis=0) - codes[fitted[~inside[fitted]]].mean(axis=0)
        )
        chosen = np.lexsort((np.arange(len(differences)), -differences))[:n_latents]
        features = by_column[:, chosen].toarray()
        model = LogisticRegression(class_weight="balanced", max_iter=1000)
        model.fit(features[fitted], inside[fitted])
        accuracies.append(balanced_accuracy_score(inside[judged], model.predict(features[judged])))
    return float(np.mean(accuracies))


def _linear_share(inputs: NDArray[np.float64], left: NDArray[np.float64]) -> float:
    """Share of what is left over that an affine map of the vectors predicts, 0 to 1."""
    half = len(inputs) // 2
    centre, mean = inputs[:half].mean(axis=0), left[:half].mean(axis=0)
    known, target = inputs[:half] - centre, left[:half] - mean
    gram = known.T @ known
    gram[np.diag_indices_from(gram)] += _RIDGE * max(float(np.trace(gram)) / len(gram), 1e-300)
    weights = np.linalg.solve(gram, known.T @ target)
    judged = left[half:]
    missed = judged - (inputs[half:] - centre) @ weights - mean
    total = float((judged**2).sum())
    return min(1.0, max(0.0, 1 - float((missed**2).sum()) / total)) if total else 0.0
