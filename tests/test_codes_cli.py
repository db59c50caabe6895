"""``sparseret train autoencoder`` and ``sparseret eval-codes``, from documents and from vectors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparseret import read_documents
from sparseret.encoders.codecs import load_codec
from sparseret.encoders.codes import CodesEncoder

pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes around different directions."""
    rng = np.random.default_rng(0)
    made = rng.standard_normal((400, 12)).astype(np.float32)
    made[:200, 0] += 4
    folder = tmp_path_factory.mktemp("vectors")
    np.save(folder / "x.npy", made)
    (folder / "classes.txt").write_text("one\n" * 200 + "other\n" * 200)
    return folder


def train(run: Callable[..., Any], vectors: Path, out: Path, *more: str) -> None:
    run(
        "train", "autoencoder", str(vectors / "x.npy"), "--out", str(out), "--latents", "24",
        "-k", "4", "--epochs", "5", "--batch-size", "50", *more,
    )  # fmt: skip


def test_vectors_to_a_codec_and_its_card(
    run: Callable[..., Any], vectors: Path, tmp_path: Path
) -> None:
    train(run, vectors, tmp_path / "one", "--recipe", "topk")
    train(run, vectors, tmp_path / "two", "--recipe", "topk", "--seed", "1")
    assert (load_codec(tmp_path / "one").dim, load_codec(tmp_path / "one").n_features) == (24, 12)
    done = run(
        "eval-codes", str(tmp_path / "one"), "--vectors", str(vectors / "x.npy"), "-k", "2",
        "-k", "4", "--against", str(tmp_path / "two"), "--labels", str(vectors / "classes.txt"),
        "--plot", str(tmp_path / "d.svg"), "--json",
    )  # fmt: skip
    found = json.loads(done.out)
    assert [card["nnz"] <= k for card, k in zip(found["cards"], (2, 4), strict=True)] == [True] * 2
    errors = [card["normalized_error"] for card in found["cards"]]
    assert 0 < errors[1] < errors[0] < 1
    for card in found["cards"]:
        assert card["linear_error"] + card["nonlinear_error"] == pytest.approx(
            card["normalized_error"]
        )
    assert 0 < found["stability"] < 1
    assert found["probe_accuracy"] > 0.8
    assert (tmp_path / "d.svg").stat().st_size > 1000


def test_documents_to_an_encoder(
    run: Callable[..., Any], make_model: Callable[..., Path], cranfield: Path, tmp_path: Path
) -> None:
    documents = [record.document for record in read_documents(cranfield)][:60]
    texts = [document.text for document in documents]
    lines = [
        json.dumps({"_id": document.id, "title": document.title, "text": document.text})
        for document in documents
    ]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines))
    model = make_model(texts)
    names = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (name, path) in enumerate(names)
    ]
    (model / "modules.json").write_text(json.dumps(modules))
    (model / "1_Pooling").mkdir()
    (model / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    out = tmp_path / "codes"
    arguments = (
        "train", "autoencoder", str(tmp_path / "corpus.jsonl"), "--model", str(model), "--out",
        str(out), "--latents", "64", "-k", "8", "--query-k", "16", "--epochs", "3",
        "--batch-size", "20", "--recipe", "topk", "--short",
    )  # fmt: skip
    done = run(*arguments)
    assert "64 latents, k=8" in done.out
    assert not [path for path in out.iterdir() if path.name.startswith("training-")]
    encoder = CodesEncoder.load(out)
    assert encoder.query_k == 16
    assert any(not encoder.term(column).startswith("latent ") for column in range(64))
    index = ("index", str(tmp_path / "corpus.jsonl"), "--encoder", f"codes:{out}")
    assert run(*index, "--out", str(tmp_path / "index")).status == 0
    found = run("search", str(tmp_path / "index"), texts[3], "-k", "3", "--json")
    assert found.status == 0, found.err
    assert len(found.out.splitlines()) == 3
    again = run(*arguments)
    assert again.status == 1
    assert "is not an empty folder" in again.err


def test_what_does_not_go_together(run: Callable[..., Any], vectors: Path, tmp_path: Path) -> None:
    file = str(vectors / "x.npy")
    out = str(tmp_path / "out")
    for arguments, message, status in (
        (("train", "autoencoder", file, "--out", out, "--model", "m"), "go with documents", 2),
        (("train", "autoencoder", "corpus.jsonl", "--out", out), "documents need --model", 2),
        (("train", "autoencoder", file, "--out", str(vectors)), "not an empty folder", 1),
        (("train", "autoencoder", str(vectors / "no.npy"), "--out", out), "cannot be read", 1),
        (("eval-codes", out, "--vectors", file), "give the folder of a codec", 1),
        (("eval-codes", out), "either --vectors or --dataset", 2),
    ):
        done = run(*arguments)
        assert done.status == status
        assert message in " ".join(done.err.split())
        assert "Traceback" not in done.err
