"""DeepImpact: words and their impacts against the formula, vocabularies, and that it learns."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bert_by_hand import in_words, run_bert
from sparseret.documents import Document
from sparseret.encoders.deepimpact import DeepImpactEncoder, DeepImpactModel
from sparseret.errors import ConfigurationError
from sparseret.protocols import CollectionEncoder
from sparseret.registry import load_encoder
from sparseret.retriever import Retriever

if TYPE_CHECKING:
    from tests.contextual.conftest import Material

RARE = "zyzzogetonically"
TEXTS = [
    "Wing, the flow past a Wing - and the slipstream's (1958) end",
    "",
    f"boundary layers on a {RARE} plate",
    "the , of .",
]


@pytest.fixture(scope="module")
def folder(masked_lm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model."""
    path = tmp_path_factory.mktemp("deepimpact")
    DeepImpactModel.start(masked_lm).save(path)
    return path


def by_hand(folder: Path, text: str, words: dict[str, int]) -> dict[str, float]:
    """The formula by transformers' own classes, for words given with the token they begin at."""
    _, states, weights = run_bert(folder, text)
    head = {name[21:]: w for name, w in weights.items() if name.startswith("impact_score_encoder")}
    inner = (states @ head["0.weight"].T + head["0.bias"]).relu()
    impacts = (inner @ head["3.weight"].T + head["3.bias"]).relu().squeeze(1)
    return {word: float(impacts[at]) for word, at in words.items() if impacts[at] > 0}


def first_tokens(folder: Path, text: str, words: list[str]) -> dict[str, int]:
    """Where each word first begins, found letter by letter."""
    from tokenizers import Tokenizer

    encoding = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text)
    begins = {begin: i for i, (begin, end) in reversed([*enumerate(encoding.offsets)]) if end}
    return {word: begins[text.lower().index(word)] for word in words}


def test_impacts_are_those_of_the_formula(folder: Path) -> None:
    encoder = DeepImpactEncoder(folder, batch_tokens=16)
    rows = encoder.encode_documents(TEXTS)
    expected_words = [
        ["wing", "flow", "past", "slipstream", "1958", "end"],
        [],
        ["boundary", "layers", RARE, "plate"],
        [],
    ]
    total = 0
    for number, words in enumerate(expected_words):
        places = first_tokens(folder, TEXTS[number], words)
        expected = by_hand(folder, TEXTS[number], places) if words else {}
        assert in_words(encoder, rows[[number]]) == pytest.approx(expected, abs=1e-5)
        total += len(expected)
    assert total >= 4
    assert isinstance(encoder, CollectionEncoder)


def test_a_word_of_many_subwords_is_one_term(folder: Path) -> None:
    encoder = DeepImpactEncoder(folder)
    assert len(encoder.tokenizer.encode(RARE, add_special_tokens=False).ids) > 1
    words = encoder.words([f"a {RARE} plate and {RARE.upper()}"])[0]
    assert words.words == [RARE, "plate", RARE]
    assert words.part(slice(None)).words == [RARE, "plate"]


def test_queries_are_bags_of_known_words(folder: Path) -> None:
    encoder = DeepImpactEncoder(folder)
    encoder.encode_documents(TEXTS)
    rows = encoder.encode_queries([f"the wing {RARE.title()} wing xylophone", "", "of the"])
    assert in_words(encoder, rows[[0]]) == {"wing": 1.0, RARE: 1.0}
    assert np.diff(rows.indptr).tolist() == [2, 0, 0]


def test_stop_words_can_be_kept(folder: Path) -> None:
    encoder = DeepImpactEncoder(folder, stop_words=None)
    assert encoder.words([TEXTS[3]])[0].words == ["the", "of"]
    with pytest.raises(ConfigurationError, match="klingon"):
        DeepImpactEncoder(folder, stop_words="klingon").encode_queries(["a"])


def test_long_texts_are_cut_and_counted(folder: Path) -> None:
    encoder = DeepImpactEncoder(folder, max_length=8)
    readings = encoder.read(["heat flow wing plate drag lift shock", "heat"], query=False)
    assert [reading.truncated for [reading] in readings] == [True, False]
    assert [encoder.term(column) for column in readings[0][0].columns] == [
        "heat", "flow", "wing", "plate", "drag", "lift",
    ]  # fmt: skip


def test_expansion_gives_documents_more_words(folder: Path) -> None:
    encoder = DeepImpactEncoder(
        folder, expand=lambda texts: ["flutter wing" if t else "" for t in texts], expansion="x"
    )
    [reading], [empty] = encoder.read([TEXTS[0], ""], query=False)
    assert [encoder.term(c) for c in reading.columns][-1] == "flutter"
    assert len(reading.columns) == 7
    assert empty.positions == []


def test_in_an_index_the_vocabulary_is_that_of_the_index(folder: Path, tmp_path: Path) -> None:
    alone = DeepImpactEncoder(folder)
    documents = [Document(str(i), text) for i, text in enumerate(TEXTS)]
    expected = alone.encode_documents(documents)
    with Retriever.create(tmp_path / "x", DeepImpactEncoder(folder)) as retriever:
        retriever.add(documents[:2])
        retriever.commit()
        retriever.add(documents[2:])
    query = "wing plate boundary flow layers end past 1958 slipstream"
    products = expected @ alone.encode_queries([query]).T
    with Retriever.open(tmp_path / "x") as retriever:
        found = retriever.search(query)
        assert {hit.id: hit.score for hit in found} == pytest.approx(
            {str(i): float(s) for i, s in enumerate(products.toarray().ravel()) if s}, abs=1e-5
        )
        explanation = retriever.explain(query, found[0].id)
        assert {term.term for term in explanation.terms} <= set(query.split())
        retriever.delete([found[0].id])
        retriever.merge()
        assert [hit.id for hit in retriever.search(query)] == [hit.id for hit in found[1:]]


def test_impacts_are_whole_numbers(folder: Path) -> None:
    plain = DeepImpactEncoder(folder).encode_documents(TEXTS).toarray()
    top = float(plain.max())
    found = DeepImpactEncoder(folder, impacts=8, impact_range=top).encode_documents(TEXTS)
    np.testing.assert_array_equal(found.toarray(), np.minimum(np.rint(plain / top * 256), 255))
    assert found.data.min() >= 1


def test_a_scorer_of_one_layer(folder: Path, tmp_path: Path) -> None:
    """The layout of later checkpoints: impact_score_encoder.0 gives the impact itself."""
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    for part in ("weight", "bias"):
        weights[f"impact_score_encoder.0.{part}"] = weights.pop(f"impact_score_encoder.3.{part}")
    save_file(weights, tmp_path / "model.safetensors")
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    single = DeepImpactModel.load(tmp_path)
    double = DeepImpactModel.load(folder)
    encoder = DeepImpactEncoder(folder)
    readings = encoder.read(TEXTS[:1], query=False)[0]
    states, found = single.impacts(readings)
    expected = double.module["impact_score_encoder"][3](states.values).relu().squeeze(1)
    np.testing.assert_allclose(found.detach(), expected.detach(), atol=1e-6)


def test_a_folder_without_the_scorer_says_so(masked_lm: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no weights named 'impact_score_encoder.0'"):
        DeepImpactEncoder(masked_lm).encode_documents(["heat"])


def test_saved_and_made_again(folder: Path, tmp_path: Path) -> None:
    encoder = DeepImpactEncoder(folder, impacts=8, stop_words=None)
    expected = encoder.encode_documents(TEXTS)
    encoder.save(tmp_path / "saved")
    again = DeepImpactEncoder.load(tmp_path / "saved")
    assert again.space == encoder.space
    assert (again.encode_queries(["a wing"]) != encoder.encode_queries(["a wing"])).nnz == 0
    assert (again.encode_documents(TEXTS) != expected).nnz == 0
    made = load_encoder("deepimpact", json.loads(json.dumps(encoder.options)))
    assert made.space == encoder.space


def test_queries_need_no_torch(folder: Path, tmp_path: Path) -> None:
    encoder = DeepImpactEncoder(folder)
    encoder.encode_documents(TEXTS)
    encoder.save(tmp_path / "saved")
    code = (
        "import sys\n"
        "sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from sparseret.encoders.deepimpact import DeepImpactEncoder\n"
        f"rows = DeepImpactEncoder.load({str(tmp_path / 'saved')!r}).encode_queries(['a wing'])\n"
        "print(rows.nnz, rows.data.tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=tempfile.gettempdir(),
    )
    assert done.stderr == ""
    assert done.stdout == "1 [1.0]\n"


def test_training_beats_the_untrained_model(
    masked_lm: Path, folder: Path, material: Material, tmp_path: Path
) -> None:
    """On queries that it was not trained on, by a paired test."""
    from sparseret.eval.significance import compare
    from sparseret.train.loop import TrainingSettings, train_pairs

    model = DeepImpactModel.start(masked_lm)
    model.max_length = 64
    steps = train_pairs(model, material.pairs, TrainingSettings(steps=40, learning_rate=2e-3))
    model.save(tmp_path / "trained")
    assert steps[-1].loss < steps[0].loss
    trained = DeepImpactEncoder(tmp_path / "trained", max_length=128)
    after = material.rate(trained, tmp_path / "after.idx")
    before = material.rate(DeepImpactEncoder(folder, max_length=128), tmp_path / "before.idx")
    result = compare(after, before, "nDCG@10")
    assert result.difference > 0.05
    assert result.p_randomisation < 0.01
