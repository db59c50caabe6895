"""Texts that are not English: tokenizers made of them, words and weights in their script."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest

from sparseret.documents import Document
from sparseret.registry import load_encoder
from sparseret.retriever import Retriever

RUSSIAN = [
    "обтекание крыла сверхзвуковым потоком газа",
    "теплопроводность составных пластин и стенок",
    "пограничный слой на плоской пластине в потоке",
    "подъёмная сила крыла в струе за винтом",
]
JAPANESE = [
    "超音速の気流における翼のまわりの流れ",
    "複合平板の熱伝導",
    "平板上の境界層と熱伝達",
    "プロペラ後流中の翼の揚力",
]


@pytest.fixture(scope="module")
def folders(torch_needed: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of an untrained model for each kind, with a tokenizer of both scripts."""
    from sparseret.encoders.deepimpact import DeepImpactModel
    from sparseret.encoders.uhd import UhdModel
    from sparseret.encoders.unicoil import UniCoilModel
    from sparseret.train.scratch import new_causal_lm, new_masked_lm

    root = tmp_path_factory.mktemp("scripts")
    texts = [*RUSSIAN, *JAPANESE] * 2
    body = new_masked_lm(root / "body", texts, vocabulary=300, hidden=32)
    UniCoilModel.start(body).save(root / "unicoil")
    DeepImpactModel.start(body, stop_words=None).save(root / "deepimpact")
    UhdModel.start(body, layers=(2,), width=500, winners=8).save(root / "uhd")
    model = new_causal_lm(root / "causal", texts, vocabulary=600, hidden=32)
    made = {kind: root / kind for kind in ("unicoil", "deepimpact", "uhd")}
    return {**made, "causal-lm": model, "promptreps": model}


def terms(encoder: Any, row: Any) -> set[str]:
    return {encoder.term(column) for column in row.indices.tolist()}


def folded(text: str) -> str:
    """As the tokenizer has it: lower case, accents apart and gone."""
    letters = unicodedata.normalize("NFD", text.lower())
    return "".join(letter for letter in letters if unicodedata.category(letter) != "Mn")


@pytest.mark.parametrize("texts", [RUSSIAN, JAPANESE], ids=["russian", "japanese"])
def test_terms_are_of_the_text(folders: dict[str, Path], texts: list[str]) -> None:
    options: dict[str, dict[str, Any]] = {
        "unicoil": {},
        "deepimpact": {"stop_words": None},
        "promptreps": {"language": "russian" if texts is RUSSIAN else "japanese"},
    }
    for kind, chosen in options.items():
        encoder = load_encoder(f"{kind}:{folders[kind]}", chosen)
        found = 0
        for row, text in zip(encoder.encode_documents(texts), texts, strict=True):
            for term in terms(encoder, row.reshape(1, -1).tocsr()):
                letters = term.removeprefix("##").strip()
                if kind != "promptreps":  # whose tokens are bytes, and may be parts of a letter
                    assert letters in folded(text)
                found += letters.isalpha() and letters in folded(text) + text
        assert found >= 2, kind


@pytest.mark.parametrize("kind", ["unicoil", "deepimpact", "causal-lm", "promptreps", "uhd"])
def test_a_text_finds_itself(kind: str, folders: dict[str, Path], tmp_path: Path) -> None:
    """Untrained weights are enough for that where both sides are encoded alike."""
    options: dict[str, Any] = {"stop_words": None} if kind == "deepimpact" else {}
    texts = [*RUSSIAN, *JAPANESE]
    encoder = load_encoder(f"{kind}:{folders[kind]}", options)
    with Retriever.create(tmp_path / "i", encoder) as retriever:
        retriever.add([Document(str(number), text) for number, text in enumerate(texts)])
        retriever.commit()
        found = retriever.retrieve(texts, k=len(texts))
        for number, ids in enumerate(found.ids):
            assert str(number) in ids
            explained = retriever.explain(texts[number], str(number))
            assert sum(term.contribution for term in explained.terms) > 0
