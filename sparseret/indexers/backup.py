"""Copies of an index as of one commit, made while it is read and written.

A copy is a folder, or a tar file of one, with the catalog and the segments that it names. Putting
it back is copying the folder to where the index was.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sparseret.errors import IndexExistsError, StorageError
from sparseret.indexers.state import State

__all__ = ["SnapshotFile", "copy_index", "snapshot_files", "tar_blocks", "tar_size"]

_BLOCK = 2**20
_ATTEMPTS = 10


class SnapshotFile(NamedTuple):
    """One file of a copy, open at its beginning."""

    name: str
    """Within the folder, with "/" between parts."""
    size: int
    """Bytes."""
    file: BinaryIO


@contextmanager
def snapshot_files(folder: Path) -> Iterator[list[SnapshotFile]]:
    """All files of an index as of its last commit, held open: whatever is merged or deleted then,
    they can be read to their ends.

    Raises:
        IndexNotFoundError, CorruptIndexError, StorageError
    """
    for _ in range(_ATTEMPTS):
        with ExitStack() as held:
            try:
                files = _open_files(folder, held)
            except FileNotFoundError:
                continue  # a merge was faster
            yield files
            return
    raise StorageError(f"{folder} is merged again and again: try later")


def copy_index(folder: Path, destination: Path) -> int:
    """Copy an index as of its last commit to a new folder. Returns the bytes.

    Raises:
        IndexExistsError: there is something at the destination.
        IndexNotFoundError, CorruptIndexError, StorageError
    """
    if destination.exists():
        raise IndexExistsError(f"{destination} is there already: name a new folder")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{destination.name}-", dir=destination.parent))
        try:
            with snapshot_files(folder) as files:
                for each in files:
                    target = made / each.name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with target.open("wb") as out:
                        shutil.copyfileobj(each.file, out, _BLOCK)
                size = sum(each.size for each in files)
            made.chmod(0o755)
            made.rename(destination)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{destination} cannot be written: {error}") from error
    return size


def tar_size(files: list[SnapshotFile], folder: str) -> int:
    """Bytes of :func:`tar_blocks`."""
    headers = sum(len(_header(each, folder)) for each in files)
    return headers + sum(-(-each.size // 512) * 512 for each in files) + 1024


def tar_blocks(files: list[SnapshotFile], folder: str) -> Iterator[bytes]:
    """A tar file of a copy, block by block; unpacked, it is a folder of the name."""
    for each in files:
        yield _header(each, folder)
        left = each.size
        while left:
            block = each.file.read(min(_BLOCK, left))
            if not block:
                raise StorageError(f"{each.name} ended early")
            left -= len(block)
            yield block
        yield bytes(-each.size % 512)
    yield bytes(1024)


def _open_files(folder: Path, held: ExitStack) -> list[SnapshotFile]:
    """Raises FileNotFoundError where a segment is gone again."""
    state = State(folder)
    held.callback(state.close)
    copied = held.enter_context(tempfile.TemporaryDirectory(prefix="sparseret-"))
    catalog = Path(copied) / "catalog.sqlite"
    state.catalog.copy_to(catalog)
    paths = {catalog.name: catalog}
    for leg in state.legs:
        paths |= {entry.file: folder / entry.file for entry in leg.entries}
    files = []
    for name, path in paths.items():
        file = held.enter_context(path.open("rb"))
        files.append(SnapshotFile(name, path.stat().st_size, file))
    return files


def _header(each: SnapshotFile, folder: str) -> bytes:
    info = tarfile.TarInfo(f"{folder}/{each.name}")
    info.size, info.mode = each.size, 0o644
    return info.tobuf(tarfile.PAX_FORMAT)
