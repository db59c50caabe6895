"""Rows of sparse vectors as arrays: put in order, joined, and relieved of small weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sparseret.encoders.options import whole_number
from sparseret.errors import ConfigurationError
from sparseret.kernels import Rows

__all__ = ["Pruning", "empty_rows", "join_rows", "prune_rows", "read_pruning", "stack_rows",
           "take_rows", "with_values"]  # fmt: skip


@dataclass(frozen=True)
class Pruning:
    """Which weights of a vector are kept; all conditions hold at once, in this order.

    Of equal weights those with the smaller columns are kept.

    Raises:
        ConfigurationError: a setting out of its range.
    """

    threshold: float = 0.0
    """Weights of at least this much."""
    relative: float = 0.0
    """Weights of at least this share of the vector's largest, 0 to 1: 0.1 with the models of
    OpenSearch's third generation."""
    mass: float = 1.0
    """The fewest of the heaviest weights that make up this share of their sum, above 0 to 1."""
    top_k: int | None = None
    """At most so many of the heaviest weights."""

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("threshold", self.threshold, 0, np.inf),
            ("relative", self.relative, 0, 1),
            ("mass", self.mass, 0, 1),
        ):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ConfigurationError(f"pruning: {name} must be a number, got {value!r}")
            if not low <= value <= high or value == np.inf or (name == "mass" and value == 0):
                raise ConfigurationError(f"pruning: {name} {value!r} is out of range")
            object.__setattr__(self, name, float(value))
        top_k = self.top_k
        if top_k is not None:
            whole_number("pruning: top_k", top_k, 1)

    @property
    def options(self) -> dict[str, Any]:
        """What differs from keeping everything, as JSON values."""
        everything = asdict(Pruning())
        return {name: value for name, value in asdict(self).items() if value != everything[name]}


def read_pruning(given: Pruning | Mapping[str, Any] | None, name: str) -> Pruning:
    """A pruning, or the one that JSON values describe. Raises ConfigurationError."""
    if given is None or isinstance(given, Pruning):
        return given or Pruning()
    known = asdict(Pruning())
    if not isinstance(given, Mapping) or given.keys() - known:
        raise ConfigurationError(
            f"{name} must map some of {', '.join(known)} to numbers, got {given!r}"
        )
    return Pruning(**given)


def empty_rows(n: int) -> Rows:
    """So many rows without values."""
    return Rows(np.zeros(n + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))


def stack_rows(parts: Iterable[Rows]) -> Rows:
    """Rows under one another."""
    parts = list(parts)
    if len(parts) == 1:
        return parts[0]
    indptr, total = [np.zeros(1, np.int64)], 0
    for part in parts:
        indptr.append(part.indptr[1:] + total)
        total += int(part.indptr[-1])
    none = empty_rows(0)
    return Rows(
        np.concatenate(indptr),
        np.concatenate([none.columns, *(part.columns for part in parts)]),
        np.concatenate([none.values, *(part.values for part in parts)]),
    )


def take_rows(rows: Rows, order: NDArray[np.int64]) -> Rows:
    """The rows of these numbers, in this order; shape (len(order),)."""
    counts = np.diff(rows.indptr)[order]
    indptr = np.concatenate(([0], np.cumsum(counts)))
    source = np.arange(indptr[-1]) + np.repeat(rows.indptr[:-1][order] - indptr[:-1], counts)
    return Rows(indptr, rows.columns[source], rows.values[source])


def join_rows(rows: Rows, owners: NDArray[np.int64], n: int, how: Literal["max", "sum"]) -> Rows:
    """Rows of one owner made one, by the maximum or the sum of each column.

    Args:
        rows: values not negative.
        owners: number of the joint row of each row, in any order, shape (number of rows,).
        n: number of joint rows; those that own none are empty.
        how: "max" or "sum".
    """
    if (np.bincount(owners, minlength=n) <= 1).all():  # nothing to join, only to put in order
        order = np.argsort(owners)
        taken = take_rows(rows, order)
        sizes = np.zeros(n, np.int64)
        sizes[owners[order]] = np.diff(taken.indptr)
        return taken._replace(indptr=np.concatenate(([0], np.cumsum(sizes))))
    owner = np.repeat(owners, np.diff(rows.indptr))
    order = np.lexsort((rows.columns, owner))
    owner, columns, values = owner[order], rows.columns[order], rows.values[order]
    first = np.ones(len(owner), dtype=bool)
    first[1:] = (owner[1:] != owner[:-1]) | (columns[1:] != columns[:-1])
    starts = np.flatnonzero(first)
    join = np.maximum if how == "max" else np.add
    indptr = np.concatenate(([0], np.cumsum(np.bincount(owner[starts], minlength=n))))
    joint = join.reduceat(values, starts) if len(starts) else values
    return Rows(indptr, columns[starts], joint.astype(np.float32, copy=False))


def with_values(rows: Rows, values: NDArray[np.float32]) -> Rows:
    """Rows with other values in the place of theirs; those that are 0 are left out."""
    return _keep(Rows(rows.indptr, rows.columns, values), values != 0)


def prune_rows(rows: Rows, pruning: Pruning) -> Rows:
    """Rows without the weights that a pruning drops."""
    if pruning == Pruning():
        return rows
    n = len(rows.indptr) - 1
    row_of = np.repeat(np.arange(n), np.diff(rows.indptr))
    largest = np.zeros(n)
    np.maximum.at(largest, row_of, rows.values)
    floor = np.maximum(largest * pruning.relative, pruning.threshold)
    keep = rows.values >= floor[row_of]
    rows, row_of = _keep(rows, keep), row_of[keep]
    if pruning.mass == 1 and pruning.top_k is None:
        return rows
    # Heaviest first within each row; the sort is stable, so smaller columns first among equals.
    order = np.lexsort((-rows.values, row_of))
    values = rows.values[order].astype(np.float64)
    place = np.arange(len(values)) - np.repeat(rows.indptr[:-1], np.diff(rows.indptr))
    keep = np.ones(len(values), dtype=bool)
    if pruning.mass < 1:
        so_far = np.concatenate(([0.0], np.cumsum(values)))
        before = so_far[:-1] - so_far[rows.indptr[:-1]][row_of]
        total = so_far[rows.indptr[1:]] - so_far[rows.indptr[:-1]]
        keep &= (before < total[row_of] * pruning.mass) | (place == 0)
    if pruning.top_k is not None:
        keep &= place < pruning.top_k
    kept = np.zeros(len(values), dtype=bool)
    kept[order[keep]] = True
    return _keep(rows, kept)


def _keep(rows: Rows, keep: NDArray[np.bool_]) -> Rows:
    kept_before = np.concatenate(([0], np.cumsum(keep)))
    return Rows(kept_before[rows.indptr], rows.columns[keep], rows.values[keep])
