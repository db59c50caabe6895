"""LlamaIndex over an index of words and embeddings: build, query in three modes, open, filter.

The embeddings are counts of the letters' pairs, and the language model is a mock that repeats its
prompt, to run without any. It needs the extra "llama-index".
"""

import tempfile
import zlib
from pathlib import Path

from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters

from sparseret.integrations.llama_index import SparseretVectorStore

REPORTS = [
    Document(text="The slipstream changes the lift of a wing.", id_="1", metadata={"year": 1958}),
    Document(text="Heat is conducted in composite slabs.", id_="2", metadata={"year": 1961}),
    Document(text="A flat plate flutters at supersonic speed.", id_="3", metadata={"year": 1970}),
]


class LetterPairs(BaseEmbedding):
    def _get_text_embedding(self, text: str) -> list[float]:
        counts = [0.0] * 256
        for begin in range(len(text) - 1):
            counts[zlib.crc32(text[begin : begin + 2].lower().encode()) % 256] += 1
        return counts

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "reports.idx")
        store = SparseretVectorStore.create(path, "bm25", embed_dim=256)
        context = StorageContext.from_defaults(vector_store=store)
        index = VectorStoreIndex.from_documents(
            REPORTS, storage_context=context, embed_model=LetterPairs()
        )
        for mode in ("default", "sparse", "hybrid"):
            found = index.as_retriever(vector_store_query_mode=mode).retrieve("supersonic flutter")
            print(f"{mode:8}", [(n.node.ref_doc_id, round(n.score or 0, 2)) for n in found])
        store.client.close()

        store = SparseretVectorStore.open(path)  # the folder is all there is to keep
        index = VectorStoreIndex.from_vector_store(store, embed_model=LetterPairs())
        early = MetadataFilters(
            filters=[MetadataFilter(key="year", operator=FilterOperator.LT, value=1960)]
        )
        engine = index.as_query_engine(llm=MockLLM(), filters=early)
        answer = engine.query("What changes the lift?")
        print("answered from", [n.node.ref_doc_id for n in answer.source_nodes])
        store.client.close()


if __name__ == "__main__":
    main()
