"""Index and compare in PyTerrier, without Java. Needs the extra "pyterrier"."""

import tempfile
from pathlib import Path

import pandas as pd
import pyterrier as pt

from sparseret import read_documents
from sparseret.eval.datasets import load_dataset
from sparseret.integrations.pyterrier import SparseretIndexer, SparseretTransformer


def main() -> None:
    dataset = load_dataset("cranfield")
    documents = [record.document for record in read_documents(dataset.corpus)]
    rows = [{"docno": d.id, "title": d.title, "text": d.text} for d in documents]
    topics = pd.DataFrame([{"qid": q.id, "query": q.text} for q in dataset.queries])
    qrels = pd.DataFrame(
        [
            {"qid": query, "docno": document, "label": label}
            for query, judged in dataset.qrels.items()
            for document, label in judged.items()
        ]
    )
    with tempfile.TemporaryDirectory() as temporary:
        usual = SparseretIndexer(Path(temporary) / "usual.idx").index(rows)
        other = SparseretIndexer(
            Path(temporary) / "other.idx", encoder_options={"k1": 0.9, "b": 0.4}
        ).index(rows)
        systems = [SparseretTransformer(usual), SparseretTransformer(other)]
        systems.append(0.5 * systems[0] + 0.5 * systems[1])
        names = ["k1 1.5, b 0.75", "k1 0.9, b 0.4", "sum of both"]
        table = pt.Experiment(systems, topics, qrels, ["ndcg_cut_10", "map"], names)
        print(table.to_string(index=False, float_format="{:.4f}".format))
        usual.close()
        other.close()


if __name__ == "__main__":
    main()
