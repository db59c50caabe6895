"""Titles and texts of documents, as an encoder with weighted fields reads them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from sparseret.documents import Document
from sparseret.encoders.row_ops import join_rows
from sparseret.errors import ConfigurationError, VectorError
from sparseret.kernels import Rows

__all__ = ["describe_fields", "encode_fields", "read_fields", "whole_text"]


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


def describe_fields(fields: Mapping[str, float]) -> list[str]:
    """Each field and its weight, for people."""
    return [f"{name}×{weight:g}" for name, weight in fields.items()]


def whole_text(documents: Sequence[Document | str]) -> list[str]:
    """Title and text of each document as one string."""
    return [document if isinstance(document, str) else document.content for document in documents]


def encode_fields(
    documents: Sequence[Document | str],
    fields: Mapping[str, float],
    encode: Callable[[list[str]], Rows],
    how: Literal["max", "sum"],
) -> Rows:
    """Rows of documents, whose fields are encoded by themselves, weighted, and joined.

    Args:
        documents: of which the fields are read; a bare string is a text.
        fields: weight of each; where there are none, title and text are encoded as one string.
        encode: gives one row for each text.
        how: what is taken of the weighted values of a column over fields.

    Raises:
        VectorError: the metadata hold something else than a string.
    """
    if not fields:
        return encode(whole_text(documents))
    rows = encode([_field_text(document, name) for document in documents for name in fields])
    places = np.arange(len(rows.indptr) - 1)
    weights = np.array(list(fields.values()), dtype=np.float32)
    scaled = rows.values * np.repeat(weights[places % len(fields)], np.diff(rows.indptr))
    weighted = Rows(rows.indptr, rows.columns, scaled)
    return join_rows(weighted, places // len(fields), len(documents), how)


def _field_text(document: Document | str, name: str) -> str:
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
