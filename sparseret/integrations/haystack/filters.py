"""Filters of Haystack as filters of an index.

What a filter of Haystack means is ``haystack.utils.filters.document_matches_filter``. Conditions
that mean the same in an index become its own filter, which SQLite evaluates; the others, such as
those on dates, are left to that function. Differences that decide which is which:

- Haystack's ``==`` is that of Python, so 1 equals true, and null a missing field.
- Strings that are ISO dates are equal where they denote the same time, and only dates have an
  order.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from haystack.dataclasses import Document
from haystack.errors import FilterError
from haystack.utils.filters import COMPARISON_OPERATORS, LOGICAL_OPERATORS

from sparseret import errors
from sparseret.indexers.filters import And, Compare, Exists, Filter, In, Not, Or
from sparseret.integrations.haystack.documents import KEPT

__all__ = ["Plan", "plan_filter"]

_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_ID = ("_id",)
_TITLE = ("title",)
_NOTHING: Filter = In(_ID, ())
_EVERYTHING: Filter = Not(_NOTHING)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_FIELDS = frozenset(f.name for f in fields(Document))


class Plan(NamedTuple):
    """A filter in two parts; a document passes both."""

    ours: Filter | None = None
    """None for all documents."""
    theirs: Mapping[str, Any] | None = None
    """What Haystack has to evaluate itself; None where there is no such part."""


def plan_filter(filters: Mapping[str, Any] | None, order_by: str | None = None) -> Plan:
    """What of a filter an index can evaluate, and what Haystack must.

    Args:
        filters: as Haystack defines them; None or an empty one selects all.
        order_by: top-level field that holds no booleans, as that by which an index is ordered.

    Raises:
        haystack.errors.FilterError: a filter that is none.
    """
    if not filters:
        return Plan()
    _check(filters)
    whole = _exactly(filters, order_by)
    if whole is not None:
        return Plan(whole)
    if filters.get("operator") != "AND" or "field" in filters:
        return Plan(None, filters)
    ours: list[Filter] = []
    theirs: list[Mapping[str, Any]] = []
    for condition in filters["conditions"]:
        tree = _exactly(condition, order_by)
        if tree is None:
            theirs.append(condition)
        else:
            ours.append(tree)
    try:
        joined = _joined(And, ours) if ours else None
    except errors.FilterError:  # deeper or longer than a filter may be
        return Plan(None, filters)
    return Plan(joined, {"operator": "AND", "conditions": theirs})


def _check(filters: object) -> None:
    """Refuse what Haystack refuses, whether or not a document gets so far."""
    if not isinstance(filters, Mapping):
        raise FilterError(f"a filter is a dictionary, got {type(filters).__name__}")
    is_comparison = "field" in filters
    for key in ("operator", "value") if is_comparison else ("operator", "conditions"):
        if key not in filters:
            raise FilterError(f"'{key}' key missing in {filters}")
    known = COMPARISON_OPERATORS if is_comparison else LOGICAL_OPERATORS
    if filters["operator"] not in known:
        raise FilterError(f"unknown operator {filters['operator']!r}; there are {', '.join(known)}")
    if not is_comparison:
        if not isinstance(filters["conditions"], list):
            raise FilterError("the conditions of a filter are a list of filters")
        for condition in filters["conditions"]:
            _check(condition)
        return
    if not isinstance(filters["field"], str):
        raise FilterError(f"a field is named by a string, got {filters['field']!r}")
    if filters["operator"] in ("in", "not in") and not isinstance(filters["value"], list):
        raise FilterError(f"the operator {filters['operator']} takes a list of values")
    if filters["operator"] in _ORDERS and isinstance(filters["value"], list):
        raise FilterError(f"the operator {filters['operator']} takes one value, not a list")


def _exactly(filters: Mapping[str, Any], order_by: str | None) -> Filter | None:
    """The same condition as a filter of an index, or None where there is none."""
    try:
        if "field" in filters:
            return _comparison(filters["field"], filters["operator"], filters["value"], order_by)
        trees: list[Filter] = []
        for condition in filters["conditions"]:
            tree = _exactly(condition, order_by)
            if tree is None:
                return None
            trees.append(tree)
        if filters["operator"] == "OR":
            return _joined(Or, trees) if trees else _NOTHING
        joined = _joined(And, trees) if trees else _EVERYTHING
        return Not(joined) if filters["operator"] == "NOT" else joined
    except errors.FilterError:  # a value or a size that a filter of an index cannot have
        return None


def _joined(node: type[And] | type[Or], trees: Sequence[Filter]) -> Filter:
    return trees[0] if len(trees) == 1 else node(tuple(trees))


def _comparison(name: str, operator: str, value: object, order_by: str | None) -> Filter | None:
    path = _path(name)
    if path is None:
        return None
    if operator in _ORDERS:
        return _ordered(path, operator, value, order_by)
    values = value if operator in ("in", "not in") else [value]
    tree = _equal_to_one(path, values) if isinstance(values, list) else None
    if tree is None:
        return None
    return Not(tree) if operator in ("!=", "not in") else tree


def _path(name: str) -> tuple[str, ...] | None:
    """Where an index keeps a field, or None where it cannot be asked for it."""
    if name == "id":
        return _ID
    if name.startswith("meta."):
        path = tuple(name.split(".")[1:])
    elif "." in name or name in _FIELDS:
        return None
    else:
        path = (name,)
    return None if path == _ID or path[0] == KEPT else path


def _equal_to_one(path: tuple[str, ...], values: Sequence[object]) -> Filter | None:
    wanted: list[str | int | float | bool] = []
    trees: list[Filter] = []
    for value in values:
        if path == _TITLE and not (isinstance(value, str) and value):
            return None  # the title is a column of its own, and empty where there is none
        if value is None:
            trees += [Not(Exists(path)), Compare(path, "=", None)]
        elif isinstance(value, str):
            if _DATE.match(value):
                return None
            wanted.append(value)
        elif isinstance(value, (bool, int, float)):
            wanted.append(value)
            if value in (0, 1):
                wanted.append(int(value) if isinstance(value, bool) else bool(value))
        else:
            return None
    if wanted:
        trees.append(Compare(path, "=", wanted[0]) if len(wanted) == 1 else In(path, tuple(wanted)))
    return _joined(Or, trees) if trees else _NOTHING


def _ordered(
    path: tuple[str, ...], order: str, value: object, order_by: str | None
) -> Filter | None:
    if value is None:
        return _NOTHING
    if not isinstance(value, (int, float)) or path in (_ID, _TITLE):
        return None
    number = int(value) if isinstance(value, bool) else value
    tree: Filter = Compare(path, order, number)  # type: ignore[arg-type]  # one of _ORDERS
    booleans = [each for each in (False, True) if _ORDERS[order](each, number)]
    if not booleans or path == (order_by,):
        return tree
    return Or((tree, In(path, tuple(booleans))))
