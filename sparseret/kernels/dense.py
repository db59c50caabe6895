"""Inner products of dense vectors, of float32 or float16."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import VectorError
from sparseret.kernels import _native

__all__ = ["dense_products"]


def dense_products(
    rows: NDArray[np.float32] | NDArray[np.float16], queries: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Products of every query with every row in float32, shape (m, n).

    The order of additions is fixed, so results are the same on every processor: that of row and
    query is that of no other. Runs in the thread that calls it, without the GIL.

    Meaning: :func:`sparseret.kernels.reference.dense_products`.

    Args:
        rows: float32 or float16, shape (n, width); mapped ones are not copied.
        queries: shape (m, width).

    Raises:
        VectorError: other shapes or types.
    """
    if rows.ndim != 2 or queries.ndim != 2 or rows.shape[1] != queries.shape[1]:
        raise VectorError(
            f"rows of shape {rows.shape} and queries of shape {queries.shape} have no products"
        )
    width = rows.shape[1]
    if not width:
        raise VectorError("rows without values have no products")
    flat: NDArray[Any] = np.ascontiguousarray(rows).reshape(-1)
    asked = np.ascontiguousarray(queries, np.float32).reshape(-1)
    if rows.dtype == np.float32:
        products = _native.dense_products(flat, width, asked)
    elif rows.dtype == np.float16:
        products = _native.dense_products_half(flat.view(np.uint16), width, asked)
    else:
        raise VectorError(f"rows must be float32 or float16, got {rows.dtype}")
    return products.reshape(len(queries), len(rows))
