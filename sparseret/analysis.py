"""From text to index terms, for lexical encoders: tokens, stop words, stems, languages.

A text becomes *tokens*, its words as they stand but normalised; a token becomes a *term*, or
nothing if it is a stop word. The second step depends on the token alone, so callers keep a table
from distinct tokens to terms and pay for stemming once a word, not once an occurrence.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from sparseret import tokenizing
from sparseret.errors import ConfigurationError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

__all__ = [
    "ENTRY_POINTS",
    "LANGUAGES",
    "Analysis",
    "Analyzer",
    "Span",
    "load_analyzer",
    "restore_analyzer",
]

ENTRY_POINTS = "sparseret.analyzers"
"""Entry point group under which other packages register classes that satisfy `Analysis`."""

LANGUAGES: Mapping[str, str] = {
    "arabic": "ar", "armenian": "hy", "basque": "eu", "catalan": "ca", "czech": "cs",
    "danish": "da", "dutch": "nl", "english": "en", "esperanto": "eo", "estonian": "et",
    "finnish": "fi", "french": "fr", "german": "de", "greek": "el", "hindi": "hi",
    "hungarian": "hu", "indonesian": "id", "irish": "ga", "italian": "it", "lithuanian": "lt",
    "nepali": "ne", "norwegian": "no", "persian": "fa", "polish": "pl", "portuguese": "pt",
    "romanian": "ro", "russian": "ru", "serbian": "sr", "sesotho": "st", "spanish": "es",
    "swedish": "sv", "tamil": "ta", "turkish": "tr", "yiddish": "yi",
}  # fmt: skip
"""Languages with a Snowball stemmer, and their ISO 639-1 codes."""

_WITHOUT_STEMMER = frozenset({
    "none", "simple", "cjk", "chinese", "zh", "japanese", "ja", "korean", "ko", "thai", "th",
    "lao", "lo", "khmer", "km", "burmese", "my",
})  # fmt: skip

# Lucene's list, and "s": what splitting at the apostrophe leaves of a possessive.
_ENGLISH_STOP_WORDS = frozenset({
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it",
    "no", "not", "of", "on", "or", "s", "such", "that", "the", "their", "then", "there", "these",
    "they", "this", "to", "was", "will", "with",
})  # fmt: skip


class Span(NamedTuple):
    """A term and where its word stands: ``text[start:end]`` of the original text."""

    start: int
    end: int
    term: str


@runtime_checkable
class Analysis(Protocol):
    """What a lexical encoder needs of an analyzer, and a plug-in must offer.

    A plug-in registers its class in the entry point group ``sparseret.analyzers``; called without
    arguments the class gives its default, and its ``from_dict`` undoes :meth:`to_dict`.
    """

    @property
    def spec(self) -> str:
        """Stable id: analyzers of equal ``spec`` give equal terms. Part of the vector space id."""

    def tokens(self, text: str) -> list[str]:
        """The words of a text in order, normalised; none of them empty."""

    def term(self, token: str) -> str | None:
        """The index term of a token, never empty; None for a stop word. Depends on it alone."""

    def spans(self, text: str) -> Iterator[Span]:
        """The terms of a text, as `tokens` and `term` give them, with their places."""

    def to_dict(self) -> dict[str, Any]:
        """JSON values that :func:`restore_analyzer` understands.

        ``"analyzer"`` must hold the name under which the class is registered.
        """


@dataclass(frozen=True)
class Analyzer:
    """Words of any script, normalised, without stop words, reduced to Snowball stems.

    Words are runs of letters, digits and underscores together with their combining marks; single
    characters count. They are normalised by NFKC and case folding, so that composed and decomposed,
    full-width and half-width, capital and small letters agree. Scripts written without spaces
    (Chinese, Japanese, Thai, Lao, Khmer, Burmese), and Korean for its compounds, become
    overlapping pairs of characters; a character keeps its combining marks.

    Apostrophes separate: "l'avion" is "l", "avion" and "dog's" is "dog", "s". What they leave over
    ("l", "s") is in the stop words of the languages concerned.

    Instances are immutable, hashable and picklable, and may be used from several threads.

    Attributes:
        language: a name in :data:`LANGUAGES` or its ISO 639-1 code; "porter" for English under
            Porter's original stemmer; None, "simple" ("none"), "cjk", or a language written
            without spaces ("japanese", "ja") for neither stems nor stop words.
        stem: whether words are reduced to stems.
        stop_words: True for the language's own list (a language may have none), False for no
            list, or the words themselves. Reads as the normalised words in alphabetical order, and
            is stored with the index, so that a later list cannot change an index's terms.

    Raises:
        ConfigurationError: an unknown language, or a stop word that is not one token.
    """

    language: str | None = "english"
    stem: bool = True
    stop_words: bool | Collection[str] = field(default=True, repr=False)
    _stops: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        language = _canonical_language(self.language)
        object.__setattr__(self, "language", language)
        object.__setattr__(self, "stem", bool(self.stem and language))
        if isinstance(self.stop_words, bool):
            stops = _language_stop_words(language) if self.stop_words else frozenset[str]()
        else:
            stops = self._normalised_stop_words(self.stop_words)
        object.__setattr__(self, "stop_words", tuple(sorted(stops)))
        object.__setattr__(self, "_stops", stops)

    @property
    def spec(self) -> str:
        """Stable id: version of the tokens, letter folding, stemmer, digest of the stop words."""
        stops = ""
        if self._stops:
            stops = sha256("\n".join(sorted(self._stops)).encode()).hexdigest()[:12]
        stemmer = self.language if self.stem else ""
        return f"words/1;folding={self._folding};stem={stemmer};stop={stops}"

    def tokens(self, text: str) -> list[str]:
        """The words of ``text`` in order, normalised, stop words included.

        Time and space are linear in the length of the text. No token is empty, nor longer than
        255 characters: longer words are cut.
        """
        return tokenizing.tokens(text, self._folding)

    def term(self, token: str) -> str | None:
        """The stem of a token that `tokens` gave, or None for a stop word."""
        if token in self._stops:
            return None
        if not self.stem or self.language is None:
            return token
        # A stemmer may leave nothing of a word that is all suffix; the word then stays.
        return _stemmers.of(self.language)(token) or token

    def __call__(self, text: str) -> list[str]:
        """The terms of ``text`` in order, repetitions included."""
        return [t for token in self.tokens(text) if (t := self.term(token)) is not None]

    def spans(self, text: str) -> Iterator[Span]:
        """The terms of ``text``, as calling gives them, with their places in the original.

        Spans of neighbouring character pairs overlap. Where normalisation leaves no telling which
        part of a word a token came from, its span is the whole word.
        """
        for start, end, token in tokenizing.located(text, self._folding):
            term = self.term(token)
            if term is not None:
                yield Span(start, end, term)

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values, stop words spelled out; see :func:`restore_analyzer`."""
        return {
            "analyzer": "words",
            "language": self.language,
            "stem": self.stem,
            "stop_words": sorted(self._stops),
        }

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Analyzer:
        """The analyzer that gave ``settings`` by :meth:`to_dict`.

        Raises:
            ConfigurationError: settings that are missing, unknown or of the wrong type.
        """
        expected = {"analyzer", "language", "stem", "stop_words"}
        if settings.keys() != expected:
            raise ConfigurationError(
                f"analyzer settings must be {sorted(expected)}, got {sorted(settings)}"
            )
        stem, words = settings["stem"], settings["stop_words"]
        listed = isinstance(words, list) and all(isinstance(word, str) for word in words)
        if not isinstance(stem, bool) or not listed:
            raise ConfigurationError(
                "analyzer settings need true or false as 'stem' and a list of strings as "
                f"'stop_words', got {stem!r} and {words!r}"
            )
        return cls(settings["language"], stem, words)

    @property
    def _folding(self) -> tokenizing.Folding:
        if self.language == "persian":
            return "persian"
        return "turkish" if self.language == "turkish" else ""

    def _normalised_stop_words(self, words: Collection[str]) -> frozenset[str]:
        if isinstance(words, str):
            raise ConfigurationError(f"stop_words must be a collection of words, got {words!r}")
        normalised = set()
        for word in words:
            tokens = self.tokens(word)
            if len(tokens) != 1:
                raise ConfigurationError(
                    f"stop word {word!r} is {len(tokens)} tokens {tokens}; give single words"
                )
            normalised.add(tokens[0])
        return frozenset(normalised)


def load_analyzer(name: str) -> Analysis:
    """The analyzer of a language or plug-in.

    Args:
        name: what :class:`Analyzer` takes as language ("english", "de", "simple", "cjk", ...), or
            a name registered in the entry point group ``sparseret.analyzers``.

    Raises:
        ConfigurationError: nothing goes by that name; the message lists what does.
    """
    if _is_language(name):
        return Analyzer(name)
    plugin = _plugin(name)
    analyzer: Analysis = plugin()
    return analyzer


def restore_analyzer(settings: Mapping[str, Any]) -> Analysis:
    """The analyzer whose ``to_dict()`` gave ``settings``.

    Raises:
        ConfigurationError: unusable settings, or a plug-in that is not installed.
    """
    name = settings.get("analyzer")
    if name == "words":
        return Analyzer.from_dict(settings)
    analyzer: Analysis = _plugin(str(name)).from_dict(settings)
    return analyzer


def _plugins() -> EntryPoints:
    from importlib.metadata import entry_points

    return entry_points(group=ENTRY_POINTS)


def _plugin(name: str) -> Any:
    for entry_point in _plugins():
        if entry_point.name == name:
            return entry_point.load()
    raise _unknown(name)


def _unknown(name: object) -> ConfigurationError:
    languages = ", ".join(f"{language} ({code})" for language, code in LANGUAGES.items())
    plugins = ", ".join(sorted(_plugins().names)) or "none installed"
    return ConfigurationError(
        f"unknown analyzer or language {name!r}; choose simple (no stems, no stop words), cjk "
        f"(also chinese, japanese, korean, thai, ...), porter, {languages}; or a plug-in "
        f"({plugins})"
    )


def _is_language(name: str) -> bool:
    known = LANGUAGES.keys() | set(LANGUAGES.values()) | _WITHOUT_STEMMER | {"porter"}
    return name.lower() in known


def _canonical_language(name: str | None) -> str | None:
    if name is None:
        return None
    if not isinstance(name, str) or not _is_language(name):
        raise _unknown(name)
    name = name.lower()
    if name in _WITHOUT_STEMMER:
        return None
    return next((language for language, code in LANGUAGES.items() if code == name), name)


@cache
def _language_stop_words(language: str | None) -> frozenset[str]:
    if language in ("english", "porter"):
        return _ENGLISH_STOP_WORDS
    if language is None:
        return frozenset()
    from stop_words import safe_get_stop_words

    # The lists hold some punctuation and phrases, which are no tokens.
    analyzer = Analyzer(language, stop_words=False)
    split = (analyzer.tokens(word) for word in safe_get_stop_words(language))
    return frozenset(tokens[0] for tokens in split if len(tokens) == 1)


class _Stemmers(threading.local):
    """One stemmer a language and thread: they keep state while they work."""

    def __init__(self) -> None:
        self._by_language: dict[str, Callable[[str], str]] = {}

    def of(self, language: str) -> Callable[[str], str]:
        if language not in self._by_language:
            import Stemmer

            if language not in Stemmer.algorithms():
                raise ConfigurationError(
                    f"the installed PyStemmer {Stemmer.version()} has no stemmer for {language}; "
                    "upgrade PyStemmer, or use stem=False"
                )
            self._by_language[language] = Stemmer.Stemmer(language, 0).stemWord
        return self._by_language[language]


_stemmers = _Stemmers()
