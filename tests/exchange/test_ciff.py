"""The Common Index File Format."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparseret import Document, InvertedIndex, Retriever
from sparseret.encoders.bm25 import BM25Encoder
from sparseret.errors import (
    ConfigurationError,
    DocumentError,
    DuplicateIdError,
    VectorError,
)

pytest.importorskip("google.protobuf", reason="protobuf is not installed (sparseret[ciff])")

from sparseret.exchange.ciff import CiffRecord, describe, export_ciff, parse_description
from sparseret.exchange.ciff_import import import_ciff

Check = Callable[..., None]


def varint(n: int) -> bytes:
    n &= 2**64 - 1  # as protobuf writes negative numbers
    made = b""
    while n > 127:
        made += bytes([n & 127 | 128])
        n >>= 7
    return made + bytes([n])


def field(number: int, value: int | str | bytes) -> bytes:
    """By hand, so that reader and writer are not judged by themselves."""
    if isinstance(value, int):
        if not value:
            return b""  # the default is left out
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def message(*fields: bytes) -> bytes:
    return varint(len(b"".join(fields))) + b"".join(fields)


def header(lists: int, docs: int, version: int = 1, description: str = "toy") -> bytes:
    return message(field(1, version), field(2, lists), field(3, docs), field(4, lists),
                   field(5, docs), field(8, description))  # fmt: skip


def postings(term: str, *pairs: tuple[int, int], df: int | None = None) -> bytes:
    inner = [field(4, field(1, gap) + field(2, tf)) for gap, tf in pairs]
    return message(field(1, term), field(2, len(pairs) if df is None else df),
                   field(3, sum(tf for _, tf in pairs)), *inner)  # fmt: skip


def record(number: int, id: str, length: int) -> bytes:
    return message(field(1, number), field(2, id), field(3, length))


TOY = (
    header(3, 3)
    + postings("drag", (1, 1), (1, 4))
    + postings("lift", (0, 2), (2, 1))
    + postings("wing", (0, 1))
    + record(0, "d1", 3)
    + record(1, "d2", 6)
    + record(2, "d3", 4)
)
"""Documents "lift lift wing", "drag" and five terms without postings, and "drag"·4 "lift" that is
said to have four terms."""


def bm25_scores(texts: Sequence[str], query: str) -> list[float]:
    encoder = BM25Encoder(language="porter").fit(texts)
    products = encoder.encode_documents(texts) @ encoder.encode_queries([query]).T
    return [float(score) for score in products.toarray().ravel()]


def test_a_toy_file_of_others(tmp_path: Path) -> None:
    (tmp_path / "toy.ciff").write_bytes(TOY)
    made = import_ciff(tmp_path / "toy.ciff", tmp_path / "i")
    assert made.n_documents == 3
    assert made.note.startswith("1 of 3 documents are said to be shorter")
    texts = ["lift lift wing", "drag x1 x2 x3 x4 x5", "drag drag drag drag lift"]
    with Retriever.open(tmp_path / "i") as retriever:
        assert "porter" in retriever.description
        for query in ("lift", "drag wing"):
            expected = bm25_scores(texts, query)
            found = {result.id: result.score for result in retriever.search(query)}
            assert found == pytest.approx(
                {f"d{i}": s for i, s in enumerate(expected, 1) if s}, rel=1e-6
            )
    export_ciff(tmp_path / "i", tmp_path / "again.ciff")
    tail = TOY[len(header(3, 3)) :].replace(record(2, "d3", 4), record(2, "d3", 5))
    assert (tmp_path / "again.ciff").read_bytes().endswith(tail)  # to the byte, but for the header


@pytest.mark.parametrize("name", ["x.ciff", "x.ciff.gz", "x.ciff.zst"])
def test_counts_come_back(name: str, counts_index: Path, tmp_path: Path, same_results: Check,
                          nothing_left: Check) -> None:  # fmt: skip
    assert export_ciff(counts_index, tmp_path / name) == 198
    assert import_ciff(tmp_path / name, tmp_path / "again").note == ""
    same_results(counts_index, tmp_path / "again", exactly=False)  # columns are in other order
    nothing_left(tmp_path, name, "again")
    with Retriever.open(tmp_path / "again") as retriever:
        assert retriever.encoder.options["k1"] == 0.9
    export_ciff(tmp_path / "again", tmp_path / f"2{name}")
    assert (tmp_path / f"2{name}").read_bytes() == (tmp_path / name).read_bytes()


def test_weights_come_back_within_half_a_step(
    weights_index: Path, counts_index: Path, tmp_path: Path, same_results: Check
) -> None:
    export_ciff(weights_index, tmp_path / "w.ciff", scale=1000)
    import_ciff(tmp_path / "w.ciff", tmp_path / "again")  # the file knows its scale
    same_results(weights_index, tmp_path / "again", exactly=False, tolerance=0.0005 * 9)
    export_ciff(counts_index, tmp_path / "b.ciff", values="weights")
    import_ciff(tmp_path / "b.ciff", tmp_path / "impacts")
    with Retriever.open(counts_index) as retriever:
        analyzer = retriever.encoder.analyzer  # type: ignore[union-attr]
    same_results(counts_index, tmp_path / "impacts", exactly=False, tolerance=0.005 * 9,
                 change=lambda query: " ".join(analyzer(query)))  # fmt: skip
    with pytest.raises(ConfigurationError, match="bm25 makes its own of counts"):
        import_ciff(tmp_path / "b.ciff", tmp_path / "x", encoder="bm25")
    with pytest.raises(ConfigurationError, match="keeps weights, not counts"):
        export_ciff(weights_index, tmp_path / "c.ciff", values="counts")


def test_another_reader_agrees(counts_index: Path, tmp_path: Path) -> None:
    read = pytest.importorskip("ciff_toolkit.read", reason="ciff-toolkit is not installed")
    export_ciff(counts_index, tmp_path / "x.ciff")
    with read.CiffReader(tmp_path / "x.ciff") as reader:
        lists = list(reader.read_postings_lists())
        records = list(reader.read_documents())
        assert reader.header.num_docs == len(records) == 198
    terms = [made.term for made in lists]
    assert terms == sorted(terms, key=str.encode)
    total = sum(posting.tf for made in lists for posting in made.postings)
    assert total == sum(made.cf for made in lists) == sum(r.doclength for r in records)
    assert total == reader.header.total_terms_in_collection


_TERM = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1,
                max_size=4)  # fmt: skip


@settings(max_examples=12)
@given(st.lists(st.dictionaries(_TERM, st.integers(1, 2**24), max_size=5), min_size=1, max_size=6))
def test_any_weights_come_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    terms = sorted({term for row in rows for term in row}, key=str.encode)
    lists = []
    for term in terms:
        at = [i for i, row in enumerate(rows) if term in row]
        gaps = np.diff(at, prepend=0).tolist()
        lists.append(postings(term, *((g, rows[i][term]) for g, i in zip(gaps, at, strict=True))))
    records = [record(i, f"é{i}", sum(row.values())) for i, row in enumerate(rows)]
    file = header(len(terms), len(rows)) + b"".join(lists) + b"".join(records)
    (folder / "in.ciff").write_bytes(file)
    import_ciff(folder / "in.ciff", folder / "i", values="weights")
    export_ciff(folder / "i", folder / "out.ciff", scale=1)
    own = (folder / "out.ciff").read_bytes()
    assert own.endswith(file[len(header(len(terms), len(rows))) :])


def test_every_cut_is_noticed(tmp_path: Path, nothing_left: Check) -> None:
    for end in range(len(TOY)):
        (tmp_path / "toy.ciff").write_bytes(TOY[:end])
        with pytest.raises(DocumentError, match=r"toy\.ciff: "):
            import_ciff(tmp_path / "toy.ciff", tmp_path / "i")
    nothing_left(tmp_path, "toy.ciff")
    (tmp_path / "toy.ciff").unlink()
    packed = gzip.compress(TOY)
    for end in (0, 5, 40, len(packed) - 9):
        (tmp_path / "toy.ciff.gz").write_bytes(packed[:end])
        with pytest.raises(DocumentError, match=r"toy\.ciff\.gz"):
            import_ciff(tmp_path / "toy.ciff.gz", tmp_path / "i")
    import zstandard

    packed = zstandard.compress(TOY)
    for data in (packed[:20], b"no zstandard"):
        (tmp_path / "toy.ciff.zst").write_bytes(data)
        with pytest.raises(DocumentError, match=r"toy\.ciff\.zst"):
            import_ciff(tmp_path / "toy.ciff.zst", tmp_path / "i")


_RECORDS = record(0, "a", 1) + record(1, "b", 1)


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (TOY + b"\0", "more follows"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "cannot be read|ends within|another format"),
        (b"\xff" * 20, "a length beyond 2 GiB"),
        (header(1, 2, version=2) + postings("a", (0, 1)) + _RECORDS, "version 2"),
        (header(1, 2**30) + postings("a", (0, 1)) + _RECORDS, "which cannot be"),
        (header(-1, 2) + _RECORDS, "which cannot be"),
        (header(1, 2) + postings("a", (2, 1)) + _RECORDS, "document number 2 where"),
        (header(1, 2) + postings("a", (2**31 - 1, 1), (2**31 - 1, 1), (9, 1)) + _RECORDS,
         "document number 4294967303 where"),
        (header(1, 2) + postings("a", (1, 1), (0, 1)) + _RECORDS, "do not ascend"),
        (header(1, 2) + postings("a", (1, 1), (-1, 1)) + _RECORDS, "do not ascend"),
        (header(1, 2) + postings("a", (-1, 1)) + _RECORDS, "do not ascend"),
        (header(1, 2) + postings("a", (0, 0)) + _RECORDS, "the value 0, where 1"),
        (header(1, 2) + postings("a", (0, -5)) + _RECORDS, "the value -5, where 1"),
        (header(1, 2) + postings("a", (0, 1), df=2) + _RECORDS, "1 postings where it says 2"),
        (header(1, 2) + postings("", (0, 1)) + _RECORDS, "no term"),
        (header(2, 2) + postings("a", (0, 1)) + postings("a", (1, 1)) + _RECORDS, "both of the"),
        (header(0, 2) + record(0, "a", 1) + record(0, "b", 1), "number 0 is another's"),
        (header(0, 2) + record(0, "a", 1) + record(2, "b", 1), "beyond the header's 2"),
        (header(0, 2) + record(0, "a", 1) + record(1, "", 1), "the id is empty"),
        (header(0, 2) + record(0, "a", -1) + record(1, "b", 1), "its length is -1"),
    ],
)  # fmt: skip
def test_damage_is_named(file: bytes, reason: str, tmp_path: Path, nothing_left: Check) -> None:
    (tmp_path / "x.ciff").write_bytes(file)
    with pytest.raises(DocumentError, match=reason):
        import_ciff(tmp_path / "x.ciff", tmp_path / "i")
    nothing_left(tmp_path, "x.ciff")


def test_ids_are_unique(tmp_path: Path) -> None:
    (tmp_path / "x.ciff").write_bytes(header(0, 2) + record(0, "a", 1) + record(1, "a", 1))
    with pytest.raises(DuplicateIdError, match="document record 2 of 2: its id 'a'"):
        import_ciff(tmp_path / "x.ciff", tmp_path / "i")


def test_counts_that_are_none(tmp_path: Path) -> None:
    options = {"fields": {"title": 1.5, "text": 1}}
    with Retriever.create(tmp_path / "i", encoder_options=options) as retriever:
        retriever.add([Document("1", "lift", "wing")])
    with pytest.raises(VectorError, match="no whole numbers, as fields are weighted"):
        export_ciff(tmp_path / "i", tmp_path / "x.ciff")
    export_ciff(tmp_path / "i", tmp_path / "x.ciff", values="weights")


def test_empty_indexes(tmp_path: Path) -> None:
    with Retriever.create(tmp_path / "none"):
        pass
    export_ciff(tmp_path / "none", tmp_path / "x.ciff")
    assert import_ciff(tmp_path / "x.ciff", tmp_path / "again").n_documents == 0
    with InvertedIndex.create(tmp_path / "vectors", dim=2) as index:
        index.add(["a", "b"], np.array([[0, 0], [0, 1.5]]))  # type: ignore[arg-type]
    export_ciff(tmp_path / "vectors", tmp_path / "y.ciff", scale=2)
    import_ciff(tmp_path / "y.ciff", tmp_path / "terms")
    with Retriever.open(tmp_path / "terms") as retriever:
        assert [(r.id, r.score) for r in retriever.search("1")] == [("b", 1.5)]
        assert len(retriever) == 2


def test_descriptions() -> None:
    made = CiffRecord("weights", 10.0, "splade", {"folder": "é"})
    assert parse_description(describe(made)) == made
    for foreign in ("", "Anserini", describe(made)[:-1], describe(made).replace("weights", "x")):
        assert parse_description(foreign) is None
