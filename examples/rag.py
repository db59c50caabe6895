"""Answer a question from an index, with facts that are checked and cited; offline.

    python examples/rag.py "your question"

Documents are cut into chunks, the best ones found, sentences of them quoted, and every quotation is
looked up in its document. The reader of the example is the extractive one, and beside it stands one
that makes things up, to show what becomes of that. A language model behind any endpoint takes their
place:

    from sparseret.rag import OpenAIReader
    reader = OpenAIReader("my-model", base_url="http://localhost:8000/v1")
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sparseret import read_documents
from sparseret.chunks import Chunking
from sparseret.eval.datasets import load_dataset
from sparseret.parents import ParentRetriever
from sparseret.rag import ExtractiveReader, Fact, Quote, Source, answer_from, ask

QUESTION = "What do engine vibrations occasionally cause in parts of the mounting?"


class CarelessReader:
    """Quotes one sentence, and makes up another, as language models do."""

    name, description = "careless", "one true quotation, one false one"

    def facts(self, question: str, sources: Sequence[Source]) -> list[Quote]:
        true = ExtractiveReader(1).facts(question, sources)
        return [*true, Quote(1, "Vibrations were abolished by decree in 1957.")]

    def answer(self, question: str, facts: Sequence[Fact]) -> str:
        return f"{question} {facts[0].text} [1] Also, they were abolished [2]."


def main(question: str) -> None:
    corpus = load_dataset("cranfield").corpus
    with (
        tempfile.TemporaryDirectory() as temporary,
        ParentRetriever.create(
            Path(temporary) / "chunks.idx", chunking=Chunking(60, 15, "sentences")
        ) as retriever,
    ):
        retriever.add(record.document for record in read_documents(corpus))
        retriever.commit()

        answer = ask(retriever, question, k=5, budget=1500)
        print(answer.text or "no answer")
        for place, fact in enumerate(answer.facts, 1):
            print(f"  [{place}] document {fact.document}, {fact.start}-{fact.end}: {fact.text}")

        results = retriever.search(question, k=5, passages=3)  # or any other search
        careless = answer_from(retriever, question, results, reader=CarelessReader())
        print(f"\nof a careless reader: {careless.text or 'no answer'}")
        for quote in careless.dropped:
            print(f"  dropped, as source {quote.source} does not say so: {quote.text}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else QUESTION)
