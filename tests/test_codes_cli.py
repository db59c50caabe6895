"""``sparseret train autoencoder`` and ``sparseret eval-codes``, from documents and from vectors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparseret.encoders.codecs import CODECS, load_codec
from sparseret.encoders.codes import CodesEncoder


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


@pytest.mark.usefixtures("neural")
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


@pytest.mark.usefixtures("neural")
def test_documents_to_an_encoder(
    run: Callable[..., Any], dense_model: Path, sixty_documents: Path, tmp_path: Path
) -> None:
    out = tmp_path / "codes"
    arguments = (
        "train", "autoencoder", str(sixty_documents), "--model", str(dense_model), "--out",
        str(out), "--latents", "64", "-k", "8", "--query-k", "16", "--epochs", "3",
        "--batch-size", "20", "--recipe", "topk", "--short",
    )  # fmt: skip
    done = run(*arguments)
    assert "64 latents, k=8" in done.out
    assert not [path for path in out.iterdir() if path.name.startswith("training-")]
    encoder = CodesEncoder.load(out)
    assert encoder.query_k == 16
    assert any(not encoder.term(column).startswith("latent ") for column in range(64))
    index = ("index", str(sixty_documents), "--encoder", f"codes:{out}")
    assert run(*index, "--out", str(tmp_path / "index")).status == 0
    found = run("search", str(tmp_path / "index"), "lift of a wing", "-k", "3", "--json")
    assert found.status == 0, found.err
    assert len(found.out.splitlines()) == 3
    again = run(*arguments)
    assert again.status == 1
    assert "is not an empty folder" in again.err


CODEC_OPTIONS = {
    "dictionary": ["dim=20", "k=3", "epochs=2"],
    "discrete-sparse-coding": ["dim=6", "preselected=4", "active=2", "iterations=3", "restarts=1"],
    "vq": ["codebooks=3", "entries=8"],
    "expansion-hashing": ["dim=100", "winners=5"],
    "losse": ["groups=5"],
    "random-projection": ["dim=64", "active=4"],
    "sdr-dense": ["cells=256", "active=8"],
}


@pytest.mark.parametrize("name", sorted({*CODECS} - {"autoencoder", "concepts"}))
def test_every_codec_from_vectors(
    run: Callable[..., Any], vectors: Path, tmp_path: Path, name: str
) -> None:
    options = [part for option in CODEC_OPTIONS[name] for part in ("-O", option)]
    out = tmp_path / "codec"
    done = run("train", "codec", name, vectors / "x.npy", "--out", out, *options)
    assert done.status == 0, done.err
    codec = load_codec(out)
    assert codec.name == name
    assert codec.n_features == 12
    inputs = np.load(vectors / "x.npy")
    codes = codec.transform(inputs)
    assert codes.shape == (400, codec.dim)
    assert 0 < codes.nnz / 400 < codec.dim
    assert codec.signed or codes.data.min() > 0
    mapped = np.load(vectors / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(codec.transform(mapped).toarray(), codes.toarray())
    assert codec.transform(inputs[:0]).shape == (0, codec.dim)
    codec.save(tmp_path / "again")
    assert load_codec(tmp_path / "again").space == codec.space
    done = run("train", "codec", name, vectors / "x.npy", "--out", tmp_path / "o", "-O", "colour=1")
    assert done.status == 1
    assert "has no option 'colour'" in done.err


@pytest.mark.usefixtures("neural")
def test_documents_to_codebooks(
    run: Callable[..., Any], dense_model: Path, sixty_documents: Path, tmp_path: Path
) -> None:
    out = tmp_path / "codes"
    done = run(
        "train", "codec", "vq", sixty_documents, "--model", dense_model, "--out", out,
        "-O", "codebooks=4", "-O", "entries=8",
    )  # fmt: skip
    assert done.status == 0, done.err
    encoder = CodesEncoder.load(out)
    assert encoder.dim == 32
    assert np.diff(encoder.encode_documents(["lift of a wing"]).indptr).tolist() == [4]


def test_what_does_not_go_together(run: Callable[..., Any], vectors: Path, tmp_path: Path) -> None:
    file = str(vectors / "x.npy")
    out = str(tmp_path / "out")
    for arguments, message, status in (
        (("train", "autoencoder", file, "--out", out, "--model", "m"), "go with documents", 2),
        (
            ("train", "autoencoder", "corpus.jsonl", "--out", out),
            "documents need --model or --encoder",
            2,
        ),
        (("train", "autoencoder", file, "--out", str(vectors)), "not an empty folder", 1),
        (("train", "autoencoder", str(vectors / "no.npy"), "--out", out), "cannot be read", 1),
        (("eval-codes", out, "--vectors", file), "give the folder of a codec", 1),
        (("eval-codes", out), "either --vectors or --dataset", 2),
    ):
        done = run(*arguments)
        assert done.status == status
        assert message in " ".join(done.err.split())
        assert "Traceback" not in done.err


@pytest.mark.parametrize("name", sorted(CODEC_OPTIONS))
def test_the_card_of_every_codec(
    run: Callable[..., Any], vectors: Path, tmp_path: Path, name: str
) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    options = [part for option in CODEC_OPTIONS[name] for part in ("-O", option)]
    codec, file = tmp_path / "codec", vectors / "x.npy"
    run("train", "codec", name, file, "--out", codec, *options)
    card = ("eval-codes", codec, "--vectors", file)
    done = run(*card, "--labels", vectors / "classes.txt", "--json")
    assert done.status == 0, done.err
    found = json.loads(done.out)
    (figures,) = found["cards"]
    decodes = hasattr(load_codec(codec), "inverse_transform")
    errors = ("normalized_error", "linear_error", "nonlinear_error", "cosine")
    assert [figures[key] is not None for key in errors] == [decodes] * 4
    assert 0 <= figures["dead"] < 1
    assert figures["nnz"] > 0
    assert 0.4 < found["probe_accuracy"] <= 1  # a few cells of many tell little
    shown = run(*card)
    assert (" - " in shown.out) != decodes
    same = run(*card, "--against", codec, "--json")
    if hasattr(load_codec(codec), "dictionary"):
        assert json.loads(same.out)["stability"] == pytest.approx(1, abs=1e-6)
    else:
        assert f"the codec {name} has no dictionary" in same.err
    refused = run(*card, "-k", "3")
    assert refused.status == 1
    assert f"-k goes with autoencoders, and this is a codec {name}" in " ".join(refused.err.split())
