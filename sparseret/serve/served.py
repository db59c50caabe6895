"""The indexes of a service: opened once, read by all, written by one request at a time."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sparseret.errors import ConfigurationError, IndexExistsError, StorageError
from sparseret.indexers.catalog import Catalog
from sparseret.legs import AnyEncoder, encoder_records, recorded_encoders
from sparseret.retriever import Retriever
from sparseret.serve.micro_batches import batching
from sparseret.serve.problems import Problem
from sparseret.serve.work import Ticket

__all__ = ["NAME", "ServedIndex", "ServedIndexes"]

T = TypeVar("T")
NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"
"""Names of indexes: what is a file name everywhere, and never a path."""
_FILES = ("catalog.sqlite", "catalog.sqlite-wal")


class ServedIndex:
    """One index of a service."""

    def __init__(self, name: str, retriever: Retriever) -> None:
        self.name = name
        self.retriever = retriever
        self._lock = threading.Lock()
        self._seen = self._stamp()

    def write(self, ticket: Ticket, change: Callable[[Retriever], T]) -> T:
        """Make a change and commit it, or leave everything as it was.

        Raises:
            Problem: the client left before the commit.
        """
        with self._lock:
            ticket.check()
            try:
                result = change(self.retriever)
                ticket.check()
                self.retriever.commit()
            except BaseException:
                self.retriever.rollback()
                raise
            self._seen = self._stamp()
            return result

    def refresh(self) -> None:
        """See what another process has committed."""
        with self._lock:
            stamp = self._stamp()
            if stamp != self._seen:
                self.retriever.refresh()
                self._seen = stamp

    def close(self) -> None:
        """After the change that is under way."""
        with self._lock:
            self.retriever.close()

    def _stamp(self) -> list[tuple[int, int]]:
        """What changes with every commit, whoever makes it."""
        return [_stamp(self.retriever.path / name) for name in _FILES]


class ServedIndexes:
    """Indexes by name.

    Args:
        root: folder in which new indexes are made; None where none may be.
        max_batch: texts that a model reads together.

    Encoders of equal names and options are made once, and shared by all indexes.
    """

    def __init__(self, root: Path | None, max_batch: int) -> None:
        self._root = root
        self._max_batch = max_batch
        self._lock = threading.Lock()
        self._indexes: dict[str, ServedIndex] = {}
        self._encoders: dict[str, AnyEncoder] = {}

    @classmethod
    def open(
        cls,
        folders: Sequence[str | Path],
        max_batch: int,
        encoders: Iterable[AnyEncoder] = (),
    ) -> ServedIndexes:
        """Indexes by their folders, as ``FOLDER`` or ``NAME=FOLDER``.

        A folder that is no index is one of indexes, in which new ones can be made, too.

        Args:
            folders: as above.
            max_batch: as above.
            encoders: that are made already; indexes that were made with the like of them use them.

        Raises:
            ConfigurationError: two folders of indexes, two indexes of a name, or a name that
                cannot be.
            StorageError, IncompatibleIndexError, CorruptIndexError
        """
        named, root = _locate(folders)
        served = cls(root, max_batch)
        for encoder in encoders:
            served.share(encoder)
        try:
            for name, folder in named.items():
                served._indexes[name] = ServedIndex(name, served._open(folder))
        except BaseException:
            served.close()
            raise
        return served

    def __len__(self) -> int:
        return len(self._indexes)

    def __getitem__(self, name: str) -> ServedIndex:
        """The index of a name. Raises Problem (404) where there is none."""
        try:
            return self._indexes[name]
        except KeyError:
            there = ", ".join(sorted(self._indexes)) or "none"
            raise Problem(404, "NotFound", f"no index {name!r}; there are: {there}") from None

    def all(self) -> list[ServedIndex]:
        """In the order of their names."""
        return [index for _, index in sorted(self._indexes.items())]

    @property
    def can_create(self) -> bool:
        """Whether there is a folder for new indexes."""
        return self._root is not None

    def create(
        self,
        name: str,
        encoders: str | AnyEncoder | Mapping[str, str | AnyEncoder],
        **options: Any,
    ) -> ServedIndex:
        """Make an empty index.

        Args:
            name: see :data:`NAME`.
            encoders: of its legs; or the one of its only leg.
            options: of :meth:`sparseret.Retriever.create`.

        Raises:
            Problem: no folder for new indexes.
            IndexExistsError, ConfigurationError, StorageError
        """
        if self._root is None:
            raise Problem(
                403, "Forbidden",
                "new indexes cannot be made here: start the service with a folder for them",
            )  # fmt: skip
        if not re.match(NAME, name):
            raise ConfigurationError(f"an index cannot be called {name!r}: {NAME}")
        with self._lock:
            folder = self._root / name
            if name in self._indexes or folder.exists():
                raise IndexExistsError(f"there is an index {name!r} already")
            made = ServedIndex(name, Retriever.create(folder, encoders, **options))
            self._indexes = {**self._indexes, name: made}
            return made

    def share(self, encoder: AnyEncoder) -> AnyEncoder:
        """The encoder of a name and options that is there already, or this one in micro-batches."""
        key = _key(encoder.name, encoder.options)
        return self._encoders.setdefault(key, batching(encoder, self._max_batch))

    def refresh(self) -> None:
        """See what other processes have committed."""
        for index in self.all():
            index.refresh()

    def close(self) -> None:
        """Release all files."""
        for index in self._indexes.values():
            index.close()

    def _open(self, folder: Path) -> Retriever:
        records = encoder_records(folder)
        known = {
            leg: self._encoders[_key(name, options)]
            for leg, (name, options) in records.items()
            if _key(name, options) in self._encoders
        }
        encoders: dict[str, AnyEncoder] = {}
        found = recorded_encoders(folder, known or None, degrade=False)
        for leg, encoder in zip(records, found, strict=True):
            if isinstance(encoder, Exception):  # pragma: no cover - not without degrade
                raise encoder
            encoders[leg] = known.get(leg) or self.share(encoder)
        return Retriever.open(folder, encoders)


def _key(name: str, options: Mapping[str, Any]) -> str:
    return f"{name} {sorted(options.items())!r}"


def _locate(folders: Iterable[str | Path]) -> tuple[dict[str, Path], Path | None]:
    """Folders of indexes by name, and the one for new ones."""
    named: dict[str, Path] = {}
    root = None
    for given in map(str, folders):
        name, equals, rest = given.partition("=")
        if not equals or not re.match(NAME, name):
            name, rest = "", given
        folder = Path(rest)
        if Catalog.exists(folder):
            _add(named, name or _name_of(folder), folder)
            continue
        if not folder.is_dir():
            raise StorageError(f"{folder} is neither an index nor a folder")
        if root is not None:
            raise ConfigurationError(
                f"{root} and {folder} are both folders of indexes: give one of them"
            )
        root = folder
        for inner in sorted(folder.iterdir()):
            if inner.is_dir() and Catalog.exists(inner):
                _add(named, _name_of(inner), inner)
    return named, root


def _add(named: dict[str, Path], name: str, folder: Path) -> None:
    if name in named:
        raise ConfigurationError(
            f"{named[name]} and {folder} are both called {name!r}: name one, as NAME={folder}"
        )
    named[name] = folder


def _stamp(file: Path) -> tuple[int, int]:
    try:
        stat = file.stat()
    except FileNotFoundError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size


def _name_of(folder: Path) -> str:
    """A name made of that of a folder."""
    made = re.sub(r"[^a-z0-9_-]+", "-", folder.resolve().name.lower().removesuffix(".idx"))
    made = made.strip("-_")[:63]
    if not made:
        raise ConfigurationError(f"{folder} needs a name: give it as NAME={folder}")
    return made
