"""Bodies: states and decoder give a model's own logits, whatever runs it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sparseret.kernels._native", reason="the native kernel is not built")

from sparseret.encoders import model_folder
from sparseret.encoders.model_folder import model_digest
from sparseret.encoders.onnx_body import OnnxBody, export_onnx
from sparseret.encoders.transformer_body import TorchBody, load_body, pack
from sparseret.errors import ConfigurationError

torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

TEXTS = ["heat transfer in hypersonic flow", "the lift of a wing in a slipstream"]


def batch() -> tuple[Any, Any]:
    ids = np.random.default_rng(1).integers(5, 40, (3, 12))
    mask = np.ones_like(ids)
    mask[1, 7:] = 0
    return ids, mask


@pytest.mark.parametrize(
    "architecture", ["albert", "bert", "distilbert", "electra", "modernbert", "mpnet", "roberta"]
)
def test_states_and_decoder_are_the_logits(
    make_model: Callable[..., Path], architecture: str
) -> None:
    folder = make_model(TEXTS, architecture)
    ids, mask = batch()
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask)).logits
    body = load_body(folder)
    assert isinstance(body, TorchBody)
    hidden, offsets = pack(body.states(ids, mask), mask)
    assert offsets.tolist() == [0, 12, 19, 31]
    made = hidden @ body.decoder.weight.T + body.decoder.bias
    np.testing.assert_allclose(made, logits.numpy()[mask.astype(bool)], atol=1e-5)


def test_a_model_that_does_more_with_its_decoder_is_refused(
    make_model: Callable[..., Path],
) -> None:
    with pytest.raises(ConfigurationError, match="MobileBertForMaskedLM cannot be cut"):
        TorchBody(make_model(TEXTS, "mobilebert"))


def test_logits_that_are_no_product_are_refused(
    make_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = transformers.BertForMaskedLM.forward

    def capped(*arguments: Any, **named: Any) -> Any:
        made = forward(*arguments, **named)
        made.logits = torch.tanh(made.logits)
        return made

    monkeypatch.setattr(transformers.BertForMaskedLM, "forward", capped)
    with pytest.raises(ConfigurationError, match="not a product of its states"):
        TorchBody(make_model(TEXTS))


def test_folders_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no masked language model"):
        TorchBody(tmp_path)
    with pytest.raises(ConfigurationError, match="export_onnx"):
        load_body(tmp_path, backend="onnx")
    with pytest.raises(ConfigurationError, match="'jax' is not one of"):
        load_body(tmp_path, backend="jax")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="holds no weights"):
        model_digest(tmp_path)


def test_weights_that_torch_saved(make_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_model(TEXTS)
    old = tmp_path / "old"
    old.mkdir()
    for name in ("config.json", "tokenizer.json"):
        shutil.copyfile(folder / name, old / name)
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder)
    torch.save(model.state_dict(), old / "pytorch_model.bin")
    ids, mask = batch()
    np.testing.assert_array_equal(
        TorchBody(old).states(ids, mask), TorchBody(folder).states(ids, mask)
    )
    assert model_digest(old) != model_digest(folder)


def test_exported_bodies(make_model: Callable[..., Path], tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    folder = make_model(TEXTS)
    ids, mask = batch()
    assert export_onnx(folder, tmp_path / "alone") == tmp_path / "alone"
    body = load_body(tmp_path / "alone")
    assert isinstance(body, OnnxBody)  # there is nothing else
    assert model_digest(tmp_path / "alone") == model_digest(folder)
    plain = TorchBody(folder)
    for rows, length in ((3, 12), (1, 12), (2, 1), (3, 7)):
        part, part_mask = ids[:rows, :length], mask[:rows, :length]
        np.testing.assert_allclose(
            pack(body.states(part, part_mask), part_mask).hidden,
            pack(plain.states(part, part_mask), part_mask).hidden,
            atol=1e-5,
        )
    np.testing.assert_array_equal(body.decoder.weight, plain.decoder.weight)
    np.testing.assert_array_equal(body.decoder.bias, plain.decoder.bias)
    # Beside other weights than it was made from, it is not used.
    shutil.copyfile(folder / "model.safetensors", tmp_path / "alone" / "model.safetensors")
    OnnxBody(tmp_path / "alone")
    tokenizer = tmp_path / "alone" / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text("utf-8") + " ", "utf-8")
    with pytest.raises(ConfigurationError, match="export it again"):
        OnnxBody(tmp_path / "alone")
    (tmp_path / "alone" / model_folder.DECODER_FILE).write_bytes(b"foreign")
    with pytest.raises(ConfigurationError, match="was not written by export_onnx"):
        OnnxBody(tmp_path / "alone")
