"""Segment files of version 3, of vectors of ones: no values are stored, and the golden file stays.

The file in tests/golden/ was written once. SPARSERET_WRITE_GOLDEN=1 writes what is missing there.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from sparseret import InvertedIndex, kernels, vectors
from sparseret.errors import CorruptIndexError
from sparseret.indexers.impact_build import part_of_rows, part_of_segment, write_impact_segment
from sparseret.indexers.impact_data import ImpactData
from sparseret.indexers.segment_file import SegmentFile, read_segment, verify_segment
from sparseret.indexers.verify import verify_index
from sparseret.kernels import ImpactSegment, reference

GOLDEN = Path(__file__).parent / "golden" / "segment-v3.safetensors"
BITS = 6
N = 90
NUMBERS = np.arange(1000, 1000 + 3 * N, 3)


def rows(weight: float = 1.0) -> csr_array:
    """Two windows, an empty row, and a column in nearly all."""
    dense = np.zeros((N, 300))
    dense[:, 0] = weight
    for row in range(N):
        dense[row, row % 11 :: 23] = weight
    dense[77] = 0
    return vectors.check(dense)


def read(path: Path, content: bytes) -> SegmentFile:
    """Read a file as if the catalog had named just this one."""
    path.write_bytes(content)
    end = 8 + int.from_bytes(content[:8], "little")
    return read_segment(path, size=len(content), header_crc=zlib.crc32(content[:end]))


def data_of(file: SegmentFile) -> ImpactData:
    assert isinstance(file.data, ImpactData)
    return file.data


@pytest.fixture(scope="module")
def golden() -> bytes:
    if os.environ.get("SPARSERET_WRITE_GOLDEN") == "1" and not GOLDEN.exists():
        write_impact_segment(GOLDEN, [part_of_rows(NUMBERS, rows())], window_bits=BITS)
    return GOLDEN.read_bytes()


def test_the_golden_segment_is_read_and_searched(golden: bytes, tmp_path: Path) -> None:
    end = 8 + int.from_bytes(golden[:8], "little")
    header = json.loads(golden[8:end])
    assert header["__metadata__"]["version"] == "3"
    assert "row_values" not in header
    file = read(tmp_path / "s", golden)
    assert verify_segment(file) == []
    data = data_of(file)
    np.testing.assert_array_equal(data.row_ptr, rows().indptr)
    np.testing.assert_array_equal(data.columns(slice(None)), rows().indices)
    np.testing.assert_array_equal(data.values(data.row_values), rows().data)
    segment = ImpactSegment(
        data.lists, data.row_ptr, data.row_ranks, data.row_values, data.code_values, BITS
    )
    queries = vectors.check(rows()[:9] * np.float32(0.5))
    found, want = kernels.search([segment], queries, 10), reference.search(rows(), queries, 10)
    np.testing.assert_array_equal(found.rows, want.rows)
    np.testing.assert_array_equal(found.scores, want.scores)


def test_the_same_rows_give_the_same_bytes(golden: bytes, tmp_path: Path) -> None:
    parts = [
        part_of_rows(NUMBERS[a:b], vectors.check(rows()[a:b]))
        for a, b in ((0, 1), (1, 70), (70, N))
    ]
    write_impact_segment(tmp_path / "parts", parts, window_bits=BITS)
    assert (tmp_path / "parts").read_bytes() == golden
    old = data_of(read(tmp_path / "old", golden))
    write_impact_segment(tmp_path / "merged", [part_of_segment(old, None)], window_bits=BITS)
    assert (tmp_path / "merged").read_bytes() == golden


def test_other_weights_bring_the_values_back(golden: bytes, tmp_path: Path) -> None:
    old = data_of(read(tmp_path / "old", golden))
    more = part_of_rows(NUMBERS + 3 * N, rows(weight=2.0))
    path = tmp_path / "both"
    write_impact_segment(path, [part_of_segment(old, None), more], window_bits=BITS)
    both = data_of(read(tmp_path / "again", path.read_bytes()))
    want = np.concatenate([rows().data, rows(weight=2.0).data])
    np.testing.assert_array_equal(both.values(both.row_values), want)


def test_values_may_not_be_missing_elsewhere(golden: bytes, tmp_path: Path) -> None:
    end = 8 + int.from_bytes(golden[:8], "little")
    header = json.loads(golden[8:end])
    header["__metadata__"]["version"] = "2"
    altered = golden[:8] + json.dumps(header).encode().ljust(end - 8) + golden[end:]
    with pytest.raises(CorruptIndexError, match="no sound segment file"):
        read(tmp_path / "s", altered)


def test_an_index_of_ones_takes_a_byte_less_a_posting(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ones = vectors.check((rng.random((3000, 200)) < 0.2).astype(np.float32))
    two = ones.copy()
    two.data[::2] = 2
    sizes = []
    for name, given in (("ones", ones), ("two", two)):
        with InvertedIndex.create(tmp_path / name, space=name, dim=200) as index:
            index.add([str(i) for i in range(3000)], given)
            index.commit()
            hits = index.search(given[:5], 10)
            want = reference.search(given, vectors.check(given[:5]), 10)
            assert [int(id) for ids in hits.ids for id in ids] == want.rows.tolist()
        assert verify_index(tmp_path / name) == []
        sizes.append(sum(f.stat().st_size for f in (tmp_path / name / "segments").iterdir()))
    assert sizes[1] - sizes[0] >= ones.nnz
