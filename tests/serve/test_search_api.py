"""Searching over HTTP gives what the library gives, explanations, snippets and errors included."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sparseret import Retriever


def search(client: TestClient, index: str = "words", **wanted: Any) -> Any:
    answer = client.post(f"/indexes/{index}/search", json=wanted)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_results_are_those_of_the_library(client: TestClient, folder: Path) -> None:
    with Retriever.open(folder / "words.idx") as retriever:
        for query, filter in (("wings in flows", None), ("flow", "year >= 1960"), ("", None)):
            found = search(client, query=query, filter=filter)
            expected = retriever.search(query, filter=filter)
            assert [(r["id"], r["score"]) for r in found["results"]] == [
                (r.id, r.score) for r in expected
            ]
            for told, result in zip(found["results"], expected, strict=True):
                assert (told["title"], told["text"]) == (result.title, result.text)
                assert told["metadata"] == result.metadata
            assert found["mode"] == {"exact": True, "recall": 1.0, "missing": []}


def test_explanations_and_snippets(client: TestClient, folder: Path) -> None:
    found = search(client, query="wings in a flow", explain=True, snippet=30, text=False)
    with Retriever.open(folder / "words.idx") as retriever:
        for told in found["results"]:
            expected = retriever.explain("wings in a flow", told["id"])
            assert told["explanation"] == {
                "score": expected.score,
                "terms": [term._asdict() for term in expected.terms],
                "missing": expected.missing,
                "legs": [],
            }
            assert told["score"] == expected.score
            assert "text" not in told
    marked = found["results"][0]["snippet"]
    words = {marked["text"][a:b].lower() for a, b in marked["marks"]}
    assert words <= {"wing", "wings", "flow"}
    assert words


def test_several_legs(client: TestClient) -> None:
    found = search(client, "mixed", query="wing", explain=True)
    for result in found["results"]:
        assert sum(result["shares"].values()) == pytest.approx(result["score"], abs=1e-6)
        legs = {leg["name"]: leg for leg in result["explanation"]["legs"]}
        assert legs.keys() == {"words", "letters"}
    fused = search(client, "mixed", query="wing", fusion={"kind": "rrf", "weights": [1, 3]})
    assert fused["results"][0]["score"] != found["results"][0]["score"]
    words = search(client, "mixed", query="wing", legs=["words"])
    assert {r["id"] for r in words["results"]} == {"n1", "n2"}


def test_vectors_find_what_their_texts_find(client: TestClient) -> None:
    encoded = client.post("/encode", json={"inputs": "wing in flows", "index": "words"}).json()
    vector = [
        {"index": term["index"], "value": term["value"]} for term in encoded["texts"][0]["terms"]
    ]
    text = search(client, query="wing in flows", explain=True)
    by_vector = search(client, vector=vector, explain=True)
    assert by_vector["results"] == text["results"]
    dense = client.post("/embed", json={"inputs": "wing", "normalize": False}).json()[0]
    both = search(client, "mixed", vectors={"letters": dense})
    assert both["results"] == search(client, "mixed", query="wing", legs=["letters"])["results"]
    one = search(client, "mixed", vector=dense, legs=["letters"])
    assert one["results"] == both["results"]


def test_more_like_these(client: TestClient) -> None:
    found = search(client, like=["n1"])
    assert [r["id"] for r in found["results"]] == ["n2", "n3"] or found["results"][0]["id"] == "n2"
    assert "n1" not in {r["id"] for r in found["results"]}


BAD = [
    ({}, 422, "query must be a string"),
    ({"query": 3}, 422, "query"),
    ({"query": "a", "k": 0}, 422, "greater than or equal to 1"),
    ({"query": "a", "k": 1001}, 413, "limit of 1000"),
    ({"query": "a", "kk": 3}, 422, "kk"),
    ({"query": "a", "filter": "year >="}, 422, "year >="),
    ({"query": "a", "recall": 2}, 422, "recall"),
    ({"query": "a", "exact": True, "recall": 0.9}, 422, "recall"),
    ({"query": "a", "legs": ["none"]}, 422, "no leg"),
    ({"query": "a", "legs": []}, 422, "legs"),
    ({"query": "a", "fusion": {"kind": "magic"}}, 422, "fusion"),
    ({"like": ["nobody"]}, 422, "no document"),
    ({"query": "a", "vector": [1.0]}, 422, "not both"),
    ({"vector": [1.0, 2.0]}, 422, "index and value"),
    ({"vector": [{"index": 0, "value": -1}]}, 422, "negative"),
    ({"vector": [{"index": 10**6, "value": 1}]}, 422, "none of the"),
    ({"vector": [{"index": 1, "value": 1}, {"index": 1, "value": 2}]}, 422, "more than once"),
    ({"vector": [{"index": 2**31, "value": 1}]}, 422, "index"),
    ({"vectors": {"other": [1.0]}}, 422, "no leg"),
    ({"vectors": {}}, 422, "legs"),
]


@pytest.mark.parametrize(("wanted", "status", "told"), BAD, ids=lambda v: str(v)[:40])
def test_requests_that_cannot_be(client: TestClient, wanted: Any, status: int, told: str) -> None:
    answer = client.post("/indexes/words/search", json=wanted)
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"error", "error_type"}
    assert told in answer.json()["error"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"\xff\xfe", b'{"query": NaN}', b'{"query": "\\ud800"}', b"[" * 100_000],
)
def test_bodies_that_are_none(client: TestClient, body: bytes) -> None:
    answer = client.post(
        "/indexes/words/search", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422, answer.text
    assert answer.json()["error_type"] == "Validation"


def test_values_that_are_not_finite(client: TestClient) -> None:
    for number in ("NaN", "Infinity", "1e999"):
        body = f'{{"vector": [{{"index": 1, "value": {number}}}]}}'
        answer = client.post(
            "/indexes/words/search", content=body, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 422, (number, answer.text)


def test_large_queries(start: Callable[..., TestClient]) -> None:
    client = start(max_body=64 * 2**20)
    words = " ".join(f"w{i % 10**4}" for i in range(10**6))
    assert search(client, query=words + " wing", k=1)["results"][0]["id"] in {"n1", "n2"}
    vector = [{"index": i, "value": 1.0} for i in range(10**6)]
    answer = client.post("/indexes/words/search", json={"vector": vector})
    assert answer.status_code == 422
    assert "none of the" in answer.json()["error"]


def test_unicode(client: TestClient) -> None:
    for query in ("日本語 wing", "\u202e\u0000", "é" * 1000, "👩‍👩‍👧 wing", "\ufdfa", "Ａ" * 100):
        found = search(client, query=query, snippet=50, explain=True)
        assert ("wing" in query) == bool(found["results"])


def test_unknown_indexes(client: TestClient) -> None:
    for name in ("nothing", "..", "words.idx", "WORDS", "%2e%2e%2fetc"):
        answer = client.post(f"/indexes/{name}/search", json={"query": "a"})
        assert answer.status_code in (404, 405), (name, answer.text)


def test_encode_names_terms(client: TestClient) -> None:
    answer = client.post("/encode", json={"inputs": ["wings in flows", ""], "top": 1})
    texts = answer.json()["texts"]
    assert [[term["term"] for term in text["terms"]] for text in texts] == [["wing"], []]
    assert [text["nnz"] for text in texts] == [2, 0]
    document = client.post("/encode", json={"inputs": "wings", "kind": "document"}).json()
    assert document["texts"][0]["terms"][0]["term"] == "wing"
    many = client.post("/encode", json={"inputs": ["a"] * 33})
    assert many.status_code == 413
    assert client.post("/encode", json={"inputs": "a", "index": "no"}).status_code == 404
    assert (
        client.post("/encode", json={"inputs": "a", "index": "mixed", "leg": "x"}).status_code
        == 404
    )
    dense = client.post("/encode", json={"inputs": "a", "index": "mixed", "leg": "letters"})
    assert dense.status_code == 424
