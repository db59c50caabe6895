"""uniCOIL: against its formula written out, checkpoints of two layouts, impacts, expansion, and
that it learns."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bert_by_hand import in_words, run_bert
from sparseret.documents import Document
from sparseret.encoders.unicoil import UniCoilEncoder, UniCoilModel
from sparseret.errors import ConfigurationError, MissingExtraError
from sparseret.protocols import Encoder
from sparseret.registry import load_encoder
from sparseret.retriever import Retriever

if TYPE_CHECKING:
    from tests.contextual.conftest import Material

TEXTS = [
    "the flow past a wing past a wing",
    "",
    "boundary layers on a flat plate in supersonic flow , and heat",
    "heat",
]


@pytest.fixture(scope="module")
def folder(masked_lm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model."""
    path = tmp_path_factory.mktemp("unicoil")
    UniCoilModel.start(masked_lm).save(path)
    return path


def by_hand(folder: Path, text: str, *, query: bool) -> dict[str, float]:
    """The formula, one text and one token at a time, by transformers' own classes."""
    encoding, states, weights = run_bert(folder, text)
    found: dict[str, float] = {}
    for token, state in zip(encoding.tokens, states, strict=True):
        if token in ("[CLS]", "[SEP]"):
            continue
        weight = max(0.0, float(weights["tok_proj.weight"][0] @ state + weights["tok_proj.bias"]))
        before = found.get(token, 0.0)
        found[token] = before + weight if query else max(before, weight)
    return {token: weight for token, weight in found.items() if weight > 0}


@pytest.mark.parametrize("query", [False, True])
def test_vectors_are_those_of_the_formula(folder: Path, query: bool) -> None:
    encoder = UniCoilEncoder(folder, batch_tokens=16)
    rows = (encoder.encode_queries if query else encoder.encode_documents)(TEXTS)
    assert rows.shape == (4, encoder.dim)
    assert rows.dtype == np.float32
    for number, text in enumerate(TEXTS):
        expected = by_hand(folder, text, query=query)
        assert in_words(encoder, rows[[number]]) == pytest.approx(expected, abs=1e-5)
    assert any(len(by_hand(folder, text, query=query)) > 2 for text in TEXTS)
    assert isinstance(encoder, Encoder)


def test_repetitions_add_up_in_queries_and_not_in_documents(folder: Path) -> None:
    encoder = UniCoilEncoder(folder)
    query = in_words(encoder, encoder.encode_queries([TEXTS[0]]))
    document = in_words(encoder, encoder.encode_documents([TEXTS[0]]))
    repeated = {"past", "a", "wing"} & document.keys()
    assert any(query[token] > document[token] * 1.01 for token in repeated)
    for token in document:
        assert query[token] >= document[token] * 0.999


def test_batches_change_nothing(folder: Path, material: Material) -> None:
    documents = material.documents[:30]
    one = UniCoilEncoder(folder, batch_tokens=1).encode_documents(documents)
    many = UniCoilEncoder(folder, batch_tokens=8192).encode_documents(documents)
    np.testing.assert_array_equal(one.indices, many.indices)
    np.testing.assert_allclose(one.data, many.data, atol=1e-5)


def test_long_texts_are_cut_and_counted(folder: Path) -> None:
    encoder = UniCoilEncoder(folder, max_length=8)
    rows = encoder.encode_documents(["heat " * 6, "heat " * 7, "heat"])
    assert encoder.truncated == 1
    np.testing.assert_array_equal(rows[[0]].toarray(), rows[[1]].toarray())


def test_title_and_text_are_read_as_one(folder: Path) -> None:
    encoder = UniCoilEncoder(folder)
    rows = encoder.encode_documents([Document("1", "of a wing", "the flow"), "the flow of a wing"])
    np.testing.assert_allclose(rows[[0]].toarray(), rows[[1]].toarray(), atol=1e-6)


def test_impacts_are_whole_numbers(folder: Path) -> None:
    plain = UniCoilEncoder(folder).encode_documents(TEXTS).toarray()
    top = float(plain.max()) * 0.8
    encoder = UniCoilEncoder(folder, impacts=8, impact_range=top)
    expected = np.minimum(np.rint(plain / top * 256), 255)
    np.testing.assert_array_equal(encoder.encode_documents(TEXTS).toarray(), expected)
    assert expected.max() == 255
    assert encoder.space != UniCoilEncoder(folder).space


@pytest.mark.parametrize("layout", ["coil_encoder.", "safetensors", "shards"])
def test_checkpoints_in_other_layouts(folder: Path, tmp_path: Path, layout: str) -> None:
    """castorini/unicoil-msmarco-passage: pytorch_model.bin, names under coil_encoder, vocab.txt."""
    import torch
    from safetensors.torch import load_file, save_file
    from tokenizers import Tokenizer

    weights = load_file(folder / "model.safetensors")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text("utf-8"), "utf-8")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    if layout == "coil_encoder.":
        old = {f"coil_encoder.{n}": w for n, w in weights.items()}
        old = {n.replace("LayerNorm.weight", "LayerNorm.gamma"): w for n, w in old.items()}
        torch.save(old, tmp_path / "pytorch_model.bin")
        words = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
        (tmp_path / "vocab.txt").write_text("".join(f"{w}\n" for w, _ in words), "utf-8")
        (tmp_path / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True}), "utf-8"
        )
    else:
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        names = sorted(weights)
        shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
        if layout == "safetensors":
            shards = {"model.safetensors": names}
        for file, inside in shards.items():
            save_file({n: weights[n] for n in inside}, tmp_path / file)
        index = {name: file for file, inside in shards.items() for name in inside}
        if layout == "shards":
            (tmp_path / "model.safetensors.index.json").write_text(
                json.dumps({"weight_map": index}), "utf-8"
            )
    found = UniCoilEncoder(tmp_path).encode_documents(TEXTS)
    expected = UniCoilEncoder(folder).encode_documents(TEXTS)
    np.testing.assert_allclose(found.toarray(), expected.toarray(), atol=1e-6)


def test_a_folder_without_the_projection_says_so(masked_lm: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no weights named 'tok_proj': .*start\(folder\)"):
        UniCoilEncoder(masked_lm).encode_queries(["heat"])


def test_a_folder_with_other_weights_says_so(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["num_hidden_layers"] = 3
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(ConfigurationError, match=r"the weights lack 'encoder\.layer\.2"):
        UniCoilEncoder(tmp_path).encode_queries(["heat"])


def shout(texts: Sequence[str]) -> list[str]:
    """An expansion: one word that is new, and one that the text has."""
    return [f"supersonic {text.split()[0]}" if text else "" for text in texts]


def test_expansion_appends_what_is_new(folder: Path) -> None:
    encoder = UniCoilEncoder(folder, expand=shout, max_length=64)
    plain = UniCoilEncoder(folder, max_length=64)
    reading = encoder.read(["heat flow"], query=False)[0][0]
    tokens = [encoder.term(token) for token in reading.ids]
    assert tokens == ["[CLS]", "heat", "flow", "[SEP]", "supersonic", "[SEP]"]
    assert reading.positions == [1, 2, 4]
    assert encoder.settings["expansion"].endswith("test_unicoil.shout")
    assert encoder.space != plain.space
    queries = encoder.encode_queries(TEXTS)
    np.testing.assert_array_equal(queries.toarray(), plain.encode_queries(TEXTS).toarray())
    assert encoder.encode_documents([""]).nnz == 0


def test_an_expansion_never_crowds_out_the_text(folder: Path) -> None:
    many = UniCoilEncoder(
        folder, max_length=20, expansion="many",
        expand=lambda texts: ["lift drag wing plate shock wave mach number"] * len(texts),
    )  # fmt: skip
    reading = many.read(["heat " * 50], query=False)[0][0]
    assert len(reading.ids) == 20
    assert reading.truncated
    assert len(reading.positions) == 17  # 13 of the text, a fifth of 20 of the expansion


def test_an_index_with_expansion_is_searched_without_the_hook(folder: Path, tmp_path: Path) -> None:
    documents = [Document("1", "heat flow"), Document("2", "wing")]
    with Retriever.create(tmp_path / "x", UniCoilEncoder(folder, expand=shout)) as retriever:
        retriever.add(documents)
        retriever.commit()
        expected = retriever.retrieve(["heat", "supersonic wing"])
    with Retriever.open(tmp_path / "x") as retriever:
        assert retriever.retrieve(["heat", "supersonic wing"]).ids == expected.ids
        with pytest.raises(ConfigurationError, match=r"expanded by '.*shout': give that function"):
            retriever.add([Document("3", "more")])
    encoder = UniCoilEncoder(folder, expand=shout)
    with Retriever.open(tmp_path / "x", encoder) as retriever:
        assert retriever.add([Document("3", "more")]) == 1


def test_an_expansion_that_breaks_its_word(folder: Path) -> None:
    encoder = UniCoilEncoder(folder, expand=lambda texts: ["one"], expansion="short")
    with pytest.raises(ConfigurationError, match="'short' gave 1 values for 2 texts"):
        encoder.encode_documents(["a", "b"])


def test_saved_and_made_again(folder: Path, tmp_path: Path) -> None:
    encoder = UniCoilEncoder(folder, impacts=8, impact_range=2.0, max_length=32)
    encoder.save(tmp_path / "saved")
    for again in (
        UniCoilEncoder.load(tmp_path / "saved"),
        load_encoder(encoder.name, encoder.options),
        load_encoder(encoder.name, json.loads(json.dumps(encoder.options))),
    ):
        assert again.space == encoder.space
        np.testing.assert_array_equal(
            again.encode_documents(TEXTS).toarray(), encoder.encode_documents(TEXTS).toarray()
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"impacts": 17}, "impacts must be a number of bits, 1 to 16"),
        ({"impact_range": 0.0}, "impact_range"),
        ({"max_length": 2}, "max_length must be a whole number from 8"),
        ({"batch_tokens": 0}, "batch_tokens"),
        ({"expand": "doc2query"}, "expand must be a function"),
        ({"bits": 8}, "unicoil has no option 'bits'"),
    ],
)
def test_options_out_of_range(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_encoder("unicoil", {"folder": str(folder), **options})


def test_training_beats_the_untrained_model(
    masked_lm: Path, folder: Path, material: Material, tmp_path: Path
) -> None:
    """On queries that it was not trained on, by a paired test."""
    from sparseret.eval.significance import compare
    from sparseret.train.loop import TrainingSettings, train_pairs

    model = UniCoilModel.start(masked_lm)
    model.max_length = 64
    settings = TrainingSettings(steps=40, learning_rate=2e-3)
    steps = train_pairs(model, material.pairs, settings)
    model.save(tmp_path / "trained")
    assert steps[-1].loss < steps[0].loss
    trained = UniCoilEncoder(tmp_path / "trained", max_length=128)
    after = material.rate(trained, tmp_path / "after.idx")
    before = material.rate(UniCoilEncoder(folder, max_length=128), tmp_path / "before.idx")
    result = compare(after, before, "nDCG@10")
    assert result.difference > 0.1
    assert result.p_randomisation < 0.01


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_what_is_not_installed_is_named(
    folder: Path, masked_lm: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    message = rf"{package} is needed for .*pip install 'sparseret\[neural\]'"
    with pytest.raises(MissingExtraError, match=message):
        UniCoilEncoder(folder).encode_queries(["heat"])
    with pytest.raises(MissingExtraError, match=message):
        UniCoilModel.start(masked_lm)
