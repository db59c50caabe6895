"""Hybrid search: words and vectors in one index, changed at once and searched as one.

The vectors are counts of the letters' pairs, to run without a model. With a folder of
sentence-transformers as an argument, they are those of that model (extra "neural").
"""

import sys
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sparseret import Document, Retriever
from sparseret.indexers.fusion import Convex

DOCUMENTS = [
    Document("1", "The slipstream of a propeller changes the lift of a wing.", "", {"year": 1958}),
    Document("2", "Heat is conducted in composite slabs of several layers.", "", {"year": 1961}),
    Document("3", "A flat plate flutters at supersonic speed.", "", {"year": 1970}),
]


class LetterPairs:
    """A dense encoder: how often pairs of letters occur, in 256 numbers."""

    name = "letter-pairs"
    description = "pairs of letters"
    dim = 256
    metric = "cosine"
    space = "letter-pairs/1"

    @property
    def options(self) -> dict[str, object]:
        return {}

    def encode_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> np.ndarray:
        texts = [d if isinstance(d, str) else d.content for d in documents]
        return self.encode_queries(texts, show_progress=show_progress)

    def encode_queries(
        self,
        queries: Sequence[str],
        *,
        show_progress: bool = False,  # noqa: ARG002
    ) -> np.ndarray:
        vectors = np.zeros((len(queries), self.dim), np.float32)
        for row, text in zip(vectors, queries, strict=True):
            for begin in range(len(text) - 1):
                row[zlib.crc32(text[begin : begin + 2].lower().encode()) % self.dim] += 1
        return vectors


def main() -> None:
    meaning = f"dense:{sys.argv[1]}" if len(sys.argv) > 1 else LetterPairs()
    with tempfile.TemporaryDirectory() as folder:
        legs = {"words": "bm25", "meaning": meaning}
        with Retriever.create(Path(folder, "my.idx"), legs, fusion=Convex((0.6, 0.4))) as retriever:
            retriever.add(DOCUMENTS)
            retriever.commit()
            for query in ("propellers and wings", "supersonik fluter"):
                print(query)
                for result in retriever.search(query, k=2):
                    shares = ", ".join(f"{leg} {s:.2f}" for leg, s in result.shares.items())
                    print(f"  {result.score:.2f} = {shares}: {result.text}")
            late = retriever.search("propellers and wings", filter="year > 1960")
            print("after 1960:", [result.id for result in late])


if __name__ == "__main__":
    main()
