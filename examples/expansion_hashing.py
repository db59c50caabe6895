"""Hash dense vectors to 32 of 2,560 units, keep the codes in an index, and find near ones."""

import tempfile
from pathlib import Path

import numpy as np

from sparseret import InvertedIndex, read_documents
from sparseret.encoders.bm25 import BM25Encoder
from sparseret.encoders.codecs import load_codec
from sparseret.encoders.expansion_hashing import ExpansionHashing
from sparseret.encoders.random_projection import SparseRandomProjection
from sparseret.eval.datasets import load_dataset


def main() -> None:
    documents = [record.document for record in read_documents(load_dataset("cranfield").corpus)]
    texts = BM25Encoder().fit(documents).encode_documents(documents)
    # Any dense vectors will do; these need no model.
    dense = SparseRandomProjection(128, seed=1).fit_transform(texts)
    codec = ExpansionHashing(128, winners=32)
    codes = codec.transform(dense)
    print(f"{codec.description}: {len(documents)} documents")

    with tempfile.TemporaryDirectory() as temporary:
        codec.save(Path(temporary) / "codec")
        again = load_codec(Path(temporary) / "codec")
        path = Path(temporary) / "hashes.idx"
        with InvertedIndex.create(path, space=codec.space, dim=codec.dim, signed=False) as index:
            index.add([document.id for document in documents], codes)
        noise = np.random.default_rng(0).normal(scale=dense.std() / 4, size=(1, 128))
        with InvertedIndex.open(path, space=again.space) as index:
            hits = index.search(again.transform(dense[:1] + noise), k=3)
    titles = {document.id: document.title for document in documents}
    for id, score in zip(hits.ids[0], hits.scores[0], strict=True):
        print(f"{score:2.0f} winners shared with {id:>4}  {titles[id]}")


if __name__ == "__main__":
    main()
