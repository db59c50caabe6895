"""Scores of codes of a few bytes by tables of what each byte is worth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import VectorError
from sparseret.kernels import _native

__all__ = ["code_scores"]


def code_scores(codes: NDArray[np.uint8], tables: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum over the bytes of each code of their values by each query's tables, shape (m, n).

    The asymmetric distance computation of product quantisation (Jégou, Douze and Schmid, "Product
    quantization for nearest neighbor search", 2011). The order of additions is that of the bytes,
    so results are the same on every processor. Runs in the thread that calls it, without the GIL.

    Meaning: :func:`sparseret.kernels.reference.code_scores`.

    Args:
        codes: uint8, shape (n, width).
        tables: float32, shape (m, width, 256): what each value of each byte is worth.

    Raises:
        VectorError: other shapes or types.
    """
    if codes.dtype != np.uint8 or tables.dtype != np.float32:
        raise VectorError(
            f"codes must be uint8 and tables float32, got {codes.dtype} and {tables.dtype}"
        )
    if codes.ndim != 2 or not codes.shape[1] or tables.shape[1:] != (codes.shape[1], 256):
        raise VectorError(f"codes of shape {codes.shape} and tables of shape {tables.shape}")
    flat = np.ascontiguousarray(codes).reshape(-1)
    made = _native.code_scores(flat, codes.shape[1], np.ascontiguousarray(tables).reshape(-1))
    return made.reshape(len(tables), len(codes))
