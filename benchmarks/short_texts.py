"""Real short texts, hundreds of thousands of them: ``python -m benchmarks.short_texts``.

Sentences of 4 to 25 English words from packages of Debian's archive (dictionaries, descriptions of
packages, documentation), no two alike, shuffled with a fixed seed. Writes ``texts.txt`` and
``queries.txt`` (held out: 4 to 12 words each), a text a line, and ``facts.json`` with the versions
of the packages, to ``data/short-texts``. Needs ``apt-get`` and its network, half a gigabyte of
disk, and two minutes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.corpora import DATA
from benchmarks.debian import Debian
from benchmarks.markup import READERS, sentences

__all__ = ["main"]

_SEED = 20240
_QUERIES = 2000
_WORDS = range(4, 26)
_QUERY_WORDS = range(4, 13)


class _Source(NamedTuple):
    """Files of a package: those that match a pattern, in a format of ``READERS``."""

    package: str
    pattern: str
    reader: str


_SOURCES = (
    _Source("dict-gcide", "usr/share/dictd/*.dict.dz", "dictionary"),
    _Source("dict-foldoc", "usr/share/dictd/*.dict.dz", "dictionary"),
    _Source("dict-jargon", "usr/share/dictd/*.dict.dz", "dictionary"),
    _Source("dict-devil", "usr/share/dictd/*.dict.dz", "dictionary"),
    _Source("fortunes", "usr/share/games/fortunes/*", "fortune"),
    _Source("linux-doc-6.1", "usr/share/doc/*/Documentation/**/*.rst.gz", "rst"),
    _Source("python3.11-doc", "usr/share/doc/python3.11/html/_sources/**/*.rst.txt", "rst"),
    _Source("postgresql-doc-15", "usr/share/doc/**/*.html", "html"),
)
_NOT_ENGLISH = "/translations/"
_NOT_TEXT = ".dat"  # fortune's own index of a file

_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_CODE = re.compile(r"[{}<>|\\=_~^\[\]]|::|->|\w\(|://|\.\.\.\.|--")
# fmt: off
_FUNCTION_WORDS = frozenset((
    "a", "an", "and", "any", "are", "as", "at", "be", "by", "can", "for", "from", "has", "have",
    "if", "in", "into", "is", "it", "its", "may", "must", "no", "not", "of", "on", "one", "or",
    "should", "so", "such", "than", "that", "the", "their", "then", "there", "these", "this", "to",
    "used", "was", "when", "where", "which", "who", "will", "with", "you", "your",
))
# fmt: on


def main(arguments: Sequence[str] | None = None) -> None:
    """Collect what is not collected yet."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.short_texts", description=__doc__)
    parser.parse_args(arguments)
    folder = DATA / "short-texts"
    if (folder / "facts.json").exists():
        _say(f"{folder} is there")
        return
    folder.mkdir(parents=True, exist_ok=True)
    texts: dict[str, str] = {}
    counts: Counter[str] = Counter()
    debian = Debian(DATA / "debian")
    versions: dict[str, str] = {}
    for source, found in _found(debian, versions):
        before = len(texts)
        for text in found:
            words = _WORD.findall(text)
            if _is_short_text(text, words):
                texts.setdefault(" ".join(words).casefold(), text)
        counts[source] += len(texts) - before
        _say(f"{source}: {len(texts) - before} texts, {len(texts)} in all")
    chosen = list(texts.values())
    rng = random.Random(_SEED)
    rng.shuffle(chosen)
    queries = _held_out(chosen)
    held_out = set(queries)
    documents = [text for text in chosen if text not in held_out]
    rng.shuffle(documents)  # again: holding out has left only long texts at the beginning
    _write_lines(folder / "queries.txt", queries)
    _write_lines(folder / "texts.txt", documents)
    facts = {
        "texts": len(documents),
        "queries": len(queries),
        "words_per_text": sum(map(_n_words, documents)) / len(documents),
        "words_per_query": sum(map(_n_words, queries)) / len(queries),
        "texts_and_queries_by_source": dict(counts),
        "versions": versions,
    }
    # Last: its presence says that the collection is complete.
    (folder / "facts.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _found(debian: Debian, versions: dict[str, str]) -> Iterator[tuple[str, Iterator[str]]]:
    """Sources and their sentences; fills in the versions of packages."""
    yield "descriptions of packages", _described(debian)
    with tempfile.TemporaryDirectory() as temporary:
        wordnet = Path(temporary) / "wordnet-base"
        versions["wordnet-base"] = debian.unpack("wordnet-base", wordnet)
        yield "wordnet-base", _glosses(wordnet)
        for source in _SOURCES:
            folder = Path(temporary) / source.package
            if not folder.exists():
                versions[source.package] = debian.unpack(source.package, folder)
            yield source.package, _documented(folder, source)


def _described(debian: Debian) -> Iterator[str]:
    for description in debian.descriptions():
        yield description.short
        for paragraph in description.long.splitlines():
            yield from sentences(paragraph)


def _glosses(folder: Path) -> Iterator[str]:
    """Definitions and examples: "a definition; another; "an example"; "another"."."""
    for file in sorted(folder.glob("usr/share/wordnet/data.*")):
        for line in file.read_text(encoding="ascii").splitlines():
            _, _, gloss = line.partition(" | ")
            definition, *examples = gloss.split('"')
            yield definition.strip(" ;")
            yield from (example.strip(" ;") for example in examples)


def _documented(folder: Path, source: _Source) -> Iterator[str]:
    for file in sorted(path for path in folder.glob(source.pattern) if path.is_file()):
        if _NOT_ENGLISH in file.as_posix() or file.suffix == _NOT_TEXT:
            continue
        raw = file.read_bytes()
        if file.suffix in (".gz", ".dz"):
            raw = gzip.decompress(raw)
        text = raw.decode("utf-8", errors="replace")
        for paragraph in READERS[source.reader](text):
            yield from sentences(paragraph)


def _is_short_text(text: str, words: list[str]) -> bool:
    """Whether it is prose in English of the right length, as far as simple rules can tell."""
    if len(words) not in _WORDS or _CODE.search(text) or "\ufffd" in text:
        return False
    letters = sum(character.isalpha() for character in text)
    if letters < 0.74 * len(text) or not text.isascii() or not text[0].isalnum():
        return False
    return any(word.lower() in _FUNCTION_WORDS for word in words)


def _held_out(texts: Sequence[str]) -> list[str]:
    return [text for text in texts if _n_words(text) in _QUERY_WORDS][:_QUERIES]


def _n_words(text: str) -> int:
    return len(_WORD.findall(text))


def _write_lines(file: Path, lines: Sequence[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
