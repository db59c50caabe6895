"""Metadata of documents as columns of one type each, and what does not fit any as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sparseret.document_fields import document_of
from sparseret.documents import Document
from sparseret.errors import DocumentError
from sparseret.parquet_file import JSON_COLUMN, VECTOR_COLUMNS, plain_fields

__all__ = ["RESERVED", "ColumnTypes", "column_types", "document_of_row", "split_metadata"]

RESERVED = frozenset(
    {"id", "_id", "docid", "title", "text", "contents", JSON_COLUMN, *VECTOR_COLUMNS}
)
"""Names of columns that metadata cannot have."""

ColumnTypes = Mapping[str, str]
"""Column -> "bool", "int64", "float64", "string" or "list<string>"."""

_MIXED = "mixed"


def column_types(documents: Iterable[Document]) -> ColumnTypes:
    """Fields whose values are of one type in all documents that have them; reads them all."""
    found: dict[str, str] = {}
    for document in documents:
        for name, value in document.metadata.items():
            kind = _kind(value)
            if found.setdefault(name, kind) != kind:
                found[name] = _MIXED
    return {
        name: kind
        for name, kind in sorted(found.items())
        if kind != _MIXED and name not in RESERVED and name
    }


def split_metadata(document: Document, types: ColumnTypes) -> tuple[dict[str, Any], str | None]:
    """Metadata that columns take, and a JSON object of the rest; None where there is no rest."""
    own = {name: value for name, value in document.metadata.items() if name in types}
    rest = {name: value for name, value in document.metadata.items() if name not in types}
    return own, json.dumps(rest, ensure_ascii=False) if rest else None


def document_of_row(row: dict[str, Any], path: str | Path, number: int) -> Document:
    """The document of a row of a table, texts being optional.

    Raises:
        DocumentError: it is none; says file and row, from 1.
    """
    fields = plain_fields(row)
    if not {"text", "contents", "title"} & fields.keys():
        fields["text"] = ""
    try:
        return document_of(fields)
    except DocumentError as error:
        raise DocumentError(f"{path}: row {number}: {error}") from error


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int64"
    if isinstance(value, float):
        return "float64"
    if isinstance(value, str):
        return "string"
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, str) for item in value):
        return "list<string>"
    return _MIXED
