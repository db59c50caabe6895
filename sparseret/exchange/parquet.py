"""Parquet: documents and vectors as columns, the format that keeps all of an index's leg.

=============  ==========================  =====================================================
column         type                        holds
=============  ==========================  =====================================================
id             string                      of the document
title, text    string                      of the document
(a field)      bool, int64, double,        metadata whose values are all of that type, or null
               string or list<string>
metadata       string                      a JSON object of what metadata no column can hold
indices        list<int32>                 columns of a sparse vector, ascending
terms          list<string>                their terms, where the vocabulary is the index's own
values         list<float32>               values of a sparse vector
vector         fixed_size_list<float32>    a dense vector
=============  ==========================  =====================================================

The metadata of the file says under the key "sparseret", in JSON, which encoder made the vectors and
what values are. Rows are written and read in stretches, in memory is never more than a row group.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sparseret.documents import Document, document_batches
from sparseret.exchange.columns import ColumnTypes, column_types, split_metadata
from sparseret.exchange.leg import LegReader, Values
from sparseret.exchange.making import new_file
from sparseret.indexers.dense_leg import DenseLeg
from sparseret.parquet_file import JSON_COLUMN, arrow_errors
from sparseret.protocols import CollectionEncoder, Encoder

__all__ = ["RECORD_KEY", "export_parquet"]

RECORD_KEY = b"sparseret"

_ROW_GROUP = 10_000


class _Batch(NamedTuple):
    documents: list[Document]
    rows: Any
    """csr_array of a sparse leg, array of a dense one, None without vectors."""


def export_parquet(
    index: str | Path,
    out: str | Path,
    *,
    leg: str | None = None,
    vectors: bool = True,
    values: Values | None = None,
    advance: Callable[[int], None] | None = None,
) -> int:
    """Write documents and the vectors of a leg. Returns the number of documents.

    Args:
        index: folder of the index.
        out: the file; its pages are compressed by Zstandard.
        leg: name of the leg; None for the only one.
        vectors: whether to write vectors, too.
        values: by default what the leg keeps; "weights" of a leg of counts are those it has now.
        advance: called with the number of documents just written.

    Raises:
        MissingExtraError: pyarrow is not installed.
        ConfigurationError, StorageError, CorruptIndexError, IndexNotFoundError
    """
    done = 0
    with arrow_errors(out):
        import pyarrow as pa
        from pyarrow import parquet

        with LegReader(index, leg) as reader, new_file(out) as path:
            types = column_types(reader.documents())
            chosen = None if isinstance(reader.leg, DenseLeg) else reader.check_values(values)
            fields = _fields(pa, types) + (_vector_fields(pa, reader) if vectors else [])
            record = _record(reader, chosen) if vectors else {"version": 1}
            schema = pa.schema(fields, {RECORD_KEY: json.dumps(record, ensure_ascii=False)})
            with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
                group: list[Any] = []
                for batch in _batches(reader, chosen, vectors=vectors):
                    group.append(_record_batch(pa, schema, batch, types, reader))
                    done += len(batch.documents)
                    if sum(made.num_rows for made in group) >= _ROW_GROUP:
                        writer.write_table(pa.Table.from_batches(group))
                        group = []
                    if advance is not None:
                        advance(len(batch.documents))
                writer.write_table(pa.Table.from_batches(group, schema))
    return done


def _record_batch(
    pa: Any, schema: Any, batch: _Batch, types: ColumnTypes, reader: LegReader
) -> Any:
    columns = _document_columns(batch.documents, types)
    columns += _vector_columns(pa, batch.rows, reader)
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _batches(reader: LegReader, values: Values | None, *, vectors: bool) -> Iterator[_Batch]:
    if not vectors:
        for documents in document_batches(reader.documents()):
            yield _Batch(documents, None)
    elif values is None:
        for dense in reader.dense_batches():
            yield _Batch(dense.documents, dense.rows)
    else:
        for sparse in reader.sparse_batches(values):
            yield _Batch(sparse.documents, sparse.rows)


def _fields(pa: Any, types: ColumnTypes) -> list[Any]:
    kinds = {
        "bool": pa.bool_(), "int64": pa.int64(), "float64": pa.float64(), "string": pa.string(),
        "list<string>": pa.list_(pa.string()),
    }  # fmt: skip
    texts = [pa.field(name, pa.string()) for name in ("id", "title", "text")]
    own = [pa.field(name, kinds[kind]) for name, kind in types.items()]
    return [*texts, *own, pa.field(JSON_COLUMN, pa.string())]


def _vector_fields(pa: Any, reader: LegReader) -> list[Any]:
    if isinstance(reader.leg, DenseLeg):
        return [pa.field("vector", pa.list_(pa.float32(), reader.leg.dim))]
    terms = [pa.field("terms", pa.list_(pa.string()))] if _has_own_terms(reader) else []
    indices = pa.field("indices", pa.list_(pa.int32()))
    return [indices, *terms, pa.field("values", pa.list_(pa.float32()))]


def _has_own_terms(reader: LegReader) -> bool:
    """Whether columns mean nothing outside of the index."""
    return isinstance(reader.encoder, CollectionEncoder)


def _record(reader: LegReader, values: Values | None) -> dict[str, Any]:
    leg = reader.leg
    record: dict[str, Any] = {"version": 1, "space": leg.space, "dim": leg.dim}
    if isinstance(leg, DenseLeg):
        record["metric"] = leg.settings.metric
    else:
        record |= {"values": values, "signed": leg.signed}
    if reader.encoder is not None:
        if values == "weights" and reader.counts:  # for queries of terms
            return record | {"space": None, "encoder": {"name": "terms", "options": {}}}
        record["encoder"] = {"name": reader.encoder.name, "options": reader.encoder.options}
    return record


def _document_columns(documents: list[Document], types: ColumnTypes) -> list[Any]:
    split = [split_metadata(document, types) for document in documents]
    return [
        [document.id for document in documents],
        [document.title for document in documents],
        [document.text for document in documents],
        *([own.get(name) for own, _ in split] for name in types),
        [rest for _, rest in split],
    ]


def _vector_columns(pa: Any, rows: Any, reader: LegReader) -> list[Any]:
    if rows is None:
        return []
    if isinstance(rows, np.ndarray):
        flat = pa.array(rows.reshape(-1))
        return [pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])]
    ends = pa.array(rows.indptr.astype(np.int32))
    terms = []
    if _has_own_terms(reader) and isinstance(reader.encoder, Encoder):
        distinct, places = np.unique(rows.indices, return_inverse=True)
        names = pa.array([reader.term(int(column)) for column in distinct], pa.string())
        terms = [pa.ListArray.from_arrays(ends, names.take(pa.array(places)))]
    indices = pa.ListArray.from_arrays(ends, pa.array(rows.indices))
    return [indices, *terms, pa.ListArray.from_arrays(ends, pa.array(rows.data))]
