"""Re-ranking: order, ties, time, failures, diversity, and scores equal to those of others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from letters import WORDS, Letters
from sparseret import Document, Retriever
from sparseret.errors import ConfigurationError, RerankError, VectorError
from sparseret.eval.chosen_legs import ChosenLegs
from sparseret.eval.runs import run_from_hits, run_lines
from sparseret.protocols import Candidates, Hits, Reranked, Reranker
from sparseret.reranking import Diversity, FullVectors
from sparseret.reranking.diversity import marginal_relevance
from sparseret.reranking.stage import RerankStage


class Clock:
    """Time that passes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Scores:
    """Rates documents by a function of their ids, a batch at a time, each in its seconds."""

    name = "scores"
    description = "scores (test)"

    def __init__(
        self,
        rate: Callable[[str], float] = lambda id: float(id[1:]),
        batch: int = 4,
        clock: Clock | None = None,
        seconds: float = 1.0,
    ) -> None:
        self.rate, self.batch, self.clock, self.seconds = rate, batch, clock, seconds
        self.seen: list[Candidates] = []

    def rescore(self, candidates: Candidates) -> Iterator[NDArray[Any]]:
        self.seen.append(candidates)
        for begin in range(0, len(candidates.documents), self.batch):
            if self.clock is not None:
                self.clock.now += self.seconds
            some = candidates.documents[begin : begin + self.batch]
            yield np.array([self.rate(document.id) for document in some])


def corpus(n: int = 60, seed: int = 0) -> list[Document]:
    rng = np.random.default_rng(seed)
    return [
        Document(f"d{i}", " ".join(rng.choice(WORDS, rng.integers(1, 8))), f"t{i}")
        for i in range(n)
    ]


@pytest.fixture
def words(tmp_path: Path) -> Iterator[Retriever]:
    """An index of one leg of words."""
    with Retriever.create(tmp_path / "words") as retriever:
        retriever.add(corpus())
        retriever.commit()
        yield retriever


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Retriever]:
    """Words and dense vectors, in several segments."""
    with Retriever.create(tmp_path / "both", {"words": "bm25", "sense": Letters()}) as retriever:
        for begin in range(0, 60, 25):
            retriever.add(corpus()[begin : begin + 25])
            retriever.commit()
        retriever.delete(["d3"])
        retriever.commit()
        yield retriever


# --- the stage ------------------------------------------------------------------------------


def test_results_are_ordered_by_the_reranker(words: Retriever) -> None:
    first = words.search("lift of a wing", 20)
    rated = sorted(first, key=lambda r: -float(r.id[1:]))
    found = words.search("lift of a wing", 5, rerank=Scores(), rerank_depth=20)
    assert [(r.id, r.score) for r in found] == [(r.id, float(r.id[1:])) for r in rated[:5]]
    before = {r.id: r.score for r in first}
    for result in found:
        assert result.first_stage_score == before[result.id]
        assert result.reranked
        assert result.missing == ()
    assert first[0].first_stage_score is None
    assert not first[0].reranked


def test_the_reranker_sees_what_was_found(words: Retriever) -> None:
    reranker = Scores()
    first = words.search("lift", 8)
    words.search("lift", 3, rerank=reranker, rerank_depth=8)
    seen = reranker.seen[0]
    assert seen.query == "lift"
    assert [(d.id, d.title, d.text) for d in seen.documents] == [
        (r.id, r.title, r.text) for r in first
    ]
    assert seen.scores.tolist() == [r.score for r in first]


def test_ties_keep_the_order_of_the_search(words: Retriever) -> None:
    first = words.search("lift wing", 30)
    found = words.search("lift wing", 30, rerank=Scores(lambda id: 1.0))
    assert [r.id for r in found] == [r.id for r in first]
    halves = words.search("lift wing", 30, rerank=Scores(lambda id: int(id[1:]) % 2))
    odd = [r.id for r in first if int(r.id[1:]) % 2]
    assert [r.id for r in halves][: len(odd)] == odd


def test_what_is_beyond_the_depth_stands_behind(words: Retriever) -> None:
    first = [r.id for r in words.search("lift wing", 12)]
    found = words.search("lift wing", 12, rerank=Scores(), rerank_depth=5)
    assert {r.id for r in found[:5]} == set(first[:5])
    assert [r.id for r in found[5:]] == first[5:]
    assert [r.reranked for r in found] == [True] * 5 + [False] * 7
    scores = [r.score for r in found]
    assert scores == sorted(scores, reverse=True)
    assert scores[5] < scores[4]
    before = [r.first_stage_score for r in found[5:]]
    gaps = np.diff([s for s in before if s is not None])
    np.testing.assert_allclose(np.diff(scores[5:]), gaps, atol=1e-5)


def test_fewer_results_than_the_depth_and_none(words: Retriever) -> None:
    reranker = Scores()
    assert words.search("zeppelin", rerank=reranker) == []
    assert words.search("", rerank=reranker) == []
    assert reranker.seen == []
    assert words.search_batch([], rerank=reranker) == []
    assert len(words.search("heat", 60, rerank=reranker)) == len(words.search("heat", 60))
    hits = words.retrieve(["zeppelin", "heat"], 2, rerank=reranker)
    assert hits.ids[0] == []
    assert hits.n_reranked == [0, 2]


def test_batches_are_reranked_as_single_queries_are(both: Retriever) -> None:
    queries = ["lift of a wing", "", "heat flow", "zeppelin"]
    for rerank in (Scores(), FullVectors(Letters()), Diversity(0.4), [Scores(), Diversity()]):
        batch = both.search_batch(queries, 7, rerank=rerank, rerank_depth=20, threads=2)
        single = [both.search(query, 7, rerank=rerank, rerank_depth=20) for query in queries]
        assert batch == single
        hits = both.retrieve(queries, 7, rerank=rerank, rerank_depth=20)
        assert hits.ids == [[r.id for r in row] for row in batch]


def test_shares_are_those_of_the_search(both: Retriever) -> None:
    first = {r.id: r.shares for r in both.search("lift wing", 30)}
    found = both.search("lift wing", 10, rerank=Scores(), rerank_depth=30)
    for result in found:
        assert result.shares == first[result.id]
        assert result.first_stage_score == pytest.approx(sum(result.shares.values()), abs=1e-6)
    told = both.explain("lift wing", found[0].id)
    assert np.float32(told.score) == np.float32(found[0].first_stage_score or 0)


def test_rerankers_work_one_after_another(words: Retriever) -> None:
    second = Scores(lambda id: -float(id[1:]))
    found = words.search("lift", 10, rerank=[Scores(), second], rerank_depth=10)
    assert [r.id for r in found] == sorted((r.id for r in found), key=lambda id: int(id[1:]))
    seen = [float(d.id[1:]) for d in second.seen[0].documents]
    assert seen == sorted(seen, reverse=True)
    assert second.seen[0].scores.tolist() == seen
    mode = words.retrieve(["lift"], rerank=[Scores(), Diversity(0.5)]).mode
    assert mode.reranked == Reranked(("scores", "mmr"))
    assert mode.description == "exact, re-ranked by scores, then mmr"


def test_feedback_and_filters_come_before(words: Retriever) -> None:
    reranker = Scores()
    found = words.search("lift", 10, like=["d3"], rerank=reranker)
    assert "d3" not in {r.id for r in found}
    words.search(like=["d3"], rerank=reranker)
    assert reranker.seen[-1].query is None
    with pytest.raises(ConfigurationError, match="text of a query"):
        words.search(like=["d3"], rerank=FullVectors(Letters()), degrade=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rerank": "cross-encoder"}, "is none: it needs name, description and rescore"),
        ({"rerank": [Scores]}, "is none"),
        ({"rerank": Scores(), "rerank_depth": 0}, "rerank_depth must be a whole number"),
        ({"rerank": Scores(), "time_budget": 0}, "seconds above 0"),
        ({"rerank": Scores(), "time_budget": float("nan")}, "seconds above 0"),
        ({"rerank": Scores(), "time_budget": True}, "seconds above 0"),
        ({"time_budget": 1.0}, "give a re-ranker"),
        ({"rerank": Scores(), "k": 0}, "k must be"),
        ({"rerank": Scores(), "k": "3"}, "k must be"),
    ],
)
def test_arguments_that_cannot_be(
    words: Retriever, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        words.search("lift", **arguments)


# --- time -----------------------------------------------------------------------------------


def staged(retriever: Retriever, stage: RerankStage, query: str, k: int) -> Hits:
    first = retriever.retrieve([query], stage.first_k(k))
    return stage.apply(retriever._view, [query], first, k, degrade=False)


@pytest.mark.parametrize(
    ("budget", "reached"), [(0.5, 4), (1.0, 4), (1.9, 4), (2.0, 8), (3.5, 12), (99.0, 20)]
)
def test_the_budget_is_kept(words: Retriever, budget: float, reached: int) -> None:
    first = words.retrieve(["lift wing"], 20).ids[0]
    clock = Clock()
    stage = RerankStage((Scores(clock=clock),), 20, budget, clock)
    hits = staged(words, stage, "lift wing", 20)
    assert clock.now <= max(budget, 1.0)  # the first batch is always rated
    best = sorted(first[:reached], key=lambda id: -int(id[1:]))
    assert hits.ids == [best + first[reached:]]
    assert hits.n_reranked == [reached]
    assert hits.mode.reranked == Reranked(("scores",), 20 - reached)
    assert (np.diff(hits.scores[0]) <= 0).all()
    if reached < 20:
        assert hits.mode.description.endswith(
            f"re-ranked by scores but for up to {20 - reached} candidates when time was over"
        )
    assert list(run_lines(run_from_hits(["q"], hits)))


def test_a_budget_is_that_of_each_query(words: Retriever) -> None:
    clock = Clock()
    stage = RerankStage((Scores(clock=clock),), 20, 2.0, clock)
    queries = ["lift wing", "heat", "lift wing"]
    first = words.retrieve(queries, 20)
    hits = stage.apply(words._view, queries, first, 10, degrade=False)
    assert hits.n_reranked == [8, 8, 8]
    assert hits.ids[0] == hits.ids[2]


def test_rerankers_share_the_budget(words: Retriever) -> None:
    clock = Clock()
    slow, late = Scores(clock=clock), Scores(lambda id: 0.0, clock=clock)
    hits = staged(words, RerankStage((slow, late), 20, 3.0, clock), "lift wing", 20)
    assert late.seen == []
    assert hits.mode.reranked == Reranked(("scores", "scores"), 20)
    assert hits.n_reranked == [0]
    one = staged(words, RerankStage((slow,), 12, None, clock), "lift wing", 20)
    assert hits.ids == one.ids
    clock.now = 0.0
    hits = staged(words, RerankStage((slow, late), 20, 6.0, clock), "lift wing", 20)
    assert [len(c.documents) for c in late.seen] == [20]
    assert hits.n_reranked == [4]
    assert (np.diff(hits.scores[0]) <= 0).all()


def test_without_a_clock_in_hand(words: Retriever) -> None:
    found = words.search("lift", 5, rerank=Scores(), time_budget=1000.0)
    assert found == words.search("lift", 5, rerank=Scores())


# --- failures -------------------------------------------------------------------------------


class Broken(Scores):
    """Gives what a test wants."""

    name = "broken"

    def __init__(self, *batches: Any) -> None:
        super().__init__()
        self.batches = batches

    def rescore(self, candidates: Candidates) -> Iterator[NDArray[Any]]:
        for batch in self.batches:
            if isinstance(batch, Exception):
                raise batch
            yield batch


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([np.array([1.0, np.nan, 2.0])], "document 1 got the score nan"),
        ([np.ones(2), np.array([-np.inf])], "document 2 got the score -inf"),
        ([np.array([1.0, 1e39])], r"document 1 got the score 1e\+39"),
        ([np.ones(2)], "it gave 2 scores for 4 documents"),
        ([], "it gave 0 scores for 4 documents"),
        ([np.ones(5)], r"scores of shape \(5,\) where 4 documents were left"),
        ([np.ones(2), np.ones(3)], r"scores of shape \(3,\) where 2 documents were left"),
        ([np.ones((4, 1))], r"scores of shape \(4, 1\)"),
        ([np.ones(0)], r"scores of shape \(0,\)"),
        (["abcd"], "could not convert"),
        ([{"d1": 1.0}], "dict in place of scores"),
        ([np.ones(3), RuntimeError("out of memory, say")], "broken: out of memory, say"),
        ([VectorError("no such vector")], "broken: no such vector"),
    ],
)
def test_a_reranker_that_fails(words: Retriever, batches: list[Any], message: str) -> None:
    broken = Broken(*batches)
    with pytest.raises(RerankError, match=message) as caught:
        words.search("lift", 4, rerank=broken, rerank_depth=4)
    assert caught.value.reranker == "broken"
    found = words.search("lift", 4, rerank=broken, rerank_depth=4, degrade=True)
    first = words.search("lift", 4)
    assert [(r.id, r.score) for r in found] == [(r.id, r.score) for r in first]
    assert {r.missing for r in found} == {("broken",)}
    assert not any(r.reranked for r in found)
    mode = words.retrieve(["lift"], 4, rerank=broken, rerank_depth=4, degrade=True).mode
    assert mode.missing == ("broken",)
    assert mode.reranked is None
    assert mode.description == "exact, without broken"


def test_the_others_go_on_without_it(both: Retriever) -> None:
    encoder = Letters()
    encoder.fails = True
    rerank: list[Reranker] = [FullVectors(encoder), Scores()]
    found = both.search("lift", 5, rerank=rerank, degrade=True)
    alone = both.search("lift", 5, rerank=Scores())
    assert [(r.id, r.score, r.reranked) for r in found] == [(r.id, r.score, True) for r in alone]
    mode = both.retrieve(["lift"], rerank=rerank, degrade=True).mode
    assert mode.reranked == Reranked(("scores",))
    assert mode.missing == ("full-vectors",)


def test_mistakes_in_a_program_are_not_hidden(words: Retriever) -> None:
    with pytest.raises(TypeError):
        words.search("lift", rerank=Broken(TypeError("a bug")), degrade=True)


# --- full vectors ---------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["cosine", "ip"])
def test_full_vectors_are_those_of_the_leg(tmp_path: Path, metric: Literal["cosine", "ip"]) -> None:
    encoder = Letters(metric)
    with Retriever.create(tmp_path / "i", {"words": "bm25", "sense": encoder}) as retriever:
        retriever.add(corpus())
        retriever.commit()
        encoder.encoded.clear()
        found = retriever.search("lift of a wing", 60, legs=["words"], rerank=FullVectors(encoder))
        assert encoder.encoded == []  # they are in the index
        exact = {r.id: r.score for r in retriever.search("lift of a wing", 60, legs=["sense"])}
        assert found
        assert [r.score for r in found] == [exact[r.id] for r in found]
        assert [r.id for r in found] == [id for id in exact if id in {r.id for r in found}]


@pytest.mark.parametrize("metric", ["cosine", "ip"])
def test_full_vectors_without_a_leg(
    words: Retriever, both: Retriever, metric: Literal["cosine", "ip"]
) -> None:
    encoder = Letters(metric, "other")
    found = words.search(
        "lift wing", 40, rerank=FullVectors(encoder, batch_size=7), rerank_depth=23
    )
    assert encoder.encoded == [7, 7, 7, 2]
    rows = encoder.encode_documents([Document(r.id, r.text, r.title) for r in found[:23]])
    query = encoder.encode_queries(["lift wing"])[0]
    expected = rows.astype(np.float64) @ query
    if metric == "cosine":
        expected /= np.linalg.norm(rows, axis=1) * np.linalg.norm(query)
    np.testing.assert_allclose([r.score for r in found[:23]], expected, rtol=1e-5)
    encoder.encoded.clear()
    both.search("lift", rerank=FullVectors(encoder))  # the leg there is of another space
    assert encoder.encoded


def test_full_vectors_that_cannot_be(words: Retriever) -> None:
    with pytest.raises(ConfigurationError, match="those of a dense encoder"):
        FullVectors(words.encoder)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="batch_size"):
        FullVectors(Letters(), batch_size=0)

    class Short(Letters):
        def encode_documents(
            self, documents: Sequence[Document | str], *, show_progress: bool = False
        ) -> NDArray[np.float32]:
            return super().encode_documents(documents)[1:]

    with pytest.raises(RerankError, match="made 15 vectors of 16 texts"):
        words.search("lift", rerank=FullVectors(Short()))
    assert FullVectors(Letters()).description == "full vectors of letters (cosine)"
    assert isinstance(FullVectors(Letters()), Reranker)


# --- diversity ------------------------------------------------------------------------------


def plain_mmr(scores: NDArray[Any], cosines: NDArray[np.float64], lambda_: float) -> list[int]:
    """Places in the order of choosing, word by word as the paper says."""
    low, high = scores.min(), scores.max()
    relevance = [(s - low) / (high - low) if high > low else 1.0 for s in scores.astype(float)]
    chosen: list[int] = []
    while len(chosen) < len(scores):
        best, best_value = -1, -np.inf
        for d in range(len(scores)):
            if d in chosen:
                continue
            nearest = max((cosines[d, c] for c in chosen), default=0.0)
            value = lambda_ * relevance[d] - (1 - lambda_) * nearest
            if value > best_value:
                best, best_value = d, value
        chosen.append(best)
    return chosen


@given(
    st.integers(1, 12), st.integers(1, 4), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_mmr_is_the_plain_one(n: int, dim: int, lambda_: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Quarters add without rounding, and tie often.
    cosines = rng.integers(-4, 5, (n, n)) / 4
    cosines = np.maximum(cosines, cosines.T)
    scores = np.sort(rng.integers(0, 5, n))[::-1].astype(np.float32)
    scores[:1] = 4.0
    scores[-1:] = 0.0
    values = marginal_relevance(scores, lambda place: cosines[place], lambda_)
    order = np.argsort(-values, kind="stable")
    assert order.tolist() == plain_mmr(scores, cosines, lambda_)


def test_diversity_by_dense_and_by_sparse_vectors(both: Retriever, words: Retriever) -> None:
    for retriever in (both, words):
        first = retriever.retrieve(["lift wing heat"], 40)
        reranker = Diversity(0.6)
        found = retriever.retrieve(["lift wing heat"], 40, rerank=reranker, rerank_depth=40)
        texts = [retriever.document(id) for id in first.ids[0]]
        documents = [document for document in texts if document is not None]
        if retriever is both:
            rows = Letters().encode_documents(documents).astype(np.float64)
        else:
            view = words._view.legs[0]
            numbers = [words._view.number_of(id) for id in first.ids[0]]
            encoder: Any = view.encoder
            rows = np.zeros((len(numbers), 100))
            for row, number in zip(rows, numbers, strict=True):
                columns, weights = view.snapshot.row(number)
                row[columns] = weights * encoder.term_weights(columns)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        expected = plain_mmr(first.scores[0], rows @ rows.T, 0.6)
        ids = [first.ids[0][place] for place in expected]
        # Copies of a text tie, but for the last digit; so the texts are compared.
        text = {document.id: sorted(document.text.split()) for document in documents}
        assert [text[id] for id in found.ids[0]][:15] == [text[id] for id in ids][:15]
        assert (np.diff(found.scores[0]) <= 0).all()


def test_copies_go_behind(words: Retriever) -> None:
    words.add([Document(f"c{i}", "propeller blade") for i in range(4)])
    words.add([Document("other", "propeller with a very long wake and noise")])
    words.commit()
    assert words.search("propeller blade", 2)[1].id == "c1"
    found = [r.id for r in words.search("propeller blade", 5, rerank=Diversity(0.4))]
    assert found == ["c0", "other", "c1", "c2", "c3"]
    same = [r.id for r in words.search("propeller blade", 5, rerank=Diversity(1))]
    assert same == [r.id for r in words.search("propeller blade", 5)]


def test_diversity_of_little(both: Retriever, words: Retriever) -> None:
    assert len(words.search("lift", 1, rerank=Diversity(), rerank_depth=1)) == 1
    assert marginal_relevance(np.empty(0, np.float32), lambda _: np.empty(0), 0.5).shape == (0,)
    values = marginal_relevance(np.ones(3), lambda _: np.zeros(3), 0.7)  # nothing in common
    np.testing.assert_allclose(values, [1.0, 0.7, 0.7])
    both.add([Document("empty", "", "")])
    both.commit()
    assert both.search("lift", 60, rerank=Diversity(0.1))
    for wrong in (-0.1, 1.1, float("nan"), "0.7", True, None):
        with pytest.raises(ConfigurationError, match="lambda_ must be"):
            Diversity(wrong)  # type: ignore[arg-type]
    bare = Candidates("lift", [Document("a", "lift")], np.ones(1, np.float32))
    with pytest.raises(ConfigurationError, match="vectors of an index"):
        next(Diversity().rescore(bare))
    assert Diversity().description == "mmr (lambda=0.7)"
    assert isinstance(Diversity(), Reranker)


# --- cross-encoders -------------------------------------------------------------------------

TEXTS = [
    "", "lift", "The lift of a wing grows with its angle of attack.",
    "Panels flutter in supersonic flow; a wing flutters, too. " * 8, "heat", "wing wing wing",
]  # fmt: skip


@pytest.fixture(scope="module")
def make_classifier(make_model: Callable[..., Path]) -> Callable[..., Path]:
    """A function that makes folders of cross-encoders with random weights."""

    def make(architecture: str = "bert", labels: int = 1, **more: Any) -> Path:
        import torch
        import transformers

        folder = make_model(TEXTS[1:], architecture)
        config = transformers.AutoConfig.from_pretrained(folder, num_labels=labels, **more)
        torch.manual_seed(1)
        model = transformers.AutoModelForSequenceClassification.from_config(config)
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.3)
        model.save_pretrained(folder)
        settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
        settings |= {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
        if architecture == "bert":
            (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
        return folder

    return make


@pytest.mark.parametrize(
    ("architecture", "more"),
    [
        ("bert", {}),
        ("bert", {"sentence_transformers": {
            "activation_fn": "torch.nn.modules.linear.Identity", "version": "4.1.0"}}),
        ("bert", {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}),
        ("distilbert", {}),
        ("electra", {}),
    ],
    ids=["bert", "identity", "old", "distilbert", "electra"],
)  # fmt: skip
def test_scores_are_those_of_sentence_transformers(
    make_classifier: Callable[..., Path], architecture: str, more: dict[str, Any], tmp_path: Path
) -> None:
    peer = pytest.importorskip("sentence_transformers")
    from sparseret.encoders.cross_encoder import CrossEncoder

    folder = make_classifier(architecture, **more)
    other = peer.CrossEncoder(str(folder), device="cpu")
    other.save_pretrained(str(tmp_path / "saved"))
    for query in ("lift of a wing", "", "flutter " * 50):
        expected = other.predict([(query, text) for text in TEXTS])
        assert len(set(expected.tolist())) > 2
        for place in (folder, tmp_path / "saved"):
            for batch_tokens in (4096, 70, 1):
                ours = CrossEncoder(place, batch_tokens=batch_tokens)
                np.testing.assert_allclose(ours.rate(query, TEXTS), expected, atol=1e-5)


def test_cross_encoder_in_a_search(
    make_classifier: Callable[..., Path], words: Retriever, tmp_path: Path
) -> None:
    from sparseret.encoders.cross_encoder import CrossEncoder

    reranker = CrossEncoder(make_classifier(), batch_size=7, max_length=32)
    assert isinstance(reranker, Reranker)
    assert reranker.description.endswith("32 tokens)")
    found = words.search("lift wing", 20, rerank=reranker, rerank_depth=20)
    contents = [f"{r.title} {r.text}" for r in found]
    expected = [reranker.rate("lift wing", [content])[0] for content in contents]
    np.testing.assert_allclose([r.score for r in found], expected, atol=1e-6)
    assert reranker.rate("lift", []).shape == (0,)
    assert words.search_batch(["lift wing"], 20, rerank=reranker, rerank_depth=20) == [found]
    with pytest.raises(ConfigurationError, match="reads the text of a query"):
        words.search(like=["d1"], rerank=reranker)


def test_folders_that_are_no_cross_encoder(
    make_classifier: Callable[..., Path], make_model: Callable[..., Path], tmp_path: Path
) -> None:
    from sparseret.encoders.cross_encoder import CrossEncoder

    with pytest.raises(ConfigurationError, match="no such folder"):
        CrossEncoder(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match=r"no config\.json"):
        CrossEncoder(tmp_path)
    with pytest.raises(ConfigurationError, match="classifier of one label"):
        CrossEncoder(make_classifier(labels=3))
    body = make_model(TEXTS[1:])  # a language model, without what rates a pair
    config = json.loads((body / "config.json").read_text("utf-8"))
    config |= {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    (body / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(ConfigurationError, match="no trained cross-encoder"):
        CrossEncoder(body)
    folder = make_classifier()
    for option in ({"batch_size": 0}, {"batch_tokens": 0}, {"max_length": 65}):
        with pytest.raises(ConfigurationError, match="must be a whole number"):
            CrossEncoder(folder, **option)
    with pytest.raises(ConfigurationError, match="device 'nonsense'"):
        CrossEncoder(folder, device="nonsense")
    settings = folder / "config_sentence_transformers.json"
    for said, message in (
        ({"activation_fn": "os.system"}, "cannot use the activation 'os.system'"),
        ({"default_prompt_name": "query"}, "with a prompt"),
        ([], "must hold a JSON object"),
    ):
        settings.write_text(json.dumps(said), "utf-8")
        with pytest.raises(ConfigurationError, match=message):
            CrossEncoder(folder)
    settings.unlink()
    (folder / "modules.json").write_text(
        json.dumps([{"type": "a.Transformer"}, {"type": "a.Pooling"}]), "utf-8"
    )
    with pytest.raises(ConfigurationError, match="Transformer, Pooling as a cross-encoder"):
        CrossEncoder(folder)
    (folder / "modules.json").write_text("{}", "utf-8")
    CrossEncoder(folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ConfigurationError, match="holds no cross-encoder"):
        CrossEncoder(folder)


# --- the command line -----------------------------------------------------------------------


def test_evaluations_of_rerankers(both: Retriever) -> None:
    chosen = ChosenLegs(both, ["words"], None, [FullVectors(Letters()), Diversity(0.5)], 30)
    assert chosen.description == (
        "words: bm25 (lucene, k1=1.5, b=0.75, english); best 30 by full vectors of letters "
        "(cosine); best 30 by mmr (lambda=0.5)"
    )
    hits = chosen.retrieve(["lift"], 5)
    assert hits.mode.reranked == Reranked(("full-vectors", "mmr"))


def test_command_line(words: Retriever, run: Callable[..., Any], tmp_path: Path) -> None:
    path = words.path
    found = run("search", path, "lift wing", "--mmr", "0.5", "--rerank-depth", "20", "--json")
    lines = [json.loads(line) for line in found.out.splitlines()]
    expected = words.search("lift wing", rerank=Diversity(0.5), rerank_depth=20)
    assert [(line["id"], line["score"]) for line in lines] == [(r.id, r.score) for r in expected]
    assert lines[0]["reranked"] is True
    assert lines[0]["first_stage_score"] == expected[0].first_stage_score
    assert "reranked" not in json.loads(run("search", path, "lift").out.splitlines()[0])
    assert run("search", path, "lift wing", "--mmr", "0.9", "--explain").status == 0
    assert run("search", path, "lift", "--rerank", tmp_path / "none").status == 1
    assert run("search", path, "lift", "--time-budget", "1").status == 2
    assert run("search", path, "lift", "--mmr", "2").status == 1
    (tmp_path / "queries.txt").write_text("lift\nwing\n", "utf-8")
    made = run("search", path, "--queries", tmp_path / "queries.txt", "-k", "3", "--mmr", "0.5")
    assert len(made.out.splitlines()) == 6


def test_command_line_of_vectors(words: Retriever, run: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "vectors"
    folder.mkdir()
    documents = corpus()
    np.save(folder / "documents.npy", Letters().encode_documents(documents))
    (folder / "documents.txt").write_text("\n".join(d.id for d in documents) + "\n", "utf-8")
    np.save(folder / "queries.npy", Letters().encode_queries(["lift wing"]))
    (folder / "queries.txt").write_text("lift wing\n", "utf-8")
    made = run("search", words.path, "lift wing", "--rerank", f"precomputed:{folder}")
    expected = words.search("lift wing", rerank=FullVectors(Letters()))
    assert [json.loads(line)["score"] for line in made.out.splitlines()] == [
        r.score for r in expected
    ]
    unknown = run("search", words.path, "heat", "--rerank", f"precomputed:{folder}")
    assert unknown.status == 1
    assert "the re-ranker full-vectors" in unknown.err
    left = run("search", words.path, "heat", "--rerank", f"precomputed:{folder}", "--degrade")
    assert left.err == "warning: searched without full-vectors\n"
    assert len(left.out.splitlines()) == 10


def test_command_line_of_cross_encoders(
    words: Retriever, run: Callable[..., Any], make_classifier: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_classifier()
    found = run("search", words.path, "lift wing", "--rerank", folder, "--mmr", "0.9")
    assert found.status == 0
    assert found.err == ""
    (tmp_path / "queries.txt").write_text("lift\nwing\n", "utf-8")
    for asked in (["lift wing", "-k", "40"], ["--queries", tmp_path / "queries.txt"]):
        said = run("search", words.path, *asked, "--rerank", folder, "--time-budget", "1e-9").err
        assert said == "warning: time was over before all results were re-ranked\n"


def test_command_line_of_evaluations(run: Callable[..., Any], tmp_path: Path) -> None:
    made = run(
        "eval",
        "cranfield",
        "-m",
        "nDCG@10",
        "--mmr",
        "1",
        "--rerank-depth",
        "20",
        "--json",
        tmp_path / "a.json",
    )
    assert made.status == 0, made.err
    assert "best 20 by mmr (lambda=1)" in made.out
    assert "search: exact, re-ranked by mmr" in made.out
    report = json.loads((tmp_path / "a.json").read_text("utf-8"))
    assert report["measures"]["nDCG@10"] == pytest.approx(0.5260, abs=5e-5)
    assert run("eval", "cranfield", "--from-run", "x.run", "--mmr", "1").status == 2
