"""Where the sentences of a text are, by rules of its punctuation; the same on every machine.

A sentence ends

- after ``.``, ``!``, ``?`` or ``…``, closing quotes and brackets included, before white space;
- after the full stops of scripts written without spaces, such as ``。``;
- before an empty line;

but not after an abbreviation or an initial, nor before a small letter, unless the mark stands by
itself between spaces, as in texts that were split into tokens. All of this is linear in the length.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Span", "sentence_spans"]

_END = re.compile(
    r"""(?P<spaced>(?<![.!?…])[.!?…]+["'”’»)\]]*(?=\s|\Z))|[。！？｡]+["”’」』）]*|(?P<empty>\n[^\S\n]*\n)"""
)
_LAST_WORD = re.compile(r"[\w.]+\Z")
_NOT_SPACE = re.compile(r"\S")
_LONGEST_ABBREVIATION = 8

_ABBREVIATIONS = frozenset({
    "al", "approx", "ca", "cf", "dept", "dr", "e.g", "ed", "eds", "eq", "eqs", "esp", "et", "fig",
    "figs", "i.e", "jr", "mr", "mrs", "ms", "mt", "pp", "prof", "ref", "refs", "resp", "sec",
    "sect", "sr", "st", "viz", "vol", "vs",
})  # fmt: skip
_BEFORE_NUMBERS = frozenset({"art", "ch", "no", "nos", "p"})


class Span(NamedTuple):
    """A piece of a text: ``text[start:end]``."""

    start: int
    end: int


def sentence_spans(text: str) -> list[Span]:
    """The sentences of a text in order, without the white space around them; none is empty."""
    spans: list[Span] = []
    first = _NOT_SPACE.search(text)
    start = first.start() if first else len(text)
    for mark in _END.finditer(text):
        if mark.start() < start:  # within the white space before the sentence
            continue
        following = _NOT_SPACE.search(text, mark.end())
        if following is None:
            break
        if mark["spaced"] and not _ends(text, mark.start(), following.start()):
            continue
        end = mark.start() if mark["empty"] else mark.end()
        spans.append(Span(start, start + len(text[start:end].rstrip())))
        start = following.start()
    if start < len(text):
        spans.append(Span(start, start + len(text[start:].rstrip())))
    return spans


def _ends(text: str, mark: int, following: int) -> bool:
    """Whether a mark, before white space and whatever follows, ends a sentence."""
    attached = mark > 0 and not text[mark - 1].isspace()
    if not attached:
        return True
    if text[following].islower():
        return False
    if text[mark] != ".":
        return True
    last = _LAST_WORD.search(text, max(0, mark - _LONGEST_ABBREVIATION - 1), mark)
    if last is None:
        return True
    word = last.group()
    initial = len(word) == 1 and word.isupper()
    if initial or word.casefold() in _ABBREVIATIONS:
        return False
    return not (word.casefold() in _BEFORE_NUMBERS and text[following].isdigit())
