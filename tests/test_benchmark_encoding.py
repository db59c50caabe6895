"""The benchmark of encoding runs at a small size, and its results are read and judged."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("sparseret.kernels._native", reason="the native kernel is not built")

pytestmark = pytest.mark.usefixtures("benchmarks")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_small_run(
    make_model: Callable[..., Path],
    cranfield: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    from benchmarks.encoding import run
    from benchmarks.encoding.records import PEER, EncodingReport
    from benchmarks.result_files import read_results
    from benchmarks.targets import check

    model = make_model(["heat transfer in hypersonic flow", "the lift of a wing in a slipstream"])
    arguments = ["--texts", str(cranfield), "--model", str(model), "--documents", "12"]
    arguments += ["--max-length", "64", "--rounds", "2", "--encoder", PEER, "torch"]
    run.main([*arguments, "--out", str(tmp_path / "encoding")])
    made = json.loads((tmp_path / "encoding.json").read_text("utf-8"))
    assert made["documents"] == 12
    assert 2 < made["mean_tokens"] <= 64
    peer, own = made["documents_encoded"]
    assert (peer["encoder"], own["encoder"]) == (PEER, "torch")
    for encoder in (peer, own):
        assert len(encoder["documents_per_second"]) == 2
        assert encoder["peak_mb"] >= encoder["before_mb"] > 50
    assert peer["largest_difference"] is None
    assert own["largest_difference"] < 1e-4
    assert own["support_differs"] == 0
    assert [query["encoder"] for query in made["queries_encoded"]] == ["BM25", "inference-free"]
    assert f"| {PEER} |" in capsys.readouterr().out
    (result,) = read_results([tmp_path / "encoding.json"])
    assert isinstance(result.record, EncodingReport)
    judged = [target.what for promise in check([result.record]) for target in promise.targets]
    assert len(judged) == 5
