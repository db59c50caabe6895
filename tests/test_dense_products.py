"""Products of dense rows: the kernel against its meaning, on every instruction set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from sparseret import kernels
from sparseret.errors import VectorError
from sparseret.kernels import _native, reference


@pytest.fixture(params=_native.instruction_sets())
def _isa(request: pytest.FixtureRequest) -> Iterator[None]:
    _native.use_instruction_set(request.param)
    yield
    _native.use_instruction_set(_native.instruction_sets()[-1])


@pytest.mark.usefixtures("_isa")
@pytest.mark.parametrize("width", [1, 7, 8, 15, 16, 17, 33, 384])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_products_are_those_of_the_reference(width: int, dtype: Any) -> None:
    rng = np.random.default_rng(width)
    for n, m in ((0, 3), (5, 0), (1, 1), (9, 2), (40, 5)):
        scale = 10.0 ** rng.integers(-6, 4, (n, width))
        rows = (rng.standard_normal((n, width)) * scale).astype(dtype)
        queries = rng.standard_normal((m, width)).astype(np.float32)
        found = kernels.dense_products(rows, queries)
        assert found.shape == (m, n)
        assert found.dtype == np.float32
        assert np.array_equal(found, reference.dense_products(rows, queries))
        close = rows.astype(np.float64) @ queries.astype(np.float64).T
        sizes = np.abs(rows.astype(np.float64)) @ np.abs(queries.astype(np.float64)).T
        assert (np.abs(found.T - close) <= 1e-4 * sizes + 1e-30).all()


@pytest.mark.usefixtures("_isa")
def test_every_half_is_widened_exactly() -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = halves[np.isfinite(halves)].reshape(-1, 1)
    found = kernels.dense_products(finite, np.ones((1, 1), np.float32))[0]
    assert np.array_equal(found, finite[:, 0].astype(np.float32))
    # Eight at a time, too.
    wide = halves.reshape(-1, 8)
    one_hot = np.eye(8, dtype=np.float32)
    some = wide[np.isfinite(wide).all(axis=1)]
    assert np.array_equal(kernels.dense_products(some, one_hot).T, some.astype(np.float32))


@pytest.mark.usefixtures("_isa")
def test_rows_anywhere_in_memory_are_read() -> None:
    rng = np.random.default_rng(0)
    queries = rng.standard_normal((2, 5)).astype(np.float32)
    rows = rng.standard_normal((12, 10)).astype(np.float32)[::3, ::2]
    assert np.array_equal(
        kernels.dense_products(rows, queries), kernels.dense_products(rows.copy(), queries)
    )
    odd = np.frombuffer(b"x" + rows.astype(np.float16).tobytes(), np.float16, rows.size, 1)
    odd = odd.reshape(rows.shape)
    assert np.array_equal(
        kernels.dense_products(odd, queries), kernels.dense_products(odd.copy(), queries)
    )


def test_what_has_no_products_is_refused() -> None:
    rows = np.ones((3, 4), np.float32)
    for wrong in (np.ones((2, 5), np.float32), np.ones(4, np.float32)):
        with pytest.raises(VectorError):
            kernels.dense_products(rows, wrong)
    with pytest.raises(VectorError):
        kernels.dense_products(np.ones((3, 0), np.float32), np.ones((1, 0), np.float32))
    with pytest.raises(VectorError, match="float64"):
        kernels.dense_products(rows.astype(np.float64), rows)  # type: ignore[arg-type]
