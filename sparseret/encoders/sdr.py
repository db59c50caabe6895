"""Sparse distributed representations (SDRs): of n cells, the few that are active.

Two codes are alike by their overlap, how many active cells they share. One code is an
:class:`Sdr`; many are the rows of a binary ``scipy.sparse.csr_array``, shape (n_codes, n_cells),
float32 values all 1, as everywhere in this package: :func:`stack` and :func:`unstack` convert.

Terms as in Ahmad and Hawkins, "Properties of Sparse Distributed Representations and their
Application to Hierarchical Temporal Memory", arXiv 1503.07469 (2015).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseret.errors import ConfigurationError, VectorError
from sparseret.vectors import MAX_DIM, check_binary, from_arrays

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Sdr", "add_noise", "changed_cells", "stack", "union", "unstack"]


class Sdr:
    """One code: immutable, hashable, equal where cells and active cells are.

    Args:
        n_cells: number of cells, 1 to 2**31.
        active: numbers of the active cells, in any order, each once.

    Raises:
        VectorError: cells outside ``0 .. n_cells - 1``, or one given twice.
    """

    __slots__ = ("active", "n_cells")

    n_cells: int
    active: NDArray[np.int32]
    """Active cells, ascending, read-only."""

    def __init__(self, n_cells: int, active: ArrayLike | Iterable[int]) -> None:
        if not 1 <= n_cells <= MAX_DIM:
            raise VectorError(f"a code has 1 to {MAX_DIM:,} cells, not {n_cells}")
        given = np.asarray(active if hasattr(active, "__array__") else list(active))  # type: ignore[arg-type]
        if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
            raise VectorError(f"active cells are whole numbers, not {given.dtype} {given.shape}")
        cells = np.sort(given)
        if cells.size and (cells[0] < 0 or cells[-1] >= n_cells):
            raise VectorError(f"active cells must lie in 0..{n_cells - 1}")
        if (cells[1:] == cells[:-1]).any():
            raise VectorError("an active cell is given twice")
        made = cells.astype(np.int32)
        made.flags.writeable = False
        object.__setattr__(self, "n_cells", int(n_cells))
        object.__setattr__(self, "active", made)

    @classmethod
    def from_dense(cls, dense: ArrayLike) -> Sdr:
        """The code whose active cells are the non-zero values of an array, shape (n_cells,)."""
        values = np.asarray(dense)
        if values.ndim != 1:
            raise VectorError(f"expected one code of shape (n_cells,), got {values.shape}")
        return cls(len(values), np.flatnonzero(values))

    @classmethod
    def from_packed(cls, n_cells: int, packed: ArrayLike) -> Sdr:
        """Undo :meth:`packed`. Raises VectorError for another number of bytes."""
        given = np.asarray(packed)
        if given.dtype != np.uint8 or given.shape != (-(-n_cells // 8),):
            raise VectorError(
                f"{n_cells} cells are {-(-n_cells // 8)} bytes (uint8), got {given.dtype} of shape "
                f"{given.shape}"
            )
        return cls(n_cells, np.flatnonzero(np.unpackbits(given, bitorder="little")))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"an Sdr does not change; make another (attribute {name!r})")

    def __reduce__(self) -> tuple[type[Sdr], tuple[int, NDArray[np.int32]]]:
        return Sdr, (self.n_cells, self.active)  # else copies would be made by setting attributes

    def __len__(self) -> int:
        """Number of active cells."""
        return len(self.active)

    def __repr__(self) -> str:
        shown = ", ".join(map(str, self.active[:8])) + (", ..." if len(self) > 8 else "")
        return f"Sdr({self.n_cells}, [{shown}])"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sdr):
            return NotImplemented
        return self.n_cells == other.n_cells and np.array_equal(self.active, other.active)

    def __hash__(self) -> int:
        return hash((self.n_cells, self.active.tobytes()))

    def __or__(self, other: Sdr) -> Sdr:
        """The union: cells that are active in either."""
        self._check(other)
        return Sdr(self.n_cells, np.union1d(self.active, other.active))

    def __and__(self, other: Sdr) -> Sdr:
        """The intersection: cells that are active in both."""
        self._check(other)
        return Sdr(self.n_cells, np.intersect1d(self.active, other.active, assume_unique=True))

    @property
    def density(self) -> float:
        """Share of cells that are active."""
        return len(self) / self.n_cells

    def overlap(self, other: Sdr) -> int:
        """Number of cells active in both. Raises VectorError for another number of cells."""
        return len(self & other)

    def noise(self, fraction: float, *, seed: int) -> Sdr:
        """The code with a share of its active cells moved, as :func:`add_noise` does."""
        return unstack(add_noise(stack([self]), fraction, seed=seed))[0]

    def sample(self, n_active: int, *, seed: int) -> Sdr:
        """The code with so many of its active cells, drawn at random.

        Raises:
            ConfigurationError: more than it has, or less than none.
        """
        if not 0 <= n_active <= len(self):
            raise ConfigurationError(f"of {len(self)} active cells, {n_active} cannot be drawn")
        rng = np.random.default_rng(seed)
        return Sdr(self.n_cells, rng.choice(self.active, n_active, replace=False))

    def dense(self) -> NDArray[np.bool_]:
        """All cells, shape (n_cells,)."""
        out = np.zeros(self.n_cells, bool)
        out[self.active] = True
        return out

    def packed(self) -> NDArray[np.uint8]:
        """All cells as bits, shape (ceil(n_cells / 8),); cell 0 is the lowest bit of byte 0."""
        return np.packbits(self.dense(), bitorder="little")

    def _check(self, other: Sdr) -> None:
        if self.n_cells != other.n_cells:
            raise VectorError(
                f"codes of {self.n_cells} and of {other.n_cells} cells do not compare"
            )


def stack(codes: Sequence[Sdr]) -> csr_array:
    """Codes as rows, float32, shape (len(codes), n_cells).

    Raises:
        VectorError: no code, or codes of different numbers of cells.
    """
    if not codes:
        raise VectorError("no codes to stack: their number of cells is unknown")
    for code in codes:
        codes[0]._check(code)
    indptr = np.concatenate(([0], np.cumsum([len(code) for code in codes]))).astype(np.int64)
    columns = np.concatenate([code.active for code in codes])
    return from_arrays(indptr, columns, np.ones(len(columns), np.float32), codes[0].n_cells)


def unstack(codes: csr_array) -> list[Sdr]:
    """The rows of a binary matrix as codes. Raises VectorError for values other than 0 and 1."""
    rows = check_binary(codes)
    return [Sdr(rows.shape[1], cells) for cells in np.split(rows.indices, rows.indptr[1:-1])][
        : rows.shape[0]
    ]


def union(codes: csr_array) -> csr_array:
    """The cells that are active in any row of a binary matrix, shape (1, n_cells)."""
    rows = check_binary(codes)
    columns = np.unique(rows.indices)
    return from_arrays(
        np.array([0, len(columns)], np.int64), columns, np.ones(len(columns), np.float32),
        rows.shape[1],
    )  # fmt: skip


def changed_cells(active: int, fraction: float) -> int:
    """How many of so many active cells a noise moves: the nearest whole number, halves upwards.

    Raises:
        ConfigurationError: a fraction outside 0 to 1.
    """
    if not 0 <= fraction <= 1:
        raise ConfigurationError(f"noise {fraction} is a share of the active cells, 0 to 1")
    return int(active * fraction + 0.5)


def add_noise(codes: csr_array, fraction: float, *, seed: int) -> csr_array:
    """Move a share of each row's active cells, drawn at random, to cells that were not active.

    Every row keeps its number of active cells, and shares all but :func:`changed_cells` of them
    with what it was.

    Args:
        codes: binary, shape (n_codes, n_cells).
        fraction: of the active cells, 0 to 1.
        seed: of the draws.

    Raises:
        ConfigurationError: a fraction outside 0 to 1.
        VectorError: a row has too few cells that are not active to move so many to.
    """
    rows = check_binary(codes)
    rng = np.random.default_rng(seed)
    n_cells = rows.shape[1]
    columns = rows.indices.copy()
    for row in range(rows.shape[0]):
        cells = columns[rows.indptr[row] : rows.indptr[row + 1]]
        idle = n_cells - len(cells)
        moved = changed_cells(len(cells), fraction)
        if moved > idle:
            raise VectorError(
                f"row {row}: {moved} active cells to move, and {idle} cells that are not active"
            )
        # The r-th idle cell lies behind as many active ones as have at most r idle before them.
        ranks = rng.choice(idle, moved, replace=False) if moved else np.empty(0, np.int64)
        before = np.searchsorted(cells - np.arange(len(cells)), ranks, side="right")
        if moved:
            cells[rng.choice(len(cells), moved, replace=False)] = ranks + before
        cells.sort()
    return from_arrays(rows.indptr, columns, rows.data, n_cells)
