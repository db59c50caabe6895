"""Retrievers with encoders of one's own: plain, signed, registered, broken."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from sparseret.documents import Document
from sparseret.encoders.bm25 import BM25Encoder
from sparseret.errors import ConfigurationError, IncompatibleIndexError, VectorError
from sparseret.protocols import CollectionEncoder, Encoder
from sparseret.retriever import Retriever

WORDS = ["north", "south", "east", "west", "up", "down"]


class ToyEncoder:
    """Words on axes with opposite directions, so that vectors are signed.

    "north" is +1 and "south" -1 on axis 0; a fourth axis counts known words, times 0.1.
    """

    name = "toy"
    signed = True
    dim = 4

    def __init__(self, scale: float = 1.0, *, signed: bool = True) -> None:
        self.scale = scale
        self.signed = signed

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> ToyEncoder:
        return cls(**options)

    @property
    def options(self) -> dict[str, Any]:
        return {"scale": self.scale, "signed": self.signed}

    @property
    def space(self) -> str:
        return f"toy/{self.scale}/{self.signed}"

    @property
    def description(self) -> str:
        return f"toy (scale={self.scale:g})"

    def encode_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> csr_array:
        texts = [d if isinstance(d, str) else d.content for d in documents]
        dense = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.split():
                if word in WORDS:
                    axis, backwards = divmod(WORDS.index(word), 2)
                    dense[row, axis] += -self.scale if backwards and self.signed else self.scale
                    dense[row, 3] += 0.1
        return csr_array(dense)

    def encode_queries(self, queries: Sequence[str], *, show_progress: bool = False) -> csr_array:
        return self.encode_documents(queries)

    def term(self, column: int) -> str:
        return ["north-south", "east-west", "up-down", "known"][column]

    def save(self, path: str | Path) -> None:
        Path(path).mkdir(parents=True, exist_ok=True)
        (Path(path) / "toy.json").write_text(json.dumps(self.options), "utf-8")


def test_it_is_an_encoder_without_a_collection() -> None:
    assert isinstance(ToyEncoder(), Encoder)
    assert not isinstance(ToyEncoder(), CollectionEncoder)


def test_a_signed_encoder_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "i"
    with Retriever.create(path, ToyEncoder(2.0)) as retriever:
        texts = ["north", "south", "south west", "nothing", "north north east", "east"]
        retriever.add(Document(str(i), text) for i, text in enumerate(texts))
    with pytest.raises(ConfigurationError, match=r"'toy'.*encoder="):
        Retriever.open(path)
    with pytest.raises(IncompatibleIndexError):
        Retriever.open(path, ToyEncoder(3.0))
    with pytest.raises(IncompatibleIndexError):
        Retriever.open(path, BM25Encoder())
    with Retriever.open(path, encoder=ToyEncoder(2.0)) as retriever:
        hits = retriever.retrieve(["north"], 10)
        # Known words share an axis, so opposite ones are hits too, with negative scores.
        assert hits.ids == [["4", "0", "5", "2", "1"]]
        rows = ToyEncoder(2.0).encode_documents(texts).toarray()
        query = ToyEncoder(2.0).encode_queries(["north"]).toarray()[0]
        expected = [query[0] * rows[int(i), 0] + query[3] * rows[int(i), 3] for i in hits.ids[0]]
        np.testing.assert_array_equal(hits.scores[0], np.array(expected, np.float32))
        explanation = retriever.explain("south", "4")
        assert [t.term for t in explanation.terms] == ["known", "north-south"]
        assert explanation.terms[1].contribution == -8.0
        assert explanation.score == retriever.search("south")[-1].score


def test_a_registered_encoder_opens_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "toy_package", sys.modules[__name__])
    points = EntryPoints([EntryPoint("toy", "toy_package:ToyEncoder", "sparseret.encoders")])
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: points)
    with Retriever.create(tmp_path / "i", "toy", encoder_options={"scale": 0.5}) as retriever:
        retriever.add([Document("a", "up", "down")])
    with Retriever.open(tmp_path / "i") as retriever:
        assert retriever.description == "toy (scale=0.5)"
        assert [result.id for result in retriever.search("up")] == ["a"]


class Broken(ToyEncoder):
    """Makes of everything what it is told to."""

    def __init__(self, matrix: Any) -> None:
        super().__init__(signed=False)
        self.matrix = matrix

    def encode_documents(self, documents: Any, *, show_progress: bool = False) -> csr_array:
        return csr_array(self.matrix)


def test_encoders_that_break_their_promise(tmp_path: Path) -> None:
    bad = [[[np.nan, 0, 0, 0]], [[-1.0, 0, 0, 0]], [[1.0, 0]]]
    for number, matrix in enumerate(bad):
        with Retriever.create(tmp_path / str(number), Broken(matrix)) as retriever:
            with pytest.raises(VectorError):
                retriever.add([Document("a")])
            if number != 1:
                with pytest.raises(VectorError):
                    retriever.search("a")
    with Retriever.create(tmp_path / "rows", Broken(np.ones((2, 4)))) as retriever:
        with pytest.raises(ConfigurationError, match="2 vectors"):
            retriever.add([Document("a")])
        with pytest.raises(VectorError, match="2 vectors of 1 queries"):
            retriever.search("a")


def test_documents_can_be_encoded_beside_an_index(tmp_path: Path) -> None:
    with Retriever.create(tmp_path / "i") as retriever:
        retriever.add([Document("a", "lift of a wing"), Document("b", "drag")])
    with Retriever.open(tmp_path / "i") as retriever:
        encoder = retriever.current_encoder
        rows = encoder.encode_documents(["a wing of unheardof words", "", "unheardof", "drag"])
        named = [
            {encoder.term(c) for c in rows.indices[a:b]}
            for a, b in zip(rows.indptr, rows.indptr[1:], strict=False)
        ]
        assert named == [{"wing"}, set(), set(), {"drag"}]
        # What is not known counts in the length, and is nowhere afterwards.
        longer, alone = rows[[0]].data[0], encoder.encode_documents(["wing"]).data[0]
        assert longer < alone
        assert rows.shape[1] == len({"lift", "wing", "drag"})
        assert retriever.search("unheardof") == []
