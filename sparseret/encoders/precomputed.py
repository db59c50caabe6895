"""Dense vectors that are there already: made elsewhere, by a model or a service, once and for all.

A folder holds ``documents.npy`` and ``documents.txt``, ``queries.npy`` and ``queries.txt``:
vectors, a row each, and in the same order the ids of the documents, and the texts of the queries, a
line each. Queries that are not among them have no vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.documents import Document
from sparseret.encoders.codecs import open_vectors
from sparseret.encoders.saved_folder import known_options
from sparseret.errors import ConfigurationError, VectorError

__all__ = ["PrecomputedEncoder"]


class _Table(NamedTuple):
    """Vectors by keys."""

    vectors: NDArray[Any]
    """Mapped, shape (n, dim)."""
    rows: dict[str, int]
    keys_file: Path

    def take(self, keys: Sequence[str], what: str) -> NDArray[np.float32]:
        missing = [key for key in keys if key not in self.rows]
        if missing:
            raise VectorError(
                f"{self.keys_file} has no {what} {missing[0]!r}: add it, and its vector"
            )
        return np.asarray(self.vectors[[self.rows[key] for key in keys]], np.float32)


class PrecomputedEncoder:
    """Looks vectors up: those of documents by their ids, those of queries by their texts.

    Satisfies :class:`sparseret.protocols.DenseEncoder`. An empty query has a vector of zeros.

    Args:
        folder: as the module says; the files of queries may be missing where nothing is asked.
        metric: how vectors are compared: their cosine, or their inner product as they are.

    Raises:
        ConfigurationError: files that are missing or do not fit each other.
        VectorError: a .npy file of something else.
    """

    name = "precomputed"

    def __init__(self, folder: str | Path, *, metric: Literal["cosine", "ip"] = "cosine") -> None:
        if metric not in ("cosine", "ip"):
            raise ConfigurationError(f"metric must be cosine or ip, got {metric!r}")
        self._folder = Path(folder).absolute()
        self.metric: Literal["cosine", "ip"] = metric
        self._documents = _read(self._folder, "documents")

    @property
    def options(self) -> dict[str, Any]:
        """What was chosen, as JSON values."""
        return {"folder": str(self._folder), "metric": self.metric}

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> PrecomputedEncoder:
        """Undo :attr:`options`. Raises ConfigurationError for an unknown one."""
        return cls(**known_options(cls, options))

    @cached_property
    def space(self) -> str:
        """Id of the vector space: width and first vectors of the documents.

        More vectors may be appended to the files without leaving the space.
        """
        vectors = self._documents.vectors
        first = np.ascontiguousarray(vectors[:1], np.float32)
        digest = sha256(f"{vectors.shape[1]} ".encode() + first.tobytes())
        return f"precomputed/{digest.hexdigest()[:16]}"

    @property
    def description(self) -> str:
        """One line for people."""
        return f"precomputed ({self._folder.name}, {self.dim} features, {self.metric})"

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self._documents.vectors.shape[1])

    def encode_documents(
        self,
        documents: Sequence[Document | str],
        *,
        show_progress: bool = False,  # noqa: ARG002
    ) -> NDArray[np.float32]:
        """Vectors of documents, by their ids, float32, shape (len(documents), dim).

        Raises:
            VectorError: a document without a vector; or a text in place of a document.
        """
        if any(isinstance(document, str) for document in documents):
            raise VectorError("precomputed vectors are found by the ids of documents: give those")
        ids = [document.id for document in documents if isinstance(document, Document)]
        return self._documents.take(ids, "document")

    def encode_queries(
        self,
        queries: Sequence[str],
        *,
        show_progress: bool = False,  # noqa: ARG002
    ) -> NDArray[np.float32]:
        """Vectors of queries, by their texts, float32, shape (len(queries), dim).

        Raises:
            VectorError: a query without a vector.
        """
        made = np.zeros((len(queries), self.dim), np.float32)
        asked = [i for i, query in enumerate(queries) if query.strip()]
        if asked:
            made[asked] = self._queries.take([queries[i] for i in asked], "query")
        return made

    @cached_property
    def _queries(self) -> _Table:
        table = _read(self._folder, "queries")
        if table.vectors.shape[1] != self.dim:
            raise ConfigurationError(
                f"{self._folder}: queries have {table.vectors.shape[1]} features, and documents "
                f"{self.dim}"
            )
        return table


def _read(folder: Path, what: str) -> _Table:
    keys_file = folder / f"{what}.txt"
    vectors = open_vectors(folder / f"{what}.npy")
    try:
        keys = keys_file.read_text("utf-8").split("\n")
    except OSError as error:
        raise ConfigurationError(f"{keys_file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{keys_file} is not UTF-8: {error}") from error
    keys = [key.removesuffix("\r") for key in keys]
    if keys[-1] == "":
        keys.pop()
    if len(keys) != len(vectors):
        raise ConfigurationError(
            f"{keys_file} has {len(keys)} lines, and {what}.npy {len(vectors)} vectors"
        )
    rows = {key: row for row, key in enumerate(keys)}
    if what == "documents" and len(rows) != len(keys):
        raise ConfigurationError(f"{keys_file} names a document twice")
    return _Table(vectors, rows, keys_file)
