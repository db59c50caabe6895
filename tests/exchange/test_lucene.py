"""Lucene by Anserini: impact indexes both ways, and our BM25 beside Lucene's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparseret import Document, Retriever, read_documents
from sparseret.errors import ConfigurationError, DocumentError, MissingExtraError, VectorError
from sparseret.eval.datasets import load_dataset
from sparseret.eval.measures import measure
from sparseret.eval.runs import RankedDocument, run_from_hits
from sparseret.exchange import lucene
from sparseret.exchange.lucene import (
    anserini_jar,
    export_lucene,
    find_java,
    import_lucene,
    index_with_anserini,
)

Check = Callable[..., None]


@pytest.fixture(scope="session")
def java() -> None:
    """Skips without pyserini or a JDK."""
    pytest.importorskip("jnius_config", reason="pyserini is not installed (sparseret[lucene])")
    try:
        anserini_jar()
        find_java()
    except (ConfigurationError, MissingExtraError) as error:
        pytest.skip(str(error))


def test_impacts_both_ways(
    java: None,
    weights_index: Path,
    tmp_path: Path,
    same_results: Check,
    nothing_left: Check,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    n = export_lucene(weights_index, tmp_path / "lucene")
    assert n == 200
    assert import_lucene(tmp_path / "lucene", tmp_path / "again", scale=100).n_documents == n
    nothing_left(tmp_path, "lucene", "again")
    same_results(weights_index, tmp_path / "again", exactly=False, tolerance=0.005 * 9)
    # The postings say the same as the lines that are stored along.
    monkeypatch.setattr(lucene, "_raw_fields", lambda *_: {})
    with pytest.raises(ConfigurationError, match="give --values counts or --values weights"):
        import_lucene(tmp_path / "lucene", tmp_path / "postings")
    import_lucene(tmp_path / "lucene", tmp_path / "postings", values="weights", scale=100)
    same_results(tmp_path / "again", tmp_path / "postings", exactly=False)
    found = searcher(tmp_path / "lucene", impact=True).search("wing slipstream", 5)
    with Retriever.open(tmp_path / "again") as retriever:
        own = retriever.search("wing slipstream", 5)
    assert [(hit.docid, hit.score) for hit in found] == [
        (result.id, pytest.approx(100 * result.score, rel=1e-5)) for result in own
    ]


def searcher(index: Path, *, impact: bool = False) -> Any:
    from pyserini.pyclass import autoclass

    name = "SimpleImpactSearcher" if impact else "SimpleSearcher"
    return autoclass(f"io.anserini.search.{name}")(str(index))


def test_bm25_is_that_of_lucene(java: None, tmp_path: Path, cranfield: Path) -> None:
    (tmp_path / "in").mkdir()
    documents = [record.document for record in read_documents(cranfield)]
    with (tmp_path / "in" / "d.jsonl").open("w") as file:
        for document in documents:
            file.write(json.dumps({"id": document.id, "contents": document.content}) + "\n")
    index_with_anserini(tmp_path / "in", tmp_path / "lucene", "JsonCollection")
    options = {"language": "porter", "k1": 0.9, "b": 0.4}
    import_lucene(
        tmp_path / "lucene", tmp_path / "imported", values="counts", encoder="bm25",
        encoder_options=options,
    )  # fmt: skip
    with Retriever.create(tmp_path / "own", encoder_options=options) as retriever:
        retriever.add(documents)
    theirs = searcher(tmp_path / "lucene")
    theirs.set_bm25(0.9, 0.4)
    dataset = load_dataset("cranfield")
    texts, names = [q.text for q in dataset.queries], [q.id for q in dataset.queries]
    runs = {
        "lucene": {
            name: [RankedDocument(hit.docid, hit.score) for hit in theirs.search(text, 100)]
            for name, text in zip(names, texts, strict=True)
        }
    }
    for name in ("own", "imported"):
        with Retriever.open(tmp_path / name) as retriever:
            runs[name] = run_from_hits(names, retriever.retrieve(texts, 100))
    ndcg = {
        name: measure(run, dataset.qrels, ["nDCG@10"]).mean["nDCG@10"] for name, run in runs.items()
    }
    # What is left are lengths, of which Lucene keeps a byte, and words that analyzers cut apart.
    for name in ("own", "imported"):
        assert ndcg[name] == pytest.approx(ndcg["lucene"], abs=0.002)
        assert overlap(runs["lucene"], runs[name]) > 0.98


def overlap(one: Any, other: Any) -> float:
    """Mean share of the best ten that two runs have in common."""
    shares = [
        len({d.id for d in one[query][:10]} & {d.id for d in other[query][:10]}) / 10
        for query in one
    ]
    return float(np.mean(shares))


def test_what_is_no_lucene_index(java: None, tmp_path: Path, nothing_left: Check) -> None:
    with pytest.raises(DocumentError, match="no file segments_N"):
        import_lucene(tmp_path, tmp_path / "i")
    (tmp_path / "segments_1").write_bytes(b"nothing of the kind")
    with pytest.raises(DocumentError, match="Lucene cannot read it"):
        import_lucene(tmp_path, tmp_path / "i")
    nothing_left(tmp_path, "segments_1")


def test_terms_that_lucene_would_cut(java: None, tmp_path: Path, nothing_left: Check) -> None:
    for text in ('{"two words": 1}', json.dumps({"x" * 300: 1})):
        with Retriever.create(tmp_path / "i", "terms") as retriever:
            retriever.add([Document("1", text)])
        with pytest.raises(VectorError, match="Lucene would cut it in pieces"):
            export_lucene(tmp_path / "i", tmp_path / "lucene")
        nothing_left(tmp_path, "i")
        shutil.rmtree(tmp_path / "i")


def test_java_is_found_or_asked_for(
    weights_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_left: Check
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ConfigurationError, match="there is none: install a JDK from 21 on"):
        export_lucene(weights_index, tmp_path / "lucene")
    nothing_left(tmp_path)
    (tmp_path / "bin").mkdir()
    java = tmp_path / "bin" / "java"
    for version, found in (("17.0.2", False), ("1.8.0_1", False), ("21", True), ("25.0.1", True)):
        java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-01-01' >&2\n")
        java.chmod(0o755)
        if found:
            assert find_java() == java
        else:
            with pytest.raises(ConfigurationError, match="install a JDK from 21 on"):
                find_java()


def test_pyserini_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"sparseret\[lucene\]"):
        anserini_jar()
