r"""Quantisers of light codes, learned from a sample of the vectors alone.

``binary``: the leading principal components, turned so that signs lose least, by iterations of ::

    B = sign(Z R),   R = U V'  with  Z' B = U S V'

(ITQ, Gong and Lazebnik, "Iterative Quantization", CVPR 2011, section 3). ``pq``: the principal
components, dealt to slices so that the products of their variances are about even, which loses
least where values are normally distributed (Ge, He, Ke and Sun, "Optimized Product Quantization",
CVPR 2013, section 3.2), and Lloyd's iterations in each slice.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import ConfigurationError
from sparseret.indexers.quantiser import ENTRIES, CodeKind, Quantiser, corner_entries

__all__ = ["SAMPLE", "check_code_bytes", "default_code_bytes", "fit_quantiser"]

SAMPLE = 2**14
"""Vectors that a quantiser is learned from at most."""
_TURNED = 2**13
_TURNS = 10
_ITERATIONS = 12
_SEED = 1234
_TINY = 1e-30


def default_code_bytes(kind: CodeKind, dim: int) -> int:
    """A bit a value for ``binary``; the largest divisor up to an eighth of them for ``pq``."""
    if kind == "binary":
        return -(-dim // 8)
    return next(size for size in range(max(1, dim // 8), 0, -1) if dim % size == 0)


def check_code_bytes(kind: CodeKind, code_bytes: int, dim: int) -> None:
    """Raises ConfigurationError for codes that vectors of ``dim`` values cannot have."""
    if kind == "binary" and code_bytes > -(-dim // 8):
        raise ConfigurationError(
            f"code_bytes={code_bytes}: binary codes of {dim} values have at most {-(-dim // 8)} "
            "bytes, a bit a value; give fewer, or kind='pq'"
        )
    if kind == "pq" and dim % code_bytes:
        raise ConfigurationError(
            f"code_bytes={code_bytes} does not divide the dimension, {dim}: give a divisor"
        )


def fit_quantiser(kind: CodeKind, code_bytes: int, sample: NDArray[np.float32]) -> Quantiser:
    """A quantiser for vectors like those of a sample; the same sample gives the same.

    Args:
        kind: of its codes.
        code_bytes: of a code, without the two bytes of the factor of binary ones.
        sample: finite, shape (n, dim), n at least 1; 16,384 are enough.

    Raises:
        ConfigurationError: ``code_bytes`` does not go with the dimension.
    """
    n, dim = sample.shape
    check_code_bytes(kind, code_bytes, dim)
    rng = np.random.default_rng(_SEED)
    mean = sample.mean(axis=0, dtype=np.float64)
    centred = sample - mean
    # Whatever the scale of the vectors, values of theirs are held in float32, factors in float16.
    largest = max(float(np.abs(centred).max()), _TINY)
    centred /= largest
    variances, components = np.linalg.eigh(centred.T @ centred / n)
    variances, components = np.maximum(variances[::-1], 0), components[:, ::-1]
    scale = max(float(np.sqrt(variances.mean())), _TINY)
    if kind == "binary":
        width = min(dim, 8 * code_bytes)
        rotation = np.zeros((dim, 8 * code_bytes))
        some = centred[np.linspace(0, n - 1, min(n, _TURNED)).astype(np.int64)]
        turn = _turn(some @ components[:, :width] / scale, rng)
        rotation[:, :width] = components[:, :width] @ turn
        entries = corner_entries(code_bytes)
    else:
        rotation = components[:, _dealt(variances, code_bytes)]
        slices = np.split((centred @ rotation / scale).astype(np.float32), code_bytes, axis=1)
        entries = np.stack([_lloyd(np.ascontiguousarray(part), rng) for part in slices])
    rescaled = (rotation / max(scale * largest, _TINY)).astype(np.float32)
    return Quantiser(kind, mean.astype(np.float32), rescaled, entries)


def _turn(rows: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """An orthogonal matrix after which the signs of rows are near to them, shape (width, width)."""
    width = rows.shape[1]
    turn: NDArray[np.float64] = np.linalg.qr(rng.standard_normal((width, width)))[0]
    narrow = rows.astype(np.float32)
    for _ in range(_TURNS):
        signs = np.where(narrow @ turn.astype(np.float32) > 0, np.float32(1), np.float32(-1))
        left, _, right = np.linalg.svd((narrow.T @ signs).astype(np.float64))
        turn = left @ right
    return turn


def _dealt(variances: NDArray[np.float64], n_slices: int) -> NDArray[np.int64]:
    """Order of the components in which slices of equal length have variances of even product."""
    length = len(variances) // n_slices
    logarithms = np.log(np.maximum(variances, np.finfo(np.float32).tiny))
    slices: list[list[int]] = [[] for _ in range(n_slices)]
    totals = np.zeros(n_slices)
    for component, logarithm in enumerate((logarithms - logarithms.min()).tolist()):
        totals_of_open = [
            total if len(own) < length else np.inf
            for own, total in zip(slices, totals.tolist(), strict=True)
        ]
        at = int(np.argmin(totals_of_open))
        slices[at].append(component)
        totals[at] += logarithm
    return np.concatenate(slices).astype(np.int64)


def _lloyd(rows: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Means of 256 clusters, shape (256, width); with fewer rows, some are the same."""
    n = len(rows)
    entries = rows[np.resize(rng.permutation(n), ENTRIES)]
    for _ in range(_ITERATIONS):
        products = rows @ entries.T
        products -= np.einsum("ij,ij->i", entries, entries) / 2
        near = np.argmax(products, axis=1)
        counts = np.bincount(near, minlength=ENTRIES)
        sums = np.stack(
            [np.bincount(near, column, ENTRIES) for column in rows.T.astype(np.float64)], axis=1
        )
        full = counts > 0
        entries[full] = (sums[full] / counts[full, None]).astype(np.float32)
        # An entry that lost its rows takes one at random: it can only help.
        lost = np.flatnonzero(~full)
        entries[lost] = rows[rng.integers(0, n, len(lost))]
    return entries
