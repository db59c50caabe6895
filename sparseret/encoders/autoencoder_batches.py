"""Vectors that codecs are trained on: in memory, mapped or sparse, in shuffled batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseret.encoders.codecs import check_dense
from sparseret.encoders.dense_blocks import sparse_rows
from sparseret.errors import VectorError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = [
    "Batch",
    "ranking_gradients",
    "read_arrays",
    "read_batch",
    "read_rows",
    "shuffled_batches",
]

_BLOCK = 2**16
"""Vectors that are shuffled at a time, in blocks of random order."""


class Batch(NamedTuple):
    """Vectors of a step, and what is parallel to them; float32, shape (n, n_features)."""

    inputs: NDArray[np.float32]
    positives: NDArray[np.float32] | None
    gradients: NDArray[np.float32] | None
    sparse: csr_array | None = None
    """``inputs``, where they came as sparse rows."""


def read_arrays(X: Any, *parallel: Any) -> tuple[Any, list[Any]]:  # noqa: N803
    """Vectors, and what is parallel to them or None, as arrays that rows can be taken of.

    Raises:
        VectorError: not two-dimensional, or of different shapes.
    """
    source = _rows_of_any(X)
    if len(source.shape) != 2:
        check_dense(source)
    others = [None if part is None else _rows_of_any(part) for part in parallel]
    for part in others:
        if part is not None and part.shape != source.shape:
            raise VectorError(f"shape {part.shape} where the vectors have {source.shape}")
    return source, others


def _rows_of_any(given: Any) -> Any:
    sparse = sparse_rows(given)
    if sparse is not None:
        return sparse
    return given if hasattr(given, "shape") else np.asarray(given)


def read_rows(source: Any, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Some rows, dense, float32. Raises VectorError where they are not finite."""
    from scipy.sparse import issparse

    if issparse(source):
        made: NDArray[np.float32] = source[rows].toarray()
        return made
    return check_dense(source[rows], source.shape[1], numbers=rows.tolist())


def read_batch(source: Any, others: Sequence[Any], rows: NDArray[np.int64]) -> Batch:
    """Some rows of vectors, and of the two arrays parallel to them. Raises VectorError."""
    positives, gradients = (None if part is None else read_rows(part, rows) for part in others)
    dense = read_rows(source, rows)
    return Batch(dense, positives, gradients, sparse_rows(source[rows]))


def shuffled_batches(
    n: int, batch_size: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Row numbers of the batches of one pass, each row once.

    Blocks come in random order and are shuffled within, so that a mapped file is read in runs.
    """
    left = np.empty(0, np.int64)
    for start in rng.permutation(np.arange(0, n, _BLOCK)):
        block = np.arange(start, min(n, start + _BLOCK))
        left = np.concatenate([left, rng.permutation(block)])
        while len(left) >= batch_size:
            yield left[:batch_size]
            left = left[batch_size:]
    if len(left):
        yield left


def ranking_gradients(
    queries: ArrayLike, documents: ArrayLike, positives: ArrayLike, *, temperature: float = 0.05
) -> NDArray[np.float32]:
    r"""Gradients of a ranking loss at the vectors of documents, for recipes that choose by them.

    With the InfoNCE loss of query q over all documents, L = -log softmax(q.d / t)_{positive}, the
    gradient at document d is (softmax_d - [d is the positive]) q / t, summed over queries.

    Args:
        queries: shape (n_queries, n_features).
        documents: shape (n, n_features).
        positives: number of the document that each query should find, shape (n_queries,).
        temperature: t.

    Returns:
        Shape (n, n_features), float32.

    Raises:
        VectorError: shapes that do not fit.
    """
    asked, known = check_dense(queries), check_dense(documents)
    wanted = np.asarray(positives)
    if asked.shape[1] != known.shape[1] or wanted.shape != (len(asked),):
        raise VectorError(
            f"queries {asked.shape}, documents {known.shape} and positives {wanted.shape} do not "
            "fit together"
        )
    if len(wanted) and not (
        wanted.dtype.kind in "iu" and wanted.min() >= 0 and wanted.max() < len(known)
    ):
        raise VectorError(f"positives must be numbers of documents, 0 to {len(known) - 1}")
    made = np.zeros_like(known)
    for begin in range(0, len(asked), 256):
        block = asked[begin : begin + 256]
        scores = block @ known.T / np.float32(temperature)
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        scores[np.arange(len(block)), wanted[begin : begin + 256]] -= 1
        made += scores.T @ block / np.float32(temperature)
    return made
