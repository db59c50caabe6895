"""Stores under LlamaIndex's own VectorStoreIndex, and filters against its reference."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llama_index.core", reason="no LlamaIndex (sparseret[llama-index])")

from llama_index.core import Document as LlamaDocument
from llama_index.core import MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import (
    ImageNode,
    IndexNode,
    NodeRelationship,
    NodeWithScore,
    QueryBundle,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from sparseret import Document, Retriever, field
from sparseret.errors import (
    ConfigurationError,
    DocumentError,
    FilterError,
    IndexExistsError,
    LegError,
    VectorError,
)
from sparseret.indexers.fusion import Convex
from sparseret.integrations.llama_index import SparseretRetriever, SparseretVectorStore

REPORTS = [
    LlamaDocument(text="Lift of a wing in a slipstream.", id_="d1",
                  metadata={"title": "Wings", "year": 1954, "lang": "en"}),
    LlamaDocument(text="Heat transfer to a blunt wing.", id_="d2",
                  metadata={"title": "Heat", "year": 1958, "tags": ["heat", "wing"]}),
    LlamaDocument(text="Flutter of panels in supersonic flow.", id_="d3",
                  metadata={"year": 1961, "lang": "de"}),
]  # fmt: skip
EVERYTHING = {"bm25": {}, "both": {"embed_dim": 26}, "vectors": {"encoder": None, "embed_dim": 26}}


class Letters(BaseEmbedding):
    """Counts of letters."""

    def _get_text_embedding(self, text: str) -> list[float]:
        words = text.rsplit("\n\n", 1)[-1].lower()  # without the metadata that LlamaIndex adds
        return [float(words.count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz"]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def make(path: Path, documents: list[LlamaDocument] = REPORTS, **options: Any) -> VectorStoreIndex:
    context = StorageContext.from_defaults(
        vector_store=SparseretVectorStore.create(path, **options)
    )
    return VectorStoreIndex.from_documents(
        documents, storage_context=context, embed_model=Letters()
    )


def store_of(index: VectorStoreIndex) -> SparseretVectorStore:
    assert isinstance(index.vector_store, SparseretVectorStore)
    return index.vector_store


def sources(nodes: list[NodeWithScore]) -> list[str | None]:
    return [each.node.ref_doc_id for each in nodes]


@pytest.fixture(params=EVERYTHING.values(), ids=EVERYTHING.keys())
def index(request: pytest.FixtureRequest, tmp_path: Path) -> VectorStoreIndex:
    return make(tmp_path / "store.idx", **request.param)


@pytest.fixture
def both(tmp_path: Path) -> VectorStoreIndex:
    return make(tmp_path / "store.idx", embed_dim=26)


# --- under VectorStoreIndex ---------------------------------------------------------------------


def test_default_search_and_round_trip(index: VectorStoreIndex) -> None:
    found = index.as_retriever(similarity_top_k=1).retrieve("lift of a wing in the slipstream")
    assert sources(found) == ["d1"]
    node = found[0].node
    assert isinstance(node, TextNode)
    assert node.text == "Lift of a wing in a slipstream."
    assert node.metadata == {"title": "Wings", "year": 1954, "lang": "en"}
    assert node.relationships[NodeRelationship.SOURCE].node_id == "d1"  # type: ignore[union-attr]
    assert found[0].score is not None


def test_async_is_the_same(index: VectorStoreIndex) -> None:
    retriever = index.as_retriever()
    assert asyncio.run(retriever.aretrieve("heat")) == retriever.retrieve("heat")


def test_documents_are_deleted_and_updated(index: VectorStoreIndex) -> None:
    index.delete_ref_doc("d1")
    assert "d1" not in sources(index.as_retriever(similarity_top_k=3).retrieve("lift of a wing"))
    index.update_ref_doc(LlamaDocument(text="Wings in rain.", id_="d2"))
    assert {n.ref_doc_id: n.get_content() for n in store_of(index).get_nodes()} == {
        "d2": "Wings in rain.",
        "d3": "Flutter of panels in supersonic flow.",
    }
    index.insert(LlamaDocument(text="Lift of a kite.", id_="d4"))
    assert sources(index.as_retriever(similarity_top_k=1).retrieve("lift kite")) == ["d4"]


def test_the_folder_is_all_there_is_to_keep(index: VectorStoreIndex, tmp_path: Path) -> None:
    before = index.as_retriever().retrieve("wing")
    index.storage_context.persist(str(tmp_path / "storage"))
    store_of(index).client.close()
    opened = SparseretVectorStore.open(tmp_path / "store.idx")
    again = VectorStoreIndex.from_vector_store(opened, embed_model=Letters())
    assert again.as_retriever().retrieve("wing") == before
    again.insert(LlamaDocument(text="Lift of a kite.", id_="d4"))
    assert len(opened.client) == 4


def test_a_query_engine(index: VectorStoreIndex) -> None:
    answer = index.as_query_engine(llm=MockLLM(), similarity_top_k=1).query("heat transfer")
    assert "Heat transfer to a blunt wing." in str(answer)
    assert [n.node.ref_doc_id for n in answer.source_nodes] == ["d2"]


@pytest.mark.parametrize("use_async", [False, True])
def test_filters_under_an_index(index: VectorStoreIndex, use_async: bool) -> None:
    filters = MetadataFilters(
        filters=[
            MetadataFilter(key="year", operator=FilterOperator.GT, value=1954),
            MetadataFilter(key="title", value="Heat"),
        ]
    )
    retriever = index.as_retriever(similarity_top_k=5, filters=filters)
    found = asyncio.run(retriever.aretrieve("wing")) if use_async else retriever.retrieve("wing")
    assert sources(found) == ["d2"]
    some = index.as_retriever(similarity_top_k=5, doc_ids=["d1", "d3"]).retrieve("wing panels")
    assert set(sources(some)) == {"d1", "d3"}


def test_a_store_without_embeddings_asks_for_none(tmp_path: Path) -> None:
    store = SparseretVectorStore.create(tmp_path / "i")
    index = VectorStoreIndex(
        [TextNode(text="a wing", id_="1")],
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=MockEmbedding(embed_dim=1),
    )
    assert not store.is_embedding_query
    assert [n.node_id for n in index.as_retriever().retrieve("wing")] == ["1"]


# --- modes --------------------------------------------------------------------------------------


def ask(index: VectorStoreIndex, mode: str, query: str, **options: Any) -> list[NodeWithScore]:
    retriever = index.as_retriever(
        vector_store_query_mode=VectorStoreQueryMode(mode), similarity_top_k=3, **options
    )
    return retriever.retrieve(query)


def test_modes(both: VectorStoreIndex) -> None:
    client = store_of(both).client
    vector = Letters().get_query_embedding("flutter")
    for mode, expected in {
        "default": client.search_vectors({"embedding": vector}, 3),
        "sparse": client.search("flutter", 3, legs=["bm25"]),
        "text_search": client.search("flutter", 3, legs=["bm25"]),
        "hybrid": client.search_vectors({"embedding": vector, "bm25": "flutter"}, 3),
    }.items():
        found = ask(both, mode, "flutter")
        assert [(n.node_id, n.score) for n in found] == [(r.id, r.score) for r in expected]
    assert len(ask(both, "sparse", "flutter")) == 1
    assert len(ask(both, "hybrid", "flutter")) == 3


def test_alpha_weighs_embeddings(both: VectorStoreIndex) -> None:
    words = ask(both, "hybrid", "flutter", alpha=0.0)
    assert [(n.node.ref_doc_id, n.score) for n in words] == [("d3", 1.0)]
    vectors = ask(both, "hybrid", "flutter", alpha=1.0)
    assert sources(vectors) == sources(ask(both, "default", "flutter"))
    store_of(both).client.set_fusion(Convex((0.9, 0.1)))
    even = {n.node_id: n.score for n in ask(both, "hybrid", "wing", alpha=0.5)}
    asked = {"embedding": Letters().get_query_embedding("wing"), "bm25": "wing"}
    expected = store_of(both).client.search_vectors(asked, fusion=Convex((0.5, 0.5)))
    assert even == {result.id: result.score for result in expected}


def test_hybrid_top_k(both: VectorStoreIndex) -> None:
    assert len(ask(both, "hybrid", "wing", hybrid_top_k=1, sparse_top_k=2)) == 1


def test_marginal_relevance(both: VectorStoreIndex) -> None:
    both.insert(LlamaDocument(text="Lift of a wing in the slipstream.", id_="again"))
    query = "lift of a wing in a slipstream"
    assert set(sources(ask(both, "default", query))[:2]) == {"d1", "again"}
    diverse = ask(both, "mmr", query, vector_store_kwargs={"mmr_threshold": 0.05})
    assert len({*sources(diverse)[:2]} & {"d1", "again"}) == 1
    asked = VectorStoreQuery(
        query_embedding=Letters().get_query_embedding(query), similarity_top_k=2,
        mode=VectorStoreQueryMode.MMR, mmr_threshold=0.05,
    )  # fmt: skip
    assert store_of(both).query(asked).ids == [n.node_id for n in diverse[:2]]


def test_modes_that_are_not_there(both: VectorStoreIndex, tmp_path: Path) -> None:
    store, words = store_of(both), SparseretVectorStore.create(tmp_path / "words")
    vectors = SparseretVectorStore.create(tmp_path / "vectors", None, embed_dim=2)
    with pytest.raises(ConfigurationError, match="'svm' is not offered"):
        store.query(VectorStoreQuery(query_str="wing", mode=VectorStoreQueryMode.SVM))
    with pytest.raises(ConfigurationError, match="needs a query_embedding"):
        store.query(VectorStoreQuery(query_str="wing"))
    with pytest.raises(ConfigurationError, match="needs a query_str"):
        words.query(VectorStoreQuery(query_embedding=[1.0]))
    with pytest.raises(ConfigurationError, match="make the store with one"):
        vectors.query(VectorStoreQuery(query_str="wing", mode=VectorStoreQueryMode.SPARSE))
    with pytest.raises(ConfigurationError, match="weighs embeddings against texts"):
        words.query(VectorStoreQuery(query_str="wing", alpha=0.5, mode=VectorStoreQueryMode.HYBRID))
    with pytest.raises(ConfigurationError, match="from 0 to 1"):
        ask(both, "hybrid", "wing", alpha=2.0)


# --- the store itself ---------------------------------------------------------------------------


def test_nodes_of_all_kinds(tmp_path: Path) -> None:
    store = SparseretVectorStore.create(tmp_path / "i")
    nodes = [TextNode(text="a wing", id_="1", metadata={"deep": {"a": [1, None]}}),
             IndexNode(text="a panel", index_id="other", id_="2"),
             ImageNode(text="a photo", image_url="data:,", id_="3")]  # fmt: skip
    assert store.add(nodes) == ["1", "2", "3"]
    assert store.get_nodes(["3", "1", "x", "2"]) == [nodes[2], nodes[0], nodes[1]]
    assert store.add([TextNode(text="a kite", id_="1")]) == ["1"]
    assert [n.get_content() for n in store.get_nodes(["1"])] == ["a kite"]
    assert store.add([]) == []
    with pytest.raises(IndexExistsError):
        SparseretVectorStore.create(tmp_path / "i")


def test_nodes_by_ids_and_filters(tmp_path: Path) -> None:
    store = SparseretVectorStore.create(tmp_path / "i")
    store.add([TextNode(text="x", id_=str(i), metadata={"n": i}) for i in range(10)])
    large = MetadataFilters(filters=[MetadataFilter(key="n", operator=FilterOperator.GTE, value=5)])
    assert [n.node_id for n in store.get_nodes(["7", "1", "6"], large)] == ["7", "6"]
    assert len(store.get_nodes()) == 10
    store.delete_nodes(["1", "2", "9"], large)
    store.delete_nodes(["3"])
    asyncio.run(store.adelete_nodes(filters=large))
    assert [n.node_id for n in asyncio.run(store.aget_nodes())] == ["0", "1", "2", "4"]
    with pytest.raises(ConfigurationError, match="clear"):
        store.delete_nodes()
    asyncio.run(store.async_add([TextNode(text="y", id_="y")]))
    asyncio.run(store.adelete("no such document"))
    asyncio.run(store.aclear())
    assert store.get_nodes() == []


def test_embeddings_that_do_not_fit(tmp_path: Path) -> None:
    store = SparseretVectorStore.create(tmp_path / "i", embed_dim=2)
    store.add([TextNode(text="a", id_="1", embedding=[1.0, 0.0])])
    with pytest.raises(ConfigurationError, match="has no embedding"):
        store.add([TextNode(text="b", id_="2")])
    with pytest.raises(VectorError, match="3"):
        store.add([TextNode(text="b", id_="2", embedding=[1.0, 0.0, 0.0])])
    both = [TextNode(text="b", id_=str(n), embedding=[1.0] * n) for n in (2, 3)]
    with pytest.raises(ConfigurationError, match="one width"):
        store.add(both)
    with pytest.raises(VectorError, match="finite"):
        store.query(VectorStoreQuery(query_embedding=[float("nan"), 1.0]))
    with pytest.raises(ConfigurationError, match="embed_dim"):
        SparseretVectorStore.create(tmp_path / "j", embed_dim=0)
    assert [n.node_id for n in store.get_nodes()] == ["1"]


def test_other_programs_go_on_without_the_embeddings(both: VectorStoreIndex) -> None:
    path = store_of(both).client.path
    with pytest.raises(ConfigurationError, match="llama-index"):
        Retriever.open(path)
    with Retriever.open(path, degrade=True) as retriever:
        found = retriever.search("flutter", degrade=True)
        assert found[0].text == "Flutter of panels in supersonic flow."
        assert found[0].missing == ("embedding",)
    with pytest.raises(LegError, match="made outside of the index"):
        store_of(both).client.search("flutter")
    with pytest.raises(LegError, match="without"):
        retriever = Retriever.open(path, degrade=True)
        retriever.add([Document("new", "wing")])
    with pytest.raises(ConfigurationError, match="bring embeddings"):
        store_of(both).client.add([Document("new", "wing")])


def test_a_failed_change_leaves_nothing_behind(tmp_path: Path) -> None:
    store = SparseretVectorStore.create(tmp_path / "i")
    with pytest.raises(DocumentError, match="control character"):
        store.add([TextNode(text="a", id_="1"), TextNode(text="b", id_="a\nb")])
    store.add([TextNode(text="c", id_="2")])
    assert [n.node_id for n in store.get_nodes()] == ["2"]


# --- filters ------------------------------------------------------------------------------------

METADATA: list[dict[str, Any]] = [
    {},
    {"a": None},
    {"a": 1, "b": "x"},
    {"a": 2.5, "b": "Xy"},
    {"a": 2, "b": ""},
    {"a": -7, "b": "XY z"},
    {"a.b": 3, "b": "y"},
    {"list": ["x", "y"]},
    {"list": []},
    {"list": ["x"], "title": "Wings"},
    {"list": ["y", "z"], "title": "Heat"},
]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> SparseretVectorStore:
    store = SparseretVectorStore.create(tmp_path_factory.mktemp("filters") / "i")
    store.add([TextNode(text="x", id_=str(i), metadata=each) for i, each in enumerate(METADATA)])
    return store


def both_ways(store: SparseretVectorStore, filters: MetadataFilters) -> None:
    """What the store and LlamaIndex's reference select is the same."""
    reference = build_metadata_filter_fn(lambda id: METADATA[int(id)], filters)
    expected = [str(i) for i in range(len(METADATA)) if reference(str(i))]
    assert [n.node_id for n in store.get_nodes(filters=filters)] == expected


SINGLE = [
    MetadataFilter(key=key, operator=operator, value=value)
    for key, operator, value in [
        *(("a", o, v) for o in ["==", "!=", ">", "<", ">=", "<="] for v in (1, 2, 2.5, -7)),
        *(("b", o, v) for o in ["==", "!="] for v in ("x", "", "y")),
        ("a.b", "==", 3),
        ("title", "==", "Wings"), ("title", "!=", "Wings"), ("title", "is_empty", None),
        ("a", "in", [1, 2]), ("a", "nin", [1, 2]), ("a", "in", []), ("b", "in", ["x", "y"]),
        ("b", "contains", "y"), ("list", "contains", "x"),
        ("b", "text_match", "y"), ("b", "text_match", "Y"), ("b", "text_match_insensitive", "xY"),
        ("list", "any", ["x", "z"]), ("list", "all", ["x", "y"]), ("list", "any", ["y"]),
        ("list", "all", ["y"]), ("list", "any", []), ("list", "all", []),
        ("list", "is_empty", None), ("a", "is_empty", None), ("b", "is_empty", None),
    ]
]  # fmt: skip


@pytest.mark.parametrize("single", SINGLE, ids=lambda f: f"{f.key} {f.operator.value} {f.value}")
def test_every_operator_is_that_of_the_reference(
    many: SparseretVectorStore, single: MetadataFilter
) -> None:
    both_ways(many, MetadataFilters(filters=[single]))


def test_every_operator_was_tried() -> None:
    assert {each.operator for each in SINGLE} == {*FilterOperator}


def test_conditions_are_those_of_the_reference(many: SparseretVectorStore) -> None:
    rng = np.random.default_rng(7)
    for _ in range(150):
        chosen = rng.choice(len(SINGLE), size=rng.integers(1, 4), replace=False)
        condition = list(FilterCondition)[rng.integers(3)]
        both_ways(many, MetadataFilters(filters=[SINGLE[i] for i in chosen], condition=condition))


def test_nested_filters(many: SparseretVectorStore) -> None:
    one = MetadataFilters(filters=[MetadataFilter(key="a", value=1)])
    none = MetadataFilters(filters=[])
    two = MetadataFilters(
        filters=[MetadataFilter(key="a", value=2), MetadataFilter(key="b", value="")]
    )
    either = MetadataFilters(filters=[one, two, none], condition=FilterCondition.OR)
    assert [n.node_id for n in many.get_nodes(filters=either)] == ["2", "4"]
    neither = MetadataFilters(filters=[either], condition=FilterCondition.NOT)
    assert len(many.get_nodes(filters=neither)) == len(METADATA) - 2
    assert len(many.get_nodes(filters=none)) == len(METADATA)


@pytest.mark.parametrize(
    ("operator", "value"),
    [("in", "abc"), ("any", "abc"), ("text_match_insensitive", 3), (">", ["a"]), ("==", ["a"])],
)
def test_values_that_no_operator_takes(
    many: SparseretVectorStore, operator: str, value: Any
) -> None:
    filters = MetadataFilters(
        filters=[MetadataFilter(key="a", operator=FilterOperator(operator), value=value)]
    )
    with pytest.raises(FilterError):
        many.get_nodes(filters=filters)


# --- the retriever ------------------------------------------------------------------------------


def test_retriever_of_any_index(tmp_path: Path) -> None:
    with Retriever.create(tmp_path / "i") as made:
        made.add([Document("1", "a wing", "Lift", {"year": 1954}),
                  Document("2", "a wing flutters", "", {"year": 1961})])  # fmt: skip
    retriever = SparseretRetriever(tmp_path / "i", similarity_top_k=1, filters="year < 1960")
    found = retriever.retrieve("wing")
    assert [(n.node_id, n.get_content()) for n in found] == [("1", "a wing")]
    assert found[0].node.metadata == {"title": "Lift", "year": 1954}
    assert found == asyncio.run(retriever.aretrieve(QueryBundle("wing")))
    retriever.filters = field("year") > 1960
    assert [n.node_id for n in retriever.retrieve("wing")] == ["2"]
    newer = MetadataFilters(
        filters=[MetadataFilter(key="year", operator=FilterOperator.NE, value=1961)]
    )
    retriever.filters = newer
    assert [n.node_id for n in retriever.retrieve("wing")] == ["1"]
    with pytest.raises(FilterError, match="expected"):
        SparseretRetriever(retriever.retriever, filters="year <")
    answer = RetrieverQueryEngine.from_args(retriever, llm=MockLLM()).query("wing")
    assert "a wing" in str(answer)


def test_retriever_of_a_store(tmp_path: Path) -> None:
    index = make(tmp_path / "i", embed_dim=26)
    retriever = SparseretRetriever(store_of(index).client, legs=["bm25"])
    assert sources(retriever.retrieve("flutter")) == ["d3"]
