"""Run a retrieval task of MTEB, made from files at hand, with BM25. Needs the extra "mteb"."""

from typing import Any

import mteb
from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata

from sparseret import read_documents
from sparseret.eval.datasets import load_dataset
from sparseret.integrations.mteb import SparseretSearchModel


class Cranfield(AbsTaskRetrieval):
    """The bundled collection; for tasks of MTEB itself, mteb.get_tasks(...) takes its place."""

    metadata = TaskMetadata(
        name="Cranfield",
        dataset={"path": "local/cranfield", "revision": "1"},
        description="Abstracts of aerodynamics, with 225 queries.",
        type="Retrieval",
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
        date=None,
        reference=None,
        domains=None,
        task_subtypes=None,
        license=None,
        annotations_creators=None,
        dialect=None,
        sample_creation=None,
        bibtex_citation=None,
    )

    def load_data(self, **_: Any) -> None:
        dataset = load_dataset("cranfield")
        documents = [record.document for record in read_documents(dataset.corpus)]
        split = {
            "corpus": Dataset.from_list(
                [{"id": d.id, "title": d.title, "text": d.text} for d in documents]
            ),
            "queries": Dataset.from_list([{"id": q.id, "text": q.text} for q in dataset.queries]),
            "relevant_docs": {query: dict(judged) for query, judged in dataset.qrels.items()},
            "top_ranked": None,
        }
        self.dataset = {"default": {"test": split}}
        self.data_loaded = True


def main() -> None:
    model = SparseretSearchModel("bm25")
    result = mteb.evaluate(model, Cranfield(), cache=None, show_progress_bar=False)
    model.close()
    scores = result.task_results[0].scores["test"][0]
    print(f"{result.model_name}: nDCG@10 {scores['ndcg_at_10']:.5f}")


if __name__ == "__main__":
    main()
