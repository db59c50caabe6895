"""Segment files: safetensors with a checksum per array, written once and memory-mapped after.

The file is plain safetensors (any safetensors library reads it). It is written here, array by
array, because that needs no second copy of the data in memory and can be fsynced; it is read here
because the arrays must stay memory-mapped.
"""

from __future__ import annotations

import json
import mmap
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import CorruptIndexError, IncompatibleIndexError, StorageError
from sparseret.indexers.segment import SegmentData
from sparseret.kernels import Postings

__all__ = ["SEGMENT_VERSION", "SegmentFile", "read_segment", "verify_segment", "write_segment"]

SEGMENT_VERSION = 1
_FORMAT = "sparseret-segment"
_ALIGNMENT = 64
_DTYPES: dict[str, np.dtype[Any]] = {
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "F32": np.dtype("<f4"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


class SegmentFile(NamedTuple):
    """An open segment file."""

    path: Path
    data: SegmentData
    window_bits: int
    total_length: float
    """Sum over documents of their lengths; 0.0 where there is no weighting."""
    largest: float
    """Largest absolute stored value; 0.0 for an empty segment."""
    checksums: dict[str, int]
    """CRC-32 of each array."""


def write_segment(path: Path, data: SegmentData, window_bits: int) -> tuple[int, int]:
    """Write and fsync a new file; returns its size in bytes and the CRC-32 of its header.

    Raises:
        StorageError: the file exists, the disk is full, or the system refuses otherwise; no
            partial file is left.
    """
    arrays = _flatten(data)
    # Wide types first, so that every array is aligned to its type without gaps.
    names = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    stored = data.values(data.row_values) if not data.coded else data.code_values
    header: dict[str, Any] = {
        "__metadata__": {
            "format": _FORMAT,
            "version": str(SEGMENT_VERSION),
            "window_bits": str(window_bits),
            "total_length": repr(float(data.lengths.sum(dtype=np.float64))),
            "largest": repr(float(np.abs(stored).max(initial=0.0))),
            "crc32": json.dumps({name: zlib.crc32(arrays[name].data) for name in names}),
        }
    }
    offset = 0
    for name in names:
        array = arrays[name]
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 8) % _ALIGNMENT)
    prefix = len(text).to_bytes(8, "little") + text
    try:
        with path.open("xb") as file:
            try:
                file.write(prefix)
                for name in names:
                    file.write(arrays[name].data)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                path.unlink()
                raise
        _fsync_folder(path.parent)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror}; what was committed before is intact. "
            "Free space or fix permissions and run the command again"
        ) from error
    return len(prefix) + offset, zlib.crc32(prefix)


def read_segment(path: Path, *, size: int, header_crc: int) -> SegmentFile:
    """Map a segment file into memory. Only the header is read and checked now.

    Args:
        path: the file.
        size: its size in bytes according to the catalog.
        header_crc: CRC-32 of its header according to the catalog.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptIndexError: truncated, altered or not a segment file.
        IncompatibleIndexError: written by a newer version of sparseret.
    """
    with path.open("rb") as file:
        actual = os.fstat(file.fileno()).st_size
        if actual != size:
            raise CorruptIndexError(
                f"{path} has {actual} bytes where the catalog says {size}: the file was truncated "
                "or replaced. Restore it from a backup or build the index again"
            )
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    length = int.from_bytes(mapped[:8], "little")
    if 8 + length > size or zlib.crc32(mapped[: 8 + length]) != header_crc:
        raise CorruptIndexError(
            f"{path} has an altered header. Restore it from a backup or build the index again"
        )
    header = json.loads(mapped[8 : 8 + length])
    metadata = header.pop("__metadata__")
    if metadata["format"] != _FORMAT or int(metadata["version"]) > SEGMENT_VERSION:
        raise IncompatibleIndexError(
            f"{path} has segment version {metadata['version']}, this sparseret reads up to "
            f"{SEGMENT_VERSION}: upgrade sparseret"
        )
    arrays: dict[str, NDArray[Any]] = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        dtype = _DTYPES[entry["dtype"]]
        if end > begin:
            count = (end - begin) // dtype.itemsize
            arrays[name] = np.frombuffer(mapped, dtype, count, 8 + length + begin)
        else:
            arrays[name] = np.empty(0, dtype)
    return SegmentFile(
        path=path,
        data=_unflatten(arrays),
        window_bits=int(metadata["window_bits"]),
        total_length=float(metadata["total_length"]),
        largest=float(metadata["largest"]),
        checksums=json.loads(metadata["crc32"]),
    )


def verify_segment(segment: SegmentFile) -> list[str]:
    """Names of the arrays whose checksum is wrong; reads the whole file."""
    arrays = _flatten(segment.data)
    return [name for name, crc in segment.checksums.items() if zlib.crc32(arrays[name].data) != crc]


def _flatten(data: SegmentData) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {
        name: getattr(data, name) for name in SegmentData._fields if name != "postings"
    }
    for name, array in data.postings._asdict().items():
        arrays[f"postings.{name}"] = array
    return {
        name: np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        for name, array in arrays.items()
    }


def _unflatten(arrays: dict[str, NDArray[Any]]) -> SegmentData:
    rows = {name: arrays[name] for name in SegmentData._fields if name != "postings"}
    return SegmentData(
        **rows, postings=Postings(*(arrays[f"postings.{name}"] for name in Postings._fields))
    )


def _fsync_folder(folder: Path) -> None:
    """Make a new name durable; a no-op where folders cannot be opened (Windows)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
