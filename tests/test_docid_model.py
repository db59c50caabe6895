"""Docid models: search against its formula, changes, files, bad input, and that they learn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from sparseret import Document, read_documents
from sparseret.analysis import Analyzer
from sparseret.errors import (
    ConfigurationError,
    CorruptIndexError,
    DocumentError,
    DuplicateIdError,
    IncompatibleIndexError,
    IndexExistsError,
    IndexLockedError,
    IndexNotFoundError,
    StorageError,
    VectorError,
)
from sparseret.eval.datasets import load_dataset
from sparseret.eval.measures import measure
from sparseret.eval.runs import RankedDocument
from sparseret.indexers import docid_model
from sparseret.indexers.docid_model import DocidIndex
from sparseret.protocols import Index
from sparseret.train.codes import short_texts
from sparseret.train.docid_training import DocidTrainer
from sparseret.train.docids import passage_examples, query_examples, term_examples

DIM, N = 12, 150


def gaussian(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def names(n: int = N, first: int = 0) -> list[str]:
    return [f"d{number}" for number in range(first, first + n)]


def make(path: Path, vectors: NDArray[np.float32] | None = None, **options: Any) -> DocidIndex:
    rows = gaussian(N, DIM) if vectors is None else vectors
    index = DocidIndex.create(path, rows.shape[1], **options)
    index.add(names(len(rows)), rows)
    index.commit()
    return index


def trained(path: Path, **options: Any) -> DocidIndex:
    index = make(path)
    examples = gaussian(N, DIM) + 0.5 * gaussian(N, DIM, seed=1)
    DocidTrainer(**{"epochs": 2, **options}).fit(index, examples, [[id] for id in names()])
    index.commit()
    return index


# --- search -------------------------------------------------------------------------------------


def test_an_untrained_model_is_dense_search(tmp_path: Path) -> None:
    for cosine in (True, False):
        index: Index = make(tmp_path / str(cosine), cosine=cosine)
        documents, queries = (a.astype(np.float64) for a in (gaussian(N, DIM), gaussian(5, DIM)))
        if cosine:
            for rows in (documents, queries):
                rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        scores = queries @ documents.T
        hits = index.search(csr_array(gaussian(5, DIM)), 7)
        for row, ids, found in zip(scores, hits.ids, hits.scores, strict=True):
            best = np.argsort(-row, kind="stable")[:7]
            assert ids == [f"d{place}" for place in best]
            np.testing.assert_allclose(found, row[best], rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("one_thread")
def test_scores_are_what_the_formula_says(tmp_path: Path) -> None:
    index = trained(tmp_path / "i", hidden=6)
    model, queries = index.model, gaussian(4, DIM, seed=3)
    x = queries.astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    f = x + np.maximum(x @ model.hidden_in.T, 0) @ model.hidden_out.T
    scores = f @ model.weights.T + model.bias
    assert np.abs(model.bias).max() > 0
    assert np.abs(model.hidden_out).max() > 0
    for threads in (None, 1, 3):
        hits = index.search(queries, N, threads=threads)
        for row, ids, found in zip(scores, hits.ids, hits.scores, strict=True):
            assert {*ids} == {*names()}
            np.testing.assert_allclose(found, row[[int(id[1:]) for id in ids]], atol=1e-5)
            assert (np.diff(found) <= 0).all()
    one = [index.search(queries[[place]], 3) for place in range(4)]
    assert [hits.ids[0] for hits in one] == index.search(queries, 3).ids


def test_ties_zeros_and_lists(tmp_path: Path) -> None:
    rows = gaussian(5, DIM)
    rows[3], rows[2] = rows[0], 0
    index = make(tmp_path / "i", rows)
    hits = index.search(np.stack([rows[0], rows[2]]), 99)
    assert hits.ids[0][:2] == ["d0", "d3"]  # alike: the first one first
    assert len(hits.ids[0]) == 4  # a document without a vector is never found
    assert hits.ids[1] == []  # nor does a query without one find any
    assert index.search(rows[:1], 9, allow=["d4", "d3", "d2", "?"]).ids == [["d3", "d4"]]
    assert index.search(rows[:1], 9, allow=[]).ids == [[]]
    assert index.search(rows[:0]).ids == []


# --- changes and files --------------------------------------------------------------------------


@pytest.mark.usefixtures("one_thread")
def test_changes(tmp_path: Path) -> None:
    index = trained(tmp_path / "i")
    query = gaussian(1, DIM)
    before = index.search(query, 5)
    assert (len(index), index.untrained) == (N, 0)
    index.add(["new"], query)
    assert index.delete(["d3", "d3", "?"]) == 1
    assert index.delete(["d3"]) == 0
    assert index.search(query, 5).ids == before.ids  # not committed
    index.commit()
    again = DocidIndex.open(tmp_path / "i")
    for one in (index, again):
        hits = one.search(query, N)
        assert "new" in hits.ids[0][:3]
        assert "d3" not in hits.ids[0]
        assert (len(one), one.untrained) == (N, 1)
        place = hits.ids[0].index("d7")
        place_before = index.search(query, N).ids[0].index("d7")
        assert place == place_before
    again.add(["d3"], query)
    again.delete(["new"])
    again.commit()
    assert DocidIndex.open(tmp_path / "i").search(query, 1).ids == again.search(query, 1).ids
    with pytest.raises(IndexLockedError, match="changed or removed since it was opened"):
        index.delete(["d1"])
        index.commit()
    index.rollback()
    index.commit()  # nothing left to do
    assert len(DocidIndex.open(tmp_path / "i")) == N


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "i"
    index = make(path, space="dense/1")
    with pytest.raises(IndexExistsError, match="open it, or choose another"):
        DocidIndex.create(path, DIM)
    with pytest.raises(IndexNotFoundError):
        DocidIndex.open(tmp_path / "other")
    with pytest.raises(IncompatibleIndexError, match="not of dense/2"):
        DocidIndex.open(path, space="dense/2")
    assert DocidIndex.open(path, space="dense/1").model.ids == index.model.ids
    empty = DocidIndex.create(tmp_path / "empty", DIM)
    assert empty.search(gaussian(2, DIM)).ids == [[], []]
    assert len(DocidIndex.open(tmp_path / "empty")) == 0
    whole = path.read_bytes()
    for bad in (b"", whole[:40], whole[:-9], whole[:-1] + bytes([whole[-1] ^ 1]), b"x" * 99):
        path.write_bytes(bad)
        with pytest.raises(CorruptIndexError, match="restore it, or make the index again"):
            DocidIndex.open(path)
    path.write_bytes(whole.replace(b'"version":"1"', b'"version":"2"'))
    with pytest.raises(IncompatibleIndexError, match="upgrade it"):
        DocidIndex.open(path)
    path.write_bytes(whole.replace(b"sparseret-docids", b"sparseret-others"))
    with pytest.raises(CorruptIndexError, match="something else"):
        DocidIndex.open(path)
    with pytest.raises(StorageError):
        DocidIndex.create(tmp_path / "no" / "folder", DIM)
    assert not [*tmp_path.glob("*.new")]


def test_a_failed_commit_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = make(tmp_path / "i")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    index.delete(["d0"])
    with monkeypatch.context() as patch:
        patch.setattr("safetensors.numpy.save_file", full)
        with pytest.raises(StorageError, match="No space left"):
            index.commit()
    assert len(index) == len(DocidIndex.open(tmp_path / "i")) == N
    index.commit()  # the changes are still there
    assert len(index) == len(DocidIndex.open(tmp_path / "i")) == N - 1


def test_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = make(tmp_path / "i")
    for dim in (0, 2**17, 1.5):
        with pytest.raises(ConfigurationError, match="dim must be"):
            DocidIndex.create(tmp_path / "j", dim)  # type: ignore[arg-type]
    nan = np.full((1, DIM), np.nan, np.float32)
    for bad in (nan, gaussian(1, DIM + 1), gaussian(DIM), [["a"] * DIM], csr_array((1, 3))):
        with pytest.raises(VectorError):
            index.search(bad)
        with pytest.raises(VectorError):
            index.add(["x"], bad)
    with pytest.raises(VectorError, match="2 ids for 1 vectors"):
        index.add(["x", "y"], gaussian(1, DIM))
    for ids in (["d1"], ["x", "x"]):
        with pytest.raises(DuplicateIdError):
            index.add(ids, gaussian(len(ids), DIM))
    for id in ("", "a\n", 3):
        with pytest.raises(DocumentError):
            index.add([id], gaussian(1, DIM))  # type: ignore[list-item]
    for k in (0, -1, 1.5):
        with pytest.raises(ConfigurationError, match="k must be"):
            index.search(gaussian(1, DIM), k)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="one string"):
        index.delete("d1")
    index.commit()
    assert len(index) == N  # none of it left a trace
    monkeypatch.setattr(docid_model, "MAX_DOCUMENTS", N + 1)
    with pytest.raises(ConfigurationError, match="takes at most 151: keep larger corpora"):
        index.add(["x", "y"], gaussian(2, DIM))
    with pytest.raises(VectorError, match="scores could exceed float32"):
        huge = make(tmp_path / "huge", gaussian(3, DIM) * np.float32(1e25), cosine=False)
        huge.search(gaussian(1, DIM) * np.float32(1e20))


# --- training -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_thread")
def test_the_same_seed_gives_the_same_model(tmp_path: Path) -> None:
    options: dict[str, Any] = {"hidden": 5, "candidates": 40, "start": "random"}
    one, two = (trained(tmp_path / name, **options).model for name in "ab")
    other = trained(tmp_path / "c", **options, seed=1).model
    np.testing.assert_array_equal(one.weights, two.weights)
    np.testing.assert_array_equal(one.hidden_out, two.hidden_out)
    assert (one.weights != other.weights).any()


@pytest.mark.usefixtures("one_thread")
def test_the_loss_is_that_of_the_formula(tmp_path: Path) -> None:
    index = make(tmp_path / "i")
    inputs, right = gaussian(3, DIM, seed=5), [["d1"], ["d2", "d9", "d4"], ["d1", "d3"]]
    x, w = (a.astype(np.float64) for a in (inputs, index.model.weights))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    logits = 20 * x @ w.T
    wanted = [
        np.log(np.exp(row).sum()) - np.mean([row[int(id[1:])] for id in ids])
        for row, ids in zip(logits, right, strict=True)
    ]
    trainer = DocidTrainer(epochs=1, batch_size=8).fit(index, inputs, right)
    assert trainer.history == [pytest.approx(np.mean(wanted), rel=1e-5)]
    index.commit()
    assert index.untrained == N - 5


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("options", [{}, {"candidates": 50}, {"hidden": 8}])
def test_documents_that_answer_what_is_unlike_them(tmp_path: Path, options: dict[str, Any]) -> None:
    """Queries are near other vectors than those of their documents: only training can tell."""
    meant = gaussian(N, DIM, seed=8)
    index = make(tmp_path / "i", gaussian(N, DIM))
    train, test = (meant + 0.3 * gaussian(N, DIM, seed=seed) for seed in (1, 2))

    def share() -> float:
        return float(np.mean([r[0] == id for r, id in zip(index.search(test).ids, names(),
                                                          strict=True)]))  # fmt: skip

    assert share() < 0.05
    DocidTrainer(epochs=60, learning_rate=0.03, **options).fit(
        index, train, [[id] for id in names()]
    )
    index.commit()
    assert share() > 0.6


@pytest.mark.usefixtures("one_thread")
def test_bad_examples(tmp_path: Path) -> None:
    rows = gaussian(4, DIM)
    rows[3] = 0
    index = make(tmp_path / "i", rows)
    trainer = DocidTrainer(epochs=1)
    for right, message in (
        ([["d0"]], r"expected \(1, 12\)"), ([["d0"], []], "example 1 has"),
        (["d0", ["d1"]], "expected a list of ids"), ([["d0"], ["x"]], "no document 'x'"),
        ([["d0"], ["d3"]], "no document 'd3' with a vector"),
    ):  # fmt: skip
        with pytest.raises((VectorError, ConfigurationError), match=message):
            trainer.fit(index, rows[:2], right)
    with pytest.raises(ConfigurationError, match="no examples"):
        trainer.fit(index, rows[:0], [])
    with pytest.raises(VectorError, match="vector 0 holds"):
        trainer.fit(index, np.full((1, DIM), np.inf), [["d0"]])
    with pytest.raises(ConfigurationError, match="fewer than two documents"):
        trainer.fit(DocidIndex.create(tmp_path / "e", DIM), rows[:1], [["d0"]])
    for options in ({"start": "?"}, {"hidden": -1}, {"epochs": 0}, {"learning_rate": 0},
                    {"scale": float("nan")}, {"candidates": 0}, {"seed": 1.5}):  # fmt: skip
        with pytest.raises(ConfigurationError):
            DocidTrainer(**options)  # type: ignore[arg-type]
    DocidTrainer(epochs=1, hidden=3).fit(index, rows[:2], [["d0"], ["d1"]])
    index.commit()
    assert index.search(np.ones((1, DIM)), 9).ids[0].count("d3") == 0
    with pytest.raises(ConfigurationError, match="has 3 hidden units and keeps them"):
        DocidTrainer(hidden=4).fit(index, rows[:1], [["d0"]])
    model = index.model
    index.delete(["d1"])
    index.commit()
    with pytest.raises(ConfigurationError, match="of other documents"):
        index.learn(model)


# --- texts --------------------------------------------------------------------------------------


def test_examples() -> None:
    documents = [
        Document("a", "Flutter of panels at high speed. Panels flutter in supersonic flow."),
        Document("b", "The heat transfer to a blunt wing.", "Heat"),
        Document("c", ""),
    ]
    assert [e.right for e in passage_examples(documents)] == [("a",), ("a",), ("b",), ("b",)]
    drawn = term_examples(documents, samples=3)
    assert drawn == term_examples(documents, samples=3)
    assert drawn != term_examples(documents, samples=3, seed=1)
    assert Counter(e.right for e in drawn) == {("a",): 3, ("b",): 3}
    for example in drawn:
        words = example.text.split()
        assert 3 <= len(words) == len({*words}) <= 8
        assert "the" not in words
    grades = {"1": {"a": 2, "b": 0, "z": 1}, "2": {"z": 1}, "3": {"a": 1}}
    found = query_examples({"1": "one", "2": "two"}, grades, ["a", "b"])
    assert found == [("one", ("a",))]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("start", ["current", "random"])
def test_it_learns_from_real_passages(tmp_path: Path, start: Any) -> None:
    """Titles of Cranfield for documents, sentences to learn from, and the last one held out; as
    bags of words, projected."""
    dataset = load_dataset("cranfield")
    documents = [r.document for r in read_documents(dataset.corpus)]
    documents = [d for d in documents if d.title and len(short_texts(d)) > 3][:400]
    analyzer = Analyzer()
    words = Counter(w for d in documents for w in {*analyzer(d.content)})
    rows = {w: place for place, w in enumerate(sorted(words))}
    idf = np.log(len(documents) / np.array([words[w] for w in rows]))
    table = gaussian(len(rows), 192) * idf[:, None].astype(np.float32)

    def vectors(texts: list[str]) -> NDArray[np.float32]:
        return np.stack([table[[rows[w] for w in analyzer(t) if w in rows]].sum(0) for t in texts])

    index = make(tmp_path / "i", vectors([d.title for d in documents]))
    parts = [short_texts(d)[1:] for d in documents]
    held = vectors([part[-1] for part in parts])

    def rank() -> float:
        """Mean reciprocal rank of the document that a held-out sentence is from."""
        found = index.search(held, 10).ids
        ids = zip(found, names(len(documents)), strict=True)
        return float(np.mean([1 / (row.index(id) + 1) if id in row else 0 for row, id in ids]))

    before = rank()
    texts = [(t, [f"d{place}"]) for place, part in enumerate(parts) for t in part[:-1]]
    trainer = DocidTrainer(start=start, epochs=10, learning_rate=5e-3, batch_size=64)
    trainer.fit(index, vectors([t for t, _ in texts]), [ids for _, ids in texts])
    index.commit()
    assert trainer.history[-1] < trainer.history[0] / 2
    # Sentences share few words with one another; random rows find 1 in 100 before.
    assert rank() > (before + 0.015 if start == "current" else 0.12)


@pytest.mark.usefixtures("one_thread")
def test_queries_that_have_little_in_common_teach_little(tmp_path: Path) -> None:
    """MiniLM's vectors of Cranfield (tests/test_codes_quality.py), trained on 150 queries: these
    find far more than by dense search, and the other 75 a little less."""
    dataset = load_dataset("cranfield")
    ids = [record.document.id for record in read_documents(dataset.corpus)]
    with np.load(Path(__file__).parent / "data" / "cranfield-minilm.npz") as arrays:
        documents, queries = (arrays[n].astype(np.float32) for n in ("documents", "queries"))
    known = [id for id, row in zip(ids, documents, strict=True) if row.any()]
    order = np.random.default_rng(0).permutation(len(queries))

    def judged(places: NDArray[np.int64]) -> list[list[str]]:
        grades = [dataset.qrels[dataset.queries[place].id] for place in places.tolist()]
        return [[id for id, grade in g.items() if grade > 0 and id in known] for g in grades]

    def ndcg(index: DocidIndex, places: NDArray[np.int64]) -> float:
        hits = index.search(queries[places], 10)
        asked = [dataset.queries[place].id for place in places.tolist()]
        run = {
            query: [RankedDocument(*hit) for hit in zip(found, scores.tolist(), strict=True)]
            for query, found, scores in zip(asked, hits.ids, hits.scores, strict=True)
        }
        qrels = {query: dataset.qrels[query] for query in asked}
        return measure(run, qrels, ["nDCG@10"]).mean["nDCG@10"]

    taught, others = order[:150], order[150:]
    index = DocidIndex.create(tmp_path / "i", 384)
    index.add(ids, documents)
    index.commit()
    before = ndcg(index, taught), ndcg(index, others)
    assert before[1] == pytest.approx(0.516, abs=0.001)
    DocidTrainer(batch_size=32).fit(index, queries[taught], judged(taught))
    index.commit()
    after = ndcg(index, taught), ndcg(index, others)
    assert after[0] > before[0] + 0.15
    assert 0.03 > before[1] - after[1] > 0


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("name", "gain"), [("nfcorpus", 0.02), ("scifact", 0.05)])
def test_it_learns_from_judged_queries(
    collections: Path, tmp_path: Path, name: str, gain: float
) -> None:
    """Trained on the train queries, rated on the test queries, whose documents are often those of
    train queries, too (docs/docid-model.md); as bags of words, projected."""
    dataset, teaching = (load_dataset(collections / name, split) for split in ("test", "train"))
    documents = [record.document for record in read_documents(dataset.corpus)]
    analyzer = Analyzer()
    counts = [Counter(analyzer(d.content)) for d in documents]
    frequency = Counter(word for found in counts for word in found)
    rows = {word: place for place, word in enumerate(sorted(frequency))}
    idf = np.log(1 + len(documents) / np.array([frequency[word] for word in rows]))
    table = gaussian(len(rows), 256) * idf[:, None].astype(np.float32)

    def vectors(found: list[Counter[str]]) -> NDArray[np.float32]:
        made = np.zeros((len(found), 256), np.float32)
        for row, words in zip(made, found, strict=True):
            places = [rows[word] for word in words if word in rows]
            row += table[places].sum(axis=0)
        return made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-9)

    index = DocidIndex.create(tmp_path / "i", 256)
    index.add([d.id for d in documents], vectors(counts))
    index.commit()
    asked = vectors([Counter(analyzer(query.text)) for query in dataset.queries])

    def ndcg() -> float:
        hits = index.search(asked, 10)
        run = {
            query.id: [RankedDocument(*hit) for hit in zip(found, scores.tolist(), strict=True)]
            for query, found, scores in zip(dataset.queries, hits.ids, hits.scores, strict=True)
        }
        return measure(run, dataset.qrels, ["nDCG@10"]).mean["nDCG@10"]

    before = ndcg()
    known = {document.id for document in documents}
    right = [
        [id for id, grade in teaching.qrels[query.id].items() if grade > 0 and id in known]
        for query in teaching.queries
    ]
    told = [place for place, ids in enumerate(right) if ids]
    texts = [Counter(analyzer(teaching.queries[place].text)) for place in told]
    trainer = DocidTrainer(epochs=4, batch_size=64)
    trainer.fit(index, vectors(texts), [right[place] for place in told])
    index.commit()
    assert ndcg() > before + gain


# --- command line -------------------------------------------------------------------------------


@pytest.mark.usefixtures("neural")
def test_documents_and_queries_to_an_index(
    run: Callable[..., Any],
    make_model: Callable[..., Path],
    add_pooling: Callable[..., None],
    tmp_path: Path,
) -> None:
    from sparseret.encoders.dense import DenseTextEncoder

    texts = ["flutter of panels in supersonic flow", "heat transfer to a blunt wing", "lift"]
    model = make_model(texts)
    add_pooling(model, normalize=True)
    corpus, queries, qrels, out = (tmp_path / name for name in ("c.tsv", "q.tsv", "r.tsv", "out"))
    corpus.write_text("".join(f"d{place}\t{text}\n" for place, text in enumerate(texts)))
    queries.write_text("1\tlift\n2\twing\n")
    qrels.write_text("1\td0\t1\n2\td1\t1\n2\tgone\t1\n")
    command = ("train", "docids", corpus, "--model", model, "--out", out)
    done = run(*command, "--queries", queries)
    assert done.status != 0
    assert "--queries and --qrels go together" in done.err
    done = run(*command, "--queries", queries, "--qrels", qrels, "--document-epochs", "0",
               "--epochs", "200", "--learning-rate", "0.05")  # fmt: skip
    assert done.status == 0, done.err
    assert "3 documents, 1 of them in no example" in done.out
    encoder = DenseTextEncoder(model)
    index = DocidIndex.open(out, space=encoder.space)
    assert index.search(encoder.encode_queries(["lift"]), 1).ids == [["d0"]]
    done = run(*command)
    assert done.status != 0
    assert "exists: choose another" in done.err
    out.unlink()
    done = run(*command, "--random", "--hidden", "4", "--candidates", "2")
    assert done.status == 0, done.err
    assert "loss over passages and terms" in done.out
    corpus.write_text("a\t\nb\t\n")
    assert run(*command[:-1], tmp_path / "none").status != 0
    assert not (tmp_path / "none").exists()
