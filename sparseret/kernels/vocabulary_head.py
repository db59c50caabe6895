"""The vocabulary product of a masked language model, pooled over the tokens of each text.

Formulas, for the states X_i of the rows i of a text, and column v of the decoder:

    maxima: max_i (X_i . W_v + b_v)                   sums: sum_i log(1 + max(0, X_i . W_v + b_v))

which are the poolings of SPLADE v2 and later (its activation grows with the logit, so it may follow
the maximum) and of v1. The logits of all tokens and columns are never held at once.

Thibault Formal, Benjamin Piwowarski, Stéphane Clinchant. SPLADE: Sparse Lexical and Expansion Model
for First Stage Ranking. SIGIR 2021.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import ConfigurationError, VectorError

__all__ = ["PooledRows", "VocabularyHead"]

_BLOCK = 1024


class PooledRows(NamedTuple):
    """The three arrays of a CSR matrix, a row a text."""

    indptr: NDArray[np.int64]
    columns: NDArray[np.int32]
    values: NDArray[np.float32]


class VocabularyHead:
    """A decoder, ready to be applied to states and pooled.

    Args:
        weight: decoder matrix, float32, shape (n_columns, width).
        bias: float32, shape (n_columns,).
        precision: "float32", or "int8" for logits of rounded states and weights, which are faster.

    Raises:
        ConfigurationError: an unknown precision.
        VectorError: shapes that do not fit, or values that are not finite.
    """

    def __init__(
        self,
        weight: NDArray[np.float32],
        bias: NDArray[np.float32],
        precision: Literal["float32", "int8"] = "float32",
    ) -> None:
        if precision not in ("float32", "int8"):
            raise ConfigurationError(f'precision "{precision}": choose "float32" or "int8"')
        self._weight = _matrix(weight, "weight")
        self._bias = np.ascontiguousarray(bias, np.float32)
        self.n_columns, self.width = self._weight.shape
        if self._bias.shape != (self.n_columns,):
            raise VectorError(f"bias: shape {self._bias.shape}, expected ({self.n_columns},)")
        if not np.isfinite(self._bias).all():
            raise VectorError("bias: values must be finite")
        self.precision = precision

    def maxima(
        self,
        hidden: NDArray[np.float32],
        offsets: NDArray[np.int64],
        *,
        threads: int = 1,
        threshold: float = 0.0,
    ) -> PooledRows:
        """The largest logit of each column over the rows of each text, where above a threshold.

        Args:
            hidden: states, float32, shape (n_rows, width), without those of padding.
            offsets: the rows of text t are those from offsets[t] to offsets[t + 1], int64, shape
                (n_texts + 1,). A text without rows has no values.
            threads: results do not depend on it.
            threshold: values must be larger than this; at least 0.

        Raises:
            ConfigurationError: a threshold that is negative or not finite.
            VectorError: shapes that do not fit, offsets that are not ascending from 0 to n_rows, or
                values that are not finite.
        """
        return self._pool(hidden, offsets, threshold, sums=False)

    def sums(
        self,
        hidden: NDArray[np.float32],
        offsets: NDArray[np.int64],
        *,
        threads: int = 1,
        threshold: float = 0.0,
    ) -> PooledRows:
        """The sum of log(1 + max(0, logit)) of each column over the rows of each text.

        Arguments, results and errors are those of :meth:`maxima`.
        """
        return self._pool(hidden, offsets, threshold, sums=True)

    def _pool(self, hidden: Any, offsets: Any, threshold: float, *, sums: bool) -> PooledRows:
        if not 0 <= threshold < math.inf:
            raise ConfigurationError(f"threshold {threshold}: must be 0 or larger, and finite")
        states = _matrix(hidden, "hidden")
        if states.shape[1] != self.width:
            raise VectorError(f"hidden: {states.shape[1]} columns, the decoder has {self.width}")
        ends = np.ascontiguousarray(offsets, np.int64)
        if ends.ndim != 1 or not len(ends) or ends[0] or ends[-1] != len(states):
            raise VectorError(f"offsets: must go from 0 to the {len(states)} rows of hidden")
        if (np.diff(ends) < 0).any():
            raise VectorError("offsets: must ascend")
        full = np.flatnonzero(np.diff(ends))
        pooled: list[tuple[NDArray[Any], NDArray[Any], NDArray[np.float32]]] = []
        for first in range(0, self.n_columns, _BLOCK):
            block = slice(first, first + _BLOCK)
            logits = states @ self._weight[block].T + self._bias[block]
            if sums:
                logits = np.log1p(np.maximum(logits, 0))
            join = np.add if sums else np.maximum
            if not len(full):
                break
            values = join.reduceat(logits, ends[:-1][full], axis=0)
            texts, columns = np.nonzero(values > threshold)
            pooled.append((full[texts], columns + first, values[texts, columns]))
        if not pooled:
            empty = np.zeros(len(ends), np.int64)
            return PooledRows(empty, np.empty(0, np.int32), np.empty(0, np.float32))
        texts, columns, values = (np.concatenate(part) for part in zip(*pooled, strict=True))
        order = np.argsort(texts, kind="stable")
        counts = np.bincount(texts, minlength=len(ends) - 1)
        indptr = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        return PooledRows(indptr, columns[order].astype(np.int32), values[order])


def _matrix(values: Any, name: str) -> NDArray[np.float32]:
    """A contiguous float32 matrix of finite values."""
    matrix = np.ascontiguousarray(values, np.float32)
    if matrix.ndim != 2 or not matrix.shape[1]:
        raise VectorError(f"{name}: shape {matrix.shape}, expected two dimensions, none of width 0")
    if not np.isfinite(matrix).all():
        raise VectorError(f"{name}: values must be finite")
    return matrix
