"""Let BEIR's EvaluateRetrieval rate an index of the bundled collection. Needs the extra "beir"."""

from beir.retrieval.evaluation import EvaluateRetrieval

from sparseret import read_documents
from sparseret.eval.datasets import load_dataset
from sparseret.integrations.beir import SparseretSearch


def main() -> None:
    # With a collection of BEIR on disk: GenericDataLoader(folder).load(split="test").
    dataset = load_dataset("cranfield")
    documents = [record.document for record in read_documents(dataset.corpus)]
    corpus = {d.id: {"title": d.title, "text": d.text} for d in documents}
    queries = {query.id: query.text for query in dataset.queries}
    qrels = {query: dict(judged) for query, judged in dataset.qrels.items()}

    evaluator = EvaluateRetrieval(SparseretSearch("bm25"), k_values=[10, 100])
    results = evaluator.retrieve(corpus, queries)
    # Ids of Cranfield's queries and documents are the same numbers by chance.
    ndcg, _, recall, _ = evaluator.evaluate(
        qrels, results, evaluator.k_values, ignore_identical_ids=False
    )
    print(f"nDCG@10 {ndcg['NDCG@10']:.5f}, recall@100 {recall['Recall@100']:.5f}")


if __name__ == "__main__":
    main()
