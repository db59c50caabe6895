"""How well codes of a collection's vectors find what the vectors themselves find."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.encoders.codes import CodesEncoder
from sparseret.encoders.query_codes import query_coder
from sparseret.encoders.sparse_codes import SparseCodesEncoder
from sparseret.eval.datasets import Dataset, load_dataset
from sparseret.eval.measures import measure
from sparseret.eval.runs import RankedDocument
from sparseret.protocols import Codec
from sparseret.readers import read_documents

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = [
    "CodeRetrieval",
    "VectorCollection",
    "encode_collection",
    "rate_retrieval",
    "rate_scores",
]

_DEPTH = 100


class VectorCollection(NamedTuple):
    """A collection as what codes are made of: dense vectors, or sparse ones."""

    dataset: Dataset
    ids: list[str]
    """Of the documents."""
    documents: NDArray[np.float32] | csr_array
    """Shape (n, n_features)."""
    queries: NDArray[np.float32] | csr_array
    """Shape (n_queries, n_features)."""


class CodeRetrieval(NamedTuple):
    """Effectiveness of one way to keep vectors."""

    method: str
    nnz: float
    """Mean non-zero values of a document."""
    ndcg: float
    """nDCG@10."""
    recall: float
    """Recall@100."""


def encode_collection(encoder: CodesEncoder | SparseCodesEncoder, source: str) -> VectorCollection:
    """The vectors behind an encoder of codes, of a data set's documents and queries.

    Raises:
        DatasetError: as :func:`sparseret.eval.datasets.load_dataset`.
        MissingExtraError: what the encoder needs is not installed.
    """
    dataset = load_dataset(source)
    documents = [record.document for record in read_documents(dataset.corpus)]
    return VectorCollection(
        dataset,
        [document.id for document in documents],
        encoder.document_vectors(documents),
        encoder.query_vectors([query.text for query in dataset.queries]),
    )


def rate_retrieval(
    codec: Codec | None, collection: VectorCollection, *, query_k: int | None = None
) -> CodeRetrieval:
    """Search a collection exhaustively by products, of codes or (None) of the vectors.

    Args:
        codec: makes the codes.
        collection: what is searched.
        query_k: queries are so many products with latents instead of codes; None for codes.

    Raises:
        ConfigurationError: a codec that has no such products.
    """
    n = max(1, collection.documents.shape[0])
    if codec is None:
        queries, kept = collection.queries, collection.documents
        if isinstance(kept, np.ndarray):
            return rate_scores(queries @ kept.T, collection, "dense", float(kept.shape[1]))
        return rate_scores(queries @ kept.T, collection, "sparse", kept.nnz / n)
    codes = codec.transform(collection.documents)
    queries = query_coder(codec, query_k)(collection.queries)
    return rate_scores(queries @ codes.T, collection, codec.description, codes.nnz / n)


def rate_scores(
    scores: Any, collection: VectorCollection, method: str = "", nnz: float = math.nan
) -> CodeRetrieval:
    """Effectiveness of scores, dense or sparse, shape (n_queries, n); those of 0 are no hits.

    Args:
        scores: of each document for each query; of equal ones the document that comes first wins.
        collection: what was searched.
        method: what to call them.
        nnz: mean non-zero values of a document.
    """
    whole = scores if isinstance(scores, np.ndarray) else scores.toarray()
    run = {}
    for query, row in zip(collection.dataset.queries, whole, strict=True):
        best = np.argsort(-row, kind="stable")[:_DEPTH]
        run[query.id] = [
            RankedDocument(collection.ids[place], float(row[place])) for place in best if row[place]
        ]
    found = measure(run, collection.dataset.qrels, ["nDCG@10", "Recall@100"]).mean
    return CodeRetrieval(method, nnz, found["nDCG@10"], found["Recall@100"])
