"""The main job on real input: index Cranfield, ask its queries, rate the answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

pytest.importorskip("sparseret.kernels._native", reason="the native kernel is not built")

from sparseret.cli.eval import eval_command
from sparseret.eval.datasets import load_dataset
from sparseret.eval.evaluate import evaluate
from sparseret.readers import read_documents
from sparseret.retriever import Retriever

# bm25s 0.2 (lucene, English stop words, Snowball stemmer) on the same files.
REFERENCE = {"nDCG@10": 0.5285, "Recall@100": 0.7568, "MRR@10": 0.8107, "MAP": 0.4260}


def test_effectiveness_of_bm25(tmp_path: Path) -> None:
    dataset = load_dataset("cranfield")
    options = {"k1": 1.5, "b": 0.75}
    with Retriever.create(tmp_path / "index", "bm25", encoder_options=options) as retriever:
        retriever.add(record.document for record in read_documents(dataset.corpus))
        retriever.commit()
        report = evaluate(retriever, dataset)
    assert report.scores.mean == pytest.approx(REFERENCE, abs=0.005)
    assert report.performance is not None
    assert report.performance.n_documents == 1400
    assert report.performance.n_bytes > 100_000


def test_command(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command("eval")(eval_command)
    path = tmp_path / "report.json"
    options = ["--encoder-option", "k1=0.9", "--encoder-option", "b=0.4"]
    first = CliRunner().invoke(app, ["cranfield", *options, "--run", str(tmp_path / "a.run")])
    assert first.exit_code == 0, first.output
    second = CliRunner().invoke(
        app, ["cranfield", "--compare", str(tmp_path / "a.run"), "--json", str(path)]
    )
    assert second.exit_code == 0, second.output
    assert "a.run" in second.output
    report = json.loads(path.read_text())
    assert report["measures"]["nDCG@10"] > 0.45
    assert len(report["per_query"]) == 225
