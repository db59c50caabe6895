"""Making what is exported or imported as a whole or not at all."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from sparseret.errors import ConfigurationError, IndexExistsError, StorageError

__all__ = ["check_scale", "new_file", "new_folder", "new_folder_beside", "packed_writer"]


@contextmanager
def new_folder(out: str | Path) -> Iterator[Path]:
    """A folder to fill, which becomes ``out`` when the block ends without an error.

    Until then it lies beside ``out`` under a name that begins with a dot; an exception, or an
    interruption, leaves nothing.

    Raises:
        IndexExistsError: there is something at ``out`` already.
        StorageError: the file system refused.
    """
    out = Path(out)
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise IndexExistsError(f"{out} exists already: choose another name, or remove it")
        out.parent.mkdir(parents=True, exist_ok=True)
        holder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{out}: cannot be made ({error.strerror or error})") from error
    try:
        made = holder / "made"  # not the holder: that one is for its owner's eyes alone
        made.mkdir()
        yield made
        if out.exists():
            out.rmdir()
        made.rename(out)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{out}: cannot be made ({error.strerror or error})") from error
    finally:
        shutil.rmtree(holder, ignore_errors=True)


@contextmanager
def new_file(out: str | Path) -> Iterator[Path]:
    """A path to write to, which takes the place of ``out`` when the block ends without an error.

    Raises:
        StorageError: the file system refused.
    """
    out = Path(out)
    temporary: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # The suffixes stay: writers choose the compression by them.
        handle, name = tempfile.mkstemp(suffix=out.name, prefix=".", dir=out.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(out)
        temporary = None
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{out}: cannot be written ({error.strerror or error})") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def new_folder_beside(out: str | Path) -> Iterator[Path]:
    """A folder for scratch files on the disk of ``out``, removed in the end.

    Raises:
        StorageError: the file system refused.
    """
    out = Path(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise StorageError(f"{out}: cannot be made ({error.strerror or error})") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def packed_writer(path: Path) -> Iterator[BinaryIO]:
    """A file to write bytes to, compressed if its name ends in .gz or .zst; equal bytes for equal
    content.
    """
    with path.open("wb") as raw:
        if path.suffix == ".gz":
            with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
                yield cast("BinaryIO", packed)
        elif path.suffix == ".zst":
            import zstandard

            with zstandard.ZstdCompressor().stream_writer(raw, closefd=False) as stream:
                yield cast("BinaryIO", stream)
        else:
            yield raw


def check_scale(scale: float | None) -> None:
    """Refuse what is no factor. Raises ConfigurationError."""
    if scale is not None and not 1e-6 <= scale <= 1e6:
        raise ConfigurationError(f"scale must be a number from 1e-6 to 1e6, got {scale!r}")
