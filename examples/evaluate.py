"""Compare two settings of BM25 on the bundled Cranfield collection, with significance tests."""

import tempfile
from pathlib import Path

from sparseret import Retriever, read_documents
from sparseret.eval.datasets import Dataset, load_dataset
from sparseret.eval.evaluate import Report, evaluate
from sparseret.eval.significance import compare

MEASURES = ("nDCG@10", "Recall@100", "P@5")


def rate(dataset: Dataset, path: Path, **options: float) -> Report:
    with Retriever.create(path, "bm25", encoder_options=options) as retriever:
        retriever.add(record.document for record in read_documents(dataset.corpus))
        retriever.commit()
        return evaluate(retriever, dataset, measures=MEASURES)


def main() -> None:
    dataset = load_dataset("cranfield")
    with tempfile.TemporaryDirectory() as temporary:
        usual = rate(dataset, Path(temporary) / "a.idx")
        other = rate(dataset, Path(temporary) / "b.idx", k1=0.9, b=0.4)
    print(f"{len(dataset.queries)} queries of {dataset.name}")
    for report in (usual, other):
        values = "  ".join(f"{name} {value:.4f}" for name, value in report.scores.mean.items())
        print(f"{values}  {report.retriever}")
    for name in MEASURES:
        test = compare(other.scores, usual.scores, name)
        print(
            f"{name}: difference {test.difference:+.4f}, p = {test.p_randomisation:.4f} "
            f"({test.won} queries better, {test.lost} worse)"
        )


if __name__ == "__main__":
    main()
