"""Document and Query: the texts that retrieval is about."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sparseret.errors import ConfigurationError, DocumentError

__all__ = ["Document", "Query", "document_batches", "id_problem", "metadata_problem"]

_BATCH_DOCUMENTS = 1000
_BATCH_CHARACTERS = 2**24

_INT64 = range(-(2**63), 2**63)
_MAX_DEPTH = 100
"""Levels of lists and objects in metadata; far below what JSON libraries and SQLite give up at."""


@dataclass(frozen=True, slots=True)
class Document:
    """One unit of retrieval.

    Attributes:
        id: unique in its index, non-empty.
        text: the body; may be empty.
        title: may be empty.
        metadata: JSON values under string keys, for filters and display.

    Raises:
        DocumentError: a title or text that is not a string, or metadata that is not a mapping.
    """

    id: str
    text: str = ""
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Millions of documents pass here, nearly all of these very types.
        if type(self.text) is type(self.title) is str and type(self.metadata) is dict:
            return
        if not (
            isinstance(self.text, str)
            and isinstance(self.title, str)
            and isinstance(self.metadata, Mapping)
        ):
            raise DocumentError(
                f"document {self.id!r}: text and title must be strings and metadata a mapping, got "
                f"{type(self.text).__name__}, {type(self.title).__name__} and "
                f"{type(self.metadata).__name__}"
            )

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


def document_batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Documents as they come, in lists of at most 1,000 documents or about 2**24 characters.

    Raises:
        ConfigurationError: one document where several are expected.
        DocumentError: something that is not a document.
    """
    if isinstance(documents, Document):
        raise ConfigurationError("documents must be a list, or an iterator, of documents")
    batch: list[Document] = []
    characters = 0
    for document in documents:
        if not isinstance(document, Document):
            raise DocumentError(
                f"expected Document, got {type(document).__name__}: "
                "make one with sparseret.Document(id, text)"
            )
        batch.append(document)
        characters += len(document.text) + len(document.title)
        if len(batch) >= _BATCH_DOCUMENTS or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def id_problem(id: object) -> str | None:
    """Why something cannot be an id, or None: ids stand in tables and run files."""
    if type(id) is str and id.isprintable() and id and not id.isspace():
        return None
    if not isinstance(id, str):
        return f"the id {id!r} is {type(id).__name__}, expected a string"
    if not id:
        return "the id is empty"
    if id.isprintable() and not id.isspace():
        return None
    if id.isspace():
        return f"id {id!r} is nothing but white space"
    for character in id:
        category = unicodedata.category(character)
        if category in ("Cc", "Zl", "Zp"):
            return (
                f"id {id!r} holds the control character U+{ord(character):04X}, "
                "which files of results cannot hold"
            )
        if category == "Cs":
            return f"id {id!r} holds half a surrogate pair, which is no character"
    return None


def metadata_problem(value: object, depth: int = 0) -> str | None:
    """Why a value cannot be metadata, or None: it must come back from SQLite's JSON as it was."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        return _string_problem(value)
    if isinstance(value, int):
        if value not in _INT64:
            return f"the integer {value} does not fit 64 bits; write it as a string"
    elif isinstance(value, float):
        if not math.isfinite(value):
            return f"the number {value} is not finite, or too large for a double"
    elif isinstance(value, (Mapping, list, tuple)):
        if depth > _MAX_DEPTH:
            return f"nested more than {_MAX_DEPTH} levels deep"
        inner: list[object] = list(value)
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str):
                    return f"the key {key!r} is not a string"
            inner += value.values()
        for item in inner:
            if problem := metadata_problem(item, depth + 1):
                return problem
    else:
        return f"{type(value).__name__} is not a JSON value"
    return None


def _string_problem(text: str) -> str | None:
    if "\0" in text:
        return "metadata holds the character U+0000, at which SQLite would cut it"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            surrogate = ord(text[error.start])
            return f"\\u{surrogate:04x} is half a surrogate pair, which is no character"
    return None
