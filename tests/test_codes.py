"""Codes of texts: folders of sentence-transformers here, ours there, and the index between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparseret import Document, Retriever
from sparseret.encoders.autoencoder_training import AutoencoderTrainer
from sparseret.encoders.codes import CodesEncoder
from sparseret.errors import ConfigurationError
from sparseret.registry import load_encoder

TEXTS = [
    "the quick brown fox jumps over the lazy dog",
    "a lazy cat sleeps",
    "foxes hunt at night " * 40,
    "dogs and cats",
]


@pytest.fixture(scope="module", params=["mean", "cls", "max"])
def csr_folder(
    request: pytest.FixtureRequest,
    make_model: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A SparseEncoder with a SparseAutoEncoder, written by sentence-transformers itself."""
    reason = "sentence-transformers is not installed"
    sparse = pytest.importorskip("sentence_transformers.sparse_encoder.modules", reason=reason)
    modules = pytest.importorskip(
        "sentence_transformers.sentence_transformer.modules", reason=reason
    )
    import torch
    from sentence_transformers import SparseEncoder

    torch.manual_seed(0)
    transformer = modules.Transformer(str(make_model(TEXTS)), max_seq_length=32)
    width = transformer.get_embedding_dimension()
    parts: list[Any] = [transformer, modules.Pooling(width, request.param)]
    if request.param != "cls":
        parts.append(modules.Normalize())
    autoencoder = sparse.SparseAutoEncoder(
        width, hidden_dim=96, k=8, k_aux=16, normalize=request.param == "max"
    )
    torch.nn.init.normal_(autoencoder.pre_bias, std=0.1)
    torch.nn.init.normal_(autoencoder.latent_bias, std=0.1)
    folder = tmp_path_factory.mktemp(f"csr-{request.param}")
    SparseEncoder(modules=[*parts, autoencoder]).save_pretrained(str(folder))
    return folder


def theirs(folder: Path) -> np.ndarray:
    from sentence_transformers import SparseEncoder

    made: np.ndarray = SparseEncoder(str(folder)).encode_document(TEXTS).to_dense().numpy()
    return made


def test_csr_folders_of_sentence_transformers_load_here(csr_folder: Path) -> None:
    encoder = CodesEncoder(csr_folder)
    codes = encoder.encode_documents(TEXTS).toarray()
    wanted = theirs(csr_folder)
    assert codes.shape == wanted.shape == (4, 96)
    np.testing.assert_array_equal(codes != 0, wanted != 0)
    np.testing.assert_allclose(codes, wanted, atol=1e-4)
    assert encoder.truncated == 1
    assert encoder.options == {"folder": str(csr_folder), "max_length": 32}


def test_csr_folders_of_ours_load_there(csr_folder: Path, tmp_path: Path) -> None:
    encoder = CodesEncoder(csr_folder)
    encoder.save(tmp_path / "ours")
    codes = encoder.encode_documents(TEXTS).toarray()
    np.testing.assert_allclose(theirs(tmp_path / "ours"), codes, atol=1e-4)
    again = CodesEncoder.load(tmp_path / "ours")
    assert again.space == encoder.space
    np.testing.assert_array_equal(again.encode_documents(TEXTS).toarray(), codes)


def test_fewer_latents(csr_folder: Path, tmp_path: Path) -> None:
    from sentence_transformers import SparseEncoder

    encoder = CodesEncoder(csr_folder, k=3)
    codes = encoder.encode_documents(TEXTS)
    assert np.diff(codes.indptr).max() == 3
    wanted = SparseEncoder(str(csr_folder)).encode_document(TEXTS, max_active_dims=3).to_dense()
    np.testing.assert_allclose(codes.toarray(), wanted.numpy(), atol=1e-4)
    assert encoder.space != CodesEncoder(csr_folder).space
    encoder.save(tmp_path / "ours")
    assert CodesEncoder.load(tmp_path / "ours").codec.k == 3


def test_texts_without_words_have_no_code(csr_folder: Path) -> None:
    codes = CodesEncoder(csr_folder).encode_documents(["", "  \n", "fox"])
    assert np.diff(codes.indptr).tolist()[:2] == [0, 0]
    assert codes.indptr[-1] > 0
    assert CodesEncoder(csr_folder).encode_queries([]).shape == (0, 96)


@pytest.fixture(scope="module")
def dense_folder(make_model: Callable[..., Path], add_pooling: Callable[..., None]) -> Path:
    """A dense model in the layout of sentence-transformers before its sixth version."""
    folder = make_model(TEXTS)
    add_pooling(folder, normalize=True)
    return folder


@pytest.fixture(scope="module")
def trained(dense_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A codec of that model's vectors, with a decoder of its own."""
    from sparseret.encoders.dense_text import DenseText

    words = " ".join(TEXTS).split()
    texts = [" ".join(words[i % 60 : i % 60 + 5 + i % 3]) for i in range(200)]
    dense = DenseText(dense_folder, normalize=True).encode(texts)
    out = tmp_path_factory.mktemp("codec")
    AutoencoderTrainer(48, 6, "topk", epochs=3, batch_size=64).fit(dense).codec.save(out)
    return out


def test_a_dense_model_with_a_codec(dense_folder: Path, trained: Path, tmp_path: Path) -> None:
    options = {"folder": str(dense_folder), "codec": str(trained)}
    encoder = load_encoder("codes", options)
    assert encoder.options.items() >= options.items()
    with Retriever.create(tmp_path / "index", encoder) as retriever:
        retriever.add([Document(str(i), text) for i, text in enumerate(TEXTS)])
        retriever.commit()
    with Retriever.open(tmp_path / "index") as retriever:
        hits = retriever.search(TEXTS[1], k=4)
        assert hits[0].id == "1"
        explanation = retriever.explain(TEXTS[1], "1")
        assert explanation.score == pytest.approx(hits[0].score, rel=1e-5)
        assert all(part.term.startswith("latent ") for part in explanation.terms)
    encoder.save(tmp_path / "saved")
    again = CodesEncoder.load(tmp_path / "saved")
    assert again.space == encoder.space
    np.testing.assert_array_equal(
        again.encode_queries(TEXTS).toarray(), encoder.encode_queries(TEXTS).toarray()
    )


def test_dense_vectors_equal_those_of_sentence_transformers(dense_folder: Path) -> None:
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    from sentence_transformers import SentenceTransformer

    from sparseret.encoders.dense_text import DenseText

    wanted = SentenceTransformer(str(dense_folder)).encode(TEXTS)
    made = DenseText(dense_folder, normalize=True, max_length=64).encode(TEXTS)
    np.testing.assert_allclose(made, wanted, atol=1e-5)


def test_what_cannot_be_used_is_said(
    dense_folder: Path, trained: Path, csr_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="give the option codec"):
        CodesEncoder(dense_folder)
    with pytest.raises(ConfigurationError, match="give the folder of a codec"):
        CodesEncoder(dense_folder, codec=tmp_path / "none")
    with pytest.raises(ConfigurationError, match="k must be from 1 to 48"):
        CodesEncoder(dense_folder, codec=trained, k=49)
    with pytest.raises(ConfigurationError, match="max_length must be"):
        CodesEncoder(dense_folder, codec=trained, max_length=0)
    with pytest.raises(ConfigurationError, match="features"):
        other = tmp_path / "other"
        AutoencoderTrainer(8, 2, "topk", epochs=1).fit(np.eye(5)).codec.save(other)
        CodesEncoder(dense_folder, codec=other)
    broken = tmp_path / "broken"
    CodesEncoder(csr_folder).save(broken)
    weights = next(broken.glob("*_SparseAutoEncoder/model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ConfigurationError, match="cannot be read"):
        CodesEncoder(broken)
