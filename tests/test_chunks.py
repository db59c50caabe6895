"""Sentences and chunks: where they are, and that nothing of a text is lost."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseret.chunks import Chunking, chunking_from_json
from sparseret.errors import ConfigurationError
from sparseret.sentences import sentence_spans

ODD = [
    "",
    " \n\t ",
    "word",
    "a" * 1000,
    "今天天气很好。明天下雨！" * 40,
    "สวัสดีครับ" * 60,
    "e\u0301" * 2000,
    "\u2014" * 700,
    "\ud800 half a pair \udfff",
    "one\u3000two\u00a0three \u200b four",
    "... !!! ??? .",
]
SIZES = [(1, 0), (2, 1), (7, 5), (50, 0), (50, 49)]


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


def pieces(text: str, chunking: Chunking) -> list[str]:
    return [text[start:end] for start, end in chunking.spans(text)]


def check(text: str, chunking: Chunking) -> None:
    spans = chunking.spans(text)
    assert spans[0].start == 0
    assert spans[-1].end == len(text)
    for before, after in pairwise(spans):
        assert before.start < after.start <= before.end < after.end
    whole, reached = "", 0
    for start, end in spans:
        whole += text[start:end][reached - start :]
        reached = end
    assert whole == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Dr. Wu et al. saw 3.5 m, cf. Fig. 3. It rose.", None),
        ("J. Smith left. She stayed.", ["J. Smith left.", "She stayed."]),
        ('"Why?" he asked. (It rose.) So.', ['"Why?" he asked.', "(It rose.)", "So."]),
        ("the wing . the panel . end .", ["the wing .", "the panel .", "end ."]),
        ("approx. ten. no. 5 is. no. Then", ["approx. ten. no. 5 is. no.", "Then"]),
        ("Title\n\nA text", ["Title", "A text"]),
        ("one line\nand its rest", ["one line\nand its rest"]),
        ("今天很好。明天「下雨！」后天", ["今天很好。", "明天「下雨！」", "后天"]),
        ("  Wait…  what", ["Wait…  what"]),
        ("", []),
        (" \n ", []),
        ("...", ["..."]),
    ],
)
def test_sentences(text: str, expected: list[str] | None) -> None:
    if expected is None:
        expected = ["Dr. Wu et al. saw 3.5 m, cf. Fig. 3.", "It rose."]
    assert sentences(text) == expected


@given(st.text(alphabet="aB.!? \n\"')。今e\u0301", max_size=60))
def test_sentences_lose_nothing_but_white_space(text: str) -> None:
    spans = sentence_spans(text)
    between = [*(end for _, end in spans), len(text)]
    starts = [0, *(end for _, end in spans)]
    gaps = [text[a:b] for a, b in zip(starts, [*(s for s, _ in spans), len(text)], strict=True)]
    assert all(not gap.strip() for gap in gaps)
    assert all(text[start:end].strip() == text[start:end] != "" for start, end in spans)
    assert between == sorted(between)


def test_chunks_of_words() -> None:
    text = "one two three four five six seven"
    assert pieces(text, Chunking(3, 1)) == ["one two three ", "three four five ", "five six seven"]
    assert pieces(text, Chunking(7, 2)) == [text]
    assert pieces("  one two  ", Chunking(1, 0)) == ["  one ", "two  "]
    assert pieces("今天天气很好", Chunking(3, 0)) == ["今天天", "气很好"]
    assert [len(piece) for piece in pieces("a" * 600, Chunking(1, 0))] == [255, 255, 90]


def test_chunks_of_sentences() -> None:
    text = "One two. Three four five. Six. Seven eight nine ten eleven. End."
    assert pieces(text, Chunking(6, 1, "sentences")) == [
        "One two. Three four five. Six. ",
        "Six. Seven eight nine ten eleven. ",
        "End.",
    ]
    assert pieces(text, Chunking(2, 1, "sentences")) == [
        "One two. ",
        "Three four ",
        "five. Six. ",
        "Seven eight ",
        "nine ten ",
        "eleven. End.",
    ]
    assert all(len(p.split()) <= 2 for p in pieces(text, Chunking(2, 1, "sentences")))


@pytest.mark.parametrize("by", ["words", "sentences"])
@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_odd_texts_are_kept_whole(text: str, by: str) -> None:
    for words, overlap in SIZES:
        check(text, Chunking(words, overlap, by))  # type: ignore[arg-type]


@given(
    st.text(alphabet="ab .\n。今e\u0301-", max_size=80),
    st.integers(1, 9),
    st.integers(0, 8),
    st.sampled_from(["words", "sentences"]),
)
def test_any_text_is_kept_whole(text: str, words: int, overlap: int, by: str) -> None:
    chunking = Chunking(words, min(overlap, words - 1), by)  # type: ignore[arg-type]
    check(text, chunking)
    assert chunking.spans(text) == chunking.spans(text)


def test_time_is_linear() -> None:
    text = (
        "word. Another " * 20_000
        + "今" * 50_000
        + "." * 50_000
        + "x"
        + "\n \n" * 20_000
        + "?)" * 50_000
    )
    begun = time.monotonic()
    for by in ("words", "sentences"):
        check(text, Chunking(200, 40, by))  # type: ignore[arg-type]
    assert time.monotonic() - begun < 10


def test_settings_are_checked_and_written() -> None:
    for bad in ({"words": 0}, {"overlap": 200}, {"overlap": -1}, {"by": "pages"}, {"words": 2.5}):
        with pytest.raises(ConfigurationError):
            Chunking(**bad)  # type: ignore[arg-type]
    chunking = Chunking(50, 7, "sentences")
    assert chunking_from_json(chunking.to_json()) == chunking
    assert chunking.description == "chunks of 50 words, 7 of them shared, by sentences"
    for bad_text in ("", "[]", '{"words": 0}', '{"pages": 1}'):
        with pytest.raises(ConfigurationError):
            chunking_from_json(bad_text)
