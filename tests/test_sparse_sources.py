"""Sparse vectors as what codecs are learned from, and encoders of codes of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array, save_npz

from sparseret import read_documents
from sparseret.encoders.codecs import CODECS, load_codec, open_vectors
from sparseret.encoders.dense_blocks import read_blocks
from sparseret.encoders.sparse_autoencoder import AutoencoderWeights, SparseAutoencoder
from sparseret.encoders.sparse_codes import SparseCodesEncoder
from sparseret.errors import ConfigurationError, VectorError
from sparseret.registry import load_encoder, load_saved_encoder
from sparseret.train.codes import train_codec
from sparseret.train.sparse_codes import train_sparse_codes

N, WIDTH = 300, 40

OPTIONS: dict[str, dict[str, Any]] = {
    "autoencoder": {"dim": 64, "k": 4, "epochs": 2, "batch_size": 50},
    "dictionary": {"dim": 20, "k": 3, "epochs": 2},
    "discrete-sparse-coding": {
        "dim": 6, "preselected": 4, "active": 2, "iterations": 3, "restarts": 1,
    },
    "vq": {"codebooks": 4, "entries": 8},
    "expansion-hashing": {"dim": 100, "winners": 5},
    "losse": {"groups": 5},
    "random-projection": {"dim": 64, "active": 4},
    "sdr-dense": {"cells": 256, "active": 8},
}  # fmt: skip


def topics(n: int = N, width: int = WIDTH) -> csr_array:
    """Texts of four topics, whose words are apart; the first text is empty."""
    rng = np.random.default_rng(0)
    topic = rng.integers(4, size=n)
    there = rng.random((n, width)) < np.where(np.arange(width) % 4 == topic[:, None], 0.5, 0.02)
    made = there * rng.random((n, width))
    made[0] = 0
    return csr_array(made.astype(np.float32))


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_every_codec_takes_sparse_vectors(name: str) -> None:
    """They are learned from and coded as the same vectors, dense, are."""
    if name == "autoencoder":
        pytest.importorskip("torch", reason="torch is not installed")
    given = topics()
    codec = train_codec(name, given, OPTIONS[name])
    other = train_codec(name, given.toarray(), OPTIONS[name])
    codes = codec.transform(given).toarray()
    assert codes.shape == (N, codec.dim)
    assert codes.any()
    np.testing.assert_allclose(codes, codec.transform(given.toarray()).toarray(), atol=2e-5)
    if name != "autoencoder":  # the sums of its products come in another order
        assert codec.space == other.space
    alone = [codec.transform(given[i : i + 1]).toarray() for i in range(20)]
    np.testing.assert_allclose(codes[:20], np.concatenate(alone), atol=2e-5)
    with pytest.raises(VectorError, match="7 columns where 40 are expected"):
        codec.transform(given[:, :7])
    bad = given.copy()
    bad.data[3] = np.nan
    with pytest.raises(VectorError, match="is not finite"):
        codec.transform(bad)
    with pytest.raises(VectorError, match="is not finite"):
        train_codec(name, bad, OPTIONS[name]).transform(bad)
    assert codec.transform(given[:0]).shape == (0, codec.dim)


def test_all_codecs_are_tested_here() -> None:
    assert {*OPTIONS} <= {*CODECS}


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_autoencoders_code_sparse_vectors_as_they_are(refit: bool, normalize: bool) -> None:
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((64, WIDTH))
    weights = AutoencoderWeights(
        rows, rng.standard_normal(WIDTH) / 9, rng.standard_normal(64) / 9, decoder=rows / 8
    )
    codec = SparseAutoencoder(weights, 6, refit=refit, normalize=normalize)
    given = topics()
    codes = codec.transform(given)
    assert codes.indptr[1] == 0  # an empty text has an empty code
    np.testing.assert_allclose(
        codes.toarray(), codec.transform(given.toarray()).toarray(), atol=1e-5
    )
    if not normalize:
        np.testing.assert_allclose(
            codec.project(given, 9).toarray(), codec.project(given.toarray(), 9).toarray(),
            atol=1e-5,
        )  # fmt: skip


@pytest.mark.usefixtures("neural")
@pytest.mark.parametrize("recipe", ["topk", "csr", "mutual-choice"])
def test_autoencoders_learn_from_sparse_vectors(recipe: str) -> None:
    """As they do from dense ones, up to rounding, which steps let grow."""
    from sparseret.encoders.autoencoder_training import AutoencoderTrainer

    given = topics()
    made = [AutoencoderTrainer(32, 4, recipe, batch_size=60) for _ in range(2)]
    for trainer, x in zip(made, (given, given.toarray()), strict=True):
        trainer.partial_fit(x)
    first, second = (trainer.history for trainer in made)
    np.testing.assert_allclose(
        [step.reconstruction for step in first], [step.reconstruction for step in second],
        rtol=1e-3,
    )  # fmt: skip
    codec = AutoencoderTrainer(32, 4, recipe, epochs=30, batch_size=60).fit(given).codec
    dense = given.toarray()
    left = codec.inverse_transform(codec.transform(given)) - dense
    assert np.square(left).sum() < 0.6 * np.square(dense - dense.mean(axis=0)).sum()


def test_latents_of_wide_vectors_must_be_said() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from sparseret.encoders.autoencoder_training import AutoencoderTrainer

    wide = csr_array((np.ones(9, np.float32), (np.arange(9), np.arange(9))), shape=(9, 30_522))
    with pytest.raises(ConfigurationError, match="30522 features need a number of latents"):
        AutoencoderTrainer().fit(wide)
    codec = AutoencoderTrainer(8, 2, epochs=1, batch_size=4).fit(wide).codec
    assert codec.transform(wide).shape == (9, 8)


def test_blocks_of_sparse_vectors() -> None:
    given = topics(10)
    blocks = list(read_blocks(given, WIDTH, rows=4))
    assert [len(block) for block in blocks] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate(blocks), given.toarray())
    assert [len(block) for block in read_blocks(given[:0], WIDTH)] == [0]


def test_files_of_sparse_vectors(tmp_path: Path) -> None:
    save_npz(tmp_path / "x.npz", topics())
    np.testing.assert_array_equal(open_vectors(tmp_path / "x.npz").toarray(), topics().toarray())
    whole = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "text.npz").write_text("no vectors")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    np.save(tmp_path / "dense", np.ones((2, 2)))
    (tmp_path / "dense.npy").rename(tmp_path / "dense.npz")
    for name in ("cut", "empty", "text", "other", "dense"):
        with pytest.raises(VectorError, match="holds no sparse matrix, or was cut off"):
            open_vectors(tmp_path / f"{name}.npz")
    with pytest.raises(VectorError, match="cannot be read"):
        open_vectors(tmp_path / "none.npz")
    bad = topics()
    bad.data[0] = np.inf
    save_npz(tmp_path / "bad.npz", bad)
    with pytest.raises(VectorError, match=r"bad\.npz: row"):
        open_vectors(tmp_path / "bad.npz")


@pytest.fixture(scope="module")
def splade(make_model: Callable[..., Path], sixty_documents: Path) -> Path:
    return make_model([record.document.text for record in read_documents(sixty_documents)])


@pytest.mark.usefixtures("neural")
def test_a_sparse_encoder_and_an_autoencoder(
    run: Callable[..., Any], splade: Path, sixty_documents: Path, tmp_path: Path
) -> None:
    out = tmp_path / "codes"
    done = run(
        "train", "autoencoder", sixty_documents, "--encoder", f"splade:{splade}", "--out", out,
        "--latents", "64", "-k", "8", "--epochs", "3", "--batch-size", "20", "--recipe", "topk",
        "--short", "--query-k", "16",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert "64 latents, k=8" in done.out
    encoder = load_encoder(f"sparse-codes:{out}")
    assert isinstance(encoder, SparseCodesEncoder)
    assert encoder.query_k == 16
    assert any(not encoder.term(column).startswith("latent ") for column in range(64))
    with pytest.raises(KeyError):
        encoder.term(64)
    text = "lift of a wing"
    sparse = load_encoder(f"splade:{splade}").encode_documents([text])
    expected = encoder.codec.transform(sparse).toarray()
    np.testing.assert_array_equal(encoder.encode_documents([text]).toarray(), expected)
    assert encoder.encode_queries([text]).nnz > 8
    assert encoder.encode_documents([]).shape == (0, 64)

    encoder.save(tmp_path / "again")
    again = load_saved_encoder(tmp_path / "again")
    assert again.space == encoder.space
    np.testing.assert_array_equal(again.encode_documents([text]).toarray(), expected)

    index = tmp_path / "index"
    made = run("index", sixty_documents, "--encoder", f"sparse-codes:{out}", "--out", index)
    assert made.status == 0, made.err
    found = run("search", index, text, "-k", "3", "--json", "--explain")
    assert found.status == 0, found.err
    for line in map(json.loads, found.out.splitlines()):
        total = sum(term["contribution"] for term in line["terms"])
        assert total == pytest.approx(line["score"], rel=1e-4)
    assert len(found.out.splitlines()) == 3

    judged = tmp_path / "judged"
    (judged / "qrels").mkdir(parents=True)
    (judged / "corpus.jsonl").write_text(sixty_documents.read_text())
    (judged / "queries.jsonl").write_text('{"_id": "q", "text": "lift of a wing"}\n')
    (judged / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\t1\t1\n")
    rated = run("eval-codes", out, "--dataset", judged, "-k", "4", "-k", "8", "--json")
    assert rated.status == 0, rated.err
    rows = json.loads(rated.out)
    assert [row["method"].split()[0] for row in rows["retrieval"]] == [
        "sparse", "autoencoder", "autoencoder",
    ]  # fmt: skip
    assert rows["cards"][1]["normalized_error"] < rows["cards"][0]["normalized_error"]


@pytest.mark.usefixtures("neural")
def test_other_codecs_of_a_sparse_encoder(
    run: Callable[..., Any], splade: Path, sixty_documents: Path, tmp_path: Path
) -> None:
    done = run(
        "train", "codec", "random-projection", sixty_documents, "--encoder", f"splade:{splade}",
        "--out", tmp_path / "codes", "-O", "dim=64", "-O", "active=5",
    )  # fmt: skip
    assert done.status == 0, done.err
    encoder = SparseCodesEncoder(tmp_path / "codes")
    assert encoder.signed
    assert encoder.encode_documents(["lift of a wing"]).nnz == 5
    with pytest.raises(ConfigurationError, match="has no such option"):
        SparseCodesEncoder(tmp_path / "codes", query_k=3)
    train_codec("vq", topics(), OPTIONS["vq"]).save(tmp_path / "codes" / "codec")
    with pytest.raises(ConfigurationError, match="and the codec takes 40"):
        SparseCodesEncoder(tmp_path / "codes")


def test_vectors_of_a_file(run: Callable[..., Any], tmp_path: Path) -> None:
    save_npz(tmp_path / "x.npz", topics())
    done = run(
        "train", "codec", "vq", tmp_path / "x.npz", "--out", tmp_path / "codec",
        "-O", "codebooks=4", "-O", "entries=8",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert load_codec(tmp_path / "codec").n_features == WIDTH


def test_encoders_whose_vectors_change(
    run: Callable[..., Any], sixty_documents: Path, tmp_path: Path
) -> None:
    done = run(
        "train", "codec", "vq", sixty_documents, "--encoder", "bm25", "--out", tmp_path / "codes"
    )
    assert done.status == 1
    assert "vectors of bm25 change with the collection" in " ".join(done.err.split())
    assert not (tmp_path / "codes").exists()
    with pytest.raises(ConfigurationError, match="no documents to train on"):
        train_sparse_codes(
            load_encoder("sdr"), [], tmp_path / "codes", lambda x: train_codec("losse", x)
        )


def test_folders_that_hold_no_encoder(tmp_path: Path) -> None:
    for content in ("", "[]", '{"name": "bm25"}'):
        (tmp_path / "encoder.json").write_text(content)
        with pytest.raises(ConfigurationError, match="does not name an encoder"):
            load_saved_encoder(tmp_path)
    (tmp_path / "encoder.json").write_text('{"encoder": "none-such"}')
    with pytest.raises(ConfigurationError, match="unknown encoder"):
        load_saved_encoder(tmp_path)
