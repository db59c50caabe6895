"""What a reader must offer: it extracts facts from evidence, and makes an answer of facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from sparseret.rag.evidence import Source
from sparseret.rag.facts import Fact, Quote

__all__ = ["Reader"]


@runtime_checkable
class Reader(Protocol):
    """Reads evidence in two steps, between which the facts are checked."""

    @property
    def name(self) -> str:
        """A word, for messages."""

    @property
    def description(self) -> str:
        """One line for people."""

    def facts(self, question: str, sources: Sequence[Source]) -> list[Quote]:
        """What of the evidence bears on the question, word for word, with its source.

        Args:
            question: any text.
            sources: at least one.

        Raises:
            ReaderError
        """

    def answer(self, question: str, facts: Sequence[Fact]) -> str:
        """The answer that the facts allow, empty where they allow none.

        Args:
            question: any text.
            facts: at least one; the answer cites them by their places, from 1, as ``[1]``.

        Raises:
            ReaderError
        """
