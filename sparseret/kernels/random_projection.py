"""Sparse rows times a random matrix of -1, 0 and 1 that is made as it is needed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import ConfigurationError, VectorError
from sparseret.kernels import _native

__all__ = ["RandomMatrix", "random_projection"]

_UNITS = 2**32


class RandomMatrix(NamedTuple):
    """A matrix of -1, 0 and 1, of any number of rows (features); nothing of it is stored.

    Entries are functions of the seed and their place: :func:`reference_projection.entries`.
    """

    n_components: int
    """Number of columns, 1 to 2^31 - 1."""
    density: float
    """Probability that an entry is not zero, above 0 to 1; in effect :attr:`exact_density`."""
    seed: int = 0
    """0 to 2^64 - 1."""
    signed: bool = True
    """Whether half of the entries that are not zero are negative; none is otherwise."""

    @property
    def exact_density(self) -> float:
        """The density as it is realised: a multiple of 2^-32."""
        return self.units / _UNITS

    @property
    def units(self) -> int:
        """The density in multiples of 2^-32, at least one."""
        return max(1, round(self.density * _UNITS))

    def check(self) -> None:
        """Raise ConfigurationError where a setting is out of its range."""
        for name, value, largest in (
            ("n_components", self.n_components, 2**31 - 1),
            ("seed", self.seed, 2**64 - 1),
        ):
            if type(value) is not int or not (name == "n_components") <= value <= largest:
                raise ConfigurationError(f"{name} {value!r}: must be a whole number of its range")
        if not 0 < self.density <= 1:
            raise ConfigurationError(f"density {self.density!r}: must be above 0, and at most 1")


def random_projection(
    indptr: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[np.float32],
    matrix: RandomMatrix,
    *,
    scale: float = 1.0,
    threads: int = 1,
) -> NDArray[np.float32]:
    """``scale`` times the product of CSR rows and a random matrix.

    The values of a row are added in their order in float32, and the sum is multiplied with the
    scale last, so results depend neither on the processor nor on the number of threads. The time is
    that of reading: rows of the matrix that were made are kept, up to 16 MiB of them a thread.

    Meaning: :func:`sparseret.kernels.reference_projection.random_projection`.

    Args:
        indptr: offsets of each row, int64, shape (n + 1,).
        columns: features, not negative, int32, shape (nnz,).
        values: float32, at most 1e20 in magnitude, shape (nnz,).
        matrix: its columns are the components.
        scale: in float32.
        threads: rows and components are spread over this many threads.

    Returns:
        float32, shape (n, n_components).

    Raises:
        ConfigurationError: a setting of the matrix is out of its range.
        VectorError: arrays that are no CSR rows, or values that are not finite or exceed 1e20.
    """
    matrix.check()
    try:
        flat: NDArray[Any] = _native.random_projection(
            indptr, columns, values, matrix.n_components, matrix.units, matrix.seed,
            matrix.signed, scale, max(1, threads),
        )  # fmt: skip
    except ValueError as error:
        raise VectorError(f"rows that cannot be projected: {error}") from error
    return flat.reshape(len(indptr) - 1, matrix.n_components)
