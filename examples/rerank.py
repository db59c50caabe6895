"""Re-rank what BM25 finds: by diversity, by a re-ranker of one's own, and by a cross-encoder.

python examples/rerank.py                  # needs no model
python examples/rerank.py CROSS_ENCODER    # a folder of sentence-transformers' CrossEncoder
"""

import sys
import tempfile
from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np

from sparseret import Retriever, read_documents
from sparseret.analysis import load_analyzer
from sparseret.eval.datasets import load_dataset
from sparseret.eval.measures import measure
from sparseret.eval.runs import run_from_hits
from sparseret.protocols import Candidates, Reranker
from sparseret.reranking import Diversity

QUERY = "heat transfer to a blunt body in hypersonic flow"


class Phrases:
    """Adds to the score of a document for each two words of the query that it has side by side."""

    name = "phrases"
    description = "phrases of two words"

    def __init__(self, bonus: float = 1.0) -> None:
        self.bonus = bonus
        self.analyzer = load_analyzer("english")

    def pairs(self, text: str) -> set[tuple[str, str]]:
        return set(pairwise(self.analyzer(text)))

    def rescore(self, candidates: Candidates) -> Iterator[np.ndarray]:
        wanted = self.pairs(candidates.query or "")
        for document, score in zip(candidates.documents, candidates.scores, strict=True):
            found = len(wanted & self.pairs(document.content))
            yield np.array([score + self.bonus * found])


def likeness(texts: list[str]) -> float:
    """Words that two texts share, of those that either has; mean over all pairs of texts."""
    words = [set(text.split()) for text in texts]
    shares = [len(a & b) / len(a | b) for a, b in combinations(words, 2)]
    return float(np.mean(shares)) if shares else 0.0


def main() -> None:
    dataset = load_dataset("cranfield")
    asked = dataset.queries[::5]
    queries = [query.text for query in asked]
    qrels = {query.id: dataset.qrels[query.id] for query in asked}
    ways: list[tuple[str, list[Reranker]]] = [("as found", [])]
    ways += [(f"mmr, lambda {value}", [Diversity(value)]) for value in (0.7, 0.5)]
    ways += [("phrases", [Phrases()]), ("phrases, then mmr", [Phrases(), Diversity(0.7)])]
    if len(sys.argv) > 1:
        from sparseret.encoders.cross_encoder import CrossEncoder

        ways.append(("cross-encoder", [CrossEncoder(sys.argv[1])]))
    with (
        tempfile.TemporaryDirectory() as temporary,
        Retriever.create(Path(temporary) / "cranfield.idx") as retriever,
    ):
        retriever.add(record.document for record in read_documents(dataset.corpus))
        retriever.commit()

        print(QUERY)
        for name, rerankers in (ways[0], ways[2]):
            print(f"\n{name}:")
            for result in retriever.search(QUERY, k=4, rerank=rerankers):
                print(f"  {result.score:7.3f}  {result.id:>5}  {result.title}")

        print(f"\n{'':<18}  nDCG@10  likeness of the ten")
        for name, rerankers in ways:
            hits = retriever.retrieve(queries, k=10, rerank=rerankers, rerank_depth=50)
            run = run_from_hits([query.id for query in asked], hits)
            ndcg = measure(run, qrels, ["nDCG@10"]).mean["nDCG@10"]
            texts = [[retriever.document(id).text for id in row] for row in hits.ids]
            print(f"{name:<18}  {ndcg:7.4f}  {np.mean([likeness(row) for row in texts]):.3f}")


if __name__ == "__main__":
    main()
