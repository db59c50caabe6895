"""Encoding endpoints: answers, limits and errors are those of text-embeddings-inference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from sparseret.protocols import Candidates
from sparseret.registry import load_encoder
from sparseret.serve.app import create_app
from sparseret.serve.service import Service
from sparseret.serve.settings import Settings


class Lengths:
    """Rates texts by their lengths."""

    name = "lengths"
    description = "lengths (test)"

    def rescore(self, candidates: Candidates) -> Iterator[NDArray[Any]]:
        yield np.array([len(d.text) for d in candidates.documents], np.float32)


@pytest.fixture(scope="module")
def splade(splade_tiny: Path) -> Iterator[TestClient]:
    pytest.importorskip("torch", reason="torch is not installed (sparseret[neural])")
    pytest.importorskip("transformers", reason="transformers is not installed")
    service = Service([], Settings(), encoders={"splade": f"splade:{splade_tiny}"})
    with TestClient(create_app(service), base_url="http://localhost") as client:
        yield client


def test_sparse_vectors_are_those_of_the_encoder(splade: TestClient, splade_tiny: Path) -> None:
    texts = ["heat transfer to a blunt wing", "flutter"]
    answer = splade.post("/embed_sparse", json={"inputs": texts}).json()
    encoder = load_encoder("splade", {"folder": str(splade_tiny)})
    expected = encoder.encode_documents(texts)
    for row, told in enumerate(answer):
        a, b = expected.indptr[row : row + 2]
        assert [v["index"] for v in told] == expected.indices[a:b].tolist()
        # What goes through a model together is padded together: equal but for rounding.
        np.testing.assert_allclose([v["value"] for v in told], expected.data[a:b], atol=1e-5)
    one = splade.post("/embed_sparse", json={"inputs": texts[0], "prompt_name": "query"}).json()
    assert len(one) == 1


def test_long_texts_are_refused_or_cut(splade: TestClient) -> None:
    length = splade.get("/info").json()["max_input_length"]
    assert length == 256
    long = " ".join(["wing"] * 300) + " flutter"
    refused = splade.post("/embed_sparse", json={"inputs": long})
    assert refused.status_code == 413
    assert refused.json() == {
        "error": "`inputs` must have less than 256 tokens. Given: 303", "error_type": "Validation"
    }  # fmt: skip
    right = splade.post("/embed_sparse", json={"inputs": long, "truncate": True})
    left = splade.post(
        "/embed_sparse", json={"inputs": long, "truncate": True, "truncation_direction": "Left"}
    )
    assert right.status_code == left.status_code == 200
    alone = splade.post("/embed_sparse", json={"inputs": " ".join(["wing"] * 253) + " flutter"})
    assert left.json() == alone.json()
    assert right.json() != left.json()


def test_tokens(splade: TestClient) -> None:
    read = splade.post("/tokenize", json={"inputs": "Hypersonic flow"}).json()[0]
    assert [token["special"] for token in read] == [True, *[False] * (len(read) - 2), True]
    inner = read[1:-1]
    assert "".join(token["text"].removeprefix("##") for token in inner) == "hypersonicflow"
    assert inner[0]["start"] == 0
    assert inner[-1]["stop"] == len("Hypersonic flow")
    bare = splade.post("/tokenize", json={"inputs": ["flow"], "add_special_tokens": False}).json()
    assert [token["text"] for token in bare[0]] == ["flow"]


def test_info(splade: TestClient) -> None:
    told = splade.get("/info").json()
    assert told["model_type"] == {"embedding": {"pooling": "splade"}}
    assert told["max_client_batch_size"] == 32
    assert splade.get("/health").content == b""


def test_dense_vectors(client: TestClient) -> None:
    vectors = client.post("/embed", json={"inputs": ["abb", "", "z"][::2]}).json()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    raw = client.post("/embed", json={"inputs": "abb", "normalize": False, "dimensions": 3}).json()
    assert raw == [[1.0, 2.0, 0.0]]
    assert client.post("/embed", json={"inputs": "a", "dimensions": 27}).status_code == 413


def test_ranks(start: Callable[..., TestClient]) -> None:
    client = start(reranker=Lengths())
    wanted = {"query": "q", "texts": ["aa", "b", "cccc", "dd"], "return_text": True}
    assert client.post("/rerank", json=wanted).json() == [
        {"index": 2, "score": 4.0, "text": "cccc"},
        {"index": 0, "score": 2.0, "text": "aa"},
        {"index": 3, "score": 2.0, "text": "dd"},
        {"index": 1, "score": 1.0, "text": "b"},
    ]


@pytest.mark.parametrize(
    ("path", "wanted", "status", "kind"),
    [
        ("/embed_sparse", {"inputs": ["a"] * 33}, 413, "Validation"),
        ("/embed_sparse", {"inputs": []}, 400, "Empty"),
        ("/embed_sparse", {"inputs": ""}, 400, "Empty"),
        ("/embed_sparse", {"inputs": [1, 2, 3]}, 422, "Tokenizer"),
        ("/embed_sparse", {"inputs": [[1, 2], "a"]}, 422, "Tokenizer"),
        ("/embed_sparse", {"inputs": "a", "prompt_name": "x"}, 422, "Validation"),
        ("/embed_sparse", {}, 422, "Validation"),
        ("/embed_sparse", {"inputs": {"a": 1}}, 422, "Validation"),
        ("/rerank", {"query": "a", "texts": ["b"]}, 424, "Backend"),
        ("/tokenize", {"inputs": "a"}, 424, "Backend"),
    ],
)
def test_errors(client: TestClient, path: str, wanted: Any, status: int, kind: str) -> None:
    answer = client.post(path, json=wanted)
    assert (answer.status_code, answer.json()["error_type"]) == (status, kind), answer.text
    assert answer.json().keys() == {"error", "error_type"}


def test_without_any_encoder(tmp_path: Path) -> None:
    with TestClient(create_app(Service([tmp_path], Settings())), base_url="http://localhost") as c:
        for path in ("/embed_sparse", "/embed", "/encode"):
            answer = c.post(path, json={"inputs": "a"})
            assert (answer.status_code, answer.json()["error_type"]) == (424, "Backend")
        assert c.get("/indexes").json() == {"indexes": [], "encoders": ["bm25"]}


def test_a_client_of_tei_works_unchanged(client: TestClient, monkeypatch: Any) -> None:
    hub = pytest.importorskip("huggingface_hub", minversion="1.0", reason="not installed")
    expected = client.post("/embed", json={"inputs": ["lift", "drag"]}).json()
    # Its requests go to the application, not through a socket.
    hub.set_client_factory(lambda: client)
    try:
        tei = hub.InferenceClient(base_url="http://localhost")
        np.testing.assert_allclose(tei.feature_extraction(["lift", "drag"]), expected)
        with pytest.raises(hub.errors.HfHubHTTPError) as refused:
            tei.feature_extraction(["a"] * 33)
        assert refused.value.response.json() == {
            "error": "batch size 33 > maximum allowed batch size 32",
            "error_type": "Validation",
        }
    finally:
        hub.set_client_factory(hub.utils._http.default_client_factory)
