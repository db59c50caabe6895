"""Fields as a document, or why they are none; where they stand is said by whoever reads them."""

from __future__ import annotations

from typing import Any

from sparseret.documents import Document, id_problem, metadata_problem
from sparseret.errors import DocumentError

__all__ = ["RejectedError", "document_of"]


class RejectedError(DocumentError):
    """Why a line or row is bad, without its place."""


def document_of(fields: dict[str, Any]) -> Document:
    """The document of an object of JSONL, or of a row of a table; takes ``fields`` over.

    Args:
        fields: as :func:`sparseret.readers.read_documents` says.

    Raises:
        RejectedError: why it is none.
    """
    id_field = "_id" if "_id" in fields else "id"
    document_id = _id(fields.pop(id_field, None), id_field)
    if "text" in fields:
        text = _string(fields.pop("text"), "text")
    elif "contents" in fields:
        text = _string(fields.pop("contents"), "contents")
    elif "title" in fields:
        text = ""
    else:
        raise RejectedError(
            f"no field text (or contents, or title); the line has {', '.join(fields) or 'no other'}"
        )
    title = _string(fields.pop("title", None), "title")
    if isinstance(fields.get("metadata"), dict):
        fields = fields.pop("metadata") | fields
    if fields and (problem := metadata_problem(fields)):
        raise RejectedError(problem)
    return Document(document_id, text, title, fields)


def _string(value: object, name: str) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    raise RejectedError(f"{name} is {type(value).__name__}, expected a string")


def _id(value: object, name: str) -> str:
    if value is None or value == "":
        raise RejectedError("no id: _id (or id) is missing, null or empty")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise RejectedError(f"{name} is {type(value).__name__}, expected a string or an integer")
    if problem := id_problem(value):
        raise RejectedError(problem)
    return value
