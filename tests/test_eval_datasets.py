from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from sparseret.errors import DatasetError, DocumentError
from sparseret.eval.datasets import load_dataset, read_qrels

HEADER = "query-id\tcorpus-id\tscore\n"


def write_dataset(folder: Path, qrels: str = HEADER + "q1\td1\t1\nq2\td2\t2\n") -> Path:
    (folder / "qrels").mkdir(parents=True)
    lines = [{"_id": f"d{n}", "title": "", "text": f"text {n}"} for n in range(3)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    queries = [{"_id": f"q{n}", "text": f"query {n}"} for n in (3, 2, 1)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(line) + "\n" for line in queries))
    (folder / "qrels" / "test.tsv").write_text(qrels)
    return folder


def test_folder(tmp_path: Path) -> None:
    dataset = load_dataset(write_dataset(tmp_path / "mine"))
    assert (dataset.name, dataset.split) == ("mine", "test")
    assert dataset.corpus == tmp_path / "mine" / "corpus.jsonl"
    # Only the queries that the split judges, in the order of their file.
    assert [(query.id, query.text) for query in dataset.queries] == [
        ("q2", "query 2"),
        ("q1", "query 1"),
    ]
    assert dataset.qrels == {"q2": {"d2": 2}, "q1": {"d1": 1}}
    assert dataset.unknown_queries == ()


def test_compressed_files(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path)
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        plain = folder / name
        Path(f"{plain}.gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    dataset = load_dataset(folder)
    assert dataset.corpus.name == "corpus.jsonl.gz"
    assert len(dataset.queries) == 2


def test_bundled_cranfield() -> None:
    dataset = load_dataset("cranfield")
    assert dataset.name == "cranfield"
    assert len(dataset.queries) == 225
    assert sum(map(len, dataset.qrels.values())) == 1837
    assert {grade for judged in dataset.qrels.values() for grade in judged.values()} == {1, 2, 3, 4}
    with gzip.open(dataset.corpus, "rt", encoding="utf-8") as file:
        ids = {json.loads(line)["_id"] for line in file}
    assert len(ids) == 1400
    assert all(document in ids for judged in dataset.qrels.values() for document in judged)


def test_a_folder_that_is_no_dataset_does_not_hide_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cranfield").mkdir()  # such as an index of that name
    assert len(load_dataset("cranfield").queries) == 225
    (tmp_path / "cranfield").rmdir()
    write_dataset(tmp_path / "cranfield")
    assert len(load_dataset("cranfield").queries) == 2


def test_queries_without_text_are_left_out_and_counted(tmp_path: Path) -> None:
    qrels = HEADER + "q1\td1\t1\nlost\td1\t1\ngone\td2\t1\n"
    dataset = load_dataset(write_dataset(tmp_path, qrels))
    assert list(dataset.qrels) == ["q1"]
    assert dataset.unknown_queries == ("lost", "gone")


def test_no_known_query(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="none of the 1 queries"):
        load_dataset(write_dataset(tmp_path, HEADER + "other\td1\t1\n"))


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(DatasetError, match=r"no-such-thing: no such folder.*cranfield.*scifact"):
        load_dataset("no-such-thing")


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl"])
def test_missing_file(tmp_path: Path, name: str) -> None:
    folder = write_dataset(tmp_path)
    (folder / name).unlink()
    with pytest.raises(DatasetError, match=f"{name} is missing"):
        load_dataset(folder)


def test_missing_split_lists_the_others(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path)
    (folder / "qrels" / "dev.tsv.gz").write_bytes(gzip.compress(b"q1\td1\t1\n"))
    assert load_dataset(folder, "dev").split == "dev"
    with pytest.raises(DatasetError, match="no split 'train'; there are: dev, test"):
        load_dataset(folder, "train")


def test_missing_qrels(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path)
    (folder / "qrels" / "test.tsv").unlink()
    with pytest.raises(DatasetError, match=r"no qrels/SPLIT\.tsv"):
        load_dataset(folder)


def test_collection_of_datasets(tmp_path: Path) -> None:
    write_dataset(tmp_path / "android")
    write_dataset(tmp_path / "english")
    with pytest.raises(DatasetError, match=r"collection.*android, english"):
        load_dataset(tmp_path)


def test_a_file_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text("")
    with pytest.raises(DatasetError, match="not a folder"):
        load_dataset(tmp_path / "corpus.jsonl")


@pytest.mark.parametrize(
    "text",
    [
        HEADER + "q1\td1\t1\nq1\td2\t0\n",
        "q1\td1\t1\nq1\td2\t0\n",  # no header
        "\ufeff" + HEADER + "\r\nq1\td1\t1\r\nq1\td2\t0\r\n",
        "q1 0 d1 1\nq1 0 d2 0\n",
        "q1\t0\td1\t1\nq1\t0\td2\t0\n",
    ],
)
def test_formats_of_qrels(tmp_path: Path, text: str) -> None:
    path = tmp_path / "qrels.tsv"
    path.write_text(text, encoding="utf-8", newline="")
    assert read_qrels(path) == {"q1": {"d1": 1, "d2": 0}}


def test_ids_with_spaces_and_negative_grades(tmp_path: Path) -> None:
    path = tmp_path / "qrels.tsv"
    path.write_text("a query\ta document\t-2\n")
    assert read_qrels(path) == {"a query": {"a document": -2}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HEADER + "q1\td1\n", r":2: expected 3 columns, got 2"),
        (HEADER + "q1\td1\t1\n\nq1\td2\tgood\n", r":4: score 'good' is not an integer"),
        ("q1 0 d1 x\n", r":1: score 'x' is not an integer"),
        ("q1 0 d1 1\nq1\td2\t1\n", r":2: expected 4 columns, got 3"),
        ("one two\n", r":1: expected 3 tab-separated columns"),
        ("q1\td1\t1\nq1\td1\t2\n", r":2: document 'd1' of query 'q1' has a score of 2 here and"),
        ("", r"no judgements"),
        (HEADER, r"no judgements"),
    ],
)
def test_malformed_qrels(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "qrels.tsv"
    path.write_text(text)
    with pytest.raises(DatasetError, match=rf"qrels\.tsv.*{reason}"):
        read_qrels(path)


def test_unreadable_qrels(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file"):
        read_qrels(tmp_path / "absent.tsv")
    (tmp_path / "latin.tsv").write_bytes(b"q1\td1\t1\nq1\td\xe9\t1\n")
    with pytest.raises(DatasetError, match=r"latin\.tsv:2: not UTF-8"):
        read_qrels(tmp_path / "latin.tsv")
    packed = gzip.compress(b"q1\td1\t1\n" * 1000)
    (tmp_path / "cut.tsv.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DocumentError, match="damaged"):
        read_qrels(tmp_path / "cut.tsv.gz")
    (tmp_path / "plain.tsv.gz").write_bytes(b"q1\td1\t1\n")
    with pytest.raises(DocumentError, match="damaged"):
        read_qrels(tmp_path / "plain.tsv.gz")
