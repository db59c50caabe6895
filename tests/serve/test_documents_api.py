"""Documents over HTTP: a request is one commit, all of it or nothing."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sparseret import Retriever
from sparseret.indexers.verify import verify_index

NDJSON = {"content-type": "application/x-ndjson"}


def lines(*documents: Mapping[str, Any]) -> bytes:
    """Documents as a request brings them."""
    return b"\n".join(json.dumps(document).encode() for document in documents)


def post(client: TestClient, body: bytes, index: str = "words", mode: str = "add") -> Any:
    return client.post(f"/indexes/{index}/documents?mode={mode}", content=body, headers=NDJSON)


def test_documents_are_added_found_read_and_deleted(client: TestClient, folder: Path) -> None:
    new = {"id": "a/b c", "text": "noise of a jet", "year": 1999, "tags": ["x", {"y": None}]}
    assert post(client, lines(new)).json() == {"accepted": 1, "documents": 4}
    # It is on the disk when it is answered.
    with Retriever.open(folder / "words.idx") as other:
        assert [r.id for r in other.search("jet")] == ["a/b c"]
    read = client.get("/indexes/words/documents/a/b c").json()
    assert read == {
        "id": "a/b c", "title": "", "text": "noise of a jet",
        "metadata": {"year": 1999, "tags": ["x", {"y": None}]},
    }  # fmt: skip
    found = client.post("/indexes/words/search", json={"query": "jet", "filter": "year > 1990"})
    assert [r["id"] for r in found.json()["results"]] == ["a/b c"]
    deleted = client.delete("/indexes/words/documents/a/b c")
    assert deleted.json() == {"deleted": 1, "documents": 3}
    assert client.get("/indexes/words/documents/a/b c").status_code == 404
    assert client.delete("/indexes/words/documents/a/b c").status_code == 404
    many = client.post("/indexes/words/documents/delete", json={"ids": ["n1", "n2", "who"]})
    assert many.json() == {"deleted": 2, "documents": 1}


def test_upserts_replace(client: TestClient) -> None:
    old = {"id": "n1", "text": "noise"}
    refused = post(client, lines(old))
    assert refused.status_code == 409
    assert "'n1' is in the index already" in refused.json()["error"]
    assert post(client, lines(old, old), mode="upsert").json() == {"accepted": 2, "documents": 3}
    assert client.get("/indexes/words/documents/n1").json()["text"] == "noise"
    assert post(client, lines(old), mode="replace").status_code == 422


@pytest.mark.parametrize("index", ["words", "mixed"])
@pytest.mark.parametrize(
    ("bad", "status", "told"),
    [
        (b"not json", 422, "line:2"),
        (b'{"text": "no id"}', 422, "no id"),
        (b'{"id": "n1", "text": "again"}', 409, "already"),
        (b'{"id": "x", "text": 3}', 422, "expected a string"),
        (b'{"id": "x\\u0000", "text": "a"}', 422, "control character"),
        (b'{"id": "x", "text": "a", "n": NaN}', 422, "NaN"),
        (b'{"id": "x", "text": "\\ud800"}', 422, "surrogate"),
        (b"\xff", 422, "UTF-8"),
        (b'{"id": "x", "text": "a", "m": ' + b"[" * 5000 + b"]" * 5000 + b"}", 422, "nested"),
    ],
)
def test_a_bad_line_leaves_everything_as_it_was(
    client: TestClient, folder: Path, index: str, bad: bytes, status: int, told: str
) -> None:
    good = lines({"id": "new", "text": "noise of a jet"})
    answer = post(client, good + b"\n" + bad, index)
    assert answer.status_code == status, answer.text
    assert told in answer.json()["error"]
    assert client.get(f"/indexes/{index}").json()["documents"] == 3
    assert client.get(f"/indexes/{index}/documents/new").status_code == 404
    # The next request is none the worse for it, and commits nothing of this one.
    assert post(client, lines({"id": "next", "text": "drag"}), index).json()["documents"] == 4
    assert client.get(f"/indexes/{index}/documents/new").status_code == 404


def test_many_documents_in_batches_are_one_commit(client: TestClient) -> None:
    # More than the library encodes at once; the last line is bad.
    body = lines(*({"id": f"m{i}", "text": "wing"} for i in range(2500)), {"id": "n1", "text": ""})
    assert post(client, body).status_code == 409
    assert client.get("/indexes/words").json()["documents"] == 3
    assert post(client, body.rpartition(b"\n")[0]).json()["documents"] == 2503


def test_empty_requests(client: TestClient) -> None:
    assert post(client, b"").json() == {"accepted": 0, "documents": 3}
    assert post(client, b"\n \n").json() == {"accepted": 0, "documents": 3}
    assert client.post("/indexes/words/documents/delete", json={"ids": []}).status_code == 422


def test_indexes_are_made_listed_and_merged(client: TestClient, folder: Path) -> None:
    listed = client.get("/indexes").json()
    assert [index["name"] for index in listed["indexes"]] == ["mixed", "words"]
    assert listed["encoders"] == ["bm25", "letters"]
    made = client.post("/indexes", json={"name": "news", "filter_fields": ["year"]})
    assert (made.status_code, made.json()) == (201, {"name": "news"})
    for i in range(3):
        assert post(client, lines({"id": f"d{i}", "text": "wing"}), "news").status_code == 200
    client.delete("/indexes/news/documents/d1")
    merged = client.post("/indexes/news/merge").json()
    assert merged["documents"] == 2
    stats = client.get("/indexes/news").json()
    assert (stats["documents"], stats["tombstones"]) == (2, 0)
    assert [leg["segments"] for leg in stats["legs"]] == [1]
    both = client.post("/indexes", json={"name": "both", "legs": {"w": "bm25", "l": "letters"}})
    assert both.status_code == 201
    assert post(client, lines({"id": "x", "text": "wing"}), "both").status_code == 200
    verify_index(folder / "both")


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ({"name": "words"}, 409),
        ({"name": "words.idx"}, 422),
        ({"name": "../up"}, 422),
        ({"name": "/tmp/up"}, 422),
        ({"name": "A"}, 422),
        ({"name": ""}, 422),
        ({"name": "a" * 64}, 422),
        ({"name": "x", "encoder": "dense:/etc"}, 422),
        ({"name": "x", "encoder": "precomputed"}, 422),
        ({"name": "x", "encoder": "bm25", "legs": {"a": "bm25"}}, 422),
        ({"name": "x", "legs": {"a": "bm25", "b": "bm25"}}, 422),
    ],
)
def test_indexes_that_cannot_be_made(
    client: TestClient, folder: Path, wanted: Any, status: int
) -> None:
    before = sorted(folder.iterdir())
    answer = client.post("/indexes", json=wanted)
    assert answer.status_code == status, answer.text
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("index", ["words", "mixed"])
def test_a_snapshot_is_an_index(client: TestClient, tmp_path: Path, index: str) -> None:
    post(client, lines({"id": "new", "text": "jet"}), index)
    client.delete(f"/indexes/{index}/documents/n3")
    answer = client.get(f"/indexes/{index}/snapshot")
    assert answer.headers["content-length"] == str(len(answer.content))
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    copy = tmp_path / "out" / index
    verify_index(copy)
    before = client.post(f"/indexes/{index}/search", json={"query": "wing jet"}).json()["results"]
    if index == "words":
        with Retriever.open(copy) as retriever:
            found = retriever.search("wing jet")
        assert [(r.id, r.score) for r in found] == [(r["id"], r["score"]) for r in before]


def test_what_others_commit_is_seen(start: Callable[..., TestClient], folder: Path) -> None:
    client = start(refresh=0.02)
    with Retriever.open(folder / "words.idx") as other:
        other.delete(["n1"])
    for _ in range(200):
        if client.get("/indexes/words").json()["documents"] == 2:
            break
        time.sleep(0.02)
    assert client.get("/indexes/words").json()["documents"] == 2


def test_another_writer_is_a_conflict(client: TestClient, folder: Path) -> None:
    with Retriever.open(folder / "words.idx") as other:
        other.delete(["n1"])
        refused = post(client, lines({"id": "x", "text": "wing"}))
        assert refused.status_code == 409, refused.text
    assert post(client, lines({"id": "x", "text": "wing"})).status_code == 200
