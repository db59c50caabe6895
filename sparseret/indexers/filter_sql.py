"""Metadata filters as SQL conditions over the catalog."""

from __future__ import annotations

import re
from typing import NamedTuple

from sparseret.errors import FilterError
from sparseret.indexers.filter_tree import (
    COLUMNS,
    And,
    Compare,
    Condition,
    Exists,
    Filter,
    In,
    Not,
    Or,
    Order,
    Path,
    Value,
    field,
    json_text,
    path_text,
)

__all__ = ["Compiled", "FieldSql", "compile_filter", "field_index_sql", "indexed_field"]

MAX_SQL_BYTES = 1_000_000
"""SQLite's default limit on the length of a statement."""


class Compiled(NamedTuple):
    """A condition for ``SELECT number FROM documents WHERE <sql>``."""

    sql: str
    parameters: tuple[str | int, ...]
    """Values of the question marks of ``sql``, in order."""


def compile_filter(tree: Filter) -> Compiled:
    """SQL over the catalog table ``documents(number, id, title, text, metadata)``.

    ``metadata`` is a JSON object with unescaped non-ASCII characters and no NaN or infinity
    (``json.dumps(..., ensure_ascii=False, allow_nan=False)``). A string of it is cut at U+0000
    by some versions of SQLite; store none. Values are bound, field names bound or quoted.

    Raises:
        FilterError: the SQL is longer than SQLite's default limit.
    """
    parameters: list[str | int] = []
    sql = _sql(tree, parameters)
    if len(sql.encode()) > MAX_SQL_BYTES:
        raise FilterError(
            f"the filter compiles to SQL above {MAX_SQL_BYTES} bytes; shorten its field names"
        )
    return Compiled(sql, tuple(parameters))


def field_index_sql(path: str | Path) -> str:
    """The expression by which an index on a field speeds ``=``, ``in`` and range conditions.

    For ``CREATE INDEX name ON documents(<expression>)``; compiled conditions hold the very same
    expression, without which SQLite does not use the index.

    Raises:
        FilterError: not a path, or one with a key that no JSON path can quote.
    """
    return indexed_field(field(path).path).value


class FieldSql(NamedTuple):
    """SQL expressions over the catalog table ``documents``."""

    value: str
    json_type: str


def indexed_field(path: Path) -> FieldSql:
    """A field that can have an index: its value, which is what is indexed, and its JSON type.

    Raises:
        FilterError: a key that no JSON path can quote.
    """
    found = _field_sql(path)
    if found is None:
        raise FilterError(
            f"field {path_text(path)} cannot be indexed: a key holds a quote, backslash or "
            "control character; such a field can be filtered, only without an index"
        )
    return found


def _field_sql(path: Path) -> FieldSql | None:
    """None where a key cannot be quoted in a JSON path."""
    if path in COLUMNS:
        return FieldSql(COLUMNS[path], "'text'")
    literal = _path_literal(path)
    if literal is None:
        return None
    return FieldSql(f"json_extract(metadata, {literal})", f"json_type(metadata, {literal})")


_UNQUOTABLE = re.compile(r'["\\\x00-\x1f]')


def _path_literal(path: Path) -> str | None:
    """The SQL literal of a JSON path, or None where a key cannot be quoted in one.

    SQLite compares a quoted key with the JSON text as it is escaped there, and its versions differ
    on backslashes; keys that JSON does not escape are the same in all of them.
    """
    if any(_UNQUOTABLE.search(key) for key in path):
        return None
    json_path = "$" + "".join(f'."{key}"' for key in path)
    return "'" + json_path.replace("'", "''") + "'"


def _sql(tree: Filter, parameters: list[str | int]) -> str:
    # A condition may come out NULL instead of false; AND, OR and WHERE treat both alike, and
    # IS NOT TRUE turns both to true. Wrapping conditions themselves would hide them from indexes.
    if isinstance(tree, Not):
        return f"({_sql(tree.operand, parameters)} IS NOT TRUE)"
    if isinstance(tree, And | Or):
        word = " AND " if isinstance(tree, And) else " OR "
        return "(" + word.join(_sql(operand, parameters) for operand in tree.operands) + ")"
    known = _field_sql(tree.path)
    if known is not None:
        return "(" + _condition(tree, known.value, known.json_type, parameters) + ")"
    # No JSON path can name this field: step through its keys, bound, one table a key.
    tables = "json_each(metadata) AS k0" + "".join(
        f", json_each(CASE k{i}.type WHEN 'object' THEN k{i}.value ELSE '{{}}' END) AS k{i + 1}"
        for i in range(len(tree.path) - 1)
    )
    keys = "".join(f"k{i}.key = ? AND " for i in range(len(tree.path)))
    parameters.extend(tree.path)
    last = f"k{len(tree.path) - 1}"
    condition = _condition(tree, f"{last}.value", f"{last}.type", parameters)
    return f"(EXISTS (SELECT 1 FROM {tables} WHERE {keys}({condition})))"  # noqa: S608 # all bound


def _condition(tree: Condition, value: str, json_type: str, parameters: list[str | int]) -> str:
    """SQL of one condition on a field, given the SQL of its value and of its JSON type."""
    if isinstance(tree, Exists):
        return f"{json_type} IS NOT NULL"
    if isinstance(tree, Compare):
        return _comparison(tree.order, tree.value, value, json_type, parameters)
    if isinstance(tree, In):
        return _membership(tree, value, json_type, parameters)
    alternatives = []
    if isinstance(tree.value, str):
        parameters.append(tree.value)
        alternatives.append(f"({json_type} = 'text' AND instr({value}, ?) > 0)")
    if tree.path not in COLUMNS:
        element = _comparison("=", tree.value, "element.value", "element.type", parameters)
        alternatives.append(
            f"EXISTS (SELECT 1 FROM json_each(CASE {json_type} WHEN 'array' THEN {value} "  # noqa: S608 # bound or quoted
            f"ELSE '[]' END) AS element WHERE {element})"
        )
    return " OR ".join(alternatives) or "0"


def _comparison(
    order: Order, wanted: Value, value: str, json_type: str, parameters: list[str | int]
) -> str:
    if wanted is None:
        return f"{json_type} = 'null'"
    if isinstance(wanted, bool):
        return f"{value} = {int(wanted)} AND {json_type} = '{json_text(wanted)}'"
    if isinstance(wanted, str):
        parameters.append(wanted)
        return f"{value} {order} ? AND {json_type} = 'text'"
    if isinstance(wanted, int):
        parameters.append(wanted)
        return f"{value} {order} ? AND {json_type} IN ('integer', 'real')"
    # Read by SQLite from the same digits as in the metadata: where its conversion rounds
    # differently from Python's (it may, without 80-bit floats), equal numbers stay equal.
    parameters.append(json_text(wanted))
    return f"{value} {order} json_extract(?, '$') AND {json_type} IN ('integer', 'real')"


def _membership(tree: In, value: str, json_type: str, parameters: list[str | int]) -> str:
    """One JSON array a kind, so that the number of values meets no limit of SQLite."""
    alternatives = []
    for kind, types in (("string", "'text'"), ("number", "'integer', 'real'")):
        wanted = tuple(v for v, k in zip(tree.values, tree.kinds, strict=True) if k == kind)
        if wanted:
            parameters.append(json_text(wanted))
            alternatives.append(
                f"({value} IN (SELECT value FROM json_each(?)) "  # noqa: S608 # bound or quoted
                f"AND {json_type} IN ({types}))"
            )
    constants = {True: "'true'", False: "'false'", None: "'null'"}
    named = {constants[v] for v in tree.values if v is None or isinstance(v, bool)}
    if named:
        alternatives.append(f"{json_type} IN ({', '.join(sorted(named))})")
    return " OR ".join(alternatives) or "0"
