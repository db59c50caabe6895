"""The vocabulary product on a GPU, pooled over the rows of each text in registers.

With the states X_i of the rows i of a text, and W_v and b_v of column v of the decoder::

    maxima:  max_i (X_i . W_v + b_v)           sums:  sum_i log(1 + max(0, X_i . W_v + b_v))

A program of the kernel has one text and a block of columns. It walks the rows of the text in
blocks, makes their logits a tile at a time, and keeps one number per column: logits are never
written to memory. Tiles are multiplied in float32, not in TF32 [1]_, and always in the same order.

References:
    .. [1] Philippe Tillet, H. T. Kung, David Cox. Triton: An Intermediate Language and Compiler for
       Tiled Neural Network Computations. MAPL 2019.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import triton.language as tl

__all__ = ["pool"]

_BLOCKS = {"row_block": 32, "column_block": 64, "place_block": 16}
"""Sides of a tile: rows of a text, columns of the vocabulary, and places of the width.

Compiled for sm_80, twice the places need more registers than a thread has."""


def pool(hidden: Any, offsets: Any, weight: Any, bias: Any, *, log_sum: bool) -> Any:
    """The largest logit of each column over the rows of each text, or the sum of log(1 + relu).

    Meaning: :func:`sparseret.encoders.device_head.pool_in_blocks`, up to rounding.

    Args:
        hidden: states, a torch tensor, float32, shape (n_rows, width), without those of padding.
        offsets: the rows of text t are those from offsets[t] to offsets[t + 1], int64, shape
            (n_texts + 1,).
        weight: decoder matrix, float32, shape (n_columns, width).
        bias: float32, shape (n_columns,).
        log_sum: sums, not maxima.

    All are on one CUDA device, and contiguous. (With TRITON_INTERPRET=1 in the environment before
    triton is imported, they may be on the processor.)

    Returns:
        A tensor on that device, float32, shape (n_texts, n_columns). A text without rows has
        -infinity as maxima, and 0 as sums.
    """
    import torch

    n_texts, (n_columns, width) = len(offsets) - 1, weight.shape
    pooled = torch.empty((n_texts, n_columns), dtype=torch.float32, device=hidden.device)
    if n_texts:
        # Texts of a block of columns are neighbours, so its weights are read from the cache.
        grid = (n_texts, -(-n_columns // _BLOCKS["column_block"]))
        with torch.cuda.device_of(hidden):  # triton launches on the current device
            _kernel()[grid](
                hidden, offsets, weight, bias, pooled, n_columns, width,
                log_sum=log_sum, **_BLOCKS, enable_fp_fusion=True,
            )  # fmt: skip
    return pooled


@cache
def _kernel() -> Any:
    # A kernel looks up its names among those of its module, so `tl` must become one.
    global tl
    import triton
    import triton.language as tl

    # Triton reads the annotations too, and knows its own alone.
    def pool_rows(  # type: ignore[no-untyped-def]
        hidden,
        offsets,
        weight,
        bias,
        pooled,
        n_columns,
        width,
        log_sum: tl.constexpr,
        row_block: tl.constexpr,
        column_block: tl.constexpr,
        place_block: tl.constexpr,
    ):
        text = tl.program_id(0).to(tl.int64)
        columns = tl.program_id(1).to(tl.int64) * column_block + tl.arange(0, column_block)
        in_columns = columns < n_columns
        added = tl.load(bias + columns, mask=in_columns, other=0.0)
        first = tl.load(offsets + text)
        end = tl.load(offsets + text + 1)
        found = tl.full((column_block,), 0.0 if log_sum else float("-inf"), tl.float32)
        for row in range(first, end, row_block):
            rows = row + tl.arange(0, row_block)
            in_text = rows < end
            logits = tl.zeros((row_block, column_block), tl.float32)
            for place in range(0, width, place_block):
                places = place + tl.arange(0, place_block)
                in_width = places < width
                states = tl.load(
                    hidden + rows[:, None] * width + places[None, :],
                    mask=in_text[:, None] & in_width[None, :],
                    other=0.0,
                )
                weights = tl.load(
                    weight + columns[None, :] * width + places[:, None],
                    mask=in_columns[None, :] & in_width[:, None],
                    other=0.0,
                )
                logits = tl.dot(states, weights, logits, input_precision="ieee")
            logits += added[None, :]
            if log_sum:
                x = tl.where(in_text[:, None] & (logits > 0), logits, 0.0)
                # log(1 + x) to the last bits also where x is small: the rounding of 1 + x is in
                # both factors of the quotient (Goldberg 1991, theorem 4).
                y = 1.0 + x
                exact = y == 1.0
                x = tl.where(exact, x, x * (tl.log(y) / tl.where(exact, 1.0, y - 1.0)))
                found += tl.sum(x, axis=0)
            else:
                logits = tl.where(in_text[:, None], logits, float("-inf"))
                found = tl.maximum(found, tl.max(logits, axis=0))
        tl.store(pooled + text * n_columns + columns, found, mask=in_columns)

    return triton.jit(pool_rows)
