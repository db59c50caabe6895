"""The benchmarks of codes in small runs: what they measure is right, and is read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sparseret import read_documents

pytestmark = pytest.mark.usefixtures("neural", "benchmarks")


def test_a_small_run_on_the_largest_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import top_k
    from benchmarks.promises import selecting
    from benchmarks.result_files import read_results

    out = str(tmp_path / "top-k")
    top_k.main(["--width", "2000", "--k", "5", "--rounds", "2", "--out", out])
    (result,) = read_results([tmp_path / "top-k.json"])
    report = result.record
    assert [(t.what, t.method) for t in report.selections] == [
        ("top-k", "sparseret"), ("top-k", "sparseret, statistical"), ("top-k", "torch"),
        ("decode", "rows"), ("decode", "dense product"),
    ]  # fmt: skip
    assert "| top-k | 5 | torch |" in capsys.readouterr().out
    first, _, torch, *_ = report.selections
    slow = replace(torch, microseconds=tuple(6 * t for t in first.microseconds))
    fast = replace(torch, microseconds=first.microseconds)
    for peer, met in ((slow, True), (fast, False)):
        held = selecting.faster(replace(report, selections=[first, peer]))
        assert [target.met for target in held] == [met]


@pytest.fixture
def model(make_model: Callable[..., Path], add_pooling: Callable[..., None]) -> Path:
    """A small dense model."""
    model = make_model(["lift of a wing in a slipstream", "heat transfer to a body"])
    add_pooling(model)
    return model


def test_a_small_run_on_codes(
    model: Path, cranfield: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import codes
    from benchmarks.result_files import read_results

    monkeypatch.setattr(codes, "DATA", tmp_path / "data")
    arguments = ["--model", str(model), "--sets", str(cranfield), "--k", "2", "--recipes", "topk:1"]
    for _ in range(2):  # the second reads the vectors of the first
        codes.main([*arguments, "--out", str(tmp_path / "codes")])
    (result,) = read_results([tmp_path / "codes.json"])
    report = result.record
    assert [(q.method, q.k, q.bytes) for q in report.codes[1:]] == [
        ("cut", 2, 8), ("PCA", 2, 8), ("topk, codes of queries", 2, 8), ("topk, query_k", 2, 8),
    ]  # fmt: skip
    assert all(0 <= q.ndcg <= 1 for q in report.codes)
    assert len(list((tmp_path / "data").iterdir())) == 2
    (trained,) = report.trained
    assert (trained.dim, trained.k, trained.recipe) == (768, 2, "topk")
    assert trained.normalized_error > 0


def test_a_small_run_on_concepts(
    model: Path, cranfield: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from benchmarks import codes, concepts

    monkeypatch.setattr(codes, "DATA", tmp_path / "data")
    small = tmp_path / "small"
    (small / "qrels").mkdir(parents=True)
    found = [record.document for record in read_documents(cranfield)][:40]
    lines = [json.dumps({"_id": d.id, "title": d.title, "text": d.text}) for d in found]
    (small / "corpus.jsonl").write_text("\n".join(lines), "utf-8")
    (small / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "lift of a wing"}))
    (small / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\nq\t{found[0].id}\t1\n")
    concepts.main([
        "--model", str(model), "--sets", str(small), "--count", "30", "-k", "4",
        "--names", str(tmp_path / "names"),
    ])  # fmt: skip
    output = capsys.readouterr().out
    for training in ("dense vectors", "none", "contrastive", "gumbel", "l1"):
        assert f"| small | {training} |" in output
    names = (tmp_path / "names" / "small.txt").read_text("utf-8").splitlines()
    assert len(names) == 30


def test_frequent_terms() -> None:
    from benchmarks.concepts import frequent_terms

    texts = ["Heat transfer to a wing", "heat of wings", "heat transfer", *["drag"] * 12]
    assert frequent_terms(texts, 3) == ["heat", "heat transfer", "transfer"]


def test_a_small_run_on_dictionaries(
    model: Path, cranfield: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from benchmarks import codes, dictionaries

    monkeypatch.setattr(codes, "DATA", tmp_path / "data")
    dictionaries.main([
        "--model", str(model), "--sets", str(cranfield), "--k", "2", "--codebooks", "4",
        "--entries", "8",
    ])  # fmt: skip
    table = capsys.readouterr().out
    assert [line.split("|")[2].strip() for line in table.splitlines()[2:]] == [
        "dense", "dictionary of 768, k=2", "vq, product, 4 x 8", "vq, residual, 4 x 8",
    ]  # fmt: skip
