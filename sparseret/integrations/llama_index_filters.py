"""LlamaIndex's metadata filters as filters of an index."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from sparseret.errors import FilterError
from sparseret.indexers.filter_tree import Order
from sparseret.indexers.filters import And, Compare, Exists, Filter, In, Not, Or, field
from sparseret.retriever import Retriever

__all__ = ["read_metadata_filters"]


def read_metadata_filters(filters: Any, retriever: Retriever) -> Filter | None:
    """The filter of a ``MetadataFilters``, nested ones included; None for none.

    A key is that of the metadata as it is written, dots included. Conditions are those of
    LlamaIndex's own store: what is missing or null is only unequal to something, not in a list,
    or empty.

    ``text_match_insensitive`` and ``is_empty`` read the metadata of all documents that have the
    key, as the filters of an index cannot say what they mean.

    Raises:
        FilterError: a value that the operator does not take, or an unknown operator.
    """
    if filters is None:
        return None
    made = [_either(one, retriever) for one in filters.filters]
    parts = [part for part in made if part is not None]
    if not parts:
        return None
    how = filters.condition.value if filters.condition is not None else "and"
    if how == "not":
        return Not(_joined(Or, parts))
    return _joined(Or if how == "or" else And, parts)


def _either(one: Any, retriever: Retriever) -> Filter | None:
    if hasattr(one, "filters"):
        return read_metadata_filters(one, retriever)
    return _condition(one.key, one.operator.value, one.value, retriever)


def _condition(key: str, operator: str, value: Any, retriever: Retriever) -> Filter:
    at = field((key,))
    if operator in ("in", "nin", "any", "all") and not isinstance(value, list):
        raise FilterError(f"{key}: the operator {operator!r} takes a list, got {value!r}")
    if operator in ("==", "!="):
        equal = Compare((key,), "=", value)
        return equal if operator == "==" else ~equal
    if operator in (">", "<", ">=", "<="):
        return Compare((key,), cast("Order", operator), value)
    if operator == "in":
        return at.isin(value)
    if operator == "nin":
        return ~at.isin(value)
    if operator in ("contains", "text_match"):
        return at.contains(value)
    if operator == "text_match_insensitive":
        if not isinstance(value, str):
            raise FilterError(f"{key}: the operator {operator!r} takes a string, got {value!r}")
        wanted = value.lower()
        return _where(retriever, key, lambda text: isinstance(text, str) and wanted in text.lower())
    if operator == "any":
        return _joined(Or, [at.contains(one) for one in value]) if value else In((key,), ())
    if operator == "all":
        present = And((Exists((key,)), at != None))  # noqa: E711 - makes a filter
        return _joined(And, [at.contains(one) for one in value]) if value else present
    if operator == "is_empty":
        return Or((~at.exists(), at.isin([None, ""]), _where(retriever, key, lambda v: v == [])))
    raise FilterError(f"{key}: the operator {operator!r} is not known to this version of sparseret")


def _where(retriever: Retriever, key: str, test: Callable[[Any], bool]) -> Filter:
    """The filter of the documents of whose value under a key something is true."""
    candidates = retriever.documents(Exists((key,)))
    found = (d.id for d in candidates if key in d.metadata and test(d.metadata[key]))
    return In(("_id",), tuple(found))


def _joined(node: type[And] | type[Or], parts: list[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else node(tuple(parts))
