"""The random matrix of :mod:`sparseret.kernels.random_projection` and its products, in NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparseret.kernels.random_projection import RandomMatrix

__all__ = ["entries", "random_projection"]

_DIGITS = 32
_PANEL = 256
_STEP = np.uint64(0x9E3779B97F4A7C15)


def entries(features: NDArray[np.int32], matrix: RandomMatrix) -> NDArray[np.int8]:
    """Rows of the matrix, int8 of -1, 0 and 1, shape (len(features), n_components).

    Word (feature, m, t) is ``mix(mix(seed) + step * place)`` modulo 2^64, where the binary digits
    of ``place`` are those of the feature (31 bits), of the mask m (26) and of t (6). Bit i of the
    words t = 0 to 31 are the binary digits, highest first, of a number U. The entry that the bit
    belongs to is not zero where U < density * 2^32, and negative where bit i of word 32 is set.

    Four masks make a panel of 256 components: bit i of mask m belongs to component
    ``256 * (m // 4) + 16 * (i % 32 // 2) + 4 * (m % 4) + 2 * (i % 2) + i // 32``.
    """
    n_panels = -(-matrix.n_components // _PANEL)
    place = features.astype(np.uint64)[:, None, None] << np.uint64(32)
    place = place | np.arange(4 * n_panels, dtype=np.uint64)[:, None] << np.uint64(6)
    place = place | np.arange(_DIGITS + 1, dtype=np.uint64)
    words = _mix(_mix(np.full(1, matrix.seed, np.uint64)) + _STEP * place)
    bits = words[..., None] >> np.arange(64, dtype=np.uint64) & np.uint64(1)
    weights = np.uint64(1) << np.arange(_DIGITS - 1, -1, -1, dtype=np.uint64)
    drawn = (bits[:, :, :_DIGITS] * weights[:, None]).sum(axis=2, dtype=np.uint64)
    signs = np.where(bits[:, :, _DIGITS] == 1, -1, 1) if matrix.signed else np.int8(1)
    chosen = (drawn < np.uint64(matrix.units)) * signs  # (features, masks, bits)
    m, i = np.divmod(np.arange(_PANEL * n_panels), 64)
    component = _PANEL * (m // 4) + 16 * (i % 32 // 2) + 4 * (m % 4) + 2 * (i % 2) + i // 32
    rows = np.empty((len(features), _PANEL * n_panels), np.int8)
    rows[:, component] = chosen.reshape(len(features), -1)
    return rows[:, : matrix.n_components]


def random_projection(
    indptr: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[np.float32],
    matrix: RandomMatrix,
    *,
    scale: float = 1.0,
) -> NDArray[np.float32]:
    """The product, value by value in their order, in float32; the scale comes last."""
    sums = np.zeros((len(indptr) - 1, matrix.n_components), np.float32)
    for row in range(len(sums)):
        for i in range(indptr[row], indptr[row + 1]):
            sums[row] += values[i] * entries(columns[i : i + 1], matrix)[0].astype(np.float32)
    return sums * np.float32(scale)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The output function of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return x ^ x >> np.uint64(31)
