"""From a question to an answer: retrieve, choose evidence, extract facts, check them, answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from sparseret.parents import ParentResult, ParentRetriever
from sparseret.rag.evidence import DOCUMENT_WEIGHT, Source, select_evidence
from sparseret.rag.extractive import ExtractiveReader
from sparseret.rag.facts import Fact, Quote, check_quotes
from sparseret.rag.readers import Reader
from sparseret.retriever import Result, Retriever

if TYPE_CHECKING:
    from sparseret.indexers.filters import Filter

__all__ = ["Answer", "answer_from", "ask"]

_CITATION = re.compile(r"\s*\[(\d{1,9}(?:\s*,\s*\d{1,9})*)\]")


class Answer(NamedTuple):
    """An answer, and all that it rests on."""

    question: str
    text: str
    """As the reader wrote it, without citations of facts that do not exist; empty where it found
    no answer."""
    cited: tuple[int, ...]
    """Places, from 1, of the facts that the text cites, in the order of their first citation."""
    facts: tuple[Fact, ...]
    """Quotations that stand in their sources."""
    dropped: tuple[Quote, ...]
    """Quotations that do not: what the reader made up, or copied wrongly."""
    sources: tuple[Source, ...]
    """Documents that evidence was chosen from."""
    retrieved: tuple[str, ...]
    """Ids of all documents that were retrieved, best first."""

    @property
    def plain(self) -> str:
        """The text without citations."""
        return _CITATION.sub("", self.text).strip()


def ask(
    retriever: Retriever | ParentRetriever,
    question: str,
    *,
    reader: Reader | None = None,
    k: int = 5,
    passages: int = 3,
    budget: int = 4000,
    document_weight: float = DOCUMENT_WEIGHT,
    filter: Filter | str | None = None,
) -> Answer:
    """Answer a question from an index.

    Args:
        retriever: of documents, or of documents by their chunks.
        question: any text.
        reader: extracts the facts and makes the answer; None for :class:`ExtractiveReader`.
        k: documents to retrieve.
        passages: of documents found by chunks, how many of each may give evidence.
        budget: characters of evidence.
        document_weight: of the score of its document in the value of a sentence, 0 to 1.
        filter: metadata condition on the documents.

    Raises:
        ReaderError: the reader failed.
        ConfigurationError, FilterError, LegError, VectorError, CorruptIndexError
    """
    results: Sequence[Result | ParentResult] = (
        retriever.search(question, k, passages=passages, filter=filter)
        if isinstance(retriever, ParentRetriever)
        else retriever.search(question, k, filter=filter)
    )
    return answer_from(
        retriever, question, results,
        reader=reader, budget=budget, document_weight=document_weight,
    )  # fmt: skip


def answer_from(
    retriever: Retriever | ParentRetriever,
    question: str,
    results: Sequence[Result | ParentResult],
    *,
    reader: Reader | None = None,
    budget: int = 4000,
    document_weight: float = DOCUMENT_WEIGHT,
) -> Answer:
    """:func:`ask` of results that were searched for already, in whatever way.

    The reader is not asked for facts where there is no evidence, nor for an answer where no fact
    passed the check: the answer is empty then.
    """
    reading = ExtractiveReader() if reader is None else reader
    sources = select_evidence(
        retriever, question, results, budget=budget, document_weight=document_weight
    )
    facts, dropped = check_quotes(reading.facts(question, sources) if sources else (), sources)
    text = reading.answer(question, facts).strip() if facts else ""
    text, cited = _citations(text, len(facts))
    retrieved = tuple(result.id for result in results)
    return Answer(question, text, cited, facts, dropped, tuple(sources), retrieved)


def _citations(text: str, n_facts: int) -> tuple[str, tuple[int, ...]]:
    """The text with citations of existing facts alone, and which they are."""
    cited: dict[int, None] = {}

    def keep(match: re.Match[str]) -> str:
        numbers = [int(number) for number in match[1].split(",")]
        there = [number for number in numbers if 1 <= number <= n_facts]
        cited.update(dict.fromkeys(there))
        space = match[0][: len(match[0]) - len(match[0].lstrip())]
        return f"{space}[{', '.join(map(str, there))}]" if there else ""

    return _CITATION.sub(keep, text), tuple(cited)
