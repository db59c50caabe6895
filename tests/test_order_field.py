"""An index ordered by a field: filters on it become ranges, and select what they always did."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from sparseret import Document, InvertedIndex, Retriever, field
from sparseret.cli.app import main
from sparseret.errors import DocumentError, FilterError, IndexExistsError
from sparseret.indexers.catalog import Catalog
from sparseret.indexers.filters import Compare, Filter, matches, parse_filter
from sparseret.indexers.info import index_info
from sparseret.indexers.order_field import order_field
from sparseret.indexers.verify import verify_index

ONE = csr_array(np.ones((1, 1), np.float32))


def add(index: InvertedIndex, documents: Sequence[Document], *, update: bool = False) -> None:
    rows = csr_array(np.ones((len(documents), 1), np.float32))
    (index.update if update else index.add)([d.id for d in documents], rows, documents=documents)


def years(*values: Any, first: int = 0) -> list[Document]:
    return [
        Document(str(first + i), metadata={"year": value, "even": (first + i) % 2 == 0})
        for i, value in enumerate(values)
    ]


def make(path: Path, documents: Sequence[Document] = ()) -> InvertedIndex:
    index = InvertedIndex.create(path / "i", order_by="year")
    add(index, documents)
    index.commit()
    return index


def found(index: InvertedIndex, where: Filter | str, **options: Any) -> list[str]:
    return index.search(ONE, 1000, where=where, **options).ids[0]


def ordered(value: Any) -> tuple[bool, Any]:
    """Numbers before strings, as documented."""
    return isinstance(value, str), value


# Small pools, so that values tie and bounds meet them.
INTEGERS = st.sampled_from([-(2**63), -2, 0, 1, 2, 3, 2**53, 2**53 + 1, 2**63 - 1])
FLOATS = st.sampled_from([-1e300, -1.5, -0.0, 0.1, 1.0, 2.5, 2.0**53, 1e300])
STRINGS = st.sampled_from(["", "1", "2020", "2020-01-31", "a", "é", "\uffff", "\U0001f600"])
ORDERED = st.one_of(INTEGERS, FLOATS, STRINGS)
ORDERS = st.sampled_from(["=", "<", "<=", ">", ">="])
YEAR = field("year")


def compared(order: str, value: Any) -> Filter:
    return Compare(("year",), order, value)  # type: ignore[arg-type]


BOUNDS = st.builds(compared, ORDERS, ORDERED)
OTHERS = st.sampled_from(
    [field("even") == True, YEAR != 1, YEAR.isin([1, 2.5, "a"]), YEAR == None,  # noqa: E711, E712
     (YEAR < 1) | (YEAR > 2), field("_id").isin(["0", "3", "4"])]
)  # fmt: skip
CONJUNCTIONS = st.lists(st.one_of(BOUNDS, BOUNDS, OTHERS), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.lists(ORDERED, max_size=6), max_size=4),
    filters=st.lists(CONJUNCTIONS, min_size=1, max_size=8),
    deleted=st.lists(st.integers(0, 20), max_size=5),
    merge=st.booleans(),
    allow=st.none() | st.lists(st.integers(0, 20).map(str), max_size=8),
)
def test_a_range_selects_what_the_filter_means(
    values: list[list[Any]], filters: list[list[Filter]], deleted: list[int], merge: bool,
    allow: list[str] | None,
) -> None:  # fmt: skip
    every = sorted((value for batch in values for value in batch), key=ordered)
    documents = years(*every)
    with tempfile.TemporaryDirectory() as folder, make(Path(folder)) as index:
        begin = 0
        for batch in values:  # each a segment
            add(index, documents[begin : begin + len(batch)])
            index.commit()
            begin += len(batch)
        index.delete([str(i) for i in deleted])
        index.commit()
        if merge:
            index.merge()
        live = [d for d in documents if int(d.id) not in deleted]
        for parts in filters:
            tree = parts[0]
            for part in parts[1:]:
                tree = tree & part
            want = [d.id for d in live if matches(tree, d) and (allow is None or d.id in allow)]
            assert found(index, tree, allow=allow) == want
        assert verify_index(index.path) == []


def test_bounds_never_become_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = make(tmp_path, years(*range(1000, 3000)))
    asked: list[tuple[Any, ...]] = []
    ranges: list[range] = []
    plain = Catalog.range_where

    def note(self: Catalog, *arguments: Any) -> range:
        ranges.append(plain(self, *arguments))
        return ranges[-1]

    monkeypatch.setattr(Catalog, "range_where", note)
    index.state.numbers_where = lambda *arguments: asked.append(arguments) or np.array([7, 9])  # type: ignore[assignment,func-returns-value]
    assert found(index, "year >= 1990 and year < 1993") == ["990", "991", "992"]
    assert found(index, "year = 1005.0") == ["5"]
    assert found(index, "year > 2998") == ["1999"]
    assert found(index, "year > 2999") == found(index, "year > 5 and year < 3") == []
    assert not asked
    assert ranges == [range(990, 993), range(5, 6), range(1999, 2000), range(0), range(0)]
    # Other conditions are looked for inside the range alone.
    assert found(index, "year > 1004 and even = false and year < 1050") == ["7", "9"]
    assert [arguments[2] for arguments in asked] == [range(5, 50)]
    # And what is no bound on the field, or no part of a conjunction, is as before.
    assert found(index, "year in [1007, 1009]") == ["7", "9"]
    assert found(index, "year > 1004 or even = true") == ["7", "9"]
    assert [arguments[2] for arguments in asked[1:]] == [None, None]
    index.close()


@pytest.mark.parametrize(
    "text", ["year > 1900", "year < 1950", "year >= 1900 and year < 1950", "year = 1950.5",
             'year >= "a"', "year >= 1 and year > 1800"],
)  # fmt: skip
def test_the_ends_are_looked_up_in_the_index(tmp_path: Path, text: str) -> None:
    index = make(tmp_path, years(*range(1000, 1100)))
    order = order_field("year")
    bounds, rest = order.split(parse_filter(text))
    assert bounds is not None
    assert rest is None
    with sqlite3.connect(index.path / "catalog.sqlite") as catalog:
        for way in ("ASC", "DESC"):
            plan = catalog.execute(
                f"EXPLAIN QUERY PLAN SELECT number FROM documents WHERE {bounds.sql}"
                f" ORDER BY {order.value} {way}, number {way} LIMIT 1",
                bounds.parameters,
            ).fetchall()
            assert [row[3].split(" (")[0] for row in plan] == [
                "SEARCH documents USING INDEX field:year"
            ]
    index.close()


@pytest.mark.parametrize(("within", "by_number"), [(range(10), True), (range(90), False)])
def test_a_narrow_range_is_read_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, within: range, by_number: bool
) -> None:
    with InvertedIndex.create(tmp_path / "i", order_by="year", filter_fields=["even"]) as index:
        add(index, years(*range(200)))
        index.commit()
        asked: list[str] = []
        plain = Catalog._numbers
        monkeypatch.setattr(
            Catalog, "_numbers", lambda self, sql, *p: (asked.append(sql), plain(self, sql, *p))[1]
        )
        where = f"year >= {within.start} and year < {within.stop} and even = true"
        assert found(index, where) == [str(i) for i in within[::2]]
        assert ("NOT INDEXED" in asked[-1]) is by_number
        with sqlite3.connect(index.path / "catalog.sqlite") as catalog:
            sql = asked[-1].replace("?", "0")
            plan = catalog.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()
        assert ("PRIMARY KEY" in plan[0][3]) is by_number


def test_documents_must_ascend(tmp_path: Path) -> None:
    index = make(tmp_path, years(1950, 1950.5, 1961))
    with pytest.raises(
        DocumentError, match=r"document '4' has year 1960, and the document before it 1961\.5: "
    ):
        add(index, years(1961.5, 1960, 1970, first=3))
    with pytest.raises(DocumentError, match=r"document '3' has year 1.*before it 1961"):
        add(index, years(1, first=3))
    add(index, years(1961, "1", first=3))  # equal is in order; strings come after numbers
    with pytest.raises(DocumentError, match=r"document '5' has year 2000, .* before it '1'"):
        add(index, years(2000, first=5))
    index.commit()
    assert len(index) == 5  # what was refused changed nothing
    index.close()
    index = InvertedIndex.open(index.path)  # the order is the index's, not the object's
    with pytest.raises(DocumentError, match="in ascending order, or use an index without"):
        add(index, years("0", first=5))
    index.close()


@pytest.mark.parametrize(
    "metadata", [{}, {"year": None}, {"year": True}, {"year": [1970]}, {"year": {"a": 1}}]
)
def test_values_without_an_order_are_refused(tmp_path: Path, metadata: dict[str, Any]) -> None:
    index = make(tmp_path, years(1))
    with pytest.raises(DocumentError, match="document 'x' has no number or string in year"):
        add(index, [*years(2, first=1), Document("x", metadata=metadata)])
    with pytest.raises(DocumentError, match="not finite"):
        add(index, years(float("nan"), first=1))
    index.commit()
    assert len(index) == 1
    index.close()


def test_an_update_puts_a_document_last(tmp_path: Path) -> None:
    index = make(tmp_path, years(1, 2, 3))
    with pytest.raises(DocumentError, match="document '0' has year 1, and the document before it"):
        add(index, years(1), update=True)
    add(index, years(3), update=True)
    index.commit()
    assert found(index, "year = 3") == ["2", "0"]
    assert found(index, "year < 3") == ["1"]
    # Deleted documents bind nobody: the last one can be given an earlier value.
    index.delete(["2", "0"])
    add(index, years(2, 2.5, first=5))
    index.commit()
    assert found(index, "year >= 2") == ["1", "5", "6"]
    index.close()


def test_the_field_may_be_nested_or_the_id(tmp_path: Path) -> None:
    with InvertedIndex.create(tmp_path / "a", order_by='at."first.seen"') as index:
        add(
            index, [Document(str(i), metadata={"at": {"first.seen": f"2020-0{i}"}}) for i in (1, 2)]
        )
        index.commit()
        assert found(index, 'at."first.seen" > "2020-01"') == ["2"]
        assert index_info(index).order_by == 'at."first.seen"'
    with InvertedIndex.create(tmp_path / "b", order_by="_id") as index:
        add(index, [Document("a"), Document("b")])
        index.commit()
        assert found(index, '_id >= "b"') == ["b"]
        assert found(index, "_id >= 1") == []
        with pytest.raises(DocumentError, match="document 'Z' has _id 'Z', and the document bef"):
            add(index, [Document("Z")])
    for wrong in ("", "a..b", '"a\\"b"'):
        with pytest.raises(FilterError):
            InvertedIndex.create(tmp_path / "c", order_by=wrong)
    assert not (tmp_path / "c").exists()


def test_retrievers_are_ordered_too(tmp_path: Path) -> None:
    with Retriever.create(tmp_path / "i", order_by="year") as retriever:
        retriever.add([Document(str(i), "wing", metadata={"year": i}) for i in range(9)])
        retriever.commit()
        assert [r.id for r in retriever.search("wing", filter="year >= 3 and year <= 4")] == [
            "3", "4",
        ]  # fmt: skip
        with pytest.raises(DocumentError, match="document 'x' has year 1,"):
            retriever.add([Document("x", "wing", metadata={"year": 1})])
    with pytest.raises(IndexExistsError):
        Retriever.create(tmp_path / "i", order_by="year")


def test_verify_sees_a_document_out_of_order(tmp_path: Path) -> None:
    make(tmp_path, years(1, 2)).close()
    with sqlite3.connect(tmp_path / "i" / "catalog.sqlite") as catalog:
        catalog.execute("UPDATE meta SET value = 'even' WHERE key = 'order_by'")
    assert [problem.split(",")[0] for problem in verify_index(tmp_path / "i")] == [
        "catalog: document '0' has no number or string in even"
    ]


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus, out = tmp_path / "c.jsonl", tmp_path / "i"
    lines = [json.dumps({"_id": str(i), "text": "wing", "year": i}) for i in range(5)]
    corpus.write_text("\n".join(lines))

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
            patch.setattr(sys, "argv", ["sparseret", *map(str, arguments)])
            main()
        return int(end.value.code or 0), *capsys.readouterr()

    assert run("index", corpus, "--out", out, "--order-by", "year")[0] == 0
    assert re.search(r"ordered by +year", run("info", out)[1])
    assert json.loads(run("info", out, "--json")[1])["order_by"] == "year"
    status, printed, _ = run("search", out, "wing", "--filter", "year >= 3")
    assert [json.loads(line)["id"] for line in printed.splitlines()] == ["3", "4"]
    status, _, error = run("index", corpus, "--out", out, "--order-by", "year")
    assert status
    assert "--order-by is for a new index" in error
    corpus.write_text(lines[0])
    status, _, error = run("index", corpus, "--out", out, "--update")
    assert status
    assert "document '0' has year 0, and the document before it 4" in error
