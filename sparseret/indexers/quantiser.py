r"""Light codes of dense vectors: a few bytes each, by which candidates are found in memory.

A vector x is centred and turned, ``z = (x - mean) R``, and each of m equal slices of z becomes one
byte, the number of the nearest of 256 entries [1]_. With e(x) the chosen entries side by side, the
score of a code is::

    q . x  ~  q . mean + f (q R) . e(x)

``q . mean`` is the same for all vectors and left out. For ``pq``, entries are learned and f = 1.
For ``binary``, an entry is a corner of a cube, so that a code is the signs of z [2]_, eight a byte,
and f = |z|² / (z . e(x)) is kept in two bytes, which makes the product of z with its own code what
it should be [3]_. R maps to fewer values where a code has fewer bits than x has values.

References:
    .. [1] Hervé Jégou, Matthijs Douze, Cordelia Schmid. Product Quantization for Nearest Neighbor
       Search. TPAMI 2011.
    .. [2] Yunchao Gong, Svetlana Lazebnik. Iterative Quantization: A Procrustean Approach to
       Learning Binary Codes. CVPR 2011.
    .. [3] Jianyang Gao, Cheng Long. RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical
       Error Bound for Approximate Nearest Neighbor Search. SIGMOD 2024.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import ConfigurationError, CorruptIndexError, StorageError

__all__ = ["CodeKind", "Codes", "Quantiser", "corner_entries"]

CodeKind = Literal["binary", "pq"]

ENTRIES = 256
_MAGIC = b"sparseret-quantiser-1\n"
_BLOCK_VALUES = 2**22
"""Of products that are held at a time."""
_LARGEST_HALF = float(np.finfo(np.float16).max)


class Codes(NamedTuple):
    """Codes of n vectors."""

    codes: NDArray[np.uint8]
    """Shape (n, code_bytes)."""
    factors: NDArray[np.float16] | None
    """What the score of each is multiplied by, shape (n,); None for ``pq``."""


class Quantiser:
    """Makes codes of vectors, and tables of what their bytes are worth to a query.

    Args:
        kind: of the codes.
        mean: shape (dim,).
        rotation: R, shape (dim, width).
        entries: shape (code_bytes, 256, width / code_bytes).

    Raises:
        ConfigurationError: arrays that do not fit together, or are not finite.
    """

    def __init__(
        self,
        kind: CodeKind,
        mean: NDArray[np.float32],
        rotation: NDArray[np.float32],
        entries: NDArray[np.float32],
    ) -> None:
        if kind not in get_args(CodeKind):
            raise ConfigurationError(f"codes must be {', '.join(get_args(CodeKind))}: {kind!r}")
        self.kind: CodeKind = kind
        self.mean = np.ascontiguousarray(mean, np.float32)
        self.rotation = np.ascontiguousarray(rotation, np.float32)
        self.entries = np.ascontiguousarray(entries, np.float32)
        shapes = self.mean.shape, self.rotation.shape, self.entries.shape
        fit = (
            self.mean.ndim == 1
            and self.rotation.ndim == 2
            and self.entries.ndim == 3
            and len(self.mean) == len(self.rotation)
            and self.entries.shape[1] == ENTRIES
            and self.entries.shape[0] * self.entries.shape[2] == self.rotation.shape[1] > 0
        )
        if not fit:
            raise ConfigurationError(f"mean, rotation and entries of shapes {shapes} do not fit")
        if not all(np.isfinite(a).all() for a in (self.mean, self.rotation, self.entries)):
            raise ConfigurationError("a quantiser holds values that are not finite")

    @property
    def dim(self) -> int:
        """Values of a vector."""
        return len(self.mean)

    @property
    def code_bytes(self) -> int:
        """Bytes of a code, without its factor."""
        return len(self.entries)

    @property
    def n_bytes(self) -> int:
        """Of the quantiser itself, in memory."""
        return self.mean.nbytes + self.rotation.nbytes + self.entries.nbytes

    def encode(self, rows: NDArray[Any]) -> Codes:
        """Codes of finite rows, shape (n, dim); of equally near entries the first."""
        codes = np.empty((len(rows), self.code_bytes), np.uint8)
        factors = np.empty(len(rows), np.float16)
        size = max(1, _BLOCK_VALUES // max(ENTRIES, self.dim))
        for begin in range(0, len(rows), size):
            block = slice(begin, begin + size)
            centred = rows[block].astype(np.float32) - self.mean
            turned = np.asarray(centred @ self.rotation, np.float32)
            if self.kind == "binary":
                codes[block] = np.packbits(turned > 0, axis=1, bitorder="little")
                factors[block] = _sign_factors(turned)
            else:
                self._nearest(turned, codes[block])
        return Codes(codes, factors if self.kind == "binary" else None)

    def _nearest(self, turned: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
        width = self.entries.shape[2]
        for m in range(self.code_bytes):
            # The nearest has the largest z.e - e.e / 2.
            products = turned[:, m * width : (m + 1) * width] @ self.entries[m].T
            products -= self._halves[m]
            out[:, m] = np.argmax(products, axis=1)

    def table(self, query: NDArray[np.float32]) -> NDArray[np.float32]:
        """What each value of each byte is worth to a query of shape (dim,): (code_bytes, 256)."""
        turned = (query @ self.rotation).reshape(self.code_bytes, -1, 1)
        made: NDArray[np.float32] = np.matmul(self.entries, turned)[:, :, 0]
        return made

    @cached_property
    def _halves(self) -> NDArray[np.float32]:
        """Half the squared length of each entry, shape (code_bytes, 256)."""
        made: NDArray[np.float32] = np.einsum("mij,mij->mi", self.entries, self.entries) / 2
        return made

    def to_bytes(self) -> bytes:
        """The quantiser: a line of JSON, then its arrays, little-endian."""
        learned = self.kind == "pq"
        head = {"kind": self.kind, "rotation": self.rotation.shape, "bytes": self.code_bytes}
        arrays = [self.mean, self.rotation, *([self.entries] if learned else [])]
        line = json.dumps(head).encode() + b"\n"
        return _MAGIC + line + b"".join(a.astype("<f4").tobytes() for a in arrays)

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Quantiser:
        """Inverse of :meth:`to_bytes`.

        Args:
            data: all of it.
            where: what errors call it.

        Raises:
            CorruptIndexError: truncated, or something else.
        """
        try:
            if not data.startswith(_MAGIC):
                raise ValueError("it does not begin as one")
            line, _, _ = data[len(_MAGIC) :].partition(b"\n")
            head = json.loads(line)
            values = np.frombuffer(data[len(_MAGIC) + len(line) + 1 :], "<f4").astype(np.float32)
            (dim, width), n = (int(v) for v in head["rotation"]), int(head["bytes"])
            learned = head["kind"] == "pq"
            if len(values) != dim + dim * width + learned * ENTRIES * width:
                raise ValueError(f"it has {len(values)} values")
            mean, rotation, rest = np.split(values, [dim, dim + dim * width])
            entries = rest.reshape(n, ENTRIES, -1) if learned else corner_entries(n)
            return cls(head["kind"], mean, rotation.reshape(dim, width), entries)
        except (ConfigurationError, KeyError, TypeError, ValueError) as error:
            raise CorruptIndexError(
                f"{where} is no sound quantiser ({error!r}): make it again"
            ) from error

    def save(self, path: str | Path) -> None:
        """Write a file. Raises StorageError where the system refuses."""
        try:
            Path(path).write_bytes(self.to_bytes())
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror}") from error

    @classmethod
    def load(cls, path: str | Path) -> Quantiser:
        """Read a file of :meth:`save`.

        Raises:
            ConfigurationError: it cannot be read.
            CorruptIndexError: it holds something else.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise ConfigurationError(
                f"the quantiser {path} cannot be read: {error.strerror}"
            ) from error
        return cls.from_bytes(data, str(path))


def _sign_factors(turned: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared length by sum of absolute values, which is the product with the signs, shape (n,)."""
    sizes = np.abs(turned)
    largest = sizes.max(axis=1)  # divided by first, so that no square overflows
    sizes /= np.maximum(largest, np.finfo(np.float32).tiny)[:, None]
    squares, sums = np.einsum("ij,ij->i", sizes, sizes), sizes.sum(axis=1)
    factors = largest.astype(np.float64) * squares / np.maximum(sums, 1.0)
    made: NDArray[np.float32] = np.minimum(factors, _LARGEST_HALF).astype(np.float32)
    return made


def corner_entries(code_bytes: int) -> NDArray[np.float32]:
    """Entries of ``binary`` codes: entry i has 1 where a bit of i is set and -1 elsewhere."""
    bits = np.unpackbits(np.arange(ENTRIES, dtype=np.uint8)[:, None], axis=1, bitorder="little")
    corners = 2 * bits.astype(np.float32) - 1
    return np.broadcast_to(corners, (code_bytes, *corners.shape)).copy()
