"""The benchmark of projections runs at a small size, and its results are read and judged."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

pytest.importorskip("sparseret.kernels._native", reason="the native kernel is not built")

pytestmark = pytest.mark.usefixtures("benchmarks")


@pytest.fixture(autouse=True)
def _bundled_corpus(cranfield: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data" / "cranfield"
    folder.mkdir(parents=True)
    texts = gzip.decompress((cranfield / "corpus.jsonl.gz").read_bytes())
    (folder / "corpus.jsonl").write_bytes(texts)
    (folder / "queries.jsonl").write_bytes((cranfield / "queries.jsonl").read_bytes())
    monkeypatch.setenv("SPARSERET_DATA", str(tmp_path / "data"))


def test_a_small_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks import projection
    from benchmarks.result_files import read_results
    from benchmarks.targets import check

    arguments = ["--corpus", "cranfield", "--rounds", "3", "--components", "40", "--ratios"]
    projection.main([*arguments, "--out", str(tmp_path / "projection")])
    (result,) = read_results([tmp_path / "projection.json"])
    report = result.record
    assert (report.texts, report.features) == (1400, 4725)
    assert {p.density for p in report.projections} == {"auto", "0.333"}
    assert all(len(p.milliseconds) == 3 for p in report.projections)
    recalls = {(h.method, h.length, h.stored_bits): h.recall for h in report.hashes}
    assert recalls["expansion hashing", 64, 704] > recalls["random hyperplanes", 64, 64]
    assert report.graph == []
    assert "| sparseret | auto |" in capsys.readouterr().out
    judged = [target.what for promise in check([report]) for target in promise.targets]
    assert len(judged) == len(report.projections) - 2


def test_a_wrong_projection_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import projection

    texts = projection.bm25_vectors("cranfield")
    wrong = projection.SparseRandomProjection
    monkeypatch.setattr(wrong, "transform", lambda own, rows: -(rows[:, :1] @ own.components([0])))
    with pytest.raises(ValueError, match="something else"):
        projection.measure_projections(texts, 8, 1)
