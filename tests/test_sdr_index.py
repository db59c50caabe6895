"""Overlap search of binary codes: kernels against their reference, the index, and its file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array

from sparseret import InvertedIndex
from sparseret.errors import (
    ConfigurationError,
    CorruptIndexError,
    IncompatibleIndexError,
    IndexNotFoundError,
    VectorError,
)
from sparseret.indexers.sdr import ScanCosts, SdrIndex
from sparseret.kernels import SdrBits, SdrLists, _native, reference_sdr
from sparseret.vectors import check_binary

KEPT = ("cheaper", "both", "lists", "bits")


@pytest.fixture(params=_native.instruction_sets())
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    _native.use_instruction_set(request.param)
    yield request.param
    _native.use_instruction_set(_native.instruction_sets()[-1])


def random_codes(n: int, n_cells: int, active: int, seed: int = 0) -> csr_array:
    """Each with so many cells, chosen at random."""
    rng = np.random.default_rng(seed)
    cells = np.argpartition(rng.random((n, n_cells)), active - 1, axis=1)[:, :active]
    dense = np.zeros((n, n_cells), np.float32)
    np.put_along_axis(dense, cells, 1, axis=1)
    return check_binary(dense)


def assert_found(index: SdrIndex | SdrLists | SdrBits, codes: Any, queries: Any, k: int,
                 threshold: int = 1) -> None:  # fmt: skip
    want = reference_sdr.search(codes, queries, k, threshold)
    got = index.search(queries, k, threshold=threshold)
    if isinstance(index, SdrIndex):
        rows, overlaps = got
    else:
        ends = np.cumsum(got.counts)[:-1]
        rows, overlaps = np.split(got.rows, ends), np.split(got.overlaps, ends)
    assert len(rows) == len(want)
    for r, o, match in zip(rows, overlaps, want, strict=True):
        np.testing.assert_array_equal(r, match.rows)
        np.testing.assert_array_equal(o, match.overlaps)


@settings(max_examples=80, deadline=None)
@given(
    n=st.integers(1, 300),
    n_cells=st.integers(1, 700),
    density=st.sampled_from([0.0, 0.005, 0.05, 0.5, 1.0]),
    query_density=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    k=st.sampled_from([1, 2, 10, 299, 300, 1000]),
    threshold=st.sampled_from([1, 2, 5, 300, 701]),
    bits=st.integers(1, 16),
    isa=st.sampled_from(_native.instruction_sets()),
    seed=st.integers(0, 2**32 - 1),
)
def test_kernels_equal_the_reference(
    n: int, n_cells: int, density: float, query_density: float, k: int, threshold: int,
    bits: int, isa: str, seed: int,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    codes = check_binary(rng.random((n, n_cells)) < density)
    queries = check_binary(rng.random((3, n_cells)) < query_density)
    _native.use_instruction_set(isa)
    try:
        lists, packed = SdrLists.build(codes, bits), SdrBits.build(codes)
        np.testing.assert_array_equal(packed.words, reference_sdr.pack(codes))
        made = reference_sdr.build_lists(codes, bits)
        for name in made._fields:
            np.testing.assert_array_equal(getattr(lists, name), getattr(made, name), name)
        for layout in (lists, packed):
            assert_found(layout, codes, queries, k, threshold)
    finally:
        _native.use_instruction_set(_native.instruction_sets()[-1])


@pytest.mark.parametrize("n", [63, 64, 65, 127, 128, 129, 1000])
@pytest.mark.parametrize("n_cells", [255, 256, 257, 512, 2048])
def test_sizes_around_registers(instruction_set: str, n: int, n_cells: int) -> None:
    codes = random_codes(n, n_cells, 20, seed=n)
    queries = random_codes(4, n_cells, 20, seed=1)
    for layout in (SdrLists.build(codes, 7), SdrBits.build(codes)):
        assert_found(layout, codes, queries, 10)


@pytest.mark.parametrize("active", [254, 255, 256, 257, 1000])
def test_overlaps_beyond_a_byte(instruction_set: str, active: int) -> None:
    """Equal codes: every overlap is the largest there is, and ties are many."""
    codes = random_codes(200, 1000, active)
    repeated = check_binary(csr_array(codes[[0] * 100 + list(range(100))]))
    for k in (1, 7, 150, 1000):
        for layout in (SdrLists.build(repeated, 6), SdrBits.build(repeated)):
            assert_found(layout, repeated, codes[[0]], k)
            assert_found(layout, repeated, codes[[0]], k, active)
            assert_found(layout, repeated, codes[[0]], k, active + 1)


def test_more_active_cells_than_a_counter_counts(instruction_set: str) -> None:
    n_cells = 70_000
    dense = np.zeros((3, n_cells), np.float32)
    dense[0, :65_535], dense[1, 10:300], dense[2, -5:] = 1, 1, 1
    codes = check_binary(dense)
    query = check_binary(np.ones((1, n_cells), np.float32))
    for keep in KEPT:
        numbers, overlaps = SdrIndex.build(codes, keep=keep).search(query)
        assert numbers[0].tolist() == [0, 1, 2]
        assert overlaps[0].tolist() == [65_535, 290, 5]
    dense[0, :65_536] = 1
    with pytest.raises(VectorError, match="65536 active cells"):
        SdrIndex.build(check_binary(dense))


@pytest.mark.parametrize("keep", KEPT)
@pytest.mark.parametrize("threads", [1, 2, 5, 2**62])
def test_index_equals_the_reference(keep: Any, threads: int) -> None:
    codes, queries = random_codes(3000, 512, 16), random_codes(20, 512, 16, seed=1)
    index = SdrIndex.build(codes, keep=keep)
    assert len(index) == 3000
    want = reference_sdr.search(codes, queries, 10)
    got = index.search(queries, 10, threads=threads)
    for numbers, overlaps, match in zip(*got, want, strict=True):
        np.testing.assert_array_equal(numbers, match.rows)
        np.testing.assert_array_equal(overlaps, match.overlaps)


def test_the_inverted_index_finds_the_same(tmp_path: Path) -> None:
    codes, queries = random_codes(500, 256, 12), random_codes(5, 256, 12, seed=3)
    numbers, overlaps = SdrIndex.build(codes).search(queries, 20)
    with InvertedIndex.create(tmp_path / "codes.idx", dim=256, signed=False) as index:
        index.add([str(i) for i in range(500)], codes)
        index.commit()
        hits = index.search(queries, 20)
    assert [[int(id) for id in row] for row in hits.ids] == [row.tolist() for row in numbers]
    assert [row.tolist() for row in hits.scores] == [row.tolist() for row in overlaps]


def test_the_layout_is_chosen_by_cost() -> None:
    codes = random_codes(2000, 1024, 20)
    both = SdrIndex.build(codes, keep="both")
    sparse, union = random_codes(1, 1024, 20, seed=1), random_codes(1, 1024, 900, seed=1)
    both.costs = ScanCosts(posting=1.0, word=1.0)
    # 0.4 postings a code + 1/16 against 16 words; 17.6 postings.
    assert both._by_lists(sparse).tolist() == [True]
    assert both._by_lists(union).tolist() == [False]
    mixed = check_binary(np.concatenate([sparse.toarray(), union.toarray(), sparse.toarray()]))
    assert both._by_lists(mixed).tolist() == [True, False, True]
    assert_found(both, codes, mixed, 10)
    # Where one costs twenty times as much as the other, measurements agree on it.
    kept = SdrIndex.build(random_codes(8000, 2048, 10))
    assert kept.bits is None
    assert kept.lists is not None
    assert kept.bytes_per_code == pytest.approx(2 * 10 + (4 * 2049 + 8 * 2048 + 16) / 8000)
    dense = SdrIndex.build(check_binary(np.random.default_rng(0).random((4000, 1024)) < 0.5))
    assert dense.lists is None
    assert dense.bytes_per_code == pytest.approx(128 + 8 * 1024 / 4000)


@pytest.mark.parametrize("keep", KEPT)
def test_nothing_to_find(keep: Any) -> None:
    codes = random_codes(10, 64, 4)
    index = SdrIndex.build(codes, keep=keep)
    empty = csr_array((3, 64), dtype=np.float32)
    assert [len(row) for row in index.search(empty).numbers] == [0, 0, 0]
    assert index.search(empty[:0]) == ([], [])
    assert [len(row) for row in index.search(codes, threshold=10**30).numbers] == [0] * 10
    for nothing in (codes[:0], empty):
        other = SdrIndex.build(nothing, keep=keep)
        assert [len(row) for row in other.search(codes, 10**30).numbers] == [0] * 10
        assert other.bytes_per_code >= 0


def test_bad_input() -> None:
    codes = random_codes(10, 64, 4)
    index = SdrIndex.build(codes)
    with pytest.raises(ConfigurationError, match="keep 'fast' is not one of cheaper, both"):
        SdrIndex.build(codes, keep="fast")  # type: ignore[arg-type]
    with pytest.raises(VectorError, match=r"row 1, column 2: value 0\.5 in a binary"):
        SdrIndex.build(csr_array(np.array([[1, 0, 1], [0, 0, 0.5]])))
    with pytest.raises(VectorError, match="not finite"):
        index.search(csr_array(np.full((1, 64), np.nan)))
    with pytest.raises(VectorError, match="65 columns where 64"):
        index.search(csr_array((1, 65), dtype=np.float32))
    with pytest.raises(VectorError, match="from 1 to 1,048,576"):
        SdrIndex.build(csr_array((1, 2**20 + 1), dtype=np.float32))
    for name in ("k", "threshold", "threads"):
        for value in (0, -1, 1.5):
            with pytest.raises(ConfigurationError, match=name):
                index.search(codes, **{name: value})  # type: ignore[arg-type]


def test_kernels_refuse_what_would_be_read_out_of_bounds() -> None:
    codes = random_codes(100, 64, 4)
    lists = SdrLists.build(codes, 5)
    arrays = (lists.docs, lists.ptr, lists.blocks)
    SdrLists(100, 64, 4, *arrays, 5)
    for n, cells, bits in ((99, 64, 5), (129, 64, 5), (100, 63, 5), (100, 64, 4), (0, 64, 5)):
        with pytest.raises(CorruptIndexError):
            SdrLists(n, cells, 4, *arrays, bits)
    rng = np.random.default_rng(0)
    for place, array in enumerate(arrays):
        for _ in range(60):
            altered = array.copy()
            at, value = rng.integers(len(array)), np.iinfo(array.dtype).max
            altered[at] = value if rng.random() < 0.5 else altered[at] + 1
            changed = [*arrays[:place], altered, *arrays[place + 1 :]]
            try:
                SdrLists(100, 64, 4, *changed, 5).search(codes, 10)
            except CorruptIndexError:
                continue
            assert place <= 1  # lists that might be: a wrong overlap, and no more
        with pytest.raises(CorruptIndexError):
            SdrLists(100, 64, 4, *[*arrays[:place], array[:-1], *arrays[place + 1 :]], 5)
    with pytest.raises(CorruptIndexError):
        SdrBits(101, 64, SdrBits.build(codes).words)
    indptr, columns = np.array([0, 2]), np.array([3, 3], np.int32)
    for bad in ([3, 3], [4, 3], [-1, 3], [3, 64]):
        columns = np.array(bad, np.int32)
        for call in (
            lambda c: _native.pack_sdr(64, indptr, c),
            lambda c: _native.build_sdr_lists(64, 5, indptr, c),
            lambda c: lists._native.search(indptr, c, 1, 1, 1),
        ):
            with pytest.raises(ValueError, match="column"):
                call(columns)


@pytest.mark.parametrize("keep", KEPT)
@pytest.mark.parametrize("n", [0, 1, 300])
def test_saving(tmp_path: Path, keep: Any, n: int) -> None:
    codes, queries = random_codes(300, 128, 8)[:n], random_codes(5, 128, 8, seed=1)
    index = SdrIndex.build(codes, keep=keep)
    file = tmp_path / "codes.sdr"
    index.save(file)
    index.save(file)
    again = SdrIndex.load(file)
    assert (again.lists is None, again.bits is None) == (index.lists is None, index.bits is None)
    assert again.costs == index.costs
    assert again.bytes_per_code == index.bytes_per_code
    assert_found(again, codes, queries, 10)
    assert [path.name for path in tmp_path.iterdir()] == ["codes.sdr"]


def test_files_that_are_no_index(tmp_path: Path) -> None:
    file = tmp_path / "codes.sdr"
    SdrIndex.build(random_codes(300, 128, 8), keep="both").save(file)
    whole = file.read_bytes()
    with pytest.raises(IndexNotFoundError, match=r"other\.sdr: no such file"):
        SdrIndex.load(tmp_path / "other.sdr")
    for size in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(CorruptIndexError, match=r"codes\.sdr"):
            SdrIndex.load(file)
    for at in (len(whole) - 1, len(whole) // 2):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(CorruptIndexError, match="altered"):
            SdrIndex.load(file)
    save_file({"weights": np.zeros(3)}, file)
    with pytest.raises(CorruptIndexError, match="something else"):
        SdrIndex.load(file)
    file.write_bytes(whole)
    arrays = load_file(file)
    newer = {"format": "sparseret-sdr", "version": "2"}
    save_file(arrays, file, metadata=newer)
    with pytest.raises(IncompatibleIndexError, match="upgrade"):
        SdrIndex.load(file)
    save_file(arrays, file, metadata={**newer, "version": "1"})
    with pytest.raises(CorruptIndexError, match="no sound SDR index"):
        SdrIndex.load(file)
