"""The catalog: one SQLite database with the documents, the vocabulary and the list of segments.

A commit is one SQLite transaction; whatever it does not name does not exist. This file knows SQL
and nothing of vectors.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.documents import Document, metadata_problem
from sparseret.errors import (
    CorruptIndexError,
    DocumentError,
    DuplicateIdError,
    IncompatibleIndexError,
    IndexNotFoundError,
    SparseretError,
    StorageError,
)
from sparseret.indexers.legs import LegRecord

__all__ = [
    "CALIBRATION",
    "DENSE",
    "FORMAT_VERSION",
    "FUSION",
    "LEGS",
    "ORDER_BY",
    "QUANTISER",
    "REDUCTION",
    "Catalog",
    "Disorder",
    "SegmentEntry",
    "SourceEntry",
]

FORMAT_VERSION = 2
"""Newest that is read. Version 2 names the legs of the index; one inverted leg alone is still
written as version 1."""
CALIBRATION = "calibration"
"""Key of what calibration measured; it and FUSION are all of ``meta`` that changes."""
DENSE = "dense"
"""Key of the settings of a dense leg."""
FUSION = "fusion"
"""Key of how the results of several legs are made one; absent in an index of one leg."""
LEGS = "legs"
"""Key of the list of legs, absent in version 1."""
QUANTISER = "quantiser"
"""Key of the quantiser of a dense leg, in base64; absent where none was learned."""
REDUCTION = "reduction"
"""Key of what is given up of vectors when they are added; absent where nothing is."""
ORDER_BY = "order_by"
"""Key of the field by which documents are ordered; absent where there is none."""
_APPLICATION_ID = 0x53505252  # "SPRR", shown by file(1) and checked on open
_FILE = "catalog.sqlite"
_ONLY = LegRecord("", "inverted")
_NARROW = 16  # a range below this fraction of the numbers is read itself, whatever else is indexed
_encode_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    metadata TEXT NOT NULL,
    crc INTEGER NOT NULL
);
CREATE TABLE segments (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    file TEXT NOT NULL UNIQUE,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    n_docs INTEGER NOT NULL,
    nnz INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    header_crc INTEGER NOT NULL
);
CREATE TABLE tombstones (number INTEGER PRIMARY KEY);
CREATE TABLE terms (column INTEGER PRIMARY KEY, term TEXT NOT NULL UNIQUE);
CREATE TABLE sources (
    source TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    lines INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    complete INTEGER NOT NULL
) WITHOUT ROWID;
"""

_LEGS_SCHEMA = """
CREATE TABLE leg_files (
    leg TEXT NOT NULL,
    segment INTEGER NOT NULL,
    file TEXT NOT NULL UNIQUE,
    nnz INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    header_crc INTEGER NOT NULL,
    PRIMARY KEY (leg, segment)
) WITHOUT ROWID;
"""
"""Files of all legs but the first, which are with the segments."""


class SegmentEntry(NamedTuple):
    """One row of the list of segments: the file of one leg."""

    number: int
    file: str
    first: int
    """Smallest document number in the segment."""
    last: int
    """Largest document number in the segment."""
    n_docs: int
    nnz: int
    bytes: int
    header_crc: int


class SourceEntry(NamedTuple):
    """How far an input file has been indexed."""

    fingerprint: str
    lines: int
    """Lines consumed."""
    skipped: int
    """Bad lines among them."""
    complete: bool


class Disorder(NamedTuple):
    """A document that is not in the order of a field."""

    id: str
    json_type: str | None
    """What JSON calls the type of its value; None where it has none."""
    value: str | float | None
    before: str | float | None
    """Value of the document before it."""


class Catalog:
    """One connection to the catalog of an index folder, usable from several threads.

    Args:
        folder: the index.
        writable: whether this connection may change anything. A read-only one holds a read
            transaction from :meth:`begin_snapshot` on, and with it one state of the index.
    """

    def __init__(self, folder: Path, *, writable: bool) -> None:
        self.folder = folder
        self._path = path = folder / _FILE
        self._lock = threading.RLock()
        if not path.is_file():
            raise IndexNotFoundError(
                f"no index at {folder}: make one with `sparseret index CORPUS --out {folder}`"
            )
        mode = "rw" if writable or os.access(folder, os.W_OK) else _read_only_mode(path)
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        with self._translated():
            self._db = sqlite3.connect(
                uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30
            )
            try:
                self._check_format()
                if writable:
                    self._db.execute("PRAGMA synchronous = FULL")
                    self._db.execute("PRAGMA cache_size = -65536")  # KiB
                else:
                    self._db.execute("PRAGMA query_only = ON")
            except BaseException:
                self._db.close()
                raise

    @classmethod
    def create(cls, folder: Path, meta: dict[str, str]) -> Catalog:
        """Make the database of a new index, all of it or nothing. Returns it writable."""
        path = folder / _FILE
        schema, version = (_SCHEMA + _LEGS_SCHEMA, 2) if LEGS in meta else (_SCHEMA, 1)
        with _translated(path):
            db = sqlite3.connect(path, isolation_level=None)
            try:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = FULL")
                db.executescript(
                    f"BEGIN IMMEDIATE; {schema}"
                    f"PRAGMA application_id = {_APPLICATION_ID};"
                    f"PRAGMA user_version = {version};"
                )
                db.executemany("INSERT INTO meta VALUES (?, ?)", list(meta.items()))
                db.execute("COMMIT")
            finally:
                db.close()
        return cls(folder, writable=True)

    @staticmethod
    def exists(folder: Path) -> bool:
        """Whether the folder holds a catalog that was completely made."""
        path = folder / _FILE
        if not path.is_file() or path.stat().st_size == 0:
            return False
        with _translated(path):
            db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)
            try:
                return bool(db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
            finally:
                db.close()

    def close(self) -> None:
        """Close the connection; an open transaction is rolled back."""
        with self._lock:
            self._db.close()

    # --- transactions -----------------------------------------------------------------------

    def begin_snapshot(self) -> None:
        """Fix the state that this connection sees."""
        with self._translated():
            self._db.execute("BEGIN")
            self._db.execute("SELECT count(*) FROM segments").fetchone()

    def begin(self) -> None:
        """Start a write transaction unless one is open."""
        with self._translated():
            if not self._db.in_transaction:
                self._db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make the open transaction durable and visible."""
        with self._translated():
            if self._db.in_transaction:
                self._db.execute("COMMIT")

    def rollback(self) -> None:
        """Forget the open transaction."""
        with self._translated():
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what the block did to the open transaction if it raises."""
        with self._translated():
            self._db.execute("SAVEPOINT batch")
        try:
            yield
        except BaseException:
            with self._translated():
                if self._db.in_transaction:  # a full disk may have ended it already
                    self._db.execute("ROLLBACK TO batch")
                    self._db.execute("RELEASE batch")
            raise
        with self._translated():
            self._db.execute("RELEASE batch")

    def log_bytes(self) -> int:
        """Size of the write-ahead log."""
        log = self._path.with_name(self._path.name + "-wal")
        return log.stat().st_size if log.exists() else 0

    def copy_to(self, path: Path) -> None:
        """Write the state that this connection sees to a new database.

        Raises:
            StorageError: the file system refused.
        """
        with self._translated():
            copy = sqlite3.connect(path, isolation_level=None)
            try:
                self._db.backup(copy)
            finally:
                copy.close()

    def checkpoint(self) -> bool:
        """Copy the write-ahead log into the database; whether all of it could be copied.

        The next writer starts the log anew once no open snapshot was taken before the copy.
        """
        busy, logged, copied = self._all("PRAGMA wal_checkpoint(PASSIVE)")[0]
        return not busy and logged == copied

    # --- documents --------------------------------------------------------------------------

    def next_number(self) -> int:
        """Number of the next document; numbers only grow while any segment knows them."""
        return 1 + int(
            self._one(
                "SELECT max(ifnull((SELECT max(number) FROM documents), -1),"
                " ifnull((SELECT max(last) FROM segments), -1),"
                " ifnull((SELECT max(number) FROM tombstones), -1))"
            )
        )

    def add_documents(self, documents: Sequence[Document], first: int) -> None:
        """Insert documents under the numbers from ``first`` on; call it within a savepoint.

        Raises:
            DuplicateIdError: an id is there already; nothing was inserted.
            DocumentError: metadata that JSON cannot hold, or a text SQLite cannot.
        """
        try:
            rows = [_row(number, document) for number, document in enumerate(documents, first)]
        except UnicodeEncodeError as error:
            raise DocumentError(f"text that is not Unicode cannot be stored: {error}") from error
        with self._translated():
            known = self._db.execute(
                "SELECT id FROM documents WHERE id IN (SELECT value FROM json_each(?)) LIMIT 1",
                (json.dumps([d.id for d in documents]),),
            ).fetchone()
            if known:
                raise DuplicateIdError(
                    f"document id {known[0]!r} is in the index already; "
                    "use update() or --update to replace documents",
                    known[0],
                )
            try:
                self._db.executemany("INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?)", rows)
            except (OverflowError, sqlite3.DataError) as error:  # beyond SQLite's limits
                raise DocumentError(
                    f"a document between {documents[0].id!r} and {documents[-1].id!r} cannot be "
                    f"stored: {error}"
                ) from error

    def delete_documents(self, ids: Sequence[str]) -> list[int]:
        """Remove documents and leave tombstones; returns the numbers of those that existed."""
        wanted = json.dumps(list(ids))
        with self._translated():
            numbers = [
                number
                for (number,) in self._db.execute(
                    "SELECT number FROM documents WHERE id IN (SELECT value FROM json_each(?))",
                    (wanted,),
                )
            ]
            self._db.executemany("DELETE FROM documents WHERE number = ?", ((n,) for n in numbers))
            self._db.executemany("INSERT INTO tombstones VALUES (?)", ((n,) for n in numbers))
        return numbers

    def count_documents(self) -> int:
        """Number of live documents."""
        return int(self._one("SELECT count(*) FROM documents"))

    def ids(self, numbers: NDArray[np.int64]) -> dict[int, str]:
        """Ids of those numbers that live documents have."""
        return dict(
            self._all(
                "SELECT number, id FROM documents WHERE number IN (SELECT value FROM json_each(?))",
                (json.dumps(numbers.tolist()),),
            )
        )

    def documents(self, ids: Sequence[str]) -> list[Document | None]:
        """Documents by id, None where there is none."""
        rows = self._all(
            "SELECT id, title, text, metadata FROM documents"
            " WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(ids)),),
        )
        found = {row[0]: self._document(*row) for row in rows}
        return [found.get(id) for id in ids]

    def numbers_of(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """Ascending numbers of those ids that exist."""
        return self._numbers(
            "SELECT number FROM documents WHERE id IN (SELECT value FROM json_each(?))"
            " ORDER BY number",
            (json.dumps(list(ids)),),
        )

    def numbers_where(
        self, sql: str, parameters: tuple[Any, ...], within: range | None = None
    ) -> NDArray[np.int64]:
        """Ascending numbers of the documents that satisfy a compiled filter.

        Args:
            sql: the condition.
            parameters: values of its question marks.
            within: consecutive numbers to look among, at a cost in proportion; None for all.
        """
        table = "documents"
        if within is not None:
            if len(within) * _NARROW < self.next_number():
                table += " NOT INDEXED"  # but by number: SQLite would take any other index first
            sql += " AND number BETWEEN ? AND ?"
            parameters = (*parameters, within.start, within.stop - 1)
        return self._numbers(
            f"SELECT number FROM {table} WHERE {sql} ORDER BY number",  # noqa: S608
            parameters,
        )

    def range_where(self, sql: str, parameters: tuple[Any, ...], value: str) -> range:
        """From the first to the last of the documents that satisfy a condition.

        Args:
            sql: bounds on ``value``.
            parameters: values of its question marks.
            value: an SQL expression that has an index, and by which numbers ascend.
        """
        ends = [
            self._all(
                f"SELECT number FROM documents WHERE {sql}"  # noqa: S608
                f" ORDER BY {value} {way}, number {way} LIMIT 1",
                parameters,
            )
            for way in ("ASC", "DESC")
        ]
        return range(ends[0][0][0], ends[1][0][0] + 1) if ends[0] else range(0)

    def out_of_order(self, value: str, json_type: str, first: int = 0) -> Disorder | None:
        """The first document, from a number on, that is not in the order of a field; None if all.

        Args:
            value: the field as an SQL expression.
            json_type: its JSON type as one; only numbers and strings have an order.
            first: documents below are in order.
        """
        found = self._all(
            f"SELECT id, type, value, before FROM (SELECT number, id, {value} AS value,"  # noqa: S608
            f" {json_type} AS type, lag({value}) OVER (ORDER BY number) AS before FROM documents"
            " WHERE number >= ifnull((SELECT max(number) FROM documents WHERE number < ?), 0))"
            " WHERE number >= ?"
            " AND (ifnull(type, '') NOT IN ('integer', 'real', 'text') OR value < before)"
            " ORDER BY number LIMIT 1",
            (first, first),
        )
        return Disorder(*found[0]) if found else None

    def all_numbers(self) -> NDArray[np.int64]:
        """Ascending numbers of the live documents."""
        return self._numbers("SELECT number FROM documents ORDER BY number", ())

    def iterate_documents(self) -> Iterator[Document]:
        """All live documents in insertion order."""
        last = -1
        while True:
            rows = self._all(
                "SELECT number, id, title, text, metadata FROM documents WHERE number > ?"
                " ORDER BY number LIMIT 1000",
                (last,),
            )
            if not rows:
                return
            for number, id, title, text, metadata in rows:
                last = number
                yield self._document(id, title, text, metadata)

    def create_field_index(self, name: str, expression: str) -> None:
        """Make filters on an SQL expression over ``documents`` fast."""
        quoted = name.replace('"', '""')
        with self._translated():
            self._db.execute(
                f'CREATE INDEX IF NOT EXISTS "field:{quoted}" ON documents ({expression})'
            )

    # --- segments ---------------------------------------------------------------------------

    def segments(self, leg: LegRecord = _ONLY) -> list[SegmentEntry]:
        """Segments in document order, with the files of a leg."""
        if leg.first:
            rows = self._all("SELECT * FROM segments ORDER BY first")
        else:
            rows = self._all(
                "SELECT s.number, f.file, s.first, s.last, s.n_docs, f.nnz, f.bytes, f.header_crc"
                " FROM segments s JOIN leg_files f ON f.leg = ? AND f.segment = s.number"
                " ORDER BY s.first",
                (leg.name,),
            )
        return [SegmentEntry(*row) for row in rows]

    def next_segment(self) -> int:
        """Number of the next segment, never used before by a committed one."""
        last = self._one("SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'segments'")
        return int(last) + 1

    def add_segment(self, leg: LegRecord, entry: SegmentEntry) -> None:
        """List a file that is durable already; that of the first leg comes first."""
        with self._translated():
            if leg.first:
                self._db.execute("INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?, ?)", entry)
            else:
                self._db.execute(
                    "INSERT INTO leg_files VALUES (?, ?, ?, ?, ?, ?)",
                    (leg.name, entry.number, entry.file, entry.nnz, entry.bytes, entry.header_crc),
                )

    def remove_segments(self, entries: Sequence[SegmentEntry]) -> None:
        """Unlist segments, in all legs, and with them the tombstones in their ranges."""
        with self._translated():
            for entry in entries:
                self._db.execute("DELETE FROM segments WHERE number = ?", (entry.number,))
                if len(self.legs) > 1:
                    self._db.execute("DELETE FROM leg_files WHERE segment = ?", (entry.number,))
                self._db.execute(
                    "DELETE FROM tombstones WHERE number BETWEEN ? AND ?", (entry.first, entry.last)
                )

    def tombstones(self) -> NDArray[np.int64]:
        """Ascending numbers of deleted documents that a segment may still hold."""
        return self._numbers("SELECT number FROM tombstones ORDER BY number", ())

    # --- vocabulary -------------------------------------------------------------------------

    def count_terms(self) -> int:
        """Number of terms, which is also the next free column."""
        return int(self._one("SELECT ifnull(max(column), -1) + 1 FROM terms"))

    def term_columns(self, terms: Sequence[str]) -> dict[str, int]:
        """Columns of those terms that are known."""
        return dict(
            self._all(
                "SELECT term, column FROM terms WHERE term IN (SELECT value FROM json_each(?))",
                (json.dumps(list(terms)),),
            )
        )

    def add_terms(self, terms: Sequence[str], first: int) -> None:
        """Give unknown terms the columns from ``first`` on."""
        with self._translated():
            self._db.executemany("INSERT INTO terms VALUES (?, ?)", enumerate(terms, first))

    def term(self, column: int) -> str:
        """The term of a column. Raises KeyError where there is none."""
        rows = self._all("SELECT term FROM terms WHERE column = ?", (int(column),))
        if not rows:
            raise KeyError(column)
        return str(rows[0][0])

    # --- meta and sources -------------------------------------------------------------------

    def meta(self, key: str) -> str:
        """A setting fixed when the index was made."""
        rows = self._all("SELECT value FROM meta WHERE key = ?", (key,))
        if not rows:
            raise CorruptIndexError(f"{self.folder / _FILE} lacks the setting {key!r}")
        return str(rows[0][0])

    def set_meta(self, key: str, text: str) -> None:
        """Keep what was measured or tuned, in the open transaction."""
        with self._translated():
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, text))

    def has_meta(self, key: str) -> bool:
        """Whether the setting was made."""
        return bool(self._all("SELECT 1 FROM meta WHERE key = ?", (key,)))

    @cached_property
    def legs(self) -> list[LegRecord]:
        """The vector spaces of the index, one at least."""
        if not self.has_meta(LEGS):
            return [_ONLY]
        try:
            named = [(leg["name"], leg["kind"]) for leg in json.loads(self.meta(LEGS))]
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptIndexError(f"{self._path}: the list of legs is damaged") from error
        return [LegRecord(name, kind, first=i == 0) for i, (name, kind) in enumerate(named)]

    @cached_property
    def format_version(self) -> int:
        """Of this catalog."""
        return int(self._one("PRAGMA user_version"))

    @cached_property
    def order_by(self) -> str | None:
        """The field by which documents are ordered, fixed when the index was made, if any."""
        return self.meta(ORDER_BY) if self.has_meta(ORDER_BY) else None

    def source(self, name: str) -> SourceEntry | None:
        """How far an input was read, or None if it never was."""
        rows = self._all(
            "SELECT fingerprint, lines, skipped, complete FROM sources WHERE source = ?", (name,)
        )
        return SourceEntry(rows[0][0], rows[0][1], rows[0][2], bool(rows[0][3])) if rows else None

    def set_source(self, name: str, entry: SourceEntry) -> None:
        """Record progress, in the same transaction as the documents it is about."""
        with self._translated():
            self._db.execute(
                "INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?, ?)", (name, *entry)
            )

    def integrity_errors(self) -> list[str]:
        """What SQLite's own check and the checksums of the documents find; empty when sound."""
        found = [row[0] for row in self._all("PRAGMA integrity_check(20)", ())]
        if found != ["ok"]:
            return found
        last, wrong = -1, []
        while rows := self._all(
            "SELECT number, id, title, text, metadata, crc FROM documents WHERE number > ?"
            " ORDER BY number LIMIT 1000",
            (last,),
        ):
            last = rows[-1][0]
            wrong += [str(id) for _, id, *rest, crc in rows if _checksum(id, *rest) != crc]
        return [f"checksum of document {id!r} is wrong" for id in wrong]

    # --- plumbing ---------------------------------------------------------------------------

    def _all(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        # Not through a context manager: this is on the way of every query.
        with self._lock:
            try:
                return self._db.execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                raise _translation(error, self._path) from error

    def _document(self, id: str, title: str, text: str, metadata: str) -> Document:
        try:
            return Document(id, text, title, json.loads(metadata))
        except ValueError as error:
            raise CorruptIndexError(
                f"{self.folder / _FILE}: the metadata of document {id!r} is damaged. "
                "Restore the file from a backup or build the index again"
            ) from error

    def _one(self, sql: str) -> Any:
        return self._all(sql)[0][0]

    def _numbers(self, sql: str, parameters: tuple[Any, ...]) -> NDArray[np.int64]:
        with self._translated():
            rows = self._db.execute(sql, parameters)
            return np.fromiter((number for (number,) in rows), dtype=np.int64)

    def _check_format(self) -> None:
        application = self._db.execute("PRAGMA application_id").fetchone()[0]
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        path = self.folder / _FILE
        if application != _APPLICATION_ID:
            raise CorruptIndexError(f"{path} is a database, but not a sparseret catalog")
        if version > FORMAT_VERSION:
            raise IncompatibleIndexError(
                f"{self.folder} has index format {version}, this sparseret reads up to "
                f"{FORMAT_VERSION}: upgrade sparseret"
            )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        with self._lock, _translated(self._path):
            yield


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except sqlite3.DataError:
        raise  # a value beyond SQLite's limits: the caller knows which
    except sqlite3.Error as error:
        raise _translation(error, path) from error


def _translation(error: sqlite3.Error, path: Path) -> SparseretError:
    if isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
        return StorageError(f"{path} was closed: open the index again")
    if isinstance(error, sqlite3.OperationalError):
        return StorageError(
            f"{path}: {error}; what was committed before is intact. "
            "Free space or fix permissions and run the command again"
        )
    return CorruptIndexError(f"{path}: {error}. Restore it from a backup or build the index again")


def _read_only_mode(path: Path) -> str:
    """SQLite cannot make its lock files beside a read-only database: it must be at rest."""
    log = path.with_name(path.name + "-wal")
    if log.is_file() and log.stat().st_size:
        raise StorageError(
            f"{path.parent} is read-only but was not closed properly (there is {log.name}): "
            "open it once where it can be written, then make it read-only again"
        )
    return "ro&immutable=1"


def _row(number: int, document: Document) -> tuple[int, str, str, str, str, int]:
    id, title, text = document.id, document.title, document.text
    metadata = _dump(document) if document.metadata else "{}"
    return number, id, title, text, metadata, _checksum(id, title, text, metadata)


def _checksum(id: object, title: object, text: object, metadata: object) -> int:
    """CRC-32 of a document's fields, to notice what changed behind SQLite's back."""
    return zlib.crc32(f"{id}\0{title}\0{text}\0{metadata}".encode())


def _dump(document: Document) -> str:
    if problem := metadata_problem(document.metadata):
        raise DocumentError(f"document {document.id!r}: {problem}")
    return _encode_json(dict(document.metadata))
