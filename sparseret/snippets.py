"""The part of a text that answers a query best, with the matching words marked."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sparseret.analysis import Analysis

__all__ = ["Snippet", "make_snippet"]

_SCANNED_CHARACTERS = 20_000
"""Only the beginning of an enormous text is searched for the best passage."""


class Snippet(NamedTuple):
    """A passage and its marks."""

    text: str
    marks: list[tuple[int, int]]
    """Start and end of each matching word within ``text``, ascending, without overlap."""


def make_snippet(
    text: str, terms: Collection[str], analyzer: Analysis, width: int = 160
) -> Snippet:
    """Cut the passage of at most ``width`` characters with the most distinct terms.

    Args:
        text: the document.
        terms: terms to mark, as ``analyzer`` gives them.
        analyzer: that of the lexical encoder, or any that fits the language.
        width: characters, ellipses not counted.
    """
    text = " ".join(text[:_SCANNED_CHARACTERS].split())
    wanted = set(terms)
    spans = [span for span in analyzer.spans(text) if span.term in wanted]
    begin = 0
    best = (0, 0)
    for i, first in enumerate(spans):
        inside = [s for s in spans[i : i + width] if s.end <= first.start + width]
        found = (len({s.term for s in inside}), len(inside))
        if found > best:
            best, begin = found, first.start
    # Some context before the first mark, from the start of a word.
    begin = max(0, min(begin - width // 5, len(text) - width))
    if begin:
        begin = text.find(" ", begin) + 1 or begin
    end = min(len(text), begin + width)
    if end < len(text) and (space := text.rfind(" ", begin, end)) > begin:
        end = space
    prefix = "… " if begin else ""
    marks: list[tuple[int, int]] = []
    for span in spans:
        start, stop = span.start - begin + len(prefix), span.end - begin + len(prefix)
        if span.start < begin or span.end > end:
            continue
        if marks and start <= marks[-1][1]:  # neighbouring or overlapping pairs of characters
            marks[-1] = (marks[-1][0], max(stop, marks[-1][1]))
        else:
            marks.append((start, stop))
    return Snippet(prefix + text[begin:end] + (" …" if end < len(text) else ""), marks)
