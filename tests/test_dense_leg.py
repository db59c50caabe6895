"""Dense legs: encoders of dense vectors, approximate search by recall, the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparseret import Document, Retriever
from sparseret.encoders.precomputed import PrecomputedEncoder
from sparseret.errors import (
    ConfigurationError,
    CorruptIndexError,
    IncompatibleIndexError,
    VectorError,
)
from sparseret.indexers.dense import DenseIndex
from sparseret.indexers.dense_calibration import DenseCalibration, DenseLevel
from sparseret.indexers.dense_settings import DenseSettings
from sparseret.indexers.fusion import Convex
from sparseret.indexers.inverted import InvertedIndex
from sparseret.registry import load_any_encoder

TEXTS = ["lift of a wing in a slipstream", "heat transfer to a body", "", "flutter of a flat plate"]
CRANFIELD = Path(__file__).parent / "data" / "cranfield-minilm.npz"


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """Real vectors of Cranfield's documents and queries, as a service may have made them."""
    folder = tmp_path / "vectors"
    folder.mkdir()
    made = np.load(CRANFIELD)
    for what in ("documents", "queries"):
        np.save(folder / f"{what}.npy", made[what])
    from sparseret.eval.datasets import load_dataset
    from sparseret.readers import read_documents

    dataset = load_dataset("cranfield")
    ids = [record.document.id for record in read_documents(dataset.corpus)]
    (folder / "documents.txt").write_text("\n".join(ids) + "\n", "utf-8")
    texts = [query.text for query in dataset.queries]
    (folder / "queries.txt").write_text("\n".join(texts) + "\n", "utf-8")
    return folder


@pytest.fixture
def dense_folder(make_model: Callable[..., Path], add_pooling: Callable[..., None]) -> Path:
    folder = make_model(TEXTS)
    add_pooling(folder)
    return folder


@pytest.mark.usefixtures("neural")
@pytest.mark.parametrize("metric", ["cosine", "ip"])
def test_a_model_of_dense_vectors(dense_folder: Path, tmp_path: Path, metric: str) -> None:
    name = f"dense:{dense_folder}"
    encoder: Any = load_any_encoder(name, {"metric": metric})
    rows = encoder.encode_documents(TEXTS)
    assert rows.shape == (4, encoder.dim)
    assert not rows[2].any()
    asked = encoder.encode_queries(["flutter of a wing"])[0]
    with Retriever.create(tmp_path / "i", name, encoder_options={"metric": metric}) as retriever:
        retriever.add([Document(str(i), text) for i, text in enumerate(TEXTS)])
    with Retriever.open(tmp_path / "i") as retriever:
        found = retriever.search("flutter of a wing")
        expected = rows @ asked
        if metric == "cosine":
            expected /= np.maximum(np.linalg.norm(rows, axis=1) * np.linalg.norm(asked), 1e-12)
        order = [str(i) for i in np.argsort(-expected, kind="stable") if i != 2]
        assert [result.id for result in found] == order
        np.testing.assert_allclose([r.score for r in found], np.sort(expected[[0, 1, 3]])[::-1],
                                   rtol=1e-5)  # fmt: skip
        assert retriever.encoder.space == encoder.space
        assert retriever.lower_bounds == ({"": -1.0} if metric == "cosine" else {})
    with pytest.raises(ConfigurationError, match="metric"):
        load_any_encoder(name, {"metric": "l2"})


@pytest.mark.usefixtures("neural")
def test_a_hybrid_from_the_command_line(
    run: Callable[..., Any], dense_folder: Path, tmp_path: Path
) -> None:
    corpus = tmp_path / "c.jsonl"
    lines = [json.dumps({"_id": str(i), "text": text}) for i, text in enumerate(TEXTS)]
    corpus.write_text("\n".join(lines), "utf-8")
    index = tmp_path / "h.idx"
    ran = run("index", corpus, "--out", index, "--encoder", "words=bm25", "-O", "words.k1=0.9",
              "--encoder", f"dense:{dense_folder}", "--fusion", "rrf:1,2",
              "--dense", "precision=float16")  # fmt: skip
    assert ran.status == 0, ran.err
    assert "words: bm25 (lucene, k1=0.9" in ran.out
    assert "reciprocal rank (k=60), weights 1, 2" in ran.out
    info = json.loads(run("info", index, "--json").out)
    assert [(leg["name"], leg["kind"]) for leg in info["legs"]] == [
        ("words", "inverted"), ("dense", "dense"),
    ]  # fmt: skip
    assert info["legs"][1]["dense"]["precision"] == "float16"
    assert "dense, dense" in run("info", index).out
    printed = run("search", index, "flutter", "--explain", "--json").out.splitlines()
    best = json.loads(printed[0])
    assert best["id"] == "3"
    assert best["shares"].keys() == {"words", "dense"}
    assert [leg["name"] for leg in best["legs"]] == ["words", "dense"]
    assert best["legs"][0]["terms"][0]["term"] == "flutter"
    alone = run("search", index, "flutter", "--leg", "words", "--json").out.splitlines()
    assert len(alone) == 1
    assert "shares" not in json.loads(alone[0])
    batch = tmp_path / "q.txt"
    batch.write_text("wing\nheat\n")
    ran = run("search", index, "--queries", batch, "--fusion", "min-max:0.5,0.5", "-k", "2")
    assert len(ran.out.splitlines()) == 4
    assert run("verify", index).status == 0
    ran = run("index", corpus, "--out", index, "--update", "--encoder", "words=bm25", "-O",
              "words.k1=0.9", "--encoder", f"dense:{dense_folder}")  # fmt: skip
    assert "4 of them replaced" in ran.out
    (dense_folder / "modules.json").rename(tmp_path / "gone")
    ran = run("search", index, "flutter")
    assert (ran.status, ran.out) == (1, "")
    assert "cannot be made again" in ran.err
    ran = run("search", index, "flutter", "--degrade", "--json")
    assert json.loads(ran.out.splitlines()[0])["missing_legs"] == ["dense"]
    assert "warning: searched without dense" in ran.err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--encoder", "bm25", "--encoder", "bm25"], "two legs are named 'bm25'"),
        (["--encoder", "a=bm25", "--encoder", "sdr", "-O", "k1=1"], "begin with the name of a leg"),
        (["--dense", "colour=red"], "colour"),
        (["--dense", "kind=flat"], "no encoder makes any"),
        (["--encoder", "a=bm25", "--encoder", "sdr", "--fusion", "best"], "expected one of rrf"),
        (["--encoder", "a=bm25", "--encoder", "sdr", "--fusion", "rrf:a,b"], "weights are numbers"),
        (["--encoder", "a=bm25", "--encoder", "sdr", "--fusion", "rrf:1"], "1 weights for 2 legs"),
        (["--fusion", "rrf"], "nothing to fuse"),
    ],
)
def test_command_lines_that_cannot_be(
    run: Callable[..., Any], tmp_path: Path, arguments: list[str], why: str
) -> None:
    corpus = tmp_path / "c.jsonl"
    corpus.write_text('{"_id": "1", "text": "wing"}')
    ran = run("index", corpus, "--out", tmp_path / "i", *arguments)
    assert ran.status != 0
    assert why in " ".join(ran.err.split())


def test_precomputed_vectors_rank_as_the_model_does(vectors: Path, tmp_path: Path) -> None:
    from sparseret.eval.datasets import load_dataset
    from sparseret.eval.evaluate import evaluate
    from sparseret.readers import read_documents

    dataset = load_dataset("cranfield")
    encoder = PrecomputedEncoder(vectors)
    with Retriever.create(tmp_path / "i", {"words": "bm25", "dense": encoder}) as retriever:
        retriever.add([record.document for record in read_documents(dataset.corpus)])
        retriever.commit()
        fused = evaluate(retriever, dataset, measures=["nDCG@10"]).scores.mean["nDCG@10"]
    with Retriever.open(tmp_path / "i") as retriever:
        alone = {}
        for leg in retriever.legs:
            from sparseret.eval.chosen_legs import ChosenLegs

            chosen = ChosenLegs(retriever, [leg])
            alone[leg] = evaluate(chosen, dataset, measures=["nDCG@10"]).scores.mean["nDCG@10"]
        assert alone["words"] == pytest.approx(0.526, abs=0.002)
        assert alone["dense"] == pytest.approx(0.508, abs=0.003)
        assert fused == pytest.approx(0.570, abs=0.004)  # docs/hybrid.md: 0.5715 at depth 200
        with pytest.raises(VectorError, match="has no document 'new'"):
            retriever.add([Document("new", "text")])


def test_tuning_the_fusion_of_an_index(
    run: Callable[..., Any], vectors: Path, tmp_path: Path
) -> None:
    index = tmp_path / "i"
    ran = run("index", "sparseret/data/cranfield" if Path("sparseret/data").exists() else
              corpus_folder(), "--out", index, "--encoder", "bm25",
              "--encoder", f"precomputed:{vectors}")  # fmt: skip
    assert ran.status == 0, ran.err
    ran = run("tune", index, "--fusion", "cranfield", "--dry-run", "--folds", "2")
    assert ran.status == 0, ran.err
    assert "fuses so from now on" not in ran.out
    with Retriever.open(index) as retriever:
        assert retriever.fusion == Convex()
    ran = run("tune", index, "--fusion", "cranfield", "--folds", "2")
    assert "fuses so from now on" in ran.out
    with Retriever.open(index) as retriever:
        assert retriever.fusion != Convex()
        assert retriever.fusion.description in ran.out
    for wrong in (["--run", "a=b"], ["--queries", "q"], ["--leg", "bm25"]):
        assert run("tune", index, "--fusion", "cranfield", *wrong).status == 2


def corpus_folder() -> Path:
    from sparseret.eval.datasets import load_dataset

    return load_dataset("cranfield").corpus.parent


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda f: (f / "documents.txt").write_text("a\nb\n"), "2 lines"),
        (lambda f: (f / "documents.txt").unlink(), "cannot be read"),
        (lambda f: (f / "documents.txt").write_bytes(b"\xff\n"), "not UTF-8"),
        (lambda f: (f / "documents.txt").write_text("a\na\na\n"), "names a document twice"),
        (lambda f: (f / "documents.npy").write_bytes(b"no"), "no .npy file"),
    ],
)
def test_folders_of_vectors_that_cannot_be(
    tmp_path: Path, damage: Callable[[Path], object], why: str
) -> None:
    np.save(tmp_path / "documents.npy", np.eye(3, 5, dtype=np.float32))
    (tmp_path / "documents.txt").write_text("a\nb\nc\n")
    encoder = PrecomputedEncoder(tmp_path)
    np.testing.assert_array_equal(encoder.encode_documents([Document("b", "")]), [[0, 1, 0, 0, 0]])
    assert not encoder.encode_queries(["", "  "]).any()
    with pytest.raises(VectorError, match="ids of documents"):
        encoder.encode_documents(["a text"])
    with pytest.raises(VectorError, match=r"queries\.npy"):
        encoder.encode_queries(["what"])
    np.save(tmp_path / "queries.npy", np.eye(1, 4, dtype=np.float32))
    (tmp_path / "queries.txt").write_text("what\n")
    with pytest.raises(ConfigurationError, match="queries have 4 features, and documents 5"):
        encoder.encode_queries(["what"])
    damage(tmp_path)
    with pytest.raises((ConfigurationError, VectorError), match=why):
        PrecomputedEncoder(tmp_path)


def test_search_by_recall_in_a_graph(vectors: Path, tmp_path: Path) -> None:
    pytest.importorskip("faiss", reason="faiss is not installed")
    rng = np.random.default_rng(0)
    known = np.load(vectors / "documents.npy")
    several = np.concatenate([known, known + 0.05 * rng.standard_normal(known.shape)])
    np.save(vectors / "documents.npy", several.astype(np.float32))
    ids = [f"d{i}" for i in range(len(several))]
    (vectors / "documents.txt").write_text("\n".join(ids))
    queries = (vectors / "queries.txt").read_text("utf-8").splitlines()
    encoder = PrecomputedEncoder(vectors)
    settings = DenseSettings("hnsw", m=16, ef_construction=60)
    with Retriever.create(tmp_path / "i", {"a": "bm25", "b": encoder}, dense=settings) as retriever:
        retriever.add([Document(id, "wing") for id in ids])
        retriever.merge()  # calibrates
        (leg,) = (leg for leg in retriever.index.legs if leg.name == "b")
        assert isinstance(leg.calibration, DenseCalibration)
        assert not leg.calibration.given
        measured = retriever.tune(queries[:100], leg="b")
        assert isinstance(measured, DenseCalibration)
        assert (measured.given, measured.n_queries) == (True, 100)
        exact = retriever.retrieve(queries, 10, legs=["b"])
        close = retriever.retrieve(queries, 10, legs=["b"], recall=0.9)
        shares = [len({*a} & {*b}) / 10 for a, b in zip(exact.ids, close.ids, strict=True)]
        assert np.mean(shares) > 0.85
        if not close.mode.exact:  # a graph may cost more than a scan of so few vectors
            assert close.mode.recall >= 0.9
        both = retriever.search(queries[0], recall=0.9)
        assert len(both) == 10


def test_levels() -> None:
    levels = [DenseLevel(10, 4, 0.8, 1.0), DenseLevel(10, 16, 0.97, 2.0),
              DenseLevel(100, 32, 0.9, 3.0)]  # fmt: skip
    made = DenseCalibration(5000, 100, True, levels)
    assert DenseCalibration.from_json(made.to_json()) == made
    assert made.cheapest(0.75, 5) == levels[0]
    assert made.cheapest(0.95, 10) == levels[1]
    assert made.cheapest(0.99, 10) is None
    assert made.cheapest(0.9, 11) == levels[2]
    assert made.cheapest(0.5, 101) is None
    with pytest.raises(CorruptIndexError, match="sparseret tune"):
        DenseCalibration.from_json("{}")


# --- vectors without texts ----------------------------------------------------------------------


def test_an_index_of_bare_vectors(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((500, 24)).astype(np.float32)
    ids = [f"v{i}" for i in range(500)]
    documents = [Document(id, "", "", {"n": i}) for i, id in enumerate(ids)]
    with DenseIndex.create(
        tmp_path / "i", 24, dense=DenseSettings(metric="ip"), space="s"
    ) as index:
        index.add(ids[:300], rows[:300], documents=documents[:300])
        rows[0] = 9  # what was added is a copy
        index.commit()
        index.add(ids[300:], rows[300:], documents=documents[300:])
        index.delete(["v7"])
        index.update(["v8"], rows[:1])
    queries = rng.standard_normal((5, 24)).astype(np.float32)
    with DenseIndex.open(tmp_path / "i", space="s") as index:
        assert (len(index), index.dim, index.settings.metric) == (499, 24, "ip")
        found = index.search(queries, 600)
        assert all(len(row) == 499 for row in found.ids)
        best = index.search(queries[:1], 3, where="n >= 100 and n < 200")
        products = rows[100:200] @ queries[0]
        assert best.ids[0] == [f"v{100 + i}" for i in np.argsort(-products)[:3]]
        assert index.search(queries, 3, allow=["v7", "v9"]).ids == [["v9"]] * 5
        for wrong in (rows[:, :5], rows[0], [["a"]], np.full((1, 24), np.nan)):
            with pytest.raises(VectorError):
                index.search(wrong)
            with pytest.raises(VectorError):
                index.add(["new"], wrong)
        with pytest.raises(ConfigurationError, match="always searched exactly"):
            index.tune()
        assert index.calibration is None
    with pytest.raises(IncompatibleIndexError):
        DenseIndex.open(tmp_path / "i", space="other")
    with pytest.raises(IncompatibleIndexError, match="sparse"):
        InvertedIndex.create(tmp_path / "sparse", dim=24).close()
        DenseIndex.open(tmp_path / "sparse")
    with pytest.raises(IncompatibleIndexError, match="dense"):
        InvertedIndex.open(tmp_path / "i")
    for dim in (0, -1, 2.5, "3"):
        with pytest.raises(ConfigurationError, match="dim"):
            DenseIndex.create(tmp_path / "j", dim)  # type: ignore[arg-type]
    assert not (tmp_path / "j").exists()
