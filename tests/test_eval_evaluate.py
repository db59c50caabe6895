from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from sparseret.documents import Query
from sparseret.errors import ConfigurationError, DatasetError, MissingExtraError, StorageError
from sparseret.eval.datasets import Dataset
from sparseret.eval.evaluate import Report, evaluate, evaluate_run
from sparseret.eval.plots import plot
from sparseret.eval.report import print_comparison, print_report
from sparseret.eval.runs import RankedDocument
from sparseret.eval.significance import compare
from sparseret.protocols import Hits


class Fake:
    """Answers from a table, and notes what it was asked."""

    def __init__(self, answers: dict[str, list[str]]) -> None:
        self.answers = answers
        self.asked: list[tuple[int, int, int | None]] = []

    def retrieve(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        recall: float | None = None,
        threads: int | None = None,
    ) -> Hits:
        self.asked.append((len(queries), k, threads))
        ids = [self.answers.get(query, [])[:k] for query in queries]
        scores = [np.arange(len(row), 0, -1).astype(np.float32) for row in ids]
        return Hits(ids, scores)

    def __len__(self) -> int:
        return 7

    @property
    def n_bytes(self) -> int:
        return 2048

    @property
    def description(self) -> str:
        return "fake [k1=1.5] $"


def dataset(qrels: dict[str, dict[str, int]], **others: tuple[str, ...]) -> Dataset:
    queries = tuple(Query(query, f"text of {query}") for query in qrels)
    return Dataset("small", "test", Path("corpus.jsonl"), queries, qrels, **others)


SMALL = dataset({"q1": {"a": 1}, "q2": {"b": 2, "c": 1}, "q3": {"a": 1}})
FAKE = Fake({"text of q1": ["x", "a"], "text of q2": ["b", "c"]})


def test_report() -> None:
    report = evaluate(FAKE, SMALL, measures=["MRR@10", "nDCG@10"])
    assert report.scores.mean["MRR@10"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert report.scores.per_query["q2"]["nDCG@10"] == pytest.approx(1)
    assert report.run == {"q1": [("x", 2), ("a", 1)], "q2": [("b", 2), ("c", 1)], "q3": []}
    assert report.retriever == FAKE.description
    cost = report.performance
    assert cost is not None
    assert (cost.n_documents, cost.n_bytes) == (7, 2048)
    assert cost.queries_per_second > 0
    assert 0 < cost.latency.median <= cost.latency.p90 <= cost.latency.p99
    if sys.platform != "win32":
        assert cost.peak_memory_bytes is not None
        assert 1 << 20 < cost.peak_memory_bytes < 1 << 40


def test_one_batch_and_then_single_queries() -> None:
    fake = Fake({})
    evaluate(fake, SMALL, threads=3)
    assert fake.asked[0] == (3, 1000, 3)
    assert fake.asked[1:] == [(1, 10, 1)] * 3


def test_latency_of_at_most_200_queries_spread_over_all() -> None:
    many = dataset({f"q{n}": {"a": 1} for n in range(450)})
    fake = Fake({})
    report = evaluate(fake, many)
    assert len(fake.asked) == 1 + 200
    assert report.performance is not None
    assert report.performance.latency.n_queries == 200


def test_depth_follows_the_measures() -> None:
    for measures, depth in ((["nDCG@10"], 100), (["Recall@300"], 300), (["MAP"], 1000)):
        fake = Fake({})
        assert evaluate(fake, SMALL, measures=measures).depth == depth
        assert fake.asked[0][1] == depth
    with pytest.raises(ConfigurationError, match="Recall@100 looks at 100 results, but k is 20"):
        evaluate(FAKE, SMALL, k=20)
    assert evaluate(FAKE, SMALL, measures=["MAP"], k=20).depth == 20


def test_drop_self() -> None:
    table = {"text of q1": ["q1", "a"] + [f"x{n}" for n in range(200)], "text of q2": ["b"]}
    fake = Fake(table)
    kept = evaluate(fake, SMALL, measures=["MRR@10"], k=10)
    assert kept.scores.per_query["q1"]["MRR@10"] == 0.5
    assert len(kept.run["q1"]) == 10
    fake.asked.clear()
    dropped = evaluate(fake, SMALL, measures=["MRR@10"], k=10, drop_self=True)
    assert fake.asked[0][1] == 11
    assert dropped.scores.per_query["q1"]["MRR@10"] == 1
    # k results remain, whether the query found itself or not.
    assert [document.id for document in dropped.run["q1"]] == ["a"] + [f"x{n}" for n in range(9)]
    fake.answers["text of q1"].remove("q1")
    assert len(evaluate(fake, SMALL, k=10, measures=["MRR@10"], drop_self=True).run["q1"]) == 10
    assert "self-matches dropped" in shown(dropped)
    assert "self-matches" not in shown(kept)


def test_json() -> None:
    report = evaluate(FAKE, SMALL, measures=["nDCG@10"], drop_self=True)
    data = json.loads(json.dumps(report.to_json()))
    assert data["measures"] == {"nDCG@10": pytest.approx(report.scores.mean["nDCG@10"])}
    assert {"median", "mean", "p90", "p99"} <= data["latency_ms"].keys()
    assert data["queries_per_second"] > 0
    assert data["index"] == {"documents": 7, "bytes": 2048}
    assert (data["dataset"], data["split"], data["drop_self"]) == ("small", "test", True)
    assert data["retriever"] == FAKE.description
    assert data["per_query"]["q2"] == {"nDCG@10": pytest.approx(1)}
    assert (data["queries"], data["k"]) == (3, 100)
    assert (data["asked_recall"], data["exact"], data["calibrated_recall"]) == (None, True, 1.0)
    assert (data["latency_ms"]["exact"], data["latency_ms"]["calibrated_recall"]) == (True, 1.0)


def test_finished_run() -> None:
    run = {"q1": [RankedDocument("q1", 2.0), RankedDocument("a", 1.0)]}
    report = evaluate_run(run, SMALL, name="mine", measures=["MRR@10"])
    assert report.scores.mean["MRR@10"] == pytest.approx(0.5 / 3)
    dropped = evaluate_run(run, SMALL, name="mine", measures=["MRR@10"], drop_self=True)
    assert dropped.scores.mean["MRR@10"] == pytest.approx(1 / 3)
    data = report.to_json()
    assert (data["retriever"], data["latency_ms"], data["index"]) == ("mine", None, None)
    assert (data["asked_recall"], data["exact"], data["calibrated_recall"]) == (None, None, None)
    assert "search" not in shown(report)
    with pytest.raises(DatasetError, match="none of its 1 queries"):
        evaluate_run({"elsewhere": []}, SMALL, name="mine")
    assert evaluate_run({}, SMALL, name="mine").scores.mean["MAP"] == 0


def shown(report: Report) -> str:
    console = Console(file=StringIO(), width=120)
    print_report(report, console)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_printed_report() -> None:
    lost = dataset({"q1": {"a": 1}, "q3": {"a": 1}}, unknown_queries=("q8", "q9"))
    text = shown(evaluate(FAKE, lost, measures=["MRR@10"]))
    assert "small (test): fake [k1=1.5] $" in text
    assert "0.2500" in text
    assert "7 documents, 2.0 KiB" in text
    assert "queries without any result: 1" in text
    assert "left out: 2 queries" in text
    assert "latency: median" in text
    assert "latency" not in shown(evaluate_run({}, SMALL, name="mine"))


def test_printed_comparison() -> None:
    report = evaluate(FAKE, SMALL)
    other = evaluate_run({"q1": [RankedDocument("a", 1.0)]}, SMALL, name="other [b=0]")
    console = Console(file=StringIO(), width=120)
    comparisons = [compare(report.scores, other.scores, name) for name in report.scores.mean]
    print_comparison(comparisons, report.retriever, other.retriever, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "fake [k1=1.5] $ against other [b=0]" in text
    (row,) = (line for line in text.splitlines() if line.strip().startswith("MRR@10"))
    assert "0.5000" in row
    assert "0.3333" in row
    assert "+0.1667" in row
    assert row.rstrip().endswith("1/1/1")


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_plot(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    report = evaluate(FAKE, SMALL)
    other = evaluate_run({}, SMALL, name="_other $x_$")
    for name, baseline in (("one", None), ("two", other)):
        path = tmp_path / "new" / f"{name}{suffix}"
        plot(path, report, "nDCG@10", baseline)
        start = path.read_bytes()[:5]
        assert start in (b"\x89PNG\r", b"<?xml", b"%PDF-")


def test_plots_that_cannot_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = evaluate(FAKE, SMALL)
    with pytest.raises(ConfigurationError, match=r"\.png, \.svg, \.pdf"):
        plot(tmp_path / "plot.bmp", report, "nDCG@10")
    with pytest.raises(ConfigurationError, match="P@1 was not computed"):
        plot(tmp_path / "plot.png", report, "P@1")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        plot(tmp_path / "file" / "plot.png", report, "nDCG@10")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"sparseret\[plot\]"):
        plot(tmp_path / "plot.png", report, "nDCG@10")
