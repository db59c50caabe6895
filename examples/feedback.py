"""Search by documents that were found to be right, and measure what that gains on Cranfield."""

import tempfile
from pathlib import Path

from sparseret import Retriever, read_documents
from sparseret.eval.datasets import load_dataset
from sparseret.eval.measures import measure
from sparseret.eval.runs import RankedDocument

MEASURES = ["nDCG@10", "R@100"]
N_JUDGED = 3


def main() -> None:
    dataset = load_dataset("cranfield")
    runs = {"query": {}, f"query and {N_JUDGED} documents": {}}
    unseen = {}
    with (
        tempfile.TemporaryDirectory() as temporary,
        Retriever.create(Path(temporary) / "cranfield.idx") as retriever,
    ):
        retriever.add(record.document for record in read_documents(dataset.corpus))
        retriever.commit()

        query = dataset.queries[0]
        like = [id for id, grade in dataset.qrels[query.id].items() if grade > 0][:N_JUDGED]
        print(query.text)
        for result in retriever.search(query.text, k=3, like=like):
            print(f"  {result.id:>5}  {result.title}")

        for query in dataset.queries:
            judged = dataset.qrels[query.id]
            relevant = [id for id, grade in judged.items() if grade > 0]
            if len(relevant) < 5:
                continue
            like = relevant[:N_JUDGED]
            # What was judged is known: only the other documents are there to be found.
            unseen[query.id] = {id: grade for id, grade in judged.items() if id not in like}
            plain = retriever.search(query.text, k=100 + N_JUDGED)
            plain = [result for result in plain if result.id not in like][:100]
            found = retriever.search(query.text, k=100, like=like)
            for run, results in zip(runs.values(), (plain, found), strict=True):
                run[query.id] = [RankedDocument(r.id, r.score) for r in results]

    print(f"\n{len(unseen)} queries with 5 relevant documents or more; those not judged:")
    print(f"{'':<24}" + "".join(f"{name:>9}" for name in MEASURES))
    for name, run in runs.items():
        means = measure(run, unseen, MEASURES).mean
        print(f"{name:<24}" + "".join(f"{means[m]:9.3f}" for m in MEASURES))


if __name__ == "__main__":
    main()
