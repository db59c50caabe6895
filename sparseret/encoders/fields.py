"""Titles and texts of documents, as an encoder with weighted fields reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sparseret.documents import Document
from sparseret.errors import ConfigurationError, VectorError

__all__ = ["field_text", "read_fields", "whole_text"]


def read_fields(fields: Mapping[str, float] | None) -> dict[str, float]:
    """Checked weights of fields; empty where there are none.

    Raises:
        ConfigurationError: no mapping from names to numbers above 0.
    """
    if fields is None:
        return {}
    if not isinstance(fields, Mapping) or not fields:
        raise ConfigurationError(
            f"fields must map names to weights, as {{'title': 2, 'text': 1}}, got {fields!r}"
        )
    weights: dict[str, float] = {}
    for name, weight in fields.items():
        number: Any = weight
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise ConfigurationError(f"weight of field {name!r} must be a number, got {weight!r}")
        if not 0 < number < math.inf:
            raise ConfigurationError(f"weight of field {name!r} must be above 0, got {weight!r}")
        weights[name] = float(number)
    return weights


def whole_text(documents: Sequence[Document | str]) -> list[str]:
    """Title and text of each document as one string."""
    return [document if isinstance(document, str) else document.content for document in documents]


def field_text(document: Document | str, name: str) -> str:
    """One field: "title", "text" or a metadata key; a bare string is a text.

    Raises:
        VectorError: the metadata hold something else than a string.
    """
    if isinstance(document, str):
        return document if name == "text" else ""
    if name in ("text", "title"):
        return document.text if name == "text" else document.title
    value = document.metadata.get(name, "")
    if not isinstance(value, str):
        raise VectorError(
            f"document {document.id!r}: field {name!r} holds {type(value).__name__}, not a string"
        )
    return value
