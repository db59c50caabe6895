"""What an index gives up of vectors when they are added, to be smaller.

Fewer distinct values make narrower codes (:mod:`sparseret.indexers.impact_build`), and fewer terms
fewer postings. What is left is stored and merged without further loss, and searched exactly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from sparseret import vectors
from sparseret.errors import ConfigurationError, CorruptIndexError, VectorError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Precision", "Reduction"]

Precision: TypeAlias = Literal["float32", "float16", "uint8"]

_LEVELS = 255
_HEAVIEST = 2**30
"""A row's weights are summed as integers, the heaviest being this: exactly, in any batch."""
_VALUES_AT_ONCE = 2**22


@dataclass(frozen=True)
class Reduction:
    """How vectors are reduced: terms are dropped first, then values rounded.

    Raises:
        ConfigurationError: a setting out of its range.
    """

    precision: Precision = "float32"
    """"float16" rounds to the nearest half-precision number, "uint8" to the nearest multiple of
    ``largest / 255``, both to even at a tie. Values that become zero are dropped."""
    largest: float | None = None
    """For "uint8" alone: the largest weight that takes one byte. Larger ones are multiples of the
    same step, and take a segment that holds any to two bytes a value."""
    mass: float = 1.0
    """Keeps the fewest of a document's heaviest terms whose absolute weights make up this share of
    their sum; of equal weights those with the smaller columns."""
    max_terms: int | None = None
    """Keeps at most so many of a document's heaviest terms."""

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise ConfigurationError(
                f"unknown precision {self.precision!r}; choose {', '.join(get_args(Precision))}"
            )
        if (self.precision == "uint8") != (self.largest is not None):
            raise ConfigurationError(
                'largest= goes with precision="uint8", and that needs it: the largest weight to '
                "expect, such as 3.0 for SPLADE"
            )
        if self.largest is not None and not (
            _is(Real, self.largest) and 1e-30 <= self.largest <= 1e30
        ):
            raise ConfigurationError(
                f"largest must be a number from 1e-30 to 1e30, got {self.largest!r}"
            )
        if not _is(Real, self.mass) or not 0 < self.mass <= 1:
            raise ConfigurationError(f"mass must be above 0 and at most 1, got {self.mass!r}")
        if self.max_terms is not None and not (
            _is(Integral, self.max_terms) and self.max_terms >= 1
        ):
            raise ConfigurationError(
                f"max_terms must be a whole number, at least 1, got {self.max_terms!r}"
            )
        # Plain numbers: JSON knows none of NumPy's.
        object.__setattr__(self, "mass", float(self.mass))
        if self.largest is not None:
            object.__setattr__(self, "largest", float(self.largest))
        if self.max_terms is not None:
            object.__setattr__(self, "max_terms", int(self.max_terms))

    @property
    def is_lossy(self) -> bool:
        """Whether anything is given up."""
        return self != Reduction()

    @property
    def description(self) -> str:
        """In one line, as "uint8 up to 3, 95% of the mass, at most 128 terms"."""
        parts: list[str] = [self.precision]
        if self.largest is not None:
            parts[0] += f" up to {self.largest:g}"
        if self.mass < 1:
            parts.append(f"{100 * self.mass:g}% of the mass")
        if self.max_terms is not None:
            parts.append(f"at most {self.max_terms} terms")
        return ", ".join(parts)

    def to_json(self) -> str:
        """For the catalog."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Reduction:
        """What :meth:`to_json` wrote. Raises CorruptIndexError."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError) as error:  # ConfigurationError is a ValueError
            raise CorruptIndexError(
                f"the record of how vectors are reduced is damaged, or of a newer sparseret: "
                f"{error}. Upgrade sparseret, or restore catalog.sqlite from a backup"
            ) from error

    def apply(self, rows: csr_array) -> csr_array:
        """Reduced rows, canonical again; the input where nothing is given up.

        Args:
            rows: canonical CSR (:func:`sparseret.vectors.check`), shape (n, dim).

        Raises:
            VectorError: a value beyond half precision.
        """
        if not self.is_lossy:
            return rows
        sizes, columns, values = [np.zeros(1, np.int64)], [rows.indices[:0]], [rows.data[:0]]
        for begin, end in _runs(rows.indptr):
            ptr = rows.indptr[begin : end + 1]
            inside = slice(ptr[0], ptr[-1])
            rounded = self._round(rows, inside)
            kept = rounded != 0
            if self.mass < 1 or self.max_terms is not None:
                kept &= self._heavy(np.abs(rows.data[inside]), np.diff(ptr))
            sizes.append(np.diff(np.concatenate(([0], np.cumsum(kept)))[ptr - ptr[0]]))
            columns.append(rows.indices[inside][kept])
            values.append(rounded[kept])
        return vectors.from_arrays(
            np.cumsum(np.concatenate(sizes)), np.concatenate(columns), np.concatenate(values),
            rows.shape[1],
        )  # fmt: skip

    def _round(self, rows: csr_array, inside: slice) -> NDArray[np.float32]:
        values: NDArray[np.float32] = rows.data[inside]
        if self.precision == "float16":
            with np.errstate(over="ignore"):
                rounded = values.astype(np.float16).astype(np.float32)
            finite = np.isfinite(rounded)
            if not finite.all():
                at = inside.start + int(np.argmin(finite))
                row = int(np.searchsorted(rows.indptr, at, "right")) - 1
                raise VectorError(
                    f"row {row}, column {rows.indices[at]}: value {rows.data[at]} is beyond "
                    "float16, which ends at 65504: scale the vectors down"
                )
            return rounded
        if self.largest is not None:
            step = self.largest / _LEVELS
            return (np.rint(values.astype(np.float64) / step) * step).astype(np.float32)
        return values

    def _heavy(self, weights: NDArray[np.float32], sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which values are kept of rows of some sizes, shape of ``weights``."""
        row_of = np.repeat(np.arange(len(sizes)), sizes)
        order = np.lexsort((-weights, row_of))  # stable: equal weights by column
        starts = np.cumsum(sizes) - sizes
        rank = np.arange(len(weights)) - starts[row_of]
        heavy = np.ones(len(weights), dtype=bool)
        if self.mass < 1:
            heaviest = weights[order][starts[row_of]].astype(np.float64)
            units = np.rint(weights[order] / heaviest * _HEAVIEST).astype(np.int64)
            running = np.concatenate(([0], np.cumsum(units)))
            before = running[:-1] - running[starts][row_of]
            total = running[starts + sizes] - running[starts]
            heavy &= before < (self.mass * total)[row_of]
        if self.max_terms is not None:
            heavy &= rank < self.max_terms
        kept = np.empty(len(weights), dtype=bool)
        kept[order] = heavy
        return kept


def _runs(ptr: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Runs of rows, each of not much memory: (first, one after the last)."""
    begin, n = 0, len(ptr) - 1
    while begin < n:
        most = int(np.searchsorted(ptr, ptr[begin] + _VALUES_AT_ONCE, "right")) - 1
        end = max(begin + 1, most)
        yield begin, end
        begin = end


def _is(kind: type, value: object) -> bool:
    """``isinstance``, where a caller may have ignored the types."""
    return isinstance(value, kind)
