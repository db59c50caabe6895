"""Small indexes to exchange."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from sparseret import Document, Retriever
from sparseret.readers import read_documents

QUERIES = [
    "slipstream of a propeller wing",
    "heat transfer in the boundary layer of a blunt body",
    "buckling of thin cylindrical shells under pressure",
    "supersonic flow past slender bodies of revolution",
    "a word that nowhere stands",
]


@pytest.fixture(scope="session")
def documents(cranfield: Path) -> list[Document]:
    """Of Cranfield the first 200, with metadata."""
    found = []
    for record in read_documents(cranfield):
        n = len(found)
        metadata = {
            "year": 1950 + n % 20,
            "tags": ["aero", f"t{n % 3}"],
            "odd": n if n % 2 else "no",
        }
        document = record.document
        found.append(Document(document.id, document.text, document.title, metadata))
        if len(found) == 200:
            break
    return found


@pytest.fixture(scope="session")
def counts_index(documents: list[Document], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BM25, in several segments, with some documents deleted."""
    path = tmp_path_factory.mktemp("exchange") / "bm25.idx"
    with Retriever.create(path, "bm25", encoder_options={"k1": 0.9, "b": 0.4}) as retriever:
        retriever.add(documents[:150])
        retriever.commit()
        retriever.add(documents[150:])
        retriever.commit()
        retriever.delete(["3", "160"])
    return path


@pytest.fixture(scope="session")
def weights_index(documents: list[Document], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made weights, by terms."""
    path = tmp_path_factory.mktemp("exchange") / "terms.idx"
    rng = np.random.default_rng(7)
    with Retriever.create(path, "terms") as retriever:
        for document in documents:
            weights = {term: float(rng.exponential()) for term in document.text.split()[:40]}
            retriever.add([Document(document.id, json.dumps(weights))])
    return path


@pytest.fixture(scope="session")
def hybrid_index(documents: list[Document], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Counts, and dense vectors that are precomputed."""
    folder = tmp_path_factory.mktemp("hybrid")
    vectors = np.random.default_rng(3).standard_normal((20, 8)).astype(np.float32)
    np.save(folder / "documents.npy", vectors)
    np.save(folder / "queries.npy", vectors[:5])
    (folder / "documents.txt").write_text("".join(f"{d.id}\n" for d in documents[:20]))
    (folder / "queries.txt").write_text("".join(f"{query}\n" for query in QUERIES))
    path = folder / "hybrid.idx"
    legs = {"words": "bm25", "meaning": f"precomputed:{folder}"}
    with Retriever.create(path, legs) as retriever:
        retriever.add(documents[:20])
    return path


def assert_same_results(
    one: Path,
    other: Path,
    queries: Sequence[str] = QUERIES,
    *,
    exactly: bool = True,
    change: Callable[[str], str] = str,
    tolerance: float = 1e-6,
) -> None:
    """Equal ids and scores; not exactly, the sum is in another order: last bits, and ties."""
    with Retriever.open(one) as a, Retriever.open(other) as b:
        expected = a.retrieve(queries, 20)
        found = b.retrieve([change(query) for query in queries], 20)
    assert any(expected.ids)
    for query in range(len(queries)):
        if exactly:
            assert found.ids[query] == expected.ids[query]
            assert found.scores[query].tolist() == expected.scores[query].tolist()
            continue
        scores = expected.scores[query]
        assert found.scores[query] == pytest.approx(scores, rel=tolerance, abs=tolerance)
        # Where neighbours' scores differ by more than the rounding, order must be the same.
        apart = np.abs(np.diff(scores)) > 4 * tolerance * max(1.0, float(scores.max(initial=0)))
        for place in range(len(scores)):
            clear = (place == 0 or apart[place - 1]) and (place < len(apart) and apart[place])
            if clear:
                assert found.ids[query][place] == expected.ids[query][place]


@pytest.fixture(scope="session")
def same_results() -> Callable[..., None]:
    return assert_same_results


def assert_nothing_left(folder: Path, *names: str) -> None:
    """Only these are there: no half-made output, no scratch files."""
    assert {item.name for item in folder.iterdir()} == set(names)


@pytest.fixture(scope="session")
def nothing_left() -> Callable[..., None]:
    return assert_nothing_left
