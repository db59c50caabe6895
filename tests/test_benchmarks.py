"""The benchmark harness runs, agrees with its peers, and writes what it promises."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_a_small_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.run import main

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
