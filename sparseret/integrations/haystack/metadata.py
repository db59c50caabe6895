"""What Haystack asks of the metadata of many documents."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from haystack.dataclasses import Document

__all__ = ["count_unique", "fields_info", "min_max", "unique_values"]

_TYPES = ((bool, "boolean"), (int, "int"), (float, "float"))


def fields_info(documents: Iterable[Document]) -> dict[str, dict[str, str]]:
    """The type of each field of the metadata; "keyword" for what is no number or boolean."""
    found: dict[str, set[str]] = {}
    for document in documents:
        for key, value in document.meta.items():
            if value is not None:
                name = next((name for kind, name in _TYPES if isinstance(value, kind)), "keyword")
                found.setdefault(key, set()).add(name)
    return {key: {"type": _common(names)} for key, names in found.items()}


def min_max(documents: Iterable[Document], field: str) -> dict[str, Any]:
    """Least and largest value of a field; None where there is none, or types differ."""
    values = [v for v in _values(documents, field) if isinstance(v, (int, float, str))]
    if not values or len({isinstance(value, str) for value in values}) > 1:
        return {"min": None, "max": None}
    return {"min": min(values), "max": max(values)}


def count_unique(documents: Sequence[Document], names: Iterable[str]) -> dict[str, int]:
    """How many values each field has, told apart by type."""
    return {
        name.removeprefix("meta."): len({_told(value) for value in _values(documents, name)})
        for name in names
    }


def unique_values(
    documents: Iterable[Document], field: str, search_term: str | None, start: int, size: int
) -> tuple[list[Any], int]:
    """A page of the values of a field in the order of their text, and how many there are."""
    unique = {_told(value): value for value in _values(documents, field)}
    if search_term:
        term = search_term.lower()
        unique = {told: v for told, v in unique.items() if term in str(v).lower()}
    ordered = sorted(unique, key=lambda told: (str(unique[told]), told))
    return [unique[told] for told in ordered[start : start + size]], len(ordered)


def _values(documents: Iterable[Document], field: str) -> list[Any]:
    key = field.removeprefix("meta.")
    found = (document.meta.get(key) for document in documents)
    return [value for value in found if value is not None]


def _told(value: object) -> str:
    """A text that tells 1, 1.0, "1" and true apart."""
    return json.dumps(value, sort_keys=True)


def _common(names: set[str]) -> str:
    if len(names) == 1:
        return next(iter(names))
    return "float" if names == {"int", "float"} else "keyword"
