"""Weights as whole numbers of few bits, as engines that store term frequencies want them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import ConfigurationError

__all__ = ["check_impacts", "quantise"]


def check_impacts(bits: int | None, top: float) -> None:
    """Raise ConfigurationError unless ``bits`` is None or 1 to 16, and ``top`` above 0."""
    if bits is not None and (not isinstance(bits, int) or not 1 <= bits <= 16):
        raise ConfigurationError(f"impacts must be a number of bits, 1 to 16, got {bits!r}")
    if not isinstance(top, (int, float)) or not 0 < top < math.inf:
        raise ConfigurationError(f"impact_range must be a number above 0, got {top!r}")


def quantise(weights: NDArray[np.float32], bits: int, top: float) -> NDArray[np.float32]:
    """``min(round(w / top · 2^bits), 2^bits - 1)``: whole numbers as float32, shape of ``weights``.

    Weights of ``top`` and more become the largest number; those under half a step become 0. With
    8 bits and 5 as ``top`` this is the scale of Pyserini's uniCOIL encoder, which alone does not
    cut what lies above.
    """
    steps = 2**bits
    whole = np.rint(weights.astype(np.float64) / top * steps)
    least: NDArray[np.float32] = np.minimum(whole, steps - 1).astype(np.float32)
    return least
