"""Small indexes to ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sparseret import Document, Retriever
from sparseret.chunks import Chunking
from sparseret.parents import ParentRetriever

DOCUMENTS = [
    Document(
        "w",
        "Wings. The lift of a wing grows with its angle. Beyond 15 degrees the wing stalls. "
        "Paint is unimportant.",
        "Wings",
    ),
    Document("p", "Panels flutter in supersonic flow. A wing has panels, too.", "Panels"),
    Document("h", "Heat transfer to a blunt body at hypersonic speed.", "Heat"),
]


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Retriever]:
    with Retriever.create(tmp_path / "plain.idx") as retriever:
        retriever.add(DOCUMENTS)
        retriever.commit()
        yield retriever


@pytest.fixture
def chunked(tmp_path: Path) -> Iterator[ParentRetriever]:
    with ParentRetriever.create(tmp_path / "chunked.idx", chunking=Chunking(7, 2)) as parents:
        parents.add(DOCUMENTS)
        parents.commit()
        yield parents
