"""Project BM25 vectors of 4,725 words to 512 numbers: distances stay what they were."""

import numpy as np

from sparseret import read_documents
from sparseret.encoders.bm25 import BM25Encoder
from sparseret.encoders.random_projection import SparseRandomProjection
from sparseret.eval.datasets import load_dataset


def main() -> None:
    documents = [record.document for record in read_documents(load_dataset("cranfield").corpus)]
    texts = BM25Encoder().fit(documents).encode_documents(documents)
    projection = SparseRandomProjection(512, density=1 / 3, seed=1).fit(texts)
    dense = projection.transform(texts)
    print(f"{texts.shape[0]} texts, {texts.shape[1]} words -> {dense.shape[1]} numbers")

    some = texts[:200].toarray()
    i, j = np.triu_indices(200, 1)
    ratio = np.linalg.norm(dense[i] - dense[j], axis=1) / np.linalg.norm(some[i] - some[j], axis=1)
    print(f"distances: {ratio.mean():.3f} times what they were, deviation {ratio.std():.3f}")
    rows = projection.components([0, 4724])
    print(f"row of the last word, made on demand: {(rows[1] != 0).mean():.2f} of it is not zero")


if __name__ == "__main__":
    main()
