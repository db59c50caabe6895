"""Dense vectors that documents carry in their metadata, made by whatever made the documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sparseret.documents import Document
from sparseret.encoders.options import whole_number
from sparseret.errors import ConfigurationError, VectorError

__all__ = ["CarriedEncoder"]


class CarriedEncoder:
    """Takes the vector of a document from its metadata; queries come as vectors, too.

    Satisfies :class:`sparseret.protocols.DenseEncoder`. A document without the field, or with null
    there, has a vector of zeros, which is never found. Searches give vectors
    (:meth:`sparseret.retriever.Retriever.search_vectors`), as there is no model for texts.

    Args:
        field: keys that lead to the vector, the outermost first.
        dim: width of the vectors.
        metric: how vectors are compared: their cosine, or their inner product as they are.

    Raises:
        ConfigurationError: an option out of its range.
    """

    name = "carried"

    def __init__(
        self, field: Sequence[str], dim: int, *, metric: Literal["cosine", "ip"] = "cosine"
    ) -> None:
        if isinstance(field, str) or not field or not all(isinstance(key, str) for key in field):
            raise ConfigurationError(f"field must be a list of keys, got {field!r}")
        if metric not in ("cosine", "ip"):
            raise ConfigurationError(f"metric must be cosine or ip, got {metric!r}")
        self.field = tuple(field)
        self.dim = whole_number("dim", dim, 1)
        self.metric: Literal["cosine", "ip"] = metric

    @property
    def options(self) -> dict[str, Any]:
        """What was chosen, as JSON values."""
        return {"field": list(self.field), "dim": self.dim, "metric": self.metric}

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> CarriedEncoder:
        """Undo :attr:`options`. Raises ConfigurationError for an unknown one."""
        if options.keys() - {"metric"} != {"field", "dim"}:
            raise ConfigurationError(
                f"carried needs the options field and dim, and has metric; got {sorted(options)}"
            )
        return cls(**options)

    @property
    def space(self) -> str:
        """Id of the vector space: the field and the width; which model it is, nobody says."""
        return f"carried/{'.'.join(self.field)}/{self.dim}"

    @property
    def description(self) -> str:
        """One line for people."""
        return f"carried (in {'.'.join(self.field)}, {self.dim} features, {self.metric})"

    def encode_documents(
        self,
        documents: Sequence[Document | str],
        *,
        show_progress: bool = False,  # noqa: ARG002
    ) -> NDArray[np.float32]:
        """Vectors that documents carry, float32, shape (len(documents), dim).

        Raises:
            VectorError: something else in the field; or a text in place of a document.
        """
        made = np.zeros((len(documents), self.dim), np.float32)
        for row, document in enumerate(documents):
            if isinstance(document, str):
                raise VectorError("vectors are read from the metadata of documents: give those")
            found = self._look_up(document)
            if found is not None:
                made[row] = self._checked(found, document.id)
        return made

    def encode_queries(
        self,
        queries: Sequence[str],
        *,
        show_progress: bool = False,  # noqa: ARG002
    ) -> NDArray[np.float32]:
        """Zeros for queries without words, shape (len(queries), dim).

        Raises:
            VectorError: a query with words.
        """
        if any(query.strip() for query in queries):
            raise VectorError(
                "there is no model for queries: search by a vector (search_vectors), or in the "
                "other legs"
            )
        return np.zeros((len(queries), self.dim), np.float32)

    def _look_up(self, document: Document) -> object:
        found: object = document.metadata
        for key in self.field:
            if not isinstance(found, Mapping):
                return None
            found = found.get(key)
        return found

    def _checked(self, found: object, id: str) -> NDArray[np.float32]:
        told = f"document {id!r}: {'.'.join(self.field)}"
        try:
            vector = np.asarray(found, np.float32)
        except (TypeError, ValueError) as error:
            raise VectorError(f"{told} is no vector: {error}") from error
        if vector.shape != (self.dim,):
            raise VectorError(
                f"{told} must hold {self.dim} numbers, got an array of shape {vector.shape}"
            )
        return vector
