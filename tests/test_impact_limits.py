"""Impact-ordered search at the limits of its proof, and after searches of altered segments."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from sparseret import kernels, vectors
from sparseret.errors import CorruptIndexError
from sparseret.kernels import Effort, ImpactBuilder, ImpactLists, ImpactSegment, reference


def lists_of(rows: csr_array, bits: int) -> tuple[ImpactLists, np.ndarray]:
    ranked = kernels.rank_columns(rows.indices, rows.data)
    builder = ImpactBuilder(ranked.columns, ranked.column_max, bits)
    return builder.finish(builder.add(rows.indptr, ranked.ranks, rows.data)), ranked.ranks


def segment(rows: csr_array, bits: int) -> ImpactSegment:
    lists, ranks = lists_of(rows, bits)
    return ImpactSegment(lists, rows.indptr, ranks, rows.data, None, bits)


@pytest.mark.parametrize("size", [1e-45, 1e-43, 1e-41, 1e-39, 1e-37, 1e-30, 1e-24, 1e36, 3e37])
@pytest.mark.parametrize("seed", range(8))
def test_products_of_any_size(size: float, seed: int) -> None:
    """Small ones round to denormal numbers, or to zero; sums of large ones to infinity."""
    rng = np.random.default_rng(seed)
    n, dim = int(rng.integers(50, 400)), int(rng.integers(5, 30))
    rows = vectors.check((rng.random((n, dim)) * np.sqrt(size)).astype(np.float32))
    queries = vectors.check((rng.random((3, dim)) * np.sqrt(size)).astype(np.float32))
    ready = segment(rows, int(rng.choice([5, 6, 9])))
    for k in (1, 3, 10):
        with np.errstate(over="ignore"):
            want = reference.search(rows, queries, k)
        found = kernels.search([ready], queries, k)
        np.testing.assert_array_equal(found.rows, want.rows)
        np.testing.assert_array_equal(found.scores, want.scores)


def test_scores_that_overflow_go_to_the_earlier_row() -> None:
    rows = np.full((3000, 2), 1e30, np.float32)
    rows[2000] = 3e38
    ready = segment(vectors.check(rows), 9)
    query = vectors.check(np.full((1, 2), 1e30, np.float32))
    found = kernels.search([ready], query, 5)
    assert found.rows.tolist() == [0, 1, 2, 3, 4]
    assert np.isinf(found.scores).all()


@pytest.mark.parametrize("bits", [5, 9, 11])
def test_documents_past_a_window_leave_no_trace(bits: int) -> None:
    """Of an altered segment; the next search on this thread may be of larger windows."""
    rng = np.random.default_rng(bits)
    lists, ranks = lists_of(small := vectors.check(rng.random((40, 6), np.float32) + 0.5), bits)
    words = lists.words.copy()
    for begin, window_and_size in lists.lists.reshape(-1, 2).tolist():
        size = (window_and_size & 0xFFFF) + 1  # short lists: two codes a word, then documents
        first = begin + -(-size // (2 * reference.BLOCK))
        words[first : first + size : 2] += np.uint16(1 << bits)
    altered = ImpactSegment(
        lists._replace(words=words), small.indptr, ranks, small.data, None, bits
    )
    rows = vectors.check(rng.random((3000, 6), np.float32) + 0.1)
    query = vectors.check(np.ones((1, 6)))
    sound = segment(rows, 12)
    want = reference.search(rows, query, 5)
    near = kernels.search([sound], query, 5, effort=Effort(0.2, 10))
    for _ in range(50):
        kernels.search([altered], query, 5)
        assert kernels.search([sound], query, 5).rows.tolist() == want.rows.tolist()
        kernels.search([altered], query, 5, effort=Effort(0.0, 10))
        again = kernels.search([sound], query, 5, effort=Effort(0.2, 10))
        assert again.rows.tolist() == near.rows.tolist()


@pytest.mark.parametrize("bound", [-1.0, -np.inf, np.nan])
def test_bounds_that_are_none(bound: float) -> None:
    rows = vectors.check(np.random.default_rng(0).random((100, 3), np.float32) + 0.1)
    lists, ranks = lists_of(rows, 6)
    column_max = lists.column_max.copy()
    column_max[1] = bound
    altered = ImpactSegment(
        lists._replace(column_max=column_max), rows.indptr, ranks, rows.data, None, 6
    )
    with pytest.raises(CorruptIndexError, match="column_max"):
        kernels.search([altered], vectors.check(np.ones((1, 3))), 5)
