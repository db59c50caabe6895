"""Writing of the file of a dense segment, from blocks of vectors, read as often as needed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import ConfigurationError, VectorError
from sparseret.indexers.dense_ann import Builder, built_kind
from sparseret.indexers.dense_codes import build_codes, code_kind
from sparseret.indexers.dense_exact import Vectors, euclidean_norms
from sparseret.indexers.dense_file import DenseFileWriter
from sparseret.indexers.dense_settings import DenseSettings
from sparseret.indexers.quantiser import Quantiser

__all__ = ["SegmentRows", "rounded", "stretches", "write_rows"]

_BLOCK_VALUES = 2**21
"""Of vectors that are read, checked and written at a time."""


class SegmentRows(NamedTuple):
    """What a segment is written of."""

    numbers: NDArray[np.int64]
    dim: int
    blocks: Callable[[], Iterator[Vectors]]
    """Vectors as they are stored."""


def write_rows(
    path: Path,
    rows: SegmentRows,
    settings: DenseSettings,
    threads: int,
    quantiser: Quantiser | None,
) -> tuple[int, int]:
    """Write a segment; arguments, result and errors as of ``write_dense_segment``."""
    numbers = np.ascontiguousarray(rows.numbers, np.int64)
    if not (np.diff(numbers) > 0).all():
        raise ConfigurationError("document numbers must ascend")
    has_codes = code_kind(settings) is not None
    if has_codes or settings.kind == "ivf-pq":
        settings.codes_for(rows.dim)  # complains now, not when a segment is large enough
    built = built_kind(settings, len(numbers))
    has_codes = has_codes and built != "flat"
    builder = None
    if built != "flat" and not has_codes:
        builder = Builder(settings, len(numbers), rows.dim, threads)
    zeros: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    largest, begin, crc = 0.0, 0, 0
    for block in rows.blocks():
        norms = euclidean_norms(block)
        zeros.append(np.flatnonzero(norms == 0) + begin)
        largest = max(largest, float(norms.max(initial=0.0)))
        begin += len(block)
        if builder:
            builder.add(block)
            crc = zlib.crc32(np.ascontiguousarray(block).data, crc)
    none = np.concatenate(zeros)
    integers, dtype = np.dtype(np.int64), np.dtype(settings.precision)
    structure: list[bytes] = []
    if builder:
        structure = builder.finish((len(numbers) * rows.dim * dtype.itemsize, crc))
    elif has_codes:
        structure = build_codes(settings, quantiser, len(numbers), rows.dim, rows.blocks)
    n_bytes = sum(map(len, structure))
    with DenseFileWriter(path) as file:
        file.write("numbers", integers, numbers.shape, [numbers])
        file.write("zeros", integers, none.shape, [none])
        file.pad(n_bytes)
        file.write("structure", np.dtype(np.uint8), (n_bytes,), structure)
        file.write("vectors", dtype, (len(numbers), rows.dim), rows.blocks())
        return file.finish(settings, built, largest)


def stretches(n: int, dim: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each block of n vectors."""
    size = max(1, _BLOCK_VALUES // dim)
    for begin in range(0, n, size):
        yield begin, min(begin + size, n)


def rounded(rows: NDArray[np.float32], settings: DenseSettings, begin: int) -> Vectors:
    """Rows in the precision of a segment, the first of them row ``begin``. Raises VectorError."""
    if settings.precision == "float32":
        return rows
    with np.errstate(over="ignore"):
        made = rows.astype(np.float16)
    finite = np.isfinite(made).all(axis=1)
    if not finite.all():
        raise VectorError(
            f"vectors: row {begin + int(np.argmin(finite))} has values beyond float16: scale the "
            "vectors down, or use precision='float32'"
        )
    return made
