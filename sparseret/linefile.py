"""Lines of a file that may be compressed, with their numbers and the position on disk."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISREG
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from sparseret.errors import DocumentError, StorageError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["COMPRESSIONS", "STDIN", "LineFile", "locate", "size_on_disk"]

COMPRESSIONS = (".gz", ".zst")
STDIN = "-"

_BUFFER = 1 << 18
# Small, as a repetitive file may unpack to many times this before a line of it is used.
_COMPRESSED_CHUNK = 1 << 15


def locate(source: str | Path, name_in_folder: str) -> str:
    """The file that ``source`` means: itself, or that of the given name in a folder.

    Raises:
        DocumentError: there is none.
        StorageError: the file system refused to say.
    """
    if str(source) == STDIN:
        return STDIN
    path = Path(source)
    try:
        if path.is_dir():
            for suffix in ("", *COMPRESSIONS):
                inside = path / (name_in_folder + suffix)
                if inside.exists():
                    return str(inside)
            raise DocumentError(
                f"{path}: the folder has no {name_in_folder}, nor {name_in_folder}.gz or .zst"
            )
        if not path.exists():
            raise DocumentError(f"{path}: no such file")
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
    return str(path)


def size_on_disk(path: str) -> int | None:
    """Bytes of a file; None for standard input and pipes.

    Raises:
        StorageError: the file system refused.
    """
    if path == STDIN:
        return None
    try:
        status = Path(path).stat()
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
    return status.st_size if S_ISREG(status.st_mode) else None


class LineFile:
    """Iterates over the lines of a file as bytes, line ends included; memory is one line.

    Args:
        path: a file, decompressed by its suffix .gz or .zst, or "-" for standard input.

    Attributes:
        name: the file as messages call it.
        number: 1-based number of the line that iteration gave last; 0 before the first.

    Raises:
        StorageError: the file system refused, now or while reading.
        DocumentError: while reading: compressed data that is damaged or cut short.
    """

    def __init__(self, path: str) -> None:
        self.name = "<stdin>" if path == STDIN else path
        self.number = 0
        self._uncompressed = 0
        self._disk: io.FileIO | None = None
        suffix = Path(path).suffix.lower()
        self._compressed = path != STDIN and suffix in COMPRESSIONS
        self._stream: IO[bytes]
        if path == STDIN:
            self._stream = sys.stdin.buffer
            return
        try:
            self._disk = io.FileIO(path)
        except OSError as error:
            raise StorageError(f"{path}: {error.strerror}") from error
        raw: Any = self._disk
        if suffix == ".gz":
            raw = gzip.GzipFile(fileobj=raw, mode="rb")
        elif suffix == ".zst":
            raw = _ZstdFile(raw)
        self._stream = io.BufferedReader(raw, _BUFFER)

    def __enter__(self) -> LineFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._disk is not None:
            self._disk.close()

    @property
    def offset(self) -> int:
        """Bytes of the file on disk that were consumed: compressed bytes where it is compressed."""
        if self._compressed and self._disk is not None:
            return self._disk.tell()
        return self._uncompressed

    def __iter__(self) -> Iterator[bytes]:
        try:
            for line in self._stream:
                self.number += 1
                self._uncompressed += len(line)
                yield line
        except (EOFError, zlib.error, gzip.BadGzipFile, _DamagedError) as error:
            raise DocumentError(
                f"{self.name}:{self.number + 1}: the compressed data is damaged or cut short here "
                f"({error}); nothing after it can be read; fetch the file again"
            ) from error
        except OSError as error:
            raise StorageError(f"{self.name}:{self.number + 1}: {error}") from error


class _DamagedError(Exception):
    """Bytes that are not Zstandard data."""


class _ZstdFile(io.RawIOBase):
    """Unpacks all frames of a file, and notices a missing end, which zstandard's reader lets pass.

    Raises:
        EOFError: the file ends within a frame.
        _DamagedError: the bytes are not Zstandard data.
    """

    def __init__(self, disk: io.FileIO) -> None:
        import zstandard

        self._disk = disk
        self._decompressor = zstandard.ZstdDecompressor()
        self._error = zstandard.ZstdError
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._packed = b""
        self._unpacked = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        target = memoryview(buffer)
        while not self._unpacked:
            packed = self._packed or self._disk.read(_COMPRESSED_CHUNK)
            if not packed:
                if self._frame is not None:
                    raise EOFError("the file ends within a frame")
                return 0
            self._unpack(packed)
        count = min(len(target), len(self._unpacked))
        target[:count] = self._unpacked[:count]
        self._unpacked = self._unpacked[count:]
        return count

    def _unpack(self, packed: bytes) -> None:
        if self._frame is None:
            self._frame = self._decompressor.decompressobj()
        try:
            self._unpacked = memoryview(self._frame.decompress(packed))
        except self._error as error:
            raise _DamagedError(str(error)) from error
        self._packed = b""
        if self._frame.eof:
            self._packed, self._frame = self._frame.unused_data, None
