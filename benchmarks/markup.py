"""Sentences out of documentation in the formats that Debian's packages ship."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator

__all__ = ["READERS", "sentences"]

_HTML_DROPPED = re.compile(
    r"<!--.*?-->|<(script|style|pre|head|nav|footer|header|table class=\"nav)\b.*?</\1\s*>",
    re.DOTALL | re.IGNORECASE,
)
_HTML_INLINE = re.compile(
    r"</?(a|abbr|acronym|b|bdi|big|cite|code|dfn|em|font|i|kbd|mark|q|s|samp|small|span|strong|sub"
    r"|sup|tt|u|var|wbr)\b[^>]*>",
    re.IGNORECASE,
)
_TAG = re.compile(r"<[^>]*>")
_RST_ROLE = re.compile(r":[\w:+-]+:`~?!?([^`<]*?)(?:\s*<[^`]*>)?`")
_RST_MARKS = re.compile(r"``|\*\*?|(?<!\w)`|`_{0,2}|\|(?=\w)|(?<=\w)\|")
_DICTIONARY_MARKS = re.compile(
    r"\[[^\[\]]*\]|[{}]|\(\d{4}-\d\d-\d\d\)|--[A-Z][\w. ]*$|<[^<>]*>|^\s*(?:\d+|\([a-z]\))\.?\s",
    re.MULTILINE,
)
_NUMBER_LEFT = re.compile(r"(?<=[.!?]) \d+\.$")  # of the next sense of a word
_SENTENCE_END = re.compile(r"(?<=[a-z0-9)\]\"'][.!?])[\"')]*\s+(?=[\"'(]*[A-Z])")


def _html_paragraphs(text: str) -> Iterator[str]:
    text = _HTML_INLINE.sub("", _HTML_DROPPED.sub("\n\n", text))
    # Source lines are no boundaries in HTML, tags that are left are.
    yield from _TAG.sub("\0", html.unescape(text.replace("\n", " "))).split("\0")


def _rst_paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text):
        if not paragraph.lstrip().startswith((".. ", ":", "=", ">>>", "+-", "|")):
            yield _RST_MARKS.sub("", _RST_ROLE.sub(r"\1", paragraph))


def _dictionary_paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n|\n(?=\S)", text):
        plain = _DICTIONARY_MARKS.sub(" ", paragraph)
        # A definition and its examples: "...; as, the coagulation of milk; ..."
        yield from plain.split(";")


def _fortune_paragraphs(text: str) -> Iterator[str]:
    yield from text.replace("\t", " ").split("\n%\n")


READERS: dict[str, Callable[[str], Iterator[str]]] = {
    "dictionary": _dictionary_paragraphs,
    "fortune": _fortune_paragraphs,
    "html": _html_paragraphs,
    "rst": _rst_paragraphs,
}
"""From the text of a file to its paragraphs, by the name of the format."""


def sentences(paragraph: str) -> Iterator[str]:
    """The sentences of a paragraph, whatever its line breaks are."""
    for sentence in _SENTENCE_END.split(" ".join(paragraph.split())):
        yield _NUMBER_LEFT.sub("", sentence).strip(" -*\u2022\u2014")
