"""LangChain over an index of words and embeddings: a store, filters, diversity, a chain.

The embeddings are counts of the letters' pairs, to run without a model. It needs the extra
"langchain".
"""

import tempfile
import zlib
from pathlib import Path

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import RunnablePassthrough

from sparseret.integrations.langchain import SparseretRetriever, SparseretVectorStore

REPORTS = [
    Document("The slipstream of a propeller changes the lift of a wing.", metadata={"year": 1958}),
    Document("A propeller's slipstream changes the lift of wings.", metadata={"year": 1959}),
    Document("Heat is conducted in composite slabs of several layers.", metadata={"year": 1961}),
    Document("A flat plate flutters at supersonic speed.", metadata={"year": 1970}),
]


class LetterPairs(Embeddings):
    def embed_query(self, text: str) -> list[float]:
        counts = [0.0] * 256
        for begin in range(len(text) - 1):
            counts[zlib.crc32(text[begin : begin + 2].lower().encode()) % 256] += 1
        return counts

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "reports.idx")
        store = SparseretVectorStore.create(path, "bm25", embedding=LetterPairs())
        store.add_documents(REPORTS, ids=["1", "2", "3", "4"])

        query = "slipstream of propellers"
        print("hybrid:", [d.id for d in store.similarity_search(query, k=2)])
        print("words: ", [d.id for d in store.similarity_search(query, k=2, legs=["bm25"])])
        late = {"year": {"$gte": 1959}}
        print("late:  ", [d.id for d in store.similarity_search(query, k=1, filter=late)])
        diverse = store.max_marginal_relevance_search(query, k=2, fetch_k=4, lambda_mult=0.3)
        print("unlike:", [d.id for d in diverse])

        retriever = SparseretRetriever(retriever=store.retriever, k=1, legs=["bm25"])
        chain = {"context": retriever, "question": RunnablePassthrough()} | RunnablePassthrough()
        made = chain.invoke("What flutters?")  # in place of the last step: a prompt and a model
        print(made["question"], "->", made["context"][0].page_content)
        store.retriever.close()


if __name__ == "__main__":
    main()
