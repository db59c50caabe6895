"""A retrieval task of MTEB, made from the bundled collection, runs our search."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mteb", reason="mteb is not installed (sparseret[mteb])")

import datasets
import mteb
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models import SearchProtocol

from sparseret import Retriever, read_documents
from sparseret.encoders.bm25 import BM25Encoder
from sparseret.errors import ConfigurationError
from sparseret.eval.datasets import load_dataset
from sparseret.eval.evaluate import evaluate
from sparseret.integrations.mteb import SparseretSearchModel


class Cranfield(AbsTaskRetrieval):
    metadata = TaskMetadata(
        name="CranfieldBundled",
        dataset={"path": "sparseret/cranfield", "revision": "1"},
        description="Abstracts on aerodynamics.",
        reference=None,
        type="Retrieval",
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
        date=("1960-01-01", "1967-01-01"),
        domains=["Academic"],
        task_subtypes=[],
        license="not specified",
        annotations_creators="expert-annotated",
        dialect=[],
        sample_creation="found",
        bibtex_citation="",
    )

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        dataset = load_dataset("cranfield")
        rows = [
            {"id": d.id, "title": d.title, "text": d.text}
            for d in (record.document for record in read_documents(dataset.corpus))
        ]
        asked = [{"id": query.id, "text": query.text} for query in dataset.queries]
        split = {
            "corpus": datasets.Dataset.from_list(rows),
            "queries": datasets.Dataset.from_list(asked),
            "relevant_docs": {q: dict(judged) for q, judged in dataset.qrels.items()},
            "top_ranked": None,
        }
        self.dataset = {"default": {"test": split}}
        self.data_loaded = True


@pytest.fixture
def model() -> Iterator[SparseretSearchModel]:
    made = SparseretSearchModel()
    yield made
    made.close()


def test_figures_are_those_of_our_own_evaluation(
    model: SparseretSearchModel, tmp_path: Path
) -> None:
    assert isinstance(model, SearchProtocol)
    cache = mteb.ResultCache(cache_path=tmp_path / "cache")
    done = mteb.evaluate(model, Cranfield(), cache=cache, show_progress_bar=False)
    scores = done.task_results[0].scores["test"][0]
    dataset = load_dataset("cranfield")
    with Retriever.create(tmp_path / "cranfield.idx") as retriever:
        retriever.add(record.document for record in read_documents(dataset.corpus))
        retriever.commit()
        ours = evaluate(
            retriever, dataset, measures=["nDCG@10", "Recall@100", "AP@1000"]
        ).scores.mean
    assert scores["ndcg_at_10"] == pytest.approx(ours["nDCG@10"], abs=1e-5)
    assert scores["main_score"] == scores["ndcg_at_10"]
    assert scores["recall_at_100"] == pytest.approx(ours["Recall@100"], abs=1e-5)
    assert scores["map_at_1000"] == pytest.approx(ours["AP@1000"], abs=1e-5)
    assert done.model_name == "sparseret/bm25"
    again = mteb.evaluate(model, Cranfield(), cache=cache, show_progress_bar=False)
    assert again.task_results[0].get_score() == done.task_results[0].get_score()


def corpus(**texts: str) -> Any:
    return datasets.Dataset.from_list([{"id": id, "text": text} for id, text in texts.items()])


def test_reranking_looks_among_the_candidates(model: SparseretSearchModel) -> None:
    model.index(corpus(a="lift of a wing", b="wing", c="wing lift lift", d="panel"))
    asked = corpus(q="wing lift", r="wing", s="xylophone")
    candidates = {"q": ["b", "d"], "r": ["c", "a"], "s": ["a"]}
    found = model.search(asked, top_k=10, top_ranked=candidates)
    assert {query: set(row) for query, row in found.items()} == {
        "q": {"b"}, "r": {"a", "c"}, "s": set()
    }  # fmt: skip
    assert set(model.search(asked, top_k=1)["q"]) == {"c"}


def test_instructions_are_read(model: SparseretSearchModel) -> None:
    model.index(corpus(a="lift", b="panel"))
    rows = [{"id": "q", "text": "lift", "instruction": "panel"}, {"id": "r", "text": "lift"}]
    found = model.search(datasets.Dataset.from_list(rows), top_k=10)
    assert [set(row) for row in found.values()] == [{"a", "b"}, {"a"}]
    talk = [{"id": "q", "text": [{"role": "user", "content": "lift"}]}]
    with pytest.raises(ConfigurationError, match="conversations"):
        model.search(datasets.Dataset.from_list(talk), top_k=10)


def test_an_index_replaces_the_one_before(model: SparseretSearchModel) -> None:
    with pytest.raises(ConfigurationError, match="index"):
        model.search(corpus(q="lift"), top_k=10)
    model.index(corpus(a="lift"))
    folder = model._index.retriever.path  # type: ignore[union-attr]
    model.index(corpus(b="lift"))
    assert not folder.exists()
    assert set(model.search(corpus(q="lift"), top_k=10)["q"]) == {"b"}


def test_results_of_other_settings_are_kept_apart() -> None:
    models = [
        SparseretSearchModel(),
        SparseretSearchModel(encoder_options={"k1": 0.9}),
        SparseretSearchModel(recall=0.9),
        SparseretSearchModel({"words": "bm25", "more": BM25Encoder(b=0.1)}),
    ]
    metas = [model.mteb_model_meta for model in models]
    assert len({meta.revision for meta in metas}) == 4
    assert metas[0].revision == SparseretSearchModel(BM25Encoder()).mteb_model_meta.revision
    assert [meta.name for meta in metas] == ["sparseret/bm25"] * 3 + ["sparseret/bm25+bm25"]
    assert SparseretSearchModel(name="me/mine").mteb_model_meta.name == "me/mine"
    for wrong in ({"name": "mine"}, {"encoder": "unknown"}, {"encoder_options": {"k9": 1}}):
        with pytest.raises(ConfigurationError):
            SparseretSearchModel(**wrong)
