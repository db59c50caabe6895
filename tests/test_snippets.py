"""Snippets: the best passage, whole words, marks in the right places, in any script."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseret.analysis import load_analyzer
from sparseret.snippets import Snippet, make_snippet

SIMPLE = load_analyzer("simple")
ENGLISH = load_analyzer("english")


def terms(query: str) -> set[str]:
    return {span.term for span in SIMPLE.spans(query)}


def snippet(text: str, query: str, width: int = 160) -> Snippet:
    return make_snippet(text, terms(query), SIMPLE, width)


def marked(made: Snippet) -> list[str]:
    return [made.text[start:end] for start, end in made.marks]


def core(made: Snippet) -> str:
    """The passage without the ellipses."""
    return made.text.removeprefix("… ").removesuffix(" …")


def test_a_short_text_is_taken_whole() -> None:
    assert snippet("The lift  of\na wing", "wing lift") == Snippet(
        "The lift of a wing", [(4, 8), (14, 18)]
    )
    assert snippet("", "wing") == Snippet("", [])
    assert snippet(" \n ", "wing") == Snippet("", [])
    assert snippet("x " * 10, "") == Snippet(" ".join("x" * 10), [])


def test_marks_are_the_words_as_written() -> None:
    made = make_snippet("Flying WINGS, winged: a wing-tip", {"wing", "fli"}, ENGLISH)
    assert marked(made) == ["Flying", "WINGS", "winged", "wing"]


def test_without_a_match_the_beginning_is_shown() -> None:
    made = snippet("word " * 100, "absent", 42)
    assert made == Snippet(" ".join(["word"] * 8) + " …", [])


def test_the_passage_with_the_most_distinct_terms_wins() -> None:
    gap = "filler " * 40
    made = snippet(f"alpha alpha alpha {gap} alpha beta {gap} beta beta", "alpha beta", 60)
    assert marked(made) == ["alpha", "beta"]
    assert made.text.startswith("… ")
    assert made.text.endswith(" …")


@pytest.mark.parametrize("distance", [0, 10, 50, 60])
def test_context_does_not_push_terms_out(distance: int) -> None:
    """Terms that fit in the width together are shown together."""
    text = "a " * 100 + "alpha " + "x" * distance + " beta " + "c " * 100
    made = snippet(text, "alpha beta", 75)
    assert marked(made) == ["alpha", "beta"]
    assert len(core(made)) <= 75


@pytest.mark.parametrize(
    "text", ["あ" * 300 + "大阪" + "い" * 300, "あ" * 300 + "大阪" + "い" * 30 + " x"]
)
def test_scripts_without_spaces_keep_their_marks(text: str) -> None:
    made = snippet(text, "大阪", 40)
    assert marked(made) == ["大阪"]
    assert 30 <= len(core(made)) <= 40


def test_pairs_of_characters_are_marked_as_one() -> None:
    assert marked(snippet("東京都の図書館です", "図書館")) == ["図書館"]


def test_only_the_beginning_of_an_enormous_text_is_searched() -> None:
    text = "filler " * 1_000_000 + "wing"
    assert snippet(text, "wing").marks == []


def test_words_longer_than_the_width() -> None:
    made = snippet("a " * 50 + "x" * 200 + " b" * 50, "x" * 200, 40)
    assert len(core(made)) <= 40
    assert made.marks == []


words = st.sampled_from(
    ["alpha", "beta", "gamma", "x", "filler", "longer-word", "東京都", "é", "\n"]
)


@given(st.lists(words, max_size=60).map(" ".join), st.integers(20, 120))
def test_any_snippet_is_a_passage_with_right_marks(text: str, width: int) -> None:
    wanted = terms("alpha beta gamma 東京")
    made = make_snippet(text, wanted, SIMPLE, width)
    clean = " ".join(text.split())
    assert core(made) in clean
    assert len(core(made)) <= width
    assert made.text == core(made) if len(clean) <= width else True
    ends = [end for mark in made.marks for end in mark]
    assert ends == sorted(ends)
    for mark in marked(made):
        assert {span.term for span in SIMPLE.spans(mark)} <= wanted
    # No other passage has more of the terms.
    shown = {span.term for mark in marked(made) for span in SIMPLE.spans(mark)}
    spans = [span for span in SIMPLE.spans(clean) if span.term in wanted]
    best = max(
        (
            len({s.term for s in spans if first.start <= s.start and s.end <= first.start + width})
            for first in spans
        ),
        default=0,
    )
    assert len(shown) >= best
