"""Evaluators of sentence-transformers over an index find what they find over the model itself."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip(
    "sentence_transformers",
    minversion="6",
    reason="sentence-transformers 6 is not installed (sparseret[sentence-transformers])",
)

from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.evaluation import SparseInformationRetrievalEvaluator

from sparseret import Document, Retriever, read_documents
from sparseret.encoders.splade import SpladeEncoder
from sparseret.errors import ConfigurationError
from sparseret.eval.datasets import load_dataset
from sparseret.integrations.sentence_transformers import (
    IndexInformationRetrievalEvaluator,
    IndexNanoBEIREvaluator,
)

N_DOCUMENTS, N_QUERIES = 80, 12


@pytest.fixture(scope="module")
def judged() -> dict[str, Any]:
    """A part of Cranfield as an evaluator takes it."""
    dataset = load_dataset("cranfield")
    documents = [record.document for record in read_documents(dataset.corpus)][:N_DOCUMENTS]
    corpus = {document.id: document.content for document in documents}
    relevant = {
        query: {id for id, label in labels.items() if label > 0 and id in corpus}
        for query, labels in dataset.qrels.items()
    }
    asked = [query for query in dataset.queries if relevant[query.id]][:N_QUERIES]
    return {
        "queries": {query.id: query.text for query in asked},
        "corpus": corpus,
        "relevant_docs": relevant,
        "name": "cranfield",
        "map_at_k": [20],
    }


def bare(figures: dict[str, float], scores: str) -> dict[str, float]:
    """Figures by the names of the measures alone."""
    before = f"cranfield_{scores}_"
    return {k.removeprefix(before): v for k, v in figures.items() if k.startswith(before)}


def test_figures_are_those_over_the_model(
    judged: dict[str, Any], splade_tiny: Path, tmp_path: Path
) -> None:
    theirs = SparseInformationRetrievalEvaluator(**judged, write_csv=False)
    model = SparseEncoder(str(splade_tiny), device="cpu")
    model.max_seq_length = 256
    expected = bare(theirs(model), "dot")
    evaluator = IndexInformationRetrievalEvaluator(**judged)
    found = evaluator(SpladeEncoder(splade_tiny, max_length=256), output_path=str(tmp_path))
    assert bare(found, "index") == pytest.approx(expected, abs=1e-9)
    assert len(expected) == 15
    assert evaluator.primary_metric == "cranfield_index_ndcg@10"
    assert expected["ndcg@10"] > 0.4
    (file,) = tmp_path.glob("*.csv")
    (row,) = csv.DictReader(file.open())
    assert float(row["index-NDCG@10"]) == found["cranfield_index_ndcg@10"]


def test_an_encoder_by_name_or_an_index(judged: dict[str, Any], tmp_path: Path) -> None:
    evaluator = IndexInformationRetrievalEvaluator(**judged, write_csv=False)
    named = evaluator("bm25")
    with Retriever.create(tmp_path / "a.idx") as retriever:
        retriever.add(Document(id, text) for id, text in judged["corpus"].items())
        retriever.commit()
        assert evaluator(retriever) == named
        retriever.add([Document("new", "wing")])
        retriever.commit()
        with pytest.raises(ConfigurationError, match="81"):
            evaluator(retriever)
    assert evaluator({"words": "bm25"}) == named
    with pytest.raises(ConfigurationError, match="object"):
        evaluator(object())


def test_what_is_for_models(judged: dict[str, Any]) -> None:
    for wrong in ({"truncate_dim": 8}, {"query_prompt": "q: "}, {"write_predictions": True}):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            IndexInformationRetrievalEvaluator(**judged, **wrong)


def test_nano_beir(judged: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(self: object, subset: str, split: str, required_columns: list[str]) -> list[Any]:
        texts = {"corpus": judged["corpus"], "queries": judged["queries"]}
        if subset in texts:
            return [{"_id": id, "text": text} for id, text in texts[subset].items()]
        return [
            {"query-id": query, "corpus-id": sorted(ids)}
            for query, ids in judged["relevant_docs"].items()
            if query in judged["queries"]
        ]

    monkeypatch.setattr(IndexNanoBEIREvaluator, "_load_dataset_subset_split", rows)
    evaluator = IndexNanoBEIREvaluator(["nfcorpus", "scifact"], write_csv=False, map_at_k=[20])
    found = evaluator("bm25")
    alone = IndexInformationRetrievalEvaluator(**judged, write_csv=False)("bm25")
    for name in ("NanoNFCorpus", "NanoSciFact", "NanoBEIR_mean"):
        assert found[f"{name}_index_ndcg@10"] == alone["cranfield_index_ndcg@10"]
    assert evaluator.primary_metric == "NanoBEIR_mean_index_ndcg@10"
