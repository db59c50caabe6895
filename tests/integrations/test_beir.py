"""BEIR's EvaluateRetrieval runs our search, and finds what our own evaluation finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("beir", reason="beir is not installed (sparseret[beir])")

from beir.retrieval.evaluation import EvaluateRetrieval

from sparseret import Retriever, read_documents
from sparseret.errors import ConfigurationError, DatasetError
from sparseret.eval.datasets import Dataset, load_dataset
from sparseret.eval.evaluate import evaluate
from sparseret.integrations.beir import SparseretSearch


class Collection(NamedTuple):
    corpus: dict[str, dict[str, str]]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]
    dataset: Dataset


@pytest.fixture(scope="module")
def collection() -> Collection:
    dataset = load_dataset("cranfield")
    documents = [record.document for record in read_documents(dataset.corpus)]
    return Collection(
        {d.id: {"title": d.title, "text": d.text} for d in documents},
        {query.id: query.text for query in dataset.queries},
        {query: dict(judged) for query, judged in dataset.qrels.items()},
        dataset,
    )


@pytest.fixture(scope="module")
def retriever(collection: Collection, tmp_path_factory: pytest.TempPathFactory) -> Retriever:
    made = Retriever.create(tmp_path_factory.mktemp("beir") / "cranfield.idx")
    made.add(record.document for record in read_documents(collection.dataset.corpus))
    made.commit()
    return made


def test_figures_are_those_of_our_own_evaluation(
    collection: Collection, retriever: Retriever
) -> None:
    evaluator = EvaluateRetrieval(SparseretSearch(), k_values=[10, 100, 1000])
    results = evaluator.retrieve(collection.corpus, collection.queries)
    ndcg, mean, recall, _ = evaluator.evaluate(
        collection.qrels, results, evaluator.k_values, ignore_identical_ids=False
    )
    ours = evaluate(
        retriever, collection.dataset, measures=["nDCG@10", "Recall@100", "AP@1000"]
    ).scores.mean
    assert ndcg["NDCG@10"] == pytest.approx(ours["nDCG@10"], abs=1e-5)
    assert recall["Recall@100"] == pytest.approx(ours["Recall@100"], abs=1e-5)
    assert mean["MAP@1000"] == pytest.approx(ours["AP@1000"], abs=1e-5)
    assert max(map(len, results.values())) == 1000


def test_an_index_that_is_there(collection: Collection, retriever: Retriever) -> None:
    asked = dict(list(collection.queries.items())[:20])
    search = SparseretSearch(index=retriever)
    found = search.search(collection.corpus, asked, 10, "dot")
    assert found == SparseretSearch().search(collection.corpus, asked, 10, "dot")
    for query, text in asked.items():
        scores = list(found[query].values())
        assert sorted(set(scores), reverse=True) == scores
        results = retriever.search(text, 10)
        assert [r.id for r in results] == list(found[query])
        assert [r.score for r in results] == pytest.approx(scores, rel=1e-6)
    with pytest.raises(ConfigurationError, match="1399"):
        search.search(dict(list(collection.corpus.items())[1:]), asked, 10)


def test_encoding_first_and_searching_later(collection: Collection, tmp_path: Path) -> None:
    asked = dict(list(collection.queries.items())[:20])
    evaluator = EvaluateRetrieval(SparseretSearch(), k_values=[5])
    found = evaluator.encode_and_retrieve(
        collection.corpus, asked, encode_output_path=str(tmp_path / "made")
    )
    assert found == evaluator.retrieve(collection.corpus, asked)
    again = evaluator.encode_and_retrieve({}, asked, encode_output_path=str(tmp_path / "made"))
    assert again == found
    search = SparseretSearch()
    with pytest.raises(ConfigurationError, match="overwritten"):
        search.encode(collection.corpus, asked, str(tmp_path / "made"), overwrite=True)
    with pytest.raises(DatasetError, match="2 files"):
        search.search_from_files(str(tmp_path / "made" / "queries.pkl"), ["a", "b"], 5)
    (tmp_path / "bad.pkl").write_bytes(b"\x80\x04N.")
    with pytest.raises(DatasetError, match="no queries"):
        search.search_from_files(str(tmp_path / "bad.pkl"), [str(tmp_path / "made")], 5)


def test_queries_that_are_documents() -> None:
    corpus: dict[str, Any] = {f"d{i}": {"text": f"wing {'lift ' * i}"} for i in range(4)}
    asked = {"d3": "lift wing", "q": "lift wing", "none": "xylophone"}
    plain = SparseretSearch().search(corpus, asked, 2)
    dropped = SparseretSearch(drop_self=True).search(corpus, asked, 2)
    assert "d3" in plain["d3"]
    assert "d3" not in dropped["d3"]
    assert len(dropped["d3"]) == len(plain["d3"]) == 2
    assert dropped["q"] == plain["q"]
    assert dropped["none"] == {}
