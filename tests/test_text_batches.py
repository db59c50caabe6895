"""Texts to token batches: nothing lost but what is said to be, and everything in its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sparseret.kernels._native", reason="the native kernel is not built")

from sparseret.encoders.text_batches import (
    TextTokenizer,
    load_tokenizer,
    resolve_length,
    text_chunks,
    token_batches,
)
from sparseret.errors import ConfigurationError

TEXTS = ["heat transfer in hypersonic flow", "the lift of a wing in a slipstream", "grüße, 东京!"]


@given(st.lists(st.lists(st.integers(1, 9), max_size=12), max_size=20), st.integers(1, 40))
def test_batches(ids: list[list[int]], budget: int) -> None:
    found: dict[int, list[int]] = {}
    for batch in token_batches(ids, batch_tokens=budget, pad_id=77):
        assert batch.input_ids.shape == batch.attention_mask.shape
        assert batch.input_ids.size <= budget or len(batch.rows) == 1
        for row, tokens, mask in zip(
            batch.rows, batch.input_ids, batch.attention_mask, strict=True
        ):
            length = int(mask.sum())
            assert mask[:length].all()
            assert (tokens[length:] == 77).all()
            found[int(row)] = tokens[:length].tolist()
    assert found == {row: tokens for row, tokens in enumerate(ids) if tokens}


def test_long_texts_are_cut_and_counted(make_model: Callable[..., Path]) -> None:
    folder = make_model(TEXTS)
    tokenizer = TextTokenizer(folder, max_length=8)
    texts = [TEXTS[0] * 9, "wing", "", " \n\t", "a wing " * 3, "the lift of"]
    whole = TextTokenizer(folder, max_length=64).encode([texts[0]]).ids[0]
    windows = tokenizer.encode(texts)
    assert windows.texts.tolist() == [0, 1, 4, 5]
    assert windows.ids[0] == [*whole[:7], whole[-1]]
    assert len(windows.ids[2]) == 8  # no longer than that by itself
    assert windows.truncated == 1
    assert tokenizer.token(windows.ids[1][0]) == "[CLS]"
    with pytest.raises(KeyError):
        tokenizer.token(10**6)


def test_windows_hold_every_token(make_model: Callable[..., Path]) -> None:
    folder = make_model(TEXTS)
    text = " ".join(TEXTS * 4)
    plain = load_tokenizer(folder)
    plain.no_truncation()
    whole = plain.encode(text, add_special_tokens=False).ids
    made = TextTokenizer(folder, max_length=18, windows=True).encode(["wing", text, "lift"])
    assert made.truncated == 0
    assert made.texts.tolist() == [0, *[1] * (len(made.ids) - 2), 2]
    first, *others = [ids[1:-1] for ids in made.ids[1:-1]]
    assert len(others) > 2
    overlap = 18 // 8
    read = first
    for window in others:
        assert read[-overlap:] == window[:overlap]
        read = read + window[overlap:]
    assert read == whole


def test_chunks() -> None:
    texts = [f"{i}" for i in range(2500)]
    assert [(begin, len(part)) for begin, part in text_chunks(texts)] == [
        (0, 1000), (1000, 1000), (2000, 500)
    ]  # fmt: skip
    long = ["x" * 3_000_000] * 3
    assert [(begin, len(part)) for begin, part in text_chunks(long)] == [(0, 2), (2, 1)]
    assert list(text_chunks([])) == []


def test_lengths(make_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_model(TEXTS)
    assert resolve_length(folder, None) == 64
    assert resolve_length(folder, 64) == 64
    for wrong in (65, 0, 2.5, True):
        with pytest.raises(ConfigurationError, match="max_length must be"):
            resolve_length(folder, wrong)  # type: ignore[arg-type]
    assert resolve_length(tmp_path, None) == 256
    with pytest.raises(ConfigurationError, match="leaves no room"):
        TextTokenizer(folder, max_length=2)


def test_tokens_of_bytes_are_shown_as_letters(make_model: Callable[..., Path]) -> None:
    tokenizer = TextTokenizer(
        make_model(["東京 東京 東京 wing wing"], tokens="bytes"), max_length=9
    )
    shown = [tokenizer.token(token) for token in tokenizer.encode(["東京 wing"]).ids[0]]
    assert shown == ["[CLS]", "▁東京", "▁wing", "[SEP]"]


def test_files_that_are_no_tokenizer(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    with pytest.raises(ConfigurationError, match="save_pretrained"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": 1}))
    with pytest.raises(ConfigurationError, match="is no tokenizer"):
        load_tokenizer(tmp_path)
