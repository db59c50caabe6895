"""A made-up corpus of short documents, the same on every machine, in seconds.

Ranks of words follow Zipf-Mandelbrot, ``p(r) ~ 1 / (r + 10)**1.05`` over 400,000 possible words,
so that the vocabulary grows with the corpus as in real text (about 300,000 words for a million
documents). A document has one topic; 45% of its words come from the topic's own 400 words, so that
documents on one topic share terms. A fifth of the words are English function words, which analysis
has to drop. Lengths are log-normal around 12 words, 60 at most. Queries are 2 to 8 words of one
document. Documents are made in chunks of 50,000, each from its own seed: a smaller corpus holds the
first documents of a larger one.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["write_corpus"]

_SEED = 20240
_CHUNK = 50_000
_N_WORDS = 400_000
_N_TOPICS = 500
_TOPIC_WORDS = 400
_N_QUERIES = 1000
_FUNCTION_WORDS = (
    "the", "of", "and", "to", "in", "a", "is", "that", "for", "it", "was", "with", "as", "on",
    "be", "by", "at", "this", "are", "or", "an", "not", "there", "their",
)  # fmt: skip


class _Model(NamedTuple):
    """Distributions that every chunk draws from; words by rank, then the function words."""

    words: NDArray[np.object_]
    cumulative: NDArray[np.float64]
    topics: NDArray[np.int64]
    topic_cumulative: NDArray[np.float64]


def write_corpus(folder: Path, n_documents: int) -> None:
    """Write ``corpus.jsonl`` and ``queries.jsonl``; the folder appears only when it is complete."""
    model = _model()
    unfinished = folder.with_name(folder.name + ".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    queries: list[str] = []
    n_chunks = -(-n_documents // _CHUNK)
    with (unfinished / "corpus.jsonl").open("w", encoding="ascii") as file:
        for chunk in range(n_chunks):
            first = chunk * _CHUNK
            documents = list(itertools.islice(_documents(model, chunk), n_documents - first))
            file.writelines(
                f'{{"_id": "{first + i}", "text": "{" ".join(words)}."}}\n'
                for i, words in enumerate(documents)
            )
            queries += _queries(documents, chunk, -(-_N_QUERIES // n_chunks))
    with (unfinished / "queries.jsonl").open("w", encoding="ascii") as file:
        file.writelines(
            f'{{"_id": "q{i}", "text": "{query}"}}\n'
            for i, query in enumerate(queries[:_N_QUERIES])
        )
    unfinished.rename(folder)


def _model() -> _Model:
    rng = np.random.default_rng(_SEED)
    weights = 1 / (np.arange(_N_WORDS) + 10.0) ** 1.05
    # A topic's own words are neither the most frequent nor the rarest.
    topical = np.sqrt(weights[50:20_050])
    topics = np.stack(
        [
            50 + rng.choice(len(topical), _TOPIC_WORDS, replace=False, p=topical / topical.sum())
            for _ in range(_N_TOPICS)
        ]
    )
    topic_weights = 1 / (np.arange(_TOPIC_WORDS) + 5.0)
    return _Model(
        words=np.array([*_made_up_words(rng), *_FUNCTION_WORDS], dtype=object),
        cumulative=np.cumsum(weights) / weights.sum(),
        topics=topics,
        topic_cumulative=np.cumsum(topic_weights) / topic_weights.sum(),
    )


def _made_up_words(rng: np.random.Generator) -> list[str]:
    """Pronounceable words, the frequent ones short. No two are alike: each syllable is consonant,
    vowel and at most one consonant, so a word can be taken apart in one way only.
    """
    syllables = [
        onset + vowel + coda
        for onset, vowel, coda in itertools.product(
            "bdfghklmnprstv", "aeiou", ("", "n", "r", "l", "s", "t")
        )
    ]
    rng.shuffle(syllables)
    n = len(syllables)
    short = [s for s in syllables if s not in _FUNCTION_WORDS]
    middle = rng.permutation(n * n)
    long = itertools.product(syllables, syllables, syllables)
    words = itertools.chain(
        short,
        (syllables[i // n] + syllables[i % n] for i in middle.tolist()),
        map("".join, long),
    )
    return list(itertools.islice(words, _N_WORDS))


def _documents(model: _Model, chunk: int) -> Iterator[list[str]]:
    rng = np.random.default_rng([_SEED, 1, chunk])
    lengths = np.rint(rng.lognormal(np.log(12), 0.45, _CHUNK)).astype(np.int64).clip(1, 60)
    n_tokens = int(lengths.sum())
    topic = np.repeat(rng.integers(_N_TOPICS, size=_CHUNK), lengths)
    kind = rng.random(n_tokens)
    ranks = np.searchsorted(model.cumulative, rng.random(n_tokens))
    in_topic = np.searchsorted(model.topic_cumulative, rng.random(n_tokens))
    ranks = np.where(kind < 0.36, model.topics[topic, in_topic], ranks)
    function_word = _N_WORDS + rng.integers(len(_FUNCTION_WORDS), size=n_tokens)
    ranks = np.where(kind > 0.8, function_word, ranks)
    words: list[str] = model.words[ranks].tolist()
    end = 0
    for length in lengths.tolist():
        end += length
        yield words[end - length : end]


def _queries(documents: list[list[str]], chunk: int, n: int) -> list[str]:
    rng = np.random.default_rng([_SEED, 2, chunk])
    queries = []
    for i in rng.permutation(len(documents)).tolist():
        words = sorted(set(documents[i]).difference(_FUNCTION_WORDS))
        if len(words) >= 2:
            size = min(int(rng.integers(2, 9)), len(words))
            queries.append(" ".join(rng.permutation(words)[:size].tolist()))
        if len(queries) == n:
            break
    return queries
