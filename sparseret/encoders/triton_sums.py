"""Gradients of sparse codes on a GPU, from the chosen entries alone and always in the same order.

A code x̂_r = sum_e v_e D_c(e) over the entries e of row r (value v_e, latent c(e), row D_c of the
dictionary) has, with the gradient G of x̂::

    of values:         dL/dv_e = G_r(e) . D_c(e)
    of the dictionary: dL/dD_c = sum of v_e G_r(e) over the entries e with c(e) = c

as has the encoder's product, with inputs in the place of G. A program of :func:`entry_products`
has a block of entries. One of :func:`sum_rows` has a bag and a block of features, and reads some
rows of the bag at a time, so that the many entries of a latent that is often chosen are not one
chain of reads; bags of one latent come from sorting the entries. Nothing is added by atomic
operations, whose order would change from run to run.

References:
    .. [1] Leo Gao et al. Scaling and Evaluating Sparse Autoencoders. 2024: kernels for products of
       sparse and dense matrices in the training of autoencoders.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sparseret.errors import ConfigurationError

if TYPE_CHECKING:
    import triton.language as tl
    from torch import Tensor

__all__ = ["entry_products", "sum_rows"]

_TILE = {"entry_block": 16, "feature_block": 64}
"""Sides of a tile: entries, and features of their rows."""


def entry_products(left: Tensor, right: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Entry e is ``left[rows[e]] @ right[columns[e]]``.

    Args:
        left: float32, shape (n, n_features).
        right: float32, shape (dim, n_features).
        rows: from 0 to n - 1, which is not checked, int64, shape (nnz,).
        columns: from 0 to dim - 1, which is not checked, int64, shape (nnz,).

    All are on one CUDA device. (With TRITON_INTERPRET=1 in the environment before triton is
    imported, they may be on the processor.)

    Returns:
        A tensor on that device, float32, shape (nnz,).

    Raises:
        ConfigurationError: a gradient of the result is asked for; there is none.
    """
    import torch

    made = torch.empty(len(rows), dtype=torch.float32, device=left.device)
    if len(rows):
        grid = (-(-len(rows) // _TILE["entry_block"]),)
        with torch.cuda.device_of(left):  # triton launches on the current device
            _products()[grid](
                *_plain(left, right, rows, columns), made, len(rows), left.shape[1],
                **_TILE, enable_fp_fusion=True,
            )  # fmt: skip
    return made


def sum_rows(table: Tensor, columns: Tensor, bounds: Tensor, weights: Tensor) -> Tensor:
    """Row b is the sum of ``weights[e] * table[columns[e]]`` over the entries e of bag b.

    Meaning: torch's ``embedding_bag`` in the mode "sum", up to rounding.

    Args:
        table: float32, shape (n, n_features).
        columns: from 0 to n - 1, which is not checked, int64, shape (nnz,).
        bounds: the entries of bag b are those from bounds[b] to bounds[b + 1], int64, shape
            (n_bags + 1,).
        weights: float32, shape (nnz,).

    Devices are those of :func:`entry_products`.

    Returns:
        A tensor on that device, float32, shape (n_bags, n_features). Empty bags have 0.

    Raises:
        ConfigurationError: a gradient of the result is asked for; there is none.
    """
    import torch

    n_bags, n_features = len(bounds) - 1, table.shape[1]
    made = torch.empty((n_bags, n_features), dtype=torch.float32, device=table.device)
    if made.numel():
        # Blocks of a bag are neighbours, so its columns and weights are read from the cache.
        blocks = -(-n_features // _TILE["feature_block"])
        with torch.cuda.device_of(table):
            _sums()[(n_bags * blocks,)](
                *_plain(table, columns, bounds, weights), made, n_features, blocks,
                **_TILE, enable_fp_fusion=True,
            )  # fmt: skip
    return made


def _plain(*tensors: Tensor) -> list[Tensor]:
    import torch

    # In a backward pass gradients are recorded only for gradients of gradients.
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        raise ConfigurationError(
            "kernels of Triton have no gradients of their own: call backward without create_graph"
        )
    return [tensor.contiguous() for tensor in tensors]


@cache
def _products() -> Any:
    # A kernel looks up its names among those of its module, so `tl` must become one.
    global tl
    import triton
    import triton.language as tl

    # Triton reads the annotations too, and knows its own alone.
    def products(  # type: ignore[no-untyped-def]
        left,
        right,
        rows,
        columns,
        made,
        nnz,
        n_features,
        entry_block: tl.constexpr,
        feature_block: tl.constexpr,
    ):
        entries = tl.program_id(0).to(tl.int64) * entry_block + tl.arange(0, entry_block)
        there = entries < nnz
        of_left = tl.load(rows + entries, mask=there, other=0) * n_features
        of_right = tl.load(columns + entries, mask=there, other=0) * n_features
        sums = tl.zeros((entry_block, feature_block), tl.float32)
        for first in range(0, n_features, feature_block):
            features = first + tl.arange(0, feature_block)
            mask = there[:, None] & (features < n_features)[None, :]
            one = tl.load(left + of_left[:, None] + features[None, :], mask=mask, other=0.0)
            other = tl.load(right + of_right[:, None] + features[None, :], mask=mask, other=0.0)
            sums += one * other
        tl.store(made + entries, tl.sum(sums, axis=1), mask=there)

    return triton.jit(products)


@cache
def _sums() -> Any:
    global tl
    import triton
    import triton.language as tl

    def sums(  # type: ignore[no-untyped-def]
        table,
        columns,
        bounds,
        weights,
        made,
        n_features,
        blocks,
        entry_block: tl.constexpr,
        feature_block: tl.constexpr,
    ):
        bag = (tl.program_id(0) // blocks).to(tl.int64)
        features = tl.program_id(0) % blocks * feature_block + tl.arange(0, feature_block)
        in_row = features < n_features
        end = tl.load(bounds + bag + 1)
        found = tl.zeros((entry_block, feature_block), tl.float32)
        for first in range(tl.load(bounds + bag), end, entry_block):
            entries = first + tl.arange(0, entry_block)
            there = entries < end
            rows = tl.load(columns + entries, mask=there, other=0) * n_features
            scale = tl.load(weights + entries, mask=there, other=0.0)
            values = tl.load(
                table + rows[:, None] + features[None, :],
                mask=there[:, None] & in_row[None, :],
                other=0.0,
            )
            found += scale[:, None] * values
        tl.store(made + bag * n_features + features, tl.sum(found, axis=0), mask=in_row)

    return triton.jit(sums)
