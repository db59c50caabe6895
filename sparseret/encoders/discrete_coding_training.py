r"""Training of binary and ternary sparse coding: EM with truncated posteriors.

With means <.> under the truncated posteriors q_n of :mod:`sparseret.encoders.discrete_coding`, a
step sets::

    W = (sum_n <s s'>)^-1 sum_n <s>' y_n
    sigma^2 = 1 / (N n_features) * sum_n <||y_n - s W||^2>
    pi = 1 / (N dim) * sum_n <number of active causes>

These maximise the free energy, sum_n log sum_{s kept} p(s, y_n), for fixed sets of states [2]_. A
new preselection replaces the old one of a vector only where its sum is larger, so that the free
energy never decreases. The original [1]_ leaves out vectors that more than gamma causes seem to
have made, and corrects pi for them; here all are used, and gamma must be large enough.

More vectors are learned from by stepwise EM [3]_: with the mean s of these sums over the vectors of
a batch, and S that of what came before, batch number t::

    S <- (1 - g) S + g s,   g = (t + 1)^-0.7,   parameters from S as above

References:
    .. [1] Jörg Lücke, Julian Eggert. Expectation Truncation and the Benefits of Preselection in
       Training Generative Models. JMLR 2010.
    .. [2] Jörg Lücke. Truncated Variational Expectation Maximization. 2016.
    .. [3] Olivier Cappé, Eric Moulines. On-line expectation-maximization algorithm for latent data
       models. Journal of the Royal Statistical Society B, 2009, section 2.2.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.encoders.autoencoder_batches import read_arrays, read_rows
from sparseret.encoders.dense_blocks import read_blocks
from sparseret.encoders.discrete_coding import (
    Causes,
    CauseStates,
    DiscreteSparseCoding,
    Truncated,
    Truncation,
    infer,
    preselect,
    rows_at_a_time,
)
from sparseret.encoders.options import whole_number
from sparseret.errors import ConfigurationError, VectorError
from sparseret.progress import progress_bar
from sparseret.protocols import Vectors

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["DiscreteCodingTrainer"]

_Floats = NDArray[np.float64]

_RIDGE = 1e-9
"""Of the number of vectors: keeps causes that are never active where they are."""
_GAIN = 1e-6
"""Of the free energy: a run ends with a step that gains less."""
_STEP = 0.7
"""Of stepwise EM: the power of 1 / (t + 1), above a half and at most 1."""
_FIRST = 16
"""Batches that the first call of :meth:`DiscreteCodingTrainer.partial_fit` fits a model to."""
_LEAST_SIGMA = 1e-4
"""Of the standard deviation of the data: sigma of noiseless data would go to zero."""


class DiscreteCodingTrainer:
    """Learns causes, noise and sparsity
    (:class:`sparseret.encoders.discrete_coding.DiscreteSparseCoding`).

    For small problems: time is in proportion to vectors, states kept, and preselected squared.

    Args:
        dim: causes.
        preselected: H', causes of which states are looked at; at most dim.
        active: gamma, how many of them may be active at once; more than vectors are made of.
        states: "binary" (0 and 1) or "ternary" (-1, 0 and 1).
        iterations: steps of a run at most; it ends where one gains less than a millionth.
        restarts: runs from other first causes, of which the one with the most free energy is kept:
            many runs end at a local optimum, in which two causes share one row of W.
        batch_size: vectors of a step of :meth:`partial_fit`.
        seed: of the first causes; the same seed gives the same model.

    Raises:
        ConfigurationError: an option out of its range.
    """

    def __init__(
        self,
        dim: int,
        *,
        preselected: int,
        active: int,
        states: CauseStates = "binary",
        iterations: int = 100,
        restarts: int = 10,
        batch_size: int = 256,
        seed: int = 0,
    ) -> None:
        self.truncation = Truncation(preselected, active, states)
        if type(dim) is not int or dim < preselected:
            raise ConfigurationError(
                f"dim must be a whole number from {preselected}, preselected, got {dim!r}"
            )
        for name, value, least in (
            ("iterations", iterations, 1), ("restarts", restarts, 1),
            ("batch_size", batch_size, 2), ("seed", seed, 0),
        ):  # fmt: skip
            whole_number(name, value, least)
        self.dim = dim
        self.iterations = iterations
        self.restarts = restarts
        self.batch_size = batch_size
        self.seed = seed
        self.history: list[float] = []
        """Free energy of a vector before each step of the run that :meth:`fit` kept: it never
        decreases."""
        self._state: _State | None = None

    def fit(self, X: Vectors, *, show_progress: bool = False) -> Self:  # noqa: N803
        """Learn anew from vectors in memory, shape (n, n_features).

        Raises:
            VectorError: not finite, of another shape, fewer than 2, or all alike.
        """
        source, _ = read_arrays(X)
        data = read_rows(source, np.arange(source.shape[0])).astype(np.float64)
        if len(data) < 2 or not (deviation := float(data.std(axis=0).max())):
            raise VectorError(f"{len(data)} vectors without variation: there is nothing to learn")
        rng = np.random.default_rng(self.seed)
        self.history = []
        with progress_bar("Learning", self.restarts, show=show_progress) as advance:
            for _ in range(self.restarts):
                state, history = self._run(data, rng, _LEAST_SIGMA * deviation)
                if not self.history or history[-1] > self.history[-1]:
                    self._state, self.history = state, history
                advance(1)
        return self

    def partial_fit(self, X: Vectors) -> Self:  # noqa: N803
        """Learn from some more vectors, once and in their order; a mapped array is read in blocks.

        The first vectors of the first call, at most 16 batches of them, are those of a :meth:`fit`.

        Raises:
            VectorError: as of :meth:`fit`, or of another width than before.
        """
        source, _ = read_arrays(X)
        state = self._state
        if state is None:
            most = _FIRST * self.batch_size
            self.fit(source[:most])
            return self.partial_fit(source[most:]) if source.shape[0] > most else self
        width = state.causes.weights.shape[1]
        if source.shape[1] != width:
            raise VectorError(f"vectors have {source.shape[1]} features, and those before {width}")
        for block in read_blocks(source, width, rows=self.batch_size):
            if len(block):
                state = self._step(state, block.astype(np.float64))
        self._state = state
        return self

    @property
    def codec(self) -> DiscreteSparseCoding:
        """What was learned. Raises ConfigurationError where nothing was."""
        if self._state is None:
            raise ConfigurationError("the model has learned nothing: call fit(X) first")
        causes = self._state.causes
        return DiscreteSparseCoding(
            causes.weights,
            sigma=causes.sigma,
            pi=causes.pi,
            preselected=self.truncation.preselected,
            active=self.truncation.active,
            states=self.truncation.states,
        )

    def _run(
        self, data: _Floats, rng: np.random.Generator, least_sigma: float
    ) -> tuple[_State, list[float]]:
        """What was learned, and the free energy of a vector before each step that led to them."""
        causes = _first(data, self.dim, self.truncation, rng)
        selected = preselect(data, causes, self.truncation)
        history: list[float] = []
        sums = _Sums(self.dim, data.shape[1])
        for _ in range(self.iterations):
            sums = _Sums(self.dim, data.shape[1])
            selected = self._expect(data, selected, causes, sums)
            causes = sums.maximise(causes, least_sigma)
            history.append(sums.evidence / len(data))
            if len(history) > 1 and history[-1] - history[-2] < _GAIN * abs(history[-1]):
                break
        batches = -(-len(data) // self.batch_size)
        return _State(causes, sums, least_sigma, batches), history

    def _step(self, state: _State, batch: _Floats) -> _State:
        """Stepwise EM: of what came before, sums fade."""
        sums = _Sums(self.dim, batch.shape[1])
        self._expect(batch, preselect(batch, state.causes, self.truncation), state.causes, sums)
        share = (state.batches + 1) ** -_STEP
        mixed = state.sums.mixed(sums, share)
        causes = mixed.maximise(state.causes, state.least_sigma)
        return _State(causes, mixed, state.least_sigma, state.batches + 1)

    def _expect(
        self,
        data: _Floats,
        selected: NDArray[np.int64],
        causes: Causes,
        sums: _Sums,
    ) -> NDArray[np.int64]:
        """Add up posteriors; returns the preselection that they are of."""
        chosen = selected.copy()
        table = self.truncation.table
        step = rows_at_a_time(data.shape[1], self.truncation)
        for begin in range(0, len(data), step):
            block = slice(begin, begin + step)
            y = data[block]
            found = infer(y, selected[block], causes, self.truncation)
            other = preselect(y, causes, self.truncation)
            rows = np.flatnonzero((other != selected[block]).any(axis=1))
            if len(rows):
                new = infer(y[rows], other[rows], causes, self.truncation)
                better = new.evidence > found.evidence[rows]
                for kept, fresh in zip(found, new, strict=True):
                    kept[rows[better]] = fresh[better]
            chosen[block] = found.selected
            sums.add(y, found, table)
        return chosen


class _Sums:
    """Expectations over vectors, and the parameters that they lead to."""

    def __init__(self, dim: int, n_features: int) -> None:
        self.n = 0
        self.evidence = 0.0
        self.active = 0.0
        self.squares = 0.0
        self.moments = np.zeros((dim, dim))
        self.targets = np.zeros((dim, n_features))

    def add(self, y: _Floats, found: Truncated, table: _Floats) -> None:
        pairs = (table[:, :, None] * table[:, None, :]).reshape(len(table), -1)
        selected, dim = found.selected, len(self.moments)
        self.n += len(y)
        self.evidence += float(found.evidence.sum())
        self.active += float((found.posterior @ np.abs(table).sum(axis=1)).sum())
        self.squares += float(np.sum(y**2))
        means = np.zeros((len(y), dim))
        np.put_along_axis(means, selected, found.posterior @ table, axis=1)
        self.targets += means.T @ y
        at = selected[:, :, None] * dim + selected[:, None, :]
        added = np.bincount(at.ravel(), (found.posterior @ pairs).ravel(), minlength=dim * dim)
        self.moments += added.reshape(dim, dim)

    def mixed(self, other: _Sums, share: float) -> _Sums:
        """Means over vectors, as sums over one: those of ``other`` count ``share``."""
        made = _Sums(*self.targets.shape)
        made.n = 1
        for sums, part in ((self, (1 - share) / self.n), (other, share / other.n)):
            made.evidence += part * sums.evidence
            made.active += part * sums.active
            made.squares += part * sums.squares
            made.moments += part * sums.moments
            made.targets += part * sums.targets
        return made

    def maximise(self, causes: Causes, least_sigma: float) -> Causes:
        ridge = _RIDGE * self.n
        system = self.moments + ridge * np.eye(len(self.moments))
        solved = np.linalg.solve(system, self.targets + ridge * causes.weights)
        weights: _Floats = solved.astype(np.float64)
        error = self.squares - 2 * np.sum(weights * self.targets)
        error += np.sum(weights * (self.moments @ weights))
        sigma = math.sqrt(max(error, 0.0) / (self.n * weights.shape[1]))
        pi = self.active / (self.n * len(weights))
        return Causes(weights, max(sigma, least_sigma), min(max(pi, 1e-9), 1 - 1e-9))


class _State(NamedTuple):
    """What was learned, and what more vectors are added to."""

    causes: Causes
    sums: _Sums
    least_sigma: float
    batches: int
    """So far."""


def _first(data: _Floats, dim: int, truncation: Truncation, rng: np.random.Generator) -> Causes:
    """Causes near the mean for binary states, near zero for ternary; the noise takes the rest."""
    deviations = data.std(axis=0)
    weights = rng.standard_normal((dim, data.shape[1])) * deviations
    if truncation.states == "binary":
        weights += data.mean(axis=0)
    sigma = math.sqrt(float(np.mean(deviations**2)))
    return Causes(weights, sigma, min(0.5, truncation.active / (2 * dim)))
