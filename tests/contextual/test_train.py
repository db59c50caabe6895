"""Losses against their formulas, pairs, and what the training loop promises."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sparseret.documents import Document
from sparseret.errors import ConfigurationError
from sparseret.train import losses
from sparseret.train.loop import TrainingSettings, train_pairs
from sparseret.train.pairs import Pair, judged_pairs, title_pairs

if TYPE_CHECKING:
    from tests.contextual.conftest import Material

torch = pytest.importorskip("torch", reason="torch is not installed (sparseret[neural])")

SCORES = np.array([[2.0, 1.0, -1.0], [0.5, 0.0, 3.0]])
TEACHER = np.array([[5.0, 2.0, 1.0], [1.0, 1.5, 0.0]])


def softmax(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)


def test_info_nce() -> None:
    expected = -np.log(softmax(SCORES)[[0, 1], [0, 1]]).mean()
    assert losses.info_nce(torch.tensor(SCORES)).item() == pytest.approx(expected)


def test_info_nce_leaves_out_copies_of_the_right_document() -> None:
    excluded = torch.tensor([[False, True, False], [False, False, False]])
    rows = [np.array([[2.0, -1.0]]), SCORES[1:]]
    expected = -np.mean([np.log(softmax(rows[0])[0, 0]), np.log(softmax(rows[1])[0, 1])])
    found = losses.info_nce(torch.tensor(SCORES), excluded=excluded)
    assert found.item() == pytest.approx(expected)


def test_margin_mse() -> None:
    ours, theirs = SCORES[:, :1] - SCORES[:, 1:], TEACHER[:, :1] - TEACHER[:, 1:]
    found = losses.margin_mse(torch.tensor(SCORES), torch.tensor(TEACHER))
    assert found.item() == pytest.approx(((ours - theirs) ** 2).mean())


def test_kl_distillation() -> None:
    p, q = softmax(TEACHER), softmax(SCORES)
    found = losses.kl_distillation(torch.tensor(SCORES), torch.tensor(TEACHER))
    assert found.item() == pytest.approx((p * np.log(p / q)).sum(axis=1).mean())
    same = losses.kl_distillation(torch.tensor(TEACHER), torch.tensor(TEACHER))
    assert same.item() == pytest.approx(0, abs=1e-12)


def test_flops() -> None:
    vectors = np.array([[1.0, 0.0, -2.0], [3.0, 0.0, 0.0]])
    expected = ((1 + 3) / 2) ** 2 + (2 / 2) ** 2
    assert losses.flops(torch.tensor(vectors)).item() == pytest.approx(expected)


def test_the_warm_up_is_quadratic() -> None:
    assert [losses.quadratic_warm_up(step, 10) for step in (0, 5, 10, 20)] == [0, 0.25, 1, 1]
    assert losses.quadratic_warm_up(0, 0) == 1


def test_judged_pairs() -> None:
    queries, documents = {"q": "wings", "r": "tails"}, {"d": "of wings", "e": "of tails"}
    judged = {"q": {"d": 2, "e": 0, "absent": 1}, "r": {"e": 1}, "absent": {"d": 1}}
    found = [pair[:2] for pair in judged_pairs(queries, documents, judged)]
    assert found == [("wings", "of wings"), ("tails", "of tails")]
    found = [pair[:2] for pair in judged_pairs(queries, documents, judged, least=2)]
    assert found == [("wings", "of wings")]


def test_title_pairs() -> None:
    documents = [
        Document("1", "the flow . past a wing", "the flow ."),
        Document("2", "no title"),
        Document("3", "only a title", "only a title"),
        Document("4", "the text", "a title"),
    ]
    assert list(title_pairs(documents)) == [
        Pair("the flow .", "past a wing"),
        Pair("a title", "the text"),
    ]


class Bags:
    """Words weighted by a vector to be learnt: the smallest model that can be trained."""

    def __init__(self, words: Sequence[str]) -> None:
        self.columns = {word: column for column, word in enumerate(words)}
        self.module: Any = torch.nn.Module()
        self.module.weights = torch.nn.Parameter(torch.ones(len(words)))
        self.module.dropout = torch.nn.Dropout(0.1)

    def represent(self, queries: Sequence[str], documents: Sequence[str]) -> tuple[Any, Any]:
        return self.count(queries), self.count(documents) * self.module.weights.relu()

    def count(self, texts: Sequence[str]) -> Any:
        counts = torch.zeros(len(texts), len(self.columns))
        for row, text in enumerate(texts):
            for word in text.split():
                counts[row, self.columns[word]] += 1
        return self.module.dropout(counts)


PAIRS = [Pair(f"the w{i}", f"the w{i}") for i in range(8)]
WORDS = ["the", *(f"w{i}" for i in range(8))]


def test_training_finds_out_which_words_tell() -> None:
    model = Bags(WORDS)
    model.module.dropout.p = 0.0
    model.module.eval()
    settings = TrainingSettings(
        steps=60, batch_size=4, learning_rate=0.05, flops_documents=0.1, flops_warm_up=0.5
    )
    steps = train_pairs(model, PAIRS, settings)
    weights = model.module.weights.detach()
    assert len(steps) == 60
    assert steps[-1].loss < 0.6 * steps[0].loss
    assert weights[0] < weights[1:].min() / 2  # the word of all texts tells nothing, and costs
    assert not model.module.training  # as it was


def test_the_same_seed_gives_the_same_weights() -> None:
    def train(seed: int) -> list[float]:
        model = Bags(WORDS)
        train_pairs(model, PAIRS, TrainingSettings(steps=12, batch_size=4, seed=seed))
        found: list[float] = model.module.weights.tolist()
        return found

    before = torch.random.get_rng_state()
    assert train(3) == train(3)
    assert train(3) != train(4)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("objective", ["margin_mse", "kl"])
def test_distillation_follows_the_teacher(objective: Any) -> None:
    """The teacher weighs w0 three times as much as the others."""
    pairs = [
        Pair("w0 w1", "w0", negatives=("w1", "w2"), teacher=(3.0, 1.0, 0.0)),
        Pair("w1 w2", "w2", negatives=("w1", "w0"), teacher=(1.0, 1.0, 0.0)),
    ] * 4
    model = Bags(["w0", "w1", "w2"])
    model.module.dropout.p = 0.0
    settings = TrainingSettings(
        steps=150, batch_size=4, objective=objective, learning_rate=0.1, weight_decay=0.0
    )
    steps = train_pairs(model, pairs, settings)
    assert steps[-1].loss < steps[0].loss / 10
    assert model.module.weights.tolist() == pytest.approx([3, 1, 1], abs=0.3)


def test_a_step_counts_terms() -> None:
    model = Bags(WORDS)
    model.module.dropout.p = 0.0
    step = train_pairs(model, PAIRS, TrainingSettings(steps=1, batch_size=4))[0]
    assert step.query_terms == step.document_terms == 2
    assert step.loss == pytest.approx(math.log(1 + 3 * math.exp(-1)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "bpr"}, "objective 'bpr' is not one of info_nce, margin_mse, kl"),
        ({"batch_size": 1}, "batches of 2 pairs"),
        ({"steps": 0}, "at least 1 step"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"flops_queries": -1.0}, "flops"),
        ({"flops_warm_up": 1.5}, "flops_warm_up must be 0 to 1"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        TrainingSettings(**settings)


def test_pairs_that_do_not_suffice() -> None:
    model = Bags(WORDS)
    with pytest.raises(ConfigurationError, match="8 pairs do not fill a batch of 16"):
        train_pairs(model, PAIRS)
    settings = TrainingSettings(batch_size=2, objective="kl")
    with pytest.raises(ConfigurationError, match="kl needs negatives; pair 0 has none"):
        train_pairs(model, [Pair("a", "b", teacher=(1.0,))] * 2, settings)
    with pytest.raises(ConfigurationError, match="pair 1 has 0 negatives and 1 scores"):
        good = Pair("a", "b", negatives=("c",), teacher=(1.0, 0.0))
        train_pairs(model, [good, Pair("a", "b", teacher=(1.0,))], settings)


def test_splade_is_trained_and_loads_as_an_encoder(masked_lm: Path, tmp_path: Path) -> None:
    """Its training vectors are those of the encoder that reads what it saved."""
    from sparseret.encoders.splade import SpladeEncoder
    from sparseret.train.splade import TrainableSplade

    model = TrainableSplade(masked_lm)
    texts = [
        "what problems of heat conduction in composite slabs have been solved so far .",
        "a wing",
        "boundary layers on a flat plate in supersonic flow",
    ]
    pairs = [Pair(text, f"on {text}") for text in texts]
    train_pairs(model, pairs, TrainingSettings(steps=3, batch_size=3, flops_documents=0.001))
    model.save(tmp_path / "trained")
    with torch.inference_mode():
        queries, documents = model.represent(texts, [pair.positive for pair in pairs])
    encoder = SpladeEncoder(tmp_path / "trained", max_length=128)
    np.testing.assert_allclose(encoder.encode_queries(texts).toarray(), queries, atol=1e-4)
    encoded = encoder.encode_documents([pair.positive for pair in pairs])
    np.testing.assert_allclose(encoded.toarray(), documents, atol=1e-4)


def test_models_from_nothing_are_the_same_each_time(material: Material, tmp_path: Path) -> None:
    from sparseret.train.scratch import new_causal_lm, new_masked_lm

    texts = [document.content for document in material.documents[:50]]
    for make in (new_masked_lm, new_causal_lm):
        one, other = (tmp_path / f"{make.__name__}{i}" for i in range(2))
        make(one, texts, vocabulary=500, hidden=16, layers=1)
        make(other, texts[::-1], vocabulary=500, hidden=16, layers=1)
        for name in ("model.safetensors", "tokenizer.json"):
            assert (one / name).read_bytes() == (other / name).read_bytes()


def test_a_tokenizer_from_nothing_knows_every_letter(tmp_path: Path, torch_needed: None) -> None:
    from tokenizers import Tokenizer

    from sparseret.train.scratch import new_masked_lm

    new_masked_lm(tmp_path, ["Flow past a wing"] * 2 + ["été"], vocabulary=80, hidden=16, layers=1)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokenizer.encode("a wing").tokens == ["[CLS]", "a", "wing", "[SEP]"]
    assert tokenizer.encode("swag").tokens[1:-1] == ["s", "##w", "##a", "##g"]
    assert tokenizer.get_vocab_size() <= 80
