"""Metadata filters as dictionaries, in the form that many vector stores take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sparseret.errors import FilterError
from sparseret.indexers.filters import And, Compare, Field, Filter, Not, Or, field
from sparseret.indexers.search import as_filter

__all__ = ["read_filter"]

_OPERATORS: Mapping[str, Callable[[Field, Any], Filter]] = {
    "$eq": lambda at, value: at == value,
    "$ne": lambda at, value: at != value,
    "$lt": lambda at, value: at < value,
    "$lte": lambda at, value: at <= value,
    "$gt": lambda at, value: at > value,
    "$gte": lambda at, value: at >= value,
    "$in": lambda at, value: at.isin(_listed("$in", value)),
    "$nin": lambda at, value: ~at.isin(_listed("$nin", value)),
    "$contains": lambda at, value: at.contains(value),
    "$exists": lambda at, value: at.exists() if _truth(value) else ~at.exists(),
}


def read_filter(given: Filter | str | Mapping[str, Any] | None) -> Filter | None:
    """A filter from its text, a dictionary, or as it is; None for None.

    ``{"lang": "en", "year": {"$gte": 1950, "$lt": 1960}}`` is true of documents that satisfy all
    of its conditions. ``$and`` and ``$or`` take lists of dictionaries, ``$not`` takes one. An
    empty dictionary is no filter.

    Raises:
        FilterError: an unknown operator, or a value that it does not take.
    """
    if given is None or given == {}:
        return None
    return (
        _all([_item(key, value) for key, value in given.items()])
        if isinstance(given, Mapping)
        else as_filter(given)
    )


def _item(key: object, value: Any) -> Filter:
    if not isinstance(key, str):
        raise FilterError(f"a filter has names of fields as keys, got {key!r}")
    if key in ("$and", "$or"):
        parts = [_part(key, part) for part in _listed(key, value)]
        if not parts:
            raise FilterError(f"{key} takes one filter at least")
        return parts[0] if len(parts) == 1 else (And if key == "$and" else Or)(tuple(parts))
    if key == "$not":
        return Not(_part(key, value))
    if key.startswith("$"):
        raise FilterError(f"unknown operator {key!r}; beside fields there are $and, $or and $not")
    if not isinstance(value, Mapping):
        return Compare(field(key).path, "=", value)
    if not value:
        raise FilterError(f"{key}: expected an operator, such as {{'$gte': 1950}}")
    for name in value:
        if name not in _OPERATORS:
            raise FilterError(f"{key}: unknown operator {name!r}; use {', '.join(_OPERATORS)}")
    return _all([_OPERATORS[name](field(key), wanted) for name, wanted in value.items()])


def _part(key: str, given: Any) -> Filter:
    if not isinstance(given, Mapping) or not given:
        raise FilterError(f"{key} takes dictionaries with conditions, got {given!r}")
    return _all([_item(inner, value) for inner, value in given.items()])


def _all(parts: list[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _listed(name: str, value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise FilterError(f"{name} takes a list, got {value!r}")
    return list(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise FilterError(f"$exists takes True or False, got {value!r}")
    return value
