"""Pipelines of PyTerrier over an index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pyterrier", reason="pyterrier is not installed (sparseret[pyterrier])")

import pandas as pd
import pyterrier as pt

from sparseret import Retriever, read_documents
from sparseret.errors import ConfigurationError, DocumentError, DuplicateIdError, IndexExistsError
from sparseret.eval.datasets import Dataset, load_dataset
from sparseret.eval.evaluate import evaluate
from sparseret.integrations.pyterrier import SparseretIndexer, SparseretTransformer


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset("cranfield")


@pytest.fixture(scope="module")
def retriever(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Retriever]:
    documents = (record.document for record in read_documents(dataset.corpus))
    rows = ({"docno": d.id, "title": d.title, "text": d.text, "n": int(d.id)} for d in documents)
    made = SparseretIndexer(tmp_path_factory.mktemp("pt") / "cranfield.idx").index(rows)
    yield made
    made.close()


@pytest.fixture(scope="module")
def topics(dataset: Dataset) -> pd.DataFrame:
    return pd.DataFrame([{"qid": q.id, "query": q.text} for q in dataset.queries])


def test_an_experiment_finds_what_our_own_evaluation_finds(
    dataset: Dataset, retriever: Retriever, topics: pd.DataFrame
) -> None:
    qrels = pd.DataFrame(
        [
            {"qid": query, "docno": document, "label": label}
            for query, judged in dataset.qrels.items()
            for document, label in judged.items()
        ]
    )
    measures = ["ndcg_cut_10", "recall_100", "map"]
    rated = pt.Experiment([SparseretTransformer(retriever)], topics, qrels, measures)
    ours = evaluate(retriever, dataset, measures=["nDCG@10", "Recall@100", "MAP"]).scores.mean
    assert rated["ndcg_cut_10"][0] == pytest.approx(ours["nDCG@10"], abs=1e-9)
    assert rated["recall_100"][0] == pytest.approx(ours["Recall@100"], abs=1e-9)
    assert rated["map"][0] == pytest.approx(ours["MAP"], abs=1e-9)
    assert not pt.java.started()


def test_results_are_those_of_a_search(retriever: Retriever, topics: pd.DataFrame) -> None:
    asked = topics.head(5).assign(topic="x")
    transformer = SparseretTransformer(retriever, num_results=7, with_text=True)
    found = transformer(asked)
    assert list(found.columns) == [
        "qid", "query", "topic", "docno", "score", "rank", "title", "text"
    ]  # fmt: skip
    for _, (qid, query, _) in asked.iterrows():
        mine = found[found.qid == qid]
        results = retriever.search(query, 7)
        assert mine["docno"].tolist() == [r.id for r in results]
        assert mine["text"].tolist() == [r.text for r in results]
        assert mine["score"].tolist() == pytest.approx([r.score for r in results], rel=1e-6)
        assert mine["rank"].tolist() == list(range(7))
        assert mine["score"].is_monotonic_decreasing


def test_pipelines(retriever: Retriever, topics: pd.DataFrame) -> None:
    transformer = SparseretTransformer(retriever, num_results=50)
    few = (transformer % 3).compile()
    assert isinstance(few, SparseretTransformer)
    assert few.num_results == 3
    assert few.with_text is False
    assert len(few(topics.head(4))) == 12
    pd.testing.assert_frame_equal((transformer % 3)(topics.head(4)), few(topics.head(4)))
    assert transformer.fuse_rank_cutoff(100) is None
    twice = transformer % 3 >> pt.apply.query(lambda row: row["query"]) >> transformer
    assert twice is not None
    fused = 0.5 * transformer + SparseretTransformer(retriever, filter="n <= 700", num_results=50)
    found = fused.search("flow over a blunt body")
    assert len(found) >= 50
    narrow = SparseretTransformer(retriever, filter="n <= 700").search("flow over a blunt body")
    assert narrow["docno"].astype(int).max() <= 700


def test_degenerate_frames(retriever: Retriever, topics: pd.DataFrame) -> None:
    transformer = SparseretTransformer(retriever)
    assert transformer.search("xylophone").empty
    empty = transformer(topics.head(0))
    assert list(empty.columns) == ["qid", "query", "docno", "score", "rank"]
    assert pt.inspect.transformer_outputs(transformer, ["qid", "query"]) == list(empty.columns)
    with pytest.raises(pt.validate.InputValidationError):
        transformer(pd.DataFrame({"qid": ["1"]}))
    with pytest.raises(pt.validate.InputValidationError):
        transformer(transformer(topics.head(1)))
    repeated = pd.concat([topics.head(1), topics.head(1)])
    assert len(transformer(repeated)) == 2 * len(transformer(topics.head(1)))
    with pytest.raises(ConfigurationError):
        SparseretTransformer(retriever, num_results=0)


def test_indexing(tmp_path: Path) -> None:
    rows = [{"docno": "a", "text": "lift of a wing", "year": 1954}, {"docno": "b"}]
    indexer = SparseretIndexer(tmp_path / "a.idx", encoder_options={"b": 0.1})
    with indexer.index(rows) as made:
        assert len(made) == 2
    again = SparseretTransformer(tmp_path / "a.idx", filter="year < 1960")
    assert again.search("wings")["docno"].tolist() == ["a"]
    with pytest.raises(IndexExistsError):
        indexer.index(rows)
    with pytest.raises(DocumentError, match="docno"):
        SparseretIndexer(tmp_path / "b.idx").index([{"text": "wing"}])
    with pytest.raises(DuplicateIdError):
        SparseretIndexer(tmp_path / "c.idx").index(rows + rows)
