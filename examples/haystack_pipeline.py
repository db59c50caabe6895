"""A Haystack pipeline over an index folder: words and embeddings, joined, with a filter.

The embeddings are hashed letters here, so that no model is needed. Needs the extra "haystack".
"""

import os
import tempfile
import zlib
from pathlib import Path

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"

from haystack import Document, Pipeline
from haystack.components.joiners import DocumentJoiner

from sparseret import read_documents
from sparseret.eval.datasets import load_dataset
from sparseret.integrations.haystack import (
    SparseretDocumentStore,
    SparseretEmbeddingRetriever,
    SparseretRetriever,
)

WIDTH = 256


def embed(text: str) -> list[float]:
    """How often each hashed run of four letters stands in a text."""
    vector = [0.0] * WIDTH
    for i in range(len(text) - 3):
        vector[zlib.crc32(text[i : i + 4].lower().encode()) % WIDTH] += 1.0
    return vector


def documents() -> list[Document]:
    records = list(read_documents(load_dataset("cranfield").corpus))[:300]
    found = [record.document for record in records]
    return [
        Document(
            id=d.id,
            content=d.text,
            meta={"title": d.title, "number": int(d.id)},
            embedding=embed(d.content),
        )
        for d in found
    ]


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        store = SparseretDocumentStore(
            Path(temporary) / "reports.idx", filter_fields=["number"], embedding_dim=WIDTH
        )
        print(store.write_documents(documents()), "documents written")

        pipeline = Pipeline()
        pipeline.add_component("words", SparseretRetriever(store))
        pipeline.add_component("near", SparseretEmbeddingRetriever(store))
        pipeline.add_component("join", DocumentJoiner(join_mode="reciprocal_rank_fusion", top_k=3))
        pipeline.connect("words", "join")
        pipeline.connect("near", "join")

        query = "aeroelastic modells of heated aircraft"  # misspelt: the letters still help
        recent = {"field": "meta.number", "operator": ">", "value": 100}
        for filters in (None, recent):
            asked = {
                "words": {"query": query, "filters": filters},
                "near": {"query_embedding": embed(query), "filters": filters},
            }
            print("all" if filters is None else "number > 100")
            for document in pipeline.run(asked)["join"]["documents"]:
                print(f"  {document.id:>4}  {document.meta['title']}")
        store.retriever.close()


if __name__ == "__main__":
    main()
