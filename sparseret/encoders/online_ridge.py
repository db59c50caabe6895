"""Ridge regression on sparse codes, exact after every update.

With all rows X and targets Y seen so far, the weights minimise ``|Y - X W|^2 + alpha |W|^2``::

    W = (A + alpha I)^-1 B        A = X'X,  B = X'Y

A and B are sums over rows, so rows may come one by one and in any order, and a row with c values
changes c^2 numbers of A and c rows of B. That is what keeps a model of sparse codes exact over a
stream, without a replay of old data [1]_. (Algorithm 2 of the paper also updates W, only where a
row is active, which approaches the minimum; here W is solved for when it is asked for.)

References:
    .. [1] Zichen Liu, Chao Du, Wee Sun Lee, Min Lin. Locality sensitive sparse encoding for
       learning world models online. ICLR 2024.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseret import vectors
from sparseret.errors import ConfigurationError, VectorError

__all__ = ["OnlineRidge"]

_ROWS = 256
"""Rows that are added at a time: their active columns are few."""


class OnlineRidge:
    """Linear regression from sparse codes to one or more numbers, updated in place.

    Memory is 8 bytes times the square of the number of columns that were ever active; columns that
    never were have zero weights and cost nothing.

    Args:
        n_features: width of the codes.
        n_outputs: numbers to predict.
        alpha: strength of the penalty, above 0.

    Raises:
        ConfigurationError: a setting out of its range.
    """

    def __init__(self, n_features: int, n_outputs: int = 1, *, alpha: float = 1.0) -> None:
        for name, value in (("n_features", n_features), ("n_outputs", n_outputs)):
            if type(value) is not int or not 1 <= value <= vectors.MAX_DIM:
                raise ConfigurationError(f"{name} {value!r}: must be a whole number from 1")
        if not 0 < alpha < math.inf:
            raise ConfigurationError(f"alpha {alpha!r}: must be above 0, and finite")
        self.n_features = n_features
        self.n_outputs = n_outputs
        self.alpha = float(alpha)
        self.n_seen = 0
        """Rows added so far."""
        self._place = np.full(n_features, -1, np.int32)  # of each column in what follows
        self._n_active = 0
        self._gram = np.zeros((0, 0))
        self._moment = np.zeros((0, n_outputs))
        self._solved: NDArray[np.float64] | None = None

    def partial_fit(self, X: Any, Y: ArrayLike) -> OnlineRidge:  # noqa: N803
        """Add rows and their targets; nothing is added if an error is raised.

        Args:
            X: sparse codes, shape (n, n_features).
            Y: targets, shape (n, n_outputs), or (n,) for one output.

        Raises:
            VectorError: shapes that do not fit, or values that are not finite.
        """
        rows: Any = vectors.check(X, dim=self.n_features)
        targets = np.asarray(Y)
        if targets.ndim == 1 and self.n_outputs == 1:
            targets = targets[:, None]
        if targets.shape != (rows.shape[0], self.n_outputs) or targets.dtype.kind not in "fiub":
            raise VectorError(
                f"targets must be numbers of shape ({rows.shape[0]}, {self.n_outputs}), got "
                f"{targets.dtype} of shape {targets.shape}"
            )
        targets = targets.astype(np.float64)
        if not np.isfinite(targets).all():
            raise VectorError("targets must be finite: remove the rows with NaN or infinity")
        self._make_room(np.unique(rows.indices))
        for first in range(0, len(targets), _ROWS):
            self._add(rows[first : first + _ROWS], targets[first : first + _ROWS])
        self.n_seen += len(targets)
        self._solved = None
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Predictions, float64, shape (n, n_outputs).

        The first call after an update solves for the weights, in a time of the third power of the
        number of active columns.

        Raises:
            VectorError: codes of another width.
        """
        rows: Any = vectors.check(X, dim=self.n_features)
        weights = np.concatenate([self._weights, np.zeros((1, self.n_outputs))])  # -1: none
        predicted = np.zeros((rows.shape[0], self.n_outputs))
        row_of = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
        np.add.at(predicted, row_of, rows.data[:, None] * weights[self._place[rows.indices]])
        return predicted

    def coefficients(self) -> NDArray[np.float64]:
        """W, float64, shape (n_features, n_outputs)."""
        whole = np.zeros((self.n_features, self.n_outputs))
        active = self._place >= 0
        whole[active] = self._weights[self._place[active]]
        return whole

    def _make_room(self, columns: NDArray[np.int32]) -> None:
        new = columns[self._place[columns] < 0]
        needed = self._n_active + len(new)
        if needed > len(self._gram):
            # Twice as much, so that columns which come one by one are not copied each time.
            room = min(self.n_features, max(needed, 2 * len(self._gram)))
            gram, moment = np.zeros((room, room)), np.zeros((room, self.n_outputs))
            used = self._n_active
            gram[:used, :used] = self._gram[:used, :used]
            moment[:used] = self._moment[:used]
            self._gram, self._moment = gram, moment
        self._place[new] = np.arange(self._n_active, needed, dtype=np.int32)
        self._n_active = needed

    def _add(self, rows: Any, targets: NDArray[np.float64]) -> None:
        columns, at = np.unique(rows.indices, return_inverse=True)
        dense = np.zeros((len(targets), len(columns)))
        dense[np.repeat(np.arange(len(targets)), np.diff(rows.indptr)), at] = rows.data
        place = self._place[columns]
        self._gram[np.ix_(place, place)] += dense.T @ dense
        self._moment[place] += dense.T @ targets

    @property
    def _weights(self) -> NDArray[np.float64]:
        """W of the active columns, in the order of their places."""
        from scipy.linalg import cho_factor, cho_solve

        if self._solved is None:
            used = self._n_active
            damped = self._gram[:used, :used] + self.alpha * np.eye(used)
            self._solved = (
                cho_solve(cho_factor(damped, overwrite_a=True), self._moment[:used])
                if used
                else np.zeros((0, self.n_outputs))
            )
        return self._solved
