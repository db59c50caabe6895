"""Document and Query: the texts that retrieval is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Document", "Query"]


@dataclass(frozen=True, slots=True)
class Document:
    """One unit of retrieval.

    Attributes:
        id: unique in its index, non-empty.
        text: the body; may be empty.
        title: may be empty.
        metadata: JSON values under string keys, for filters and display.
    """

    id: str
    text: str = ""
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def content(self) -> str:
        """Title and text as one string, the way an encoder without fields reads them."""
        return f"{self.title} {self.text}" if self.title and self.text else self.title or self.text


@dataclass(frozen=True, slots=True)
class Query:
    """One question to a collection.

    Attributes:
        id: unique in its file, non-empty; what runs and judgements call it.
        text: what is searched for; may be empty.
    """

    id: str
    text: str
