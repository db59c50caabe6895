"""The benchmarks run, agree with the truth and with peers, and write what they promise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

pytestmark = pytest.mark.usefixtures("benchmarks")


def test_a_small_lexical_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.lexical.run import main

    engines = ["sparseret", "sparseret-memory", "bm25s-numpy", "scipy"]
    arguments = ["--corpus", "generated:500", "--engine", *engines, "--k", "10", "--threads", "2"]
    arguments += ["--rounds", "1", "--index-rounds", "1", "--queries", "20"]
    main([*arguments, "--out", str(tmp_path / "small")])
    report = json.loads((tmp_path / "small.json").read_text())
    assert {cell["engine"] for cell in report["throughput"]} == set(engines)
    assert all(row["largest_relative_difference"] < 1e-4 for row in report["agreement"])
    assert len(report["agreement"]) == len(engines) - 1
    assert (tmp_path / "small.png").read_bytes().startswith(b"\x89PNG")
    assert "| sparseret (text) |" in (tmp_path / "small.md").read_text()
    assert "queries/s" in capsys.readouterr().out


def test_a_small_run_on_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import report
    from benchmarks.vectors import build, corpora
    from benchmarks.vectors.run import main

    monkeypatch.setattr(corpora, "DATA", tmp_path)
    monkeypatch.setattr(build, "DATA", tmp_path)
    monkeypatch.setenv("SPARSERET_BENCHMARK_DATA", str(tmp_path))  # for the builds' processes
    arguments = ["--corpus", "msmarco-like:3000", "--engine", "sparseret", "scipy", "bm25s"]
    arguments += ["--k", "10", "--queries", "40", "--rounds", "2", "--out", str(tmp_path / "out")]
    main(arguments)
    made = json.loads((tmp_path / "out" / "vectors-msmarco-like-3000.json").read_text())
    skipped = {engine["name"]: engine["skipped"] for engine in made["engines"]}
    assert skipped["sparseret"] is skipped["scipy"] is None
    assert skipped["bm25s"]
    exact = [m for m in made["measured"] if 1.0 in m["levels"]]
    assert {m["engine"] for m in exact} == {"sparseret", "scipy"}
    assert all(m["recall"] == 1.0 and m["p99_us"] >= m["median_us"] > 0 for m in exact)
    assert all(b["wall_seconds"] > 0 and b["disk_bytes"] > 0 for b in made["built"])
    report.main(["--results", str(tmp_path / "out"), "--out", str(tmp_path / "page.md")])
    page = (tmp_path / "page.md").read_text()
    assert "msmarco-like:3000: top 10, exact" in page
    assert "](out/vectors-msmarco-like-3000-k10.svg)" in page
    capsys.readouterr()


def test_presets_are_measured_against_the_vectors_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import presets
    from benchmarks.environment import environment
    from benchmarks.long_texts import LongText
    from benchmarks.vectors.corpora import VectorCorpus
    from sparseret.indexers.reduction import Reduction

    monkeypatch.setattr(presets, "COLLECTIONS", ("toy",))
    monkeypatch.setenv("SPARSERET_DATA", str(tmp_path))
    (tmp_path / "toy" / "qrels").mkdir(parents=True)
    judged = "query-id\tcorpus-id\tscore\nq\ta\t1\n"
    (tmp_path / "toy" / "qrels" / "test.tsv").write_text(judged)
    rows = np.array([[1, 0.45, 0], [1, 0.5, 0], [1, 0, 2]], np.float32)
    sparse.save_npz(tmp_path / "documents.npz", sparse.csr_array(rows))
    asked = sparse.csr_array(np.array([[1, 1, 0], [0, 0, 1]], np.float32))
    corpus = VectorCorpus("toy", 3, asked, tmp_path / "documents.npz")
    documents = [LongText("toy", "b", ""), LongText("toy", "a", ""), LongText("other", "", "")]
    queries = [LongText("toy", "q", ""), LongText("toy", "not judged", "")]
    settings = (Reduction(), Reduction(max_terms=1))
    found = presets.measure_presets(corpus, documents, queries, settings)
    assert [preset.values_per_document for preset in found] == [2, 1, 2]
    assert [preset.recall for preset in found] == pytest.approx([1, 5 / 6, 1])
    assert [preset.ndcg for preset in found] == [(1,), (pytest.approx(0.6309, abs=1e-4),), (1,)]
    report = presets.PresetReport(environment(), 3, 2, ("toy",), found)
    assert "| float32, at most 1 terms | 1.0 |" in presets.markdown(report)
    capsys.readouterr()


def test_recall_counts_ties_as_right() -> None:
    from benchmarks.vectors.truth import exact_top

    rows = sparse.csr_array(np.array([[3, 0], [2, 0], [2, 0], [1, 0], [0, 9]], np.float32))
    queries = sparse.csr_array(np.array([[1, 0], [0, 1]], np.float32))
    # In two chunks, as large corpora come.
    truth = exact_top([rows[:3], rows[3:]], queries, [1, 2])
    assert truth[2].recall([[0, 1], [4]]).tolist() == [1, 1]
    assert truth[2].recall([[0, 2], []]).tolist() == [1, 0]
    assert truth[2].recall([[0, 3], [4, 4]]).tolist() == [0.5, 1]
    assert truth[2].recall([[2, 2, -1], [3]]).tolist() == [0.5, 0]
    assert truth[1].recall([[1], [4]]).tolist() == [0, 1]
    assert truth[2].part(1, 2).recall([[4]]).tolist() == [1]


def test_generated_vectors_are_like_splade_on_ms_marco() -> None:
    from benchmarks.generate_vectors import VOCABULARY, document_chunk, documents, queries

    chunk = document_chunk(1)
    lengths = np.diff(chunk.indptr)
    assert lengths.min() > 0
    assert 112 < lengths.mean() < 126
    assert 0 < chunk.data.min() <= chunk.data.max() <= 3
    assert chunk.has_canonical_format
    made = queries(100_000, 50)
    assert 39 < made.nnz / 50 < 43
    frequencies = np.bincount(chunk.indices, minlength=VOCABULARY)
    postings = frequencies[made.indices].sum() / 50 / chunk.shape[0]
    assert 1.2 < postings < 2.0  # a million documents: about 1.6M postings a query
    parts = list(documents(70_000))
    assert [part.shape[0] for part in parts] == [65_536, 70_000 - 65_536]
    assert (parts[1] != chunk[: parts[1].shape[0]]).nnz == 0


def test_columns_with_one_weight() -> None:
    from benchmarks.vectors.corpora import VectorCorpus

    same = sparse.csr_array(np.array([[1, 2, 0], [1, 0, 0]], np.float32))
    weights = VectorCorpus("same", 0, same, None).column_weights()
    assert weights is not None
    assert weights.tolist() == [1, 2, 0]
    other = sparse.csr_array(np.array([[1, 2, 0], [3, 0, 0]], np.float32))
    assert VectorCorpus("other", 0, other, None).column_weights() is None
