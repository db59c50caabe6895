"""Who may do what: keys, hosts, origins, limits; and what is kept of keys and requests."""

from __future__ import annotations

import json
import logging
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sparseret import Retriever
from sparseret.errors import ConfigurationError
from sparseret.serve.front import PUBLIC
from sparseret.serve.keys import KeyFile
from sparseret.serve.settings import Settings


@pytest.fixture
def keys(tmp_path: Path) -> tuple[KeyFile, dict[str, dict[str, str]]]:
    file = KeyFile(tmp_path / "keys.json")
    tokens = {
        "reader": file.add("reader", ["read"]),
        "writer": file.add("writer", ["read", "write"]),
    }
    headers = {name: {"Authorization": f"Bearer {token}"} for name, token in tokens.items()}
    return KeyFile(tmp_path / "keys.json"), headers


def routes(client: TestClient) -> list[tuple[str, str]]:
    """Method and path of all routes."""
    paths = client.get("/openapi.json").json()["paths"]
    filled = [
        (method.upper(), path.replace("{index}", "words").replace("{id}", "n1"))
        for path, methods in paths.items()
        for method in methods
    ]
    assert len(filled) > 12
    return filled


def test_all_but_public_routes_need_a_key(start: Callable[..., TestClient], keys: Any) -> None:
    client = start(keys=keys[0], has_keys=True)
    wrong: list[Any] = [
        {},
        {"Authorization": "Bearer sr-wrong"},
        {"Authorization": "Basic " + "a" * 20},
        {"Authorization": "Bearer "},
        {"Authorization": b"Bearer \xff\xfe"},
    ]
    more = [("GET", "/nothing"), ("POST", "/page/x"), ("POST", "/"), ("DELETE", "/health")]
    for method, path in [*routes(client), *more]:
        for headers in wrong:
            answer = client.request(method, path, headers=headers)
            if path in PUBLIC and method == "GET":
                assert answer.status_code == 200
            else:
                assert answer.status_code == 401, (method, path)
                assert answer.headers["www-authenticate"] == "Bearer"
                assert answer.json()["error_type"] == "Unauthorized"


def test_what_changes_needs_a_key_that_may_write(
    start: Callable[..., TestClient], keys: Any
) -> None:
    file, headers = keys
    client = start(keys=file, has_keys=True)
    reading = ("/search", "/encode", "/embed", "/embed_sparse", "/rerank", "/tokenize")
    for method, path in routes(client):
        answer = client.request(method, path, headers=headers["reader"])
        if method == "GET" or path.endswith(reading):
            assert answer.status_code not in (401, 403), (method, path)
        else:
            assert answer.status_code == 403, (method, path, answer.text)
    assert client.get("/indexes/words").status_code == 401
    before = client.get("/indexes/words", headers=headers["reader"]).json()["documents"]
    assert before == 3
    deleted = client.delete("/indexes/words/documents/n1", headers=headers["writer"])
    assert deleted.json() == {"deleted": 1, "documents": 2}


def test_keys_are_hashed_at_rest(tmp_path: Path, keys: Any) -> None:
    file, headers = keys
    path = tmp_path / "keys.json"
    written = path.read_text()
    for header in headers.values():
        token = header["Authorization"].removeprefix("Bearer ")
        assert token not in written
        assert token[3:] not in written
        assert len(token) > 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    file.remove("reader")
    assert [key.name for key in KeyFile(path).keys] == ["writer"]
    assert file.find(headers["reader"]["Authorization"].removeprefix("Bearer ")) is None
    for bad in (lambda: file.add("writer", ["read"]), lambda: file.add("x", ["admin"]),
                lambda: file.add("", ["read"]), lambda: file.add("x", []),
                lambda: file.remove("nobody")):  # fmt: skip
        with pytest.raises(ConfigurationError):
            bad()
    for foreign in ("", "[]", '{"keys": 3}', '{"version": 9, "keys": []}'):
        path.write_text(foreign)
        with pytest.raises(ConfigurationError, match=r"of keys|newer"):
            KeyFile(path)


def test_a_public_address_needs_a_key() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.2", "example.org"):
        with pytest.raises(ConfigurationError, match="--insecure"):
            Settings(host=host)
        Settings(host=host, insecure=True)
        Settings(host=host, has_keys=True)
    for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8"):
        Settings(host=host)


def test_pages_of_others_cannot_reach_a_local_service(client: TestClient) -> None:
    # DNS rebinding: a name of theirs that leads here.
    rebound = client.get("/indexes", headers={"host": "evil.example:8080"})
    assert rebound.status_code == 421
    for host in ("localhost:8080", "127.0.0.1", "[::1]:80"):
        assert client.get("/indexes", headers={"host": host}).status_code == 200
    # A form or script of theirs, which need not see the answer to do harm.
    evil = {"origin": "https://evil.example"}
    assert client.post("/indexes/words/merge", headers=evil).status_code == 403
    assert client.delete("/indexes/words/documents/n1", headers=evil).status_code == 403
    plain = client.post(
        "/indexes/words/documents", content=b"{}", headers={"content-type": "text/plain"}
    )
    assert plain.status_code == 415
    own = {"origin": "http://localhost"}
    assert client.post("/indexes/words/merge", headers=own).status_code == 200
    assert "access-control-allow-origin" not in client.get("/indexes", headers=evil).headers
    assert client.get("/indexes/words").json()["documents"] == 3


def test_origins_that_are_allowed(start: Callable[..., TestClient]) -> None:
    client = start(cors_origins=("https://app.example",))
    good = {"origin": "https://app.example"}
    preflight = client.options(
        "/indexes/words/search", headers={**good, "access-control-request-method": "POST"}
    )
    assert preflight.headers["access-control-allow-origin"] == "https://app.example"
    found = client.post("/indexes/words/search", json={"query": "wing"}, headers=good)
    assert found.headers["access-control-allow-origin"] == "https://app.example"
    other = {"origin": "https://other.example"}
    assert client.post("/encode", json={"inputs": "a"}, headers=other).status_code == 403


def test_names_are_no_paths(client: TestClient, folder: Path) -> None:
    before = sorted(folder.parent.rglob("*"))
    for name in ("..%2fwords.idx", "words.idx", "%00", "a%2fb", "%2e", "%2e%2e%2f%2e%2e", "~"):
        for method, path in (("GET", ""), ("POST", "/merge"), ("GET", "/snapshot"),
                             ("POST", "/documents"), ("DELETE", "/documents/n1")):  # fmt: skip
            answer = client.request(method, f"/indexes/{name}{path}")
            assert answer.status_code in (404, 405, 422), (name, method, path, answer.text)
    assert [
        p for p in sorted(folder.parent.rglob("*")) if p not in before and p.suffix != ".lock"
    ] == []


def test_bodies_have_limits(start: Callable[..., TestClient]) -> None:
    client = start(max_body=1000, max_documents_body=2000)
    big = json.dumps({"query": "a" * 1000}).encode()
    json_type = {"content-type": "application/json"}
    ndjson = {"content-type": "application/x-ndjson"}
    answer = client.post("/indexes/words/search", content=big, headers=json_type)
    assert (answer.status_code, answer.json()["error_type"]) == (413, "Validation")
    # Without a length that is known beforehand.
    chunks = client.post(
        "/indexes/words/search", content=iter([big[:600], big[600:]]), headers=json_type
    )
    assert chunks.status_code == 413
    line = json.dumps({"id": "x", "text": "b" * 2000}).encode()
    assert client.post("/indexes/words/documents", content=line, headers=ndjson).status_code == 413
    packed = {**json_type, "content-encoding": "gzip"}
    assert client.post("/encode", content=b"\x1f\x8b", headers=packed).status_code == 415


def test_logs_hold_no_texts(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    secret = "qxzsecret"
    log = logging.getLogger("sparseret.serve")
    with caplog.at_level(logging.INFO, logger=log.name):
        log.propagate = True
        client.post("/indexes/words/search", json={"query": secret, "filter": f'a = "{secret}"'})
        client.post("/encode", json={"inputs": secret})
        ndjson = {"content-type": "application/x-ndjson"}
        body = json.dumps({"id": secret, "text": secret}).encode()
        client.post("/indexes/words/documents", content=body, headers=ndjson)
        client.post("/indexes/words/documents", content=body, headers=ndjson)
        client.get(f"/indexes/words/documents/{secret}")
        client.get(f"/{secret}")
    lines = [json.loads(record.message) for record in caplog.records if record.name == log.name]
    assert len(lines) == 6
    assert secret not in caplog.text
    assert lines[0]["route"] == "/indexes/{index}/search"
    assert lines[0].keys() == {
        "time", "method", "route", "index", "status", "bytes", "ms", "key", "client"
    }  # fmt: skip
    assert lines[-1]["route"] == "other"


def test_metrics_hold_no_texts(client: TestClient) -> None:
    client.post("/indexes/words/search", json={"query": "qxzsecret"})
    client.get("/qxzsecret")
    told = client.get("/metrics").text
    assert "qxzsecret" not in told
    searches = (
        'sparseret_requests_total{method="POST",route="/indexes/{index}/search",status="200"}'
    )
    assert f"{searches} 1.0" in told
    assert 'sparseret_documents{index="words"} 3.0' in told


def test_messages_name_no_folders(client: TestClient, folder: Path) -> None:
    wrong = [
        client.post("/indexes/words/search", json={"like": ["nobody"]}),
        client.post("/indexes", json={"name": "words"}),
        client.post("/indexes/mixed/search", json={"query": "a", "legs": ["x"]}),
    ]
    with Retriever.open(folder / "words.idx") as other:
        other.delete(["n1"])
        kind = {"content-type": "application/x-ndjson"}
        body = b'{"id": "x", "text": "a"}'
        wrong.append(client.post("/indexes/words/documents", content=body, headers=kind))
        other.rollback()
    for answer in wrong:
        assert answer.status_code in (409, 422)
        assert str(folder.parent) not in answer.text
