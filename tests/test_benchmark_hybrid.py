"""The benchmark of fusions in a small run: what it writes is read back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from sparseret.eval.datasets import load_dataset
from sparseret.readers import read_documents

pytestmark = pytest.mark.usefixtures("neural", "benchmarks")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The first documents of Cranfield, and queries that have an answer among them."""
    whole = load_dataset("cranfield")
    documents = [record.document for record in islice(read_documents(whole.corpus), 60)]
    ids = {document.id for document in documents}
    folder = tmp_path / "small"
    (folder / "qrels").mkdir(parents=True)
    lines = [json.dumps({"_id": d.id, "title": d.title, "text": d.text}) for d in documents]
    (folder / "corpus.jsonl").write_text("\n".join(lines), "utf-8")
    rows, queries = [], []
    for query in whole.queries:
        judged = {d: gain for d, gain in whole.qrels[query.id].items() if d in ids and gain > 0}
        if judged:
            queries.append(json.dumps({"_id": query.id, "text": query.text}))
            rows += [f"{query.id}\t{document}\t{gain}" for document, gain in judged.items()]
    (folder / "queries.jsonl").write_text("\n".join(queries), "utf-8")
    (folder / "qrels" / "test.tsv").write_text("\n".join(rows), "utf-8")
    return folder


def test_a_small_run(
    make_model: Callable[..., Path], add_pooling: Callable[..., None], small: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from benchmarks import codes, hybrid
    from benchmarks.result_files import read_results

    splade = make_model(["lift of a wing in a slipstream", "heat transfer to a body"])
    dense = Path(shutil.copytree(splade, tmp_path / "dense"))
    add_pooling(dense)
    monkeypatch.setattr(codes, "DATA", tmp_path / "data")
    hybrid.main(["--model", str(dense), "--splade", str(splade), "--sets", str(small),
                 "--depth", "30", "--rounds", "1", "--out", str(tmp_path / "hybrid")])  # fmt: skip
    (result,) = read_results([tmp_path / "hybrid.json"])
    report = result.record
    assert [h.legs for h in report.hybrids] == [
        ("bm25", "splade"), ("bm25", "dense"), ("bm25", "codes"), ("splade", "dense"),
        ("splade", "codes"), ("dense", "codes"), ("bm25", "splade", "dense"),
        ("bm25", "splade", "dense", "codes"),
    ]  # fmt: skip
    for found in report.hybrids:
        # Weights of a random model are random, those of BM25 are not.
        assert found.best_leg.name == ("bm25" if "bm25" in found.legs else found.best_leg.name)
        assert found.tuned - found.best_leg.difference == pytest.approx(found.best_leg.mean)
        assert 0 <= found.tuned <= 1
    assert all(t.reciprocal_rank_us > 0 and t.min_max_us > 0 for t in report.fuse_times)
    assert "| small | bm25 + splade + dense |" in capsys.readouterr().out

    from benchmarks import hybrid_speed

    out = tmp_path / "speed"
    hybrid_speed.main(["--model", str(dense), "--splade", str(splade), "--sets", str(small),
                       "--queries", "3", "--rounds", "1", "--out", str(out)])  # fmt: skip
    (result,) = read_results([out.with_suffix(".json")])
    times = result.record.leg_times
    assert len(times) == 2 * 2 * 4
    assert all(0 < t.p50 <= t.p99 for t in times)
    assert "| small (60) | vectors | half |" in out.with_suffix(".md").read_text("utf-8")
