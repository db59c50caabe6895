"""SPLADE against sentence-transformers, on weights of a trained model and on small random ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("sparseret.kernels._native", reason="the native kernel is not built")
pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from sparseret.documents import Document
from sparseret.encoders.model_folder import find_folder
from sparseret.encoders.onnx_body import export_onnx
from sparseret.encoders.splade import SpladeEncoder
from sparseret.encoders.text_batches import TextTokenizer
from sparseret.encoders.transformer_body import load_body
from sparseret.errors import ConfigurationError, VectorError
from sparseret.eval.datasets import load_dataset
from sparseret.eval.evaluate import evaluate
from sparseret.protocols import Encoder
from sparseret.readers import read_documents
from sparseret.registry import load_encoder
from sparseret.retriever import Retriever

REAL = [
    "experimental investigation of the aerodynamics of a wing in a slipstream .",
    "",
    "simple shear flow past a flat plate in an incompressible fluid of small viscosity . " * 20,
    "Grüße aus Zürich: naïve façade, 東京の空",
    "wing",
]
TEXTS = ["heat transfer in hypersonic flow", "the lift of a wing in a slipstream", "flow"]
MULTILINGUAL = [
    "ветер над морем усиливается к вечеру",
    "東京の空は今日も青い",
    "Der Auftrieb eines Flügels im Propellerstrahl",
    "الهواء فوق البحر",
]


def sentence_transformer(folder: Path, **options: Any) -> Any:
    made = pytest.importorskip(
        "sentence_transformers", reason="sentence-transformers is not installed"
    )
    return made.SparseEncoder(str(folder), device="cpu", **options)


def modules() -> Any:
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    from sentence_transformers.sparse_encoder import modules as found

    return found


def dense(model: Any, texts: Sequence[str], *, queries: bool = False) -> np.ndarray[Any, Any]:
    encode = model.encode_query if queries else model.encode_document
    made = encode(list(texts), convert_to_tensor=True, save_to_cpu=True)
    rows: np.ndarray[Any, Any] = made.to_dense().numpy()
    for row, text in enumerate(texts):
        if not text.strip():
            rows[row] = 0  # it gives [CLS] and [SEP] alone a vector
    return rows


def assert_same(made: Any, expected: np.ndarray[Any, Any]) -> None:
    assert made.shape == expected.shape
    found = made.toarray()
    np.testing.assert_array_equal(found > 0, expected > 0)
    np.testing.assert_allclose(found, expected, atol=1e-4)


# --- trained weights --------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_vectors_of_trained_weights(splade_tiny: Path, backend: Any, tmp_path: Path) -> None:
    folder = splade_tiny
    if backend == "onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(package, reason=f"{package} is not installed")
        folder = export_onnx(splade_tiny, tmp_path)
    encoder = SpladeEncoder(folder, backend=backend, batch_tokens=300)
    model = sentence_transformer(splade_tiny)
    model.max_seq_length = 256
    assert_same(encoder.encode_documents(REAL), dense(model, REAL))
    assert encoder.truncated == 1
    assert_same(encoder.encode_queries(REAL[3:]), dense(model, REAL[3:], queries=True))
    assert encoder.space == SpladeEncoder(splade_tiny).space


def test_effectiveness(splade_tiny: Path, tmp_path: Path) -> None:
    """0.4504 is what sentence-transformers' vectors reach at 256 tokens, on the first 400 documents
    of Cranfield and the queries that have an answer among them (0.495 on the whole)."""
    whole = load_dataset("cranfield")
    documents = [record.document for record in islice(read_documents(whole.corpus), 400)]
    ids = {document.id for document in documents}
    qrels = {
        query: {id: gain for id, gain in judged.items() if id in ids}
        for query, judged in whole.qrels.items()
    }
    queries = tuple(q for q in whole.queries if any(gain > 0 for gain in qrels[q.id].values()))
    dataset = replace(whole, queries=queries, qrels={q.id: qrels[q.id] for q in queries})
    with Retriever.create(tmp_path / "i", SpladeEncoder(splade_tiny)) as retriever:
        retriever.add(documents)
        retriever.commit()
        report = evaluate(retriever, dataset)
    assert report.scores.mean["nDCG@10"] == pytest.approx(0.4504, abs=0.003)
    reopened = Retriever.open(tmp_path / "i")
    assert reopened.encoder.options["max_length"] == 256
    explanation = reopened.explain("heat transfer", reopened.search("heat transfer", 1)[0].id)
    assert {"heat", "transfer"} <= {term.term for term in explanation.terms}


# --- every setting, on small models -----------------------------------------------------------


@pytest.mark.parametrize(
    ("pooling", "activation"), [("max", "relu"), ("max", "log1p_relu"), ("sum", "relu")]
)
def test_poolings_and_activations(
    make_model: Callable[..., Path], tmp_path: Path, pooling: Any, activation: Any
) -> None:
    folder = make_model(TEXTS)
    found = modules()
    transformer = found.Transformer(str(folder), transformer_task="fill-mask")
    pool = found.SpladePooling(pooling, activation_function=activation)
    sentence_transformer_class = type(sentence_transformer(folder))
    sentence_transformer_class(modules=[transformer, pool], device="cpu").save(str(tmp_path))
    expected = dense(sentence_transformer(tmp_path), TEXTS)
    assert_same(SpladeEncoder(tmp_path).encode_documents(TEXTS), expected)  # as its folder says
    encoder = SpladeEncoder(folder, pooling=pooling, activation=activation, batch_tokens=1)
    assert_same(encoder.encode_documents(TEXTS), expected)
    assert (encoder.space == SpladeEncoder(folder).space) == ((pooling, activation)
                                                              == ("max", "relu"))  # fmt: skip


@pytest.mark.parametrize("architecture", ["distilbert", "roberta", "modernbert"])
def test_architectures(make_model: Callable[..., Path], architecture: str) -> None:
    folder = make_model(MULTILINGUAL, architecture, "bytes")
    encoder = SpladeEncoder(folder)
    made = encoder.encode_documents(MULTILINGUAL)
    assert_same(made, dense(sentence_transformer(folder), MULTILINGUAL))
    assert encoder.dim == made.shape[1]


def test_a_folder_that_prunes(make_model: Callable[..., Path], tmp_path: Path) -> None:
    sentence_transformer(make_model(TEXTS), max_active_dims=7).save(str(tmp_path))
    encoder = SpladeEncoder(tmp_path)
    assert encoder.options["pruning"] == {"top_k": 7}
    for made, queries in (
        (encoder.encode_documents(TEXTS), False),
        (encoder.encode_queries(TEXTS), True),
    ):
        assert np.diff(made.indptr).tolist() == [7, 7, 7]
        assert_same(made, dense(sentence_transformer(tmp_path), TEXTS, queries=queries))
    kept = SpladeEncoder(tmp_path, pruning={}).encode_documents(TEXTS)
    assert np.diff(kept.indptr).min() > 7


def test_a_model_for_each_side(make_model: Callable[..., Path], tmp_path: Path) -> None:
    documents, queries = make_model(TEXTS), make_model(TEXTS, "distilbert")
    (queries / "tokenizer.json").write_bytes((documents / "tokenizer.json").read_bytes())
    found = modules()

    def side(folder: Path, pooling: str) -> list[Any]:
        transformer = found.Transformer(str(folder), transformer_task="fill-mask")
        return [transformer, found.SpladePooling(pooling)]

    router = found.Router.for_query_document(side(queries, "sum"), side(documents, "max"))
    model = type(sentence_transformer(documents))(modules=[router], device="cpu")
    model.prompts = {"query": "find: ", "document": ""}
    model.save(str(tmp_path / "router"))
    encoder = SpladeEncoder(tmp_path / "router")
    assert_same(encoder.encode_documents(TEXTS), dense(model, TEXTS))
    assert_same(encoder.encode_queries(TEXTS), dense(model, TEXTS, queries=True))
    apart = SpladeEncoder(documents, query_model=queries)
    assert_same(apart.encode_documents(TEXTS), dense(model, TEXTS))
    assert apart.space != SpladeEncoder(documents).space
    encoder.save(tmp_path / "saved")
    ours, theirs = SpladeEncoder.load(tmp_path / "saved"), sentence_transformer(tmp_path / "saved")
    assert ours.space == encoder.space
    assert_same(ours.encode_queries(TEXTS), dense(model, TEXTS, queries=True))
    np.testing.assert_allclose(
        dense(theirs, TEXTS, queries=True), dense(model, TEXTS, queries=True), atol=1e-6
    )


def test_long_texts_in_windows(make_model: Callable[..., Path]) -> None:
    folder = make_model(TEXTS)
    long = " ".join(TEXTS * 5)
    cut = SpladeEncoder(folder, max_length=12)
    windows = SpladeEncoder(folder, max_length=12, long="windows")
    texts = [long, "wing", "", long]
    made = windows.encode_documents(texts)
    assert (windows.truncated, cut.truncated) == (0, 0)
    first = cut.encode_documents(texts)
    assert cut.truncated == 2
    assert made[[1, 2]].toarray().tolist() == first[[1, 2]].toarray().tolist()
    body = load_body(folder)
    logits = []
    for ids in TextTokenizer(folder, max_length=12, windows=True).encode([long]).ids:
        tokens = np.array([ids])
        states = body.states(tokens, np.ones_like(tokens))[0]
        logits.append((states @ body.decoder.weight.T + body.decoder.bias).max(axis=0))
    assert len(logits) > 2
    expected = np.log1p(np.maximum(np.max(logits, axis=0), 0))
    np.testing.assert_allclose(made.toarray()[0], expected, atol=1e-5)
    np.testing.assert_array_equal(made.toarray()[0], made.toarray()[3])
    assert windows.space != cut.space


def test_fields(make_model: Callable[..., Path]) -> None:
    folder = make_model(TEXTS)
    documents = [Document("1", TEXTS[0], TEXTS[1]), Document("2", TEXTS[2]), Document("3")]
    plain = SpladeEncoder(folder)
    joined = plain.encode_documents([f"{TEXTS[1]} {TEXTS[0]}", TEXTS[2], ""]).toarray()
    np.testing.assert_allclose(plain.encode_documents(documents).toarray(), joined, atol=1e-5)
    text, title = (plain.encode_documents(texts).toarray() for texts in (TEXTS[:1], TEXTS[1:2]))
    weighted = SpladeEncoder(folder, fields={"title": 3, "text": 1})
    made = weighted.encode_documents(documents).toarray()
    np.testing.assert_allclose(made[0], np.maximum(text, 3 * title)[0], atol=1e-5)
    assert made[2].sum() == 0
    sums = SpladeEncoder(folder, fields={"title": 3, "text": 1}, pooling="sum")
    plain = SpladeEncoder(folder, pooling="sum")
    text, title = (plain.encode_documents(texts).toarray() for texts in (TEXTS[:1], TEXTS[1:2]))
    np.testing.assert_allclose(
        sums.encode_documents(documents).toarray()[0], (text + 3 * title)[0], rtol=1e-4, atol=1e-5
    )
    year = SpladeEncoder(folder, fields={"year": 1})
    assert "year×1" in year.description
    with pytest.raises(VectorError, match="'year' holds int"):
        year.encode_documents([Document("1", metadata={"year": 1954})])


def test_saving(make_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_model(TEXTS)
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: cc-by-nc-4.0\n---\n# It\n")
    pruning = {"relative": 0.2, "top_k": 30}
    encoder = SpladeEncoder(folder, activation="log1p_relu", max_length=20, pruning=pruning)
    assert isinstance(encoder, Encoder)
    encoder.save(tmp_path / "saved")
    again = SpladeEncoder.load(tmp_path / "saved")
    assert again.space == encoder.space
    assert again.license == encoder.license == "cc-by-nc-4.0"
    long = [*TEXTS, " ".join(TEXTS * 4)]
    made = again.encode_documents(long).toarray()
    np.testing.assert_array_equal(made, encoder.encode_documents(long).toarray())
    unpruned = SpladeEncoder(folder, activation="log1p_relu", max_length=20)
    unpruned.save(tmp_path / "whole")
    theirs = sentence_transformer(tmp_path / "whole")
    assert_same(unpruned.encode_documents(long), dense(theirs, long))
    by_name = load_encoder("splade", json.loads(json.dumps(encoder.options)))
    assert by_name.space == encoder.space
    with pytest.raises(ConfigurationError, match=r"encoder\.json: no such file"):
        SpladeEncoder.load(folder)


def test_what_changes_the_space(make_model: Callable[..., Path]) -> None:
    folder, other = make_model(TEXTS), make_model(MULTILINGUAL)
    spaces = [SpladeEncoder(folder).space, SpladeEncoder(other).space]
    changes: list[dict[str, Any]] = [
        {"pooling": "sum"}, {"activation": "log1p_relu"}, {"max_length": 32}, {"long": "windows"},
        {"pruning": {"top_k": 9}}, {"query_pruning": {"top_k": 9}}, {"fields": {"text": 2}},
        {"precision": "int8"},
    ]  # fmt: skip
    spaces += [SpladeEncoder(folder, **change).space for change in changes]
    assert len(set(spaces)) == len(spaces)
    same = SpladeEncoder(folder, batch_tokens=64, threads=1, backend="torch", long="truncate")
    assert same.space == spaces[0]


def test_settings_that_do_not_exist(make_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_model(TEXTS)
    wrong: list[dict[str, Any]] = [
        {"pooling": "mean"}, {"activation": "gelu"}, {"long": "split"}, {"max_length": 65},
        {"precision": "int4"}, {"backend": "jax"}, {"threads": 0}, {"batch_tokens": 1.5},
        {"fields": {}}, {"fields": {"title": 0}}, {"pruning": {"k": 1}}, {"depth": 2},
        {"pooling": "sum", "activation": "log1p_relu"}, {"query_model": "no/such folder"},
    ]  # fmt: skip
    for options in wrong:
        with pytest.raises(ConfigurationError):
            load_encoder("splade", {"folder": str(folder), **options})
    with pytest.raises(ConfigurationError, match="needs the option folder"):
        load_encoder("splade", {})
    with pytest.raises(ConfigurationError, match="neither config"):
        SpladeEncoder(tmp_path)
    bigger = make_model(MULTILINGUAL)
    with pytest.raises(ConfigurationError, match="do not belong together"):
        SpladeEncoder(folder, query_model=bigger)


def test_an_unknown_repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(ConfigurationError, match="not in the local cache"):
        SpladeEncoder("nobody/nothing")


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_a_repository_is_fetched_without_what_is_not_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, weights: str
) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.chdir(tmp_path)
    held = ["config.json", "tokenizer.json", weights, "onnx/model.onnx", "model.h5"]
    held += ["pytorch_model.bin"] * (weights != "pytorch_model.bin")
    fetched: list[str] = []

    def fetch(name: str, *, allow_patterns: list[str], local_files_only: bool) -> str:
        assert (name, local_files_only) == ("owner/name", False)
        for file in held:
            if any(fnmatch(file, pattern) for pattern in allow_patterns):
                fetched.append(file)
                (tmp_path / "snapshot").mkdir(exist_ok=True)
                (tmp_path / "snapshot" / file).touch()
        return str(tmp_path / "snapshot")

    monkeypatch.setattr(hub, "snapshot_download", fetch)
    assert find_folder("owner/name") == tmp_path / "snapshot"
    assert sorted(fetched) == ["config.json", weights, "tokenizer.json"]
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert find_folder("owner/name") == tmp_path / "owner" / "name"  # a folder wins


def test_documents_without_torch(make_model: Callable[..., Path], tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    folder = make_model(TEXTS)
    export_onnx(folder, tmp_path / "onnx")
    code = (
        "import sys\n"
        "sys.modules['torch'] = sys.modules['transformers'] = None\n"  # importing them fails
        "from sparseret.encoders.splade import SpladeEncoder\n"
        "from sparseret.errors import MissingExtraError\n"
        f"made = SpladeEncoder({str(tmp_path / 'onnx')!r}).encode_documents({TEXTS!r})\n"
        "print(made.nnz, float(made.sum()))\n"
        "try:\n"
        f"    SpladeEncoder({str(folder)!r}).encode_documents(['a'])\n"
        "except MissingExtraError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    first, second = done.stdout.splitlines()
    expected = SpladeEncoder(folder).encode_documents(TEXTS)
    assert int(first.split()[0]) == expected.nnz
    assert float(first.split()[1]) == pytest.approx(float(expected.sum()), rel=1e-5)
    assert "pip install 'sparseret[neural]'" in second


def test_on_the_command_line(
    make_model: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sparseret.cli.app import app

    corpus, index = tmp_path / "corpus.jsonl", str(tmp_path / "a.idx")
    texts = [*TEXTS, " ".join(TEXTS * 9)]
    lines = [json.dumps({"_id": str(row), "text": text}) for row, text in enumerate(texts)]
    corpus.write_text("\n".join(lines) + "\n", "utf-8")
    model = ["--encoder", "splade", "-O", f"folder={make_model(TEXTS)}", "-O", "max_length=20"]
    runner = CliRunner()
    made = runner.invoke(app, ["index", str(corpus), "--out", index, *model])
    assert made.exit_code == 0, made.output
    assert "4 documents indexed" in made.output
    assert "1 text was longer than the encoder reads" in made.output
    assert "max pooling, 20 tokens" in made.output
    found = runner.invoke(app, ["search", index, TEXTS[0], "-k", "1"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.output)["id"] in "0123"
    other = runner.invoke(app, ["index", str(corpus), "--out", index, *model[:-1], "max_length=9"])
    assert other.exit_code != 0  # an index is of one space


def test_progress(make_model: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    encoder = SpladeEncoder(make_model(TEXTS))
    encoder.encode_documents([*TEXTS, ""] * 3, show_progress=True)
    assert "12/12" in capsys.readouterr().err
    encoder.encode_queries(TEXTS)
    assert capsys.readouterr().err == ""
    assert encoder.encode_documents([]).shape == (0, encoder.dim)
