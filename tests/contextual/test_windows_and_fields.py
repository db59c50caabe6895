"""Long texts in windows and weighted fields, for each kind: against windows and fields that are
encoded by themselves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseret.documents import Document
from sparseret.encoders.deepimpact import DeepImpactEncoder
from sparseret.encoders.impacts import quantise
from sparseret.encoders.reading import window_slices
from sparseret.encoders.unicoil import UniCoilEncoder
from sparseret.encoders.vocabulary import MemoryVocabulary
from sparseret.errors import ConfigurationError
from sparseret.registry import load_encoder

if TYPE_CHECKING:
    from tests.contextual.conftest import Material

LENGTH = 16
KINDS = ["unicoil", "deepimpact", "causal-lm", "uhd"]
ALL_KINDS = [*KINDS, "promptreps"]
VOCABULARY = MemoryVocabulary()
Vector = dict[int, float]


@given(n=st.integers(0, 60), room=st.integers(1, 20), share=st.floats(0, 0.99))
def test_windows_cover_all_and_share_what_they_should(n: int, room: int, share: float) -> None:
    overlap = int(room * share)
    slices = window_slices(n, room, overlap)
    assert slices[0].start == 0
    assert slices[-1].stop == n
    assert all(part.stop - part.start == room for part in slices[:-1])
    assert slices[-1].stop - slices[-1].start <= room
    for before, after in pairwise(slices):
        assert before.stop - after.start == overlap
        assert after.stop > before.stop


def encoder_of(kind: str, models: dict[str, Path], **options: Any) -> Any:
    """DeepImpact's with one vocabulary for all, that their columns can be compared."""
    encoder = load_encoder(f"{kind}:{models[kind]}", options)
    if isinstance(encoder, DeepImpactEncoder):
        return encoder.bind(VOCABULARY, None)
    return encoder


def vectors_of(rows: Any) -> list[Vector]:
    return [
        dict(zip(row.indices.tolist(), row.data.tolist(), strict=True))
        for row in (rows[[number]] for number in range(rows.shape[0]))
    ]


def largest(weighted: Sequence[tuple[float, Vector]]) -> Vector:
    joint: Vector = {}
    for weight, vector in weighted:
        for column, value in vector.items():
            joint[column] = max(joint.get(column, 0.0), np.float32(weight) * np.float32(value))
    return joint


def words_of_one_token(encoder: Any, material: Material, n: int) -> list[str]:
    """Words of the documents, in their order and as often, that the tokenizer keeps whole."""
    words = (word for d in material.documents for word in d.text.split() if word.isalpha())
    tokenizer = encoder.tokenizer
    found = []
    for word in words:
        if len(tokenizer.encode(word, add_special_tokens=False).ids) == 1:
            found.append(word)
        if len(found) == n:
            break
    return found


SIDES = [(kind, query) for kind in KINDS for query in (False, True)]
SIDES.remove(("deepimpact", True))  # its queries are bags of words, of any length


@pytest.mark.parametrize(("kind", "query"), SIDES)
def test_the_largest_weight_over_windows(
    kind: str, query: bool, models: dict[str, Path], material: Material
) -> None:
    side = "encode_queries" if query else "encode_documents"
    plain = encoder_of(kind, models)
    windows = encoder_of(kind, models, long="windows", max_length=LENGTH, batch_tokens=70)
    words = words_of_one_token(plain, material, 100)
    room = LENGTH if kind == "causal-lm" else LENGTH - 2
    texts = [" ".join(words[:n]) for n in (100, room, 0, room + 1, 1)]
    found = vectors_of(getattr(windows, side)(texts))
    for text, vector in zip(texts, found, strict=True):
        own = text.split()
        begins = range(0, max(1, len(own) - 2), room - 2)
        parts = [" ".join(own[begin : begin + room]) for begin in begins]
        alone = vectors_of(getattr(plain, side)(parts))
        expected = largest([(1.0, part) for part in alone])
        assert vector == pytest.approx(expected, abs=1e-5)
    assert len(found[0]) > len(found[1]) > 0
    assert windows.truncated == plain.truncated == 0
    cut = encoder_of(kind, models, max_length=LENGTH)
    getattr(cut, side)(texts)
    assert cut.truncated == 2
    assert "windows" in windows.description


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_batches_of_windows_change_nothing(
    kind: str, models: dict[str, Path], material: Material
) -> None:
    documents = material.documents[:5]
    options = {"long": "windows", "max_length": LENGTH, "fields": {"title": 1, "text": 1}}
    many = encoder_of(kind, models, **options).encode_documents(documents)
    few = encoder_of(kind, models, batch_tokens=1, **options).encode_documents(documents)
    np.testing.assert_array_equal(few.indptr, many.indptr)
    np.testing.assert_array_equal(few.indices, many.indices)
    np.testing.assert_allclose(few.data, many.data, atol=1e-5)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_the_largest_weight_over_fields(kind: str, models: dict[str, Path]) -> None:
    fields = {"title": 2.5, "text": 1.0, "note": 0.5}
    if kind == "uhd":
        fields = dict.fromkeys(fields, 1.0)
    encoder = encoder_of(kind, models, fields=fields)
    documents = [
        Document("1", "the flow past a wing", "supersonic flow", {"note": "a wing of some kind"}),
        Document("2", "heat conduction in slabs", ""),
        "boundary layer flow",
        Document("3", "", ""),
    ]
    texts = [
        ["supersonic flow", "the flow past a wing", "a wing of some kind"],
        ["", "heat conduction in slabs", ""],
        ["", "boundary layer flow", ""],
        ["", "", ""],
    ]
    plain = encoder_of(kind, models)
    found = vectors_of(encoder.encode_documents(documents))
    for vector, of_fields in zip(found, texts, strict=True):
        alone = vectors_of(plain.encode_documents(of_fields))
        expected = largest(list(zip(fields.values(), alone, strict=True)))
        assert vector == pytest.approx(expected, abs=1e-5)
    assert found[0]
    assert not found[3]
    if kind != "deepimpact":
        queries = vectors_of(encoder.encode_queries(["flow of heat"]))
        assert queries == vectors_of(plain.encode_queries(["flow of heat"]))


@pytest.mark.parametrize("kind", ["unicoil", "deepimpact"])
def test_whole_numbers_are_made_after_weighting(kind: str, models: dict[str, Path]) -> None:
    options = {"fields": {"title": 3, "text": 1}, "long": "windows", "max_length": 8}
    document = Document("1", "the flow past a wing " * 5, "supersonic flow past bodies")
    exact = encoder_of(kind, models, **options).encode_documents([document])
    top = float(exact.data.max()) * 0.9
    whole = encoder_of(kind, models, **options, impacts=8, impact_range=top)
    found = whole.encode_documents([document])
    expected = {
        column: value
        for column, value in zip(exact.indices, quantise(exact.data, 8, top), strict=True)
        if value
    }
    assert vectors_of(found) == [expected]
    assert found.data.max() == 255


def test_the_heaviest_are_kept_after_joining(models: dict[str, Path], material: Material) -> None:
    options = {"fields": {"title": 2, "text": 1}, "long": "windows", "max_length": LENGTH}
    documents = material.documents[:4]
    rows = encoder_of("causal-lm", models, **options).encode_documents(documents)
    kept = encoder_of("causal-lm", models, top_k=12, **options).encode_documents(documents)
    for number in range(4):
        values = np.sort(rows[[number]].data)[-12:]
        np.testing.assert_allclose(np.sort(kept[[number]].data), values, atol=1e-6)


def test_an_expansion_stands_behind_each_window(models: dict[str, Path]) -> None:
    encoder = UniCoilEncoder(
        models["unicoil"], max_length=10, long="windows",
        expand=lambda texts: ["drag flow"] * len(texts), expansion="x",
    )  # fmt: skip
    [readings] = encoder.read(["flow past wing heat flat plate layer"], query=False)
    tokens = [[encoder.term(token) for token in reading.ids] for reading in readings]
    assert tokens == [
        ["[CLS]", "flow", "past", "wing", "heat", "flat", "plate", "[SEP]", "drag", "[SEP]"],
        ["[CLS]", "plate", "layer", "[SEP]", "drag", "[SEP]"],
    ]


def test_words_of_deepimpact_count_once_a_window(models: dict[str, Path]) -> None:
    """Each window has its own first occurrence, of which the larger impact is taken."""
    encoder = encoder_of("deepimpact", models, max_length=8, long="windows")
    [readings] = encoder.read(["wing wing heat flow past drag wing lift wing"], query=False)
    words = [[encoder.term(column) for column in reading.columns] for reading in readings]
    assert words == [["wing", "heat", "flow", "past", "drag"], ["drag", "wing", "lift"]]
    assert readings[0].positions == [1, 3, 4, 5, 6]


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_both_are_part_of_the_space_and_kept(
    kind: str, models: dict[str, Path], tmp_path: Path
) -> None:
    weight = 1 if kind == "uhd" else 2
    chosen = {"long": "windows", "fields": {"title": weight, "text": 1}, "max_length": LENGTH}
    encoder = load_encoder(f"{kind}:{models[kind]}", chosen)
    spaces = {encoder.space}
    for name in chosen:
        rest = {key: value for key, value in chosen.items() if key != name}
        spaces.add(load_encoder(f"{kind}:{models[kind]}", rest).space)
    assert len(spaces) == 4
    encoder.save(tmp_path / "saved")
    again = type(encoder).load(tmp_path / "saved")  # type: ignore[attr-defined]
    made = load_encoder(kind, json.loads(json.dumps(encoder.options)))
    assert again.space == made.space == encoder.space
    assert again.options["fields"] == {"title": float(weight), "text": 1.0}


@pytest.mark.parametrize("kind", KINDS)
def test_lengths_that_a_model_does_not_take(
    kind: str, models: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "short"
    folder.mkdir()
    for file in models[kind].iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["max_position_embeddings"] = 41
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    most = 20 if kind == "causal-lm" else 41  # <s> and both copies
    assert load_encoder(f"{kind}:{folder}").options["max_length"] == most
    with pytest.raises(ConfigurationError, match=rf"{most + 1} is above {most}, the most"):
        load_encoder(f"{kind}:{folder}", {"max_length": most + 1})
