"""The vocabulary product of a masked language model, pooled over the tokens of each text."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import ConfigurationError, VectorError
from sparseret.kernels import _native

__all__ = ["PooledRows", "VocabularyHead"]

_LIMIT = 1e15
_MAX_WIDTH = 16384
_LARGEST = float(np.finfo(np.float32).max)


class PooledRows(NamedTuple):
    """The three arrays of a CSR matrix, a row a text."""

    indptr: NDArray[np.int64]
    """Offsets of each text, shape (n_texts + 1,)."""
    columns: NDArray[np.int32]
    """Ascending within a text, shape (nnz,)."""
    values: NDArray[np.float32]
    """Positive, shape (nnz,)."""


class VocabularyHead:
    """A decoder, ready to be applied to the states of texts and pooled over their rows.

    With the states X_i of the rows i of a text, and W_v and b_v of column v of the decoder::

        maxima:  max_i (X_i . W_v + b_v)           sums:  sum_i log(1 + max(0, X_i . W_v + b_v))

    These are the poolings of SPLADE [1]_: v1 sums, later ones take the maximum, and apply their
    activation, which grows with the logit, after it. The logits of all rows and columns are never
    held at once: a thread has those of 32 columns and one text.

    In float32, logits are dot products in the order that :func:`sparseret.kernels.reference.logits`
    gives, to the last bit, on every processor. A screen with 8-bit integers finds which columns and
    rows can matter: the others are proven not to (``kernels/src/vocabulary_screen.hpp``).

    Args:
        weight: decoder matrix, float32, shape (n_columns, width), width at most 16,384. In float32,
            a contiguous array is not copied: leave its values as they are.
        bias: float32, shape (n_columns,).
        precision: "float32", or "int8" for the logits of the rounded states and weights. That keeps
            a quarter of the memory, and is hardly faster.

    Raises:
        ConfigurationError: an unknown precision.
        VectorError: shapes that do not fit, or values that are not finite or exceed 1e15.

    References:
        .. [1] Thibault Formal, Benjamin Piwowarski, Stéphane Clinchant. SPLADE: Sparse Lexical and
           Expansion Model for First Stage Ranking. SIGIR 2021.
    """

    def __init__(
        self,
        weight: NDArray[np.float32],
        bias: NDArray[np.float32],
        precision: Literal["float32", "int8"] = "float32",
    ) -> None:
        if precision not in ("float32", "int8"):
            raise ConfigurationError(f'precision "{precision}": choose "float32" or "int8"')
        matrix, added = _floats(weight, "weight", 2), _floats(bias, "bias", 1)
        self.n_columns, self.width = matrix.shape
        if not self.n_columns or not 1 <= self.width <= _MAX_WIDTH:
            raise VectorError(f"weight: shape {matrix.shape}, its width may be 1 to {_MAX_WIDTH}")
        if added.shape != (self.n_columns,):
            raise VectorError(
                f"bias: shape {added.shape}, the decoder has {self.n_columns} columns"
            )
        self.precision = precision
        self._native = _native.VocabularyHead(matrix.reshape(-1), added, precision == "float32")

    def maxima(
        self,
        hidden: NDArray[np.float32],
        offsets: NDArray[np.int64],
        *,
        threads: int = 1,
        threshold: float = 0.0,
    ) -> PooledRows:
        """The largest logit of each column over the rows of each text, where above a threshold.

        Meaning: :func:`sparseret.kernels.reference.vocabulary_maxima`.

        Args:
            hidden: states, float32, shape (n_rows, width), without those of padding.
            offsets: the rows of text t are those from offsets[t] to offsets[t + 1], int64, shape
                (n_texts + 1,). A text without rows has no values.
            threads: columns are spread over this many threads; results do not depend on it.
            threshold: values are larger than this, which is 0 or larger.

        Raises:
            ConfigurationError: a threshold that is negative or not finite in float32.
            VectorError: shapes that do not fit, offsets that do not ascend from 0 to n_rows, or
                values that are not finite or exceed 1e15.
        """
        return self._pool(hidden, offsets, threads, threshold, log_sum=False)

    def sums(
        self,
        hidden: NDArray[np.float32],
        offsets: NDArray[np.int64],
        *,
        threads: int = 1,
        threshold: float = 0.0,
    ) -> PooledRows:
        """The sum of log(1 + max(0, logit)) of each column over the rows of each text.

        Logits are float32, the sums of their logarithms are rounded to it once. Arguments, results
        and errors are those of :meth:`maxima`.

        Meaning: :func:`sparseret.kernels.reference.vocabulary_sums`.
        """
        return self._pool(hidden, offsets, threads, threshold, log_sum=True)

    def _pool(
        self, hidden: Any, offsets: Any, threads: int, threshold: float, *, log_sum: bool
    ) -> PooledRows:
        if not 0 <= threshold <= _LARGEST:
            raise ConfigurationError(f"threshold {threshold}: must be 0 or larger, and finite")
        states = _floats(hidden, "hidden", 2)
        if states.shape[1] != self.width:
            raise VectorError(f"hidden: shape {states.shape}, the decoder's width is {self.width}")
        ends = np.ascontiguousarray(offsets, np.int64)
        if ends.ndim != 1 or not len(ends) or ends[0] or ends[-1] != len(states):
            raise VectorError(f"offsets: must go from 0 to the {len(states)} rows of hidden")
        if (np.diff(ends) < 0).any():
            raise VectorError("offsets: must ascend")
        pooled = self._native.pool(states.reshape(-1), ends, log_sum, threshold, max(1, threads))
        return PooledRows(*pooled)


def _floats(values: Any, name: str, n_dimensions: int) -> NDArray[np.float32]:
    """A contiguous float32 array, of values that the kernel takes."""
    with np.errstate(over="ignore"):  # it is found below
        array = np.ascontiguousarray(values, np.float32)
    if array.ndim != n_dimensions:
        raise VectorError(f"{name}: shape {array.shape}, expected {n_dimensions} dimensions")
    # Two passes without a copy; NaN is neither.
    if array.size and not (array.min() >= -_LIMIT and array.max() <= _LIMIT):
        raise VectorError(f"{name}: values must be finite, and at most {_LIMIT:.0e} in magnitude")
    return array
