"""Segment files: what is written today is what was written yesterday, byte for byte.

The files in tests/golden/ were written once and stay. Only a new format version adds files of its
own: SPARSERET_WRITE_GOLDEN=1 writes those that are missing.
"""

from __future__ import annotations

import errno
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
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from sparseret import vectors
from sparseret.documents import Document
from sparseret.errors import CorruptIndexError, IncompatibleIndexError, StorageError
from sparseret.indexers.info import index_info
from sparseret.indexers.segment import SegmentData, build_segment
from sparseret.indexers.segment_file import SegmentFile, read_segment, verify_segment
from sparseret.indexers.segment_writer import SEGMENT_VERSION, write_segment
from sparseret.indexers.verify import verify_index
from sparseret.retriever import Retriever

GOLDEN = Path(__file__).parent / "golden"
WRITE = os.environ.get("SPARSERET_WRITE_GOLDEN") == "1"


def counts() -> SegmentData:
    """Weighted term counts of ten documents, among them empty ones, in three windows."""
    dense = np.zeros((10, 300))
    for row in range(10):
        for column in range(0, 300, 7 + row):
            dense[row, column] = 1 + (row + column) % 3 * 0.5
    dense[[2, 9]] = 0
    numbers = np.arange(100, 120, 2)
    return build_segment(numbers, vectors.check(dense), weighted=True, window_bits=2)


def floats() -> SegmentData:
    """Signed float32 values, too many different ones for codes of 16 bits."""
    values = np.linspace(-1, 1, 66_000, dtype=np.float32)
    matrix = vectors.from_arrays(
        np.arange(0, 66_001, 6_600), np.tile(np.arange(6_600, dtype=np.int32), 10), values, 6_600
    )
    return build_segment(np.arange(10), vectors.check(matrix), weighted=False, window_bits=16)


def plain() -> SegmentData:
    """Signed float32 values, of which few are different."""
    dense = np.array([[0.5, 0, -2, 0], [0, 0, 0, 0], [1e-30, 3e38, 0.5, 0], [0, 0, 0, 0.5]])
    return build_segment(np.arange(4), vectors.check(dense), weighted=False, window_bits=16)


def written(path: Path, data: SegmentData, window_bits: int) -> SegmentFile:
    size, header_crc = write_segment(path, data, window_bits)
    assert path.stat().st_size == size
    return read_segment(path, size=size, header_crc=header_crc)


def header_of(data: bytes) -> tuple[dict[str, Any], int]:
    """The header, and where the arrays begin."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), 8 + length


def assert_same_data(got: SegmentData, want: SegmentData) -> None:
    for one, other in ((got, want), (got.postings, want.postings)):
        for name in one._fields:
            if name != "postings":
                a, b = getattr(one, name), getattr(other, name)
                assert a.dtype == b.dtype, name
                np.testing.assert_array_equal(a, b, err_msg=name)


# --- the format stays ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "make", "window_bits"), [("counts", counts, 2), ("plain", plain, 16)]
)
def test_golden_segments(
    tmp_path: Path, name: str, make: Callable[[], SegmentData], window_bits: int
) -> None:
    golden = GOLDEN / f"segment-v1-{name}.safetensors"
    if WRITE and not golden.exists():
        write_segment(golden, make(), window_bits)
    content = golden.read_bytes()
    _, begin = header_of(content)
    old = read_segment(golden, size=len(content), header_crc=zlib.crc32(content[:begin]))
    assert verify_segment(old) == []
    assert old.window_bits == window_bits
    assert_same_data(old.data, make())
    written(tmp_path / "new", make(), window_bits)
    assert (tmp_path / "new").read_bytes() == content


DOCUMENTS = [
    Document("wing", "The lift of a wing in a supersonic stream", "Wings", {"year": 1958}),
    Document("heat", "Heat transfer in a laminar stream", "", {"year": 1961, "lang": "en"}),
    Document("empty"),
    Document("deleted", "wing wing wing"),
    Document("Flügel", "Der Auftrieb eines Flügels", "Über Flügel", {"year": 1961, "lang": "de"}),
    Document("東京", "東京都の図書館", "", {"tags": ["a", 1, None, True, {"deep": 0.5}]}),
    Document("a b", "spaces in the id", "", {"year": 1958.5}),
    Document("long", "stream " * 50 + "wing"),
    Document("titled", "", "Stream of wings"),
    Document("last", "wing"),
]
QUERIES = ["supersonic wing", "stream", "図書館", "flügel", "deleted words"]


def make_golden_index(path: Path) -> None:
    options = {"variant": "bm25+", "k1": 1.2, "fields": {"title": 2, "text": 1}}
    with Retriever.create(path, encoder_options=options, filter_fields=["year"]) as retriever:
        retriever.add(DOCUMENTS[:6])
        retriever.commit()
        retriever.add(DOCUMENTS[6:])
        retriever.commit()
        retriever.delete(["deleted"])
    with sqlite3.connect(path / "catalog.sqlite") as db:
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    (path / "writer.lock").unlink(missing_ok=True)
    with Retriever.open(path) as retriever:
        found = {
            query: [(result.id, result.score) for result in retriever.search(query)]
            for query in QUERIES
        }
    (GOLDEN / "index-v1.json").write_text(json.dumps(found, ensure_ascii=False, indent=1), "utf-8")


def test_golden_index(tmp_path: Path) -> None:
    golden = GOLDEN / "index-v1"
    if WRITE and not golden.exists():
        make_golden_index(golden)
    path = tmp_path / "index"
    shutil.copytree(golden, path)
    assert verify_index(path) == []
    scores = json.loads((GOLDEN / "index-v1.json").read_text("utf-8"))
    left = [document for document in DOCUMENTS if document.id != "deleted"]
    with Retriever.open(path) as retriever:
        info = index_info(retriever.index)
        assert (info.format_version, info.documents, info.tombstones) == (1, 9, 1)
        assert len(info.legs[0].segments) == 2
        assert list(retriever.documents()) == left
        for query in QUERIES:
            results = retriever.search(query)
            expected = [[id, pytest.approx(score, rel=1e-6)] for id, score in scores[query]]
            assert [[result.id, result.score] for result in results] == expected
        filtered = retriever.search("stream wing flügel", filter="year >= 1958.5")
        assert {result.id for result in filtered} == {"heat", "Flügel"}
    # Old indexes can be changed too, and then are what a new one would be.
    with Retriever.open(path) as retriever:
        before = retriever.search("supersonic wing")
        retriever.add([Document("new", "supersonic")])
        retriever.delete(["new"])
        retriever.merge()
        assert retriever.search("supersonic wing") == before
    assert verify_index(path) == []


# --- what a file is -----------------------------------------------------------------------------


@pytest.mark.parametrize("make", [counts, floats, plain])
def test_the_safetensors_library_reads_our_files(
    tmp_path: Path, make: Callable[[], SegmentData]
) -> None:
    data = make()
    written(tmp_path / "s", data, 16)
    arrays = safetensors.numpy.load_file(tmp_path / "s")
    expected = {name: getattr(data, name) for name in data._fields if name != "postings"}
    expected |= {f"postings.{name}": array for name, array in data.postings._asdict().items()}
    assert arrays.keys() == expected.keys()
    for name, array in expected.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
    with safetensors.safe_open(tmp_path / "s", "numpy") as file:
        metadata = file.metadata()
    assert metadata["format"] == "sparseret-segment"
    assert metadata["version"] == "1"
    assert json.loads(metadata["crc32"]).keys() == expected.keys()


@pytest.mark.parametrize("make", [counts, floats, plain])
def test_arrays_are_aligned_and_fill_the_file(
    tmp_path: Path, make: Callable[[], SegmentData]
) -> None:
    written(tmp_path / "s", make(), 16)
    content = (tmp_path / "s").read_bytes()
    header, begin = header_of(content)
    assert begin % 64 == 0
    del header["__metadata__"]
    sizes = {"I64": 8, "I32": 4, "U32": 4, "U16": 2, "U8": 1, "F32": 4}
    end = 0
    for entry in sorted(header.values(), key=lambda entry: entry["data_offsets"]):
        assert entry["data_offsets"][0] == end
        assert (begin + end) % sizes[entry["dtype"]] == 0
        end = entry["data_offsets"][1]
        assert end - entry["data_offsets"][0] == sizes[entry["dtype"]] * np.prod(entry["shape"])
    assert begin + end == len(content)


rows = st.lists(
    st.dictionaries(st.integers(0, 20), st.sampled_from([0.25, 1.0, 2.0, 3.5]), max_size=6),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=30)
@given(rows, st.booleans(), st.integers(1, 16))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[dict[int, float]],
    weighted: bool,
    window_bits: int,
) -> None:
    dense = np.zeros((len(rows), 21))
    for row, entries in enumerate(rows):
        dense[row, list(entries)] = list(entries.values())
    numbers = np.arange(5, 5 + len(rows))
    matrix = vectors.check(dense)
    data = build_segment(numbers, matrix, weighted=weighted, window_bits=window_bits)
    file = written(tmp_path_factory.mktemp("s") / "s", data, window_bits)
    assert_same_data(file.data, data)
    assert file.window_bits == window_bits
    assert file.largest == dense.max()
    assert file.total_length == (dense.sum() if weighted else 0)
    assert verify_segment(file) == []
    assert not file.data.numbers.flags.writeable


def test_verify_names_the_altered_array(tmp_path: Path) -> None:
    size, header_crc = write_segment(tmp_path / "s", counts(), 2)
    content = bytearray((tmp_path / "s").read_bytes())
    header, begin = header_of(bytes(content))
    del header["__metadata__"]
    for name, entry in header.items():
        altered = bytearray(content)
        altered[begin + entry["data_offsets"][1] - 1] ^= 0x80
        (tmp_path / "s").write_bytes(altered)
        file = read_segment(tmp_path / "s", size=size, header_crc=header_crc)
        assert verify_segment(file) == [name]


def test_newer_and_foreign_files(tmp_path: Path) -> None:
    write_segment(tmp_path / "s", plain(), 16)
    content = (tmp_path / "s").read_bytes()
    _, begin = header_of(content)
    newer = content.replace(b'"version": "1"', b'"version": "9"', 1)
    assert newer != content
    (tmp_path / "s").write_bytes(newer)
    with pytest.raises(
        IncompatibleIndexError, match=rf"segment version 9.*up to {SEGMENT_VERSION}: upgrade"
    ):
        read_segment(tmp_path / "s", size=len(newer), header_crc=zlib.crc32(newer[:begin]))
    with pytest.raises(CorruptIndexError, match="altered header"):
        read_segment(tmp_path / "s", size=len(newer), header_crc=zlib.crc32(content[:begin]))
    with pytest.raises(CorruptIndexError, match="truncated or replaced"):
        read_segment(tmp_path / "s", size=len(newer) + 1, header_crc=0)
    with pytest.raises(FileNotFoundError):
        read_segment(tmp_path / "nothing", size=1, header_crc=0)


def test_files_are_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"precious")
    with pytest.raises(StorageError, match="File exists"):
        write_segment(tmp_path / "s", plain(), 16)
    assert (tmp_path / "s").read_bytes() == b"precious"
    with pytest.raises(StorageError, match="No such file"):
        write_segment(tmp_path / "no folder" / "s", plain(), 16)


def test_a_failed_write_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        write_segment(tmp_path / "s", plain(), 16)
    assert list(tmp_path.iterdir()) == []
