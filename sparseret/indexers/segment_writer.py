"""Writing of segment files: safetensors with a checksum per array, written once and fsynced.

The format is written here, and not by the safetensors library, because a segment is written piece
by piece, without a copy of it in memory, and must be durable when the catalog names it.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import StorageError
from sparseret.indexers.segment import SegmentData

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sparseret.indexers.impact_data import ImpactData

__all__ = [
    "DTYPES",
    "FORMAT",
    "HEADER_BYTES",
    "SEGMENT_VERSION",
    "SegmentWriter",
    "flatten",
    "fsync_folder",
    "storage_error",
    "write_header",
    "write_segment",
]

SEGMENT_VERSION = 3
"""Version 2 has impact-ordered lists; segments without are still written as version 1. Version 3 is
version 2 without ``row_values``, where all stored values are one and the same."""
FORMAT = "sparseret-segment"
_ALIGNMENT = 64
HEADER_BYTES = 4096
"""Reserved by writers that fill it in last: about twice what a dozen of arrays takes."""
DTYPES: dict[str, np.dtype[Any]] = {
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "F32": np.dtype("<f4"),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def write_segment(path: Path, data: SegmentData, window_bits: int) -> tuple[int, int]:
    """Write and fsync a new file; returns its size in bytes and the CRC-32 of its header.

    Raises:
        StorageError: the file exists, the disk is full, or the system refuses otherwise; no
            partial file is left.
    """
    arrays = flatten(data)
    # Wide types first, so that every array is aligned to its type without gaps.
    names = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    stored = data.values(data.row_values) if not data.coded else data.code_values
    header: dict[str, Any] = {
        "__metadata__": {
            "format": FORMAT,
            "version": "1",
            "window_bits": str(window_bits),
            "total_length": repr(float(data.lengths.sum(dtype=np.float64))),
            "largest": repr(float(np.abs(stored).max(initial=0.0))),
            "crc32": json.dumps({name: zlib.crc32(arrays[name].data) for name in names}),
        }
    }
    offset = 0
    for name in names:
        array = arrays[name]
        header[name] = _entry(array.dtype, array.shape[0], offset)
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
        fsync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    return len(prefix) + offset, zlib.crc32(prefix)


class SegmentWriter:
    """A segment file of version 2 or 3, whose large arrays are appended to side by side.

    As a context manager it removes the file if it was not finished.

    Args:
        path: must not exist.
        sized: dtype and length of the arrays that are appended to.
        growing: name and dtype of one more such array, whose length is not known beforehand.
        window_bits: for the header.
        largest: largest stored value, for the header.

    Raises:
        StorageError: as :func:`write_segment`, from any method.
    """

    def __init__(
        self,
        path: Path,
        sized: Mapping[str, tuple[np.dtype[Any], int]],
        *,
        growing: tuple[str, np.dtype[Any]],
        window_bits: int,
        largest: float,
    ) -> None:
        self._path = path
        self._metadata = {
            "format": FORMAT,
            "version": "2" if "row_values" in sized else "3",
            "window_bits": str(window_bits),
            "total_length": "0.0",
            "largest": repr(largest),
        }
        self._entries: dict[str, Any] = {}
        self._crc: dict[str, int] = {}
        self._next: dict[str, int] = {}
        self._end = 0
        self._finished = False
        # Wide types first, so that every array is aligned to its type without gaps.
        for name in sorted(sized, key=lambda name: -sized[name][0].itemsize):
            self._reserve(name, *sized[name])
        try:
            self._file = path.open("xb", buffering=0)
        except OSError as error:
            raise storage_error(path, error) from error
        self._pad(1)
        self._growing, self._growing_type = growing
        self._reserve(self._growing, self._growing_type, 0)

    def append(self, name: str, array: NDArray[Any]) -> None:
        """Write further values of an array."""
        data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data.cast("B")
        try:
            self._file.seek(HEADER_BYTES + self._next[name])
            written = 0
            while written < len(data):  # a large write may be done in part
                written += self._file.write(data[written:])
        except OSError as error:
            raise storage_error(self._path, error) from error
        self._next[name] += len(data)
        self._crc[name] = zlib.crc32(data, self._crc[name])

    def finish(self, last: Mapping[str, NDArray[Any]]) -> tuple[int, int]:
        """Write further arrays, the header, and fsync; returns what write_segment does.

        Args:
            last: arrays of any length, widest types first.
        """
        n_grown = (self._next[self._growing] - self._end) // self._growing_type.itemsize
        self._entries[self._growing] = _entry(self._growing_type, n_grown, self._end)
        self._end = self._next[self._growing]
        self._pad(2)
        for name, array in last.items():
            self._reserve(name, array.dtype, len(array))
            self.append(name, array)
        crc = write_header(self._path, self._file, self._metadata, self._crc, self._entries)
        self._finished = True
        return HEADER_BYTES + self._end, crc

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if not self._finished:
            self._path.unlink(missing_ok=True)

    def _pad(self, number: int) -> None:
        """Align what comes next. Nothing may lie between arrays, so this is an array too."""
        name = f"padding_{number}"
        length = -self._end % _ALIGNMENT
        self._reserve(name, np.dtype(np.uint8), length)
        self.append(name, np.zeros(length, np.uint8))
        del self._crc[name]

    def _reserve(self, name: str, dtype: np.dtype[Any], length: int) -> None:
        self._entries[name] = _entry(dtype, length, self._end)
        self._next[name] = self._end
        self._crc[name] = 0
        self._end += length * dtype.itemsize


def flatten(data: SegmentData | ImpactData) -> dict[str, NDArray[Any]]:
    """Arrays of a segment under the names they have in its file."""
    prefix = "postings" if isinstance(data, SegmentData) else "lists"
    arrays: dict[str, NDArray[Any]] = {name: getattr(data, name) for name in data._fields[:-1]}
    for name, array in data[-1]._asdict().items():
        arrays[f"{prefix}.{name}"] = array
    return {
        name: np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        for name, array in arrays.items()
    }


def _entry(dtype: np.dtype[Any], length: int, offset: int) -> dict[str, Any]:
    return {
        "dtype": _NAMES[dtype],
        "shape": [length],
        "data_offsets": [offset, offset + length * dtype.itemsize],
    }


def write_header(
    path: Path,
    file: IO[bytes],
    metadata: Mapping[str, str],
    checksums: Mapping[str, int],
    entries: Mapping[str, Any],
) -> int:
    """Write the header of a file whose first HEADER_BYTES were left free, fsync and close it.

    Args:
        path: of the file.
        file: open for writing, its arrays written.
        metadata: of the whole.
        checksums: CRC-32 of each array.
        entries: of each array, as safetensors describes it.

    Returns:
        CRC-32 of the header.

    Raises:
        StorageError: the disk is full, or the system refuses otherwise.
    """
    whole = {**metadata, "crc32": json.dumps(checksums)}
    text = json.dumps({"__metadata__": whole, **entries}).encode()
    header = (HEADER_BYTES - 8).to_bytes(8, "little") + text.ljust(HEADER_BYTES - 8)
    try:
        file.seek(0)
        file.write(header)
        file.flush()
        os.fsync(file.fileno())
        file.close()
        fsync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    return zlib.crc32(header)


def storage_error(path: Path, error: OSError) -> StorageError:
    """What is told of a file that could not be written."""
    return StorageError(
        f"cannot write {path}: {error.strerror}; what was committed before is intact. "
        "Free space or fix permissions and run the command again"
    )


def fsync_folder(folder: Path) -> None:
    """Make a new name durable; a no-op where folders cannot be opened (Windows)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
