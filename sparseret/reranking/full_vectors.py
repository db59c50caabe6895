"""Late re-scoring: candidates of any search rated by dense vectors of full width and precision."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import ConfigurationError, VectorError
from sparseret.indexers.dense_exact import as_rows, exact_scores, normalised
from sparseret.protocols import Candidates, DenseEncoder

__all__ = ["FullVectors"]


class FullVectors:
    """Rates candidates by the cosine or inner product of their dense vectors with the query's.

    Satisfies :class:`sparseret.protocols.Reranker`. Where the index has a leg of the same vector
    space, the vectors are read from it, and scores are those of an exact search of that leg to the
    last bit; otherwise documents are encoded as they come, ``batch_size`` at a time. Without words
    in the query or the document the score is 0.

    Args:
        encoder: of queries and, where no leg has their vectors, of documents.
        batch_size: documents that are encoded at a time.

    Raises:
        ConfigurationError: an option out of its range.
    """

    name = "full-vectors"

    def __init__(self, encoder: DenseEncoder, *, batch_size: int = 16) -> None:
        if not isinstance(encoder, DenseEncoder):
            raise ConfigurationError(
                f"full vectors are those of a dense encoder, got {type(encoder).__name__}"
            )
        if type(batch_size) is not int or batch_size < 1:
            raise ConfigurationError(
                f"batch_size must be a whole number from 1, got {batch_size!r}"
            )
        self.encoder = encoder
        self.batch_size = batch_size

    @property
    def description(self) -> str:
        """One line for people."""
        return f"full vectors of {self.encoder.description}"

    def rescore(self, candidates: Candidates) -> Iterator[NDArray[np.float32]]:
        """Scores, all at once from a leg, in batches otherwise.

        Raises:
            ConfigurationError: there is no text to encode as the query.
            VectorError: the encoder gives something else than a finite vector a text.
        """
        if candidates.query is None:
            raise ConfigurationError(f"{self.name} compares with the text of a query: give one")
        encoder = self.encoder
        query = self._checked(encoder.encode_queries([candidates.query]), 1)[0]
        if candidates.vectors is not None:
            stored = candidates.vectors.dense(encoder.space)
            if stored is not None:
                yield exact_scores(stored, np.arange(len(stored)), query)
                return
        for begin in range(0, len(candidates.documents), self.batch_size):
            some = candidates.documents[begin : begin + self.batch_size]
            rows = self._checked(encoder.encode_documents(some), len(some))
            yield exact_scores(rows, np.arange(len(rows)), query)

    def _checked(self, made: NDArray[np.float32], n: int) -> NDArray[np.float32]:
        """Vectors as they are scored."""
        rows = as_rows(made, self.encoder.dim, f"vectors of the encoder {self.encoder.name!r}")
        if len(rows) != n:
            raise VectorError(
                f"the encoder {self.encoder.name!r} made {len(rows)} vectors of {n} texts"
            )
        return normalised(rows) if self.encoder.metric == "cosine" else rows
