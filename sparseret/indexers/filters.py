"""Metadata filters: what they mean, and all of their public names.

In Python, ``(field("year") >= 2015) & field("lang").isin(["en", "de"])``; as text,
``parse_filter('year >= 2015 and lang in ["en", "de"]')``. Both make the same tree
(``filter_tree.py``), which compiles to SQL over the catalog (``filter_sql.py``).
:func:`matches` is the meaning: the SQL must select exactly the documents it is true of.

Meaning
    ``_id`` and ``title`` are the document's own; every other field is a key of its metadata,
    and a dotted path steps into nested objects (not into arrays). Logic has two values: a
    comparison with a missing field, or with a value of another type, is false. So ``~`` of it is
    true, and ``!=`` is just ``~`` of ``=``: ``year != 2015`` keeps documents without a year.
    Numbers compare exactly, whether integer or float; true and false are not numbers. Strings
    compare in code-point order. ``= null`` means an explicit null, ``exists`` a present key.
    ``contains`` is true of an array with an equal element and of a string with the substring.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from sparseret.documents import Document
from sparseret.indexers.filter_parser import parse_filter
from sparseret.indexers.filter_sql import Compiled, compile_filter, field_index_sql
from sparseret.indexers.filter_tree import (
    COLUMNS,
    COMPARISONS,
    And,
    Compare,
    Contains,
    Exists,
    Field,
    Filter,
    In,
    Not,
    Or,
    Order,
    Path,
    Value,
    field,
    fits_64_bits,
    kind_of,
)

__all__ = [
    "And",
    "Compare",
    "Compiled",
    "Contains",
    "Exists",
    "Field",
    "Filter",
    "In",
    "Not",
    "Or",
    "compile_filter",
    "field",
    "field_index_sql",
    "matches",
    "parse_filter",
]

_MISSING = object()


def matches(tree: Filter, document: Document) -> bool:
    """Whether a document passes a filter: the plain meaning that the SQL is tested against.

    Integers of the metadata outside 64 bits are compared as floats, which is how SQLite reads
    them.
    """
    if isinstance(tree, And):
        return all(matches(operand, document) for operand in tree.operands)
    if isinstance(tree, Or):
        return any(matches(operand, document) for operand in tree.operands)
    if isinstance(tree, Not):
        return not matches(tree.operand, document)
    found = _look_up(tree.path, document)
    if isinstance(tree, Exists):
        return found is not _MISSING
    if isinstance(tree, Compare):
        return _compare(found, tree.order, tree.value)
    if isinstance(tree, In):
        return any(_compare(found, "=", value) for value in tree.values)
    if isinstance(found, str):
        return isinstance(tree.value, str) and tree.value in found
    elements = found if isinstance(found, list | tuple) else ()
    return any(_compare(element, "=", tree.value) for element in elements)


def _look_up(path: Path, document: Document) -> object:
    if path in COLUMNS:
        return document.id if path == ("_id",) else document.title
    found: object = document.metadata
    for key in path:
        if not isinstance(found, Mapping) or key not in found:
            return _MISSING
        found = found[key]
    return found


def _compare(found: object, order: Order, value: Value) -> bool:
    if kind_of(found) != kind_of(value):
        return False
    if isinstance(found, int) and not fits_64_bits(found):
        try:
            found = float(found)
        except OverflowError:
            found = math.inf if found > 0 else -math.inf
    return COMPARISONS[order](found, value)
