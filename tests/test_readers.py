import gzip
import io
import json
import sys
from pathlib import Path
from random import Random

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from sparseret.documents import Document, Query
from sparseret.errors import ConfigurationError, DocumentError, DuplicateIdError, StorageError
from sparseret.readers import BadLine, corpus_size, read_documents, read_queries

CORPUS = b"""{"_id": "d1", "title": "Owls", "text": "Owls see.", "metadata": {"year": 1999}}

{"id": 2, "contents": "Kurz & b\xc3\xbcndig", "lang": "de", "tags": ["a", 1, null]}
{"_id": "d3", "text": null, "title": null}
"""
DOCUMENTS = [
    Document("d1", "Owls see.", "Owls", {"year": 1999}),
    Document("2", "Kurz & bündig", "", {"lang": "de", "tags": ["a", 1, None]}),
    Document("d3"),
]


def write(path: Path, content: bytes) -> Path:
    if path.suffix == ".gz":
        content = gzip.compress(content)
    elif path.suffix == ".zst":
        content = zstandard.compress(content)
    path.write_bytes(content)
    return path


def documents(source, **options):
    return [record.document for record in read_documents(source, **options)]


def reasons(path: Path) -> list[BadLine]:
    bad: list[BadLine] = []
    list(read_documents(path, on_error="skip", on_skip=bad.append))
    return bad


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_jsonl_in_every_compression(tmp_path, suffix):
    path = write(tmp_path / f"c.jsonl{suffix}", CORPUS)
    records = list(read_documents(path))
    assert [record.document for record in records] == DOCUMENTS
    assert [record.line for record in records] == [1, 3, 4]
    assert records[-1].offset == corpus_size(path) == path.stat().st_size


def test_offset_is_the_end_of_the_line_in_a_plain_file(tmp_path):
    path = write(tmp_path / "c.jsonl", CORPUS)
    starts = [CORPUS.index(b'{"id": 2') - 1, CORPUS.index(b'{"_id": "d3"'), len(CORPUS)]
    assert [record.offset for record in read_documents(path)] == starts


def test_offset_of_a_compressed_file_grows_with_reading(tmp_path):
    random = Random(0)
    lines = [
        b'{"_id": %d, "text": "%s"}\n' % (i, random.randbytes(20).hex().encode())
        for i in range(60_000)
    ]
    path = write(tmp_path / "c.jsonl.zst", b"".join(lines))
    offsets = [record.offset for record in read_documents(path)]
    assert offsets[100] < path.stat().st_size / 4
    assert offsets == sorted(offsets)
    assert offsets[-1] == path.stat().st_size


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_folder_stands_for_its_corpus(tmp_path, suffix):
    write(tmp_path / f"corpus.jsonl{suffix}", CORPUS)
    write(tmp_path / f"queries.jsonl{suffix}", b'{"_id": "q", "text": "owls"}')
    assert documents(tmp_path) == DOCUMENTS
    assert read_queries(str(tmp_path)) == [Query("q", "owls")]


def test_standard_input(monkeypatch):
    def feed(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    feed(CORPUS)
    records = list(read_documents("-"))
    assert [record.document for record in records] == DOCUMENTS
    assert records[-1].offset == len(CORPUS)
    assert corpus_size("-") is None
    feed(b"d1\tOwls\n")
    assert documents("-", format="tsv") == [Document("d1", "Owls")]
    feed(b"owls at night\n\nkestrels\n")
    assert read_queries("-") == [Query("1", "owls at night"), Query("3", "kestrels")]
    feed(b"{]")
    with pytest.raises(DocumentError, match=r"<stdin>:1: not JSON"):
        documents("-")


def test_byte_order_mark_and_line_ends(tmp_path):
    path = write(tmp_path / "c.jsonl", b"\xef\xbb\xbf" + CORPUS.replace(b"\n", b"\r\n"))
    assert documents(path) == DOCUMENTS
    path = write(tmp_path / "c.tsv", b"\xef\xbb\xbfd1\tOwls\r\nd2\t\r\n")
    assert documents(path) == [Document("d1", "Owls"), Document("d2")]


def test_multi_frame_zstd_and_multi_member_gzip(tmp_path):
    half = len(CORPUS) // 2
    skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    for name, pack in (("c.jsonl.gz", gzip.compress), ("c.jsonl.zst", zstandard.compress)):
        packed = pack(CORPUS[:half]) + pack(CORPUS[half:])
        path = tmp_path / name
        path.write_bytes(skippable + packed if name.endswith("zst") else packed)
        assert documents(path) == DOCUMENTS


def test_tsv_layouts(tmp_path):
    path = write(tmp_path / "two.tsv", b'd1\tOwls "see"\n\nd2\t\n')
    assert documents(path) == [Document("d1", 'Owls "see"'), Document("d2")]
    path = write(tmp_path / "three.tsv", b"d1\tOwls\tsee\n")
    assert documents(path) == [Document("d1", "see", "Owls")]
    path = write(tmp_path / "header.tsv.gz", b"text\t_id\tyear\nOwls\td1\t1999\n")
    assert documents(path) == [Document("d1", "Owls", "", {"year": "1999"})]
    assert [r.line for r in read_documents(path)] == [2]


def test_tsv_wrong_columns(tmp_path):
    path = write(tmp_path / "c.tsv", b"a\tb\tc\td\nd1\tx\nd2\nd3\ty\tz\nd4\tw\n")
    bad = reasons(path)
    assert [b.line for b in bad] == [1, 3, 4]
    assert "4 column(s), expected _id<TAB>text or _id<TAB>title<TAB>text" in bad[0].reason
    assert "1 column(s), expected 2: _id<TAB>text" in bad[1].reason
    assert documents(path, on_error="skip") == [Document("d1", "x"), Document("d4", "w")]


@pytest.mark.parametrize("header", [b"_id\ttext\ttext\n", b"_id\ttext\t\n"])
def test_tsv_header_must_be_sound_even_when_skipping(tmp_path, header):
    path = write(tmp_path / "c.tsv", header + b"d1\tx\ty\n")
    with pytest.raises(DocumentError, match=r"c\.tsv:1: the header"):
        documents(path, on_error="skip")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"_id": "x", "text": "\xff"}', "not UTF-8: byte 0xff at position 23"),
        (b'{"_id": "x", "text": "cut', "not JSON: Unterminated string"),
        (b'["x"]', "expected a JSON object"),
        (b"null", "expected a JSON object"),
        (b'{"text": "x"}', "no id"),
        (b'{"_id": null, "text": "x"}', "no id"),
        (b'{"_id": "", "text": "x"}', "no id"),
        (b'{"_id": "  ", "text": "x"}', "white space"),
        (b'{"_id": true, "text": "x"}', "_id is bool"),
        (b'{"id": 1.5, "text": "x"}', "id is float"),
        (b'{"_id": ["x"], "text": "x"}', "_id is list"),
        (rb'{"_id": "a\tb", "text": "x"}', "U+0009"),
        (rb'{"_id": "a\u2028b", "text": "x"}', "U+2028"),
        (rb'{"_id": "a\u0085b", "text": "x"}', "U+0085"),
        (b'{"_id": "x", "body": "y"}', "no field text"),
        (b'{"_id": "x", "text": 5}', "text is int"),
        (b'{"_id": "x", "text": "", "title": ["y"]}', "title is list"),
        (b'{"_id": "x", "text": "", "a": NaN}', "NaN"),
        (b'{"_id": "x", "text": "", "a": [-Infinity]}', "-Infinity"),
        (b'{"_id": "x", "text": "", "a": {"b": 1e999}}', "too large for a double"),
        (b'{"_id": "x", "text": "", "a": 9223372036854775808}', "does not fit 64 bits"),
        (b'{"_id": "x", "text": "", "a": [{"b": -9223372036854775809}]}', "does not fit 64 bits"),
        (b'{"_id": "x", "text": "", "metadata": {"a": 9223372036854775808}}', "64 bits"),
        (b'{"_id": "x", "text": "", "a": ' + b"1" * 5000 + b"}", "not usable as JSON"),
        (b'{"_id": "x", "text": "", "a": ' + b"[" * 101 + b"]" * 101 + b"}", "nested"),
        (b'{"_id": "x", "text": "", "a": ' + b"[" * 10**5 + b"]" * 10**5 + b"}", "nested"),
        (rb'{"_id": "x", "text": "\ud800"}', r"\ud800 is half a surrogate pair"),
        (rb'{"_id": "\uDFFF", "text": ""}', "surrogate"),
        (rb'{"_id": "x", "text": "", "title": "\ud83d \ude00"}', "surrogate"),
        (rb'{"_id": "x", "text": "", "m": {"\udc00": 1}}', "surrogate"),
        (rb'{"_id": "x", "text": "", "m": [["\udc00"]]}', "surrogate"),
    ],
)
def test_bad_lines(tmp_path, line, reason):
    path = write(tmp_path / "c.jsonl", b'{"_id": "a", "text": ""}\n' + line + b"\n" + CORPUS)
    (bad,) = reasons(path)
    assert (bad.path, bad.line) == (str(path), 2)
    assert reason in bad.reason
    assert documents(path, on_error="skip") == [Document("a"), *DOCUMENTS]
    stopping = read_documents(path)
    assert next(stopping).document.id == "a"
    with pytest.raises(DocumentError) as caught:
        next(stopping)
    assert str(caught.value).startswith(f"{path}:2: {bad.reason}")
    assert "--on-error skip" in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        rb'{"_id": "x", "text": "\ud83d\ude00 \\ud800"}',
        b'{"_id": "x y/\xe2\x82\xac", "text": ""}',
        b'{"_id": "x", "text": "", "a": [9223372036854775807, -9223372036854775808, 1e308]}',
        b'{"_id": "x", "text": "", "a": ' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"_id": 123456789012345678901234567890, "title": "t"}',
        b'{"_id": "x", "text": "\\u0000"}',
    ],
)
def test_lines_at_the_limits_are_good(tmp_path, line):
    path = write(tmp_path / "c.jsonl", line)
    assert len(documents(path)) == 1


def test_fields_of_the_line_win_over_nested_metadata(tmp_path):
    line = (
        b'{"_id": "x", "id": 7, "text": "t", "contents": "c", "y": 1, "metadata": {"y": 2, "z": 3}}'
    )
    (document,) = documents(write(tmp_path / "c.jsonl", line))
    assert document == Document("x", "t", "", {"id": 7, "contents": "c", "y": 1, "z": 3})
    line = b'{"_id": "x", "text": "t", "metadata": "none"}'
    (document,) = documents(write(tmp_path / "c.jsonl", line))
    assert document.metadata == {"metadata": "none"}


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_every_record_is_a_place_to_continue_from(tmp_path, suffix):
    path = write(tmp_path / f"c{suffix}", b"{bad\n" + CORPUS)
    records = list(read_documents(path, on_error="skip"))
    for i, record in enumerate(records):
        assert list(read_documents(path, skip_lines=record.line)) == records[i + 1 :]
    assert list(read_documents(path, skip_lines=100)) == []


def test_continuing_a_tsv_keeps_its_layout(tmp_path):
    for content in (b"text\tid\nOwls\td1\nKites\td2\n", b"x\nd1\tOwls\nd2\tKites\n"):
        path = write(tmp_path / "c.tsv", content)
        assert documents(path, skip_lines=2) == [Document("d2", "Kites")]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_compressed_data_cut_short_always_stops(tmp_path, suffix, on_error):
    path = tmp_path / f"c.jsonl{suffix}"
    write(path, b"".join(b'{"_id": "%d", "text": "x"}\n' % i for i in range(20_000)))
    path.write_bytes(path.read_bytes()[:-4])
    lines = []
    with pytest.raises(DocumentError, match=r"damaged or cut short") as caught:
        lines.extend(record.line for record in read_documents(path, on_error=on_error))
    assert lines == list(range(1, len(lines) + 1))
    assert f"{path}:{len(lines) + 1}: " in str(caught.value)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_damaged_compressed_data(tmp_path, suffix):
    path = tmp_path / f"c.jsonl{suffix}"
    path.write_bytes(b"this is plain text")
    with pytest.raises(DocumentError, match=r":1: the compressed data is damaged"):
        documents(path)
    write(path, CORPUS)
    path.write_bytes(path.read_bytes() + b"trailing garbage")
    with pytest.raises(DocumentError, match="damaged"):
        documents(path)


def test_unusable_sources(tmp_path):
    with pytest.raises(DocumentError, match=r"absent\.jsonl: no such file"):
        read_documents(tmp_path / "absent.jsonl")
    with pytest.raises(DocumentError, match=r"no corpus\.jsonl"):
        read_documents(tmp_path)
    with pytest.raises(DocumentError, match=r"\.csv.*\.jsonl, .*\.tsv"):
        read_documents(write(tmp_path / "c.csv", CORPUS))
    with pytest.raises(DocumentError, match="no such file"):
        corpus_size(tmp_path / "absent")
    assert documents(tmp_path / "c.csv", format="jsonl") == DOCUMENTS
    with pytest.raises(ConfigurationError, match="format"):
        read_documents(tmp_path / "c.csv", format="csv")
    with pytest.raises(ConfigurationError, match="on_error"):
        read_documents(tmp_path / "c.csv", on_error="ignore")
    with pytest.raises(ConfigurationError, match="skip_lines"):
        read_documents(tmp_path / "c.csv", skip_lines=-1)


def test_refusal_of_the_file_system_is_a_storage_error(tmp_path):
    path = write(tmp_path / "c.jsonl", CORPUS)
    reading = read_documents(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError, match=r"c\.jsonl"):
        next(reading)
    with pytest.raises(StorageError):
        corpus_size("x" * 5000)


def test_empty_files_have_no_documents(tmp_path):
    for name in ("c.jsonl", "c.tsv", "c.jsonl.gz", "c.jsonl.zst"):
        assert documents(write(tmp_path / name, b"")) == []
        assert documents(write(tmp_path / name, b"\n  \n\n")) == []


def test_enormous_line(tmp_path):
    text = "word " * 2_000_000 + "é"
    path = write(tmp_path / "c.jsonl.zst", json.dumps({"_id": "x", "text": text}).encode() + b"\n")
    assert documents(path) == [Document("x", text)]


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
)
values = st.recursive(scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(text, v))
keys = text.filter(lambda key: key not in ("_id", "id", "text", "title", "contents", "metadata"))


@given(
    doc_id=st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1),
    text=text,
    title=text,
    metadata=st.dictionaries(keys, values, max_size=4),
    ascii_only=st.booleans(),
)
def test_what_json_writes_comes_back(tmp_path_factory, doc_id, text, title, metadata, ascii_only):
    line = {"_id": doc_id, "text": text, "title": title, **metadata}
    path = tmp_path_factory.mktemp("json") / "c.jsonl"
    path.write_bytes(json.dumps(line, ensure_ascii=ascii_only).encode())
    assert documents(path) == [Document(doc_id, text, title, metadata)]


@given(lines=st.lists(st.binary(max_size=40), max_size=5), suffix=st.sampled_from(["tsv", "jsonl"]))
def test_any_bytes_give_documents_or_reasons(tmp_path_factory, lines, suffix):
    path = tmp_path_factory.mktemp("bytes") / f"c.{suffix}"
    path.write_bytes(b"\n".join(lines))
    bad: list[BadLine] = []
    good = list(read_documents(path, on_error="skip", on_skip=bad.append))
    numbers = [record.line for record in good] + [line.line for line in bad]
    assert len(set(numbers)) == len(numbers)
    for record in good:
        record.document.content.encode()
        assert record.document.id


def test_queries(tmp_path):
    expected = [Query("q1", "owls at night"), Query("2", "été")]
    json_lines = (
        '{"_id": "q1", "text": "owls at night", "metadata": {}}\n{"id": 2, "text": "été"}\n'
    )
    for name, content in (
        ("q.jsonl", json_lines),
        ("q.jsonl.gz", json_lines),
        ("q.tsv", "q1\towls at night\n2\tété\n"),
        ("q.tsv.zst", "_id\ttext\nq1\towls at night\n2\tété\n"),
    ):
        assert read_queries(write(tmp_path / name, content.encode())) == expected
    path = write(tmp_path / "q.txt.zst", "\ufeff owls\tat night \r\n\n  \nété".encode())
    assert read_queries(path) == [Query("1", "owls\tat night"), Query("4", "été")]


def test_bad_queries(tmp_path):
    path = write(tmp_path / "q.tsv", b"q1\tx\n\nq1\ty\n")
    with pytest.raises(DuplicateIdError, match=r"q\.tsv:3: query id 'q1' is taken by line 1"):
        read_queries(path)
    with pytest.raises(DocumentError, match=r"q\.jsonl:1: no id"):
        read_queries(write(tmp_path / "q.jsonl", b'{"text": "x"}'))
    with pytest.raises(DocumentError, match=r"q2\.tsv:1: 3 column"):
        read_queries(write(tmp_path / "q2.tsv", b"q1\tx\ty\n"))
    with pytest.raises(DocumentError, match=r"q\.txt:2: not UTF-8"):
        read_queries(write(tmp_path / "q.txt", b"fine\n\xff\n"))
    with pytest.raises(DocumentError, match="no such file"):
        read_queries(tmp_path / "absent.txt")
