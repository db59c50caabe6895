"""Searches by vectors that were made elsewhere, of one leg or of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from sparseret import Document, Retriever, field
from sparseret.errors import ConfigurationError, DocumentError, FilterError, VectorError
from sparseret.reranking import Diversity, FullVectors

DOCUMENTS = [
    Document("n1", "lift of a wing in a slipstream", "", {"year": 1954}),
    Document("n2", "heat transfer to a blunt wing", "", {"year": 1958}),
    Document("n3", "flutter of panels", "", {"year": 1961}),
]


class Lengths:
    """A dense encoder of two numbers."""

    name, description, space, metric = "lengths", "lengths (test)", "lengths/1", "ip"
    options: Mapping[str, Any] = {}
    dim = 2

    def encode_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        return self.encode_queries([d if isinstance(d, str) else d.content for d in documents])

    def encode_queries(
        self, queries: Sequence[str], *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        return np.array([[len(q), len(q.split())] for q in queries], np.float32)


@pytest.fixture
def words(tmp_path: Path) -> Retriever:
    with Retriever.create(tmp_path / "words") as retriever:
        retriever.add(DOCUMENTS)
    return Retriever.open(tmp_path / "words")


@pytest.fixture
def both(tmp_path: Path) -> Retriever:
    legs = {"words": "bm25", "lengths": Lengths()}
    retriever = Retriever.create(tmp_path / "both", legs)
    retriever.add(DOCUMENTS)
    retriever.commit()
    return retriever


def encoded(retriever: Retriever, query: str) -> csr_array:
    made = retriever.current_encoder.encode_queries([query])
    assert isinstance(made, csr_array)
    return made


def test_a_vector_finds_what_its_text_finds(words: Retriever) -> None:
    vector = encoded(words, "wings in a flutter")
    assert words.search_vectors(vector) == words.search("wings in a flutter")
    assert words.search_vectors(vector, filter="year > 1960") == words.search(
        "wings in a flutter", filter="year > 1960"
    )
    assert words.search_vectors({"": vector}, k=1) == words.search("wings in a flutter", k=1)
    told = words.explain_vectors(vector, "n2")
    assert told == words.explain("wings in a flutter", "n2")


def test_vectors_of_legs(both: Retriever) -> None:
    query = "heat of wings"
    vectors = {"words": encoded(both, query), "lengths": [13, 3]}
    assert both.search_vectors(vectors) == both.search(query)
    assert both.explain_vectors(vectors, "n1") == both.explain(query, "n1")
    assert both.search_vectors(np.array([13.0, 3.0]), legs=["lengths"]) == both.search(
        query, legs=["lengths"]
    )
    alone = both.search_vectors({"words": vectors["words"]})
    assert alone == both.search(query, legs=["words"])
    with pytest.raises(ConfigurationError, match="one vector is for one leg"):
        both.search_vectors([13, 3])
    with pytest.raises(ConfigurationError, match="names others"):
        both.search_vectors(vectors, legs=["words"])
    with pytest.raises(ConfigurationError, match="no leg 'other'"):
        both.search_vectors({"other": [1]})
    with pytest.raises(ConfigurationError):
        both.search_vectors({})


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ([[1, 2], [3, 4]], "one query vector"),
        ([1, 2, 3], r"expected \(n, 2\)"),
        ([float("nan"), 0], "finite"),
        (["a", "b"], "numbers"),
        ([[1], [1, 2]], "shape"),
        ([], "expected"),
        (None, "expected"),
    ],
)
def test_dense_vectors_that_are_none(both: Retriever, vector: object, message: str) -> None:
    with pytest.raises(VectorError, match=message):
        both.search_vectors({"lengths": vector})  # type: ignore[dict-item]


def test_sparse_vectors_that_are_none(words: Retriever) -> None:
    unknown = csr_array(([1.0], ([0], [10**6])), shape=(1, 2**21))
    with pytest.raises(VectorError, match="none of the"):
        words.search_vectors(unknown)
    with pytest.raises(VectorError, match="negative"):
        words.search_vectors(encoded(words, "wing") * np.float32(-1))
    with pytest.raises(VectorError, match="one query vector"):
        words.search_vectors(csr_array((2, 3), dtype=np.float32))
    with pytest.raises(DocumentError, match="no document"):
        words.explain_vectors(encoded(words, "wing"), "n9")
    assert words.search_vectors(csr_array((1, 3), dtype=np.float32)) == []


def test_a_text_in_place_of_the_vector_of_a_leg(both: Retriever) -> None:
    query = "heat of wings"
    mixed = {"words": query, "lengths": [13, 3]}
    assert both.search_vectors(mixed) == both.search(query)
    assert both.explain_vectors(mixed, "n1") == both.explain(query, "n1")
    assert both.search_vectors({"words": query}) == both.search(query, legs=["words"])


def test_results_of_vectors_are_re_ranked(both: Retriever, words: Retriever) -> None:
    for rerank_depth in (2, 100):
        options: dict[str, Any] = {"rerank": Diversity(0.3), "rerank_depth": rerank_depth}
        vectors = {"words": encoded(both, "wing heat"), "lengths": [9, 2]}
        again = both.search_vectors(vectors, 2, **options)
        assert again == both.search("wing heat", 2, **options)
        assert all(result.reranked for result in again)
    needs_text = FullVectors(Lengths())
    with pytest.raises(ConfigurationError, match="compares with the text"):
        words.search_vectors(encoded(words, "wing"), rerank=needs_text)


def test_documents_of_a_filter(words: Retriever) -> None:
    assert list(words.documents("year < 1960")) == DOCUMENTS[:2]
    assert list(words.documents(~(field("year") < 1960))) == DOCUMENTS[2:]
    assert list(words.documents("year > 2000")) == []
    words.delete(["n1"])
    before = words.documents("year < 1960")
    words.commit()
    assert list(before) == DOCUMENTS[:2]
    assert list(words.documents("year < 1960")) == DOCUMENTS[1:2]
    with pytest.raises(FilterError, match="expected"):
        words.documents("year <")
    with pytest.raises(FilterError, match="must be text"):
        words.documents(3)  # type: ignore[arg-type]


def test_pinned_reads_agree(words: Retriever) -> None:
    pinned = words.pinned()
    words.delete(["n2"])
    words.add([Document("n4", "wing wing")])
    words.commit()
    words.merge()
    assert [r.id for r in words.search("wing")] == ["n4", "n1"]
    assert [r.id for r in pinned.search("wing")] == ["n1", "n2"]
    assert pinned.explain("wing", "n2").score > 0
    assert len(pinned) == 3
