"""Vectors that documents carry in their metadata, and what a filter selects without a search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sparseret import Document, Retriever, field
from sparseret.encoders.carried import CarriedEncoder
from sparseret.errors import ConfigurationError, FilterError, VectorError
from sparseret.protocols import DenseEncoder
from sparseret.registry import load_any_encoder

FOUR = [
    Document("a", "wing", metadata={"v": {"x": [1.0, 0.0]}, "n": 1}),
    Document("b", "wing", metadata={"v": {"x": [3.0, 4.0]}, "n": 2}),
    Document("c", "wing", metadata={"v": {"x": None}, "n": 3}),
    Document("d", "wing", metadata={"v": 7}),
]


def test_it_is_a_dense_encoder_that_comes_back() -> None:
    encoder = CarriedEncoder(["v", "x"], 2, metric="ip")
    assert isinstance(encoder, DenseEncoder)
    again = load_any_encoder("carried", encoder.options)
    assert isinstance(again, CarriedEncoder)
    assert again.options == encoder.options
    assert again.space == encoder.space != CarriedEncoder(["v"], 2).space
    assert "v.x" in again.description


def test_vectors_are_those_of_the_documents() -> None:
    encoder = CarriedEncoder(["v", "x"], 2)
    expected = [[1, 0], [3, 4], [0, 0], [0, 0]]
    np.testing.assert_array_equal(encoder.encode_documents(FOUR), expected)
    np.testing.assert_array_equal(encoder.encode_queries(["", " "]), np.zeros((2, 2)))
    with pytest.raises(VectorError, match="search_vectors"):
        encoder.encode_queries(["wing"])
    with pytest.raises(VectorError, match="metadata"):
        encoder.encode_documents(["wing"])


@pytest.mark.parametrize("bad", [[1.0], [[1.0, 2.0]], "xy", [1.0, "x"], {"a": 1}, [1.0, None]])
def test_what_is_no_vector(bad: object, tmp_path: Path) -> None:
    with Retriever.create(tmp_path / "a.idx", CarriedEncoder(["v"], 2)) as retriever:
        retriever.add([Document("ok", metadata={"v": [1.0, 2.0]})])
        retriever.commit()
        with pytest.raises(VectorError):
            retriever.add([Document("bad", metadata={"v": bad})])
        assert len(retriever) == 1


def test_options_out_of_range() -> None:
    for wrong in ({"field": "v"}, {"field": []}, {"field": [1]}, {"dim": 0}, {"metric": "l2"}):
        with pytest.raises(ConfigurationError):
            CarriedEncoder(**{"field": ["v"], "dim": 2, **wrong})
    for options in ({}, {"field": ["v"]}, {"field": ["v"], "dim": 2, "folder": "x"}):
        with pytest.raises(ConfigurationError):
            load_any_encoder("carried", options)


def test_a_leg_of_such_vectors_is_searched(tmp_path: Path) -> None:
    legs = {"words": "bm25", "near": CarriedEncoder(["v", "x"], 2)}
    with Retriever.create(tmp_path / "a.idx", legs) as retriever:
        retriever.add(FOUR)
    with Retriever.open(tmp_path / "a.idx") as retriever:
        found = retriever.search_vectors({"near": [0.0, 2.0]}, 10)
        assert [(r.id, r.score) for r in found] == [("b", pytest.approx(0.8)), ("a", 0.0)]
        assert len(retriever.search("wing", legs=["words"])) == 4


def test_documents_that_satisfy_a_filter(tmp_path: Path) -> None:
    for name, order_by in (("a.idx", None), ("b.idx", "n")):
        with Retriever.create(tmp_path / name, order_by=order_by) as retriever:
            retriever.add(FOUR[:3])
            retriever.add([Document(f"x{i}", metadata={"n": 10 + i}) for i in range(2500)])
            retriever.commit()
            retriever.delete(["b", "x7"])
            retriever.commit()
            assert [d.id for d in retriever.documents("n <= 3")] == ["a", "c"]
            wanted = (field("n") >= 3) & (field("n") < 2005)
            many = [d.id for d in retriever.documents(wanted)]
            assert many == ["c", *(f"x{i}" for i in range(1995) if i != 7)]
            assert list(retriever.documents("n > 9999")) == []
            assert len(list(retriever.documents())) == 2501
            held = retriever.documents("n <= 3")
            retriever.delete(["a"])
            retriever.commit()
            assert [d.id for d in held] == ["a", "c"]
            with pytest.raises(FilterError):
                retriever.documents("n <=")
