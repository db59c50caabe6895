"""PromptReps: prompts, own tokens, both kinds of vector against the model's own output."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparseret.documents import Document
from sparseret.encoders.promptreps import PromptRepsEncoder
from sparseret.encoders.prompts import ANSWER, PASSAGE, QUERY, SYSTEM
from sparseret.errors import ConfigurationError
from sparseret.protocols import Encoder
from sparseret.registry import load_encoder

TEXTS = [
    "The flow past a wing, and the Wing again",
    "",
    "heat conduction in composite slabs: what has been solved so far?",
    "of the and",
]
TEMPLATE = (
    "{% for message in messages %}<s>{{ message['role'] }}: {{ message['content'] }}</s>"
    "{% endfor %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}"


@pytest.fixture
def chat_folder(causal_lm: Path, tmp_path: Path) -> Path:
    """The model with a chat template."""
    return with_template(causal_lm, tmp_path / "chat", TEMPLATE)


def with_template(source: Path, folder: Path, template: str) -> Path:
    shutil.copytree(source, folder)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template}
    settings |= {"bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    return folder


def by_hand(folder: Path, prompt: str) -> tuple[Any, Any]:
    """log(1 + ReLU(logits)) and hidden state of the last token, by transformers alone."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = tokenizer.encode(prompt, add_special_tokens=False).ids
    with torch.inference_mode():
        output = model(torch.tensor([ids]), output_hidden_states=True)
    weights = output.logits[0, -1].relu().log1p().numpy()
    state = output.hidden_states[-1][0, -1].numpy()
    return weights, state / np.linalg.norm(state)


def own_tokens(encoder: PromptRepsEncoder, words: list[str]) -> set[int]:
    return {t for w in words for t in encoder.tokenizer.encode(w, add_special_tokens=False).ids}


@pytest.mark.parametrize("query", [False, True])
@pytest.mark.parametrize("chat", [False, True])
def test_both_vectors_are_those_of_the_model(
    causal_lm: Path, chat_folder: Path, query: bool, chat: bool
) -> None:
    folder = chat_folder if chat else causal_lm
    encoder = PromptRepsEncoder(folder, batch_tokens=64)
    assert encoder.prompter.chat == chat
    assert isinstance(encoder, Encoder)
    found = (encoder.represent_queries if query else encoder.represent_documents)(TEXTS)
    asked = QUERY if query else PASSAGE
    words = {
        0: ["flow", "past", "wing", "again"],
        2: ["heat", "conduction", "composite", "slabs", "what", "has", "been", "solved", "so",
            "far"],
    }  # fmt: skip
    for row, own in words.items():
        prompt = asked.replace("{text}", TEXTS[row])
        if chat:
            whole = f"<s>system: {SYSTEM}</s><s>user: {prompt}</s><s>assistant: {ANSWER}"
        else:
            whole = f"<s>{prompt} {ANSWER}"
        weights, state = by_hand(folder, whole)
        expected = np.zeros_like(weights)
        kept = sorted(own_tokens(encoder, own))
        expected[kept] = weights[kept]
        np.testing.assert_allclose(found.sparse[[row]].toarray()[0], expected, atol=1e-5)
        np.testing.assert_allclose(found.dense[row], state, atol=1e-5)
    assert found.sparse[[1]].nnz == 0
    assert not found.dense[1].any()


def test_encoding_one_part_gives_the_same(causal_lm: Path) -> None:
    encoder = PromptRepsEncoder(causal_lm)
    both = encoder.represent_documents(TEXTS)
    assert (encoder.encode_documents(TEXTS) != both.sparse).nnz == 0
    np.testing.assert_array_equal(encoder.encode_dense_documents(TEXTS), both.dense)
    queries = encoder.represent_queries(TEXTS)
    assert (encoder.encode_queries(TEXTS) != queries.sparse).nnz == 0
    np.testing.assert_array_equal(encoder.encode_dense_queries(TEXTS), queries.dense)
    assert both.sparse.shape == (4, encoder.dim)
    assert both.dense.dtype == np.float32


def test_a_text_of_stop_words_has_the_ten_likeliest_tokens(causal_lm: Path) -> None:
    encoder = PromptRepsEncoder(causal_lm)
    row = encoder.encode_documents(TEXTS)[[3]]
    weights, _ = by_hand(causal_lm, f"<s>{PASSAGE.replace('{text}', TEXTS[3])} {ANSWER}")
    assert row.nnz == 10
    assert sorted(row.data.tolist()) == pytest.approx(sorted(weights)[-10:], abs=1e-5)


def test_at_most_128_tokens(causal_lm: Path) -> None:
    encoder = PromptRepsEncoder(causal_lm, max_length=1000)
    words = [f"{letter}{other}" for letter in "bcdfghjklmnp" for other in "aeiouqrstvwxz"]
    text = " ".join(words)
    own = own_tokens(encoder, words)
    weights, _ = by_hand(causal_lm, f"<s>{PASSAGE.replace('{text}', text)} {ANSWER}")
    positive = [token for token in own if weights[token] > 1e-6]
    row = encoder.encode_documents([text])
    assert row.nnz == min(128, len(positive))
    assert set(row.indices.tolist()) <= own


def test_integers_are_hundredths(causal_lm: Path) -> None:
    plain = PromptRepsEncoder(causal_lm).encode_documents(TEXTS).toarray()
    found = PromptRepsEncoder(causal_lm, integers=True).encode_documents(TEXTS)
    np.testing.assert_allclose(found.toarray(), np.rint(plain * 100), atol=1e-6)
    assert found.data.min() >= 1


def test_long_texts_are_cut_before_the_question(causal_lm: Path) -> None:
    encoder = PromptRepsEncoder(causal_lm, max_length=6)
    text = "heat conduction in composite slabs and other walls of several layers"
    ids = encoder.read([text], query=False)[0][0].ids
    prompt = encoder.tokenizer.decode(ids)
    assert encoder.truncated == 0
    encoder.encode_documents([text, "heat"])
    assert encoder.truncated == 1
    assert "heat" in prompt
    assert "several layers" not in prompt
    assert prompt.endswith(ANSWER)


def test_windows_have_prompts_of_their_own(causal_lm: Path) -> None:
    """Weights are the largest over windows; the dense vector is the mean of theirs."""
    encoder = PromptRepsEncoder(causal_lm, max_length=8, long="windows")
    words = ["heat", "conduction", "in", "slabs", "flow", "past", "wing", "and", "again", "drag"]
    text = " ".join(words * 2)
    encoding = encoder.tokenizer.encode(text, add_special_tokens=False)
    n = len(encoding.ids)
    assert n > 15
    windows = []
    for begin in range(0, n - 1, 7):
        first = encoding.offsets[begin][0] if begin else 0
        windows.append(text[first : encoding.offsets[min(begin + 8, n) - 1][1]])
    by_window = [by_hand(causal_lm, f"<s>{PASSAGE.replace('{text}', w)} {ANSWER}") for w in windows]
    weights = np.max([weights for weights, _ in by_window], axis=0)
    kept = sorted(own_tokens(encoder, [w for w in words if w not in ("in", "and")]))
    expected = np.zeros_like(weights)
    expected[kept] = weights[kept]
    mean = np.mean([state for _, state in by_window], axis=0)
    found = encoder.represent_documents([text, "heat"])
    np.testing.assert_allclose(found.sparse[[0]].toarray()[0], expected, atol=1e-5)
    np.testing.assert_allclose(found.dense[0], mean / np.linalg.norm(mean), atol=1e-5)
    assert encoder.truncated == 0
    assert "in windows" in encoder.description


def test_dense_vectors_of_fields_are_weighted(causal_lm: Path) -> None:
    plain = PromptRepsEncoder(causal_lm)
    encoder = PromptRepsEncoder(causal_lm, fields={"title": 3, "text": 1})
    documents = [Document("1", TEXTS[0], "a flow"), Document("2", TEXTS[2]), Document("3", "")]
    titles = plain.encode_dense_documents(["a flow", "", ""])
    texts = plain.encode_dense_documents([TEXTS[0], TEXTS[2], ""])
    expected = 3 * titles + texts
    expected[0] /= np.linalg.norm(expected[0])
    both = encoder.represent_documents(documents)
    np.testing.assert_allclose(both.dense, expected, atol=1e-6)
    assert (both.sparse != encoder.encode_documents(documents)).nnz == 0
    assert encoder.represent_documents([]).dense.shape == (0, both.dense.shape[1])


def test_templates_without_a_system(causal_lm: Path, tmp_path: Path) -> None:
    folder = with_template(causal_lm, tmp_path / "chat", NO_SYSTEM + TEMPLATE)
    encoder = PromptRepsEncoder(folder)
    prompt = encoder.tokenizer.decode(
        encoder.read(["wing"], query=True)[0][0].ids, skip_special_tokens=False
    )
    assert "system" not in prompt
    assert prompt.endswith(ANSWER)


def test_chat_without_a_template_says_so(causal_lm: Path) -> None:
    with pytest.raises(ConfigurationError, match="has no chat template: chat=False"):
        PromptRepsEncoder(causal_lm, chat=True).encode_queries(["wing"])
    with pytest.raises(ConfigurationError, match=r"must hold \{text\} once"):
        PromptRepsEncoder(causal_lm, query_prompt="one word:").encode_queries(["wing"])


def test_terms_are_words(causal_lm: Path) -> None:
    encoder = PromptRepsEncoder(causal_lm)
    row = encoder.encode_documents(["wing"])
    assert {encoder.term(column).strip() for column in row.indices.tolist()} <= set("wing") | {
        "wing", "wi", "in", "ng", "ing", "win",
    }  # fmt: skip
    for column in (-1, encoder.dim):
        with pytest.raises(KeyError):
            encoder.term(column)


def test_saved_and_made_again(chat_folder: Path, tmp_path: Path) -> None:
    encoder = PromptRepsEncoder(chat_folder, integers=True, max_length=32)
    encoder.save(tmp_path / "saved")
    again = PromptRepsEncoder.load(tmp_path / "saved")
    made = load_encoder("promptreps", json.loads(json.dumps(encoder.options)))
    assert again.space == made.space == encoder.space
    assert (again.encode_queries(TEXTS) != encoder.encode_queries(TEXTS)).nnz == 0
    assert encoder.space != PromptRepsEncoder(chat_folder, chat=False, integers=True).space


def test_both_halves_in_one_index_run_the_model_once(
    causal_lm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sparseret import Retriever

    legs = {"sparse": f"promptreps:{causal_lm}", "dense": f"promptreps-dense:{causal_lm}"}
    documents = [Document(str(i), text) for i, text in enumerate(TEXTS)]
    runs = 0
    plain = PromptRepsEncoder._both

    def count(self: PromptRepsEncoder, *arguments: Any, **options: Any) -> Any:
        nonlocal runs
        runs += 1
        return plain(self, *arguments, **options)

    monkeypatch.setattr(PromptRepsEncoder, "_both", count)
    with Retriever.create(tmp_path / "i", legs) as retriever:
        retriever.add(documents)
    assert runs == 1
    alone = PromptRepsEncoder(causal_lm)
    sparse, dense = alone.represent_documents(TEXTS)
    asked = alone.represent_queries(["heat conduction"])
    runs = 0
    with Retriever.open(tmp_path / "i") as retriever:
        found = retriever.search("heat conduction")
        assert runs == 1
        told = {r.id: retriever.explain("heat conduction", r.id).legs for r in found}
    products = (asked.sparse @ sparse.T).toarray()[0]
    cosines = dense @ asked.dense[0]
    for id, legs_of in told.items():
        assert legs_of[0].score == pytest.approx(products[int(id)], rel=1e-5)
        assert legs_of[1].score == pytest.approx(cosines[int(id)], abs=1e-6)
    assert "1" not in told  # the empty text
