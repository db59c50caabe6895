"""A reader without a language model: the best sentences are the facts, the first one the answer."""

from __future__ import annotations

from collections.abc import Sequence

from sparseret.indexers.search import check_count
from sparseret.rag.evidence import Source
from sparseret.rag.facts import Fact, Quote

__all__ = ["ExtractiveReader"]


class ExtractiveReader:
    """Quotes the sentences of most value and answers with the first; deterministic, offline.

    Args:
        max_facts: sentences that are quoted, at least 1.

    Raises:
        ConfigurationError
    """

    name = "extractive"

    def __init__(self, max_facts: int = 3) -> None:
        check_count("max_facts", max_facts)
        self.max_facts = max_facts

    @property
    def description(self) -> str:
        """One line for people."""
        return f"extractive (best {self.max_facts} sentences)"

    def facts(self, question: str, sources: Sequence[Source]) -> list[Quote]:  # noqa: ARG002
        """The sentences of most value, best first; of equal ones, the first."""
        sentences = [(source.number, s) for source in sources for s in source.sentences]
        sentences.sort(key=lambda pair: -pair[1].value)
        return [Quote(number, sentence.text) for number, sentence in sentences[: self.max_facts]]

    def answer(self, question: str, facts: Sequence[Fact]) -> str:  # noqa: ARG002
        """The first fact as it stands, and its citation."""
        return f"{facts[0].text} [1]"
