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
    best = (0, 0)
    first = last = 0
    for i, span in enumerate(spans):
        inside = [s for s in spans[i : i + width] if s.end <= span.start + width]
        found = (len({s.term for s in inside}), len(inside))
        if found > best:
            best, first, last = found, span.start, max(s.end for s in inside)
    begin, end = _around(text, first, last, width)
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


def _around(text: str, first: int, last: int, width: int) -> tuple[int, int]:
    """A passage that holds ``first`` to ``last``, with context, and whole words where it can."""
    context = min(width // 5, width - (last - first))
    begin = max(0, min(first - context, len(text) - width))
    if begin and text[begin - 1] != " " and (space := text.find(" ", begin, first)) >= 0:
        begin = space + 1
    end = min(len(text), begin + width)
    if end < len(text) and text[end] != " ":
        # Not far back, as some scripts are written without spaces.
        space = text.rfind(" ", max(begin + 1, last, end - width // 5), end)
        end = space if space >= 0 else end
    return begin, end
