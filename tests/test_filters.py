"""Filters: the SQL selects what the plain meaning says, and the text form is lossless."""

from __future__ import annotations

import enum
import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sparseret.documents import Document
from sparseret.errors import FilterError
from sparseret.indexers.filter_tree import MAX_CONDITIONS, MAX_DEPTH, MAX_PATH
from sparseret.indexers.filters import (
    And,
    Compare,
    Contains,
    Exists,
    Filter,
    In,
    Not,
    Or,
    compile_filter,
    field,
    field_index_sql,
    matches,
    parse_filter,
)


def catalog(documents: Sequence[Document]) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute(
        "CREATE TABLE documents(number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, "
        "title TEXT, text TEXT, metadata TEXT)"
    )
    connection.executemany(
        "INSERT INTO documents VALUES (?, ?, ?, ?, ?)",
        (
            (n, d.id, d.title, d.text, json.dumps(d.metadata, ensure_ascii=False, allow_nan=False))
            for n, d in enumerate(documents)
        ),
    )
    return connection


def select(connection: sqlite3.Connection, tree: Filter) -> list[int]:
    sql, parameters = compile_filter(tree)
    query = f"SELECT number FROM documents WHERE {sql} ORDER BY number"
    return [number for (number,) in connection.execute(query, parameters)]


def kept(text: str, /, **metadata: Any) -> bool:
    """Whether the SQL and the plain meaning, which must agree, keep a document."""
    tree = parse_filter(text)
    document = Document("d1", title="A title", metadata=metadata)
    expected = matches(tree, document)
    assert (select(catalog([document]), tree) == [0]) is expected
    return expected


# Random documents and filters. Pools are small, so that values meet often.

HOSTILE_KEYS = ["a.b", 'q"x', "b\\c", "it's", "\n", "", "$", "a[0]", "not", "In", "--", "\x7f"]
KEYS = st.sampled_from(["a", "b", "é", "日本", "_id", "title", *HOSTILE_KEYS])
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5)
STRINGS = st.sampled_from(["", "a", "ab", "b", "é", "\U0001f600", "\uffff", "1", "true", "[1]"])
INTEGERS = st.sampled_from([0, 1, -1, 2, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)])
FLOATS = st.sampled_from([0.0, -0.0, 1.0, 0.1, 2.0**53, 2.0**63, 1e300, 5e-324, -1.5])
FINITE = st.floats(allow_nan=False, allow_infinity=False)
NUMBERS = st.one_of(INTEGERS, FLOATS, FINITE, st.integers(-(2**63), 2**63 - 1))
ORDERED = st.one_of(STRINGS, TEXT, NUMBERS)
VALUES = st.one_of(ORDERED, st.booleans(), st.none())
HUGE_VALUES = [2**63, 2**64, -(2**63) - 1, 10**30, 10**400, -(10**400)]
HUGE = st.sampled_from(HUGE_VALUES)
JSON = st.recursive(
    st.one_of(VALUES, HUGE),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=5,
)
DOCUMENTS = st.lists(
    st.builds(
        Document,
        id=st.one_of(STRINGS, TEXT).filter(bool),
        title=st.one_of(STRINGS, TEXT),
        metadata=st.dictionaries(KEYS, JSON, max_size=5),
    ),
    max_size=4,
    unique_by=lambda document: document.id,
)
PATHS = st.lists(KEYS, min_size=1, max_size=3).map(tuple)
CONDITIONS = st.one_of(
    st.builds(Compare, PATHS, st.just("="), VALUES),
    st.builds(Compare, PATHS, st.sampled_from(["<", "<=", ">", ">="]), ORDERED),
    st.builds(In, PATHS, st.lists(VALUES, max_size=4).map(tuple)),
    st.builds(Contains, PATHS, VALUES),
    st.builds(Exists, PATHS),
)
FILTERS = st.recursive(
    CONDITIONS,
    lambda inner: st.one_of(
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Not, inner),
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(DOCUMENTS, st.lists(FILTERS, min_size=1, max_size=8))
def test_sql_selects_what_the_meaning_says(
    documents: list[Document], filters: list[Filter]
) -> None:
    connection = catalog(documents)
    for tree in filters:
        expected = [n for n, document in enumerate(documents) if matches(tree, document)]
        assert select(connection, tree) == expected, (str(tree), compile_filter(tree))


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(KEYS, JSON, min_size=1, max_size=4), st.data())
def test_sql_finds_a_value_that_is_there(metadata: dict[str, Any], data: st.DataObject) -> None:
    # Filters aimed at a field of the document: random ones rarely reach deep fields.
    path: tuple[str, ...] = ()
    found: Any = metadata
    while isinstance(found, dict) and found and (not path or data.draw(st.booleans())):
        key = data.draw(st.sampled_from(sorted(found)))
        path, found = (*path, key), found[key]
    document = Document("d1", metadata=metadata)
    connection = catalog([document])
    candidates = [found, *found] if isinstance(found, list) else [found]
    plain = [c for c in candidates if not isinstance(c, list | dict) and c not in HUGE_VALUES]
    trees: list[Filter] = [Exists(path)]
    for value in plain:
        trees += [Compare(path, "=", value), Contains(path, value), In(path, ("zz", value, 7))]
        if not isinstance(value, bool) and value is not None:
            trees += [Compare(path, order, value) for order in ("<", "<=", ">", ">=")]
    for tree in trees:
        for variant in (tree, Not(tree)):
            assert select(connection, variant) == [0] * matches(variant, document), str(variant)
    if path[-1:] != ("_id",) and path[-1:] != ("title",):
        assert matches(Exists(path), document)


@settings(max_examples=200, deadline=None)
@given(FILTERS)
@example(Not(Not(Compare(("x",), "=", 1))))
@example(Not(And((Exists(("a",)), Or((Exists(("b",)), Exists(("c",))))))))
@example(Not(Compare(("x",), "<", -1.5e-7)))
def test_text_form_parses_back_to_the_same_tree(tree: Filter) -> None:
    again = parse_filter(str(tree))
    assert again == tree
    assert str(again) == str(tree)
    assert hash(again) == hash(tree)


def test_logic_is_two_valued() -> None:
    assert kept("year = 2015", year=2015)
    others: list[Any] = ["2015", None, True, [2015], {}]
    for metadata in [{}, *({"year": other} for other in others)]:
        for order in ("=", "<", "<=", ">", ">="):
            assert not kept(f"year {order} 2015", **metadata)
            assert kept(f"not year {order} 2015", **metadata)
        assert kept("year != 2015", **metadata)
        assert kept("not (year < 2015 or year >= 2015)", **metadata)


def test_types_stay_apart() -> None:
    assert kept("x = true", x=True)
    assert not kept("x = 1", x=True)
    assert not kept("x in [1, 0]", x=True)
    assert not kept("x = true", x=1)
    assert not kept("x = true", x="true")
    assert not kept('x = "[1, 2]"', x=[1, 2])
    assert not kept("x contains 1", x=[True, "1"])
    assert kept("x contains true", x=[1, True])
    assert kept("x = null and exists x", x=None)
    assert not kept("x = null or exists x", y=1)
    assert (field("x") == 1) != (field("x") == True)  # noqa: E712
    assert field("x").isin([1]) != field("x").isin([True])


def test_numbers_compare_exactly() -> None:
    assert kept("x = 1.0", x=1)
    assert kept("x in [1.0]", x=1)
    assert kept("x > 9007199254740992.0", x=2**53 + 1)
    assert not kept("x = 9007199254740992.0", x=2**53 + 1)
    assert kept("x < 9223372036854775807", x=2**63 - 2)
    assert kept("x > 9223372036854775807", x=2**64)
    assert kept("x = 0.30000000000000004 and x != 0.3", x=0.1 + 0.2)


def test_strings_compare_by_code_point() -> None:
    # UTF-16 order, as of Java and JavaScript, would have these the other way round.
    assert kept('x > "\uffff"', x="\U0001f600")
    assert kept('x < "é"', x="z")


def test_contains_is_element_or_substring() -> None:
    assert kept('tags contains "new"', tags=["old", "new"])
    assert not kept('tags contains "ne"', tags=["old", "new"])
    assert kept('tags contains "ne"', tags="new")
    assert kept('tags contains ""', tags="")
    assert not kept('tags contains "new"', tags={"new": "new"})
    assert not kept('tags contains "new"', tags=[["new"]])
    assert kept("tags contains null", tags=[None])
    assert kept("_id contains 'd' and title contains 'tit' and not title contains 1")


def test_builtin_fields_are_columns_and_nothing_else_is() -> None:
    assert kept('_id = "d1" and title = "A title"', _id="other", title="other")
    assert kept('_id in ["d1", 1] and exists _id and exists title')
    assert not kept("_id = 1 or title in [null, 2]")
    assert not kept('text = ""')
    assert kept('text = "mine" and title.x = 1', text="mine", title={"x": 1})


def test_paths_step_into_objects_only() -> None:
    assert kept('author.name = "Ann"', author={"name": "Ann"})
    assert not kept('author.name = "Ann"', **{"author.name": "Ann"})
    assert kept('"author.name" = "Ann"', **{"author.name": "Ann"})
    assert not kept('author.name = "Ann"', author=[{"name": "Ann"}])
    assert not kept('tags."0" = "x"', tags=["x"])
    assert not kept('tags."0"."a\\"b" = "x"', tags=["x"])


def test_python_paths() -> None:
    assert field("a.b").path == ("a", "b")
    assert field('a."b.c"."d\\"e"').path == ("a", "b.c", 'd"e')
    assert field("my key.2020").path == ("my key", "2020")
    assert field("it's").path == ("it's",)
    for bad in ("", ".a", "a.", "a..b", '"a', '"a"b', '"a"\n', '"\\x"', (), ("a", 1), ["a"]):
        with pytest.raises(FilterError):
            field(bad)  # type: ignore[arg-type]


def test_field_names_cannot_inject_sql() -> None:
    for key in ["x'; DROP TABLE documents; --", "x') OR 1 --", '"]', "?1", ":x", "x\\' OR 1=1"]:
        other, document = Document("d1"), Document("d2", metadata={key: 1})
        connection = catalog([other, document])
        assert select(connection, field((key,)) == 1) == [1]
        assert select(connection, field((key, key)) == 1) == []
        assert select(connection, field("y").isin([key])) == []


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), 2**63, -(2**63) - 1, 10**5000, "\ud800", "a\0", b"x", [1],
     object(), field("y"), np.int64(3)],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_values_no_document_can_hold_are_refused(value: Any) -> None:
    for make in (
        lambda: field("x") == value,
        lambda: field("x") >= value,
        lambda: field("x").isin([1, value]),
        lambda: field("x").contains(value),
    ):
        with pytest.raises(FilterError):
            make()


def test_subclasses_of_plain_types_become_plain() -> None:
    class Level(enum.IntEnum):
        HIGH = 3

    class Lang(str, enum.Enum):
        EN = "en"

    assert str(field("x") == Level.HIGH) == "x = 3"
    assert str(field("x") == Lang.EN) == 'x = "en"'
    assert str(field("x") == np.float64(0.5)) == "x = 0.5"


def test_mistakes_in_python_are_refused() -> None:
    with pytest.raises(FilterError, match="parentheses"):
        _ = 2010 <= field("year") <= 2020
    with pytest.raises(FilterError, match="&"):
        _ = (field("a") == 1) and (field("b") == 1)
    with pytest.raises(FilterError, match="isin"):
        field("a").isin("abc")
    with pytest.raises(FilterError, match="two or more"):
        And((field("a") == 1,))
    for broken in (lambda: (field("a") == 1) & "b = 1", lambda: Not("b = 1")):  # type: ignore
        with pytest.raises(FilterError, match="got str"):
            broken()
    with pytest.raises(FilterError, match="no order"):
        _ = field("a") < None  # type: ignore[operator]
    with pytest.raises(FilterError, match="unknown order"):
        Compare(("a",), "~", 1)  # type: ignore[arg-type]
    with pytest.raises(FilterError, match="surrogate"):
        field("\udc00")


def nested(depth: int, leaf: Filter) -> Filter:
    tree = leaf
    for level in range(depth):
        tree = (Not(tree), And((leaf, tree)), Or((leaf, leaf, tree)))[level % 3]
    return tree


def test_the_deepest_filter_runs_and_a_deeper_one_is_refused() -> None:
    # The conditions with the deepest SQL, always last in their operands, at every level.
    document = Document("d1", metadata={'a"': {"b": "x"}})
    path = ('a"', *("b",) * (MAX_PATH - 1))
    for leaf in (In(path, ("x", 1, None)), Contains(path, "x"), Contains(("a",), 1.5)):
        for tree in (nested(MAX_DEPTH, leaf), alternating(MAX_DEPTH, leaf)):
            assert select(catalog([document]), tree) == [0] * matches(tree, document)
            assert parse_filter(str(tree)) == tree
            with pytest.raises(FilterError, match="levels deep"):
                Not(tree)


def alternating(depth: int, leaf: Filter) -> Filter:
    tree = leaf
    for level in range(depth):
        tree = And((leaf, tree)) if level % 2 else Or((leaf, tree))
    return tree


def test_the_widest_filter_runs_and_a_wider_one_is_refused() -> None:
    document = Document("d1", metadata={"a": MAX_CONDITIONS - 1, 'a"': MAX_CONDITIONS - 1})
    for key in ("a", 'a"'):
        tree = Or(tuple(field((key,)) == value for value in range(MAX_CONDITIONS)))
        assert select(catalog([document]), tree) == [0]
        assert select(catalog([document]), ~tree) == []
        with pytest.raises(FilterError, match=f"{MAX_CONDITIONS} conditions"):
            _ = tree | (field("a") == 1)


def test_long_paths_and_long_sql_are_refused() -> None:
    with pytest.raises(FilterError, match="keys"):
        field(".".join("a" * (MAX_PATH + 1)))
    with pytest.raises(FilterError, match="shorten"):
        compile_filter(field("k" * 600_000) == 1)


def test_lists_of_any_length_are_one_parameter() -> None:
    documents = [Document(f"d{n}", metadata={"n": n}) for n in range(3)]
    ids = field("_id").isin([f"d{n}" for n in range(1, 100_000)])
    assert select(catalog(documents), ids) == [1, 2]
    assert len(compile_filter(ids).parameters) == 1
    assert select(catalog(documents), field("n").isin([*range(1, 100_000), "x"])) == [1, 2]


@pytest.fixture(scope="module")
def years() -> Iterator[sqlite3.Connection]:
    documents = [
        Document(f"d{n}", metadata={"year": 1900 + n % 100, "o'brien": {"日 本.x": n % 7}})
        for n in range(2000)
    ]
    connection = catalog(documents)
    for name, path in (("y", "year"), ("o", ("o'brien", "日 本.x"))):
        connection.execute(f"CREATE INDEX {name} ON documents({field_index_sql(path)})")
    connection.execute("ANALYZE")
    yield connection
    connection.close()


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("year = 1950", "INDEX y"),
        ("year = 1950.0", "INDEX y"),
        ('year = "1950"', "INDEX y"),
        ("year = true", "INDEX y"),
        ("year in [1950, 1951]", "INDEX y"),
        ("year > 1995", "INDEX y"),
        ("year >= 1990 and year < 1992", "INDEX y"),
        ("year = 1950 and not (exists x or z = 2)", "INDEX y"),
        ("year = 1950 or year = 1951 or year > 1998", "INDEX y"),
        ("'o\\'brien'.'日 本.x' = 3", "INDEX o"),
        ('_id = "d7"', "INDEX sqlite_autoindex_documents_1"),
        ('_id in ["d7", "d8"]', "INDEX sqlite_autoindex_documents_1"),
    ],
)
def test_indexes_are_used(years: sqlite3.Connection, text: str, index: str) -> None:
    sql, parameters = compile_filter(parse_filter(text))
    query = f"SELECT number FROM documents WHERE {sql}"
    plan = [row[3] for row in years.execute(f"EXPLAIN QUERY PLAN {query}", parameters)]
    assert any(step.startswith("SEARCH documents") and index in step for step in plan), plan
    assert not any(step.startswith("SCAN documents") for step in plan), plan


def test_index_expressions() -> None:
    assert field_index_sql("year") == "json_extract(metadata, '$.\"year\"')"
    assert field_index_sql("o'b.c") == "json_extract(metadata, '$.\"o''b\".\"c\"')"
    assert field_index_sql("_id") == "id"
    with pytest.raises(FilterError, match="cannot be indexed"):
        field_index_sql(('a"b',))
