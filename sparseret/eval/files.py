"""Text files of an evaluation: UTF-8, compressed by suffix, replaced as a whole or not at all."""

from __future__ import annotations

import gzip
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from sparseret.errors import DatasetError, StorageError
from sparseret.linefile import LineFile

__all__ = ["read_lines", "write_text"]


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a text file that are not blank, with their numbers from 1, without line ends.

    A name that ends in ``.gz`` or ``.zst`` is unpacked; a byte order mark is skipped.

    Raises:
        DatasetError: absent, or not UTF-8.
        DocumentError: compressed data that is damaged or cut short.
        StorageError: the file system refused.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: no such file")
    with LineFile(str(path)) as lines:
        for raw in lines:
            try:
                line = raw.decode("utf-8-sig" if lines.number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DatasetError(
                    f"{path}:{lines.number}: not UTF-8 text ({error.reason})"
                ) from error
            if line.strip():
                yield lines.number, line.rstrip("\r\n")


@contextmanager
def write_text(path: Path) -> Iterator[TextIO]:
    """A file to write to, which takes the place of ``path`` when the block ends without an error.

    A name that ends in ``.gz`` or ``.zst`` is compressed, with no time stamp, so that equal content
    gives equal bytes. Parent folders are made.

    Raises:
        StorageError: the file system refused.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        with (
            os.fdopen(handle, "wb") as raw,
            io.TextIOWrapper(_packed(path, raw), encoding="utf-8", newline="\n") as text,
        ):
            yield text
        # mkstemp makes files that only their owner can read; give the permissions of a new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _packed(path: Path, raw: Any) -> Any:
    if path.suffix == ".gz":
        return gzip.GzipFile("", "wb", fileobj=raw, mtime=0)
    if path.suffix == ".zst":
        import zstandard

        return zstandard.ZstdCompressor().stream_writer(raw, closefd=False)
    return raw
