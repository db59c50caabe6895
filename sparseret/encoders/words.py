"""Whole words of a text and the subword that begins each, by a tokenizer's own division."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sparseret.analysis import Analyzer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["WordReader", "WordsOfText"]


class WordsOfText(NamedTuple):
    """A text as subwords, and where its words begin."""

    ids: list[int]
    """Subword ids without special tokens."""
    words: list[str]
    """Words that count, as often as they occur, in order."""
    starts: list[int]
    """Position in ``ids`` of the first subword of each, ascending."""

    def part(self, inside: slice) -> WordsOfText:
        """Some of the subwords, and of each word that begins among them the first occurrence."""
        begin, end, _ = inside.indices(len(self.ids))
        first: dict[str, int] = {}
        for at in range(bisect_left(self.starts, begin), bisect_left(self.starts, end)):
            first.setdefault(self.words[at], self.starts[at] - begin)
        return WordsOfText(self.ids[begin:end], list(first), list(first.values()))


class WordReader:
    """Words as a tokenizer's pre-tokenization cuts them, normalised as it does (lower case).

    What has no letter or digit is no word, and neither are stop words.

    Args:
        tokenizer: of the model.
        language: whose stop words to leave out (:class:`sparseret.analysis.Analyzer`); None for
            none.

    Raises:
        ConfigurationError: an unknown language.
    """

    def __init__(self, tokenizer: Tokenizer, language: str | None) -> None:
        self.tokenizer = tokenizer
        self._stops = Analyzer(language, stem=False)
        self._words: dict[str, str | None] = {}

    def __call__(self, texts: Sequence[str]) -> list[WordsOfText]:
        """The words of each text."""
        encodings = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        made = []
        for text, encoding in zip(texts, encodings, strict=True):
            found = WordsOfText(encoding.ids, [], [])
            for place, (begin, end) in _places(encoding.word_ids, encoding.offsets):
                word = self._word(text[begin:end])
                if word is not None:
                    found.words.append(word)
                    found.starts.append(place)
            made.append(found)
        return made

    def _word(self, surface: str) -> str | None:
        """The word as it is matched, or None where it does not count."""
        if surface not in self._words:
            if len(self._words) > 1_000_000:  # as many as a large collection has
                self._words.clear()
            normalizer = self.tokenizer.normalizer
            word = surface if normalizer is None else normalizer.normalize_str(surface)
            word = word.strip()
            counts = any(map(str.isalnum, word)) and self._stops.term(word) is not None
            self._words[surface] = word if counts else None
        return self._words[surface]


def _places(
    word_ids: Sequence[int | None], offsets: Sequence[tuple[int, int]]
) -> Iterable[tuple[int, tuple[int, int]]]:
    """For each word the position of its first subword, and its characters."""
    place, current, span = 0, None, (0, 0)
    for position, (word, offset) in enumerate(zip(word_ids, offsets, strict=True)):
        if word is not None and word == current:
            span = (span[0], offset[1])
            continue
        if current is not None:
            yield place, span
        place, current, span = position, word, offset
    if current is not None:
        yield place, span
