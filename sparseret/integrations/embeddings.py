"""Embeddings of LangChain's interface as an encoder of dense vectors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sparseret.documents import Document
from sparseret.errors import ConfigurationError

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

__all__ = ["EmbeddingsEncoder", "as_encoder"]


class EmbeddingsEncoder:
    """LangChain's ``Embeddings`` as an encoder of dense vectors, compared by their cosine.

    Satisfies :class:`sparseret.protocols.DenseEncoder`. The text of a document is embedded without
    its title; an empty one has a vector of zeros, and is never sent.

    Args:
        embeddings: what embeds.
        model: name of the model, which an index remembers and compares; by default the class of
            ``embeddings`` and its ``model`` or ``model_name``.
        dim: width of the vectors; None to find it out by embedding a word when it is needed.
    """

    name = "langchain"
    metric: Literal["cosine"] = "cosine"
    options: ClassVar[dict[str, Any]] = {}

    def __init__(
        self, embeddings: Embeddings, *, model: str | None = None, dim: int | None = None
    ) -> None:
        self.embeddings = embeddings
        if model is None:
            named = (getattr(embeddings, key, None) for key in ("model", "model_name"))
            known = [type(embeddings).__name__, *(name for name in named if isinstance(name, str))]
            model = "/".join(known[:2])
        self.model = model
        self._dim = dim

    @property
    def space(self) -> str:
        """Id of the vector space."""
        return f"langchain/{self.model}"

    @property
    def description(self) -> str:
        """One line for people."""
        return f"LangChain embeddings ({self.model})"

    @cached_property
    def dim(self) -> int:
        """Width of the vectors."""
        return self._dim or len(self.embeddings.embed_query("width"))

    def encode_documents(
        self,
        documents: Sequence[Document | str],
        *,
        show_progress: bool = False,  # noqa: ARG002
    ) -> NDArray[np.float32]:
        """Vectors of documents, float32, shape (len(documents), dim)."""
        texts = [d.text if isinstance(d, Document) else d for d in documents]
        asked = [i for i, text in enumerate(texts) if text.strip()]
        return self._rows(texts, self.embeddings.embed_documents([texts[i] for i in asked]), asked)

    def encode_queries(
        self,
        queries: Sequence[str],
        *,
        show_progress: bool = False,  # noqa: ARG002
    ) -> NDArray[np.float32]:
        """Vectors of queries, float32, shape (len(queries), dim)."""
        asked = [i for i, query in enumerate(queries) if query.strip()]
        return self._rows(queries, [self.embeddings.embed_query(queries[i]) for i in asked], asked)

    def _rows(
        self, texts: Sequence[str], made: Sequence[Sequence[float]], places: Sequence[int]
    ) -> NDArray[np.float32]:
        rows = np.zeros((len(texts), len(made[0]) if made else self.dim), np.float32)
        if made:
            rows[places] = np.asarray(made, np.float32)
        return rows


def as_encoder(
    embedding: Embeddings | EmbeddingsEncoder | None, dim: int | None = None
) -> EmbeddingsEncoder | None:
    """The encoder of some embeddings; None for None.

    Raises:
        ConfigurationError: something else.
    """
    if embedding is None or isinstance(embedding, EmbeddingsEncoder):
        return embedding
    if not hasattr(embedding, "embed_documents") or not hasattr(embedding, "embed_query"):
        raise ConfigurationError(
            f"embedding must be LangChain's Embeddings, got {type(embedding).__name__}"
        )
    return EmbeddingsEncoder(embedding, dim=dim)
