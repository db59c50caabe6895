"""How good answers are: was the evidence found, are quotations true, is the answer right?

Of each question, and then as the mean over the questions that it can be told of:

- **document recall**: share of the documents with evidence that were retrieved;
- **selected documents**: share of them of which any sentence was chosen;
- **sentence recall**: share of the pieces of evidence with a text of which chosen sentences cover
  at least half of the characters;
- **exact match** and **F1** of the answer without its citations, the best over the forms of the
  right answer, after the normalisation of SQuAD: small letters, no punctuation, no articles
  (Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", EMNLP 2016);
- **contained**: whether a form of the right answer stands in the answer, as a quotation would.

Over all questions together: **quote precision**, the share of quotations that stand in their
source, and **answered**, the share of questions with an answer.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sparseret.errors import ConfigurationError
from sparseret.rag.answers import Answer
from sparseret.rag.facts import find_quote
from sparseret.rag.questions import Evidence, Question

__all__ = ["Rating", "exact_match", "f1", "rate"]

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Rating(NamedTuple):
    """Means over questions, 0 to 1; None where no question tells."""

    n_questions: int
    document_recall: float | None
    selected_documents: float | None
    sentence_recall: float | None
    n_quotes: int
    """Quotations of all answers."""
    quote_precision: float | None
    answered: float
    exact_match: float | None
    f1: float | None
    contained: float | None
    mean_characters: float
    """Of the evidence chosen for a question."""


def rate(questions: Sequence[Question], answers: Sequence[Answer]) -> Rating:
    """Rate answers, one a question.

    Raises:
        ConfigurationError: no question, or another number of answers.
    """
    if not questions or len(questions) != len(answers):
        raise ConfigurationError(
            f"{len(answers)} answers for {len(questions)} questions: give one for each of them"
        )
    pairs = list(zip(questions, answers, strict=True))
    kept = sum(len(answer.facts) for answer in answers)
    quotes = kept + sum(len(answer.dropped) for answer in answers)
    judged = [(q, a) for q, a in pairs if q.answers]
    return Rating(
        len(pairs),
        _mean(_share(_documents(q), a.retrieved) for q, a in pairs if q.evidence),
        _mean(
            _share(_documents(q), [source.document for source in a.sources])
            for q, a in pairs
            if q.evidence
        ),
        _mean(_covered(texts, a) for q, a in pairs if (texts := _texts(q))),
        quotes,
        kept / quotes if quotes else None,
        sum(bool(a.plain) for a in answers) / len(pairs),
        _mean(max(exact_match(a.plain, right) for right in q.answers) for q, a in judged),
        _mean(max(f1(a.plain, right) for right in q.answers) for q, a in judged),
        _mean(
            float(any(find_quote(a.plain, right) is not None for right in q.answers))
            for q, a in judged
        ),
        sum(len(s.text) for a in answers for source in a.sources for s in source.sentences)
        / len(pairs),
    )


def exact_match(answer: str, right: str) -> float:
    """1.0 where two answers have the same words in the same order, else 0.0."""
    return float(_words(answer) == _words(right))


def f1(answer: str, right: str) -> float:
    """Harmonic mean of the shares of words that two answers have in common."""
    given, wanted = _words(answer), _words(right)
    if not given or not wanted:
        return float(given == wanted)
    common = sum((Counter(given) & Counter(wanted)).values())
    return 2 * common / (len(given) + len(wanted))


def _words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _documents(question: Question) -> list[str]:
    return list(dict.fromkeys(evidence.document for evidence in question.evidence))


def _texts(question: Question) -> list[Evidence]:
    return [evidence for evidence in question.evidence if evidence.text.strip()]


def _share(wanted: Sequence[str], found: Sequence[str]) -> float:
    return len({*wanted} & {*found}) / len(wanted)


def _covered(pieces: Sequence[Evidence], answer: Answer) -> float:
    """Share of pieces of evidence that the chosen sentences cover by half."""
    sources = {source.document: source for source in answer.sources}
    found = 0
    for piece in pieces:
        source = sources.get(piece.document)
        span = None if source is None else find_quote(source.text, piece.text)
        if source is None or span is None:
            continue
        start, end = span
        shared = sum(max(0, min(end, s.end) - max(start, s.start)) for s in source.sentences)
        found += 2 * shared >= end - start
    return found / len(pieces)


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return sum(listed) / len(listed) if listed else None
