"""UHD: codes against the formula, buckets, what an index makes of ones, and that it learns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sparseret.encoders.uhd import UhdEncoder, UhdModel
from sparseret.errors import ConfigurationError
from sparseret.protocols import Encoder
from sparseret.registry import load_encoder
from sparseret.retriever import Retriever

if TYPE_CHECKING:
    from tests.contextual.conftest import Material

WIDTH, WINNERS = 300, 7
TEXTS = ["the flow past a wing", "", "boundary layers on a flat plate in supersonic flow", "heat"]


@pytest.fixture(scope="module")
def folder(masked_lm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model with a bucket for each of two layers."""
    path = tmp_path_factory.mktemp("uhd")
    UhdModel.start(masked_lm, layers=(1, 2), width=WIDTH, winners=WINNERS).save(path)
    return path


def by_hand(folder: Path, text: str) -> set[int]:
    """The formula, token by token, by transformers' own classes."""
    import torch
    from safetensors.torch import load_file
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    weights = load_file(folder / "model.safetensors")
    body = BertModel(BertConfig.from_pretrained(folder)).eval()
    body.load_state_dict({n[5:]: w for n, w in weights.items() if n.startswith("bert.")})
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids
    with torch.inference_mode():
        layers = body(torch.tensor([ids]), output_hidden_states=True).hidden_states
    columns = set()
    for bucket, layer in enumerate((1, 2)):
        matrix, bias = (weights[f"up_projection.{layer}.{part}"] for part in ("weight", "bias"))
        for state in layers[layer][0, 1:-1]:
            activations = (matrix @ state + bias).numpy()
            for dimension in np.argsort(-activations)[:WINNERS]:
                if activations[dimension] > 0:
                    columns.add(bucket * WIDTH + int(dimension))
    return columns


def test_codes_are_those_of_the_formula(folder: Path) -> None:
    encoder = UhdEncoder(folder, batch_tokens=16)
    rows = encoder.encode_documents(TEXTS)
    assert isinstance(encoder, Encoder)
    assert rows.shape == (4, 2 * WIDTH)
    assert (rows.data == 1).all()
    for number, text in enumerate(TEXTS):
        expected = by_hand(folder, text) if text else set()
        assert set(rows[[number]].indices.tolist()) == expected
    assert rows[[3]].nnz >= 2 * WINNERS
    assert rows.has_sorted_indices


def test_queries_are_encoded_as_documents(folder: Path) -> None:
    encoder = UhdEncoder(folder)
    assert (encoder.encode_queries(TEXTS) != encoder.encode_documents(TEXTS)).nnz == 0


def test_training_sees_the_same_codes(folder: Path) -> None:
    model = UhdModel.load(folder)
    model.module.eval()
    texts = [text for text in TEXTS if text]
    queries, documents = model.represent(texts, texts[::-1])
    expected = UhdEncoder(folder).encode_queries(texts).toarray()
    np.testing.assert_allclose(queries.detach(), expected, atol=1e-6)
    np.testing.assert_allclose(documents.detach(), expected[::-1], atol=1e-6)
    (queries @ documents.T).sum().backward()
    assert float(model.module["up_projection"]["1"].weight.grad.abs().sum()) > 0


def test_terms_name_layer_and_dimension(folder: Path) -> None:
    encoder = UhdEncoder(folder)
    assert encoder.term(0) == "layer 1 #0"
    assert encoder.term(WIDTH + 5) == "layer 2 #5"
    for column in (-1, 2 * WIDTH):
        with pytest.raises(KeyError):
            encoder.term(column)


def test_an_index_stores_no_values(folder: Path, material: Material, tmp_path: Path) -> None:
    encoder = UhdEncoder(folder, max_length=64)
    with Retriever.create(tmp_path / "x", encoder) as retriever:
        retriever.add(material.documents[:200])
        retriever.commit()
        hits = retriever.retrieve(["heat"], k=3)
    codes = encoder.encode_documents(material.documents[:200])
    scores = (codes @ encoder.encode_queries(["heat"]).T).toarray().ravel()
    assert hits.scores[0].tolist() == sorted(scores.tolist(), reverse=True)[:3]
    segment = next((tmp_path / "x" / "segments").iterdir())
    with segment.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    assert "row_values" not in header


def test_saved_and_made_again(folder: Path, tmp_path: Path) -> None:
    encoder = UhdEncoder(folder, max_length=32)
    encoder.save(tmp_path / "saved")
    again = UhdEncoder.load(tmp_path / "saved")
    made = load_encoder("uhd", json.loads(json.dumps(encoder.options)))
    assert again.space == made.space == encoder.space
    assert (again.encode_documents(TEXTS) != encoder.encode_documents(TEXTS)).nnz == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": (1, 3)}, "within 1 to 2"),
        ({"layers": (2, 1)}, "ascending"),
        ({"layers": ()}, "ascending"),
        ({"layers": (1,), "width": 5, "winners": 6}, "6 winners do not fit a width of 5"),
        ({"layers": (1,), "winners": 0}, "winners must be a whole number"),
    ],
)
def test_impossible_models(masked_lm: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        UhdModel.start(masked_lm, **options)


def test_a_folder_without_settings_says_so(masked_lm: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"uhd\.json: no such file"):
        UhdEncoder(masked_lm)


def test_training_beats_the_untrained_model(
    material: Material, tmp_path: Path, torch_needed: None
) -> None:
    """On queries that it was not trained on, by a paired test."""
    from sparseret.eval.significance import compare
    from sparseret.train.loop import TrainingSettings, train_pairs
    from sparseret.train.scratch import new_masked_lm

    texts = [document.content for document in material.documents]
    body = new_masked_lm(tmp_path / "body", texts, vocabulary=2000, hidden=64, layers=1)
    model = UhdModel.start(body, layers=(1,), width=2048, winners=4)
    model.max_length = 64
    model.save(tmp_path / "untrained")
    settings = TrainingSettings(steps=200, learning_rate=3e-3, scale=0.4)
    train_pairs(model, material.pairs, settings)
    model.save(tmp_path / "trained")
    trained = UhdEncoder(tmp_path / "trained", max_length=128)
    after = material.rate(trained, tmp_path / "after.idx")
    untrained = UhdEncoder(tmp_path / "untrained", max_length=128)
    before = material.rate(untrained, tmp_path / "before.idx")
    result = compare(after, before, "nDCG@10")
    assert result.difference > 0.05
    assert result.p_randomisation < 0.01
