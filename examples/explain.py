"""Show why a document has its score: what each term of the query adds to it."""

import tempfile
from pathlib import Path

from sparseret import Retriever, read_documents
from sparseret.eval.datasets import load_dataset

QUERY = "papers on shock-sound wave interaction"


def main() -> None:
    corpus = load_dataset("cranfield").corpus
    with (
        tempfile.TemporaryDirectory() as temporary,
        Retriever.create(Path(temporary) / "cranfield.idx") as retriever,
    ):
        retriever.add(record.document for record in read_documents(corpus))
        retriever.commit()
        best = retriever.search(QUERY, k=1)[0]
        explanation = retriever.explain(QUERY, best.id)
        print(f"{best.title} (document {best.id}, score {best.score:.4f})")
        for term in explanation.terms:
            print(
                f"{term.term:>10} {term.query_weight:8.4f} x {term.document_weight:.4f} "
                f"= {term.contribution:.4f}"
            )
        print("not in the document:", ", ".join(explanation.missing) or "nothing")
        total = sum(term.contribution for term in explanation.terms)
        print(f"sum of the contributions: {total:.4f}")


if __name__ == "__main__":
    main()
