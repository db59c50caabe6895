"""Cut a long text into chunks that overlap, by character offsets.

Chunks cover the text: the first begins at 0, each begins where the one before ends or earlier, and
the last ends with the text. So the text can be put together from them, to the last character.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from sparseret import tokenizing
from sparseret.errors import ConfigurationError
from sparseret.sentences import Span, sentence_spans

__all__ = ["ChunkBoundary", "Chunking", "chunking_from_json"]

ChunkBoundary = Literal["words", "sentences"]
"""Where chunks may begin and end."""

_RUN = re.compile(r"\S+")
_LONGEST_WORD = 255


@dataclass(frozen=True, slots=True)
class Chunking:
    """How texts are cut.

    A word is a run without white space; in scripts that are written without spaces, a character;
    and of a longer run, a piece of 255 characters. A text without words is one chunk.

    Attributes:
        words: of a chunk at most, at least 1.
        overlap: words that a chunk repeats of the one before; fewer than ``words``. With whole
            sentences, as many of the last ones as have no more words than this.
        by: "words", for chunks of this many words; or "sentences", for chunks of as many whole
            sentences as fit. A sentence of more words is cut by words.

    Raises:
        ConfigurationError: a value out of its range.
    """

    words: int = 200
    overlap: int = 40
    by: ChunkBoundary = "words"

    def __post_init__(self) -> None:
        if type(self.words) is not int or self.words < 1:
            raise ConfigurationError(
                f"words of a chunk must be a whole number, at least 1, got {self.words!r}"
            )
        if type(self.overlap) is not int or not 0 <= self.overlap < self.words:
            raise ConfigurationError(
                f"overlap must be a whole number of words from 0 to {self.words - 1}, fewer than a "
                f"chunk has, got {self.overlap!r}"
            )
        if self.by not in get_args(ChunkBoundary):
            raise ConfigurationError(
                f"chunks are cut by {' or '.join(get_args(ChunkBoundary))}, not by {self.by!r}"
            )

    def spans(self, text: str) -> list[Span]:
        """Where the chunks of a text are, in order; at least one, however short the text."""
        starts = _word_starts(text)
        if self.by == "words":
            return self._by_words(starts, len(text))
        return self._by_sentences(*self._pieces(text, starts), len(text))

    @property
    def description(self) -> str:
        """In words, such as "chunks of 200 words, 40 of them shared, by words"."""
        return f"chunks of {self.words} words, {self.overlap} of them shared, by {self.by}"

    def to_json(self) -> str:
        """For the catalog; :func:`chunking_from_json` reads it."""
        return json.dumps(asdict(self))

    def _by_words(self, starts: list[int], length: int) -> list[Span]:
        spans: list[Span] = []
        step = self.words - self.overlap
        for first in range(0, max(len(starts), 1), step):
            begin = starts[first] if first else 0
            if first + self.words >= len(starts):
                return [*spans, Span(begin, length)]
            spans.append(Span(begin, starts[first + self.words]))
        return spans  # pragma: no cover - the last step reaches the last word

    def _pieces(self, text: str, starts: list[int]) -> tuple[list[int], list[int]]:
        """Where sentences begin, and pieces of those that are too long; and words of each."""
        begins: list[int] = []
        counts: list[int] = []
        sentences = [span.start for span in sentence_spans(text)] or [0]
        for begin, end in zip(sentences, [*sentences[1:], len(text) + 1], strict=True):
            first, last = bisect_left(starts, begin), bisect_left(starts, end)
            for cut in range(first, max(last, first + 1), self.words):
                begins.append(begin if cut == first else starts[cut])
                counts.append(min(self.words, last - cut))
        begins[0] = 0
        return begins, counts

    def _by_sentences(self, begins: list[int], counts: list[int], length: int) -> list[Span]:
        spans: list[Span] = []
        first = 0
        while True:
            end, words = first + 1, counts[first]
            while end < len(counts) and words + counts[end] <= self.words:
                words += counts[end]
                end += 1
            if end == len(counts):
                return [*spans, Span(begins[first], length)]
            spans.append(Span(begins[first], begins[end]))
            # The next chunk must reach further than this one, whatever it repeats.
            room = min(self.overlap, self.words - counts[end])
            repeated = end
            while repeated - 1 > first and counts[repeated - 1] <= room:
                repeated -= 1
                room -= counts[repeated]
            first = repeated


def chunking_from_json(text: str) -> Chunking:
    """What :meth:`Chunking.to_json` wrote.

    Raises:
        ConfigurationError: anything else.
    """
    try:
        return Chunking(**json.loads(text))
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"no chunking is written as {text!r} ({error})") from error


def _word_starts(text: str) -> list[int]:
    """Where words begin, ascending."""
    starts: list[int] = []
    for match in _RUN.finditer(text):
        begin, run = match.start(), match.group()
        places = [0]
        if not run.isascii():
            places += [start for start, _, _ in tokenizing.located(run)][1:]
        for place, following in zip(places, [*places[1:], len(run)], strict=True):
            if following > place:  # tokens whose places cannot be told apart share one
                starts.extend(range(begin + place, begin + following, _LONGEST_WORD))
    return starts
