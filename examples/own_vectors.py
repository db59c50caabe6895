"""Index sparse vectors of your own making, here tf-idf, and search them exactly.

``InvertedIndex`` takes any ``scipy.sparse`` array; it knows nothing of text or encoders.
"""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from sparseret import InvertedIndex, read_documents
from sparseret.analysis import Analyzer
from sparseret.eval.datasets import load_dataset


def count(texts: list[list[str]], columns: dict[str, int]) -> csr_array:
    """Term frequencies, shape (len(texts), len(columns)); unknown terms are left out."""
    rows, terms, values = [], [], []
    for row, text in enumerate(texts):
        for term, frequency in Counter(text).items():
            if term in columns:
                rows.append(row)
                terms.append(columns[term])
                values.append(frequency)
    shape = (len(texts), len(columns))
    return csr_array((np.array(values, dtype=np.float32), (rows, terms)), shape=shape)


def tf_idf(counts: csr_array, idf: np.ndarray) -> csr_array:
    """(1 + ln tf) * idf, each row of length 1: dot products are cosines."""
    weights = counts.astype(np.float32)
    weights.data = 1 + np.log(weights.data)
    weights = csr_array(weights.multiply(idf))
    lengths = np.sqrt(weights.multiply(weights).sum(axis=1))
    return csr_array(weights.multiply((1 / np.maximum(lengths, 1e-9)).reshape(-1, 1)))


def main() -> None:
    documents = [record.document for record in read_documents(load_dataset("cranfield").corpus)]
    analyzer = Analyzer("english")
    texts = [analyzer(document.text) for document in documents]
    columns = {term: i for i, term in enumerate(sorted({term for text in texts for term in text}))}
    counts = count(texts, columns)
    idf = np.log(len(texts) / np.bincount(counts.indices, minlength=len(columns)))
    vectors = tf_idf(counts, idf)
    query = tf_idf(count([analyzer("flow over a blunt body")], columns), idf)

    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "vectors.idx"
        with InvertedIndex.create(path, space="tf-idf", dim=len(columns), signed=False) as index:
            index.add([document.id for document in documents], vectors)
        with InvertedIndex.open(path, space="tf-idf") as index:
            hits = index.search(query, k=3)
    titles = {document.id: document.title for document in documents}
    print(f"{len(documents)} vectors of {len(columns)} columns")
    for id, score in zip(hits.ids[0], hits.scores[0], strict=True):
        print(f"{score:.4f}  {id:>5}  {titles[id]}")
    full = (vectors @ query.T).toarray().ravel()
    print(f"best score of the full product: {full.max():.4f}")


if __name__ == "__main__":
    main()
