"""Services over small indexes, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from sparseret import Document, Retriever

pytest.importorskip("fastapi", reason="fastapi is not installed (sparseret[serve])")
pytest.importorskip("httpx", reason="httpx is not installed (sparseret[test])")

from fastapi.testclient import TestClient

from sparseret.serve.app import create_app
from sparseret.serve.service import Service
from sparseret.serve.settings import Settings

DOCUMENTS = [
    Document("n1", "Lift of a wing in a slipstream.", "Wings", {"year": 1954}),
    Document("n2", "Heat transfer to a blunt wing in hypersonic flow.", "Heat", {"year": 1958}),
    Document("n3", "The flutter of panels in supersonic flow.", "Panels", {"year": 1961}),
]


class Letters:
    """A dense encoder without a model: how often each letter stands in a text."""

    name, description, space = "letters", "letters (test)", "letters/1"
    metric: Literal["cosine", "ip"] = "cosine"
    options: Mapping[str, Any] = {}
    dim = 26

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def encode_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        return self.encode_queries([d if isinstance(d, str) else d.content for d in documents])

    def encode_queries(
        self, queries: Sequence[str], *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        self.calls.append(list(queries))
        alphabet = "abcdefghijklmnopqrstuvwxyz"
        return np.array([[q.lower().count(a) for a in alphabet] for q in queries], np.float32)


@pytest.fixture
def letters() -> Letters:
    return Letters()


@pytest.fixture
def folder(tmp_path: Path, letters: Letters) -> Path:
    """A folder of two indexes: "words" of one leg, "mixed" of two."""
    root = tmp_path / "indexes"
    root.mkdir()
    with Retriever.create(root / "words.idx", filter_fields=["year"]) as retriever:
        retriever.add(DOCUMENTS)
    with Retriever.create(root / "mixed", {"words": "bm25", "letters": letters}) as retriever:
        retriever.add(DOCUMENTS)
    return root


@pytest.fixture
def start(folder: Path, letters: Letters) -> Iterator[Callable[..., TestClient]]:
    """A function that starts a service; its arguments are those of Settings, and ``keys``."""
    clients: list[TestClient] = []

    def start(*, keys: Any = None, reranker: Any = None, **settings: Any) -> TestClient:
        service = Service(
            [folder],
            Settings(**settings),
            encoders={"letters": letters},
            keys=keys,
            reranker=reranker,
        )
        client = TestClient(create_app(service), base_url="http://localhost")
        client.__enter__()
        clients.append(client)
        return client

    yield start
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(start: Callable[..., TestClient]) -> TestClient:
    return start()
