"""The sentences of what was retrieved that say most about a question, within a budget.

The value of a sentence is ``(1 - w) s + w d``: ``s`` its own score under the encoders of the index
(:mod:`sparseret.rag.scoring`) over the largest, ``d`` that of its document, min-max normalised over
the documents (1 where all are the same), and ``w`` the ``document_weight``. Sentences that share
nothing with the question, or merely repeat the title, are left out. The best are taken while they
fit; of equal ones, the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import ConfigurationError
from sparseret.indexers.search import check_count
from sparseret.parents import ParentResult, ParentRetriever
from sparseret.rag.scoring import text_scores
from sparseret.retriever import Result, Retriever
from sparseret.sentences import Span, sentence_spans

__all__ = ["DOCUMENT_WEIGHT", "Sentence", "Source", "select_evidence"]

DOCUMENT_WEIGHT = 0.5
"""What the score of its document counts for a sentence, unless told otherwise."""


class Sentence(NamedTuple):
    """A sentence chosen as evidence."""

    start: int
    """Offset of its first character in the text of its document."""
    end: int
    """Offset behind its last."""
    text: str
    value: float
    """By which it was chosen, 0 to 1."""


class Source(NamedTuple):
    """A document that was retrieved, and what was chosen of it."""

    number: int
    """By which it is cited, from 1."""
    document: str
    """Its id."""
    title: str
    text: str
    """All of it."""
    sentences: tuple[Sentence, ...]
    """In the order of the text, at least one."""


def select_evidence(
    retriever: Retriever | ParentRetriever,
    question: str,
    results: Sequence[Result | ParentResult],
    *,
    budget: int = 4000,
    document_weight: float = DOCUMENT_WEIGHT,
) -> list[Source]:
    """Choose sentences of results; of documents found by chunks, of their passages alone.

    Args:
        retriever: that the results are from, whose encoders rate the sentences.
        question: any text.
        results: best first.
        budget: characters of all sentences together, at least 1.
        document_weight: 0 for the sentences' own scores, 1 for those of their documents.

    Returns:
        Documents with a sentence chosen, in the order of the results, numbered from 1.

    Raises:
        ConfigurationError: a value out of its range.
        VectorError: an encoder fails on the sentences.
    """
    check_count("budget", budget)
    weight: Any = document_weight
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= 1:
        raise ConfigurationError(f"document_weight must be from 0 to 1, got {document_weight!r}")
    within = retriever.retriever if isinstance(retriever, ParentRetriever) else retriever
    places = [(n, span) for n, result in enumerate(results) for span in _spans(result)]
    texts = [results[n].text[start:end] for n, (start, end) in places]
    own = text_scores(within.view, question, texts)
    of_documents = _min_max(np.array([result.score for result in results], np.float64))
    most = own.max(initial=0.0)
    values = (1 - weight) * own / most if most > 0 else own
    values = values + weight * of_documents[[n for n, _ in places]]
    chosen: list[int] = []
    room = budget
    for place in np.argsort(-values, kind="stable").tolist():
        if own[place] > 0 and len(texts[place]) <= room:
            chosen.append(place)
            room -= len(texts[place])
    sources: list[Source] = []
    for n, result in enumerate(results):
        of_result = tuple(
            Sentence(*places[place][1], texts[place], float(values[place]))
            for place in sorted(chosen)
            if places[place][0] == n
        )
        if of_result:
            sources.append(
                Source(len(sources) + 1, result.id, result.title, result.text, of_result)
            )
    return sources


def _spans(result: Result | ParentResult) -> list[Span]:
    """Sentences of a document, or those that its passages touch."""
    title = _words(result.title)
    spans = [
        span
        for span in sentence_spans(result.text)
        if not title or _words(result.text[span.start : span.end]) != title
    ]
    if isinstance(result, Result):
        return spans
    return [
        span
        for span in spans
        if any(p.start < span.end and span.start < p.end for p in result.passages)
    ]


def _words(text: str) -> list[str]:
    return text.casefold().strip(" .").split()


def _min_max(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    if not len(scores) or scores.max() == scores.min():
        return np.ones(len(scores))
    made: NDArray[np.float64] = (scores - scores.min()) / (scores.max() - scores.min())
    return made
