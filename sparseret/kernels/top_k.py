"""The largest values of wide rows: exactly, or by a threshold from mean and standard deviation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import ConfigurationError, VectorError
from sparseret.kernels import _native

if TYPE_CHECKING:
    from sparseret.kernels import Rows

__all__ = ["TopK", "statistical_top_k", "top_k"]


class TopK(NamedTuple):
    """The k largest values of each row."""

    columns: NDArray[np.int32]
    """Ascending within a row, shape (n, k)."""
    values: NDArray[np.float32]
    """Parallel to ``columns``, shape (n, k)."""


def top_k(rows: NDArray[np.float32], k: int, *, threads: int = 1) -> TopK:
    """The k largest values of each row; of equal ones those in the smaller columns.

    One pass over a row and a little more: the k-th largest of the maxima of its chunks bounds what
    must be looked at (``kernels/src/largest.hpp``).

    Meaning: :func:`sparseret.kernels.reference.top_k`.

    Args:
        rows: float32, shape (n, width), no NaN.
        k: from 1 to width.
        threads: rows are spread over this many threads; results do not depend on it.

    Raises:
        ConfigurationError: k is out of its range.
        VectorError: another shape, or NaN.
    """
    array = _matrix(rows)
    width = array.shape[1]
    if isinstance(k, bool) or not 1 <= k <= width:
        raise ConfigurationError(f"k must be from 1 to the width of the rows, {width}, got {k!r}")
    columns, bad = _native.top_k(array.reshape(-1), width, k, max(1, threads))
    _refuse(bad)
    chosen = columns.reshape(len(array), k)
    return TopK(chosen, np.take_along_axis(array, chosen, axis=1))


def statistical_top_k(rows: NDArray[np.float32], k: int, *, threads: int = 1) -> Rows:
    """About k of the largest values of each row, in linear time without a sort.

    The values above ``mean + std * q`` with q the (1 - k / width) quantile of the normal
    distribution: k of them where values are normally distributed ("Spark Transformer:
    Reactivating Sparsity in FFN and Attention", 2025, statistical top-k), another number where not.

    Meaning: :func:`sparseret.kernels.reference.statistical_top_k`.

    Args:
        rows: float32, shape (n, width), finite.
        k: from 1 to width - 1.
        threads: rows are spread over this many threads; results do not depend on it.

    Raises:
        ConfigurationError: k is out of its range.
        VectorError: another shape, or values that are not finite.
    """
    from sparseret.kernels import Rows

    array = _matrix(rows)
    width = array.shape[1]
    deviations = normal_quantile(k, width)
    indptr, columns, bad = _native.above_deviations(
        array.reshape(-1), width, deviations, max(1, threads)
    )
    _refuse(bad)
    owners = np.repeat(np.arange(len(array)), np.diff(indptr))
    return Rows(indptr, columns, array[owners, columns])


def normal_quantile(k: int, width: int) -> float:
    """Standard deviations above the mean that k of ``width`` normal values exceed.

    Raises:
        ConfigurationError: k is not from 1 to width - 1.
    """
    from statistics import NormalDist

    if isinstance(k, bool) or not 1 <= k < width:
        raise ConfigurationError(f"k must be from 1 to {width - 1}, got {k!r}")
    return NormalDist().inv_cdf(1 - k / width)


def _matrix(rows: Any) -> NDArray[np.float32]:
    array = np.ascontiguousarray(rows, np.float32)
    if array.ndim != 2 or not array.shape[1]:
        raise VectorError(f"rows: shape {array.shape}, expected (n, width) with width 1 or more")
    return array


def _refuse(bad: int) -> None:
    if bad >= 0:
        raise VectorError(f"row {bad} holds values that are not numbers, or not finite")
