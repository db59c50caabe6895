"""Causal-LM SPLADE: echo input against the model's own logits, other architectures, LoRA, and that
it learns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sparseret.encoders import causal_model
from sparseret.encoders.causal_lm import CausalSpladeEncoder, CausalSpladeModel
from sparseret.encoders.causal_model import CausalModel
from sparseret.errors import ConfigurationError, VectorError
from sparseret.protocols import Encoder
from sparseret.registry import load_encoder

if TYPE_CHECKING:
    from tests.contextual.conftest import Material

TEXTS = ["the flow past a wing", "", "heat conduction in composite slabs", "heat"]


def by_hand(folder: Path, text: str, *, echo: bool) -> Any:
    """The formula from whole logits, one text at a time, shape (vocabulary,)."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    whole = [0, *ids, *ids] if echo else [0, *ids]
    with torch.inference_mode():
        logits = model(torch.tensor([whole])).logits[0, -len(ids) :]
    return np.log1p(np.maximum(logits.numpy().max(axis=0), 0))


def by_torch(encoder: CausalSpladeEncoder) -> CausalSpladeEncoder:
    """The same encoder, whose product with the vocabulary is torch's as on other devices."""
    encoder.__dict__["_head"] = None
    return encoder


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("echo", [True, False])
def test_vectors_are_those_of_the_formula(
    causal_lm: Path, echo: bool, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(causal_model, "_BLOCK", 97)  # the vocabulary in many uneven blocks
    encoder = CausalSpladeEncoder(causal_lm, echo=echo, batch_tokens=32)
    if not native:
        by_torch(encoder)
    rows = encoder.encode_documents(TEXTS)
    assert isinstance(encoder, Encoder)
    assert rows.shape == (4, encoder.dim)
    for number in (0, 2, 3):
        expected = by_hand(causal_lm, TEXTS[number], echo=echo)
        np.testing.assert_allclose(rows[[number]].toarray()[0], expected, atol=1e-5)
    assert rows[[1]].nnz == 0
    assert (encoder.encode_queries(TEXTS) != rows).nnz == 0


def test_the_kernel_gives_what_torch_gives(
    causal_lm: Path, material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = material.documents[:20]
    expected = by_torch(CausalSpladeEncoder(causal_lm)).encode_documents(documents).toarray()
    # torch's path, which makes logits, is not taken.
    monkeypatch.setattr(CausalModel, "largest_logits", None)
    found = [
        CausalSpladeEncoder(causal_lm, threads=threads).encode_documents(documents)
        for threads in (1, 3, None)
    ]
    for rows in found:
        dense = rows.toarray()
        np.testing.assert_allclose(dense, expected, atol=1e-4)
        assert np.abs(np.where((dense > 0) != (expected > 0), dense - expected, 0)).max() < 1e-6
        assert (rows != found[0]).nnz == 0
    assert found[0].nnz > 1000


def test_int8_is_close_and_a_space_of_its_own(causal_lm: Path) -> None:
    plain = CausalSpladeEncoder(causal_lm)
    rounded = CausalSpladeEncoder(causal_lm, precision="int8")
    expected = plain.encode_documents(TEXTS).toarray()
    found = rounded.encode_documents(TEXTS).toarray()
    assert 0 < np.abs(found - expected).max() < 0.02
    assert rounded.space != plain.space
    again = load_encoder("causal-lm", json.loads(json.dumps(rounded.options)))
    assert again.space == rounded.space
    # The processor rounds, whatever the model's arithmetic.
    half = CausalSpladeEncoder(causal_lm, dtype="bfloat16", precision="int8")
    np.testing.assert_allclose(half.encode_documents(TEXTS).toarray(), expected, atol=0.05)


def test_weights_that_are_not_finite_say_so(causal_lm: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    for file in causal_lm.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(causal_lm / "model.safetensors")
    weights["model.embed_tokens.weight"][3, 3] = torch.nan
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(VectorError, match="weight: values must be finite"):
        CausalSpladeEncoder(tmp_path).encode_documents(TEXTS)


def test_with_echo_the_first_word_sees_the_last(causal_lm: Path) -> None:
    """Position by position: without echo the first token's state depends on itself alone."""
    import torch

    for echo in (True, False):
        model = CausalSpladeModel.load(causal_lm, echo=echo)
        encoder = CausalSpladeEncoder(causal_lm, echo=echo)
        readings = encoder.read(["wing flow", "wing heat"], query=False)
        firsts = [reading._replace(positions=reading.positions[:1]) for [reading] in readings]
        with torch.inference_mode():
            one, other = model.weights(firsts)
        assert torch.allclose(one, other, atol=1e-6) != echo


def test_the_heaviest_weights_are_kept(causal_lm: Path) -> None:
    whole = CausalSpladeEncoder(causal_lm).encode_documents(TEXTS).toarray()
    rows = CausalSpladeEncoder(causal_lm, top_k=10).encode_documents(TEXTS)
    for number in (0, 2, 3):
        row = rows[[number]]
        assert row.nnz == 10
        assert sorted(row.data) == sorted(whole[number])[-10:]


def test_long_texts_are_cut_and_counted(causal_lm: Path) -> None:
    encoder = CausalSpladeEncoder(causal_lm, max_length=3)
    reading = encoder.read(["the flow past a wing"], query=False)[0][0]
    assert len(reading.ids) == 7
    assert reading.positions == [4, 5, 6]
    assert reading.ids[1:4] == reading.ids[4:]
    encoder.encode_documents(TEXTS)
    assert encoder.truncated == 2


@pytest.mark.parametrize("kind", ["gpt2", "gemma2", "opt"])
def test_other_architectures(kind: str, causal_lm: Path, tmp_path: Path) -> None:
    """A head with names of its own, logits that are capped, positions with an offset."""
    import torch
    import transformers

    size = json.loads((causal_lm / "config.json").read_text("utf-8"))["vocab_size"]
    configs: dict[str, Any] = {
        "gpt2": lambda: transformers.GPT2Config(
            vocab_size=size, n_embd=32, n_layer=2, n_head=4, n_positions=64
        ),
        "gemma2": lambda: transformers.Gemma2Config(
            vocab_size=size, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=8, intermediate_size=64, max_position_embeddings=64,
            final_logit_softcapping=0.5,
        ),
        "opt": lambda: transformers.OPTConfig(
            vocab_size=size, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=64,
            max_position_embeddings=64, word_embed_proj_dim=32,
        ),
    }  # fmt: skip
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(configs[kind]()).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes((causal_lm / "tokenizer.json").read_bytes())
    for encoder in (CausalSpladeEncoder(tmp_path), by_torch(CausalSpladeEncoder(tmp_path))):
        rows = encoder.encode_documents(TEXTS)
        for number in (0, 2, 3):
            expected = by_hand(tmp_path, TEXTS[number], echo=True)
            np.testing.assert_allclose(rows[[number]].toarray()[0], expected, atol=1e-5)
        assert rows.nnz > 20


def test_lora_trains_its_adapters_alone_and_merges(
    causal_lm: Path, material: Material, tmp_path: Path
) -> None:
    pytest.importorskip("peft", reason="peft is not installed")
    from sparseret.train.loop import TrainingSettings, train_pairs

    model = CausalSpladeModel.load(causal_lm)
    model.max_length = 32
    model.add_lora(rank=4)
    learnt = sum(w.numel() for w in model.module.parameters() if w.requires_grad)
    assert learnt < sum(w.numel() for w in model.module.parameters()) / 2
    train_pairs(model, material.pairs, TrainingSettings(steps=3, batch_size=4, learning_rate=0.05))
    model.save_adapter(tmp_path / "adapter")
    model.save(tmp_path / "merged")
    adapted = CausalSpladeEncoder(causal_lm, adapter=tmp_path / "adapter")
    merged = CausalSpladeEncoder(tmp_path / "merged")
    plain = CausalSpladeEncoder(causal_lm)
    expected = merged.encode_documents(TEXTS).toarray()
    np.testing.assert_allclose(adapted.encode_documents(TEXTS).toarray(), expected, atol=1e-4)
    assert np.abs(plain.encode_documents(TEXTS).toarray() - expected).max() > 0.01
    assert adapted.space != plain.space

    adapted.save(tmp_path / "saved")
    again = CausalSpladeEncoder.load(tmp_path / "saved")
    made = load_encoder("causal-lm", json.loads(json.dumps(adapted.options)))
    assert again.space == made.space == adapted.space
    assert (again.encode_queries(TEXTS) != adapted.encode_queries(TEXTS)).nnz == 0


def test_folders_that_hold_no_model_say_so(
    masked_lm: Path, causal_lm: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="holds no causal language model"):
        (tmp_path / "tokenizer.json").write_bytes((causal_lm / "tokenizer.json").read_bytes())
        CausalSpladeEncoder(tmp_path).encode_queries(["wing"])
    with pytest.raises(ConfigurationError, match="dtype 'int4' is not one of float32"):
        CausalSpladeEncoder(causal_lm, dtype="int4").encode_queries(["wing"])
    pytest.importorskip("peft", reason="peft is not installed")
    with pytest.raises(ConfigurationError, match="holds no adapter"):
        CausalSpladeEncoder(causal_lm, adapter=tmp_path).encode_queries(["wing"])


def test_half_precision_is_close(causal_lm: Path) -> None:
    exact = CausalSpladeEncoder(causal_lm).encode_documents(TEXTS).toarray()
    half = CausalSpladeEncoder(causal_lm, dtype="bfloat16")
    found = half.encode_documents(TEXTS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.toarray(), exact, atol=0.05)


def test_terms_are_words(causal_lm: Path) -> None:
    encoder = CausalSpladeEncoder(causal_lm)
    ids = encoder.tokenizer.encode("flow", add_special_tokens=False).ids
    assert "".join(map(encoder.term, ids)) == " flow"
    for column in (-1, encoder.dim):
        with pytest.raises(KeyError):
            encoder.term(column)


def test_training_beats_the_untrained_model(
    material: Material, tmp_path: Path, torch_needed: None
) -> None:
    """On queries that it was not trained on, by a paired test.

    Where its 64 heaviest terms are kept, the untrained model is no bad one: tied embeddings make
    them the text's own tokens. FLOPS teaches it which of them are common.
    """
    from sparseret.eval.significance import compare
    from sparseret.train.loop import TrainingSettings, train_pairs
    from sparseret.train.scratch import new_causal_lm

    texts = [document.content for document in material.documents]
    folder = new_causal_lm(tmp_path / "lm", texts, vocabulary=2000, hidden=64, layers=1)
    model = CausalSpladeModel.load(folder, top_k=64)
    model.max_length = 48
    settings = TrainingSettings(
        steps=120,
        batch_size=12,
        learning_rate=1e-3,
        scale=0.5,
        flops_queries=0.1,
        flops_documents=0.1,
    )
    train_pairs(model, material.pairs, settings)
    model.save(tmp_path / "trained")
    trained = CausalSpladeEncoder(tmp_path / "trained", top_k=64, max_length=96)
    after = material.rate(trained, tmp_path / "after.idx")
    untrained = CausalSpladeEncoder(folder, top_k=64, max_length=96)
    before = material.rate(untrained, tmp_path / "before.idx")
    result = compare(after, before, "nDCG@10")
    assert result.difference > 0.03
    assert result.p_randomisation < 0.01
