"""Files of dense segments: vectors of the same documents as a segment of sparse ones.

The file is plain safetensors, as those of :mod:`sparseret.indexers.segment_writer` are. Its
arrays, for n documents and vectors of ``dim`` values: ``numbers`` (int64, n), ``zeros`` (int64: the
rows of zero vectors), ``padding`` and ``structure`` (bytes: what faiss searches by,
light codes, or nothing), ``vectors`` (float32 or float16, (n, dim)). The vectors are aligned to 64
bytes and come right behind the structure, so that faiss can read a graph and the vectors it is a
graph of from one stretch of mapped memory, without a copy.
"""

from __future__ import annotations

import json
import mmap
import zlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import CorruptIndexError, IncompatibleIndexError
from sparseret.indexers.dense_settings import DenseKind, DenseSettings
from sparseret.indexers.segment_file import map_file
from sparseret.indexers.segment_writer import HEADER_BYTES, storage_error, write_header

__all__ = [
    "DenseFile",
    "DenseFileWriter",
    "check_structure",
    "damaged_arrays",
    "read_dense_file",
]

_FORMAT = "sparseret-dense-segment"
_VERSION = 1
_ALIGNMENT = 64
_DTYPES: dict[str, np.dtype[Any]] = {
    "I64": np.dtype("<i8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "U8": np.dtype("u1"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_ARRAYS = ("numbers", "zeros", "padding", "structure", "vectors")


class DenseFile(NamedTuple):
    """An open file of a dense segment; its arrays are mapped."""

    path: Path
    settings: DenseSettings
    built: DenseKind
    """What the segment has: ``flat`` where it is too small for what the settings ask for."""
    largest_norm: float
    """Largest Euclidean norm of a stored vector, rounded up; 0.0 where there is none."""
    numbers: NDArray[np.int64]
    zeros: NDArray[np.int64]
    vectors: NDArray[np.float32] | NDArray[np.float16]
    padding: NDArray[np.uint8]
    structure: NDArray[np.uint8]
    joined: NDArray[np.uint8]
    """The bytes of ``structure`` and ``vectors``, which are neighbours in the file."""
    checksums: dict[str, int]
    """CRC-32 of each array."""
    mapped: mmap.mmap | bytes
    """The whole file."""
    vectors_begin: int
    """Where in it the vectors begin."""


class DenseFileWriter:
    """A file that is written from front to back. As a context manager removes it if unfinished.

    Args:
        path: must not exist.

    Raises:
        StorageError: the file exists, the disk is full, or the system refuses otherwise; from any
            method.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[str, Any] = {}
        self._crc: dict[str, int] = {}
        self._end = 0
        self._finished = False
        try:
            self._file = path.open("xb")
            self._file.seek(HEADER_BYTES)
        except OSError as error:
            raise storage_error(path, error) from error

    def write(
        self,
        name: str,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        pieces: Iterable[NDArray[Any] | bytes],
    ) -> None:
        """Write an array, given in pieces that have its type and together its size."""
        begin, crc = self._end, 0
        for piece in pieces:
            data: bytes | memoryview[Any] = (
                piece
                if isinstance(piece, bytes)
                else np.ascontiguousarray(piece, dtype).reshape(-1).view(np.uint8).data
            )
            try:
                self._file.write(data)
            except OSError as error:
                raise storage_error(self._path, error) from error
            crc = zlib.crc32(data, crc)
            self._end += len(data)
        self._crc[name] = crc
        self._entries[name] = {
            "dtype": _NAMES[dtype.newbyteorder("<")],
            "shape": list(shape),
            "data_offsets": [begin, self._end],
        }

    def pad(self, ahead: int) -> None:
        """Write the padding after which, ``ahead`` bytes later, an aligned array may begin."""
        missing = -(self._end + ahead) % _ALIGNMENT
        self.write("padding", np.dtype(np.uint8), (missing,), [bytes(missing)])

    def finish(
        self, settings: DenseSettings, built: DenseKind, largest_norm: float
    ) -> tuple[int, int]:
        """Write the header and fsync; returns the size of the file and the CRC-32 of its header."""
        metadata = {
            "format": _FORMAT,
            "version": str(_VERSION),
            "settings": settings.to_json(),
            "built": built,
            "largest_norm": repr(largest_norm),
        }
        crc = write_header(self._path, self._file, metadata, self._crc, self._entries)
        self._finished = True
        return HEADER_BYTES + self._end, crc

    def __enter__(self) -> DenseFileWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._finished:
            return
        try:
            self._file.close()  # which writes what is buffered
        except OSError as failure:
            if error is None:
                raise storage_error(self._path, failure) from failure
        finally:
            self._path.unlink(missing_ok=True)


def read_dense_file(path: Path, *, size: int, header_crc: int) -> DenseFile:
    """Map a file into memory. Only the header is read and checked now.

    Args:
        path: the file.
        size: its size in bytes, as it was written.
        header_crc: CRC-32 of its header, as it was written.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptIndexError: truncated, altered or not a dense segment.
        IncompatibleIndexError: written by a newer version of sparseret.
    """
    mapped, end = map_file(path, size=size, header_crc=header_crc)
    try:
        header = json.loads(mapped[8:end])
        metadata = header.pop("__metadata__")
        if metadata["format"] != _FORMAT:
            raise ValueError(f"its format is {metadata['format']!r}")
        if int(metadata["version"]) > _VERSION:
            raise IncompatibleIndexError(
                f"{path} has dense segment version {metadata['version']}, this sparseret reads up "
                f"to {_VERSION}: upgrade sparseret"
            )
        places = [header[name]["data_offsets"] for name in _ARRAYS]
        bounds = [0, *(last for _, last in places)]
        if [first for first, _ in places] != bounds[:-1] or bounds[-1] != size - end:
            raise ValueError("its arrays are out of place")
        arrays = {
            name: _array(mapped, header[name], end + first)
            for name, first in zip(_ARRAYS, bounds, strict=False)
        }
        n = len(arrays["numbers"])
        if arrays["vectors"].ndim != 2 or len(arrays["vectors"]) != n:
            raise ValueError("the vectors do not fit the documents")
        zeros = arrays["zeros"]
        if len(zeros) and not 0 <= zeros.min() <= zeros.max() < n:
            raise ValueError("rows of zero vectors are out of range")
        checksums = json.loads(metadata["crc32"])
        if checksums.keys() != arrays.keys():
            raise ValueError("checksums of other arrays than it has")
        joined = np.frombuffer(mapped, np.uint8, bounds[5] - bounds[3], end + bounds[3])
        settings = DenseSettings.from_json(metadata["settings"])
        built = metadata["built"]
        if built not in ("flat", settings.kind) or (built == "flat") != (bounds[3] == bounds[4]):
            raise ValueError(f"a segment of {settings.kind} vectors cannot be {built}")
        return DenseFile(
            path, settings, built, float(metadata["largest_norm"]), joined=joined,
            checksums=checksums, mapped=mapped, vectors_begin=end + bounds[4], **arrays,
        )  # fmt: skip
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise CorruptIndexError(
            f"{path} is no sound dense segment ({error!r}). Restore it from a backup or build the "
            "index again"
        ) from error


def damaged_arrays(file: DenseFile) -> list[str]:
    """Names of the arrays whose checksum is wrong; reads the whole file."""
    return [
        name for name in _ARRAYS if zlib.crc32(getattr(file, name).data) != file.checksums[name]
    ]


def check_structure(file: DenseFile, data: bytes | memoryview) -> None:
    """Raises CorruptIndexError where the bytes of the structure, as given, were altered."""
    if zlib.crc32(data) != file.checksums["structure"]:
        raise CorruptIndexError(
            f"{file.path}: checksum of structure is wrong. Restore the file from a backup or "
            "build the index again"
        )


def _array(mapped: Any, entry: Any, begin: int) -> NDArray[Any]:
    dtype = _DTYPES[entry["dtype"]]
    shape = tuple(entry["shape"])
    first, last = entry["data_offsets"]
    count = (last - first) // dtype.itemsize
    if begin % dtype.itemsize or int(np.prod(shape)) * dtype.itemsize != last - first:
        raise ValueError("an array is out of place")
    if not count:
        return np.empty(shape, dtype)
    return np.frombuffer(mapped, dtype, count, begin).reshape(shape)
