"""The tree of a metadata filter, the Python form that builds it and the text form it prints as."""

from __future__ import annotations

import dataclasses
import json
import math
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, TypeAlias, cast

from sparseret.errors import FilterError

__all__ = ["And", "Compare", "Contains", "Exists", "Field", "Filter", "In", "Not", "Or", "field"]

MAX_CONDITIONS = 500
"""Most conditions in a filter: they chain to SQL of that depth, and SQLite allows 1000."""
MAX_DEPTH = 16
"""Deepest nesting of and/or/not: SQLite's parser keeps up to 3 of its 100 stack entries a level."""
MAX_PATH = 32
"""Most keys in a path: each may become one table of a join, and SQLite joins at most 64."""

KEYWORDS = frozenset({"and", "or", "not", "in", "exists", "contains", "true", "false", "null"})
BARE_KEY = re.compile(r"[^\W\d][\w-]*")
"""A key that the text form takes without quotes, unless it is a keyword."""

Value: TypeAlias = str | int | float | bool | None
Path: TypeAlias = tuple[str, ...]
Kind: TypeAlias = Literal["string", "number", "boolean", "null"]
Order: TypeAlias = Literal["=", "<", "<=", ">", ">="]

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
COLUMNS: dict[Path, str] = {("_id",): "id", ("title",): "title"}


class _Operators:
    """What every node offers: ``&``, ``|``, ``~`` and its text form."""

    __slots__ = ()

    # The casts hold because only the nodes below have these operators.

    def __and__(self, other: Filter) -> And:
        return And((cast("Filter", self), other))

    def __or__(self, other: Filter) -> Or:
        return Or((cast("Filter", self), other))

    def __invert__(self) -> Not:
        return Not(cast("Filter", self))

    def __bool__(self) -> NoReturn:
        # `a and b` and `1 < field("x") < 5` would silently drop one of their two conditions.
        raise FilterError(
            "a filter is neither true nor false by itself: combine filters with &, | and ~, each "
            "comparison in parentheses, e.g. (field('year') >= 2015) & (field('year') < 2020)"
        )

    def __str__(self) -> str:
        return _text(cast("Filter", self))


@dataclass(frozen=True)
class Compare(_Operators):
    """A field compared with a value; only numbers and strings have an order."""

    path: Path
    order: Order
    value: Value
    kind: Kind = dataclasses.field(init=False, repr=False)
    """Kept for equality: ``x = 1`` and ``x = true`` are different filters though 1 == True."""

    def __post_init__(self) -> None:
        check_path(self.path)
        if self.order not in COMPARISONS:
            raise FilterError(f"unknown order {self.order!r}; use one of {', '.join(COMPARISONS)}")
        object.__setattr__(self, "value", checked_value(self.value))
        object.__setattr__(self, "kind", kind_of(self.value))
        if self.order != "=" and self.kind not in ("string", "number"):
            raise FilterError(
                f"{json.dumps(self.value)} has no order, so {self.order} cannot compare with it; "
                "use = or !="
            )


@dataclass(frozen=True)
class In(_Operators):
    """A field equal to one of some values; never true of no values."""

    path: Path
    values: tuple[Value, ...]
    kinds: tuple[Kind, ...] = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_path(self.path)
        object.__setattr__(self, "values", tuple(checked_value(value) for value in self.values))
        object.__setattr__(self, "kinds", tuple(kind_of(value) for value in self.values))


@dataclass(frozen=True)
class Contains(_Operators):
    """An array field with an element equal to the value, or a string field with the substring."""

    path: Path
    value: Value
    kind: Kind = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_path(self.path)
        object.__setattr__(self, "value", checked_value(self.value))
        object.__setattr__(self, "kind", kind_of(self.value))


@dataclass(frozen=True)
class Exists(_Operators):
    """A field that is present, be it null."""

    path: Path

    def __post_init__(self) -> None:
        check_path(self.path)


@dataclass(frozen=True)
class And(_Operators):
    """All of two or more filters; an ``And`` among them is merged into this one."""

    operands: tuple[Filter, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "operands", _merged(And, self.operands))
        _check_size(self)


@dataclass(frozen=True)
class Or(_Operators):
    """Any of two or more filters; an ``Or`` among them is merged into this one."""

    operands: tuple[Filter, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "operands", _merged(Or, self.operands))
        _check_size(self)


@dataclass(frozen=True)
class Not(_Operators):
    """The opposite of a filter."""

    operand: Filter

    def __post_init__(self) -> None:
        if not isinstance(self.operand, Filter):
            raise FilterError(f"expected a filter, got {type(self.operand).__name__}")
        _check_size(self)


Condition: TypeAlias = Compare | In | Contains | Exists
Filter: TypeAlias = Condition | And | Or | Not


def _merged(node: type[And] | type[Or], operands: Iterable[Filter]) -> tuple[Filter, ...]:
    merged: list[Filter] = []
    for operand in operands:
        if not isinstance(operand, Filter):
            raise FilterError(f"expected a filter, got {type(operand).__name__}")
        merged.extend(operand.operands if isinstance(operand, node) else (operand,))
    if len(merged) < 2:
        raise FilterError(f"{node.__name__} takes two or more filters, got {len(merged)}")
    return tuple(merged)


def _check_size(tree: Filter) -> None:
    # Every node is checked when it is made, so recursion over a tree is always shallow.
    conditions, depth = _size(tree)
    if conditions > MAX_CONDITIONS:
        raise FilterError(
            f"a filter has at most {MAX_CONDITIONS} conditions, this one has {conditions}; "
            "write alternatives of one field as a list: lang in ['en', 'de']"
        )
    if depth > MAX_DEPTH:
        raise FilterError(
            f"and, or and not nest at most {MAX_DEPTH} levels deep, this filter nests {depth}"
        )


def _size(tree: Filter) -> tuple[int, int]:
    """Number of conditions, and levels of and/or/not above the deepest one."""
    if isinstance(tree, Not):
        conditions, depth = _size(tree.operand)
        return conditions, depth + 1
    if isinstance(tree, And | Or):
        sizes = [_size(operand) for operand in tree.operands]
        return sum(size[0] for size in sizes), 1 + max(size[1] for size in sizes)
    return 1, 0


def check_path(path: Path) -> None:
    """Refuse a path that no filter can have."""
    if not isinstance(path, tuple) or not all(isinstance(key, str) for key in path):
        raise FilterError(f"a path is a tuple of strings, got {path!r}")
    if not 1 <= len(path) <= MAX_PATH:
        raise FilterError(f"a path has 1 to {MAX_PATH} keys, got {len(path)}")
    for key in path:
        _check_text(key, "field name")


def _check_text(text: str, what: str) -> None:
    if "\0" in text:
        raise FilterError(f"{what} {text!r} holds the character U+0000, at which SQLite cuts text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise FilterError(
            f"{what} {text!r} holds half of a surrogate pair, which no UTF-8 text can"
        ) from None


def checked_value(value: object) -> Value:
    """The value as a plain Python object; subclasses such as enums and NumPy floats become it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        _check_text(value, "value")
        return str.__str__(value)
    if isinstance(value, int):
        if not fits_64_bits(value):
            # A decimal form could be refused by Python itself for its length.
            raise FilterError(f"an integer of {value.bit_length()} bits does not fit in 64")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise FilterError(f"{value} is not a finite number; no document can hold it")
        return float(value)
    raise FilterError(
        f"a field compares with a string, int, float, bool or None, not with "
        f"{type(value).__name__}; convert it first: a date with .isoformat(), a NumPy scalar "
        "with .item()"
    )


def kind_of(value: object) -> Kind | None:
    """The JSON type that comparisons keep apart; None for arrays, objects and missing fields."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    return "number" if isinstance(value, int | float) else None


def fits_64_bits(value: int) -> bool:
    """Whether SQLite keeps an integer exactly."""
    return -(2**63) <= value < 2**63


class Field:
    """A field, from which comparisons make filters; made by :func:`field`."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        check_path(path)
        self.path = path

    def __eq__(self, value: object) -> Compare:  # type: ignore[override]
        return Compare(self.path, "=", value)  # type: ignore[arg-type]  # checked when made

    def __ne__(self, value: object) -> Not:  # type: ignore[override]
        return Not(self == value)

    def __lt__(self, value: str | float) -> Compare:
        return Compare(self.path, "<", value)

    def __le__(self, value: str | float) -> Compare:
        return Compare(self.path, "<=", value)

    def __gt__(self, value: str | float) -> Compare:
        return Compare(self.path, ">", value)

    def __ge__(self, value: str | float) -> Compare:
        return Compare(self.path, ">=", value)

    def isin(self, values: Iterable[Value]) -> In:
        """True of a field equal to one of ``values``; lists of any length are fast."""
        if isinstance(values, str):
            raise FilterError(f"isin takes a list of values; for one value: isin([{values!r}])")
        return In(self.path, tuple(values))

    def contains(self, value: Value) -> Contains:
        """True of an array with an element equal to ``value``, or a string with the substring."""
        return Contains(self.path, value)

    def exists(self) -> Exists:
        """True where the field is present, be it null."""
        return Exists(self.path)


def field(path: str | Path) -> Field:
    """A field by its path: ``"author.name"``, or exact keys: ``("author", "first.name")``.

    In a string, dots separate keys, and a key that holds dots is put in double quotes, with
    escapes as in JSON: ``'author."first.name"'``. ``_id`` and ``title`` are the document's own.

    Raises:
        FilterError: an empty path, an empty unquoted key, an unclosed quote, more than 32 keys.
    """
    return Field(_split(path) if isinstance(path, str) else path)


_KEY = re.compile(r'("(?:[^"\\]|\\.)*"|[^".][^.]*)(\.|\Z)', re.DOTALL)


def _split(text: str) -> Path:
    keys: list[str] = []
    at, dot = 0, "."
    while dot:
        match = _KEY.match(text, at)
        if match is None:
            raise FilterError(
                f"field path {text!r} has no key at character {at + 1}; separate keys by single "
                "dots and quote a key that holds dots or quotes: 'author.\"first.name\"'"
            )
        key, dot = match.groups()
        if key.startswith('"'):
            try:
                key = json.loads(key, strict=False)
            except json.JSONDecodeError as error:
                raise FilterError(f"field path {text!r}, key {key}: {error.msg}") from None
        keys.append(key)
        at = match.end()
    return tuple(keys)


def _text(tree: Filter) -> str:
    if isinstance(tree, And):
        return " and ".join(
            f"({_text(operand)})" if isinstance(operand, Or) else _text(operand)
            for operand in tree.operands
        )
    if isinstance(tree, Or):
        return " or ".join(_text(operand) for operand in tree.operands)
    if isinstance(tree, Not):
        inner = tree.operand
        if isinstance(inner, And | Or):
            return f"not ({_text(inner)})"
        if isinstance(inner, Compare) and inner.order == "=":
            return f"{path_text(inner.path)} != {json_text(inner.value)}"
        if isinstance(inner, In):
            return f"{path_text(inner.path)} not in {json_text(inner.values)}"
        return f"not {_text(inner)}"
    path = path_text(tree.path)
    if isinstance(tree, Exists):
        return f"exists {path}"
    if isinstance(tree, In):
        return f"{path} in {json_text(tree.values)}"
    return (
        f"{path} {tree.order if isinstance(tree, Compare) else 'contains'} {json_text(tree.value)}"
    )


def path_text(path: Path) -> str:
    """A path as the text form writes it, keys in quotes where they need them."""
    return ".".join(
        key if BARE_KEY.fullmatch(key) and key.lower() not in KEYWORDS else json_text(key)
        for key in path
    )


def json_text(value: Value | tuple[Value, ...]) -> str:
    """A value, or a list of them, as the text form and SQLite read it."""
    return json.dumps(value, ensure_ascii=False)
