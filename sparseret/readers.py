"""Streaming readers of corpora and query files; memory is bounded by the longest line.

What a bad line is, and what its message says, is decided here, so that nothing behind this border
meets an id that would break a run file or a value that cannot be stored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn, Protocol

from sparseret.document_fields import RejectedError, document_of
from sparseret.documents import Document, Query
from sparseret.errors import ConfigurationError, DocumentError, DuplicateIdError
from sparseret.linefile import COMPRESSIONS, STDIN, LineFile, locate, size_on_disk
from sparseret.parquet_file import PARQUET, parquet_rows

__all__ = [
    "BadLine",
    "Record",
    "corpus_size",
    "parse_documents",
    "read_documents",
    "read_queries",
]

_FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".tsv": "tsv"}
_DOCUMENT_COLUMNS = {2: ("_id", "text"), 3: ("_id", "title", "text")}
_QUERY_COLUMNS = {2: ("_id", "text")}

_MAX_DEPTH = 100
"""Levels of lists and objects in metadata; far below what JSON libraries and SQLite give up at."""


class Record(NamedTuple):
    """A document and where it was read."""

    document: Document
    line: int
    """1-based number of its line; ``skip_lines=line`` continues after it."""
    offset: int
    """Bytes of the file on disk consumed so far, compressed bytes where it is compressed."""


class BadLine(NamedTuple):
    """A line that was left out, and why."""

    path: str
    line: int
    reason: str


def read_documents(
    source: str | Path,
    *,
    on_error: Literal["stop", "skip"] = "stop",
    on_skip: Callable[[BadLine], None] | None = None,
    format: str | None = None,
    skip_lines: int = 0,
) -> Iterator[Record]:
    """Read documents one at a time; the arguments are checked at once, lines as they come.

    JSONL has an object a line: ``_id`` or ``id`` (a string or an integer), ``text`` or
    ``contents``, ``title``; null counts as "". Further fields become metadata, and an object called
    ``metadata``, as BEIR has, is merged into it (the line's own fields win). TSV has
    ``id<TAB>text`` or ``id<TAB>title<TAB>text``, or a first line that names its columns, among them
    ``_id`` or ``id`` and ``text`` or ``contents``; further columns become metadata strings, and
    nothing is quoted. Both are UTF-8, with or without a byte order mark; blank lines are ignored.
    That ids are unique is left to the index.

    Args:
        source: a ``.jsonl``, ``.ndjson``, ``.json`` (an object a line) or ``.tsv`` file, also
            with ``.gz`` or ``.zst`` appended; a ``.parquet`` file, whose columns are the fields
            and whose rows count as lines; a BEIR folder, for its ``corpus.jsonl``; "-" for
            standard input, uncompressed.
        on_error: at a bad line, "stop" raises and "skip" goes on with the next.
        on_skip: called with every line left out.
        format: "jsonl" or "tsv", whatever the suffix says; standard input is JSONL otherwise.
        skip_lines: number of lines to pass over unparsed, to continue an interrupted reading.

    Raises:
        DocumentError: no such file, an unsupported suffix, a bad line (unless skipped), a header
            that names a column twice, or data that is damaged or cut short.
        MissingExtraError: a Parquet file, and pyarrow is not installed.
        StorageError: the file system refused.
        ConfigurationError: an impossible argument.
    """
    if on_error not in ("stop", "skip"):
        raise ConfigurationError(f"on_error must be 'stop' or 'skip', got {on_error!r}")
    if skip_lines < 0:
        raise ConfigurationError(f"skip_lines must be 0 or more, got {skip_lines}")
    path = locate(source, "corpus.jsonl")
    if format is None and _suffix(path) == PARQUET:
        return _parquet_records(path, on_error == "skip", on_skip, skip_lines)
    parser: _Parser = _Json()
    if _document_format(path, format) == "tsv":
        parser = _Tsv(_DOCUMENT_COLUMNS)
    return _records(path, parser, on_error == "skip", on_skip, skip_lines)


def parse_documents(lines: Iterable[bytes], name: str) -> Iterator[Document]:
    """Documents of lines in memory, JSONL as :func:`read_documents` takes it.

    Args:
        lines: UTF-8, with or without their ends.
        name: of where they come from, for messages.

    Raises:
        DocumentError: a bad line; the message has its number.
    """
    parser = _Json()
    for number, raw in enumerate(lines, 1):
        try:
            document = _parse(parser, raw, number)
        except RejectedError as reason:
            raise DocumentError(f"{name}:{number}: {reason}") from reason
        if document is not None:
            yield document


def corpus_size(source: str | Path) -> int | None:
    """Bytes on disk of what :func:`read_documents` would read; None for standard input and pipes.

    Raises:
        DocumentError: no such file.
        StorageError: the file system refused.
    """
    return size_on_disk(locate(source, "corpus.jsonl"))


def read_queries(source: str | Path) -> list[Query]:
    """Read all queries of a file.

    Args:
        source: JSONL (``_id`` or ``id``, and ``text``) or TSV (``id<TAB>text``, or with a header
            as for documents) by its suffix, any other file has a query a line, identified by its
            line number; each also with ``.gz`` or ``.zst`` appended. A BEIR folder stands for its
            ``queries.jsonl``, and "-" for standard input with a query a line. Blank lines are
            ignored.

    Raises:
        DocumentError: no such file, a bad line, or damaged compressed data.
        DuplicateIdError: two queries of one id.
        StorageError: the file system refused.
    """
    path = locate(source, "queries.jsonl")
    parsers: dict[str, _Parser] = {"jsonl": _Json(), "tsv": _Tsv(_QUERY_COLUMNS)}
    parser = parsers.get(_FORMATS.get(_suffix(path), "plain"))
    queries: dict[str, Query] = {}
    line_of: dict[str, int] = {}
    with LineFile(path) as lines:
        for raw in lines:
            try:
                query = _query(parser, _decode(raw, lines.number), lines.number)
            except RejectedError as reason:
                raise DocumentError(f"{lines.name}:{lines.number}: {reason}") from reason
            if query is None:
                continue
            if query.id in queries:
                raise DuplicateIdError(
                    f"{lines.name}:{lines.number}: query id {query.id!r} is taken by line "
                    f"{line_of[query.id]}; give every query an id of its own",
                    query.id,
                )
            queries[query.id] = query
            line_of[query.id] = lines.number
    return list(queries.values())


def _query(parser: _Parser | None, line: str, number: int) -> Query | None:
    if not line:
        return None
    if parser is None:
        return Query(str(number), line.strip())
    document = parser.parse(line)
    return None if document is None else Query(document.id, document.content)


def _suffix(path: str) -> str:
    name = Path(path)
    if name.suffix.lower() in COMPRESSIONS:
        name = name.with_suffix("")
    return name.suffix.lower()


def _document_format(path: str, wanted: str | None) -> str:
    if wanted is not None:
        if wanted not in _FORMATS.values():
            raise ConfigurationError(f"format must be 'jsonl' or 'tsv', got {wanted!r}")
        return wanted
    if path == STDIN:
        return "jsonl"
    if _suffix(path) not in _FORMATS:
        raise DocumentError(
            f"{path}: cannot tell the format by the suffix {_suffix(path)!r}; supported are "
            f"{', '.join(_FORMATS)}, each also with .gz or .zst, and {PARQUET}, "
            "or say --format jsonl or tsv (in Python format=)"
        )
    return _FORMATS[_suffix(path)]


def _records(
    path: str,
    parser: _Parser,
    skip: bool,
    on_skip: Callable[[BadLine], None] | None,
    skip_lines: int,
) -> Iterator[Record]:
    with LineFile(path) as lines:
        for raw in lines:
            passed_over = lines.number <= skip_lines
            if passed_over and parser.settled:
                continue
            try:
                document = _parse(parser, raw, lines.number)
            except RejectedError as reason:
                if isinstance(reason, _BadHeaderError):
                    raise DocumentError(f"{lines.name}:{lines.number}: {reason}") from reason
                if passed_over:
                    continue
                _reject(BadLine(lines.name, lines.number, str(reason)), skip, on_skip)
                continue
            if document is not None and not passed_over:
                yield Record(document, lines.number, lines.offset)


def _parquet_records(
    path: str, skip: bool, on_skip: Callable[[BadLine], None] | None, skip_lines: int
) -> Iterator[Record]:
    size = size_on_disk(path) or 0
    for number, fields in parquet_rows(path, skip_lines):
        try:
            document = document_of(fields)
        except RejectedError as reason:
            _reject(BadLine(path, number, str(reason)), skip, on_skip)
            continue
        yield Record(document, number, size)


def _reject(bad: BadLine, skip: bool, on_skip: Callable[[BadLine], None] | None) -> None:
    """Raise, or note what is left out."""
    if not skip:
        raise DocumentError(
            f"{bad.path}:{bad.line}: {bad.reason}; correct the line, or leave out "
            "bad lines with --on-error skip (in Python on_error='skip')"
        )
    if on_skip is not None:
        on_skip(bad)


class _BadHeaderError(RejectedError):
    """Why a line that names the columns is bad, and with it the file."""


class _Parser(Protocol):
    settled: bool
    """Whether lines no longer depend on earlier ones."""

    def parse(self, line: str) -> Document | None:
        """The document of a line that is not blank; None for a header."""


def _parse(parser: _Parser, raw: bytes, number: int) -> Document | None:
    line = _decode(raw, number)
    return parser.parse(line) if line else None


def _decode(raw: bytes, number: int) -> str:
    """The text of a line without its end, "" for a blank one."""
    try:
        line = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise RejectedError(
            f"not UTF-8: byte 0x{raw[error.start]:02x} at position {error.start + 1} of the line"
        ) from error
    if number == 1:
        line = line.removeprefix("\ufeff")
    return "" if line.isspace() else line


class _Tsv:
    """Columns by their number, or by the names in the first line.

    Args:
        by_count: for each permitted number of columns, their names where no header gives them.
    """

    settled = False

    def __init__(self, by_count: Mapping[int, tuple[str, ...]]) -> None:
        self._by_count = by_count
        self._columns: tuple[str, ...] = ()

    def parse(self, line: str) -> Document | None:
        values = line.split("\t")
        if not self.settled:
            header = tuple(value.strip() for value in values)
            if {"_id", "id"} & set(header) and {"text", "contents"} & set(header):
                if len(set(header)) < len(header) or "" in header:
                    raise _BadHeaderError(
                        f"the header {header} must name every column, and none twice"
                    )
                self._columns = header
                self.settled = True
                return None
            if len(values) not in self._by_count:
                layouts = " or ".join("<TAB>".join(names) for names in self._by_count.values())
                raise RejectedError(
                    f"{len(values)} column(s), expected {layouts}, or a header with _id and text"
                )
            self._columns = self._by_count[len(values)]
            self.settled = True
        if len(values) != len(self._columns):
            raise RejectedError(
                f"{len(values)} column(s), expected {len(self._columns)}: "
                f"{'<TAB>'.join(self._columns)}"
            )
        return document_of(dict(zip(self._columns, values, strict=True)))


class _Json:
    settled = True

    def parse(self, line: str) -> Document:
        try:
            fields = _DECODER.decode(line)
        except RecursionError as error:
            raise RejectedError(f"nested more than {_MAX_DEPTH} levels deep") from error
        except json.JSONDecodeError as error:
            raise RejectedError(f"not JSON: {error.msg}, column {error.colno}") from error
        except ValueError as error:  # Python limits the digits of an integer
            raise RejectedError(f"not usable as JSON: {error}") from error
        if not isinstance(fields, dict):
            raise RejectedError(
                f"the line starts {line[:20].strip()!r}, expected a JSON object, {{...}}"
            )
        document = document_of(fields)
        # Decoding UTF-8 refuses surrogates, so they can only have come in through escapes.
        if "\\u" in line and _SURROGATE_ESCAPE.search(line):
            _check_surrogates(document)
        return document


_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_INT64 = range(-(2**63), 2**63)


def _refuse_constant(name: str) -> NoReturn:
    raise RejectedError(f"{name} is not a JSON value")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _check_surrogates(document: Document) -> None:
    whole = [document.id, document.title, document.text, document.metadata]
    try:
        json.dumps(whole, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        surrogate = ord(error.object[error.start])
        raise RejectedError(
            f"\\u{surrogate:04x} is half a surrogate pair, which is no character"
        ) from error
