r"""Binary and ternary sparse coding: vectors as sums of few causes that are there or not.

A vector y is a sum of causes, rows w_h of W, and noise::

    y = s W + e,   e from N(0, sigma^2 I),   each s_h is 0 with probability 1 - pi,
        binary [2]_: else 1;   ternary [3]_: else 1 or -1, equally likely

The posterior over s is a sum over 2^dim (3^dim) states. Expectation truncation [1]_ keeps those
that matter: the H' causes that fit y best are preselected, by ``<y, w_h> / ||w_h||`` (its absolute
value, where ternary), and of their states those with at most gamma causes active are kept::

    q(s) = p(s, y) / sum of p(s', y) over the states kept

A code is the most probable of them, or the mean of s under q. With H' = gamma = dim it is exact.

References:
    .. [1] Jörg Lücke, Julian Eggert. Expectation Truncation and the Benefits of Preselection in
       Training Generative Models. JMLR 2010.
    .. [2] Marc Henniges, Gervasio Puertas, Jörg Bornschein, Julian Eggert, Jörg Lücke. Binary
       Sparse Coding. LVA/ICA 2010.
    .. [3] Georgios Exarchakis, Marc Henniges, Julian Eggert, Jörg Lücke. Ternary Sparse Coding.
       LVA/ICA 2012.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseret import vectors
from sparseret.encoders.codecs import SavedCodec, StoredCodec, check_dense
from sparseret.encoders.dense_blocks import rows_of, transform_blocks
from sparseret.encoders.options import whole_number
from sparseret.errors import ConfigurationError, VectorError
from sparseret.protocols import Vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["CauseStates", "Causes", "DiscreteSparseCoding", "Estimate", "Truncated", "Truncation"]

CauseStates: TypeAlias = Literal["binary", "ternary"]
Estimate: TypeAlias = Literal["map", "mean"]

_Floats: TypeAlias = NDArray[np.float64]

_MOST_STATES = 2**16
_BLOCK_VALUES = 2**22
"""Of posteriors, and of preselected causes, that are held at a time."""
_LEAST_MEAN = 1e-3
"""A mean nearer to zero is left out of a code."""


@dataclass(frozen=True)
class Truncation:
    """Which states are kept.

    Raises:
        ConfigurationError: an option out of its range.
    """

    preselected: int
    """H', the causes whose states are looked at."""
    active: int
    """gamma, how many of them may be active at once."""
    states: CauseStates = "binary"

    def __post_init__(self) -> None:
        if self.states not in get_args(CauseStates):
            raise ConfigurationError(
                f"states {self.states!r} is not one of {', '.join(get_args(CauseStates))}"
            )
        for name in ("preselected", "active"):
            whole_number(name, getattr(self, name), 1)
        if self.active > self.preselected:
            raise ConfigurationError(
                f"active must be at most preselected, {self.preselected}, got {self.active}"
            )
        signs = 1 if self.states == "binary" else 2
        n = sum(math.comb(self.preselected, a) * signs**a for a in range(self.active + 1))
        if n > _MOST_STATES:
            raise ConfigurationError(
                f"preselected={self.preselected} and active={self.active} make {n} states, above "
                f"{_MOST_STATES}: lower one of them"
            )

    @property
    def table(self) -> _Floats:
        """The states, shape (n_states, preselected), first that without an active cause."""
        return _states(self)


class Causes(NamedTuple):
    """What a model has learned."""

    weights: _Floats
    """W, one row a cause, shape (dim, n_features)."""
    sigma: float
    """Standard deviation of the noise, above 0."""
    pi: float
    """Probability of a cause to be active, between 0 and 1."""


class Truncated(NamedTuple):
    """Posteriors over the states kept, one row a vector."""

    selected: NDArray[np.int64]
    """Numbers of the preselected causes, ascending, shape (n, preselected)."""
    posterior: _Floats
    """Probability of each state, shape (n, n_states)."""
    evidence: _Floats
    """log of the sum of p(s, y) over the states kept, shape (n,): at most log p(y)."""


def preselect(vectors: _Floats, causes: Causes, truncation: Truncation) -> NDArray[np.int64]:
    """Causes that fit each vector best, ascending, shape (n, preselected)."""
    lengths = np.linalg.norm(causes.weights, axis=1)
    fits = vectors @ (causes.weights / np.where(lengths > 0, lengths, 1)[:, None]).T
    if truncation.states == "ternary":
        np.abs(fits, out=fits)
    order = np.argsort(-fits, axis=1, kind="stable")[:, : truncation.preselected]
    return np.sort(order, axis=1)


def infer(
    vectors: _Floats,
    selected: NDArray[np.int64],
    causes: Causes,
    truncation: Truncation,
) -> Truncated:
    """Posteriors of vectors, whose states are those of selected causes.

    Args:
        vectors: shape (n, n_features).
        selected: shape (n, preselected).
        causes: the model.
        truncation: which states are kept.
    """
    table = truncation.table
    support = causes.weights[selected]
    gram = support @ support.transpose(0, 2, 1)
    fits = (support @ vectors[:, :, None])[:, :, 0]
    pairs = (table[:, :, None] * table[:, None, :]).reshape(len(table), -1)
    variance = causes.sigma**2
    logs = fits @ table.T - gram.reshape(len(vectors), -1) @ pairs.T / 2
    logs /= variance
    signs = 1 if truncation.states == "binary" else 2
    logs += np.abs(table).sum(axis=1) * math.log(causes.pi / signs / (1 - causes.pi))
    evidence = _log_sum(logs)
    posterior = np.exp(logs - evidence[:, None])
    dim, n_features = causes.weights.shape
    evidence += dim * math.log1p(-causes.pi) - n_features * math.log(2 * math.pi * variance) / 2
    evidence -= np.sum(vectors**2, axis=1) / (2 * variance)
    return Truncated(selected, posterior, evidence)


def rows_at_a_time(n_features: int, truncation: Truncation) -> int:
    """How many vectors :func:`infer` may take without holding too much."""
    width = max(len(truncation.table), truncation.preselected * n_features)
    return max(1, _BLOCK_VALUES // width)


class DiscreteSparseCoding(StoredCodec):
    """A model of causes, as a codec (:class:`sparseret.protocols.Codec`).

    ``fit`` and ``partial_fit`` are those of
    :class:`sparseret.encoders.discrete_coding_training.DiscreteCodingTrainer`, which makes these.

    Args:
        weights: the causes, one a row, shape (dim, n_features).
        sigma: standard deviation of the noise.
        pi: probability of a cause to be active.
        preselected: causes whose states are looked at; at most dim.
        active: how many of them may be active at once.
        states: "binary" (0 and 1) or "ternary" (-1, 0 and 1).
        estimate: "map" for the most probable state, "mean" for the mean of each cause.

    Raises:
        ConfigurationError: an option out of its range.
        VectorError: weights that are not finite, or no matrix.
    """

    name = "discrete-sparse-coding"

    def __init__(
        self,
        weights: ArrayLike,
        *,
        sigma: float,
        pi: float,
        preselected: int,
        active: int,
        states: CauseStates = "binary",
        estimate: Estimate = "map",
    ) -> None:
        self.weights: NDArray[np.float32] = check_dense(weights)
        if 0 in self.weights.shape:
            raise VectorError(f"weights: shape {self.weights.shape}, not (dim, n_features)")
        self.dim, self.n_features = self.weights.shape
        self.truncation = Truncation(preselected, active, states)
        if preselected > self.dim:
            raise ConfigurationError(
                f"preselected must be at most {self.dim}, the causes, got {preselected}"
            )
        if estimate not in get_args(Estimate):
            raise ConfigurationError(
                f"estimate {estimate!r} is not one of {', '.join(get_args(Estimate))}"
            )
        if not (0 < sigma < math.inf and 0 < pi < 1):
            raise ConfigurationError(
                f"sigma must be above 0 and pi between 0 and 1, got {sigma!r} and {pi!r}"
            )
        self.sigma, self.pi = float(sigma), float(pi)
        self.estimate = estimate
        self._causes = Causes(self.weights.astype(np.float64), self.sigma, self.pi)

    @property
    def dictionary(self) -> NDArray[np.float32]:
        """What codes are weights of, a row each, shape (dim, n_features)."""
        return self.weights

    @property
    def signed(self) -> bool:
        """Whether codes may hold negative values."""
        return self.truncation.states == "ternary"

    @property
    def description(self) -> str:
        """One line for people."""
        kept = f"{self.truncation.active} of {self.truncation.preselected} active"
        return (
            f"{self.truncation.states} sparse coding ({self.n_features} features to {self.dim} "
            f"causes, {kept}, {self.estimate})"
        )

    def transform(self, X: Vectors, *, show_progress: bool = False) -> csr_array:  # noqa: N803
        """Codes, float32, shape (n, dim); none for a zero vector.

        Raises:
            VectorError: ``X`` is no (n, n_features) array of finite numbers.
        """
        return transform_blocks(X, self._codes, self.n_features, show=show_progress)

    def _codes(self, dense: NDArray[np.float32]) -> csr_array:
        table = self.truncation.table
        width = self.truncation.preselected
        columns = np.zeros((len(dense), width), np.int64)
        values = np.zeros((len(dense), width))
        step = rows_at_a_time(self.n_features, self.truncation)
        for begin in range(0, len(dense), step):
            block = slice(begin, begin + step)
            found = self._infer(dense[block])
            columns[block] = found.selected
            if self.estimate == "map":
                values[block] = table[np.argmax(found.posterior, axis=1)]
            else:
                values[block] = found.posterior @ table
        values[np.abs(values) < _LEAST_MEAN] = 0
        values[~dense.any(axis=1)] = 0
        return rows_of(columns, values, self.dim)

    def log_likelihood(self, X: ArrayLike) -> float:  # noqa: N803
        """Mean over vectors of the log of p(y) over the states kept: a bound from below on that of
        all states, and it where none is left out. For ``X`` in memory.

        Raises:
            VectorError: no vectors, or as for :meth:`transform`.
        """
        dense = check_dense(X, self.n_features)
        if not len(dense):
            raise VectorError("the mean over no vectors is not defined: give 1 or more")
        step = rows_at_a_time(self.n_features, self.truncation)
        blocks = (dense[begin : begin + step] for begin in range(0, len(dense), step))
        return float(np.concatenate([self._infer(b).evidence for b in blocks]).mean())

    def _infer(self, dense: NDArray[np.float32]) -> Truncated:
        wide = dense.astype(np.float64)
        selected = preselect(wide, self._causes, self.truncation)
        return infer(wide, selected, self._causes, self.truncation)

    def inverse_transform(self, codes: csr_array) -> NDArray[np.float32]:
        """Sums of causes, float32, shape (n, n_features). Raises VectorError for another width."""
        made: NDArray[np.float32] = vectors.check(codes, dim=self.dim) @ self.weights
        return made

    # --- saving -----------------------------------------------------------------------------

    @property
    def _saved(self) -> SavedCodec:
        options = {
            "sigma": self.sigma,
            "pi": self.pi,
            "preselected": self.truncation.preselected,
            "active": self.truncation.active,
            "states": self.truncation.states,
            "estimate": self.estimate,
        }
        return SavedCodec(self.name, options, {"weights": self.weights})


@lru_cache(maxsize=16)
def _states(truncation: Truncation) -> _Floats:
    values = (1,) if truncation.states == "binary" else (1, -1)
    rows = [np.zeros(truncation.preselected)]
    for active in range(1, truncation.active + 1):
        for places in combinations(range(truncation.preselected), active):
            for chosen in product(values, repeat=active):
                rows.append(np.zeros(truncation.preselected))
                rows[-1][list(places)] = chosen
    table = np.array(rows)
    table.flags.writeable = False
    return table


def _log_sum(logs: _Floats) -> _Floats:
    largest = logs.max(axis=1)
    total: _Floats = largest + np.log(np.exp(logs - largest[:, None]).sum(axis=1))
    return total
