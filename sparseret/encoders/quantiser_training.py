r"""Codebooks by k-means: Lloyd's iterations from spread first entries.

First entries are drawn one by one with a probability in proportion to the squared distance to the
nearest one drawn so far [2]_. Then [1]_, until nothing changes::

    every vector goes to its nearest entry;   every entry goes to the mean of its vectors

An entry that has lost its vectors moves to the vector that is farthest from its own. More batches
move each entry to the mean of all vectors it was ever given [3]_. Our own few lines, as SciPy's
leaves entries without vectors, and other libraries' results differ between machines.

References:
    .. [1] Stuart P. Lloyd. Least Squares Quantization in PCM. IEEE Transactions on Information
       Theory, 1982.
    .. [2] David Arthur, Sergei Vassilvitskii. k-means++: The Advantages of Careful Seeding. SODA
       2007.
    .. [3] D. Sculley. Web-Scale K-Means Clustering. WWW 2010, algorithm 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from sparseret.encoders.autoencoder_batches import read_arrays, read_rows
from sparseret.encoders.dense_blocks import read_blocks
from sparseret.encoders.options import whole_number
from sparseret.encoders.vector_quantiser import (
    Quantisation,
    VectorQuantiser,
    slices_of,
)
from sparseret.errors import ConfigurationError, VectorError
from sparseret.progress import progress_bar
from sparseret.protocols import Vectors

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["QuantiserTrainer"]

_SAMPLE = 256
"""Vectors an entry, that :meth:`QuantiserTrainer.fit` draws from longer arrays."""
_LEAST_SAMPLE = 4
"""The same, where vectors are wide."""
_SAMPLE_VALUES = 2**26
_BLOCK_VALUES = 2**22
"""Of distances that are held at a time."""


class QuantiserTrainer:
    """Learns codebooks (:class:`sparseret.encoders.vector_quantiser.VectorQuantiser`).

    Zero vectors are left out.

    Args:
        codebooks: m.
        entries: n, of each codebook.
        kind: "product" or "residual".
        assignments: entries of a codebook that a code holds.
        iterations: of Lloyd's, at most.
        seed: of samples and first entries; the same seed gives the same codebooks.

    Raises:
        ConfigurationError: an option out of its range.
    """

    def __init__(
        self,
        codebooks: int,
        entries: int,
        *,
        kind: Quantisation = "product",
        assignments: int = 1,
        iterations: int = 25,
        seed: int = 0,
    ) -> None:
        for name, value, least in (
            ("codebooks", codebooks, 1), ("entries", entries, 1), ("assignments", assignments, 1),
            ("iterations", iterations, 1), ("seed", seed, 0),
        ):  # fmt: skip
            whole_number(name, value, least)
        if assignments > entries:
            raise ConfigurationError(
                f"assignments must be from 1 to {entries}, the entries, got {assignments}"
            )
        if kind not in get_args(Quantisation):
            raise ConfigurationError(
                f"kind {kind!r} is not one of {', '.join(get_args(Quantisation))}"
            )
        self.codebooks = codebooks
        self.entries = entries
        self.kind: Quantisation = kind
        self.assignments = assignments
        self.iterations = iterations
        self.seed = seed
        self._books: list[_Book] = []
        self._n_features = 0

    def fit(self, X: Vectors, *, show_progress: bool = False) -> Self:  # noqa: N803
        """Learn anew from vectors, shape (n, n_features), of which 256 an entry are drawn.

        Of wide ones it is as many as 2^26 values hold, and at least 4 an entry.

        Raises:
            VectorError: fewer distinct vectors than entries, of another shape, or not finite.
            ConfigurationError: more codebooks than features, where they part them.
        """
        source, _ = read_arrays(X)
        rng = np.random.default_rng(self.seed)
        n = source.shape[0]
        most = max(_LEAST_SAMPLE * self.entries, _SAMPLE_VALUES // max(1, source.shape[1]))
        rows = np.sort(rng.choice(n, min(n, _SAMPLE * self.entries, most), replace=False))
        left = _without_zeros(read_rows(source, rows))
        self._check_parts(left)
        books = []
        with progress_bar("Learning", self.codebooks, show=show_progress) as advance:
            for place in slices_of(left.shape[1], self.codebooks, self.kind):
                book = _Book.learn(left[:, place], self.entries, self.iterations, rng)
                if self.kind == "residual":
                    left -= book.entries[book.nearest(left)[0]]
                books.append(book)
                advance(1)
        self._books, self._n_features = books, int(source.shape[1])
        return self

    def partial_fit(self, X: Vectors) -> Self:  # noqa: N803
        """Learn from some more vectors, of which the first are enough for :meth:`fit`.

        Errors are those of :meth:`fit`, and VectorError for another width than before.
        """
        if not self._books:
            return self.fit(X)
        source, _ = read_arrays(X)
        if source.shape[1] != self._n_features:
            raise VectorError(
                f"vectors have {source.shape[1]} features, and those before {self._n_features}"
            )
        places = slices_of(self._n_features, self.codebooks, self.kind)
        for block in read_blocks(source, self._n_features):
            left = _without_zeros(block)
            for book, place in zip(self._books, places, strict=True):
                near = book.add(left[:, place])
                if self.kind == "residual":
                    left -= book.entries[near]
        return self

    @property
    def codec(self) -> VectorQuantiser:
        """What was learned so far. Raises ConfigurationError where nothing was."""
        if not self._books:
            raise ConfigurationError("the codebooks have learned nothing: call fit(X) first")
        width = max(book.entries.shape[1] for book in self._books)
        entries = np.zeros((self.codebooks, self.entries, width), np.float32)
        for c, book in enumerate(self._books):
            entries[c, :, : book.entries.shape[1]] = book.entries
        return VectorQuantiser(
            entries,
            [book.error / max(1, book.counts.sum()) for book in self._books],
            n_features=self._n_features,
            kind=self.kind,
            assignments=self.assignments,
        )

    def _check_parts(self, sample: NDArray[np.float64]) -> None:
        if self.kind == "product" and self.codebooks > sample.shape[1]:
            raise ConfigurationError(
                f"{self.codebooks} codebooks cannot part {sample.shape[1]} features: give fewer, "
                'or kind="residual"'
            )
        distinct = len(np.unique(sample, axis=0)) if len(sample) else 0
        if distinct < self.entries:
            raise VectorError(
                f"{distinct} distinct vectors cannot make {self.entries} entries: give more "
                "vectors or fewer entries"
            )


class _Book:
    """Entries of one codebook, and how many vectors each is the mean of."""

    def __init__(self, entries: NDArray[np.float64]) -> None:
        self.entries = entries
        self.counts = np.zeros(len(entries), np.int64)
        self.error = 0.0
        """Sum of squared distances of the vectors counted to their entries, when they came."""

    @classmethod
    def learn(
        cls, rows: NDArray[np.float64], n: int, iterations: int, rng: np.random.Generator
    ) -> _Book:
        rows = np.ascontiguousarray(rows)
        book = cls(_spread(rows, n, rng))
        before = None
        for _ in range(iterations):
            near, distances = book.nearest(rows)
            if before is not None and np.array_equal(near, before):
                break
            before = near
            counts = np.bincount(near, minlength=n)
            full = counts > 0
            book.entries[full] = _sums(rows, near, n)[full] / counts[full, None]
            empty = np.flatnonzero(~full)
            farthest = np.argsort(-distances, kind="stable")[: len(empty)]
            book.entries[empty[: len(farthest)]] = rows[farthest]
        near, distances = book.nearest(rows)
        book.counts = np.bincount(near, minlength=n)
        book.error = float(distances.sum())
        return book

    def nearest(self, rows: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Number of each row's nearest entry, and the squared distance to it."""
        near = np.zeros(len(rows), np.int64)
        distances = np.einsum("ij,ij->i", rows, rows)
        halves = np.einsum("ij,ij->i", self.entries, self.entries) / 2
        step = max(1, _BLOCK_VALUES // len(self.entries))
        for begin in range(0, len(rows), step):
            block = slice(begin, begin + step)
            found = rows[block] @ self.entries.T  # the nearest has the largest x.e - e.e / 2
            found -= halves
            near[block] = np.argmax(found, axis=1)
            distances[block] -= 2 * found[np.arange(len(found)), near[block]]
        return near, np.maximum(distances, 0)

    def add(self, rows: NDArray[np.float64]) -> NDArray[np.int64]:
        near, distances = self.nearest(rows)
        n = len(self.entries)
        new = np.bincount(near, minlength=n)
        moved = new > 0
        total = (self.counts + new)[moved, None]
        gap = _sums(rows, near, n)[moved] - new[moved, None] * self.entries[moved]
        self.entries[moved] += gap / total
        self.counts += new
        self.error += float(distances.sum())
        return near


def _spread(rows: NDArray[np.float64], n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """First entries, k-means++; what is drawn twice, as few rows are distinct, stays so."""
    entries = np.empty((n, rows.shape[1]))
    squares = np.einsum("ij,ij->i", rows, rows)
    entries[0] = rows[rng.integers(len(rows))]
    nearest = np.full(len(rows), np.inf)
    for i in range(1, n):
        last = entries[i - 1]
        np.minimum(nearest, squares - 2 * (rows @ last) + last @ last, out=nearest)
        total = np.cumsum(np.maximum(nearest, 0))
        at = int(np.searchsorted(total, rng.random() * total[-1], "right"))
        entries[i] = rows[min(at, len(rows) - 1)]
    return entries


def _sums(rows: NDArray[np.float64], near: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    """Sum of the rows of each entry, shape (n, width)."""
    from scipy.sparse import csr_array

    members = csr_array((np.ones(len(rows)), near, np.arange(len(rows) + 1)), shape=(len(rows), n))
    made: NDArray[np.float64] = members.T @ rows
    return made


def _without_zeros(rows: NDArray[Any]) -> NDArray[np.float64]:
    made: NDArray[np.float64] = rows[rows.any(axis=1)].astype(np.float64)
    return made
