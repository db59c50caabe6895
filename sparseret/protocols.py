"""What an encoder and an index must offer, and nothing else.

These are structural types: a class satisfies them by having the members, not by inheriting.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseret.documents import Document

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = [
    "Candidates",
    "Codec",
    "CollectionEncoder",
    "DenseEncoder",
    "Encoder",
    "Hits",
    "Index",
    "Mode",
    "Reranked",
    "Reranker",
    "Statistics",
    "StoredVectors",
    "TermWeights",
    "Vectors",
    "Vocabulary",
    "Weighting",
]


Vectors: TypeAlias = "ArrayLike | csr_array"
"""Dense vectors, which may be memory-mapped, or sparse ones of scipy; shape (n, n_features)."""


class Reranked(NamedTuple):
    """How the results of a search were re-ranked."""

    rerankers: tuple[str, ...]
    """Names of those that took part, in their order."""
    unreached: int = 0
    """Candidates, of the query with most of them, that were left in the order of the stage before
    because the time budget was over."""


class Mode(NamedTuple):
    """How a search was made."""

    exact: bool = True
    """Whether the results are those of the full product; then ``recall`` is 1."""
    recall: float = 1.0
    """Recall that this effort reached on the queries the index was calibrated with; NaN for an
    effort that was given and never measured."""

    missing: tuple[str, ...] = ()
    """Legs of the index, and re-rankers, that could not take part, where the search was to go on
    without them."""

    reranked: Reranked | None = None
    """How the results were re-ranked; None where they were not."""

    @property
    def description(self) -> str:
        """In words, such as "approximate, recall 0.957 when calibrated"."""
        if self.missing:
            return f"{self._replace(missing=()).description}, without {', '.join(self.missing)}"
        if self.reranked is not None:
            told = f"{self._replace(reranked=None).description}, re-ranked by "
            told += ", then ".join(self.reranked.rerankers)
            if self.reranked.unreached:
                told += f" but for up to {self.reranked.unreached} candidates when time was over"
            return told
        if self.exact:
            return "exact"
        if math.isnan(self.recall):
            return "approximate, by an effort that was given"
        return f"approximate, recall {self.recall:.3f} when calibrated"


class Hits(NamedTuple):
    """Top-k results, one entry a query, best first; ties in insertion order.

    A row holds fewer than k entries where fewer documents share a term with the query.
    """

    ids: list[list[str]]
    """Document ids, one list a query."""
    scores: list[NDArray[np.float32]]
    """Scores parallel to ``ids``, float32."""
    mode: Mode = Mode()
    """Exact, or approximate and how good that was measured to be."""
    shares: list[NDArray[np.float64]] | None = None
    """Of an index of several legs, what each adds to each score, shape (hits, legs); None else.
    Where results were re-ranked, to each of ``first_stage_scores``."""
    first_stage_scores: list[NDArray[np.float32]] | None = None
    """Of re-ranked results, the scores of the search itself, parallel to ``ids``."""
    n_reranked: list[int] | None = None
    """Of re-ranked results, how many of each query, the first ones, every re-ranker rated."""


class StoredVectors(Protocol):
    """What an index keeps of the candidates of a query."""

    def dense(self, space: str | None = None) -> NDArray[np.float32] | None:
        """Vectors of all candidates as they are scored, shape (n, dim).

        Args:
            space: of the encoder they must be of; None for the first leg of dense vectors.

        Returns:
            None where the index has no such leg.
        """

    def sparse(self) -> csr_array | None:
        """Weights of all candidates as those of queries, shape (n, dim); None without a leg."""


class Candidates(NamedTuple):
    """What a search found for one query, best first, for a re-ranker to rate."""

    query: str | None
    """Its text; None where documents alone are the query."""
    documents: Sequence[Document]
    scores: NDArray[np.float32]
    """Of the stage before, shape (len(documents),)."""
    vectors: StoredVectors | None = None
    """None outside of an index."""


@runtime_checkable
class Reranker(Protocol):
    """Rates the candidates of a query anew."""

    @property
    def name(self) -> str:
        """A word, for messages and modes."""

    @property
    def description(self) -> str:
        """One line for people: method and main parameters."""

    def rescore(self, candidates: Candidates) -> Iterator[NDArray[Any]]:
        """Scores of the candidates from the first on, a batch at a time; larger is better.

        A time budget is kept by not asking for the next batch, so a batch should take a fraction of
        a second. One that must see all candidates to rate any makes them one batch. A score must
        not depend on whether later batches are asked for.

        Yields:
            finite numbers, shape (size of the batch,); of all batches, one a candidate.
        """


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into sparse vectors, shape (n, dim), whose dot product scores a document."""

    @property
    def name(self) -> str:
        """Name in the registry (:mod:`sparseret.registry`)."""

    @property
    def options(self) -> dict[str, Any]:
        """JSON values from which the registry can make the encoder again."""

    @property
    def description(self) -> str:
        """One line for people: method and main parameters."""

    @property
    def dim(self) -> int | None:
        """Number of columns; None while it grows with the vocabulary."""

    @property
    def signed(self) -> bool:
        """Whether vectors may hold negative values."""

    @property
    def space(self) -> str:
        """Stable id of the vector space: method, parameters, weights digest."""

    def encode_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> csr_array:
        """Document vectors, float32, shape (len(documents), dim)."""

    def encode_queries(self, queries: Sequence[str], *, show_progress: bool = False) -> csr_array:
        """Query vectors, float32, shape (len(queries), dim)."""

    def term(self, column: int) -> str:
        """The word behind a column, for explanation."""

    def save(self, path: str | Path) -> None:
        """Write the encoder to a folder."""


@runtime_checkable
class DenseEncoder(Protocol):
    """Turns texts into dense vectors, whose inner product or cosine scores a document.

    Its members mean what those of :class:`Encoder` do, but for the vectors; a text without words
    has one of zeros, which finds nothing and is never found.
    """

    @property
    def name(self) -> str:
        """Name in the registry."""

    @property
    def options(self) -> dict[str, Any]:
        """JSON values from which the registry can make the encoder again."""

    @property
    def description(self) -> str:
        """One line for people: method and main parameters."""

    @property
    def dim(self) -> int:
        """Width of the vectors."""

    @property
    def metric(self) -> Literal["cosine", "ip"]:
        """How vectors are compared: their cosine, or their inner product as they are."""

    @property
    def space(self) -> str:
        """Stable id of the vector space: method, parameters, weights digest."""

    def encode_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """Document vectors, float32, shape (len(documents), dim)."""

    def encode_queries(
        self, queries: Sequence[str], *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """Query vectors, float32, shape (len(queries), dim)."""


@runtime_checkable
class Codec(Protocol):
    """Turns vectors, dense or sparse, shape (n, n_features), into sparse codes, shape (n, dim).

    A transformer in the sense of scikit-learn: those that learn offer ``fit(X)`` and
    ``partial_fit(X)``, too, which return the codec itself.
    """

    @property
    def name(self) -> str:
        """Name in the registry (:data:`sparseret.encoders.codecs.CODECS`)."""

    @property
    def description(self) -> str:
        """One line for people: method and main parameters."""

    @property
    def n_features(self) -> int:
        """Width of the vectors it takes."""

    @property
    def dim(self) -> int:
        """Number of columns of the codes."""

    @property
    def signed(self) -> bool:
        """Whether codes may hold negative values."""

    @property
    def space(self) -> str:
        """Stable id of the vector space: method, parameters, digest of what was learned."""

    def transform(self, X: Vectors, *, show_progress: bool = False) -> csr_array:  # noqa: N803
        """Codes, float32, shape (n, dim), in blocks: ``X`` may be memory-mapped, or sparse.

        Raises:
            VectorError: another width, or values that are not finite.
        """

    def save(self, path: str | Path) -> None:
        """Write the codec to a folder (:func:`sparseret.encoders.codecs.load_codec`)."""


class Statistics(Protocol):
    """Counts over the live documents of a collection."""

    @property
    def n_documents(self) -> int:
        """Number of documents, empty ones included."""

    @property
    def mean_length(self) -> float:
        """Mean over documents of the sum of the stored values; 0.0 for an empty collection."""

    def document_frequencies(self, columns: NDArray[np.int32]) -> NDArray[np.int64]:
        """Number of documents that hold each column, shape of ``columns``."""


class Vocabulary(Protocol):
    """A two-way map between terms and columns that only ever grows."""

    def __len__(self) -> int: ...

    def columns(self, terms: Sequence[str], *, add: bool = False) -> NDArray[np.int32]:
        """Column of each term, -1 where unknown; with ``add``, unknown terms get the next ones."""

    def term(self, column: int) -> str:
        """The term of a column. Raises KeyError where there is none."""


@runtime_checkable
class Weighting(Protocol):
    """Turns stored values to weights under collection statistics, at search time.

    An index of plain vectors has none: the stored value is the weight.
    """

    def weigh(
        self, values: NDArray[np.float32], lengths: NDArray[np.float32], mean_length: float
    ) -> NDArray[np.float32]:
        """Weight of each stored value in a document whose values sum to ``lengths``; elementwise.

        Must be non-zero and finite for every positive value.
        """


@runtime_checkable
class TermWeights(Protocol):
    """An encoder whose queries weigh terms where its documents do not, as BM25's do.

    What is optional to an encoder: without it, a document's weights serve as those of a query, too.
    """

    def term_weights(self, columns: NDArray[np.int32]) -> NDArray[np.float32]:
        """Weight in a query of one occurrence of each term, not negative, shape of ``columns``."""


@runtime_checkable
class CollectionEncoder(Encoder, Weighting, Protocol):
    """An encoder whose weights depend on the collection, as BM25's do.

    What an index stores of it is *counts*; they become weights at search time (:meth:`weigh`),
    under the statistics of that moment, so additions and deletions never leave stale weights.
    """

    def count_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> csr_array:
        """Stored vectors: non-negative counts, shape (n, dim); grows the vocabulary."""

    def bind(self, vocabulary: Vocabulary, statistics: Statistics | None) -> CollectionEncoder:
        """The same encoder over another vocabulary and collection; this one is unchanged.

        Without statistics it can count, but not encode; with them, the vocabulary is that of the
        collection and must not grow but through this encoder.
        """


class Index(Protocol):
    """Keeps vectors under string ids and finds the nearest by dot product."""

    def add(self, ids: Sequence[str], vectors: csr_array) -> None:
        """Append vectors, shape (len(ids), dim); visible after :meth:`commit`."""

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents; returns how many there were."""

    def commit(self) -> None:
        """Make all changes durable and visible."""

    def search(
        self, vectors: csr_array, k: int = 10, *, allow: Iterable[str] | None = None
    ) -> Hits:
        """The best k documents of each row, best first, among the ids in ``allow``."""
