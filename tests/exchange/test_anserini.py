"""Anserini's vector format."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparseret import Document, InvertedIndex, Retriever
from sparseret.errors import (
    ConfigurationError,
    DocumentError,
    DuplicateIdError,
    IndexExistsError,
    IndexNotFoundError,
    VectorError,
)
from sparseret.exchange.anserini import export_anserini, import_anserini
from sparseret.linefile import LineFile

Check = Callable[..., None]


def lines_of(path: Path) -> list[dict[str, object]]:
    with LineFile(str(path)) as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.parametrize("name", ["v.jsonl", "v.jsonl.gz", "v.jsonl.zst"])
def test_floats_come_back(name: str, weights_index: Path, tmp_path: Path, same_results: Check,
                          nothing_left: Check) -> None:  # fmt: skip
    out = tmp_path / name
    steps: list[int] = []
    assert (
        export_anserini(weights_index, out, scale=None, advance=steps.append) == sum(steps) == 200
    )
    assert import_anserini(out, tmp_path / "again").n_documents == 200
    same_results(weights_index, tmp_path / "again", exactly=False)
    nothing_left(tmp_path, name, "again")
    with Retriever.open(weights_index) as a, Retriever.open(tmp_path / "again") as b:
        assert [d.id for d in a.documents()] == [d.id for d in b.documents()]


def test_whole_numbers_are_within_half_a_step(
    weights_index: Path, tmp_path: Path, same_results: Check
) -> None:
    export_anserini(weights_index, tmp_path / "v.jsonl")
    export_anserini(weights_index, tmp_path / "f.jsonl", scale=None)
    for whole, exact in zip(
        lines_of(tmp_path / "v.jsonl"), lines_of(tmp_path / "f.jsonl"), strict=True
    ):
        given, made = exact["vector"], whole["vector"]
        assert isinstance(given, dict)
        assert made == {t: round(100 * w) for t, w in given.items() if round(100 * w)}
    import_anserini(tmp_path / "v.jsonl", tmp_path / "again", scale=100)
    terms = 9  # of the longest query
    same_results(weights_index, tmp_path / "again", exactly=False, tolerance=0.005 * terms)


def test_weights_of_bm25_give_its_scores_to_queries_of_terms(
    counts_index: Path, tmp_path: Path, same_results: Check
) -> None:
    export_anserini(counts_index, tmp_path / "v.jsonl", scale=None)
    import_anserini(tmp_path / "v.jsonl", tmp_path / "again")
    with Retriever.open(counts_index) as retriever:
        analyzer = retriever.encoder.analyzer  # type: ignore[union-attr]
    same_results(counts_index, tmp_path / "again", exactly=False,
                 change=lambda query: " ".join(analyzer(query)))  # fmt: skip
    first = lines_of(tmp_path / "v.jsonl")[0]
    assert first["id"] == "1"
    assert str(first["contents"]).startswith("experimental investigation")


def test_an_encoder_with_columns_of_its_own_gets_them_back(
    documents: list[Document], splade_tiny: Path, neural: None, tmp_path: Path, same_results: Check
) -> None:
    with Retriever.create(tmp_path / "splade", f"splade:{splade_tiny}") as retriever:
        retriever.add(documents[:5])
    export_anserini(tmp_path / "splade", tmp_path / "v.jsonl", scale=None)
    import_anserini(tmp_path / "v.jsonl", tmp_path / "again", encoder=f"splade:{splade_tiny}")
    same_results(tmp_path / "splade", tmp_path / "again")  # to the last bit
    (tmp_path / "v.jsonl").write_text('{"id": "1", "vector": {"wing": 1, "no such term": 1}}\n')
    with pytest.raises(
        DocumentError, match=r"v\.jsonl:1: the encoder 'splade' has no term 'no such"
    ):
        import_anserini(tmp_path / "v.jsonl", tmp_path / "x", encoder=f"splade:{splade_tiny}")


_TERM = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1,
                max_size=5)  # fmt: skip
_WEIGHT = st.floats(2.0**-126, 2.0**100, width=32)


@settings(max_examples=12)
@given(st.lists(st.dictionaries(_TERM, _WEIGHT, max_size=6), min_size=1, max_size=5))
def test_any_terms_and_weights_come_back(
    tmp_path_factory: pytest.TempPathFactory, vectors: list[dict[str, float]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    text = "".join(json.dumps({"id": i, "vector": v}) + "\n" for i, v in enumerate(vectors))
    (folder / "in.jsonl").write_text(text, "utf-8")
    import_anserini(folder / "in.jsonl", folder / "i")
    export_anserini(folder / "i", folder / "out.jsonl", scale=None)
    found = [line["vector"] for line in lines_of(folder / "out.jsonl")]
    assert [{t: np.float32(w) for t, w in v.items()} for v in found] == [  # type: ignore[attr-defined]
        {t: np.float32(w) for t, w in v.items()} for v in vectors
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON"),
        ('{"id": "2", "vector": {"a": NaN}}', "NaN is no JSON"),
        ("[1]", 'no object "vector"'),
        ('{"id": "2"}', 'no object "vector"'),
        ('{"id": "2", "vector": {"a": "1"}}', "weight of 'a' is '1'"),
        ('{"id": "2", "vector": {"a": true}}', "weight of 'a' is True"),
        ('{"id": "2", "vector": {"a": 1e39}}', "no finite number"),
        ('{"id": "2", "vector": {"a": -1}}', "is negative"),
        ('{"id": "2", "vector": {"": 1}}', "is no term"),
        ('{"id": "2", "vector": {"a\\u0000b": 1}}', "is no term"),
        ('{"vector": {"a": 1}}', "expected a string"),
        ('{"id": "2", "contents": ["x"], "vector": {"a": 1}}', "must be strings"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_made(
    line: str, reason: str, tmp_path: Path, nothing_left: Check
) -> None:
    (tmp_path / "v.jsonl").write_text('{"id": "1", "vector": {"a": 1}}\n\n' + line + "\n")
    with pytest.raises(DocumentError, match=r"v\.jsonl:3: .*" + reason):
        import_anserini(tmp_path / "v.jsonl", tmp_path / "i")
    nothing_left(tmp_path, "v.jsonl")


def test_other_mistakes_leave_nothing(tmp_path: Path, nothing_left: Check) -> None:
    (tmp_path / "v.jsonl").write_text('{"id": "1", "vector": {"a": 1}}\n' * 2)
    with pytest.raises(DuplicateIdError, match="'1' occurs twice"):
        import_anserini(tmp_path / "v.jsonl", tmp_path / "i")
    (tmp_path / "v.jsonl").write_bytes(b'{"id": "1", "vector": {"\xff": 1}}\n')
    with pytest.raises(DocumentError, match=r"v\.jsonl:1: not UTF-8"):
        import_anserini(tmp_path / "v.jsonl", tmp_path / "i")
    with pytest.raises(DocumentError, match="no such file"):
        import_anserini(tmp_path / "w.jsonl", tmp_path / "i")
    with pytest.raises(ConfigurationError, match="scale must be"):
        import_anserini(tmp_path / "v.jsonl", tmp_path / "i", scale=0)
    with pytest.raises(IndexNotFoundError):
        export_anserini(tmp_path / "none", tmp_path / "out.jsonl")
    nothing_left(tmp_path, "v.jsonl")
    (tmp_path / "i").mkdir()
    (tmp_path / "i" / "own").write_text("")
    with pytest.raises(IndexExistsError, match="exists already"):
        import_anserini(tmp_path / "v.jsonl", tmp_path / "i")


def test_an_interruption_leaves_nothing(
    weights_index: Path, tmp_path: Path, nothing_left: Check
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_anserini(weights_index, tmp_path / "v.jsonl", advance=interrupt)
    nothing_left(tmp_path)
    export_anserini(weights_index, tmp_path / "v.jsonl")
    with pytest.raises(KeyboardInterrupt):
        import_anserini(tmp_path / "v.jsonl", tmp_path / "i", advance=interrupt)
    nothing_left(tmp_path, "v.jsonl")


def test_folders_of_files_and_empty_vectors(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.jsonl").write_text('{"docid": "2", "content": "x", "vector": {"a": 2}}')
    (tmp_path / "in" / "a.json").write_text('{"_id": "1", "title": "T", "vector": {}}\n')
    import_anserini(tmp_path / "in", tmp_path / "i")
    with Retriever.open(tmp_path / "i") as retriever:
        assert list(retriever.documents()) == [Document("1", "", "T"), Document("2", "x")]
        assert [r.id for r in retriever.search("a")] == ["2"]
    (tmp_path / "none").mkdir()
    with pytest.raises(DocumentError, match=r"no \.jsonl file"):
        import_anserini(tmp_path / "none", tmp_path / "j")


def test_what_lucene_cannot_hold(tmp_path: Path, nothing_left: Check) -> None:
    with InvertedIndex.create(tmp_path / "i", dim=3) as index:
        index.add(["a", "b"], np.array([[0, 0.5, 0], [0, 0, -2.0]]))  # type: ignore[arg-type]
    with pytest.raises(VectorError, match="document 'b': the value -2"):
        export_anserini(tmp_path / "i", tmp_path / "v.jsonl")
    nothing_left(tmp_path, "i")
    export_anserini(tmp_path / "i", tmp_path / "v.jsonl", scale=None)  # columns are the terms
    assert [line["vector"] for line in lines_of(tmp_path / "v.jsonl")] == [{"1": 0.5}, {"2": -2}]
    with InvertedIndex.create(tmp_path / "large", dim=1) as index:
        index.add(["a"], np.array([[1e4]]))  # type: ignore[arg-type]
    with pytest.raises(VectorError, match="take another scale"):
        export_anserini(tmp_path / "large", tmp_path / "w.jsonl", scale=1e6)


def test_an_index_of_several_legs_asks_which(
    hybrid_index: Path, tmp_path: Path, nothing_left: Check
) -> None:
    with pytest.raises(ConfigurationError, match="give --leg, one of words, meaning"):
        export_anserini(hybrid_index, tmp_path / "v.jsonl")
    with pytest.raises(ConfigurationError, match="'meaning' holds dense vectors"):
        export_anserini(hybrid_index, tmp_path / "v.jsonl", leg="meaning")
    with pytest.raises(ConfigurationError, match="has no leg 'x'"):
        export_anserini(hybrid_index, tmp_path / "v.jsonl", leg="x")
    nothing_left(tmp_path)
    assert export_anserini(hybrid_index, tmp_path / "v.jsonl", leg="words") == 20
