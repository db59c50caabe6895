"""What engines are built from: one corpus, analysed once, in every form that an engine may want."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.corpora import Corpus
from sparseret.encoders.bm25 import BM25Encoder, CollectionStatistics
from sparseret.encoders.vocabulary import MemoryVocabulary

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["BM25_B", "BM25_K1", "Material"]

BM25_K1 = 1.5
BM25_B = 0.75


class Material:
    """A corpus as texts, as counts and as lists of term numbers.

    Args:
        corpus: documents and queries.
        n_queries: how many of its queries to use; those that hold no known term are left out.

    Attributes:
        counts: term frequencies after analysis, float32, shape (n_documents, n_terms).
        encoder: BM25 (lucene) under the statistics of the corpus.
        queries: the queries used.
        query_vectors: their weights, float32, shape (n_queries, n_terms).
    """

    def __init__(self, corpus: Corpus, n_queries: int) -> None:
        self.name = corpus.name
        self.documents = corpus.documents
        self.ids = [document.id for document in corpus.documents]
        self.texts = [document.content for document in corpus.documents]
        vocabulary = MemoryVocabulary()
        empty = CollectionStatistics(0, 0.0, np.empty(0, np.int64))
        encoder = BM25Encoder(k1=BM25_K1, b=BM25_B)
        self.counts: csr_array = encoder.bind(vocabulary, empty).count_documents(self.documents)
        self.terms = vocabulary.terms
        self.document_frequencies = np.bincount(self.counts.indices, minlength=len(self.terms))
        self.mean_length = float(self.counts.data.sum(dtype=np.float64)) / len(self.documents)
        statistics = CollectionStatistics(
            len(self.documents), self.mean_length, self.document_frequencies
        )
        self.encoder = encoder.bind(vocabulary, statistics)
        vectors = self.encoder.encode_queries(corpus.queries)
        kept = np.flatnonzero(np.diff(vectors.indptr))[:n_queries]
        self.queries = [corpus.queries[i] for i in kept.tolist()]
        self.query_vectors: csr_array = self.encoder.encode_queries(self.queries)

    @cached_property
    def weights(self) -> csr_array:
        """BM25 weights of the documents, float32, shape (n_documents, n_terms)."""
        weights = self.counts.copy()
        row_of = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
        lengths = np.bincount(row_of, weights=weights.data, minlength=weights.shape[0])
        weights.data = self.encoder.weigh(
            weights.data, lengths.astype(np.float32)[row_of], self.mean_length
        )
        return weights

    @cached_property
    def token_numbers(self) -> list[list[int]]:
        """The terms of each document as their columns, repeated as often as they occur."""
        times = self.counts.data.astype(np.int64)
        flat = np.repeat(self.counts.indices, times).tolist()
        ends = np.concatenate(([0], np.cumsum(times)))[self.counts.indptr].tolist()
        return [flat[begin:end] for begin, end in pairwise(ends)]

    @property
    def postings_per_query(self) -> float:
        """Mean over queries of the postings of their terms: what term-at-a-time search reads."""
        read = self.document_frequencies[self.query_vectors.indices].sum()
        return float(read) / len(self.queries)
