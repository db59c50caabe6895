"""What the kernels do with arguments that no caller inside the library gives them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from sparseret import kernels, vectors
from sparseret.kernels import Effort, ImpactBuilder, ImpactSegment, Postings, Segment, reference

DOCUMENTS = vectors.check(np.arange(1, 401, dtype=np.float32).reshape(100, 4) % 11)
QUERY = vectors.check(np.ones((1, 4)))


def plain(n_docs: int = 100) -> Segment:
    postings = kernels.invert(DOCUMENTS.indptr, DOCUMENTS.indices, DOCUMENTS.data)
    return Segment(n_docs, postings)


def impact() -> ImpactSegment:
    ranked = kernels.rank_columns(DOCUMENTS.indices, DOCUMENTS.data)
    builder = ImpactBuilder(ranked.columns, ranked.column_max)
    lists = builder.finish(builder.add(DOCUMENTS.indptr, ranked.ranks, DOCUMENTS.data))
    return ImpactSegment(lists, DOCUMENTS.indptr, ranked.ranks, DOCUMENTS.data)


@pytest.mark.parametrize("make", [plain, impact])
@pytest.mark.parametrize("k", [101, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 // 6, 2**64 - 1])
def test_any_number_of_hits_may_be_asked_for(
    make: Callable[[], Segment | ImpactSegment], k: int
) -> None:
    segment = make()
    want = reference.search(DOCUMENTS, QUERY, 1000)
    found = kernels.search([segment], QUERY, k)
    np.testing.assert_array_equal(found.rows, want.rows)
    np.testing.assert_array_equal(found.scores, want.scores)
    near = kernels.search([segment], QUERY, k, effort=Effort(0.0, k))
    np.testing.assert_array_equal(near.rows, want.rows)
    with pytest.raises(TypeError):
        kernels.search([segment], QUERY, 2**64)


@pytest.mark.parametrize("make", [plain, impact])
def test_ranges_without_rows(make: Callable[[], Segment | ImpactSegment]) -> None:
    segment = make()
    for rows in (range(5, 5), range(9, 3), range(5, -3), range(-(2**63)), range(100, 2**62)):
        found = kernels.search([segment, segment], QUERY, 5, rows=rows)
        assert len(found.rows) == (5 if rows.stop == 2**62 else 0)
    with pytest.raises(ValueError, match="rows must not be negative"):
        kernels.search([segment], QUERY, 5, rows=range(-1, 5))


def test_segments_are_as_large_as_their_windows_can_count() -> None:
    assert len(kernels.search([plain(2**32)], QUERY, 5).rows) == 5
    for n_docs in (2**32 + 1, 2**63, 2**64 - 1):
        with pytest.raises(ValueError, match="too many documents"):
            plain(n_docs)


def misaligned(array: NDArray[np.generic]) -> NDArray[np.generic]:
    out = np.frombuffer(b"\0" + array.tobytes(), np.uint8)[1:].view(array.dtype)
    assert not out.flags.aligned
    return out


def test_arrays_may_lie_anywhere_in_memory() -> None:
    indptr, columns, values = DOCUMENTS.indptr, DOCUMENTS.indices, DOCUMENTS.data
    want = kernels.invert(indptr, columns, values)
    for other in (misaligned, lambda array: np.repeat(array, 2)[::2], lambda array: array.copy()):
        got = kernels.invert(other(indptr), other(columns), other(values))
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)
        segment = Segment(100, Postings(*map(other, got)))
        found = kernels.search([segment], QUERY, 5)
        np.testing.assert_array_equal(found.rows, kernels.search([plain()], QUERY, 5).rows)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 2), np.int32),
        np.int32(3),
        np.zeros(2, ">i4"),
        np.zeros(2, object),
        np.array(["a", "b"]),
        None,
        "text",
        [1, 2],
    ],
    ids=repr,
)
def test_what_is_no_array_of_numbers_is_a_type_error(array: object) -> None:
    with pytest.raises(TypeError, match="incompatible"):
        kernels.rank_columns(array, np.zeros(2, np.float32))  # type: ignore[arg-type]


def test_more_of_a_rank_than_documents() -> None:
    builder = ImpactBuilder(np.zeros(1, np.int32), np.ones(1, np.float32), 5)
    with pytest.raises(ValueError, match="twice in a row"):
        builder.add(np.array([0, 3]), np.zeros(3, np.uint16), np.ones(3, np.float32))


def test_columns_of_an_altered_file_may_be_negative() -> None:
    ranked = kernels.rank_columns(DOCUMENTS.indices, DOCUMENTS.data)
    columns = np.array([-(2**31), -5, 0, 3], np.int32)
    builder = ImpactBuilder(columns, ranked.column_max)
    lists = builder.finish(builder.add(DOCUMENTS.indptr, ranked.ranks, DOCUMENTS.data))
    segment = ImpactSegment(lists, DOCUMENTS.indptr, ranked.ranks, DOCUMENTS.data)
    wanted = np.array([-(2**31), -6, -5, -1, 4, 2**31 - 1], np.int32)
    assert segment.document_frequencies(wanted).tolist() == [0] * 6


@pytest.mark.parametrize("allowed", [[np.ones((2, 1), np.uint64)], ["x"], 5])
def test_bitmaps_of_other_types_are_refused(allowed: object) -> None:
    with pytest.raises(TypeError, match="64-bit words"):
        kernels.search([plain()], QUERY, 3, allowed=allowed)  # type: ignore[arg-type]
