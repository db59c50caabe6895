"""What a codec does to dense vectors: what it loses, which latents it uses, how stable it is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseret.encoders.dense_blocks import read_blocks
from sparseret.encoders.running_moments import RunningMoments
from sparseret.errors import ConfigurationError, MissingExtraError, VectorError
from sparseret.protocols import Codec, Vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = [
    "CodeCard",
    "Decoder",
    "dictionary_of",
    "match_dictionaries",
    "probe_codes",
    "rate_codes",
]

_DENSE = 0.1
"""Share of vectors from which on a latent counts as dense."""
_RIDGE = 1e-6
_MOST_MAPPED = 4096
"""Features of which a linear map of the errors is fitted: it takes their square."""


@runtime_checkable
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
    normalized_error: float | None
    """Squared error of reconstructions by that of the mean vector: the share of variance
    unexplained, FVU; None where the codec reconstructs nothing, as of the next two."""
    linear_error: float | None
    """Part of ``normalized_error`` that a linear map of the vectors predicts ("dark matter" that is
    linear [1]_); measured on the second half with a map fitted to the first. None, too, for more
    than 4096 features."""
    cosine: float | None
    """Mean cosine between vectors and reconstructions."""
    dead: float
    """Share of latents that no vector activates."""
    dense: float
    """Share of latents that more than a tenth of the vectors activate."""
    densities: NDArray[np.float64]
    """Share of the vectors that activate each latent, shape (dim,)."""

    @property
    def explained_variance(self) -> float | None:
        """1 - ``normalized_error``."""
        return None if self.normalized_error is None else 1 - self.normalized_error

    @property
    def nonlinear_error(self) -> float | None:
        """The rest of ``normalized_error``."""
        if self.normalized_error is None or self.linear_error is None:
            return None
        return self.normalized_error - self.linear_error


def rate_codes(codec: Codec, X: Vectors) -> CodeCard:  # noqa: N803
    """Rate a codec on vectors, shape (n, n_features); better others than it was trained on.

    Memory-mapped and sparse vectors are read in blocks.

    Raises:
        VectorError: fewer than 4 vectors, not fit for the codec, or all of them the same where it
            reconstructs them.

    References:
        .. [1] Joshua Engels, Logan Riggs, Max Tegmark. Decomposing the Dark Matter of Sparse
           Autoencoders. 2024.
    """
    source: Any = X if hasattr(X, "shape") else np.asarray(X)
    if len(source.shape) != 2 or source.shape[0] < 4:
        raise VectorError(f"give at least 4 vectors, not shape {source.shape}")
    n = source.shape[0]
    codes = codec.transform(source)
    lost = _rate_reconstructions(codec, source, codes) if isinstance(codec, Decoder) else None
    densities = np.bincount(codes.indices, minlength=codec.dim) / n
    return CodeCard(
        n=n,
        dim=codec.dim,
        nnz=codes.nnz / n,
        normalized_error=None if lost is None else lost.error,
        linear_error=None if lost is None else lost.linear,
        cosine=None if lost is None else lost.cosine,
        dead=float((densities == 0).mean()),
        dense=float((densities > _DENSE).mean()),
        densities=densities,
    )


@runtime_checkable
class _HasDictionary(Protocol):
    @property
    def dictionary(self) -> NDArray[np.float32]: ...


def dictionary_of(codec: Codec) -> NDArray[np.float32]:
    """What a codec's codes are weights of, a latent a row, shape (dim, n_features).

    Raises:
        ConfigurationError: the codec has no dictionary.
    """
    if not isinstance(codec, _HasDictionary):
        raise ConfigurationError(f"the codec {codec.name} has no dictionary to be compared")
    return codec.dictionary


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


class _Lost(NamedTuple):
    error: float
    linear: float | None
    cosine: float


def _rate_reconstructions(codec: Decoder, source: Any, codes: csr_array) -> _Lost:
    """Errors as shares of the variance. The first half comes first, for the map of the rest."""
    n, width = source.shape
    moments = RunningMoments(width)
    squares, cosines, pairs = 0.0, 0.0, 0
    predicted = _LinearMap(width) if width <= _MOST_MAPPED else None
    for begin, end in ((0, n // 2), (n // 2, n)):
        for block in read_blocks(source[begin:end], width):
            made = codec.inverse_transform(codes[begin : begin + len(block)]).astype(np.float64)
            inputs = block.astype(np.float64)
            begin += len(block)
            left = inputs - made
            moments.add(inputs)
            squares += float((left**2).sum())
            lengths = np.linalg.norm(inputs, axis=1) * np.linalg.norm(made, axis=1)
            known = lengths > 0
            cosines += float(((inputs * made).sum(axis=1)[known] / lengths[known]).sum())
            pairs += int(known.sum())
            if predicted is None:
                continue
            if end < n:
                predicted.learn(inputs, left)
            else:
                predicted.judge(inputs, left)
    variance = float(moments.squares.sum())
    if variance == 0:
        raise VectorError("all vectors are the same: there is no variance to explain")
    error = squares / variance
    linear = None if predicted is None else error * predicted.share
    return _Lost(error, linear, cosines / pairs if pairs else 0.0)


class _LinearMap:
    """An affine map of vectors to what is left of them, learned from some, judged on others."""

    def __init__(self, width: int) -> None:
        self._gram = np.zeros((width, width))
        self._targets = np.zeros((width, width))
        self._inputs = np.zeros(width)
        self._left = np.zeros(width)
        self._shift = np.zeros(width)
        self._n = 0
        self._missed = 0.0
        self._total = 0.0

    def learn(self, inputs: NDArray[np.float64], left: NDArray[np.float64]) -> None:
        if not self._n:  # else a large mean would leave few digits to the deviations
            self._shift = inputs.mean(axis=0)
        known = inputs - self._shift
        self._gram += known.T @ known
        self._targets += known.T @ left
        self._inputs += known.sum(axis=0)
        self._left += left.sum(axis=0)
        self._n += len(inputs)

    def judge(self, inputs: NDArray[np.float64], left: NDArray[np.float64]) -> None:
        centred = inputs - self._shift - self._inputs / self._n
        missed = left - centred @ self._weights - self._left / self._n
        self._missed += float((missed**2).sum())
        self._total += float((left**2).sum())

    @cached_property
    def _weights(self) -> NDArray[np.float64]:
        mean = self._inputs / self._n
        gram = self._gram - self._n * np.outer(mean, mean)
        targets = self._targets - np.outer(mean, self._left)
        ridge = _RIDGE * max(float(np.trace(gram)) / len(gram), 1e-300)
        gram[np.diag_indices_from(gram)] += ridge
        solved: NDArray[np.float64] = np.linalg.solve(gram, targets).astype(np.float64)
        return solved

    @property
    def share(self) -> float:
        """Of the squares judged, the share that the map predicts, 0 to 1."""
        if not self._total:
            return 0.0
        return min(1.0, max(0.0, 1 - self._missed / self._total))
