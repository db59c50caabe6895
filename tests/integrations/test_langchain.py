"""LangChain's own suites over stores of embeddings, and of embeddings and words; and what they do
not ask: stores without embeddings, filters, vectors, relevance, failures.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain_core", reason="no LangChain (sparseret[langchain])")
pytest.importorskip("langchain_tests", reason="no suites (sparseret[test-integrations])")

from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_tests.integration_tests import (
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)

from sparseret import Document, Retriever, field
from sparseret.errors import (
    ConfigurationError,
    DocumentError,
    FilterError,
    IncompatibleIndexError,
    IndexExistsError,
)
from sparseret.indexers.fusion import Convex, ReciprocalRank
from sparseret.integrations.filter_dicts import read_filter
from sparseret.integrations.langchain import (
    EmbeddingsEncoder,
    SparseretRetriever,
    SparseretVectorStore,
)

REPORTS = [
    LangChainDocument("Lift of a wing in a slipstream.", id="n1",
                      metadata={"title": "Wings", "year": 1954, "lang": "en"}),
    LangChainDocument("Heat transfer to a blunt wing.", id="n2",
                      metadata={"title": "Heat", "year": 1958, "tags": ["heat", "wing"]}),
    LangChainDocument("Flutter of panels in supersonic flow.", id="n3",
                      metadata={"year": 1961, "lang": "de", "author": {"name": "Ann"}}),
]  # fmt: skip


class Letters(Embeddings):
    """Counts of letters; notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        self.asked.append(text)
        return [float(text.lower().count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz"]


def contents(documents: list[LangChainDocument]) -> list[str | None]:
    return [document.id for document in documents]


class TestEmbeddings(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> SparseretVectorStore:
        return SparseretVectorStore.create(
            tmp_path / "store.idx", None, embedding=self.get_embeddings()
        )


class TestEmbeddingsAndWords(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> SparseretVectorStore:
        return SparseretVectorStore.create(tmp_path / "store.idx", embedding=self.get_embeddings())


class TestRetriever(RetrieversIntegrationTests):
    folder: Path

    @pytest.fixture(autouse=True)
    def _index(self, tmp_path: Path) -> None:
        type(self).folder = tmp_path / "reports.idx"
        with Retriever.create(self.folder) as made:
            made.add(Document(str(i), "a wing " * (i + 1)) for i in range(5))

    @property
    def retriever_constructor(self) -> type[SparseretRetriever]:
        return SparseretRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"path": self.folder}

    @property
    def retriever_query_example(self) -> str:
        return "wing"


@pytest.fixture
def words(tmp_path: Path) -> SparseretVectorStore:
    store = SparseretVectorStore.create(tmp_path / "words.idx", filter_fields=["year"])
    store.add_documents(REPORTS)
    return store


@pytest.fixture
def hybrid(tmp_path: Path) -> SparseretVectorStore:
    store = SparseretVectorStore.create(tmp_path / "hybrid.idx", embedding=Letters())
    store.add_documents(REPORTS)
    return store


# --- a store without embeddings -----------------------------------------------------------------


def test_words_find_what_shares_one(words: SparseretVectorStore) -> None:
    assert words.embeddings is None
    found = words.similarity_search("wings", k=10)
    assert found == [REPORTS[0], REPORTS[1]]
    scored = words.similarity_search_with_score("wings", k=10)
    assert [score for _, score in scored] == [r.score for r in words.retriever.search("wings")]
    assert words.similarity_search("xylophone") == []


def test_words_have_no_vectors_and_no_relevance(words: SparseretVectorStore) -> None:
    with pytest.raises(ConfigurationError, match="no embeddings"):
        words.similarity_search_by_vector([1.0])
    with pytest.raises(ConfigurationError, match="no upper bound"):
        words.similarity_search_with_relevance_scores("wing")


def test_learned_weights(tmp_path: Path) -> None:
    store = SparseretVectorStore.from_texts(
        ["a wing", "a panel"], path=tmp_path / "sdr.idx", encoder="sdr", ids=["1", "2"]
    )
    assert contents(store.similarity_search("wing", k=1)) == ["1"]


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ("year >= 1958", ["n2", "n3"]),
        (field("year") < 1958, ["n1"]),
        ({}, ["n1", "n2", "n3"]),
        ({"lang": "en"}, ["n1"]),
        ({"lang": {"$ne": "en"}}, ["n2", "n3"]),
        ({"year": {"$gte": 1954, "$lt": 1961}}, ["n1", "n2"]),
        ({"year": {"$gt": 1954, "$lte": 1961}, "lang": "de"}, ["n3"]),
        ({"lang": {"$in": ["en", "de"]}}, ["n1", "n3"]),
        ({"lang": {"$nin": ["en"]}}, ["n2", "n3"]),
        ({"tags": {"$contains": "heat"}}, ["n2"]),
        ({"lang": {"$exists": False}}, ["n2"]),
        ({"lang": {"$exists": True}, "title": {"$eq": "Wings"}}, ["n1"]),
        ({"$or": [{"lang": "en"}, {"author.name": "Ann"}]}, ["n1", "n3"]),
        ({"$and": [{"year": {"$gt": 1954}}, {"$not": {"lang": "de"}}]}, ["n2"]),
        ({"$and": [{"lang": "en"}]}, ["n1"]),
    ],
)  # fmt: skip
def test_filters(words: SparseretVectorStore, condition: Any, ids: list[str]) -> None:
    found = words.similarity_search("wing flutter", k=10, filter=condition)
    assert sorted(contents(found), key=str) == ids


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ({"year": {"$near": 1}}, "unknown operator '\\$near'"),
        ({"$nor": []}, "unknown operator '\\$nor'"),
        ({"year": {}}, "expected an operator"),
        ({"year": {"$in": "abc"}}, "takes a list"),
        ({"year": {"$exists": 1}}, "True or False"),
        ({"year": [1954]}, "list"),
        ({"$or": []}, "one filter at least"),
        ({"$or": {"a": 1}}, "takes a list"),
        ({"$not": {}}, "dictionaries"),
        ({1: 2}, "names of fields"),
        ("year >", "expected a value"),
        (print, "a filter must be text"),
    ],
)
def test_filters_that_are_none(condition: Any, problem: str) -> None:
    with pytest.raises(FilterError, match=problem):
        read_filter(condition)


def test_marginal_relevance_leaves_out_what_was_said(words: SparseretVectorStore) -> None:
    words.add_texts(["Lift of a wing in a slipstream."], ids=["again"])
    plain = words.similarity_search("lift of wings", k=2)
    assert set(contents(plain)) == {"n1", "again"}
    diverse = words.max_marginal_relevance_search("lift of wings", k=2, lambda_mult=0.3)
    assert len({*contents(diverse)} & {"n1", "again"}) == 1
    assert "n2" in contents(diverse)


# --- embeddings ---------------------------------------------------------------------------------


def test_hybrid_finds_what_each_leg_finds(hybrid: SparseretVectorStore) -> None:
    assert isinstance(hybrid.embeddings, Letters)
    assert hybrid.retriever.legs == ["bm25", "embedding"]
    assert contents(hybrid.similarity_search("flutter", k=1)) == ["n3"]
    assert len(hybrid.similarity_search("flutter", k=3)) == 3
    assert contents(hybrid.similarity_search("flutter", k=3, legs=["bm25"])) == ["n3"]


def test_search_by_vector_is_that_of_the_dense_leg(hybrid: SparseretVectorStore) -> None:
    assert hybrid.embeddings is not None
    vector = hybrid.embeddings.embed_query("slipstream of a wing")
    by_text = hybrid.similarity_search("slipstream of a wing", k=3, legs=["embedding"])
    assert hybrid.similarity_search_by_vector(vector, k=3) == by_text
    some = hybrid.similarity_search_by_vector(vector, k=3, filter="year > 1954")
    assert contents(some) == [id for id in contents(by_text) if id != "n1"]
    hybrid.add_texts(["Lift of a wing in the slipstream."], ids=["again"])
    diverse = hybrid.max_marginal_relevance_search_by_vector(vector, k=2, lambda_mult=0.2)
    assert len({*contents(diverse)} & {"n1", "again"}) == 1


def test_relevance_is_from_0_to_1(hybrid: SparseretVectorStore) -> None:
    scored = hybrid.similarity_search_with_relevance_scores("wing", k=3)
    assert scored[0][1] > 0.9
    assert all(0 <= score <= 1 for _, score in scored)
    cosines = hybrid.similarity_search_with_relevance_scores("wing", k=3, legs=["embedding"])
    assert [s for _, s in cosines] == pytest.approx(
        [s for _, s in hybrid.similarity_search_with_score("wing", k=3, legs=["embedding"])]
    )
    good = hybrid.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.9}
    )
    assert contents(good.invoke("wing")) == [scored[0][0].id]
    for fusion in (ReciprocalRank(), Convex(normaliser="z-score")):
        with pytest.raises(ConfigurationError, match="no upper bound"):
            hybrid.similarity_search_with_relevance_scores("wing", fusion=fusion)


def test_negative_cosines_have_no_relevance(tmp_path: Path) -> None:
    embedding = DeterministicFakeEmbedding(size=6)
    store = SparseretVectorStore.from_texts(
        [f"text {i}" for i in range(9)], embedding, path=tmp_path / "i", encoder=None
    )
    cosines = [score for _, score in store.similarity_search_with_score("a", k=9)]
    assert min(cosines) < 0
    relevances = [score for _, score in store.similarity_search_with_relevance_scores("a", k=9)]
    assert relevances == [max(0.0, cosine) for cosine in cosines]


def test_stores_are_opened_with_their_embeddings(
    hybrid: SparseretVectorStore, words: SparseretVectorStore
) -> None:
    hybrid.retriever.close()
    words.retriever.close()
    asks = Letters()
    opened = SparseretVectorStore.open(hybrid.retriever.path, embedding=asks)
    assert asks.asked == []  # the width is that of the index
    assert contents(opened.similarity_search("flutter", k=1)) == ["n3"]
    opened.retriever.close()
    with pytest.raises(ConfigurationError, match="give embedding="):
        SparseretVectorStore.open(hybrid.retriever.path)
    with pytest.raises(ConfigurationError, match="no leg of embeddings"):
        SparseretVectorStore.open(words.retriever.path, embedding=asks)
    with pytest.raises(IncompatibleIndexError, match="langchain/Letters"):
        SparseretVectorStore.open(
            hybrid.retriever.path, embedding=EmbeddingsEncoder(asks, model="another")
        )
    with pytest.raises(ConfigurationError, match="Embeddings"):
        SparseretVectorStore.open(hybrid.retriever.path, embedding=len)  # type: ignore[arg-type]
    assert len(SparseretVectorStore.open(words.retriever.path).get_by_ids(["n1", "n2"])) == 2


def test_the_model_of_embeddings_is_remembered() -> None:
    class Named(Letters):
        model = "small"

    assert EmbeddingsEncoder(Named()).space == "langchain/Named/small"
    assert EmbeddingsEncoder(Named(), model="mine").space == "langchain/mine"


def test_empty_texts_are_not_sent(tmp_path: Path) -> None:
    asks = Letters()
    store = SparseretVectorStore.create(tmp_path / "i", None, embedding=asks)
    asks.asked.clear()
    store.add_texts(["", "  ", "wing"], ids=["1", "2", "3"])
    assert store.similarity_search("") == []
    assert contents(store.similarity_search("wing", k=3)) == ["3"]
    assert asks.asked == ["wing", "wing"]
    store.add_texts(["", ""])
    assert len(store.retriever) == 5


def test_a_leg_called_embedding_is_that_of_embeddings(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="rename"):
        SparseretVectorStore.create(tmp_path / "i", {"embedding": "bm25"}, embedding=Letters())
    with pytest.raises(ConfigurationError, match="encoder, or embeddings"):
        SparseretVectorStore.create(tmp_path / "i", None)
    store = SparseretVectorStore.create(
        tmp_path / "i", "bm25", embedding=Letters(), encoder_options={"k1": 0.9}
    )
    assert store.retriever.encoders["bm25"].options["k1"] == 0.9


# --- changes ------------------------------------------------------------------------------------


def test_a_failed_change_leaves_nothing_behind(words: SparseretVectorStore) -> None:
    dated = LangChainDocument("wing", id="n5", metadata={"on": datetime.date(1958, 1, 1)})
    bad = [LangChainDocument("wing", id="n4"), dated]
    with pytest.raises(DocumentError, match="date is not a JSON value"):
        words.add_documents(bad)
    words.add_texts(["a wing"], ids=["n6"])
    assert {d.id for d in words.retriever.documents()} == {"n1", "n2", "n3", "n6"}


def test_changes_of_unequal_lengths(words: SparseretVectorStore, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="1 metadatas for 2 texts"):
        words.add_texts(["a", "b"], [{}])
    with pytest.raises(ConfigurationError, match="1 ids for 2 documents"):
        words.add_texts(["a", "b"], ids=["1"])
    with pytest.raises(ConfigurationError, match="path="):
        SparseretVectorStore.from_texts(["a"])
    with pytest.raises(IndexExistsError):
        SparseretVectorStore.from_texts(["a"], path=words.retriever.path)
    assert words.add_texts(iter(["generated"]), ids=["g"]) == ["g"]
    assert words.add_documents([]) == []


def test_deleting(words: SparseretVectorStore) -> None:
    assert words.delete([])
    assert len(words.retriever) == 3
    with pytest.raises(ConfigurationError, match="filter"):
        words.delete(filter="year > 1")
    assert words.delete(["n1", "unknown"])
    assert contents(words.get_by_ids(["n3", "n1", "n3", "n2"])) == ["n3", "n2"]
    assert words.delete()
    assert len(words.retriever) == 0


def test_other_programs_see_every_change(words: SparseretVectorStore) -> None:
    with Retriever.open(words.retriever.path) as other:
        assert [r.id for r in other.search("wing", filter='title = "Heat"')] == ["n2"]
        assert other.search("heat")[0].title == "Heat"


def test_adding_from_many_tasks(tmp_path: Path) -> None:
    async def add() -> SparseretVectorStore:
        store = await SparseretVectorStore.afrom_texts(["wing 0"], path=tmp_path / "i", ids=["0"])
        await asyncio.gather(*(store.aadd_texts([f"wing {i}"], ids=[str(i)]) for i in range(1, 20)))
        found = await asyncio.gather(*(store.asimilarity_search(f"{i}", k=1) for i in range(20)))
        assert [contents(one) for one in found] == [[str(i)] for i in range(20)]
        return store

    assert len(asyncio.run(add()).retriever) == 20


# --- the retriever ------------------------------------------------------------------------------


def test_retriever_options(words: SparseretVectorStore) -> None:
    made = SparseretRetriever(
        retriever=words.retriever, k=5, filter={"year": {"$lt": 1960}}, score_key="score"
    )
    found = made.invoke("wing")
    assert [d.metadata["score"] for d in found] == [r.score for r in words.retriever.search("wing")]
    assert "score" not in words.similarity_search("wing")[0].metadata
    assert contents(made.invoke("flutter")) == []
    assert contents(made.invoke("flutter", filter="year > 1960")) == ["n3"]
    assert contents(asyncio.run(made.ainvoke("wing", k=1))) == contents(found)[:1]
    assert [contents(one) for one in made.batch(["wing", "heat"])] == [["n1", "n2"], ["n2"]]


def test_retriever_of_an_index_with_titles(tmp_path: Path) -> None:
    with Retriever.create(tmp_path / "i") as made:
        made.add([Document("1", "a wing", "Lift"), Document("2", "a wing", "", {"title": ""})])
    found = SparseretRetriever(path=tmp_path / "i").invoke("wing")
    assert {d.id: d.metadata for d in found} == {"1": {"title": "Lift"}, "2": {"title": ""}}


@pytest.mark.parametrize(
    "options", [{}, {"path": "a", "retriever": "b"}, {"retriever": "b"}, {"path": "a", "kk": 1}]
)
def test_retrievers_that_are_none(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"give path|instance of Retriever|Extra inputs"):
        SparseretRetriever(**options)


def test_retriever_refuses_a_filter_at_once(words: SparseretVectorStore) -> None:
    with pytest.raises(ValueError, match="expected a value"):
        SparseretRetriever(retriever=words.retriever, filter="year >")


def test_a_chain(words: SparseretVectorStore) -> None:
    def join(documents: list[LangChainDocument]) -> str:
        return " ".join(document.page_content for document in documents)

    prompt: Callable[[dict[str, str]], str] = lambda parts: f"{parts['q']}: {parts['context']}"  # noqa: E731
    chain = (
        {"context": words.as_retriever(search_kwargs={"k": 1}) | join, "q": RunnablePassthrough()}
        | RunnableLambda(prompt)
        | StrOutputParser()
    )
    assert chain.invoke("heat") == "heat: Heat transfer to a blunt wing."
