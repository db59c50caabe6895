"""Whether what a reader quotes stands in the text it quotes.

Text and quotation are compared without what copying changes: white space, letter case, forms of the
same character (NFKC), kinds of quotation marks and dashes, invisible characters, and spaces beside
punctuation. What is found must not begin or end within a word or a number.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from sparseret.rag.evidence import Source

__all__ = ["Checked", "Fact", "Quote", "check_quotes", "find_quote"]

_ALIKE = str.maketrans(
    dict.fromkeys("‘’‚‛′`´", "'")
    | dict.fromkeys("“”„‟″«»", '"')
    | dict.fromkeys("‐‑‒–—―−⁃", "-")
    | dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff", None)
)
_NO_SPACE_BEFORE = frozenset(".,;:!?)]}%")
_NO_SPACE_AFTER = frozenset("([{")
_AROUND_QUOTES = " \t\n\"'“”‘’«»…"


class Quote(NamedTuple):
    """What a reader says a source says."""

    source: int
    """Number of the source."""
    text: str


class Fact(NamedTuple):
    """A quotation that stands in its source."""

    source: int
    """Number of the source."""
    document: str
    """Its id."""
    start: int
    """Offset of its first character in the text of the document."""
    end: int
    """Offset behind its last."""
    text: str
    """As it stands there."""


class Checked(NamedTuple):
    """Quotations after the check."""

    facts: tuple[Fact, ...]
    """Those that stand in their source, each once, in the order they were given."""
    dropped: tuple[Quote, ...]
    """Those that do not, or whose source does not exist."""


def check_quotes(quotes: Sequence[Quote], sources: Sequence[Source]) -> Checked:
    """Keep the quotations that occur in the text of the very source they name."""
    by_number = {source.number: source for source in sources}
    folded: dict[int, _Folded] = {}
    facts: dict[tuple[int, int, int], Fact] = {}
    dropped: list[Quote] = []
    for quote in quotes:
        source = by_number.get(quote.source)
        if source is None:
            dropped.append(quote)
            continue
        if source.number not in folded:
            folded[source.number] = _fold(source.text)
        span = _find(folded[source.number], quote.text)
        if span is None:
            dropped.append(quote)
            continue
        start, end = span
        facts[source.number, start, end] = Fact(
            source.number, source.document, start, end, source.text[start:end]
        )
    return Checked(tuple(facts.values()), tuple(dropped))


def find_quote(text: str, quote: str) -> tuple[int, int] | None:
    """Start and end in ``text`` of the first place where a quotation stands, or None."""
    return _find(_fold(text), quote)


class _Folded(NamedTuple):
    text: str
    starts: list[int]
    """Of what each character was made from, in the original."""
    ends: list[int]


def _find(folded: _Folded, quote: str) -> tuple[int, int] | None:
    wanted = _fold(quote.strip(_AROUND_QUOTES)).text
    if not any(character.isalnum() for character in wanted):
        return None
    text = folded.text
    at = text.find(wanted)
    while at >= 0:
        end = at + len(wanted)
        if not _splits(text, at) and not _splits(text, end):
            return folded.starts[at], folded.ends[end - 1]
        at = text.find(wanted, at + 1)
    return None


def _splits(text: str, at: int) -> bool:
    """Whether a cut would part a word or a number; scripts without spaces may be cut anywhere."""
    if not 0 < at < len(text):
        return False
    before, after = text[at - 1], text[at]
    if before.isalnum() and after.isalnum():
        return "Lo" not in (unicodedata.category(before), unicodedata.category(after))
    if before in ".,":  # 0.|5
        return after.isdigit() and at > 1 and text[at - 2].isdigit()
    if after in ".,":  # 3|.5
        return before.isdigit() and text[at + 1 : at + 2].isdigit()
    # -|5, but not 3-|5
    return before == "-" and after.isdigit() and not text[at - 2 : at - 1].isalnum()


def _fold(text: str) -> _Folded:
    made: list[str] = []
    starts: list[int] = []
    ends: list[int] = []

    def drop_space() -> None:
        if made and made[-1] == " ":
            del made[-1], starts[-1], ends[-1]

    for start, end in _clusters(text):
        for character in _fold_cluster(text[start:end]):
            if character.isspace():
                if not made or made[-1] == " " or made[-1] in _NO_SPACE_AFTER:
                    continue
                character = " "
            elif character in _NO_SPACE_BEFORE:
                drop_space()
            made.append(character)
            starts.append(start)
            ends.append(end)
    drop_space()
    return _Folded("".join(made), starts, ends)


@lru_cache(maxsize=4096)
def _fold_cluster(cluster: str) -> str:
    """A character with its marks, as it is compared; empty where it is invisible."""
    part = unicodedata.normalize("NFKC", cluster).translate(_ALIKE).casefold()
    return unicodedata.normalize("NFKC", part)


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Characters with their combining marks."""
    if text.isascii():
        return ((i, i + 1) for i in range(len(text)))
    import regex  # type: ignore[import-untyped]

    return (match.span() for match in regex.finditer(r"\X", text))
