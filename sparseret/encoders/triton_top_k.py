"""The largest values of wide rows on a GPU, by radix selection.

The bits of a float32 number, all inverted if it is negative and the sign bit alone if not, are an
unsigned *key* in the order of the numbers. A program of the kernel has one row. Four passes find
the k-th largest key, 8 bits at a time from the top [1]_: of the keys that share the bits found so
far, a histogram of the next 8 tells which of its bins the k-th largest is in. A fifth pass, from
the left, writes the columns of larger keys and of the first ones equal to it. Keys are integers,
and so is everything counted: the result is the same in every run.

torch's ``topk`` finds the same values, but which of equal ones is not specified.

References:
    .. [1] Tolu Alabi, Jeffrey D. Blanchard, Bradley Gordon, Russel Steinbach. Fast k-Selection
       Algorithms for Graphics Processing Units. ACM Journal of Experimental Algorithmics 17, 2012
       (radixSelect).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sparseret.errors import ConfigurationError, VectorError

if TYPE_CHECKING:
    import triton.language as tl
    from torch import Tensor

    _keys: Any

__all__ = ["largest_columns"]

_BLOCK = 1024
"""Columns that a program looks at together."""


def largest_columns(rows: Tensor, k: int) -> Tensor:
    """Columns of the k largest values of each row; of equal ones the smaller columns.

    Meaning: the columns of :func:`sparseret.kernels.reference.top_k`. A row is read five times,
    by one program: few rows leave most of a GPU idle.

    Args:
        rows: float32, float16 or bfloat16, shape (n, width), no NaN; on a CUDA device. (With
            TRITON_INTERPRET=1 in the environment before triton is imported, it may be on the
            processor.)
        k: from 1 to width.

    Returns:
        Ascending within a row, int64, shape (n, k), on that device.

    Raises:
        ConfigurationError: k is out of its range.
        VectorError: another shape or type, or NaN.
    """
    import torch

    if rows.ndim != 2 or not rows.shape[1]:
        raise VectorError(
            f"rows: shape {tuple(rows.shape)}, expected (n, width) with width 1 or more"
        )
    if rows.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise VectorError(f"rows: {rows.dtype}, expected float32, float16 or bfloat16")
    n, width = rows.shape
    if isinstance(k, bool) or not 1 <= k <= width:
        raise ConfigurationError(f"k must be from 1 to the width of the rows, {width}, got {k!r}")
    columns = torch.empty((n, k), dtype=torch.int64, device=rows.device)
    refused = torch.empty(n, dtype=torch.int32, device=rows.device)
    if n:
        with torch.cuda.device_of(rows):  # triton launches on the current device
            _kernel()[(n,)](
                rows.detach().contiguous(), columns, refused, width, k,
                block=_BLOCK, enable_fp_fusion=True,
            )  # fmt: skip
    if bool(refused.any()):
        bad = int(refused.argmax())
        raise VectorError(f"row {bad} holds values that are not numbers")
    return columns


@cache
def _kernel() -> Any:
    # A kernel looks up its names among those of its module, so these must be such.
    global tl, _keys
    import triton
    import triton.language as tl

    # Triton reads the annotations too, and knows its own alone.
    def keys(row, places, inside):  # type: ignore[no-untyped-def]
        values = tl.load(row + places, mask=inside, other=0.0).to(tl.float32)
        bits = values.to(tl.uint32, bitcast=True)
        bits = tl.where(bits == 0x80000000, 0, bits)  # -0 equals 0
        return bits ^ tl.where(bits >= 0x80000000, 0xFFFFFFFF, 0x80000000)

    def largest(rows, columns, refused, width, k, block: tl.constexpr):  # type: ignore[no-untyped-def]
        program = tl.program_id(0).to(tl.int64)
        row = rows + program * width
        bins = tl.arange(0, 256)
        key = tl.zeros((), tl.uint32)  # of the k-th largest, as far as it is known
        known = tl.zeros((), tl.uint32)  # these bits of it are
        # Values to be taken among those that share the known bits.
        left = tl.zeros((), tl.int32) + k
        for shift in tl.static_range(24, -1, -8):
            counts = tl.zeros((256,), tl.int32)
            for first in range(0, width, block):
                places = first + tl.arange(0, block)
                inside = places < width
                found = _keys(row, places, inside)
                digits = ((found >> shift) & 255).to(tl.int32)
                # The count of digit 0 is never asked for: it takes what is not to be counted.
                shares = inside & ((found & known) == key)
                counts += tl.histogram(tl.where(shares, digits, 0), 256)
            from_here = tl.sum(counts, axis=0) - tl.cumsum(counts, axis=0) + counts
            digit = tl.max(tl.where((from_here >= left) | (bins == 0), bins, 0), axis=0)
            left -= tl.sum(tl.where(bins > digit, counts, 0), axis=0)
            key |= digit.to(tl.uint32) << shift
            known |= tl.full((), 255, tl.uint32) << shift
        not_numbers = tl.zeros((block,), tl.int32)
        written = tl.zeros((), tl.int32)
        for first in range(0, width, block):
            places = first + tl.arange(0, block)
            inside = places < width
            found = _keys(row, places, inside)
            equal = (inside & (found == key)).to(tl.int32)
            taken = inside & ((found > key) | ((equal == 1) & (tl.cumsum(equal, axis=0) <= left)))
            left -= tl.minimum(left, tl.sum(equal, axis=0))
            ranks = written + tl.cumsum(taken.to(tl.int32), axis=0) - 1
            tl.store(columns + program * k + ranks, places.to(tl.int64), mask=taken)
            written += tl.sum(taken.to(tl.int32), axis=0)
            # Beyond the keys of the infinities.
            beyond = inside & ((found > 0xFF800000) | (found < 0x007FFFFF))
            not_numbers = tl.maximum(not_numbers, beyond.to(tl.int32))
        tl.store(refused + program, tl.max(not_numbers, axis=0))

    _keys = triton.jit(keys)
    return triton.jit(largest)
