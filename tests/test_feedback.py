"""Relevance feedback: Rocchio's formula by hand, on every kind of encoder, and what it is worth."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from sparseret import Document, Retriever, read_documents
from sparseret.errors import ConfigurationError, DocumentError
from sparseret.feedback import Feedback, Row, rocchio
from sparseret.protocols import TermWeights

NOTES = [
    Document("wing", "lift of a wing", "", {"year": 1958}),
    Document("wing2", "lift and drag of a swept wing", "", {"year": 1960}),
    Document("heat", "heat transfer in a laminar layer", "", {"year": 1961}),
    Document("heat2", "laminar flow and heat", "", {"year": 1970}),
    Document("both", "heat on a wing", "", {"year": 1970}),
    Document("none", ""),
]


class Table:
    """An encoder whose texts are numbers: the columns and their weights."""

    name = "table"
    options: dict[str, Any] = {}  # noqa: RUF012
    description = "table"
    dim = 4
    space = "table"

    def __init__(self, *, signed: bool) -> None:
        self.signed = signed

    def encode_documents(self, documents: Any, *, show_progress: bool = False) -> Any:
        return self.encode_queries([document.text for document in documents])

    def encode_queries(self, queries: Sequence[str], *, show_progress: bool = False) -> Any:
        rows = [[float(number) for number in query.split()] or [0.0] * 4 for query in queries]
        return csr_array(np.array(rows, np.float32))

    def term(self, column: int) -> str:
        return "abcd"[column]

    def save(self, path: str | Path) -> None:
        raise NotImplementedError


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Retriever]:
    with Retriever.create(tmp_path / "notes.idx", filter_fields=["year"]) as retriever:
        retriever.add(NOTES)
        retriever.commit()
        yield retriever


def ids(results: Sequence[Any]) -> list[str]:
    return [result.id for result in results]


def row(*weights: float) -> Row:
    columns = np.flatnonzero(weights).astype(np.int32)
    return Row(columns, np.array(weights, np.float32)[columns])


# --- the formula --------------------------------------------------------------------------------


def test_rocchio_by_hand() -> None:
    feedback = Feedback(["1", "2"], ["3"], alpha=2, beta=0.5, gamma=1)
    liked, unliked = [row(0, 5, 0, 0), row(0, 0, 3, 4)], [row(0, 1, 0, 0)]
    # 2 (0.6, 0.8, 0, 0) + (0, 0.25, 0, 0) + (0, 0, 0.15, 0.2) - (0, 1, 0, 0)
    made = rocchio(row(3, 4, 0, 0), liked, unliked, feedback, dim=4, signed=True)
    np.testing.assert_allclose(made.toarray(), [[1.2, 0.85, 0.15, 0.2]], rtol=1e-6)
    feedback = Feedback(["1", "2"], ["3"], gamma=1)
    made = rocchio(None, liked, unliked, feedback, dim=4, signed=True)
    np.testing.assert_allclose(made.toarray(), [[0, 0.375 - 1, 0.225, 0.3]], rtol=1e-6)
    made = rocchio(None, liked, unliked, feedback, dim=None, signed=False)
    assert made.shape == (1, 4)
    np.testing.assert_allclose(made.toarray(), [[0, 0, 0.225, 0.3]], rtol=1e-6)
    nothing = rocchio(None, [row(0, 0, 0, 0)], [], Feedback(["1"]), dim=None, signed=False)
    assert (nothing.shape, nothing.nnz) == ((1, 1), 0)


@pytest.mark.parametrize("signed", [False, True])
def test_search_is_by_the_vector_of_the_formula(signed: bool, tmp_path: Path) -> None:
    texts = ["1 0 2 0", "0 1 1 0", "0 0 1 3", "2 2 0 1", "0 3 0 0"]
    if signed:
        texts[1:3] = ["0 1 -1 0", "0 0 1 -3"]
    vectors = np.array([[float(x) for x in text.split()] for text in texts])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    query = 0.5 * np.array([0, 0, 0.6, 0.8]) + 2 * (unit[0] + unit[2]) / 2 - 0.7 * unit[4]
    if not signed:
        query = np.maximum(query, 0)
    with Retriever.create(tmp_path / "i", Table(signed=signed)) as retriever:
        retriever.add(Document(str(i), text) for i, text in enumerate(texts))
        retriever.commit()
        options: Any = {"like": ["0", "2"], "unlike": ["4"], "alpha": 0.5, "beta": 2, "gamma": 0.7}
        found = retriever.search("0 0 3 4", **options)
        scores = vectors @ query
        assert ids(found) == [str(i) for i in np.argsort(-scores) if i in (1, 3)]
        for result in found:
            assert result.score == pytest.approx(scores[int(result.id)], rel=1e-5)
            explanation = retriever.explain("0 0 3 4", result.id, **options)
            assert explanation.score == result.score
            assert [t.term in "abcd" for t in explanation.terms]


# --- searching ----------------------------------------------------------------------------------


def test_documents_like_others(notes: Retriever) -> None:
    assert ids(notes.search(like=["wing"])) == ["wing2", "both"]
    assert ids(notes.search(like=["heat"])) == ["heat2", "both"]
    assert set(ids(notes.search(like=["wing", "heat"]))) == {"wing2", "heat2", "both"}
    assert ids(notes.search("drag", like=["heat"], alpha=9))[0] == "wing2"
    assert ids(notes.search("drag", like=["heat"], alpha=0)) == ["heat2", "both"]
    assert ids(notes.search(like=["wing", "wing"])) == ids(notes.search(like=["wing"]))
    assert notes.search(like=["none"]) == []
    assert ids(notes.search("heat", like=["none"])) == ids(notes.search("heat"))


def test_documents_unlike_others(notes: Retriever) -> None:
    assert set(ids(notes.search("wing heat"))) == {"wing", "wing2", "heat", "heat2", "both"}
    found = ids(notes.search("wing heat", unlike=["heat"], gamma=5))
    assert found == ids(notes.search("wing", k=9))
    assert ids(notes.search(like=["both"], unlike=["heat"], gamma=9)) == ["wing", "wing2"]


def test_judged_documents_are_no_results_and_cost_no_places(notes: Retriever) -> None:
    every = ids(notes.search(like=["both"]))
    assert sorted(every) == ["heat", "heat2", "wing", "wing2"]
    for k in (1, 2, 3):
        assert ids(notes.search(like=["both"], k=k)) == every[:k]
    assert ids(notes.search(like=["both"], filter="year >= 1961")) == [
        id for id in every if id.startswith("heat")
    ]
    assert ids(notes.search(like=["both"], recall=0.9)) == every


def test_weights_of_bm25_are_those_of_queries(notes: Retriever) -> None:
    """A liked document counts as its words would as a query, saturated as they are stored."""
    encoder = notes.current_encoder
    assert isinstance(encoder, TermWeights)
    liked = notes.explain("lift of a wing", "wing")
    found = notes.explain(None, "wing2", like=["wing"])
    weights = {t.term: t.query_weight * t.document_weight for t in liked.terms}
    length = np.sqrt(sum(weight**2 for weight in weights.values()))
    for term in found.terms:
        assert term.query_weight == pytest.approx(0.75 * weights[term.term] / length, rel=1e-5)
    assert {term.term for term in found.terms} == {"lift", "wing"}


def test_feedback_follows_the_collection(notes: Retriever) -> None:
    notes.add([Document("wing3", "wing lift")])
    notes.delete(["wing2"])
    notes.commit()
    assert ids(notes.search(like=["wing"])) == ["wing3", "both"]
    with pytest.raises(DocumentError, match="no document with id 'wing2'"):
        notes.search(like=["wing2"])


def test_bad_input(notes: Retriever) -> None:
    anything: Any
    with pytest.raises(DocumentError, match="no document with id 'x'"):
        notes.search("wing", like=["wing", "x"])
    with pytest.raises(DocumentError, match="no document with id 'x'"):
        notes.explain("wing", "wing", unlike=["x"])
    with pytest.raises(ConfigurationError, match="unlike alone says nothing"):
        notes.search(unlike=["wing"])
    with pytest.raises(ConfigurationError, match="give ids in like"):
        notes.search()
    with pytest.raises(ConfigurationError, match="'wing' cannot be both liked and unliked"):
        notes.search(like=["wing"], unlike=["heat", "wing"])
    for anything in ("wing", [1], [None]):
        with pytest.raises(ConfigurationError, match="like must be a list of ids"):
            notes.search("wing", like=anything)
    for anything in (-1, float("nan"), float("inf"), "1", True):
        with pytest.raises(ConfigurationError, match="beta must be a number from 0"):
            notes.search(like=["wing"], beta=anything)
    for anything in (0, 1.5):
        with pytest.raises(ConfigurationError, match="k must be a whole number"):
            notes.search(like=["wing"], k=anything)


def test_command(notes: Retriever, run: Callable[..., Any]) -> None:
    notes.close()
    made = run("search", notes.path, "--like", "wing", "--like", "heat", "--unlike", "heat2")
    assert {json.loads(line)["id"] for line in made.out.splitlines()} == {"both", "wing2"}
    table = run("search", notes.path, "drag", "--like", "wing", "--explain", terminal=True)
    assert table.status == 0
    assert "drag" in table.out
    assert run("search", notes.path, "--like", "x").err.startswith("error: no document with id 'x'")
    for wrong in (
        [],
        ["--unlike", "wing"],
        ["wing", "--queries", "q.txt"],
        ["--like", "wing", "--queries", "q.txt"],
        ["--unlike", "wing", "--queries", "q.txt"],
    ):
        assert run("search", notes.path, *wrong).status == 2


# --- what it is worth ---------------------------------------------------------------------------


def test_three_relevant_documents_find_the_others_better_than_the_query(
    cranfield: Path, tmp_path: Path
) -> None:
    from scipy.stats import ttest_rel

    from sparseret.eval.datasets import load_dataset
    from sparseret.eval.measures import measure
    from sparseret.eval.runs import RankedDocument

    dataset = load_dataset(cranfield)
    runs: dict[str, Any] = {"query": {}, "feedback": {}}
    unseen = {}
    with Retriever.create(tmp_path / "cranfield.idx") as retriever:
        retriever.add(record.document for record in read_documents(dataset.corpus))
        retriever.commit()
        for query in dataset.queries:
            judged = dataset.qrels[query.id]
            like = [id for id, grade in judged.items() if grade > 0][:3]
            rest = {id: grade for id, grade in judged.items() if id not in like}
            if not any(grade > 0 for grade in rest.values()):
                continue
            unseen[query.id] = rest
            plain = [r for r in retriever.search(query.text, k=103) if r.id not in like][:100]
            found = retriever.search(query.text, k=100, like=like)
            for name, results in (("query", plain), ("feedback", found)):
                runs[name][query.id] = [RankedDocument(r.id, r.score) for r in results]
    scores = {name: measure(made, unseen, ["nDCG@10", "R@100"]) for name, made in runs.items()}
    assert len(unseen) > 150
    gain = {m: scores["feedback"].mean[m] - scores["query"].mean[m] for m in ("nDCG@10", "R@100")}
    assert gain["nDCG@10"] > 0.04
    assert gain["R@100"] > 0.08
    per_query = [
        [scores[name].per_query[id]["nDCG@10"] for id in unseen] for name in ("feedback", "query")
    ]
    assert ttest_rel(*per_query).pvalue < 0.001
