"""Build a prompt for a language model from retrieved passages, with citations, within a budget.

    python examples/rag_prompt.py "your question"

Documents are cut into passages of a few sentences, the passages are indexed, and the best ones
that fit the budget are numbered and put in front of the question. No language model is called:
the prompt is printed.
"""

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sparseret import Document, Retriever, read_documents
from sparseret.eval.datasets import load_dataset

PASSAGE_CHARACTERS = 600
BUDGET_CHARACTERS = 2500
QUESTION = "how does a propeller slipstream change the lift of a wing?"


def passages(document: Document) -> Iterator[Document]:
    """Passages of whole sentences; each keeps the title and knows where it came from."""
    sentences = re.split(r"(?<=[.?!])\s+", document.text)
    text, number = "", 1
    for sentence in [*sentences, ""]:
        if text and (not sentence or len(text) + len(sentence) > PASSAGE_CHARACTERS):
            source = {"document": document.id, "passage": number}
            yield Document(f"{document.id}#{number}", text, document.title, source)
            text, number = "", number + 1
        text = f"{text} {sentence}".strip()


def build_prompt(retriever: Retriever, question: str, budget: int) -> str:
    """Instructions, numbered passages, question; at most ``budget`` characters in all."""
    head = (
        "Answer the question from the passages below, and cite them by their numbers, such as "
        "[1]. If they do not hold the answer, say so.\n\n"
    )
    tail = f"Question: {question}\nAnswer:"
    room = budget - len(head) - len(tail)
    parts: list[str] = []
    for result in retriever.search(question, k=20):
        source = f"document {result.metadata['document']}, {result.title}"
        part = f"[{len(parts) + 1}] ({source})\n{result.text}\n\n"
        if len(part) > room:
            continue  # a shorter one further down may still fit
        parts.append(part)
        room -= len(part)
    return head + "".join(parts) + tail


def main(question: str) -> None:
    corpus = load_dataset("cranfield").corpus
    with (
        tempfile.TemporaryDirectory() as temporary,
        Retriever.create(Path(temporary) / "passages.idx") as retriever,
    ):
        for record in read_documents(corpus):
            retriever.add(passages(record.document))
        retriever.commit()
        print(build_prompt(retriever, question, BUDGET_CHARACTERS))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else QUESTION)
