"""Rate encoders by an evaluator of sentence-transformers, the searching done by an index.

Usage: sentence_transformers_evaluator.py [ENCODER ...], as bm25 or splade:FOLDER; by default bm25.
Needs the extra "sentence-transformers".
"""

import sys

from sparseret import read_documents
from sparseret.eval.datasets import load_dataset
from sparseret.integrations.sentence_transformers import IndexInformationRetrievalEvaluator


def main() -> None:
    dataset = load_dataset("cranfield")
    documents = [record.document for record in read_documents(dataset.corpus)]
    evaluator = IndexInformationRetrievalEvaluator(
        queries={query.id: query.text for query in dataset.queries},
        corpus={document.id: document.content for document in documents},
        relevant_docs={
            query: {document for document, label in judged.items() if label > 0}
            for query, judged in dataset.qrels.items()
        },
        name="cranfield",
        write_csv=False,
    )
    for encoder in sys.argv[1:] or ["bm25"]:
        figures = evaluator(encoder)
        print(f"{encoder}: nDCG@10 {figures['cranfield_index_ndcg@10']:.4f}")


if __name__ == "__main__":
    main()
