"""Segment files of version 2: the golden file stays, and altered ones are noticed.

The file in tests/golden/ was written once. SPARSERET_WRITE_GOLDEN=1 writes what is missing there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray
from scipy.sparse import csr_array

from sparseret import kernels, vectors
from sparseret.errors import CorruptIndexError, IncompatibleIndexError, SparseretError
from sparseret.indexers.impact_build import (
    Part,
    part_of_rows,
    part_of_segment,
    write_impact_segment,
)
from sparseret.indexers.impact_data import ImpactData
from sparseret.indexers.inverted import InvertedIndex
from sparseret.indexers.segment_file import SegmentFile, read_segment, verify_segment
from sparseret.indexers.verify import verify_index
from sparseret.kernels import Effort, ImpactSegment, reference

GOLDEN = Path(__file__).parent / "golden" / "segment-v2.safetensors"
FOUND = GOLDEN.with_suffix(".json")
WRITE = os.environ.get("SPARSERET_WRITE_GOLDEN") == "1"
BITS = 6
N = 90


def rows() -> csr_array:
    """Two windows; more than 256 distinct weights, an empty row, and a column in nearly all."""
    dense = np.zeros((N, 300))
    for row in range(N):
        dense[row, 0] = 1 + row * 37 % 64 / 64
        for step, column in enumerate(range(row % 11, 300, 23)):
            dense[row, column] = (1 + (row * 13 + step * 29) % 500) / 128
    dense[77] = 0
    return vectors.check(dense)


def queries() -> csr_array:
    dense = np.zeros((4, 300))
    dense[0, 0] = 1.0
    dense[1, ::23] = 0.5
    dense[2, 5:120] = np.arange(5, 120) % 7 / 4
    dense[3, 299] = 3.0  # no document has it
    return vectors.check(dense)


def numbers() -> NDArray[np.int64]:
    return np.arange(1000, 1000 + 3 * N, 3)


def written(path: Path, parts: list[Part]) -> SegmentFile:
    size, header_crc = write_impact_segment(path, parts, window_bits=BITS)
    return read_segment(path, size=size, header_crc=header_crc)


def data_of(file: SegmentFile) -> ImpactData:
    assert isinstance(file.data, ImpactData)
    return file.data


def ready(file: SegmentFile) -> ImpactSegment:
    data = data_of(file)
    weights = data.code_values if data.coded else None
    return ImpactSegment(
        data.lists, data.row_ptr, data.row_ranks, data.row_values, weights, file.window_bits
    )


def header_end(content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def with_header(content: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The file with its header changed, the length of which stays."""
    end = header_end(content)
    header = json.loads(content[8:end])
    change(header)
    return content[:8] + json.dumps(header).encode().ljust(end - 8) + content[end:]


def read(path: Path, content: bytes) -> SegmentFile:
    """Read a file as if the catalog had named just this one."""
    path.write_bytes(content)
    header_crc = zlib.crc32(content[: header_end(content)])
    return read_segment(path, size=len(content), header_crc=header_crc)


@pytest.fixture(scope="module")
def golden() -> bytes:
    if WRITE and not GOLDEN.exists():
        written(GOLDEN, [part_of_rows(numbers(), rows())])
        found = reference.search(rows(), queries(), 10)
        found_json = {name: getattr(found, name).tolist() for name in ("ptr", "rows", "scores")}
        FOUND.write_text(json.dumps(found_json) + "\n", "utf-8")
    return GOLDEN.read_bytes()


# --- the format stays ---------------------------------------------------------------------------


def test_the_golden_segment_is_read(golden: bytes) -> None:
    file = read_segment(
        GOLDEN, size=len(golden), header_crc=zlib.crc32(golden[: header_end(golden)])
    )
    data = data_of(file)
    assert verify_segment(file) == []
    assert (file.window_bits, file.total_length, file.largest) == (BITS, 0.0, rows().data.max())
    assert data.row_values.dtype == data.row_ranks.dtype == np.uint16
    np.testing.assert_array_equal(data.numbers, numbers())
    np.testing.assert_array_equal(data.row_ptr, rows().indptr)
    np.testing.assert_array_equal(data.columns(slice(None)), rows().indices)
    np.testing.assert_array_equal(data.values(data.row_values), rows().data)
    ranked = reference.rank_columns(rows().indices, rows().data)
    want = reference.impact_lists(
        ranked.columns, ranked.column_max, rows().indptr, ranked.ranks, rows().data, BITS
    )
    for name, a, b in zip(want._fields, data.lists, want, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
    assert max(data.lists.lists[1::2] & 0xFFFF) + 1 >= reference.LONG_LIST


def test_the_golden_segment_is_searched(golden: bytes, tmp_path: Path) -> None:
    segment = ready(read(tmp_path / "s", golden))
    want = json.loads(FOUND.read_text("utf-8"))
    everything = Effort(0.0, N)
    for found in (
        kernels.search([segment], queries(), 10),
        kernels.search([segment], queries(), 10, effort=everything),
        reference.search(rows(), queries(), 10),
    ):
        assert found.ptr.tolist() == want["ptr"]
        assert found.rows.tolist() == want["rows"]
        assert found.scores.tolist() == want["scores"]


def test_the_same_rows_give_the_same_bytes(golden: bytes, tmp_path: Path) -> None:
    whole = part_of_rows(numbers(), rows())
    written(tmp_path / "whole", [whole])
    assert (tmp_path / "whole").read_bytes() == golden
    # From whatever parts they come: rows of several additions, or merged segments.
    parts = []
    for first, last in ((0, 1), (1, 17), (17, 70), (70, N)):
        parts.append(part_of_rows(numbers()[first:last], vectors.check(rows()[first:last])))
    written(tmp_path / "parts", parts)
    assert (tmp_path / "parts").read_bytes() == golden
    old = written(tmp_path / "old", parts[:2])
    written(tmp_path / "merged", [part_of_segment(data_of(old), None), *parts[2:]])
    assert (tmp_path / "merged").read_bytes() == golden


def test_the_safetensors_library_reads_it(golden: bytes) -> None:
    file = data_of(
        read_segment(GOLDEN, size=len(golden), header_crc=zlib.crc32(golden[: header_end(golden)]))
    )
    arrays = safetensors.numpy.load_file(GOLDEN)
    assert not arrays.pop("padding_1").any()
    assert not arrays.pop("padding_2").any()
    want = {name: getattr(file, name) for name in file._fields if name != "lists"}
    want |= {f"lists.{name}": array for name, array in file.lists._asdict().items()}
    assert arrays.keys() == want.keys()
    for name, array in want.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


# --- altered files ------------------------------------------------------------------------------


def test_a_truncated_file_is_an_error(golden: bytes, tmp_path: Path) -> None:
    path = tmp_path / "s"
    header_crc = zlib.crc32(golden[: header_end(golden)])
    for size in (0, 1, 7, 8, 9, 4095, 4096, 4097, len(golden) // 2, len(golden) - 1):
        path.write_bytes(golden[:size])
        with pytest.raises(CorruptIndexError, match="truncated or replaced"):
            read_segment(path, size=len(golden), header_crc=header_crc)
        if size < 4096:
            with pytest.raises(CorruptIndexError, match="altered header"):
                read_segment(path, size=size, header_crc=header_crc)
    for size in (4096, len(golden) // 2, len(golden) - 1):  # a catalog that agrees
        path.write_bytes(golden[:size])
        with pytest.raises(CorruptIndexError, match="no sound segment file"):
            read_segment(path, size=size, header_crc=header_crc)


def test_every_header_byte_counts(golden: bytes, tmp_path: Path) -> None:
    header_crc = zlib.crc32(golden[: header_end(golden)])
    for at in range(0, header_end(golden), 7):
        altered = bytearray(golden)
        altered[at] ^= 1
        (tmp_path / "s").write_bytes(altered)
        with pytest.raises(CorruptIndexError, match="altered header"):
            read_segment(tmp_path / "s", size=len(golden), header_crc=header_crc)


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.pop("__metadata__"),
        lambda header: header.pop("row_ranks"),
        lambda header: header["__metadata__"].pop("crc32"),
        lambda header: header["__metadata__"].pop("window_bits"),
        lambda header: header["__metadata__"].update(window_bits="many"),
        lambda header: header["__metadata__"].update(version="two"),
        lambda header: header["__metadata__"].update(crc32="[1"),
        lambda header: header["lists.words"].update(dtype="BF16"),
        lambda header: header["lists.words"].update(data_offsets=[0]),
        lambda header: header["lists.words"].update(data_offsets=[-5000, -4000]),
        lambda header: header["lists.words"].update(data_offsets=[0, 2**40]),
        lambda header: header["row_ptr"].update(data_offsets=[1, 9]),  # not aligned
        lambda header: header["row_ptr"].update(data_offsets=["a", "b"]),
        lambda header: header.update(row_ptr=3),
    ],
)
def test_a_header_that_describes_no_segment(
    golden: bytes, tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    """Its checksum is right, so only reading it tells."""
    read(tmp_path / "s", with_header(golden, lambda header: None))
    with pytest.raises(CorruptIndexError, match="no sound segment file"):
        read(tmp_path / "s", with_header(golden, change))


@pytest.mark.parametrize("n_distinct", [3, 300, 70_000])
def test_arrays_are_aligned_whatever_their_types(tmp_path: Path, n_distinct: int) -> None:
    """An odd number of values, in codes of 8 bits, of 16, and as they are."""
    n = 70_001
    values = (1 + np.arange(n) % n_distinct).astype(np.float32)
    matrix = vectors.from_arrays(np.arange(n + 1), np.zeros(n, np.int32), values, 5)
    written(tmp_path / "s", [part_of_rows(np.arange(n), matrix)])
    data = data_of(read(tmp_path / "s", (tmp_path / "s").read_bytes()))
    assert data.row_values.dtype.itemsize == {3: 1, 300: 2, 70_000: 4}[n_distinct]
    np.testing.assert_array_equal(data.values(data.row_values), values)
    for array in (data.row_ranks, data.row_values, data.row_ptr, *data.lists):
        assert array.ctypes.data % array.dtype.itemsize == 0


def test_newer_and_foreign_headers(golden: bytes, tmp_path: Path) -> None:
    for change in (
        lambda header: header["__metadata__"].update(version="4"),
        lambda header: header["__metadata__"].update(format="pt"),
    ):
        with pytest.raises(IncompatibleIndexError, match="upgrade sparseret"):
            read(tmp_path / "s", with_header(golden, change))
    for text in (b"not JSON".ljust(56), b"[]".ljust(56), b"\xff" * 56):
        with pytest.raises(CorruptIndexError, match="no sound segment file"):
            read(tmp_path / "s", len(text).to_bytes(8, "little") + text)


def test_verify_names_the_altered_array(golden: bytes, tmp_path: Path) -> None:
    end = header_end(golden)
    header = json.loads(golden[8:end])
    for name in sorted(header.keys() - {"__metadata__", "padding_1", "padding_2"}):
        begin, stop = header[name]["data_offsets"]
        for at in (begin, (begin + stop) // 2, stop - 1):
            altered = bytearray(golden)
            altered[end + at] ^= 0x80
            assert verify_segment(read(tmp_path / "s", bytes(altered))) == [name]


def test_altered_arrays_never_crash_a_search(golden: bytes, tmp_path: Path) -> None:
    """Typed errors, or results; and the next search, of a sound segment, is right."""
    sound = ready(read(tmp_path / "sound", golden))
    want = reference.search(rows(), queries(), 10)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        altered = np.frombuffer(bytearray(golden), np.uint8)
        places = rng.integers(header_end(golden), len(golden), rng.choice([1, 20]))
        altered[places] ^= rng.choice(np.array([1, 0x80, 0xFF], np.uint8), len(places))
        segment = ready(read(tmp_path / "s", altered.tobytes()))
        for effort in (None, Effort(0.3, 20)):
            try:
                found = kernels.search([segment], queries(), 10, effort=effort)
            except CorruptIndexError:  # noqa: PERF203 (each search may end so)
                refused += 1
            else:
                assert ((found.rows >= 0) & (found.rows < N)).all()
        got = kernels.search([sound], queries(), 10)
        np.testing.assert_array_equal(got.rows, want.rows)
        np.testing.assert_array_equal(got.scores, want.scores)
    assert refused > 0


def test_verify_finds_what_checksums_cannot(tmp_path: Path) -> None:
    """Lists that disagree with the rows, in a file whose checksums were made to agree."""
    with InvertedIndex.create(tmp_path / "sound", dim=300, signed=False) as index:
        index.add([str(i) for i in range(N)], rows())
    assert verify_index(tmp_path / "sound") == []
    for name in ("lists.words", "lists.lists", "lists.column_ptr"):
        path = tmp_path / name
        shutil.copytree(tmp_path / "sound", path)
        (file,) = (path / "segments").iterdir()
        content = bytearray(file.read_bytes())
        end = header_end(content)
        header = json.loads(content[8:end])
        begin, stop = (end + offset for offset in header[name]["data_offsets"])
        content[stop - 1] ^= 1
        checksums = json.loads(header["__metadata__"]["crc32"])
        checksums[name] = zlib.crc32(content[begin:stop])
        header["__metadata__"]["crc32"] = json.dumps(checksums)
        content[8:end] = json.dumps(header).encode().ljust(end - 8)
        file.write_bytes(content)
        set_header_crc(path, zlib.crc32(content[:end]))
        assert any("lists" in problem for problem in verify_index(path)), name
        with InvertedIndex.open(path) as index, contextlib.suppress(SparseretError):
            index.search(queries())  # a result or a typed error


@pytest.mark.parametrize("name", ["row_ptr", "row_ranks", "lists.column_max"])
def test_arrays_that_do_not_fit_each_other(tmp_path: Path, name: str) -> None:
    with InvertedIndex.create(tmp_path / "i", dim=300, signed=False) as index:
        index.add([str(i) for i in range(N)], rows())
    (file,) = (tmp_path / "i" / "segments").iterdir()
    content = bytearray(file.read_bytes())
    end = header_end(content)
    header = json.loads(content[8:end])
    entry = header[name]
    width = (entry["data_offsets"][1] - entry["data_offsets"][0]) // entry["shape"][0]
    entry["data_offsets"][1] -= width
    entry["shape"][0] -= 1
    content[8:end] = json.dumps(header).encode().ljust(end - 8)
    file.write_bytes(content)
    set_header_crc(tmp_path / "i", zlib.crc32(content[:end]))
    with pytest.raises(CorruptIndexError, match=file.name):
        InvertedIndex.open(tmp_path / "i")


def set_header_crc(index: Path, header_crc: int) -> None:
    with sqlite3.connect(index / "catalog.sqlite") as catalog:
        catalog.execute("UPDATE segments SET header_crc = ?", (header_crc,))
    catalog.close()
