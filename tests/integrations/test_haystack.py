"""The document store of Haystack passes Haystack's own tests, and its components retrieve."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
pytest.importorskip("haystack", reason="haystack-ai is not installed (sparseret[haystack])")
pytest.importorskip("pytest_asyncio", reason="pytest-asyncio is not installed")

from haystack import Document, Pipeline
from haystack.components.joiners import DocumentJoiner
from haystack.dataclasses import ByteStream, SparseEmbedding
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.errors import FilterError
from haystack.testing import document_store as suite
from haystack.testing import document_store_async as async_suite
from haystack.utils.filters import document_matches_filter

from sparseret import Retriever
from sparseret.errors import ConfigurationError, DocumentError, VectorError
from sparseret.integrations.haystack import (
    SparseretDocumentStore,
    SparseretEmbeddingRetriever,
    SparseretRetriever,
    SparseretSparseEmbeddingRetriever,
)
from sparseret.integrations.haystack.filters import plan_filter


@pytest.fixture
def document_store(tmp_path: Path) -> Iterator[SparseretDocumentStore]:
    store = SparseretDocumentStore(tmp_path / "store.idx")
    yield store
    store.retriever.close()


class TestSuite(
    suite.DocumentStoreBaseExtendedTests,
    suite.CountDocumentsByFilterTest,
    suite.CountUniqueMetadataByFilterTest,
    suite.GetMetadataFieldsInfoTest,
    suite.GetMetadataFieldMinMaxTest,
    suite.GetMetadataFieldUniqueValuesTest,
):
    @pytest.fixture
    def document_store(self, tmp_path: Path) -> Iterator[SparseretDocumentStore]:
        store = SparseretDocumentStore(tmp_path / "store.idx")
        yield store
        store.retriever.close()

    def test_write_documents(self, document_store: SparseretDocumentStore) -> None:
        """Without a policy, a document that is there is an error."""
        document = Document(content="test doc")
        assert document_store.write_documents([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents([document])
        assert document_store.filter_documents() == [document]


class TestAsyncSuite(
    async_suite.CountDocumentsAsyncTest,
    async_suite.CountDocumentsByFilterAsyncTest,
    async_suite.CountUniqueMetadataByFilterAsyncTest,
    async_suite.DeleteAllAsyncTest,
    async_suite.DeleteByFilterAsyncTest,
    async_suite.DeleteDocumentsAsyncTest,
    async_suite.FilterDocumentsAsyncTest,
    async_suite.GetMetadataFieldMinMaxAsyncTest,
    async_suite.GetMetadataFieldUniqueValuesAsyncTest,
    async_suite.GetMetadataFieldsInfoAsyncTest,
    async_suite.UpdateByFilterAsyncTest,
    async_suite.WriteDocumentsAsyncTest,
):
    @pytest.mark.asyncio
    async def test_write_documents_async(self, document_store: SparseretDocumentStore) -> None:
        document = Document(content="test doc")
        assert await document_store.write_documents_async([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            await document_store.write_documents_async([document])
        assert await document_store.filter_documents_async() == [document]


def test_no_mixin_of_the_suite_is_left_out() -> None:
    for module, tested in ((suite, TestSuite), (async_suite, TestAsyncSuite)):
        mixins = {
            each
            for name, each in vars(module).items()
            if name.endswith("Test") and each.__module__ == module.__name__
        }
        assert mixins
        assert mixins <= set(tested.__mro__)


# --- filters ----------------------------------------------------------------------------------

DATES = ["2020-01-02", "2020-01-02T00:00:00", "2020-01-02T01:00:00+01:00", "2021-05-05 10:00:00"]
SCALARS: list[Any] = [None, True, False, 0, 1, 2, -1, 0.0, 1.0, 1.5, 2**53, 2.0**53, 2**53 + 1]
SCALARS += ["", "a", "1", "true", "wing"]
VALUES: list[Any] = [*SCALARS, *DATES, [], [1], ["a"], {}, {"b": 1}, {"b": None}, {"b": "a"}]
NAMES = ["meta.a", "a", "meta.a.b", "meta.title", "title", "meta._id", "id", "content", "b.c"]
NAMES += ["meta._haystack", "meta._haystack.score", "score", "meta", "meta.a.b.c"]


def documents() -> list[Document]:
    """One of each value in the field "a", and titles of all kinds."""
    made = [Document(id=f"a{i}", content="wing", meta={"a": v}) for i, v in enumerate(VALUES)]
    titles = ["", "a", "1", 1, None, "2020-01-02", {"b": 1}]
    made += [Document(id=f"t{i}", content=None, meta={"title": t}) for i, t in enumerate(titles)]
    made += [Document(id="a", content="a"), Document(id="2020-01-02", content="", score=1.0)]
    return [*made, Document(id="i", content="wing", meta={"_id": "a"})]


DOCUMENTS = documents()

equalities = st.builds(
    lambda field, operator, value: {"field": field, "operator": operator, "value": value},
    st.sampled_from(NAMES),
    st.sampled_from(["==", "!="]),
    st.sampled_from(VALUES),
)
memberships = st.builds(
    lambda field, operator, value: {"field": field, "operator": operator, "value": value},
    st.sampled_from(NAMES),
    st.sampled_from(["in", "not in"]),
    st.lists(st.sampled_from(VALUES), max_size=3),
)
orders = st.builds(
    lambda field, operator, value: {"field": field, "operator": operator, "value": value},
    st.sampled_from(["meta.number", "number", "meta.absent"]),
    st.sampled_from(["<", "<=", ">", ">="]),
    st.sampled_from([value for value in SCALARS if not isinstance(value, str)]),
)
filters = st.recursive(
    equalities | memberships | orders,
    lambda inner: st.builds(
        lambda operator, conditions: {"operator": operator, "conditions": conditions},
        st.sampled_from(["AND", "OR", "NOT"]),
        st.lists(inner, max_size=3),
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparseretDocumentStore]:
    store = SparseretDocumentStore(tmp_path_factory.mktemp("varied") / "store.idx")
    store.write_documents(numbered())
    yield store
    store.retriever.close()


def numbered() -> list[Document]:
    """The documents, of which some have a number, or a boolean, that can be put in order."""
    numbers = [value for value in SCALARS if isinstance(value, (bool, int, float))]
    return [
        replace(d, meta={**d.meta, "number": numbers[i % len(numbers)]}) if i % 3 else d
        for i, d in enumerate(DOCUMENTS)
    ]


@given(filters)
@settings(max_examples=150)
def test_filters_mean_what_haystack_says(
    varied: SparseretDocumentStore, filters: dict[str, Any]
) -> None:
    expected = [d.id for d in numbered() if document_matches_filter(filters, d)]
    assert [d.id for d in varied.filter_documents(filters)] == expected
    found = SparseretRetriever(varied).run("wing", filters=filters, top_k=100)["documents"]
    assert {d.id for d in found} == {
        d.id for d in numbered() if d.id in expected and "wing" in (d.content or "")
    }


@pytest.mark.parametrize(
    ("filters", "ours", "theirs"),
    [
        ({"field": "meta.a", "operator": "==", "value": "x"}, 'a = "x"', False),
        ({"field": "meta.a", "operator": "==", "value": 3}, "a = 3", False),
        ({"field": "meta.a", "operator": "==", "value": 1}, "a in [1, true]", False),
        ({"field": "meta.a", "operator": "==", "value": None}, "not exists a or a = null", False),
        ({"field": "meta.a", "operator": ">", "value": 2}, "a > 2", False),
        ({"field": "meta.a", "operator": ">", "value": 0}, "a > 0 or a in [true]", False),
        ({"field": "meta.a", "operator": ">", "value": "2020-01-01"}, None, True),
        ({"field": "meta.a", "operator": "==", "value": "2020-01-01"}, None, True),
        ({"field": "id", "operator": "in", "value": ["x", "y"]}, '_id in ["x", "y"]', False),
    ],
)
def test_which_filters_the_index_evaluates(
    filters: dict[str, Any], ours: str | None, theirs: bool
) -> None:
    plan = plan_filter(filters)
    assert (None if plan.ours is None else str(plan.ours)) == ours
    assert (plan.theirs is not None) == theirs


def test_the_index_narrows_what_haystack_evaluates() -> None:
    date = {"field": "meta.date", "operator": ">", "value": "2020-01-01"}
    lang = {"field": "meta.lang", "operator": "==", "value": "en"}
    plan = plan_filter({"operator": "AND", "conditions": [date, lang]})
    assert str(plan.ours) == 'lang = "en"'
    assert plan.theirs == {"operator": "AND", "conditions": [date]}
    either = {"operator": "OR", "conditions": [date, lang]}
    assert plan_filter(either) == (None, either)
    number = {"field": "year", "operator": ">=", "value": 0}
    assert str(plan_filter(number, order_by="year").ours) == "year >= 0"


def test_a_filter_of_any_size(varied: SparseretDocumentStore) -> None:
    one = {"field": "meta.a", "operator": "!=", "value": "x"}
    many = {"operator": "AND", "conditions": [one] * 600}
    deep: dict[str, Any] = one
    for _ in range(40):
        deep = {"operator": "NOT", "conditions": [deep]}
    assert len(varied.filter_documents(many)) == len(DOCUMENTS)
    assert len(varied.filter_documents(deep)) == len(DOCUMENTS)


@pytest.mark.parametrize(
    "filters",
    [
        "year > 1",
        {"field": "meta.a", "operator": "~", "value": 1},
        {"field": 3, "operator": "==", "value": 1},
        {"operator": "XOR", "conditions": []},
        {"operator": "AND", "conditions": {}},
        {"operator": "AND", "conditions": ["a"]},
        {"operator": "OR", "conditions": [{"field": "a", "operator": "in", "value": "abc"}]},
    ],
)
def test_what_is_no_filter(document_store: SparseretDocumentStore, filters: Any) -> None:
    with pytest.raises(FilterError):
        document_store.filter_documents(filters)
    with pytest.raises(FilterError):
        document_store.delete_by_filter(filters)


# --- documents --------------------------------------------------------------------------------


def whole() -> list[Document]:
    return [
        Document(
            id="x",
            content="lift of a wing",
            meta={"title": "Wings", "n": 1, "r": 1.0, "deep": {"a": [None, True]}, "None": None},
            embedding=[0.1, -2.0, 1e-30],
            sparse_embedding=SparseEmbedding([3, 70000], [0.5, 2.0]),
            blob=ByteStream(b"\x00\xff", {"k": 1}, "image/png"),
            score=0.25,
        ),
        Document(id="y", content=None, meta={"title": ""}),
        Document(id="z", content="", meta={"title": 3}),
    ]


def test_documents_come_back_whole(document_store: SparseretDocumentStore, tmp_path: Path) -> None:
    document_store.write_documents(whole())
    assert document_store.filter_documents() == whole()
    document_store.retriever.close()
    again = SparseretDocumentStore(tmp_path / "store.idx")
    assert again.filter_documents() == whole()
    assert again.count_documents() == 3
    found = SparseretRetriever(again).run("wings")["documents"]
    assert [d.id for d in found] == ["x"]  # by its title
    assert found[0].embedding is None
    assert found[0].score not in (None, 0.25)


def test_an_index_made_elsewhere(tmp_path: Path, cranfield: Path) -> None:
    from sparseret import read_documents

    with Retriever.create(tmp_path / "cranfield.idx") as made:
        made.add([r.document for r, _ in zip(read_documents(cranfield), range(50), strict=False)])
    store = SparseretDocumentStore(tmp_path / "cranfield.idx")
    asked = "flow over a blunt body"
    with Retriever.open(tmp_path / "cranfield.idx") as plain:
        results = plain.search(asked, 5)
    found = SparseretRetriever(store, top_k=5).run(asked)["documents"]
    assert [(d.id, d.score, d.content, d.meta["title"]) for d in found] == [
        (r.id, r.score, r.text, r.title) for r in results
    ]


def test_what_cannot_be_written_leaves_the_store_as_it_was(
    document_store: SparseretDocumentStore,
) -> None:
    document_store.write_documents([Document(id="a", content="wing")])
    for bad, error in (
        (Document(id="b", content="x", meta={"_haystack": 1}), DocumentError),
        (Document(id="b", content="x", meta={"when": object()}), DocumentError),
        (Document(id="b\n", content="x"), DocumentError),
        (Document(id="a", content="x"), DuplicateDocumentError),
    ):
        with pytest.raises(error):
            document_store.write_documents([Document(id="ok", content="wing"), bad])
        assert [d.id for d in document_store.filter_documents()] == ["a"]
    with pytest.raises(DuplicateDocumentError):
        document_store.write_documents([Document(id="c"), Document(id="c")])
    twice = [Document(id="c", content="1"), Document(id="a"), Document(id="c", content="2")]
    assert document_store.write_documents(twice, DuplicatePolicy.SKIP) == 1
    assert document_store.filter_documents()[-1].content == "1"
    assert document_store.write_documents(twice, DuplicatePolicy.OVERWRITE) == 3
    assert document_store.filter_documents()[-1].content == "2"


def test_deleting_all_gives_back_the_space(document_store: SparseretDocumentStore) -> None:
    document_store.write_documents([Document(id=str(i), content=f"w{i} " * 9) for i in range(999)])
    (folder,) = document_store.retriever.path.glob("segments")
    document_store.delete_all_documents(recreate_index=True)
    assert list(folder.iterdir()) == []
    document_store.write_documents([Document(id="1", content="wing")])
    assert ids(SparseretRetriever(document_store).run("wing")) == ["1"]


# --- retrieving -------------------------------------------------------------------------------

NEWS = [
    Document(id="n1", content="Lift of a wing", meta={"year": 1954}, embedding=[1.0, 0.0, 0.0]),
    Document(id="n2", content="Heat of a wing", meta={"year": 1958}, embedding=[0.0, 1.0, 0.0]),
    Document(id="n3", content="Flutter of panels", meta={"year": 1961}, embedding=[0.6, 0.8, 0.0]),
    Document(id="n4", content="A wing of no embedding", meta={"year": 1970}),
]


@pytest.fixture
def news(tmp_path: Path) -> Iterator[SparseretDocumentStore]:
    store = SparseretDocumentStore(tmp_path / "news.idx", embedding_dim=3)
    store.write_documents(NEWS)
    yield store
    store.retriever.close()


def ids(found: dict[str, list[Document]]) -> list[str]:
    return [document.id for document in found["documents"]]


def since(year: int) -> dict[str, Any]:
    return {"field": "meta.year", "operator": ">=", "value": year}


def test_retrieving_by_text(news: SparseretDocumentStore) -> None:
    component = SparseretRetriever(news, filters=since(1955), top_k=3)
    assert set(ids(component.run("wing"))) == {"n2", "n4"}
    assert set(ids(component.run("wing", filters=since(1960)))) == {"n4"}
    assert len(ids(component.run("wing", top_k=1))) == 1
    assert ids(component.run("")) == ids(component.run("xylophone")) == []
    merging = SparseretRetriever(news, filters=since(1955), filter_policy="merge")
    two = {"field": "id", "operator": "in", "value": ["n1", "n2"]}
    assert ids(merging.run("wing", filters=two)) == ["n2"]


def test_retrieving_by_embedding(news: SparseretDocumentStore) -> None:
    component = SparseretEmbeddingRetriever(news)
    found = component.run([1.0, 0.1, 0.0])["documents"]
    assert [d.id for d in found] == ["n1", "n3", "n2"]  # n4 has none
    vectors = np.array([d.embedding for d in NEWS[:3]])
    query = np.array([1.0, 0.1, 0.0])
    cosines = vectors @ query / np.linalg.norm(query)
    assert [d.score for d in found] == pytest.approx([cosines[0], cosines[2], cosines[1]])
    assert ids(component.run([1.0, 0.1, 0.0], filters=since(1955))) == ["n3", "n2"]
    with pytest.raises(VectorError):
        component.run([1.0, 0.0])
    with pytest.raises(VectorError, match="n5"):
        news.write_documents([Document(id="n5", embedding=[1.0])])
    assert news.count_documents() == 4
    news.return_embedding = True
    assert component.run([1.0, 0.0, 0.0])["documents"][0].embedding == NEWS[0].embedding


def test_retrieving_by_sparse_embedding(tmp_path: Path, splade_tiny: Path) -> None:
    from sparseret.encoders.splade import SpladeEncoder

    encoder = SpladeEncoder(splade_tiny)
    store = SparseretDocumentStore(tmp_path / "splade.idx", encoder=encoder)
    store.write_documents(NEWS)
    row = encoder.encode_queries(["lift of wings"])
    query = SparseEmbedding(row.indices.tolist(), row.data.tolist())
    found = SparseretSparseEmbeddingRetriever(store).run(query)["documents"]
    by_text = SparseretRetriever(store).run("lift of wings")["documents"]
    assert found == by_text != []
    with pytest.raises(VectorError):
        SparseretSparseEmbeddingRetriever(store).run(SparseEmbedding([10**6], [1.0]))
    with pytest.raises(ConfigurationError, match="dense"):
        SparseretEmbeddingRetriever(store).run([1.0])


def test_a_sparse_embedding_needs_columns(news: SparseretDocumentStore) -> None:
    with pytest.raises(ConfigurationError, match="SPLADE"):
        SparseretSparseEmbeddingRetriever(news).run(SparseEmbedding([1], [1.0]))


def hybrid(store: SparseretDocumentStore) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("words", SparseretRetriever(store, top_k=3, filters=since(1900)))
    pipeline.add_component("near", SparseretEmbeddingRetriever(store, top_k=3))
    pipeline.add_component("join", DocumentJoiner(join_mode="reciprocal_rank_fusion"))
    pipeline.connect("words.documents", "join.documents")
    pipeline.connect("near.documents", "join.documents")
    return pipeline


ASKED = {"words": {"query": "heat of a wing"}, "near": {"query_embedding": [0.0, 1.0, 0.0]}}


def test_a_pipeline_that_is_written_and_read(news: SparseretDocumentStore) -> None:
    pipeline = hybrid(news)
    before = pipeline.run(ASKED)
    assert ids(before["join"])[0] == "n2"
    written = pipeline.dumps()
    assert json.loads(json.dumps(pipeline.to_dict())) == pipeline.to_dict()
    read = Pipeline.loads(written, allowed_modules=["sparseret.integrations.haystack.*"])
    assert read.to_dict()["components"] == pipeline.to_dict()["components"]
    assert read.run(ASKED) == before


@pytest.mark.asyncio
async def test_a_pipeline_beside_the_event_loop(news: SparseretDocumentStore) -> None:
    assert await hybrid(news).run_async(ASKED) == hybrid(news).run(ASKED)


def test_stores_of_a_folder_see_one_another(news: SparseretDocumentStore) -> None:
    other = SparseretDocumentStore.from_dict(news.to_dict())
    assert other is not news
    other.write_documents([Document(id="n5", content="A new wing")])
    assert "n5" in ids(SparseretRetriever(news).run("new wing"))
    news.delete_documents(["n5"])
    assert other.count_documents() == 4


def test_a_store_is_made_again_elsewhere(tmp_path: Path) -> None:
    options = {"b": 0.1}
    one = SparseretDocumentStore(
        tmp_path / "one", encoder_options=options, embedding_dim=2, embedding_metric="ip"
    )
    data = json.loads(json.dumps(one.to_dict()))
    data["init_parameters"]["path"] = str(tmp_path / "two")
    two = SparseretDocumentStore.from_dict(data)
    made = {name: (e.name, e.options) for name, e in two.retriever.encoders.items()}
    assert made == {name: (e.name, e.options) for name, e in one.retriever.encoders.items()}
    assert made["text"][1]["b"] == 0.1
    assert two.retriever is not one.retriever


@pytest.mark.asyncio
async def test_writing_and_searching_at_once(news: SparseretDocumentStore) -> None:
    component = SparseretRetriever(news, top_k=100)
    batches = [[Document(id=f"{i}-{j}", content="wing") for j in range(5)] for i in range(10)]
    same = [Document(id="same", content="wing")]
    results = await asyncio.gather(
        *(news.write_documents_async(batch) for batch in batches),
        *(component.run_async("wing") for _ in range(10)),
        *(news.write_documents_async(same, DuplicatePolicy.SKIP) for _ in range(4)),
    )
    assert results[:10] == [5] * 10
    assert sorted(results[20:]) == [0, 0, 0, 1]
    assert await news.count_documents_async() == 4 + 50 + 1
    assert len(ids(component.run("wing"))) == 3 + 51


def test_stores_that_do_not_fit(news: SparseretDocumentStore) -> None:
    path = news.retriever.path
    for wrong in (
        {"encoder": "splade:nowhere"},
        {"encoder": "bm25"},
        {"embedding_dim": 4},
        {"encoder": {"words": "bm25"}, "embedding_dim": 3},
        {"embedding_dim": 3, "embedding_metric": "ip"},
    ):
        with pytest.raises(ConfigurationError):
            SparseretDocumentStore(path, **wrong)  # type: ignore[arg-type]
    for fits in ({}, {"embedding_dim": 3}, {"encoder": "bm25", "embedding_dim": 3}):
        assert SparseretDocumentStore(path, **fits).count_documents() == 4  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        SparseretRetriever("news.idx")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        SparseretRetriever(news, top_k=0)
