"""Common Index File Format: postings of other engines in, ours out (docs/exchange.md).

Values of postings are whole numbers: counts of BM25, or weights times a scale. Transposing rows
to postings and back is done on disk, in scratch files of 8 bytes a posting beside the output.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import VectorError
from sparseret.exchange.ciff_messages import ciff_messages, write_message
from sparseret.exchange.leg import REST_OF_LENGTH, LegReader, Values, whole_numbers
from sparseret.exchange.making import check_scale, new_file, new_folder_beside, packed_writer
from sparseret.exchange.transpose import Transposer
from sparseret.protocols import CollectionEncoder

__all__ = ["CiffRecord", "describe", "export_ciff", "parse_description"]

_MARK = "exported by sparseret; "


class CiffRecord(NamedTuple):
    """What an exported file says of itself, in its description."""

    values: Values
    scale: float = 1.0
    encoder: str | None = None
    """Name of the encoder that made the values; None where there was none."""
    options: dict[str, Any] | None = None


def describe(record: CiffRecord) -> str:
    """The description of a file, for people and for :func:`parse_description`."""
    return _MARK + json.dumps(record._asdict(), ensure_ascii=False)


def parse_description(text: str) -> CiffRecord | None:
    """What :func:`describe` wrote; None of files of other programs."""
    if not text.startswith(_MARK):
        return None
    try:
        read = CiffRecord(**json.loads(text.removeprefix(_MARK)))
        sound = read.values in ("counts", "weights") and 0 < float(read.scale) < np.inf
    except (TypeError, ValueError):
        return None
    return read if sound else None


def export_ciff(
    index: str | Path,
    out: str | Path,
    *,
    leg: str | None = None,
    values: Values | None = None,
    scale: float | None = None,
    advance: Callable[[int], None] | None = None,
) -> int:
    """Write the postings of a leg, terms in the order of their UTF-8. Returns the documents.

    Texts and metadata have no place in the format.

    Args:
        index: folder of the index.
        out: a file, which is compressed if its name ends in .gz or .zst.
        leg: name of the leg; None for the only one.
        values: by default what the leg keeps; "weights" of a leg of counts are those it has now.
        scale: weights are multiplied by it and rounded; by default 100. Counts are as they are.
        advance: called with the number of documents just read.

    Raises:
        VectorError: values that are no whole numbers from 0, or terms that are not distinct.
        MissingExtraError: protobuf is not installed.
        ConfigurationError, StorageError, CorruptIndexError, IndexNotFoundError
    """
    messages = ciff_messages()
    check_scale(scale)
    with LegReader(index, leg) as reader, new_folder_beside(out) as scratch:
        chosen = reader.check_values(values)
        factor = 1.0 if chosen == "counts" else (scale or 100.0)
        reader.require_sparse()
        transposer = Transposer(scratch)
        ids: list[str] = []
        for documents, exact in reader.sparse_batches(chosen):
            rows = whole_numbers(exact, factor, documents)
            if chosen == "counts" and (rows.nnz != exact.nnz or (rows.data != exact.data).any()):
                raise VectorError(
                    f"{index}: counts are no whole numbers, as fields are weighted: export "
                    "--values weights"
                )
            transposer.add(rows.indptr, rows.indices, rows.data)
            ids += [document.id for document in documents]
            if advance is not None:
                advance(len(documents))
        postings = transposer.finish()
        terms = _sorted_terms(reader, postings.columns)
        lengths = transposer.sums()
        record = CiffRecord(chosen, factor)
        # Weights that BM25 made are for queries of terms: its own queries want its counts.
        if reader.encoder is not None and (chosen == "counts" or not reader.counts):
            record = record._replace(encoder=reader.encoder.name, options=reader.encoder.options)
        header = messages.header(
            version=1, num_postings_lists=len(terms), num_docs=len(ids),
            total_postings_lists=len(terms), total_docs=len(ids),
            total_terms_in_collection=int(lengths.sum()),
            average_doclength=float(lengths.mean()) if len(ids) else 0.0,
            description=describe(record),
        )  # fmt: skip
        if len(ids) and int(lengths.max()) > np.iinfo(np.int32).max:
            raise VectorError(f"{index}: a document is longer than 2147483647: take another scale")
        with new_file(out) as path, packed_writer(path) as stream:
            write_message(stream, header)
            for term, place in terms:
                _write_list(stream, term, *postings.list(place))
            for number, (id, length) in enumerate(zip(ids, lengths.tolist(), strict=True)):
                record_of = messages.doc_record(
                    docid=number, collection_docid=id, doclength=int(length)
                )
                write_message(stream, record_of)
    return len(ids)


def _sorted_terms(reader: LegReader, columns: NDArray[np.int32]) -> list[tuple[str, int]]:
    """Terms and places of their lists, by the bytes of the terms."""
    place_of: dict[str, int] = {}
    for place, column in enumerate(columns.tolist()):
        term = reader.term(column)
        if place_of.setdefault(term, place) != place:
            other = columns[place_of[term]]
            raise VectorError(
                f"columns {other} and {column} are both called {term!r}, and postings are found "
                "by terms: take parquet, which keeps columns"
            )
    if isinstance(reader.encoder, CollectionEncoder):
        place_of.pop(REST_OF_LENGTH, None)
    return sorted(place_of.items(), key=lambda item: item[0].encode())


def _write_list(
    stream: BinaryIO, term: str, rows: NDArray[np.int64], values: NDArray[np.int64]
) -> None:
    postings_list = ciff_messages().postings_list
    made = postings_list(term=term, df=len(rows), cf=int(values.sum()))
    for gap, value in _pairs(np.diff(rows, prepend=0), values):
        made.postings.add(docid=gap, tf=value)
    write_message(stream, made)


def _pairs(gaps: NDArray[np.int64], values: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    return zip(gaps.tolist(), values.tolist(), strict=True)
