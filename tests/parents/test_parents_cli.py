"""Indexes of chunks from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparseret.parents import ParentRetriever

LINES = [
    {
        "_id": "a#1",
        "title": "Wings",
        "text": "The lift of a wing grows with its angle. Beyond some angle the wing stalls.",
        "year": 1958,
    },
    {"_id": "b", "text": "Panels flutter in supersonic flow. A wing flutters too.", "year": 1961},
]


@pytest.fixture
def index(tmp_path: Path, run: Callable[..., Any]) -> Path:
    corpus, index = tmp_path / "d.jsonl", tmp_path / "d.idx"
    corpus.write_text("".join(json.dumps(line) + "\n" for line in LINES), "utf-8")
    made = run("index", corpus, "-o", index, "--chunk-words", 8, "--chunk-by", "sentences")
    assert made.status == 0, made.err
    assert "2 documents, " in made.out
    assert "chunks of 8 words, 1 of them shared, by sentences" in made.out
    return index


def found(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_search_prints_parents_with_passages(index: Path, run: Callable[..., Any]) -> None:
    first, second = found(run("search", index, "wing stalls", "--explain", "--passages", 2).out)
    assert (first["id"], second["id"]) == ("a#1", "b")
    assert first["text"] == LINES[0]["text"]
    assert first["metadata"] == {"year": 1958}
    best, other = first["passages"]
    assert first["text"][best["start"] : best["end"]] == best["text"]
    assert best.keys() == {"id", "start", "end", "score", "text"}
    assert best["score"] == first["score"] > other["score"]
    assert {term["term"] for term in first["terms"]} == {"wing", "stall"}
    assert [r["id"] for r in found(run("search", index, "wing", "-f", '_id = "b"').out)] == ["b"]
    assert [r["id"] for r in found(run("search", index, "--like", "b").out)] == ["a#1"]
    table = run("search", index, "wing stalls", terminal=True).out
    assert f"characters {best['start']}-{best['end']}" in table
    assert "Wings" in table


def test_runs_and_evaluation_are_of_parents(
    index: Path, tmp_path: Path, run: Callable[..., Any]
) -> None:
    queries = tmp_path / "queries.tsv"
    queries.write_text("q1\twing stalls\n", "utf-8")
    lines = run("search", index, "--queries", queries).out.splitlines()
    assert [line.split()[2] for line in lines] == ["a#1", "b"]
    data = tmp_path / "set"
    (data / "qrels").mkdir(parents=True)
    (data / "corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES), "utf-8")
    (data / "queries.jsonl").write_text('{"_id": "q1", "text": "wing stalls"}\n', "utf-8")
    (data / "qrels" / "test.tsv").write_text("q\tc\ts\nq1\ta#1\t1\n", "utf-8")
    for more in ([], ["--leg", ""], ["--mmr", "0.5"]):
        report = run("eval", data, "--index", index, "-m", "nDCG@10", *more)
        assert report.status == 0, report.err
        assert "1.0000" in report.out


def test_changes_reach_whole_documents(
    index: Path, tmp_path: Path, run: Callable[..., Any]
) -> None:
    assert run("delete", index, "b", "c").out == "1 document deleted, 1 unknown id\n"
    again = run("index", tmp_path / "d.jsonl", "-o", index, "--update")
    assert "2 documents indexed, 1 of them replaced" in again.out
    assert "chunks of 8 words" in run("info", index).out
    with ParentRetriever.open(index) as parents:
        assert [d.id for d in parents.documents()] == ["a#1", "b"]


def test_mistakes_are_told(index: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    corpus = tmp_path / "d.jsonl"
    assert "exists" not in run("index", corpus, "-o", index).err
    other = run("index", corpus, "-o", index, "--chunk-words", 9)
    assert other.status == 1
    assert "was made with chunks of 8 words" in other.err
    assert "--chunk-words" in run("index", corpus, "-o", index, "--chunk-overlap", 3).err
    plain = tmp_path / "plain.idx"
    assert run("index", corpus, "-o", plain).status == 0
    whole = run("index", corpus, "-o", plain, "--chunk-words", 9)
    assert "holds whole documents" in whole.err
    assert "index of chunks" in run("search", plain, "wing", "--passages", 2).err
    wrong = run("index", corpus, "-o", tmp_path / "x", "--chunk-words", 5, "--chunk-overlap", 5)
    assert "overlap must be" in wrong.err
