"""Impact-ordered search: certified exact results against the reference, under adversarial input."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from sparseret import kernels, vectors
from sparseret.errors import CorruptIndexError
from sparseret.kernels import Effort, ImpactSegment, reference


def segment(rows: csr_array, window_bits: int) -> ImpactSegment:
    ranked = kernels.rank_columns(rows.indices, rows.data)
    builder = kernels.ImpactBuilder(ranked.columns, ranked.column_max, window_bits)
    docs = [np.empty(0, np.uint16)]
    n, window = rows.shape[0], 1 << window_bits
    for first in range(0, n, window):
        last = min(n, first + window)
        inside = slice(rows.indptr[first], rows.indptr[last])
        row_ptr = (rows.indptr[first : last + 1] - rows.indptr[first]).astype(np.int64)
        docs.append(builder.add(row_ptr, ranked.ranks[inside], rows.data[inside]))
    return ImpactSegment(
        builder.finish(np.concatenate(docs)), rows.indptr, ranked.ranks, rows.data, None,
        window_bits,
    )  # fmt: skip


def bitmap(mask: NDArray[np.bool_]) -> NDArray[np.uint64]:
    padded = np.zeros(-(-len(mask) // 64) * 64, dtype=bool)
    padded[: len(mask)] = mask
    return np.packbits(padded, bitorder="little").view(np.uint64)


def random_rows(rng: np.random.Generator, n: int, dim: int, density: float) -> csr_array:
    dense = rng.random((n, dim), np.float32) * (rng.random((n, dim)) < density)
    return vectors.check(csr_array(dense.astype(np.float32)))


def assert_exact(
    rows: csr_array,
    queries: csr_array,
    k: int,
    bits: int,
    allowed: NDArray[np.bool_] | None = None,
    between: range | None = None,
) -> None:
    mask = allowed
    if between is not None:
        inside = np.zeros(rows.shape[0], bool)
        inside[between.start : between.stop] = True
        mask = inside if allowed is None else inside & allowed
    want = reference.search(rows, queries, k, allowed=mask)
    got = kernels.search(
        [segment(rows, bits)], queries, k, rows=between,
        allowed=None if allowed is None else [bitmap(allowed)],
    )  # fmt: skip
    np.testing.assert_array_equal(got.ptr, want.ptr)
    np.testing.assert_array_equal(got.rows, want.rows)
    np.testing.assert_array_equal(got.scores, want.scores)


@pytest.mark.parametrize("isa", kernels._native.instruction_sets())
@pytest.mark.parametrize("seed", range(25))
def test_random_input_equals_the_reference(seed: int, isa: str) -> None:
    rng = np.random.default_rng(seed)
    n, dim = int(rng.integers(1, 500)), int(rng.choice([3, 40, 400]))
    rows = random_rows(rng, n, dim, float(rng.choice([0.01, 0.1, 0.6])))
    queries = random_rows(rng, 4, dim, float(rng.choice([0.02, 0.3, 1.0])))
    if seed % 3 == 0:  # many equal scores
        rows = vectors.check(csr_array(np.ceil(rows.toarray() * 3)))
        queries = vectors.check(csr_array(np.ceil(queries.toarray() * 2)))
    if seed % 4 == 1:  # weights over many orders of magnitude
        rows.data *= (10.0 ** rng.integers(-30, 6, rows.nnz)).astype(np.float32)
        rows.data = np.maximum(rows.data, np.float32(1e-38))
    if seed % 5 == 2:  # negative query weights have no bound
        queries.data[::2] *= -1
    allowed = rng.random(n) < rng.choice([0.02, 0.5]) if seed % 2 else None
    begin = int(rng.integers(0, n))
    between = range(begin, int(rng.integers(begin, n + 1))) if seed % 3 == 1 else None
    kernels._native.use_instruction_set(isa)
    try:
        for k in (1, 3, 10, 1000):
            assert_exact(rows, queries, k, int(rng.choice([5, 6, 9])), allowed, between)
    finally:
        kernels._native.use_instruction_set(kernels._native.instruction_sets()[-1])


def test_adversarial_shapes() -> None:
    rng = np.random.default_rng(5)
    same = vectors.check(csr_array(np.tile(np.float32([0.3, 0, 1.7, 2.1]), (3000, 1))))
    query = vectors.check(csr_array(np.float32([[1, 1, 1, 0.1]])))
    assert_exact(same, query, 10, 9)  # all documents equal: the first ones win

    dense = rng.random((3000, 40), np.float32) + np.float32(0.01)
    dominant = dense.copy()
    dominant[:, 7] *= 1e6
    few = vectors.check(csr_array(rng.random((3, 40), np.float32)))
    for matrix in (dense, dominant):
        assert_exact(vectors.check(csr_array(matrix)), few, 10, 8)

    # One document among many is ahead by the last bit of its score.
    close = np.full((2000, 8), 0.7, np.float32)
    close[1777, 3] = np.nextafter(np.float32(0.7), np.float32(1))
    ones = vectors.check(csr_array(np.ones((1, 8), np.float32)))
    assert_exact(vectors.check(csr_array(close)), ones, 1, 7)


@pytest.mark.parametrize("order", ["best first", "best last", "best in the middle", "as they come"])
@pytest.mark.parametrize("k", [1, 10, 100])
def test_windows_that_are_unlike_each_other(order: str, k: int) -> None:
    """The first window misleads about what the k-th best score will be."""
    rng = np.random.default_rng(9)
    rows = random_rows(rng, 6000, 50, 0.2)
    query = random_rows(rng, 1, 50, 0.5)
    scores = (rows @ query.T).toarray().ravel()
    ascending = np.argsort(scores, kind="stable")
    places = {
        "best first": ascending[::-1],
        "best last": ascending,
        "best in the middle": np.concatenate((ascending[::2], ascending[1::2][::-1])),
        "as they come": np.arange(6000),
    }[order]
    sorted_rows = vectors.check(rows[places])
    assert_exact(sorted_rows, query, k, 9)
    assert_exact(sorted_rows, query, k, 9, allowed=rng.random(6000) < 0.9)
    assert_exact(sorted_rows, query, k, 9, between=range(700, 5300))


def test_a_column_that_is_light_in_the_first_window_only() -> None:
    """What a plan leaves unread there matters elsewhere."""
    rng = np.random.default_rng(11)
    dense = np.zeros((2048, 2), np.float32)
    dense[:, 0] = 100 + rng.random(2048)
    dense[:512, 1] = 0.01
    dense[[1500, 1900], 0] = 0
    dense[[1500, 1900], 1] = 150, 103
    rows = vectors.check(csr_array(dense))
    for k in (1, 10, 100):
        assert_exact(rows, vectors.check(csr_array(np.float32([[1, 1]]))), k, 9)


def test_more_candidates_than_are_kept() -> None:
    rng = np.random.default_rng(10)
    close = (1 + rng.random((20_000, 6), np.float32) * 0.01).astype(np.float32)
    ones = vectors.check(csr_array(np.ones((1, 6), np.float32)))
    for k in (1, 50):
        assert_exact(vectors.check(csr_array(close)), ones, k, 10)


def test_thousands_of_terms_and_wide_columns() -> None:
    rng = np.random.default_rng(6)
    rows = random_rows(rng, 60, 3000, 0.5)
    assert_exact(rows, random_rows(rng, 2, 3000, 1.0), 5, 5)
    # Columns far apart, and more than 2**16 of them: ranks of 32 bits.
    n = 70_000
    columns = np.sort(rng.choice(2**31 - 1, n, replace=False)).astype(np.int32)
    ptr = np.arange(0, n + 1, 100, dtype=np.int64)
    values = rng.random(n).astype(np.float32) + np.float32(0.1)
    wide = vectors.from_arrays(ptr, columns, values, 2**31 - 1)
    chosen = np.sort(rng.choice(n, 30, replace=False))
    query = vectors.from_arrays(
        np.array([0, 30]), columns[chosen], np.ones(30, np.float32), 2**31 - 1
    )
    got = kernels.search([segment(wide, 5)], query, 30)
    scores: dict[int, np.float32] = {}
    for place in chosen:
        row = int(place) // 100
        scores[row] = scores.get(row, np.float32(0)) + values[place]
    want = sorted(scores, key=lambda row: (-scores[row], row))
    assert got.rows.tolist() == want
    assert got.scores.tolist() == [scores[row] for row in want]


def test_approximate_search_returns_true_scores_and_ends_exact() -> None:
    rng = np.random.default_rng(7)
    rows = random_rows(rng, 4000, 60, 0.3)
    queries = random_rows(rng, 20, 60, 0.3)
    ready = segment(rows, 9)
    product = queries @ rows.T
    exact = kernels.search([ready], queries, 10)
    found = kernels.search([ready], queries, 10, effort=Effort(0.3, 30))
    dense = product.toarray()
    for q in range(20):
        inside = slice(found.ptr[q], found.ptr[q + 1])
        np.testing.assert_array_equal(found.scores[inside], dense[q, found.rows[inside]])
    assert found.work.postings < exact.work.postings
    everything = kernels.search([ready], queries, 10, effort=Effort(0.0, 4000))
    np.testing.assert_array_equal(everything.rows, exact.rows)
    threaded = kernels.search([ready], queries, 10, effort=Effort(0.3, 30), threads=3)
    np.testing.assert_array_equal(threaded.rows, found.rows)


def test_altered_offsets_are_an_error() -> None:
    rng = np.random.default_rng(8)
    rows = random_rows(rng, 300, 20, 0.5)
    ranked = kernels.rank_columns(rows.indices, rows.data)
    builder = kernels.ImpactBuilder(ranked.columns, ranked.column_max, 9)
    lists = builder.finish(builder.add(rows.indptr.astype(np.int64), ranked.ranks, rows.data))
    query = random_rows(rng, 1, 20, 1.0)
    row_ptr = rows.indptr.astype(np.int64)
    for damaged, ptr in (
        (lists._replace(lists=lists.lists + np.uint32(2**31)), row_ptr),
        (lists._replace(column_ptr=lists.column_ptr + np.uint32(9)), row_ptr),
        (lists, row_ptr + 10**9),
    ):
        broken = ImpactSegment(damaged, ptr, ranked.ranks, rows.data, None, 9)
        with pytest.raises(CorruptIndexError, match="out of range"):
            kernels.search([broken], query, 5)
