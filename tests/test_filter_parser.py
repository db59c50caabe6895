"""The text form of filters: what it means, and where its errors point."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparseret.errors import FilterError
from sparseret.indexers.filter_tree import MAX_CONDITIONS
from sparseret.indexers.filters import And, Filter, field, parse_filter


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=30), st.lists(st.sampled_from(
    ["x", "=", "1", "and", "or", "not", "in", "[", "]", "(", ")", ",", '"', "'", "\\", "exists",
     "contains", ".", "-", "1e9", "null", "\n", "\\u0041", "\ud800", "\0"]
)).map(" ".join)))  # fmt: skip
def test_any_text_parses_or_raises_a_filter_error(text: str) -> None:
    try:
        tree = parse_filter(text)
    except FilterError as error:
        message = str(error)
    else:
        assert parse_filter(str(tree)) == tree
        return
    assert "^" in message
    assert "for example:" in message


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("year >= 2015", field("year") >= 2015),
        ('lang="en"', field("lang") == "en"),
        ("lang == 'en'", field("lang") == "en"),
        ("n <> 1", field("n") != 1),
        ("n != -1.5e3", field("n") != -1500.0),
        ("a < 1 and b > 2 and c <= 3", And((field("a") < 1, field("b") > 2, field("c") <= 3))),
        ("a=1 or b=2 and c=3", (field("a") == 1) | ((field("b") == 2) & (field("c") == 3))),
        ("(a=1 or b=2) and c=3", ((field("a") == 1) | (field("b") == 2)) & (field("c") == 3)),
        ("NOT a=1 AND b=TRUE", ~(field("a") == 1) & (field("b") == True)),  # noqa: E712
        ("not (a=1 and b=Null)", ~((field("a") == 1) & (field("b") == None))),  # noqa: E711
        ("a in [1, 'x', null]", field("a").isin([1, "x", None])),
        ("a IN (1)", field("a").isin([1])),
        ("a not in []", ~field("a").isin([])),
        ("exists author.name", field("author.name").exists()),
        ('author."first.name" contains "x"', field(("author", "first.name")).contains("x")),
        ("tags not contains 'x'", ~field("tags").contains("x")),
        ('"in"=1', field("in") == 1),
        ("naïve-key = 1", field("naïve-key") == 1),
        ('s = "\\"\\\\\\u00e9\\ud83d\\ude00\\n"', field("s") == '"\\é\U0001f600\n'),
        ("s = 'it\\'s \"so\"'", field("s") == 'it\'s "so"'),
        ("n = 9223372036854775807", field("n") == 2**63 - 1),
        ("\n a\t=\r\n 1 ", field("a") == 1),
    ],
)
def test_text_form_and_python_form_agree(text: str, tree: Filter) -> None:
    assert parse_filter(text) == tree


@pytest.mark.parametrize(
    ("text", "line", "caret", "message"),
    [
        ("", "", 0, "expected a field name; found the end of the filter"),
        ("year >= ", "year >= ", 8, "expected a value; found the end"),
        ("year 2015", "year 2015", 5, "expected one of = != < <= > >= in contains"),
        ("lang = en", "lang = en", 7, "text goes in quotes"),
        ('lang = "en', 'lang = "en', 7, 'a closing "'),
        ("day > 2015-01-31", "day > 2015-01-31", 10, "dates and other text go in quotes"),
        ("(a = 1", "(a = 1", 6, "a closing )"),
        ("a = 1)", "a = 1)", 5, "expected and, or, or the end of the filter; found )"),
        ("a = 1 b = 2", "a = 1 b = 2", 6, "found b"),
        ("a in 1", "a in 1", 5, "a list in [ ] or ( )"),
        ("a in [1 2]", "a in [1 2]", 8, "a comma or a closing ]"),
        ("a in [1,]", "a in [1,]", 8, "expected a value; found ]"),
        ("a not 1", "a not 1", 6, "in or contains after not"),
        ("in = 1", "in = 1", 0, 'in is a keyword; as a name it is "in"'),
        ("a..b = 1", "a..b = 1", 2, "a field name"),
        ('a = "\\x"', 'a = "\\x"', 5, "an escape"),
        ("a = 1e999", "a = 1e999", 4, "not a finite number"),
        ("a = 9223372036854775808", "a = 9223372036854775808", 4, "does not fit in 64"),
        ("a = " + "9" * 5000, "a = " + "9" * 60 + "...", 4, "at most 64 bits"),
        ("a < true", "a < true", 4, "true has no order"),
        ('a = "\\ud800"', 'a = "\\ud800"', 4, "surrogate"),
        ('a = "\\u0000"', 'a = "\\u0000"', 4, "U+0000"),
        ("a = 1 and\nb ! 2 and\nc = 3", "b ! 2 and", 2, "expected one of ="),
        ('日本 = "東京" x', '日本 = "東京" x', 14, "found x"),
        ("a = 1 or " * 20 + "!", None, None, "expected a field name; found !"),
    ],
)
def test_errors_point_at_the_character(
    text: str, line: str | None, caret: int | None, message: str
) -> None:
    with pytest.raises(FilterError) as raised:
        parse_filter(text)
    problem, shown, pointer, hint = str(raised.value).split("\n")
    assert message in problem
    if line is not None:
        assert shown == "    " + line
        assert pointer == " " * (4 + (caret or 0)) + "^"
    else:
        assert shown.startswith("    ...")
        assert shown[pointer.index("^")] == "!"
    parse_filter(hint.removeprefix("for example: "))


def test_only_text_is_parsed() -> None:
    with pytest.raises(FilterError, match="got int"):
        parse_filter(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["(" * 100_000, "not " * 100_000, "a=1 and (b=2 or " * 50_000])
def test_deep_text_is_refused(text: str) -> None:
    with pytest.raises(FilterError, match="levels deep"):
        parse_filter(text)


def test_text_with_too_many_conditions_is_refused() -> None:
    with pytest.raises(FilterError, match=r"conditions(.|\n)*\^"):
        parse_filter(" and ".join(["a = 1"] * (MAX_CONDITIONS + 1)))
