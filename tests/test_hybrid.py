"""Indexes of several legs: added, deleted, filtered, committed, searched and explained as one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from letters import WORDS, Letters
from sparseret import Document, Retriever
from sparseret.errors import (
    ConfigurationError,
    CorruptIndexError,
    DocumentError,
    DuplicateIdError,
    IncompatibleIndexError,
    LegError,
    VectorError,
)
from sparseret.indexers.dense_settings import DenseSettings
from sparseret.indexers.folder import IndexFolder
from sparseret.indexers.fusion import Convex, Fusion, Leg, ReciprocalRank, fuse
from sparseret.indexers.verify import verify_index
from sparseret.protocols import DenseEncoder


def corpus(n: int, seed: int = 0) -> list[Document]:
    rng = np.random.default_rng(seed)
    return [
        Document(f"d{i}", " ".join(rng.choice(WORDS, rng.integers(1, 8))), "", {"year": i % 7})
        for i in range(n)
    ]


def make(path: Path, documents: Sequence[Document], **options: Any) -> Retriever:
    retriever = Retriever.create(path, {"words": "bm25", "sense": Letters()}, **options)
    retriever.add(documents)
    retriever.commit()
    return retriever


@pytest.fixture
def retriever(tmp_path: Path) -> Retriever:
    return make(tmp_path / "i", corpus(200), filter_fields=["year"])


def by_hand(
    retriever: Retriever, query: str, k: int, fusion: Fusion, filter: str | None = None
) -> list[tuple[str, float]]:
    """Each leg searched alone, then fused."""
    order = {document.id: i for i, document in enumerate(retriever.documents())}
    lists = []
    for leg, bound in (("words", 0.0), ("sense", -1.0)):
        hits = retriever.retrieve([query], max(k, 100), legs=[leg], filter=filter)
        numbers = np.array([order[id] for id in hits.ids[0]], np.int64)
        lists.append(Leg(numbers, hits.scores[0], bound))
    fused = fuse(fusion, lists, k)
    ids = list(order)
    return [
        (ids[n], float(np.float32(s))) for n, s in zip(fused.numbers, fused.scores, strict=True)
    ]


FUSIONS = [
    Convex(), Convex((0.2, 0.8), "z-score"), Convex((3, 1), "theoretical"),
    Convex(None, "distribution"), ReciprocalRank(), ReciprocalRank((1, 2), k=10),
]  # fmt: skip


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda f: f.description)
def test_a_search_is_that_of_the_legs_fused(retriever: Retriever, fusion: Fusion) -> None:
    for query in ("lift of a wing", "heat", "shock wake noise jet", "unknown"):
        for k in (1, 10, 150):
            for filter in (None, "year < 3"):
                found = retriever.search(query, k, fusion=fusion, filter=filter)
                expected = by_hand(retriever, query, k, fusion, filter)
                assert [(r.id, r.score) for r in found] == expected
                for result in found:
                    assert sum(result.shares.values()) == pytest.approx(result.score, abs=1e-6)
                    assert result.shares.keys() == {"words", "sense"}
                    assert filter is None or result.metadata["year"] < 3


def test_batches_are_searched_as_single_queries_are(retriever: Retriever) -> None:
    queries = ["lift of a wing", "", "heat flow", "zeppelin"]
    batch = retriever.search_batch(queries, 7, threads=2)
    assert batch == [retriever.search(query, 7) for query in queries]
    assert batch[1] == []
    assert retriever.search_batch([]) == []
    hits = retriever.retrieve(queries, 7)
    assert hits.shares is not None
    assert [s.shape for s in hits.shares] == [(len(row), 2) for row in hits.ids]


def test_one_leg_alone_has_its_own_scores(retriever: Retriever, tmp_path: Path) -> None:
    with Retriever.create(tmp_path / "words") as words:
        words.add(corpus(200))
    found = retriever.search("lift wing", 20, legs=["words"])
    assert [(r.id, r.score) for r in found] == [
        (r.id, r.score) for r in words_results(tmp_path / "words", "lift wing", 20)
    ]
    assert all(result.shares == {} for result in found)
    dense = retriever.search("lift wing", 20, legs=["sense"])
    vectors = Letters().encode_documents(corpus(200)).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query = Letters().encode_queries(["lift wing"])[0].astype(np.float64)
    cosines = vectors @ (query / np.linalg.norm(query))
    np.testing.assert_allclose([r.score for r in dense], np.sort(cosines)[::-1][:20], atol=1e-6)


def words_results(path: Path, query: str, k: int) -> list[Any]:
    with Retriever.open(path) as words:
        return words.search(query, k)


def test_it_is_opened_with_its_encoders(retriever: Retriever) -> None:
    expected = retriever.search("lift wing")
    path = retriever.path
    retriever.close()
    with pytest.raises(ConfigurationError, match="'letters', which cannot be made again"):
        Retriever.open(path)
    with pytest.raises(ConfigurationError, match="no leg 'other'; it has words, sense"):
        Retriever.open(path, {"other": Letters()})
    foreign = Letters()
    foreign.space = "letters/2"
    with pytest.raises(IncompatibleIndexError, match="letters/1"):
        Retriever.open(path, {"sense": foreign})
    with Retriever.open(path, {"sense": Letters()}) as again:
        assert again.legs == ["words", "sense"]
        assert again.search("lift wing") == expected
        assert "words: bm25" in again.description
        assert again.fusion == Convex()
    with pytest.raises(IncompatibleIndexError):
        IndexFolder(path)  # counts without what weighs them
    assert verify_index(path) == []


def test_changes_are_those_of_all_legs(retriever: Retriever) -> None:
    retriever.delete(["d3", "d50"])
    retriever.update([Document("d4", "noise noise noise", "", {"year": 9})])
    retriever.add([Document("new", "noise of a jet")])
    retriever.commit()
    fresh_path = retriever.path.with_name("fresh")
    kept = [d for d in corpus(200) if d.id not in ("d3", "d50", "d4")]
    fresh = make(
        fresh_path,
        [*kept, Document("d4", "noise noise noise", "", {"year": 9}),
         Document("new", "noise of a jet")],
    )  # fmt: skip
    for merged in (False, True):
        if merged:
            retriever.merge()
            assert [len(leg.snapshot.files) for leg in retriever.index.legs] == [1, 1]
        for query in ("noise", "lift of a wing", "jet wake"):
            assert retriever.search(query, 30) == fresh.search(query, 30)
        assert verify_index(retriever.path) == []
    retriever.add([Document("x", "never committed")])
    retriever.rollback()
    assert retriever.document("x") is None
    with pytest.raises(DuplicateIdError):
        retriever.add([Document("d7", "again")])
    retriever.delete([document.id for document in retriever.documents()])
    retriever.merge()
    assert retriever.search("noise") == []
    assert verify_index(retriever.path) == []


def test_many_small_commits_merge_in_every_leg(tmp_path: Path) -> None:
    retriever = Retriever.create(tmp_path / "i", {"words": "bm25", "sense": Letters()})
    for document in corpus(40):
        retriever.add([document])
        retriever.commit()
    numbers = [[f.numbers.tolist() for f in leg.files] for leg in retriever.index.state.legs]
    assert numbers[0] == numbers[1]
    assert len(numbers[0]) < 16
    whole = make(tmp_path / "whole", corpus(40))
    assert retriever.search("lift wing", 40) == whole.search("lift wing", 40)


def test_a_batch_that_one_leg_refuses_changes_none(retriever: Retriever) -> None:
    before = retriever.search("lift", 300)

    class Broken(Letters):
        def encode_documents(
            self, documents: Sequence[Document | str], *, show_progress: bool = False
        ) -> NDArray[np.float32]:
            made = super().encode_documents(documents)
            made[-1] = np.nan
            return made

    path = retriever.path
    retriever.close()
    with Retriever.open(path, {"sense": Broken()}) as broken:
        with pytest.raises(VectorError, match="not finite"):
            broken.add([Document("a", "lift"), Document("b", "lift")])
        broken.commit()
        assert broken.search("lift", 300) == before
        assert len(broken) == 200


def test_explanations_add_up(retriever: Retriever) -> None:
    for query in ("lift of a wing", "heat shock"):
        for fusion in FUSIONS:
            for result in retriever.search(query, 20, fusion=fusion):
                told = retriever.explain(query, result.id, fusion=fusion)
                assert np.float32(told.score) == np.float32(result.score)
                assert {leg.name: leg.share for leg in told.legs} == result.shares
                for leg in told.legs:
                    alone = retriever.search(query, 200, legs=[leg.name])
                    own = {r.id: (i + 1, r.score) for i, r in enumerate(alone)}
                    if leg.rank is not None:
                        assert own[result.id] == (leg.rank, leg.score)
                words = told.legs[0]
                assert {t.term for t in words.terms} | set(words.missing)
    far = retriever.explain("zeppelin", "d0")
    assert far.legs[0].rank is None
    alone = retriever.explain("lift", "d0", legs=["sense"])
    assert alone.legs == ()
    with pytest.raises(DocumentError):
        retriever.explain("lift", "nobody")


def test_feedback_works_in_every_leg(retriever: Retriever) -> None:
    found = retriever.search("lift", 10, like=["d3"], unlike=["d8"])
    assert len(found) == 10
    assert not {"d3", "d8"} & {result.id for result in found}
    like_alone = retriever.search(like=["d3"], k=5)
    text = retriever.document("d3")
    assert text is not None
    shared = set(text.text.split()) & set(like_alone[0].text.split())
    assert shared
    told = retriever.explain(None, like_alone[0].id, like=["d3"])
    assert np.float32(told.score) == np.float32(like_alone[0].score)


def test_fusion_of_the_index(retriever: Retriever) -> None:
    with pytest.raises(ConfigurationError, match="3 weights for 2 legs"):
        retriever.set_fusion(Convex((1, 1, 1)))
    retriever.set_fusion(ReciprocalRank((0.1, 0.9)))
    assert retriever.fusion == ReciprocalRank((0.1, 0.9))
    expected = retriever.search("lift", fusion=ReciprocalRank((0.1, 0.9)))
    assert retriever.search("lift") == expected
    path = retriever.path
    retriever.close()
    with Retriever.open(path, {"sense": Letters()}) as again:
        assert again.search("lift") == expected
    with (
        Retriever.create(path.with_name("one")) as one,
        pytest.raises(ConfigurationError, match="nothing to fuse"),
    ):
        one.set_fusion(Convex())
    made = make(path.with_name("two"), corpus(5), fusion=Convex((1, 3)))
    assert made.fusion == Convex((1, 3))


def test_a_leg_that_fails(retriever: Retriever) -> None:
    encoder = retriever.encoders["sense"]
    assert isinstance(encoder, Letters)
    encoder.fails = True
    with pytest.raises(LegError, match="the leg sense: out of memory, say") as caught:
        retriever.search("lift wing")
    assert caught.value.leg == "sense"
    found = retriever.search("lift wing", degrade=True)
    assert {result.missing for result in found} == {("sense",)}
    assert [r.id for r in found] == [r.id for r in retriever.search("lift wing", legs=["words"])]
    assert all(r.shares["sense"] == 0.0 for r in found)
    mode = retriever.retrieve(["lift"], degrade=True).mode
    assert mode.missing == ("sense",)
    assert mode.description == "exact, without sense"
    told = retriever.explain("lift wing", found[0].id, degrade=True)
    assert [leg.name for leg in told.legs] == ["words"]
    with pytest.raises(LegError):
        retriever.search("lift", legs=["sense"], degrade=True)
    encoder.fails = False
    assert retriever.search("lift wing")[0].missing == ()


def test_a_leg_whose_encoder_is_gone(retriever: Retriever) -> None:
    expected = [r.id for r in retriever.search("lift wing", legs=["words"])]
    path = retriever.path
    retriever.close()
    with Retriever.open(path, degrade=True) as left:
        with pytest.raises(LegError, match="the leg sense could not be opened"):
            left.search("lift wing")
        found = left.search("lift wing", degrade=True)
        assert [r.id for r in found] == expected
        assert found[0].missing == ("sense",)
        assert [r.id for r in left.search("lift wing", legs=["words"])] == expected
        with pytest.raises(LegError, match="nothing can be added without the leg sense"):
            left.add([Document("x", "y")])
        assert left.delete(["d1"]) == 1  # which needs no encoder


@pytest.mark.parametrize("leg", [0, 1])
@pytest.mark.parametrize("gone", [False, True])
def test_a_leg_whose_files_are_damaged(retriever: Retriever, leg: int, gone: bool) -> None:
    names = ["words", "sense"]
    other = names[1 - leg]
    expected = [r.id for r in retriever.search("lift wing", legs=[other])]
    path, file = retriever.path, retriever.index.state.legs[leg].files[0].path
    retriever.close()
    if gone:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(CorruptIndexError, match="missing" if gone else "truncated"):
        Retriever.open(path, {"sense": Letters()})
    with Retriever.open(path, {"sense": Letters()}, degrade=True) as left:
        assert len(left) == 200
        with pytest.raises(LegError, match=f"the leg {names[leg]} could not be opened"):
            left.search("lift wing")
        found = left.search("lift wing", degrade=True)
        assert [r.id for r in found] == expected
        assert found[0].missing == (names[leg],)
        with pytest.raises(LegError, match="nothing can be added without"):
            left.add([Document("x", "y")])
        left.refresh()
        assert [r.id for r in left.search("lift wing", legs=[other])] == expected
    assert verify_index(path) != []


@pytest.mark.parametrize(
    ("legs", "why"),
    [
        ({}, "one encoder at least"),
        ({"a": "bm25", "b": "bm25"}, "one leg of counts"),
        ({"a b": "bm25", "c": Letters()}, "names must differ, and consist"),
        ({"": "bm25", "c": Letters()}, "names must differ, and consist"),
        ({"a/b": Letters(), "c": Letters()}, "names must differ, and consist"),
    ],
)
def test_legs_that_cannot_be(tmp_path: Path, legs: Any, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        Retriever.create(tmp_path / "i", legs)
    assert not (tmp_path / "i" / "catalog.sqlite").exists()


def test_bad_requests(retriever: Retriever) -> None:
    for wrong in ({"legs": ["nobody"]}, {"legs": []}, {"legs": "words"}, {"depth": 0}, {"k": 0},
                  {"fusion": Convex((1, 1, 1))}, {"recall": 2}):  # fmt: skip
        with pytest.raises(ConfigurationError):
            retriever.search("lift", **wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="string"):
        retriever.search(7)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="leg must be one of words, sense"):
        retriever.tune()
    with pytest.raises(ConfigurationError, match="searched exactly"):
        retriever.tune(leg="words")


def test_a_dense_leg_alone(tmp_path: Path) -> None:
    documents = corpus(100)
    documents[5] = Document("d5", "")  # a vector of zeros
    with Retriever.create(tmp_path / "i", Letters()) as retriever:
        retriever.add(documents)
    with Retriever.open(tmp_path / "i", Letters()) as retriever:
        found = retriever.search("lift wing", 200)
        assert len(found) == 99
        assert "d5" not in {result.id for result in found}
        assert retriever.search("") == []
        told = retriever.explain("lift wing", found[3].id)
        assert (told.score, told.terms) == (found[3].score, [])
        assert retriever.search(like=[found[0].id], k=3)
        assert [r.id for r in retriever.search("lift", filter='_id = "d7"')] == ["d7"]
    assert verify_index(tmp_path / "i") == []
    catalog = tmp_path / "i" / "segments"
    (file,) = catalog.iterdir()
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - 1)
    with pytest.raises(CorruptIndexError, match="truncated"):
        Retriever.open(tmp_path / "i", Letters())


def test_ranges_of_the_order_field_in_dense_vectors(tmp_path: Path) -> None:
    documents = [Document(f"d{i}", "lift wing", "", {"t": i}) for i in range(300)]
    with make(tmp_path / "i", documents, order_by="t") as retriever:
        found = retriever.search("lift", 500, filter="t >= 100 and t < 110", legs=["sense"])
        assert [r.id for r in found] == [f"d{i}" for i in range(100, 110)]


def test_float16_and_budget(tmp_path: Path) -> None:
    settings = DenseSettings(precision="float16")
    with make(tmp_path / "i", corpus(300), dense=settings, memory_budget=1) as retriever:
        whole = make(tmp_path / "whole", corpus(300))
        close = retriever.search("lift of a wing", 50, legs=["sense"])
        exact = whole.search("lift of a wing", 50, legs=["sense"])
        np.testing.assert_allclose([r.score for r in close], [r.score for r in exact], atol=2e-3)
    assert verify_index(tmp_path / "i") == []


def test_dense_encoders_are_told_from_sparse_ones() -> None:
    assert isinstance(Letters(), DenseEncoder)
    from sparseret import load_encoder

    assert not isinstance(load_encoder("bm25"), DenseEncoder)
    with pytest.raises(VectorError, match=r"documents\.npy cannot be read"):
        load_encoder("precomputed", {"folder": "nowhere"})


changes = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 9)),
        st.tuples(st.just("delete"), st.integers(0, 40)),
        st.tuples(st.just("commit"), st.none()),
        st.tuples(st.just("rollback"), st.none()),
        st.tuples(st.just("merge"), st.none()),
    ),
    max_size=12,
)


@given(changes)
@settings(deadline=None, max_examples=25)
def test_histories_end_in_the_same_index(history: list[tuple[str, Any]]) -> None:
    import tempfile

    pool = corpus(120, seed=3)
    committed: list[Document] = []
    pending: list[Document] = []
    used = 0
    with tempfile.TemporaryDirectory() as folder:
        with Retriever.create(Path(folder, "i"), {"a": "bm25", "b": Letters()}) as retriever:
            for what, argument in history:
                if what == "add":
                    fresh = pool[used : used + argument]
                    used += argument
                    retriever.add(fresh)
                    pending = [*pending, *fresh]
                elif what == "delete":
                    retriever.delete([f"d{argument}"])
                    pending = [d for d in pending if d.id != f"d{argument}"]
                elif what == "rollback":
                    retriever.rollback()
                    pending = committed
                else:
                    getattr(retriever, what)()
                    committed = pending
            retriever.commit()
            with Retriever.create(Path(folder, "f"), {"a": "bm25", "b": Letters()}) as other:
                other.add(pending)
                other.commit()
                assert list(retriever.documents()) == pending
                assert retriever.search("lift wing", 99) == other.search("lift wing", 99)
        assert verify_index(Path(folder, "i")) == []


def test_json_of_the_catalog(retriever: Retriever) -> None:
    catalog = retriever.index.state.catalog
    assert catalog.format_version == 2
    assert json.loads(catalog.meta("legs")) == [
        {"name": "words", "kind": "inverted"},
        {"name": "sense", "kind": "dense"},
    ]
