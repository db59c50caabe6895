"""Dense vectors that a framework makes: they come with documents, and in place of queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sparseret.documents import Document
from sparseret.errors import ConfigurationError

__all__ = ["EmbeddedDocument", "GivenVectors"]


@dataclass(frozen=True, slots=True)
class EmbeddedDocument(Document):
    """A document on its way into the index, with its embedding."""

    embedding: Sequence[float] = ()


class GivenVectors:
    """In place of an encoder of dense vectors: hands on those that documents bring.

    Satisfies :class:`sparseret.protocols.DenseEncoder`, but for texts, which it cannot encode.

    Args:
        name: of the framework that makes the vectors.
        dim: their width.
    """

    metric: Literal["cosine"] = "cosine"
    options: ClassVar[dict[str, Any]] = {}

    def __init__(self, name: str, dim: int) -> None:
        self.name = self.space = name
        self.description = f"{name} embeddings"
        self.dim = dim

    def encode_documents(
        self,
        documents: Sequence[Document | str],
        *,
        show_progress: bool = False,  # noqa: ARG002
    ) -> NDArray[np.float32]:
        """The vectors that come with documents, float32, shape (len(documents), dim).

        Raises:
            ConfigurationError: a document without one, or embeddings of several widths.
        """
        given = [d.embedding if isinstance(d, EmbeddedDocument) else () for d in documents]
        if {len(one) for one in given} - {len(given[0])} or not given[0]:
            raise ConfigurationError(
                f"documents of this index bring embeddings of one width: add them through the "
                f"{self.name} integration"
            )
        return np.asarray(given, np.float32)

    def encode_queries(
        self,
        queries: Sequence[str],
        *,
        show_progress: bool = False,  # noqa: ARG002
    ) -> NDArray[np.float32]:
        """Refuses. Raises ConfigurationError."""
        raise ConfigurationError(
            f"the embeddings of {len(queries)} texts are made outside of the index: search through "
            f"the {self.name} integration, in other legs (legs=), or without this (degrade=True)"
        )
