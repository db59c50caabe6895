"""Queries that are terms with weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparseret import Document, Retriever
from sparseret.encoders.terms import TermsEncoder, parse_terms
from sparseret.errors import ConfigurationError, VectorError
from sparseret.protocols import CollectionEncoder
from sparseret.registry import load_encoder


def test_words_count_and_objects_weigh() -> None:
    assert parse_terms("wing lift wing") == {"wing": 2.0, "lift": 1.0}
    assert parse_terms(' {"wing": 2.5, "##foil": 0}') == {"wing": 2.5}
    assert parse_terms("") == {}


@pytest.mark.parametrize(
    "text",
    ["{wing: 1}", '{"wing": "2"}', '{"wing": -1}', '{"wing": true}', '{"w": 1e39}', '{"w": NaN}'],
)
def test_weights_that_cannot_be(text: str) -> None:
    with pytest.raises(VectorError, match=r"JSON object|must be a number from 0"):
        parse_terms(text)


def test_scores_are_products_of_the_weights(tmp_path: Path) -> None:
    with Retriever.create(tmp_path / "i", "terms") as retriever:
        retriever.add(
            [Document("a", '{"wing": 1.5, "lift": 0.5}'), Document("b", "lift drag lift")]
        )
        retriever.commit()
        found = retriever.search('{"lift": 2, "wing": 4, "unknown": 9}')
        assert [(result.id, result.score) for result in found] == [("a", 7.0), ("b", 4.0)]
        assert [result.id for result in retriever.search("drag")] == ["b"]
        assert retriever.explain("lift lift", "b").score == 4.0
    with Retriever.open(tmp_path / "i") as retriever:
        assert retriever.search("Lift") == []  # letter for letter


def test_it_is_an_encoder_of_the_registry(tmp_path: Path) -> None:
    encoder = load_encoder("terms")
    assert isinstance(encoder, CollectionEncoder)
    encoder.encode_documents(["b a"])
    encoder.save(tmp_path)
    again = TermsEncoder.load(tmp_path)
    assert again.encode_queries(["a c"]).toarray().tolist() == [[0, 1]]
    with pytest.raises(ConfigurationError, match="no options"):
        load_encoder("terms", {"k1": 1})
    (tmp_path / "encoder.json").write_text('{"encoder": "bm25", "vocabulary": []}')
    with pytest.raises(ConfigurationError, match="does not describe"):
        TermsEncoder.load(tmp_path)
