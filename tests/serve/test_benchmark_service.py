"""The benchmark of the service measures what it says, on a minute scale of seconds."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest


@pytest.mark.usefixtures("benchmarks")
def test_service_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cranfield: Path, sixty_documents: Path
) -> None:
    from benchmarks import service

    small = tmp_path / "small"
    (small / "qrels").mkdir(parents=True)
    shutil.copy(sixty_documents, small / "corpus.jsonl")
    for name, lines in (("queries.jsonl", 8), ("qrels/test.tsv", 5)):
        read = (cranfield / name).read_text("utf-8").splitlines()
        (small / name).write_text("\n".join(read[:lines]) + "\n", "utf-8")
    soak = importlib.util.find_spec("psutil") is not None
    monkeypatch.chdir(tmp_path)  # the service imports the installed package, not the sources
    out = tmp_path / "service"
    service.main(
        ["--sets", str(small), "--rounds", "2", "--seconds", "0.3", "--clients", "2",
         "--minutes", "0.03" if soak else "0", "--out", str(out)]
    )  # fmt: skip
    report = json.loads(out.with_suffix(".json").read_text("utf-8"))
    (overhead,), (load,) = report["overheads"], report["loads"]
    assert overhead["documents"] == 60
    assert overhead["service_p50"] > overhead["library_p50"] > 0
    assert load["queries_per_second"] > 0
    if soak:
        (mixed,) = report["soaks"]
        assert (mixed["errors"], mixed["lost"]) == (0, 0)
        assert mixed["acknowledged"] > 0
        assert len(mixed["megabytes"]) == 30
    assert "added p50" in out.with_suffix(".md").read_text("utf-8")
