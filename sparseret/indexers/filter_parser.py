"""The text form of a metadata filter: ``year >= 2015 and lang in ["en", "de"]``.

    any_of    := all_of ("or" all_of)*
    all_of    := negation ("and" negation)*
    negation  := "not" negation | "(" any_of ")" | "exists" path | condition
    condition := path order value | path ["not"] "in" list | path ["not"] "contains" value
    order     := "=" | "==" | "!=" | "<>" | "<" | "<=" | ">" | ">="
    list      := "[" [value ("," value)*] "]" | "(" [value ("," value)*] ")"
    path      := key ("." key)*
    key       := letters, digits, "_", "-", beginning with a letter or "_" | string
    value     := number | string | "true" | "false" | "null"
    string    := in single or double quotes, escapes as in JSON and \\'

Keywords are case-insensitive; a key that equals one is put in quotes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import TypeVar, cast

from sparseret.errors import FilterError
from sparseret.indexers.filter_tree import (
    BARE_KEY,
    KEYWORDS,
    MAX_DEPTH,
    And,
    Compare,
    Contains,
    Exists,
    Filter,
    In,
    Not,
    Or,
    Order,
    Path,
    Value,
    check_path,
    checked_value,
)

__all__ = ["parse_filter"]

_EXAMPLE = 'year >= 2015 and lang in ["en", "de"]'
_SPACE = re.compile(r"\s*")
_ORDER = re.compile(r"==|!=|<>|<=|>=|=|<|>")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_AFTER_NUMBER = re.compile(r"[\w.+-]")
_PLAIN = {quote: re.compile(rf"[^{quote}\\]*") for quote in "\"'"}
_UNICODE_ESCAPE = re.compile(
    r"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}"
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"} | {c: c for c in "\"'\\/"}
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
_SHOWN = 60
"""Characters of the filter shown in an error on either side of the offending one."""

_Part = TypeVar("_Part")


def parse_filter(text: str) -> Filter:
    """The filter that ``text`` writes; ``str`` of a filter is its inverse.

    Raises:
        FilterError: the text is not a filter; the message points at the offending character and
            gives what was expected there, with an example.
    """
    if not isinstance(text, str):
        raise FilterError(f"expected the text of a filter, got {type(text).__name__}")
    return _Parser(text).parse()


class _Parser:
    """Recursive descent, one method a rule of the grammar; ``at`` is the next character."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.nesting = 0

    def parse(self) -> Filter:
        tree = self.any_of()
        self.skip_space()
        if self.at < len(self.text):
            raise self.error("and, or, or the end of the filter", _EXAMPLE)
        return tree

    # Rules

    def any_of(self) -> Filter:
        start = self.at
        operands = [self.all_of()]
        while self.take_word("or"):
            operands.append(self.all_of())
        return operands[0] if len(operands) == 1 else self.made(start, Or, tuple(operands))

    def all_of(self) -> Filter:
        start = self.at
        operands = [self.negation()]
        while self.take_word("and"):
            operands.append(self.negation())
        return operands[0] if len(operands) == 1 else self.made(start, And, tuple(operands))

    def negation(self) -> Filter:
        self.skip_space()
        start = self.at
        if self.take_word("not"):
            self.enter(start)
            tree: Filter = self.made(start, Not, self.negation())
            self.nesting -= 1
            return tree
        if self.take("("):
            self.enter(start)
            tree = self.any_of()
            if not self.take(")"):
                raise self.error(
                    "and, or, or a closing )", "(year < 2000 or year > 2010) and open = true"
                )
            self.nesting -= 1
            return tree
        if self.take_word("exists"):
            return self.made(start, Exists, self.path("exists year"))
        return self.condition()

    def condition(self) -> Filter:
        self.skip_space()
        start = self.at
        path = self.path(_EXAMPLE)
        negated = self.take_word("not")
        tree: Filter
        if self.take_word("in"):
            tree = self.made(start, In, path, self.values())
        elif self.take_word("contains"):
            tree = self.made(start, Contains, path, self.value('tags contains "new"'))
        elif negated:
            raise self.error("in or contains after not", 'lang not in ["en", "de"]')
        else:
            match = _ORDER.match(self.text, self.at)
            if match is None:
                raise self.error("one of = != < <= > >= in contains, or not in", _EXAMPLE)
            self.at = match.end()
            self.skip_space()
            start = self.at
            value = self.value(f"year {match.group()} 2015")
            negated = match.group() in ("!=", "<>")
            order = "=" if negated or match.group() == "==" else match.group()
            tree = self.made(start, Compare, path, cast("Order", order), value)
        return self.made(start, Not, tree) if negated else tree

    def path(self, example: str) -> Path:
        self.skip_space()
        start = self.at
        keys = [self.key(example)]
        while self.text.startswith(".", self.at):
            self.at += 1
            keys.append(self.key('author.name = "Ann"'))
        self.made(start, check_path, tuple(keys))
        return tuple(keys)

    def key(self, example: str) -> str:
        if self.text.startswith(('"', "'"), self.at):
            return self.string()
        match = BARE_KEY.match(self.text, self.at)
        if match is None:
            raise self.error("a field name", example)
        if match.group().lower() in KEYWORDS:
            raise self.error(
                f'a field name ({match.group()} is a keyword; as a name it is "{match.group()}")',
                example,
            )
        self.at = match.end()
        return match.group()

    def values(self) -> tuple[Value, ...]:
        example = 'lang in ["en", "de"]'
        closing = "]" if self.take("[") else ")" if self.take("(") else None
        if closing is None:
            raise self.error("a list in [ ] or ( )", example)
        values: list[Value] = []
        if self.take(closing):
            return ()
        while True:
            values.append(self.value(example))
            if self.take(closing):
                return tuple(values)
            if not self.take(","):
                raise self.error(f"a comma or a closing {closing}", example)

    def value(self, example: str) -> Value:
        self.skip_space()
        start = self.at
        if self.text.startswith(('"', "'"), self.at):
            return self.made(start, checked_value, self.string())
        match = _NUMBER.match(self.text, self.at)
        if match is not None:
            return self.made(start, checked_value, self.number(match))
        for word, constant in _CONSTANTS.items():
            if self.take_word(word):
                return constant
        bare = BARE_KEY.match(self.text, self.at)
        if bare is not None:
            raise self.error("a value (text goes in quotes)", f'lang = "{bare.group()[:_SHOWN]}"')
        raise self.error("a value", example)

    def number(self, match: re.Match[str]) -> int | float:
        if _AFTER_NUMBER.match(self.text, match.end()):
            self.at = match.end()
            raise self.error(
                "the end of the number (dates and other text go in quotes)", 'day >= "2015-01-31"'
            )
        # 19 digits hold every 64-bit integer; Python refuses to read thousands of them.
        if match.group(1) is None and match.group(2) is None:
            if len(match.group().lstrip("-").lstrip("0")) > 19:
                raise self.error("an integer of at most 64 bits", "views > 9000000000000000000")
            self.at = match.end()
            return int(match.group())
        self.at = match.end()
        return float(match.group())

    def string(self) -> str:
        start = self.at
        quote = self.text[start]
        self.at += 1
        parts: list[str] = []
        while True:
            plain = _PLAIN[quote].match(self.text, self.at)
            if plain is not None:
                parts.append(plain.group())
                self.at = plain.end()
            if self.at == len(self.text):
                self.at = start
                raise self.error(f"a closing {quote} to this one", f"lang = {quote}en{quote}")
            if self.text[self.at] == quote:
                self.at += 1
                return "".join(parts)
            parts.append(self.escape())

    def escape(self) -> str:
        after = self.text[self.at + 1 : self.at + 2]
        if after in _ESCAPES:
            self.at += 2
            return _ESCAPES[after]
        match = _UNICODE_ESCAPE.match(self.text, self.at + 1)
        if match is None:
            raise self.error(
                "an escape: one of \\\" \\' \\\\ \\/ \\n \\t \\r \\b \\f \\uXXXX",
                r'path = "C:\\data"',
            )
        self.at = match.end()
        units = [int(unit, 16) for unit in match.group()[1:].split("\\u")]
        if len(units) == 1:
            return chr(units[0])
        return chr(0x10000 + ((units[0] - 0xD800) << 10) + (units[1] - 0xDC00))

    # Steps

    def skip_space(self) -> None:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def take(self, symbol: str) -> bool:
        self.skip_space()
        taken = self.text.startswith(symbol, self.at)
        self.at += len(symbol) if taken else 0
        return taken

    def take_word(self, word: str) -> bool:
        self.skip_space()
        match = BARE_KEY.match(self.text, self.at)
        if match is None or match.group().lower() != word:
            return False
        self.at = match.end()
        return True

    def enter(self, start: int) -> None:
        self.nesting += 1
        if self.nesting > MAX_DEPTH:
            self.at = start
            raise self.error(f"parentheses and not at most {MAX_DEPTH} levels deep", _EXAMPLE)

    def made(self, start: int, part: Callable[..., _Part], *of: object) -> _Part:
        """A part of the tree; what the tree refuses is reported at ``start``."""
        try:
            return part(*of)
        except FilterError as error:
            raise FilterError(_report(self.text, start, str(error), _EXAMPLE)) from None

    def error(self, expected: str, example: str) -> FilterError:
        word = BARE_KEY.match(self.text, self.at)
        found = word.group()[:_SHOWN] if word else self.text[self.at : self.at + 1]
        problem = f"expected {expected}; found {found or 'the end of the filter'}"
        return FilterError(_report(self.text, self.at, problem, example))


def _report(text: str, at: int, problem: str, example: str) -> str:
    """The problem, the line of the filter around ``at``, a caret under it, and an example."""
    before = text[text.rfind("\n", 0, at) + 1 : at]
    after = text[at:].split("\n", 1)[0]
    before = before if len(before) <= _SHOWN else "..." + before[-_SHOWN:]
    after = after if len(after) <= _SHOWN else after[:_SHOWN] + "..."
    line = "".join(c if c.isprintable() else " " for c in before + after)
    caret = " " * sum(_width(c) for c in before) + "^"
    return f"{problem}\n    {line}\n    {caret}\nfor example: {example}"


def _width(character: str) -> int:
    """Columns a terminal gives a character, so that the caret stands under the right one."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
