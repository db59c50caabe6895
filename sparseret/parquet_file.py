"""Parquet files row by row, as fields of documents; pyarrow is loaded when one is opened."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sparseret.errors import DocumentError, MissingExtraError, StorageError

__all__ = [
    "JSON_COLUMN",
    "PARQUET",
    "VECTOR_COLUMNS",
    "arrow_errors",
    "open_parquet",
    "parquet_batches",
    "parquet_rows",
    "plain_fields",
    "vector_columns",
]

PARQUET = ".parquet"
VECTOR_COLUMNS = ("indices", "terms", "values", "vector")
"""Columns of vectors, where they hold lists; then they are no metadata."""
JSON_COLUMN = "metadata"
"""Column of JSON objects, as text, with the metadata that no column of one type can hold."""


@contextmanager
def arrow_errors(path: str | Path) -> Iterator[None]:
    """Errors of pyarrow and of the system as ours.

    Raises:
        DocumentError: the file is damaged, or of another format.
        StorageError: the file system refused.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet", "Parquet and Arrow files") from error
    try:
        yield
    except FileNotFoundError as error:
        raise DocumentError(f"{path}: no such file") from error
    except StorageError:
        raise
    except pa.ArrowException as error:  # some are OSErrors, too
        raise DocumentError(
            f"{path}: damaged, cut short, or not the format its name says ({error}); fetch or "
            "export it again"
        ) from error
    except OSError as error:
        # pyarrow reports pages it cannot unpack as errors of the system, without a number.
        if error.errno is None:
            raise DocumentError(f"{path}: damaged ({error}); fetch or export it again") from error
        raise StorageError(f"{path}: {error.strerror or error}") from error


def open_parquet(path: str | Path) -> Any:
    """A ``pyarrow.parquet.ParquetFile``; errors as :func:`arrow_errors`."""
    with arrow_errors(path):
        from pyarrow import parquet

        return parquet.ParquetFile(path, memory_map=False, pre_buffer=False)


def parquet_batches(
    path: str | Path, columns: Sequence[str] | None = None, batch: int = 1000
) -> Iterator[Any]:
    """Record batches of a file, one row group's columns in memory at most; errors as above."""
    with arrow_errors(path):
        file = open_parquet(path)
        with file:
            yield from file.iter_batches(batch_size=batch, columns=columns, use_threads=False)


def vector_columns(schema: Any) -> frozenset[str]:
    """Names of the columns of vectors in a ``pyarrow.Schema``."""
    from pyarrow import types

    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    return frozenset(
        field.name
        for field in schema
        if field.name in VECTOR_COLUMNS and any(is_kind(field.type) for is_kind in lists)
    )


def parquet_rows(path: str | Path, skip: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number from 1, and fields, of each row but for its vectors; errors as above.

    Args:
        path: the file.
        skip: rows to pass over.
    """
    with arrow_errors(path):
        schema = open_parquet(path).schema_arrow
        vectors = vector_columns(schema)
    wanted = [name for name in schema.names if name not in vectors]
    number = 0
    for batch in parquet_batches(path, wanted):
        if number + batch.num_rows <= skip:
            number += batch.num_rows
            continue
        for row in batch.to_pylist():
            number += 1
            if number > skip:
                yield number, plain_fields(row)


def plain_fields(row: dict[str, Any]) -> dict[str, Any]:
    """Fields without nulls, and with those of the JSON column in an object."""
    fields = {name: value for name, value in row.items() if value is not None}
    packed = fields.get(JSON_COLUMN)
    if isinstance(packed, str) and packed.startswith("{"):
        try:
            fields[JSON_COLUMN] = json.loads(packed)
        except ValueError:
            return fields  # a text that only looks like an object
    return fields
