"""Native kernels against their NumPy references: random, degenerate and adversarial input."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from sparseret import kernels, vectors
from sparseret.errors import CorruptIndexError
from sparseret.kernels import _native, reference

FLT_TINY = float(np.finfo(np.float32).smallest_subnormal)


@pytest.fixture(params=_native.instruction_sets())
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    _native.use_instruction_set(request.param)
    yield request.param
    _native.use_instruction_set(_native.instruction_sets()[-1])


def random_csr(
    rng: np.random.Generator,
    n: int,
    dim: int,
    nnz: float,
    values: str = "normal",
) -> csr_array:
    counts = rng.poisson(nnz, size=n).clip(0, dim)
    columns = [np.sort(rng.choice(dim, size=c, replace=False)) for c in counts]
    total = int(counts.sum())
    data = {
        "normal": lambda: rng.normal(size=total),
        "positive": lambda: rng.exponential(size=total) + 1e-3,
        "few": lambda: rng.integers(1, 4, size=total),
        "equal": lambda: np.ones(total),
        "signs": lambda: rng.choice([-1.0, 1.0], size=total),
        "extreme": lambda: rng.choice([1e18, 1e-18, 1.0, FLT_TINY, -FLT_TINY, -1e18], size=total),
    }[values]().astype(np.float32)
    data[data == 0] = 1
    return vectors.from_arrays(
        np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
        np.concatenate([np.empty(0, int), *columns]).astype(np.int32),
        data,
        dim,
    )


def build(
    documents: csr_array, splits: list[int], *, coded: int | None = None, window_bits: int = 16
) -> list[kernels.Segment]:
    """Segments over consecutive slices of the rows; ``coded`` gives the bytes of a code."""
    segments = []
    for first, last in zip([0, *splits], [*splits, documents.shape[0]], strict=True):
        part = vectors.check(documents[first:last])
        values, weights = part.data, None
        if coded:
            book = kernels.make_codebook(part.indptr, part.data, None, 2**31 - 1)
            assert book is not None
            values, weights = book.codes.astype(f"u{coded}"), book.values
        postings = kernels.invert(part.indptr, part.indices, values, window_bits)
        segments.append(kernels.Segment(part.shape[0], postings, weights, window_bits))
    return segments


def bitmaps(mask: np.ndarray, splits: list[int]) -> list[np.ndarray]:
    out = []
    for part in np.split(mask, splits):
        padded = np.zeros(-(-max(len(part), 1) // 64) * 64, dtype=np.uint8)
        padded[: len(part)] = part
        out.append(np.packbits(padded, bitorder="little").view(np.uint64))
    return out


def assert_same(got: kernels.Ranking, want: kernels.Ranking) -> None:
    np.testing.assert_array_equal(got.ptr, want.ptr)
    np.testing.assert_array_equal(got.rows, want.rows)
    np.testing.assert_array_equal(got.scores, want.scores)  # equal, not close


@pytest.mark.parametrize("values", ["normal", "positive", "few", "equal", "signs", "extreme"])
@pytest.mark.parametrize("k", [1, 7, 100, 10_000])
def test_search_equals_reference(instruction_set: str, values: str, k: int) -> None:
    rng = np.random.default_rng(k)
    documents = random_csr(rng, 700, 60, 8, values)
    queries = random_csr(rng, 40, 60, 5, values)
    mask = rng.random(700) < 0.4
    for splits in ([], [1], [64, 65, 300]):
        segments = build(documents, splits, window_bits=7)
        assert_same(kernels.search(segments, queries, k), reference.search(documents, queries, k))
        assert_same(
            kernels.search(segments, queries, k, allowed=bitmaps(mask, splits), threads=3),
            reference.search(documents, queries, k, allowed=mask),
        )


def test_search_equals_scipy_product() -> None:
    rng = np.random.default_rng(0)
    documents = random_csr(rng, 500, 100, 20, "normal")
    queries = random_csr(rng, 20, 100, 30, "normal")
    product = (queries @ documents.T).toarray()
    got = kernels.search(build(documents, [200]), queries, 500)
    for q in range(20):
        inside = slice(got.ptr[q], got.ptr[q + 1])
        np.testing.assert_array_equal(got.scores[inside], product[q, got.rows[inside]])


@pytest.mark.parametrize("bits", [1, 6, 10, 16])
def test_sparse_and_dense_windows(instruction_set: str, bits: int) -> None:
    """Windows of every size, some with one posting and some full, on both sides of the switch."""
    rng = np.random.default_rng(bits)
    n = 3000 if bits < 16 else 70_000
    common = np.arange(n)
    rare = rng.choice(n, size=5, replace=False)
    rows = np.concatenate([common, rare])
    columns = np.concatenate([np.zeros(n, int), np.ones(5, int)])
    values = rng.integers(1, 3, size=n + 5).astype(np.float32)
    documents = vectors.check(csr_array((values, (rows, columns)), shape=(n, 2)))
    queries = vectors.check(np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]))
    segments = build(documents, [], window_bits=bits)
    for k in (1, 10, n):
        assert_same(kernels.search(segments, queries, k), reference.search(documents, queries, k))


@pytest.mark.parametrize("width", [1, 2, 4])
def test_coded_values_score_like_plain_ones(instruction_set: str, width: int) -> None:
    rng = np.random.default_rng(width)
    documents = random_csr(rng, 900, 40, 6, "few" if width == 1 else "positive")
    queries = random_csr(rng, 30, 40, 6, "positive")
    assert_same(
        kernels.search(build(documents, [400], coded=width), queries, 20),
        reference.search(documents, queries, 20),
    )


def test_largest_dimension_and_long_queries() -> None:
    rng = np.random.default_rng(5)
    columns = np.unique(rng.integers(0, 2**31 - 1, size=3000)).astype(np.int32)
    columns[-1] = 2**31 - 1
    dim = 2**31
    n = 50
    indices = np.concatenate(
        [np.sort(rng.choice(columns, size=200, replace=False)) for _ in range(n)]
    )
    ptr = np.arange(n + 1, dtype=np.int64) * 200
    data = rng.random(n * 200, dtype=np.float32) + 0.1
    documents = vectors.from_arrays(ptr, indices, data, dim)
    query = vectors.from_arrays(
        np.array([0, len(columns)]), columns, rng.random(len(columns), dtype=np.float32) + 0.1, dim
    )
    got = kernels.search(build(documents, []), query, 5)
    weights = dict(zip(query.indices.tolist(), query.data, strict=True))
    want = []
    for row in range(n):
        score = np.float32(0)
        for i in range(ptr[row], ptr[row + 1]):
            score += np.float32(weights[int(indices[i])] * data[i])
        want.append((-score, row))
    want.sort()
    assert [(-s, r) for s, r in zip(got.scores, got.rows, strict=True)] == want[:5]


def test_empty_collections_and_queries() -> None:
    empty = vectors.check(csr_array((0, 5), dtype=np.float32))
    blank = vectors.check(csr_array((3, 5), dtype=np.float32))
    query = vectors.check(np.ones((2, 5)))
    for documents in (empty, blank):
        assert kernels.search(build(documents, []), query, 10).ptr.tolist() == [0, 0, 0]
    assert kernels.search([], query, 10).ptr.tolist() == [0, 0, 0]
    assert kernels.search(build(query, []), blank, 10).ptr.tolist() == [0, 0, 0, 0]
    assert kernels.search(build(query, []), empty, 10).ptr.tolist() == [0]


def test_zero_score_is_a_hit_only_where_a_term_matches(instruction_set: str) -> None:
    documents = vectors.check(np.array([[1.0, -1.0, 0], [0, 0, 1.0], [FLT_TINY, 0, 0]]))
    query = vectors.check(np.array([[1.0, 1.0, 0], [-0.25, 0, 0]]))
    got = kernels.search(build(documents, []), query, 10)
    assert got.ptr.tolist() == [0, 2, 4]
    assert got.rows.tolist() == [2, 0, 2, 0]
    assert got.scores.tolist() == [FLT_TINY, 0.0, 0.0, -0.25]


def test_ties_go_to_the_earlier_row_across_windows_and_segments(instruction_set: str) -> None:
    documents = vectors.check(np.ones((1000, 1)))
    query = vectors.check(np.ones((1, 1)))
    for k in (1, 63, 64, 65, 999):
        got = kernels.search(build(documents, [100, 101, 500], window_bits=5), query, k)
        assert got.rows.tolist() == list(range(k))


def test_results_do_not_depend_on_threads() -> None:
    rng = np.random.default_rng(9)
    documents = random_csr(rng, 2000, 200, 30, "normal")
    queries = random_csr(rng, 64, 200, 10, "normal")
    segments = build(documents, [1000])
    one = kernels.search(segments, queries, 50, threads=1)
    for threads in (2, 5, 200):
        assert_same(kernels.search(segments, queries, 50, threads=threads), one)


csr_triples = st.integers(1, 40).flatmap(
    lambda n: st.lists(
        st.dictionaries(
            st.one_of(st.integers(0, 12), st.integers(0, 2**31 - 1)),
            st.sampled_from([1.0, 2.0, 0.5, -1.0]),
            max_size=8,
        ),
        min_size=n,
        max_size=n,
    )
)


@settings(max_examples=150, deadline=None)
@given(rows=csr_triples, bits=st.integers(1, 16))
def test_invert_equals_reference(rows: list[dict[int, float]], bits: int) -> None:
    ptr = np.concatenate(([0], np.cumsum([len(r) for r in rows]))).astype(np.int64)
    columns = np.array([c for r in rows for c in sorted(r)], dtype=np.int32)
    values = np.array([r[c] for r in rows for c in sorted(r)], dtype=np.float32)
    got = kernels.invert(ptr, columns, values, bits)
    want = reference.invert(ptr, columns, values, bits)
    for name, a, b in zip(got._fields, got, want, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
        assert a.dtype == b.dtype, name


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(
        st.lists(st.sampled_from([1.0, 2.0, -0.5, 1e-30, 3e38]), max_size=6), max_size=20
    ),
    with_lengths=st.booleans(),
    limit=st.sampled_from([0, 1, 3, 1000]),
)
def test_codebook_equals_reference(rows: list[list[float]], with_lengths: bool, limit: int) -> None:
    ptr = np.concatenate(([0], np.cumsum([len(r) for r in rows]))).astype(np.int64)
    values = np.array([v for r in rows for v in r], dtype=np.float32)
    lengths = np.array([float(len(r)) for r in rows], np.float32) if with_lengths else None
    got = kernels.make_codebook(ptr, values, lengths, limit)
    want = reference.make_codebook(ptr, values, lengths, limit)
    assert (got is None) == (want is None)
    if got is not None and want is not None:
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)


def test_codebook_grows_past_its_first_table() -> None:
    values = np.random.default_rng(1).permutation(np.arange(1, 50_001)).astype(np.float32)
    ptr = np.array([0, len(values)])
    got = kernels.make_codebook(ptr, values, None, 2**31 - 1)
    assert got is not None
    np.testing.assert_array_equal(got.values[got.codes], values)
    assert (np.diff(got.values) > 0).all()


@settings(max_examples=100, deadline=None)
@given(
    documents=st.lists(
        st.tuples(
            st.lists(st.integers(-1, 6), max_size=10), st.lists(st.integers(-1, 6), max_size=10)
        ),
        max_size=10,
    ),
    weights=st.tuples(st.sampled_from([0.1, 1.0, 2.5]), st.sampled_from([0.3, 1.0])),
)
def test_count_terms_equals_reference(
    documents: list[tuple[list[int], list[int]]], weights: tuple[float, float]
) -> None:
    runs = [run for document in documents for run in document]
    ptr = np.concatenate(([0], np.cumsum([len(r) for r in runs]))).astype(np.int64)
    tokens = np.array([t for r in runs for t in r], dtype=np.int32)
    field_weights = np.array(weights)
    got = kernels.count_terms(ptr, tokens, field_weights)
    want = reference.count_terms(ptr, tokens, field_weights)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_document_frequencies() -> None:
    documents = vectors.check(np.array([[1.0, 0, 2], [1, 0, 0], [3, 0, 0]]))
    (segment,) = build(documents, [], window_bits=1)
    assert segment.document_frequencies(np.array([0, 1, 2, 7], np.int32)).tolist() == [3, 0, 1, 0]


def altered(postings: kernels.Postings, **changes: object) -> kernels.Segment:
    copies = {name: array.copy() for name, array in postings._asdict().items()}
    for name, change in changes.items():
        at, value = change  # type: ignore[misc]
        copies[name][at] = value
    return kernels.Segment(300, kernels.Postings(**copies), None, 6)


@pytest.mark.parametrize(
    "change",
    [
        {"column_ptr": (1, 2**32 - 1)},
        {"column_ptr": (0, 500)},
        {"block_ptr": (1, 2**31)},
        {"block_ptr": (0, 2**32 - 1)},
        {"block_window": (0, 9)},
        {"block_window": (1, 0)},
        {"block_window": (0, 60_000)},
        {"docs": (0, 65_535)},
        {"docs": (-1, 64)},
    ],
)
def test_altered_segments_raise_and_leave_no_trace(change: dict[str, tuple[int, int]]) -> None:
    documents = vectors.check(np.ones((300, 1)))
    query = vectors.check(np.ones((1, 1)))
    postings = kernels.invert(documents.indptr, documents.indices, documents.data, 6)
    with pytest.raises(CorruptIndexError):
        kernels.search([altered(postings, **change)], query, 300)
    assert_same(
        kernels.search(build(documents, []), query, 300), reference.search(documents, query, 300)
    )


def test_wide_codes_past_their_table_are_harmless() -> None:
    documents = vectors.check(np.ones((3, 1)))
    postings = kernels.invert(
        documents.indptr, documents.indices, np.array([0, 2**32 - 1, 1], dtype=np.uint32)
    )
    segment = kernels.Segment(3, postings, np.array([1.0], dtype=np.float32))
    assert kernels.search([segment], vectors.check(np.ones((1, 1))), 3).scores.tolist() == [1] * 3


def test_wrong_arguments_are_refused() -> None:
    documents = vectors.check(np.ones((3, 1)))
    postings = kernels.invert(documents.indptr, documents.indices, documents.data)
    with pytest.raises(ValueError, match="k must be"):
        kernels.search(build(documents, []), documents, 0)
    with pytest.raises(ValueError, match="bitmap"):
        kernels.search(build(documents, []), documents, 1, allowed=[np.empty(0, np.uint64)])
    with pytest.raises(ValueError, match="wrong length"):
        kernels.Segment(3, postings._replace(docs=postings.docs[:-1]))
    with pytest.raises(ValueError, match="ascend"):
        kernels.invert(np.array([0, 2, 1]), documents.indices, documents.data)
    with pytest.raises(ValueError, match="negative"):
        kernels.invert(documents.indptr, -documents.indices - 1, documents.data)


@settings(max_examples=300, deadline=None)
@given(
    indptr=st.lists(st.integers(-1, 5), min_size=1, max_size=5),
    entries=st.lists(
        st.tuples(
            st.integers(-1, 6),
            st.sampled_from([1.0, -1.0, 0.0, -0.0, float("nan"), float("inf"), FLT_TINY]),
        ),
        max_size=5,
    ),
    sort=st.booleans(),
    signed=st.booleans(),
)
def test_is_canonical_equals_reference(
    indptr: list[int], entries: list[tuple[int, float]], sort: bool, signed: bool
) -> None:
    if sort:
        indptr, entries = [0, len(entries)], sorted(entries)
    arrays = (
        np.array(indptr, np.int64),
        np.array([column for column, _ in entries], np.int32),
        np.array([value for _, value in entries], np.float32),
    )
    got = kernels.is_canonical(*arrays, 6, signed=signed)
    assert got == reference.is_canonical(*arrays, 6, signed=signed)
