"""How well codes of a collection's dense vectors find what the vectors themselves find."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.encoders.codes import CodesEncoder
from sparseret.encoders.sparse_autoencoder import SparseAutoencoder
from sparseret.eval.datasets import Dataset, load_dataset
from sparseret.eval.measures import measure
from sparseret.eval.runs import RankedDocument
from sparseret.readers import read_documents

__all__ = ["CodeRetrieval", "DenseCollection", "encode_collection", "rate_retrieval"]

_DEPTH = 100


class DenseCollection(NamedTuple):
    """A collection as dense vectors."""

    dataset: Dataset
    ids: list[str]
    """Of the documents."""
    documents: NDArray[np.float32]
    """Shape (n, n_features)."""
    queries: NDArray[np.float32]
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


def encode_collection(encoder: CodesEncoder, source: str) -> DenseCollection:
    """The dense vectors behind an encoder of codes, of a data set's documents and queries.

    Raises:
        DatasetError: as :func:`sparseret.eval.datasets.load_dataset`.
        MissingExtraError: torch or transformers is not installed.
    """
    dataset = load_dataset(source)
    documents = [record.document for record in read_documents(dataset.corpus)]
    dense = encoder.dense
    return DenseCollection(
        dataset,
        [document.id for document in documents],
        dense.encode([d.content for d in documents], prompt=dense.document_prompt),
        dense.encode([q.text for q in dataset.queries], prompt=dense.query_prompt),
    )


def rate_retrieval(
    codec: SparseAutoencoder | None, collection: DenseCollection, *, query_k: int | None = None
) -> CodeRetrieval:
    """Search a collection exhaustively by products, of codes or (None) of the vectors.

    Args:
        codec: makes the codes.
        collection: what is searched.
        query_k: queries are so many products with latents instead of codes; None for codes.
    """
    if codec is None:
        scores = collection.queries @ collection.documents.T
        method, nnz = "dense", float(collection.documents.shape[1])
    else:
        codes = codec.transform(collection.documents)
        if query_k is None:
            queries = codec.transform(collection.queries)
        else:
            queries = codec.project(collection.queries, query_k)
        scores = (queries @ codes.T).toarray()
        nnz = codes.nnz / max(1, codes.shape[0])
        method = codec.description
    run = {}
    for query, row in zip(collection.dataset.queries, scores, strict=True):
        best = np.argsort(-row, kind="stable")[:_DEPTH]
        run[query.id] = [
            RankedDocument(collection.ids[place], float(row[place])) for place in best if row[place]
        ]
    found = measure(run, collection.dataset.qrels, ["nDCG@10", "Recall@100"]).mean
    return CodeRetrieval(method, nnz, found["nDCG@10"], found["Recall@100"])
