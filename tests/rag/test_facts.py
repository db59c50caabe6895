"""Quotations: what counts as the same text, and where it stands in the original."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseret.rag import Quote, Sentence, Source, check_quotes
from sparseret.rag.facts import find_quote
from sparseret.rag.prompts import parse_quotes


@pytest.mark.parametrize(
    ("text", "quote", "found"),
    [
        ("The lift of a wing .", "the  lift\nof a WING.", "The lift of a wing ."),
        ("He said “lift–drag” isn’t it", '"lift-drag" isn\'t it', "lift–drag” isn’t it"),
        ("caf\u0065\u0301 au lait", "CAFÉ au", "caf\u0065\u0301 au"),
        ("ﬁne ﬂow", "fine flow", "ﬁne ﬂow"),
        ("soft\u00adhyphen", "softhyphen", "soft\u00adhyphen"),
        ("ranges 3-5 m", "5 m", "5 m"),
        ("今天天气很好。", "天气", "天气"),
        ("Ｗｉｄｅ letters", "wide", "Ｗｉｄｅ"),
        ("a ( b ) c", "(b)", "b )"),
        ("one two one two three", "one two three", "one two three"),
        ("concatenate the cat", "cat", "cat"),
        ("at 0.5 and 5 percent", "5 percent", "5 percent"),
    ],
)
def test_what_is_found(text: str, quote: str, found: str) -> None:
    span = find_quote(text, quote)
    assert span is not None
    piece = text[slice(*span)]
    assert piece == found or found in piece


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        ("the lift of a wing", "the lift of the wing"),
        ("concatenate", "cat"),
        ("it was 0.5 percent", "5 percent"),
        ("it was 3.5", "it was 3"),
        ("minus -5 degrees", "5 degrees"),
        ("one two. three four", "one two … three four"),
        ("a wing", ""),
        ("a wing", " … "),
        ("a wing.", "."),
        ("", "wing"),
        ("not increased", "increased not"),
    ],
)
def test_what_is_not(text: str, quote: str) -> None:
    assert find_quote(text, quote) is None


@given(st.text(alphabet="ab .,-5\u0301é今\n", max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_spans_of_found_quotes_say_the_same(text: str, start: int, end: int) -> None:
    quote = text[start:end]
    span = find_quote(text, quote)
    if span is not None:
        again = text[slice(*span)]
        assert find_quote(quote, again) is not None or find_quote(again, quote) is not None


def test_long_texts_take_linear_time() -> None:
    text = "a word, " * 50_000 + "é"
    begun = time.monotonic()
    assert find_quote(text, "a word, é") is not None
    assert find_quote(text, "word a") is None
    assert time.monotonic() - begun < 10


SOURCES = [
    Source(1, "d1", "", "The wing stalls. It falls.", (Sentence(0, 16, "The wing stalls.", 1.0),)),
    Source(2, "d2", "", "Panels flutter.", (Sentence(0, 15, "Panels flutter.", 0.5),)),
]


def test_each_quotation_is_looked_up_in_the_source_it_names() -> None:
    quotes = [
        Quote(1, "the wing stalls"),
        Quote(1, "The wing rises"),
        Quote(2, "the wing stalls"),
        Quote(3, "Panels flutter"),
        Quote(1, "THE WING STALLS"),
        Quote(2, "panels flutter."),
    ]
    facts, dropped = check_quotes(quotes, SOURCES)
    assert [(f.source, f.document, f.text) for f in facts] == [
        (1, "d1", "The wing stalls"),
        (2, "d2", "Panels flutter."),
    ]
    assert list(dropped) == quotes[1:4]
    assert SOURCES[0].text[facts[0].start : facts[0].end] == facts[0].text
    assert check_quotes([], SOURCES) == ((), ())


def test_replies_of_models_are_read() -> None:
    reply = (
        'Here are quotations:\n[1] "the wing stalls"\n- [2]: “Panels flutter.”\n3. plain words\n'
        "NONE\n[4]\n\n[12345678901] x\n  * [1] 'it falls'\n1958 was a year"
    )
    assert parse_quotes(reply) == [
        Quote(1, "the wing stalls"),
        Quote(2, "Panels flutter."),
        Quote(3, "plain words"),
        Quote(1, "it falls"),
        Quote(1958, "was a year"),
    ]
    assert parse_quotes("") == parse_quotes("NONE") == []
