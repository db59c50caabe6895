"""Reading a file in the Common Index File Format into an index (:mod:`sparseret.exchange.ciff`).

The file is read twice: once to check all of it and to count, once to put postings in rows.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from sparseret.documents import Document, id_problem
from sparseret.errors import (
    ConfigurationError,
    DocumentError,
    DuplicateIdError,
    StorageError,
    VectorError,
)
from sparseret.exchange.ciff import CiffRecord, parse_description
from sparseret.exchange.ciff_messages import ciff_messages, read_message
from sparseret.exchange.leg import REST_OF_LENGTH, Values
from sparseret.exchange.making import check_scale, new_folder_beside
from sparseret.exchange.new_index import Imported, new_index
from sparseret.exchange.postings import Lists, Postings, add_postings, default_encoder
from sparseret.legs import AnyEncoder
from sparseret.linefile import locate

__all__ = ["import_ciff"]

_Advance = Callable[[int], None] | None

_LEAST_RECORD = 4  # bytes of a DocRecord: its length, and an id of one character


def import_ciff(
    source: str | Path,
    out: str | Path,
    *,
    encoder: str | AnyEncoder | None = None,
    encoder_options: Mapping[str, Any] | None = None,
    values: Values | None = None,
    scale: float | None = None,
    advance: Callable[[int], None] | None = None,
) -> Imported:
    """Make an index of a file of postings, all of it or nothing.

    Files of our own say what they hold, and by which encoder. Those of others hold counts unless
    ``values`` says "weights"; counts go to BM25 with Porter's stems, which are those of Anserini,
    and weights to queries of terms (:mod:`sparseret.encoders.terms`), unless ``encoder`` says
    otherwise. Lengths of documents are those of their records: what they exceed the counts by
    becomes a term of its own, which no query has.

    Args:
        source: a file, unpacked if its name ends in .gz or .zst.
        out: folder of the index, new.
        encoder: of the queries.
        encoder_options: of a named encoder.
        values: what the numbers are.
        scale: weights are divided by it; by default as the file says, else 1.
        advance: called with bytes just read, as they are unpacked; the file is read twice.

    Raises:
        DocumentError: the file is cut short, damaged, or of another format; says where.
        MissingExtraError: protobuf is not installed.
        DuplicateIdError, ConfigurationError, IndexExistsError, StorageError
    """
    check_scale(scale)
    file = locate(source, "index.ciff")
    description, postings = _survey(file, advance)
    record = parse_description(description) or CiffRecord(values or "counts")
    if values is not None and values != record.values:
        raise ConfigurationError(f"{file} holds {record.values}, as it says: not {values}")
    if encoder is None:
        encoder, default_options = default_encoder(record.values)
        if record.encoder is not None:
            encoder, default_options = record.encoder, record.options or {}
        encoder_options = {**default_options, **(encoder_options or {})}
    factor = 1.0 if record.values == "counts" else (scale or record.scale)
    n = len(postings.documents)
    with new_index(out, encoder, encoder_options) as index, new_folder_beside(out) as scratch:
        lists = _reading_again(file, n, len(postings.terms), advance)
        try:
            shorter = add_postings(
                index, postings, lists, scratch, values=record.values, scale=factor
            )
        except VectorError as error:
            raise DocumentError(f"{file}: {error}") from error
    note = ""
    if shorter:
        note = (
            f"{shorter} of {n} documents are said to be shorter than the sum of their counts: "
            "that sum is their length"
        )
    return Imported(n, note)


def _survey(file: str, advance: _Advance) -> tuple[str, Postings]:
    """The description, and what there is; checks all of it."""
    messages = ciff_messages()
    with _opened(file) as stream:
        header, taken = read_message(stream, messages.header, "the header", file)
        n_lists, n = header.num_postings_lists, header.num_docs
        _check_header(file, header)
        terms: dict[str, int] = {}
        sizes, sums = np.zeros(n, np.int64), np.zeros(n, np.int64)
        for number, (term, rows, values, size) in enumerate(_lists(stream, file, n_lists, n)):
            if terms.setdefault(term, number) != number:
                raise DocumentError(
                    f"{file}: postings lists {terms[term] + 1} and {number + 1} are both of the "
                    f"term {term!r}: every term has one"
                )
            sizes[rows] += 1
            sums[rows] += values
            taken += size
            if advance is not None:
                advance(taken)
                taken = 0
        ids, lengths = _records(stream, file, n)
        if stream.read(1):
            raise DocumentError(
                f"{file}: more follows after the {n} document records of the header: the file is "
                "damaged, or not in the Common Index File Format"
            )
    documents = [Document(id) for id in ids]
    return header.description, Postings(file, list(terms), sizes, sums, documents, lengths)


def _check_header(file: str, header: Any) -> None:
    n_lists, n = header.num_postings_lists, header.num_docs
    path = Path(file)
    packed = path.suffix in (".gz", ".zst")
    if n_lists < 0 or n < 0 or (not packed and n * _LEAST_RECORD > path.stat().st_size):
        raise DocumentError(
            f"{file}: the header says {n_lists} postings lists and {n} documents, which cannot be: "
            "the file is damaged, or not in the Common Index File Format"
        )
    if header.version != 1:
        raise DocumentError(
            f"{file}: version {header.version} of the Common Index File Format, or another format "
            "altogether; this sparseret reads version 1"
        )


def _lists(
    stream: BinaryIO, file: str, n_lists: int, n: int
) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.int64], int]]:
    """Term, documents, values and bytes of each list, checked."""
    kind = ciff_messages().postings_list
    for number in range(1, n_lists + 1):
        what = f"postings list {number} of {n_lists}"
        made, taken = read_message(stream, kind, what, file)
        size = len(made.postings)
        gaps = np.fromiter((posting.docid for posting in made.postings), np.int64, size)
        values = np.fromiter((posting.tf for posting in made.postings), np.int64, size)
        where = f"{file}: {what}, {made.term!r}"
        if made.df != size:
            raise DocumentError(f"{where}: {size} postings where it says {made.df}")
        if not made.term or "\0" in made.term or made.term == REST_OF_LENGTH:
            raise DocumentError(f"{where}: that is no term")
        if (gaps[:1] < 0).any() or (gaps[1:] < 1).any():
            raise DocumentError(f"{where}: document numbers do not ascend")
        rows = np.cumsum(gaps)
        if size and int(rows[-1]) >= n:
            raise DocumentError(
                f"{where}: document number {int(rows[-1])} where the header says {n} documents"
            )
        if (values < 1).any():
            raise DocumentError(f"{where}: the value {int(values.min())}, where 1 is the least")
        yield made.term, rows, values, taken


def _records(stream: BinaryIO, file: str, n: int) -> tuple[list[str], NDArray[np.int64]]:
    ids, lengths = [""] * n, np.zeros(n, np.int64)
    seen: dict[str, int] = {}
    for number in range(1, n + 1):
        what = f"document record {number} of {n}"
        made, _ = read_message(stream, ciff_messages().doc_record, what, file)
        id, place = made.collection_docid, made.docid
        problem = id_problem(id)
        if not 0 <= place < n or ids[place]:
            problem = problem or f"its number {place} is another's, or beyond the header's {n}"
        if made.doclength < 0:
            problem = problem or f"its length is {made.doclength}"
        if problem:
            raise DocumentError(f"{file}: {what}: {problem}")
        if seen.setdefault(id, number) != number:
            raise DuplicateIdError(
                f"{file}: {what}: its id {id!r} is that of record {seen[id]}, too", id
            )
        ids[place], lengths[place] = id, made.doclength
    return ids, lengths


def _reading_again(file: str, n: int, n_lists: int, advance: _Advance) -> Lists:
    taken = 0
    with _opened(file) as stream:
        read_message(stream, ciff_messages().header, "the header", file)
        for _, rows, values, size in _lists(stream, file, n_lists, n):
            yield rows, values
            taken += size
            if advance is not None:
                advance(taken)
                taken = 0


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked by its name."""
    path = Path(file)
    try:
        with path.open("rb") as raw:
            if path.suffix == ".gz":
                yield cast("BinaryIO", gzip.GzipFile(fileobj=raw, mode="rb"))
            elif path.suffix == ".zst":
                import io

                import zstandard

                reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
                try:
                    yield cast("BinaryIO", io.BufferedReader(reader))
                except zstandard.ZstdError as error:
                    raise DocumentError(f"{file}: the compressed data is damaged: {error}; fetch "
                                        "it again") from error  # fmt: skip
            else:
                yield raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DocumentError(
            f"{file}: the compressed data is damaged or cut short ({error}); fetch it again"
        ) from error
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{file}: {error.strerror or error}") from error
