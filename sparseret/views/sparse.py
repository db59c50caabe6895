"""A leg of sparse vectors as a retriever reads it: one commit, and the encoder of its queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from sparseret import vectors as vector_checks
from sparseret.errors import ConfigurationError, VectorError
from sparseret.explanation import LegScore, term_scores
from sparseret.feedback import Feedback, Row, rocchio
from sparseret.indexers.inverted_leg import InvertedLeg
from sparseret.indexers.snapshot import Snapshot
from sparseret.indexers.vocabulary import CatalogVocabulary
from sparseret.protocols import CollectionEncoder, Encoder, TermWeights

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["SparseView", "check_queries"]


class SparseView(NamedTuple):
    """A leg at one commit: replaced as a whole, never changed."""

    name: str
    snapshot: Snapshot
    encoder: Encoder
    """With the vocabulary and statistics of the commit, where it depends on them."""

    @classmethod
    def of(cls, leg: InvertedLeg, encoder: Encoder) -> SparseView:
        """What a leg is now."""
        snapshot = leg.snapshot
        if isinstance(encoder, CollectionEncoder):
            encoder = encoder.bind(CatalogVocabulary(snapshot.catalog), snapshot)
        return cls(leg.name, snapshot, encoder)

    @property
    def lower_bound(self) -> float | None:
        """The least score that any document could have; None where there is none."""
        return None if self.encoder.signed else 0.0

    def encode_queries(self, queries: Sequence[str]) -> csr_array:
        """Query vectors, canonical, shape (len(queries), dim)."""
        check_queries(queries)
        encoder = self.encoder
        vectors = vector_checks.check(encoder.encode_queries(queries), dim=encoder.dim)
        if vectors.shape[0] != len(queries):
            raise VectorError(
                f"the encoder {encoder.name!r} made {vectors.shape[0]} vectors of "
                f"{len(queries)} queries"
            )
        return vectors

    def query_vectors(self, given: object) -> csr_array:
        """Query vectors that somebody else made, canonical, shape (n, dim).

        Raises:
            VectorError: another width, or what this vector space does not hold.
        """
        encoder = self.encoder
        vectors = vector_checks.check(given, dim=encoder.dim, signed=encoder.signed)
        if encoder.dim is None and vectors.nnz:
            terms, last = self.snapshot.catalog.count_terms(), int(vectors.indices.max())
            if last >= terms:
                raise VectorError(f"column {last} is none of the {terms} terms of the index")
        return vectors

    def query(
        self, text: str | None, liked: Sequence[int], unliked: Sequence[int], feedback: Feedback
    ) -> csr_array:
        """Of a text, or of a text and documents (:mod:`sparseret.feedback`); shape (1, dim).

        Args:
            text: None without one.
            liked: numbers of the documents of ``feedback.like``.
            unliked: numbers of those of ``feedback.unlike``.
            feedback: the factors.
        """
        encoded, dim = None, self.encoder.dim
        if text is not None:
            vector = self.encode_queries([text])
            if not liked and not unliked:
                return vector
            encoded, dim = Row(vector.indices, vector.data), vector.shape[1]
        likes, unlikes = map(self._as_query, liked), map(self._as_query, unliked)
        return rocchio(
            encoded, list(likes), list(unlikes), feedback, dim=dim, signed=self.encoder.signed
        )

    def score(self, vector: csr_array, number: int) -> LegScore:
        """What this leg says of one document; its score is that of a search, to the last bit."""
        score, terms, missing = term_scores(vector, *self.snapshot.row(number), self.encoder)
        return LegScore(self.name, score, terms=terms, missing=missing)

    def _as_query(self, number: int) -> Row:
        document = Row(*self.snapshot.row(number))
        if not isinstance(self.encoder, TermWeights):
            return document
        weights = document.weights * self.encoder.term_weights(document.columns)
        return document._replace(weights=weights)


def check_queries(queries: Sequence[str]) -> None:
    """Refuse what is no list of strings. Raises ConfigurationError."""
    if isinstance(queries, str) or not all(isinstance(query, str) for query in queries):
        raise ConfigurationError("a query must be a string, and several a list of strings")
