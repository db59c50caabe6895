"""The words of a text in any script, normalised, with their places: what an analyzer starts from.

1. ASCII letters become small ones and other ASCII characters spaces; the text falls into *runs*.
   ASCII runs are tokens already, and most texts hold little else.
2. Other runs fall into *chunks* of letters, digits, marks and underscores.
3. A chunk is normalised: invisible characters removed, NFKC, case folded.
4. A normalised chunk falls into tokens: words, and pairs of characters in scripts that are
   written without spaces.

`tokens` and `located` share steps 1 to 4, so they agree on any text. All steps are linear.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, Literal, NamedTuple

__all__ = ["Folding", "located", "tokens"]

Folding = Literal["", "persian", "turkish"]
"""Languages whose letters fold in their own way; "" for all others."""

_LONGEST = 255
"""Characters of a token; longer words are cut into pieces of this length, as Lucene cuts them."""

_CHUNK = 4 * _LONGEST
"""Characters normalised at once: sorting combining marks takes time quadratic in their number."""

_CACHED = 64
"""Characters of the longest run whose tokens are remembered."""

_PIECE_OF_RUN = re.compile(rf"[a-z0-9_]{{1,{_LONGEST}}}")
_NON_SPACE = re.compile(r"\S+")

_ZERO_WIDTH_NON_JOINER = "\u200c"
# Characters without a look of their own that stand within words: soft hyphen, grapheme joiner,
# zero-width joiner, variation selectors.
_INVISIBLE = "\u00ad\u034f\u180b-\u180d\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef"
_INVISIBLE_IN_PERSIAN = re.compile(f"[{_INVISIBLE}]")
_INVISIBLE_ELSEWHERE = re.compile(f"[{_INVISIBLE}{_ZERO_WIDTH_NON_JOINER}]")

_DOTTED_I = re.compile("i\u0307+")


def tokens(text: str, folding: Folding = "") -> list[str]:
    """The tokens of ``text`` in order; none is empty or longer than 255 characters."""
    folded = _fold_ascii(text, folding)
    runs = folded.split()
    if folded.isascii() and "I" not in folded:
        if len(folded) > _LONGEST and max(map(len, runs), default=0) > _LONGEST:
            return _PIECE_OF_RUN.findall(folded)
        return runs
    found: list[str] = []
    for run in runs:
        if _is_token(run):
            found.append(run)
        elif len(run) <= _CACHED:
            found += _split_cached(run, folding)
        else:
            found += _split(run, folding)
    return found


def located(text: str, folding: Folding = "") -> Iterator[tuple[int, int, str]]:
    """The tokens of ``text`` as `tokens` gives them, each with its start and end in ``text``.

    Where normalisation leaves no telling which part of a chunk a token came from, start and end
    are the chunk's.
    """
    patterns = _patterns()
    for run in _NON_SPACE.finditer(_fold_ascii(text, folding)):
        if _is_token(run.group()):
            yield *run.span(), run.group()
            continue
        for match in patterns.chunk.finditer(run.group()):
            base, chunk = run.start() + match.start(), match.group()
            normalised = _normalise(chunk, folding)
            origins = _origins(chunk, normalised, folding)
            for start, end in _pieces(normalised):
                yield base + origins[start][0], base + origins[end - 1][1], normalised[start:end]


@cache
def _ascii_table(folding: Folding) -> bytes:
    """For each byte of UTF-8 what it becomes: only bytes of ASCII characters change."""
    table = bytearray(range(256))
    for byte in range(128):
        character = chr(byte)
        word = character.isalnum() or character == "_"
        table[byte] = ord(character.lower()) if word else ord(" ")
    if folding == "turkish":
        table[ord("I")] = ord("I")  # its small letter is not ASCII; `_normalise` sees to it
    return bytes(table)


def _fold_ascii(text: str, folding: Folding) -> str:
    """Steps through bytes, far faster than `str.translate`; keeps the number of characters."""
    encoded = text.encode("utf-8", "surrogatepass").translate(_ascii_table(folding))
    return encoded.decode("utf-8", "surrogatepass")


def _is_token(run: str) -> bool:
    return run.isascii() and "I" not in run and len(run) <= _LONGEST


def _split(run: str, folding: Folding) -> list[str]:
    found = []
    for chunk in _patterns().chunk.findall(run):
        normalised = _normalise(chunk, folding)
        found += [normalised[start:end] for start, end in _pieces(normalised)]
    return found


_split_cached = lru_cache(maxsize=1 << 16)(_split)


def _normalise(chunk: str, folding: Folding) -> str:
    # Persian stems need the non-joiner, which sets prefixes and suffixes off from the word.
    invisible = _INVISIBLE_IN_PERSIAN if folding == "persian" else _INVISIBLE_ELSEWHERE
    chunk = unicodedata.normalize("NFKC", invisible.sub("", chunk))
    if folding == "turkish":
        chunk = chunk.replace("I", "\u0131").replace("\u0130", "i")
    # The capital dotted I is an I, outside Turkish; case folding leaves its dot as a mark.
    return unicodedata.normalize("NFKC", _DOTTED_I.sub("i", chunk.casefold()))


def _pieces(normalised: str) -> Iterator[tuple[int, int]]:
    """Where the tokens of a normalised chunk stand in it."""
    patterns = _patterns()
    for piece in patterns.piece.finditer(normalised):
        if piece["units"] is None:
            yield piece.span()
            continue
        units = [unit.span() for unit in patterns.unit.finditer(normalised, *piece.span())]
        if len(units) == 1:
            yield units[0]
        for (start, _), (_, end) in pairwise(units):
            yield start, end


def _origins(chunk: str, normalised: str, folding: Folding) -> list[tuple[int, int]]:
    """For each character of ``normalised``, start and end of what it came from in ``chunk``."""
    origins: list[tuple[int, int]] = []
    rebuilt = []
    for cluster in _patterns().cluster.finditer(chunk):
        part = _normalise(cluster.group(), folding)
        rebuilt.append(part)
        origins += [cluster.span()] * len(part)
    if "".join(rebuilt) != normalised:
        return [(0, len(chunk))] * len(normalised)
    return origins


class _Patterns(NamedTuple):
    chunk: Any
    piece: Any
    unit: Any
    cluster: Any


@cache
def _patterns() -> _Patterns:
    """The patterns over Unicode properties, compiled when a text first needs them."""
    import regex  # type: ignore[import-untyped]

    spaceless = (
        r"[[\p{Han}\p{Hiragana}\p{Katakana}\u30fc\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
        r"&&[\p{L}\p{Nl}]]"
    )
    # A character with its marks, and with the letter written below it in Khmer and in Burmese.
    unit = rf"{spaceless}(?:[\u17d2\u1039]{spaceless}|\p{{M}})*+"
    letter = rf"[[\p{{L}}\p{{N}}_]--{spaceless}]"
    inner = rf"(?:[[\p{{L}}\p{{M}}\p{{N}}_]--{spaceless}]|{_ZERO_WIDTH_NON_JOINER}(?={letter}))"
    in_chunk = rf"[\p{{L}}\p{{M}}\p{{N}}_{_ZERO_WIDTH_NON_JOINER}{_INVISIBLE}]"
    return _Patterns(
        chunk=regex.compile(rf"[\p{{L}}\p{{N}}_]{in_chunk}{{0,{_CHUNK - 1}}}+"),
        piece=regex.compile(
            rf"(?P<units>(?:{unit})++)|{letter}{inner}{{0,{_LONGEST - 1}}}+", regex.V1
        ),
        unit=regex.compile(unit, regex.V1),
        cluster=regex.compile(r"\X"),
    )
