"""A leg of dense vectors as a retriever reads it: one commit, and the encoder of its queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import VectorError
from sparseret.explanation import LegScore
from sparseret.feedback import Feedback
from sparseret.indexers.dense_exact import as_rows, exact_scores, normalised
from sparseret.indexers.dense_leg import DenseLeg
from sparseret.indexers.dense_snapshot import DenseSnapshot
from sparseret.protocols import DenseEncoder
from sparseret.views.sparse import check_queries

__all__ = ["DenseView"]


class DenseView(NamedTuple):
    """A leg at one commit: replaced as a whole, never changed."""

    name: str
    snapshot: DenseSnapshot
    encoder: DenseEncoder

    @classmethod
    def of(cls, leg: DenseLeg, encoder: DenseEncoder) -> DenseView:
        """What a leg is now."""
        return cls(leg.name, leg.snapshot, encoder)

    @property
    def lower_bound(self) -> float | None:
        """The least score that any document could have; None where there is none."""
        return self.snapshot.lower_bound

    def encode_queries(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """Query vectors, finite, shape (len(queries), dim)."""
        check_queries(queries)
        made = self.encoder.encode_queries(queries)
        vectors = as_rows(made, self.snapshot.dim, f"queries of the encoder {self.encoder.name!r}")
        if len(vectors) != len(queries):
            raise VectorError(
                f"the encoder {self.encoder.name!r} made {len(vectors)} vectors of "
                f"{len(queries)} queries"
            )
        return vectors

    def query_vectors(self, given: object) -> NDArray[np.float32]:
        """Query vectors that somebody else made, finite, shape (n, dim) or (dim,) for one.

        Raises:
            VectorError: another width, or values that are not finite.
        """
        try:
            rows = np.atleast_2d(np.asarray(given))
        except ValueError as error:  # nested lists of unequal lengths
            raise VectorError(f"expected dense vectors of shape (n, dim): {error}") from error
        return as_rows(rows, self.snapshot.dim, "query vectors")

    def query(
        self, text: str | None, liked: Sequence[int], unliked: Sequence[int], feedback: Feedback
    ) -> NDArray[np.float32]:
        """Of a text, or of a text and documents (:mod:`sparseret.feedback`); shape (1, dim)."""
        encoded = None if text is None else self.encode_queries([text])
        if not liked and not unliked and encoded is not None:
            return encoded
        made = np.zeros((1, self.snapshot.dim), np.float32)
        if encoded is not None:
            made += np.float32(feedback.alpha) * normalised(encoded)
        for numbers, factor in ((liked, feedback.beta), (unliked, -feedback.gamma)):
            if numbers:
                rows = normalised(np.stack([self.snapshot.row(number) for number in numbers]))
                made += np.float32(factor) * rows.mean(axis=0)
        return made

    def score(self, vector: NDArray[np.float32], number: int) -> LegScore:
        """What this leg says of one document; its score is that of a search, to the last bit."""
        query = normalised(vector) if self.snapshot.settings.metric == "cosine" else vector
        row = self.snapshot.row(number)[np.newaxis]
        score = exact_scores(row, np.zeros(1, np.int64), query[0])[0]
        return LegScore(self.name, float(score))
