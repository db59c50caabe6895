"""Reading Parquet into an index: documents, and vectors where there are any.

(:mod:`sparseret.exchange.parquet` has the layout.)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret import vectors as vector_checks
from sparseret.documents import Document
from sparseret.errors import (
    ConfigurationError,
    DocumentError,
    IncompatibleIndexError,
    SparseretError,
    VectorError,
)
from sparseret.exchange.columns import document_of_row
from sparseret.exchange.making import new_folder
from sparseret.exchange.new_index import Imported, new_index
from sparseret.exchange.parquet import RECORD_KEY
from sparseret.indexers.dense import DenseIndex
from sparseret.indexers.dense_settings import DenseSettings
from sparseret.indexers.folder import IndexFolder
from sparseret.indexers.inverted import InvertedIndex
from sparseret.legs import AnyEncoder
from sparseret.parquet_file import (
    PARQUET,
    arrow_errors,
    open_parquet,
    parquet_batches,
    vector_columns,
)
from sparseret.protocols import CollectionEncoder, DenseEncoder
from sparseret.readers import read_documents
from sparseret.registry import load_any_encoder
from sparseret.retriever import Retriever

__all__ = ["import_parquet", "parquet_files"]

_Advance = Callable[[int], None] | None


def import_parquet(
    source: str | Path,
    out: str | Path,
    *,
    encoder: str | AnyEncoder | None = None,
    encoder_options: Mapping[str, Any] | None = None,
    advance: Callable[[int], None] | None = None,
) -> Imported:
    """Make an index of Parquet, all of it or nothing.

    With columns of vectors those are indexed, in the space of the encoder that the file names, or
    of ``encoder``; without either, the index takes vectors as queries, or terms where the vectors
    have terms. Without vectors the texts are encoded: by ``encoder``, or as BM25.

    Args:
        source: a file, or a folder of files, which are read in the order of their names.
        out: folder of the index, new.
        encoder: of the queries, and where there are no vectors of the documents.
        encoder_options: of a named encoder.
        advance: called with the number of rows just read.

    Raises:
        DocumentError: a file that is none, or a row that is no document, with file and row.
        IncompatibleIndexError: vectors of another space than the encoder's.
        MissingExtraError: pyarrow is not installed.
        DuplicateIdError, ConfigurationError, IndexExistsError, StorageError
    """
    files = parquet_files(Path(source))
    layout = _layout(files)
    if not layout.columns:
        return _import_documents(files, out, encoder or "bm25", encoder_options, advance)
    chosen = _encoder(files[0], layout, encoder, encoder_options or {})
    rows = _rows(files, layout, advance)
    if isinstance(chosen, CollectionEncoder):
        return _import_terms(files, layout, out, chosen, rows)
    if "indices" not in layout.columns and "vector" not in layout.columns:
        with new_index(out, chosen or "terms") as index:
            n = 0
            for where, batch in rows:
                with _named(where):
                    columns = index.columns(batch.terms)
                    index.add(batch.documents, batch.indptr, columns, batch.values)
                n += len(batch.documents)
        return Imported(n)
    with _vector_index(out, layout, chosen) as folder:
        n = 0
        for where, batch in rows:
            with _named(where):
                ids = [document.id for document in batch.documents]
                folder.append(ids, [_matrix(batch, layout)], batch.documents)
            n += len(ids)
    return Imported(n)


def parquet_files(source: Path) -> list[Path]:
    """A file, or those of a folder. Raises DocumentError where there is none."""
    if not source.is_dir():
        if not source.exists():
            raise DocumentError(f"{source}: no such file")
        return [source]
    files = sorted(source.glob(f"*{PARQUET}"))
    if not files:
        raise DocumentError(f"{source}: the folder has no {PARQUET} file")
    return files


class _Layout(NamedTuple):
    columns: frozenset[str]
    """Those of vectors that the files have."""
    record: dict[str, Any]
    """What the first file says of its vectors."""
    dim: int | None


class _Rows(NamedTuple):
    documents: list[Document]
    indptr: NDArray[np.int64]
    indices: NDArray[np.int64] | None
    terms: list[str]
    values: NDArray[np.float32]
    """Of dense vectors, one after another."""


def _layout(files: list[Path]) -> _Layout:
    found: set[frozenset[str]] = set()
    for file in files:
        schema = open_parquet(file).schema_arrow
        found.add(vector_columns(schema))
    if len(found) > 1:
        raise DocumentError(f"{files[0].parent}: some files have vectors, and others not the same")
    columns = found.pop()
    if columns and not (columns == {"vector"} or ("values" in columns and columns > {"values"})):
        raise DocumentError(
            f"{files[0]}: columns {', '.join(sorted(columns))} are no vectors: there must be "
            "vector, or values with indices or terms"
        )
    try:
        record = json.loads((open_parquet(files[0]).schema_arrow.metadata or {})[RECORD_KEY])
    except (KeyError, ValueError):
        record = {}
    if not isinstance(record, dict):
        record = {}
    dim = record.get("dim")
    if "vector" in columns:
        dim = _width(files)
    return _Layout(columns, record, dim if isinstance(dim, int) and dim > 0 else None)


def _width(files: list[Path]) -> int:
    for file in files:
        for batch in parquet_batches(file, ["vector"], batch=1):
            first = batch.column("vector")[0].as_py()
            if first:
                return len(first)
    raise DocumentError(f"{files[0]}: no row has a vector")


def _encoder(
    file: Path, layout: _Layout, given: str | AnyEncoder | None, options: Mapping[str, Any]
) -> AnyEncoder | None:
    """Of the vectors; None where neither the user nor the file names one."""
    chosen: AnyEncoder
    if given is None:
        recorded = layout.record.get("encoder")
        if not isinstance(recorded, dict):
            return load_any_encoder("terms") if "terms" in layout.columns else None
        try:
            chosen = load_any_encoder(
                recorded.get("name", ""), {**recorded.get("options", {}), **options}
            )
        except (SparseretError, ImportError, OSError) as error:
            raise ConfigurationError(
                f"{file}: its vectors are of the encoder {recorded.get('name')!r}, which cannot be "
                f"made here: {error}. Give it: --encoder NAME:FOLDER"
            ) from error
    else:
        chosen = load_any_encoder(given, options) if isinstance(given, str) else given
    if isinstance(chosen, DenseEncoder) != ("vector" in layout.columns):
        raise ConfigurationError(f"{file}: its vectors are not of the kind {chosen.name} makes")
    space = layout.record.get("space")
    # Counts and weights by term fit any encoder of terms.
    if space not in (None, chosen.space) and not isinstance(chosen, CollectionEncoder):
        raise IncompatibleIndexError(
            f"{file} holds vectors of the space {space!r}, not {chosen.space!r}: give the encoder "
            "that made them"
        )
    if chosen.dim is not None and layout.dim not in (None, chosen.dim):
        raise IncompatibleIndexError(
            f"{file} holds vectors of {layout.dim} columns, and {chosen.name} makes {chosen.dim}"
        )
    return chosen


def _rows(files: list[Path], layout: _Layout, advance: _Advance) -> Iterator[tuple[str, _Rows]]:
    """Rows of all files in batches, each with its place."""
    for file in files:
        first = 1
        for batch in parquet_batches(file):
            where = f"{file}: rows {first} to {first + batch.num_rows - 1}"
            plain = [name for name in batch.schema.names if name not in layout.columns]
            rows = batch.select(plain).to_pylist()
            documents = [document_of_row(row, file, n) for n, row in enumerate(rows, first)]
            yield where, _taken(where, batch, documents, layout)
            first += batch.num_rows
            if advance is not None:
                advance(batch.num_rows)


def _taken(where: str, batch: Any, documents: list[Document], layout: _Layout) -> _Rows:
    """Vectors of a record batch as arrays."""
    flat, sizes = {}, {}
    for name in sorted(layout.columns):
        column = batch.column(name)
        with arrow_errors(where):
            inner = column.flatten()
            if column.null_count or inner.null_count:
                raise DocumentError(f"{where}: {name} has nulls: give every row a list")
            flat[name] = inner
            sizes[name] = np.array([len(item) for item in column], np.int64)
    one = next(iter(sizes.values()))
    if any((size != one).any() for size in sizes.values()):
        raise DocumentError(f"{where}: lists of {' and '.join(sorted(sizes))} differ in length")
    if "vector" in flat and (one != layout.dim).any():
        raise DocumentError(f"{where}: vectors are not all of {layout.dim} values")
    values = flat["vector" if "vector" in flat else "values"].to_numpy(zero_copy_only=False)
    indices = flat["indices"].to_numpy(zero_copy_only=False) if "indices" in flat else None
    if values.dtype.kind not in "fiu" or (indices is not None and indices.dtype.kind not in "iu"):
        raise DocumentError(f"{where}: values must be numbers, and indices integers")
    return _Rows(
        documents, np.concatenate(([0], np.cumsum(one))).astype(np.int64),
        None if indices is None else indices.astype(np.int64),
        flat["terms"].to_pylist() if "terms" in flat else [],
        values.astype(np.float32),
    )  # fmt: skip


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Say in which rows vectors are bad."""
    try:
        yield
    except VectorError as error:
        raise DocumentError(f"{where}: {error}") from error


def _matrix(batch: _Rows, layout: _Layout) -> Any:
    if batch.indices is None:
        return batch.values.reshape(len(batch.documents), -1)
    dim = layout.dim or vector_checks.MAX_DIM
    if len(batch.indices) and not 0 <= batch.indices.min() <= batch.indices.max() < dim:
        raise VectorError(f"indices must lie in 0..{dim - 1}")
    columns = batch.indices.astype(np.int32)
    return vector_checks.from_arrays(batch.indptr, columns, batch.values, dim)


@contextmanager
def _vector_index(
    out: str | Path, layout: _Layout, encoder: AnyEncoder | None
) -> Iterator[IndexFolder]:
    """An index of vectors as they are, which appears when the block ends without an error."""
    with new_folder(out) as path:
        index: IndexFolder
        space = str(layout.record.get("space") or "custom")
        if encoder is not None:
            index = Retriever.create(path, encoder).index
        elif "vector" in layout.columns:
            by_product = layout.record.get("metric") == "ip"
            dense = DenseSettings(metric="ip" if by_product else "cosine")
            index = DenseIndex.create(path, layout.dim or 1, dense=dense, space=space)
        else:
            signed = bool(layout.record.get("signed", True))
            index = InvertedIndex.create(path, space=space, dim=layout.dim, signed=signed)
        try:
            yield index
            index.commit()
            index.merge()
        finally:
            index.close()


def _import_terms(
    files: list[Path],
    layout: _Layout,
    out: str | Path,
    encoder: CollectionEncoder,
    rows: Iterator[tuple[str, _Rows]],
) -> Imported:
    """Vectors whose columns are those of the vocabulary of an index, which is made first.

    Terms get columns in the order they had, so that sums of float32 come out the same.
    """
    if "terms" not in layout.columns:
        raise ConfigurationError(
            f"{files[0]}: {encoder.name} finds columns by terms, and there is no column of them"
        )
    n = 0
    with new_index(out, encoder) as index:
        if "indices" in layout.columns:
            ordered = _terms_in_order(files)
            for begin in range(0, len(ordered), 10_000):
                index.columns(ordered[begin : begin + 10_000])
        for where, batch in rows:
            with _named(where):
                index.add(batch.documents, batch.indptr, index.columns(batch.terms), batch.values)
            n += len(batch.documents)
    return Imported(n)


def _terms_in_order(files: list[Path]) -> list[str]:
    """All terms, by the columns they had."""
    term_of: dict[int, str] = {}
    for file in files:
        for batch in parquet_batches(file, ["indices", "terms"]):
            columns = batch.column("indices").flatten().to_pylist()
            terms = batch.column("terms").flatten().to_pylist()
            term_of.update(zip(columns, terms, strict=False))
    return list(dict.fromkeys(term_of[column] for column in sorted(term_of)))


def _import_documents(
    files: list[Path],
    out: str | Path,
    encoder: str | AnyEncoder,
    options: Mapping[str, Any] | None,
    advance: _Advance,
) -> Imported:
    with (
        new_folder(out) as path,
        Retriever.create(path, encoder, encoder_options=options) as retriever,
    ):
        n = retriever.add(_texts(files, advance))
        retriever.commit()
        retriever.merge()
    return Imported(n)


def _texts(files: list[Path], advance: _Advance) -> Iterator[Document]:
    for file in files:
        for record in read_documents(file):
            yield record.document
            if advance is not None:
                advance(1)
