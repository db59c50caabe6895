"""Cells drawn by hash: the same in every process, on every machine, in every version of NumPy."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

__all__ = ["cells_of", "scatter"]

_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_STEP = 0x9E3779B97F4A7C15


def cells_of(key: str, n_active: int, n_cells: int, seed: int) -> NDArray[np.int32]:
    """So many different cells for a key, shape (n_active,), as if drawn at random; in no order."""
    drawn: dict[int, None] = {}
    salt = seed.to_bytes(8, "little", signed=True)
    counter = 0
    while len(drawn) < n_active:
        digest = blake2b(key.encode(), salt=salt, person=counter.to_bytes(8, "little")).digest()
        drawn.update(dict.fromkeys((np.frombuffer(digest, "<u8") % np.uint64(n_cells)).tolist()))
        counter += 1
    return np.array(list(drawn)[:n_active], np.int32)


def scatter(numbers: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Numbers that look random, one for each number given, all different for different ones.

    The finaliser of SplitMix64: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
    Generators", OOPSLA 2014.
    """
    mixed = (numbers + np.uint64(seed % 2**64)) * np.uint64(_STEP)
    for shift, factor in _MIX:
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    out: NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return out
