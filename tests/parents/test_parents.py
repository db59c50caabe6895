"""Search chunks, return parents: ranking against all chunks, changes, filters, legs, errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from sparseret import Document, Retriever, field
from sparseret.chunks import Chunking
from sparseret.errors import (
    ConfigurationError,
    CorruptIndexError,
    DocumentError,
    DuplicateIdError,
    FilterError,
    IncompatibleIndexError,
    VectorError,
)
from sparseret.eval.datasets import load_dataset
from sparseret.ingest import ingest
from sparseret.parents import ParentRetriever, open_retriever
from sparseret.protocols import Candidates
from sparseret.readers import read_documents

SMALL = Chunking(6, 2)

TEXTS = {
    "wing": "The lift of a wing grows with its angle. Beyond some angle the wing stalls. " * 3,
    "panel": "Panels flutter in supersonic flow. A wing has panels, too.",
    "a#1": "Heat transfer to a blunt body at hypersonic speed.",
    "a": "Slipstream of a propeller, and lift of the wing behind it. " * 2,
    "empty": "",
}


def documents() -> list[Document]:
    return [
        Document(id, text, f"Title of {id}", {"year": 1950 + n, "tags": [id], "deep": {"n": n}})
        for n, (id, text) in enumerate(TEXTS.items())
    ]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[ParentRetriever]:
    with ParentRetriever.create(tmp_path / "p.idx", chunking=SMALL) as parents:
        parents.add(documents())
        parents.commit()
        yield parents


def ids(results: Any) -> list[str]:
    return [result.id for result in results]


def test_parents_come_back_whole(small: ParentRetriever) -> None:
    assert len(small) == len(TEXTS)
    assert list(small.documents()) == documents()
    for document in documents():
        assert small.document(document.id) == document
    assert small.document("a#0") is None
    assert small.document("none") is None
    assert len(small.retriever) > len(TEXTS)


def test_results_name_their_best_passages(small: ParentRetriever) -> None:
    results = small.search("wing stalls", passages=3)
    best = results[0]
    assert best.id == "wing"
    assert best.text == TEXTS["wing"]
    assert best.metadata == {"year": 1950, "tags": ["wing"], "deep": {"n": 0}}
    assert len(best.passages) == 3
    assert best.score == best.passages[0].score
    for passage in best.passages:
        assert best.text[passage.start : passage.end] == passage.text
        chunk = small.retriever.document(passage.id)
        assert chunk is not None
        assert chunk.text == passage.text
        explained = small.retriever.explain("wing stalls", passage.id)
        assert explained.score == passage.score
    scores = [passage.score for passage in best.passages]
    assert scores == sorted(scores, reverse=True)


def brute_force(
    parents: ParentRetriever, query: str, k: int, summed: int
) -> list[tuple[str, np.float32]]:
    """Over all chunks that match."""
    hits = parents.retriever.search(query, k=10**6)
    scores: dict[str, list[float]] = {}
    for hit in hits:
        scores.setdefault(hit.metadata["_chunk"]["parent"], []).append(hit.score)
    totals = {
        id: np.float32(of[0] + sum(max(0.0, s) for s in of[1:summed])) for id, of in scores.items()
    }
    return sorted(totals.items(), key=lambda pair: -pair[1])[:k]


@pytest.fixture(scope="module")
def cranfield_parents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ParentRetriever]:
    folder = tmp_path_factory.mktemp("parents") / "c.idx"
    with ParentRetriever.create(folder, chunking=Chunking(40, 10)) as parents:
        parents.add(record.document for record in read_documents(load_dataset("cranfield").corpus))
        parents.commit()
        yield parents


@pytest.mark.parametrize("summed", [1, 3])
def test_ranking_is_that_of_all_chunks(cranfield_parents: ParentRetriever, summed: int) -> None:
    queries = [q.text for q in load_dataset("cranfield").queries[::25]]
    batch = cranfield_parents.search_batch(queries, k=7, summed=summed)
    hits = cranfield_parents.retrieve(queries, k=7, summed=summed)
    for query, results, found, scores in zip(queries, batch, hits.ids, hits.scores, strict=True):
        expected = brute_force(cranfield_parents, query, 7, summed)
        assert ids(results) == [id for id, _ in expected] == found
        assert scores.tolist() == [float(score) for _, score in expected]
        assert [r.score for r in results] == scores.tolist()
        assert results == cranfield_parents.search(query, 7, summed=summed)


def test_every_document_can_be_found(cranfield_parents: ParentRetriever) -> None:
    everything = cranfield_parents.retrieve(["flow wing heat pressure theory"], k=5000).ids[0]
    assert len(everything) == len(set(everything)) > 900
    assert len(cranfield_parents) == 1400
    first = next(read_documents(load_dataset("cranfield").corpus)).document
    assert next(cranfield_parents.documents()) == first


def test_nothing_found(small: ParentRetriever) -> None:
    assert small.search("unheard-of") == []
    assert small.search("") == []
    assert small.search_batch([]) == []
    assert small.retrieve(["unheard-of", "wing"]).ids[0] == []


def test_ties_come_in_insertion_order(tmp_path: Path) -> None:
    with ParentRetriever.create(tmp_path / "t.idx", chunking=Chunking(2, 0)) as parents:
        parents.add([Document(str(n), "same words same words") for n in range(50)])
        parents.commit()
        for summed in (1, 2):
            assert ids(parents.search("words", 7, summed=summed)) == [str(n) for n in range(7)]


def test_filters_are_those_of_documents(small: ParentRetriever) -> None:
    assert ids(small.search("wing", filter="year >= 1951 and deep.n < 3")) == ["panel"]
    assert ids(small.search("wing", filter='_id = "a"')) == ["a"]
    assert ids(small.search("heat", filter='_id = "a"')) == []
    assert set(ids(small.search("wing", filter='not _id in ["a", "panel"]'))) == {"wing"}
    assert ids(small.search("wing", filter=(field("_id") == "a") | (field("year") == 1951))) == ids(
        small.search("wing", filter='_id contains "a" and title != "Title of wing"')
    )
    with pytest.raises(FilterError):
        small.search("wing", filter="year >=")
    with pytest.raises(FilterError):
        small.search("wing", filter=3)  # type: ignore[arg-type]


def test_filter_fields_may_name_the_id(tmp_path: Path) -> None:
    path = tmp_path / "f.idx"
    with ParentRetriever.create(path, filter_fields=["_id", "year"]) as parents:
        parents.add(documents())
        parents.commit()
        assert ids(parents.search("wing", filter='_id = "wing" and year = 1950')) == ["wing"]


def test_update_leaves_no_old_chunk(small: ParentRetriever) -> None:
    before = len(small.retriever)
    small.update([Document("wing", "Short now."), Document("new", "A new wing.")])
    assert small.document("wing") == documents()[0]  # nothing is visible yet
    small.commit()
    assert small.document("wing") == Document("wing", "Short now.")
    assert "wing" not in ids(small.search("stalls angle"))
    assert ids(small.search("short")) == ["wing"]
    assert len(small.retriever) < before
    assert len(small) == len(TEXTS) + 1
    small.update([Document("wing", TEXTS["wing"]), Document("wing", TEXTS["wing"] * 2)])
    small.update([Document("wing", "Last one wins.")])
    small.commit()
    assert small.document("wing") == Document("wing", "Last one wins.")
    assert sum(c.id.startswith("wing#") for c in small.retriever.documents()) == 1


def test_delete_takes_all_chunks(small: ParentRetriever) -> None:
    assert small.delete(["wing", "wing", "none", "a#0"]) == 1
    small.add([Document("later", "one two three four five six seven eight nine")])
    assert small.delete(["later"]) == 1  # before it was ever committed
    small.commit()
    assert len(small) == len(TEXTS) - 1
    assert small.document("a#1") is not None
    assert {c.metadata["_chunk"]["parent"] for c in small.retriever.documents()} == set(TEXTS) - {
        "wing"
    }
    with pytest.raises(ConfigurationError):
        small.delete("wing")


def test_duplicates_and_rollback(small: ParentRetriever) -> None:
    with pytest.raises(DuplicateIdError, match="'wing' is in the index") as caught:
        small.add([Document("fresh", "x"), Document("wing", "y")])
    assert caught.value.id == "wing"
    with pytest.raises(DuplicateIdError, match="'twice'"):
        small.add([Document("twice", "x"), Document("twice", "y")])
    small.rollback()
    small.delete(["wing"])
    small.rollback()
    small.commit()
    assert list(small.documents()) == documents()


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (Document("", "x"), DocumentError),
        (Document(" ", "x"), DocumentError),
        (Document("line\nbreak", "x"), DocumentError),
        (Document("1", "x", "", {"_chunk": 1}), DocumentError),
        (Document("1", "x", "", {"number": float("nan")}), DocumentError),
        ("text", DocumentError),
    ],
)
def test_bad_documents_change_nothing(
    small: ParentRetriever, document: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        small.add([document])
    small.commit()
    assert list(small.documents()) == documents()


class Failing:
    """Dense vectors of the letters of a text, until it says stop."""

    name, metric, dim, space = "letters", "cosine", 26, "letters/1"
    description = "counts of letters"
    options: ClassVar[dict[str, Any]] = {}

    def encode_documents(
        self, documents: Any, *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        return self._rows([d if isinstance(d, str) else d.content for d in documents])

    def encode_queries(self, queries: Any, *, show_progress: bool = False) -> NDArray[np.float32]:
        return self._rows(queries)

    def _rows(self, texts: Any) -> NDArray[np.float32]:
        if any("STOP" in text for text in texts):
            raise VectorError("stopped")
        rows = np.zeros((len(texts), 26), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for letter in text.lower():
                if "a" <= letter <= "z":
                    row[ord(letter) - 97] += 1
        return rows


def test_a_giant_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with ParentRetriever.create(tmp_path / "g.idx", Failing(), chunking=Chunking(1, 0)) as parents:
        parents.add([Document("small", "one")])
        parents.commit()
        giant = "word " * 1500 + "STOP"
        parents.add([Document("lost with it", "two")])
        with pytest.raises(VectorError):
            parents.add([Document("giant", giant)])
        parents.commit()
        assert [d.id for d in parents.documents()] == ["small"]
        parents.add([Document("giant", giant[:-4]), Document("next", "three")])
        parents.commit()
        assert parents.document("giant") == Document("giant", giant[:-4])
        with pytest.raises(DuplicateIdError, match="'giant'"):
            parents.add([Document("giant", giant)])
        assert len(parents) == 3


def test_legs_feedback_and_rerankers(tmp_path: Path) -> None:
    class Reversed:
        name, description = "reversed", "the worst first"

        def rescore(self, candidates: Candidates) -> Iterator[NDArray[Any]]:
            yield -candidates.scores

    encoders: dict[str, Any] = {"words": "bm25", "letters": Failing()}
    with ParentRetriever.create(tmp_path / "h.idx", encoders, chunking=SMALL) as parents:
        parents.add(documents())
        parents.commit()
        best = parents.search("wing stalls", 3)[0]
        assert best.id == "wing"
        assert set(best.passages[0].shares) == {"words", "letters"}
        assert sum(best.passages[0].shares.values()) == pytest.approx(best.score, abs=1e-6)
        assert ids(parents.search("heat", legs=["words"])) == ["a#1"]
        alike = parents.search(like=["a#1"], unlike=["panel"], legs=["letters"])
        assert {"a#1", "panel"}.isdisjoint(ids(alike))
        assert set(ids(alike)) == {"wing", "a", "empty"}
        with pytest.raises(DocumentError, match="'a#0'"):
            parents.search(like=["a#0"])
        turned = parents.search("wing", 3, rerank=Reversed(), legs=["words"])
        assert turned[0].passages[0].reranked
        assert turned[0].passages[0].first_stage_score == -turned[0].score
        batch = parents.search_batch(["wing"], 3, rerank=Reversed(), legs=["words"])
        assert batch == [turned]


def test_the_chunking_is_recorded(small: ParentRetriever, tmp_path: Path) -> None:
    with ParentRetriever.open(small.path) as again:
        assert again.chunking == SMALL
        assert "chunks of 6 words" in again.description
    with ParentRetriever.open(small.path, chunking=SMALL):
        pass
    with pytest.raises(IncompatibleIndexError, match="chunks of 6 words"):
        ParentRetriever.open(small.path, chunking=Chunking(7, 2))
    with Retriever.create(tmp_path / "plain.idx") as plain:
        plain.add([Document("1", "x")])
    with pytest.raises(IncompatibleIndexError, match="whole documents"):
        ParentRetriever.open(tmp_path / "plain.idx")
    with open_retriever(tmp_path / "plain.idx") as opened:
        assert isinstance(opened, Retriever)


@pytest.mark.parametrize("foreign", ["foreign", "foreign#0", "#0"])
def test_what_is_no_chunk_is_noticed(small: ParentRetriever, foreign: str) -> None:
    small.retriever.add([Document(foreign, "An unheard wing")])
    small.commit()
    with pytest.raises(CorruptIndexError, match="is no chunk"):
        small.search("unheard")


def test_a_lost_chunk_is_noticed(small: ParentRetriever) -> None:
    small.retriever.delete(["wing#1"])
    small.commit()
    for reading in (lambda: small.document("wing"), lambda: small.search("stalls")):
        with pytest.raises(CorruptIndexError, match="'wing'"):
            reading()


def test_arguments_are_checked(small: ParentRetriever) -> None:
    for wrong in ({"k": 0}, {"passages": 0}, {"summed": 0}, {"k": 1.5}):
        with pytest.raises(ConfigurationError):
            small.search("wing", **wrong)
    with pytest.raises(ConfigurationError):
        small.search()
    with pytest.raises(ConfigurationError):
        small.search_batch("wing")  # type: ignore[arg-type]


def test_snapshots_and_context(tmp_path: Path) -> None:
    path = tmp_path / "s.idx"
    with ParentRetriever.create(path, chunking=SMALL) as writer:
        writer.add(documents())
    reader = ParentRetriever.open(path)
    with ParentRetriever.open(path) as writer:
        writer.delete(["wing"])
        writer.commit()
        writer.merge()
        assert len(reader) == len(TEXTS)
        assert reader.search("stalls")[0].text == TEXTS["wing"]
        reader.refresh()
        assert reader.search("stalls") == []
        assert len(reader) == len(TEXTS) - 1
        with pytest.raises(RuntimeError), writer:
            writer.delete(["a"])
            raise RuntimeError
    reader.refresh()
    assert reader.document("a") is not None
    reader.close()


def test_ingest(tmp_path: Path, cranfield: Path) -> None:
    with ParentRetriever.create(tmp_path / "i.idx", chunking=Chunking(50, 10)) as parents:
        report = ingest(parents, cranfield)
        assert report.added == len(parents) == 1400
        assert ingest(parents, cranfield).complete_before
