"""Ranges, growth and limits run at a small size; what is promised is held against results."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from benchmarks.environment import Environment
    from benchmarks.vectors.records import Measured, VectorReport

pytestmark = pytest.mark.usefixtures("benchmarks")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from benchmarks import own_index
    from benchmarks.scale import run
    from benchmarks.vectors import corpora

    for module in (own_index, run, corpora):
        monkeypatch.setattr(module, "DATA", tmp_path)
    return tmp_path


def test_a_small_run_on_ranges(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.ranges import run
    from benchmarks.ranges.methods import Answer, Methods
    from benchmarks.ranges.records import RANGE

    arguments = ["--corpus", "msmarco-like:1500", "--queries", "6", "--windows", "3"]
    arguments += ["--smallest", "7", "--rounds", "1", "--out", str(data / "out")]
    run.main(arguments)
    made = json.loads((data / "out" / "ranges-msmarco-like-1500.json").read_text())
    assert [size["documents"] for size in made["window_sizes"]] == [
        12, 23, 47, 94, 188, 375, 750, 1500,
    ]  # fmt: skip
    for size in made["window_sizes"]:
        assert {t["method"] for t in size["times"]} == {m["name"] for m in made["methods"]}
        assert all(t["p99_us"] >= t["median_us"] > 0 for t in size["times"])
        assert 0 < size["mean_hits"] <= 10
    assert (data / "out" / "ranges-msmarco-like-1500.svg").exists()
    assert "| 2^-7 | 12 |" in capsys.readouterr().out

    right = Methods.answer

    def wrong(self: Methods, method: str, raw: Any) -> Answer:
        found = right(self, method, raw)
        return found if method == RANGE else Answer(found.documents + 1, found.scores)

    monkeypatch.setattr(Methods, "answer", wrong)
    with pytest.raises(run.DisagreementError, match="where found"):
        run.main(arguments)


def test_answers_are_compared() -> None:
    from benchmarks.ranges.methods import Answer
    from benchmarks.ranges.run import agree

    def answer(documents: list[int], scores: list[float]) -> Answer:
        return Answer(np.array(documents, np.int64), np.array(scores, np.float32))

    one = answer([4, 2, 7], [3, 2, 1])
    assert agree(one, answer([4, 2, 7], [3, 2, 1]), same_sums=True)
    assert not agree(one, answer([4, 2], [3, 2]), same_sums=True)
    rounded = answer([4, 2, 9], [3, 2, 1.000001])
    assert not agree(one, rounded, same_sums=True)
    assert agree(one, rounded, same_sums=False)  # 7 and 9 tie at the end
    assert not agree(one, answer([4, 3, 7], [3, 2, 1]), same_sums=False)
    assert not agree(one, answer([4, 2, 7], [3, 2, 1.1]), same_sums=False)
    assert agree(answer([], []), answer([], []), same_sums=False)


def test_window_sizes_have_documents() -> None:
    from benchmarks.ranges.run import window_sizes

    assert window_sizes(5, 16) == [(2, 1), (1, 2), (0, 5)]
    assert window_sizes(2**20, 16)[0] == (16, 16)


def test_growth_is_measured_once_a_size(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.scale.run import main

    arguments = ["--documents", "700", "--queries", "8", "--rounds", "1"]
    arguments += ["--memory-budget", "1000000", "--out", str(data / "out" / "scale")]
    main(arguments)
    text = (data / "out" / "scale.json").read_text()
    (size,) = json.loads(text)["sizes"]
    stages = [stage["name"] for stage in size["building"]["stages"]]
    assert stages == ["generate", "add", "commit", "merge", "tune"]
    assert (size["documents"], size["memory_budget"]) == (700, 1_000_000)
    assert size["building"]["segments"] == 1
    assert size["building"]["disk_bytes"] > 700 * 118 * 8
    assert size["built"]["peak_resident_mb"] > size["built"]["peak_anonymous_mb"] > 10
    exact, *others = size["searching"]["modes"]
    assert exact["recall"] == 1
    assert all(0.5 < mode["recall"] <= 1 for mode in others)
    moments = [resident["when"] for resident in size["searching"]["resident"]]
    assert moments == ["before opening", "opened", "1 query", "8 queries", "the end"]
    assert not [item for item in data.iterdir() if item.name.startswith("scale-")]
    capsys.readouterr()
    main(arguments)
    assert (data / "out" / "scale.json").read_text() == text
    assert "--again" in capsys.readouterr().err


def test_a_small_run_on_limits(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.limits import machine, run

    monkeypatch.setattr(machine, "_ARRAY_BYTES", 2**20)
    arguments = ["--corpus", "msmarco-like:1500", "--queries", "10", "--rounds", "1"]
    run.main([*arguments, "--instructions", "0", "--out", str(data / "out")])
    made = json.loads((data / "out" / "limits-msmarco-like-1500.json").read_text())
    assert made["machine"]["scatter_ns"] > 0
    exact = made["limits"][0]
    assert exact["mode"] == "exact"
    assert exact["instructions"] is None
    work = exact["moved"]
    assert 10 <= work["rows"] <= 1500
    assert work["posting_bytes"] == pytest.approx(work["postings"] * 2.125)
    assert work["accumulator_bytes"] == 2**15 * 2 * 2  # one window, written and read
    # A rank and a value of each of about 118 terms, and two offsets.
    assert 100 * 6 < work["row_bytes"] / work["rows"] < 140 * 6 + 16
    # All terms of a query are in a corpus of this size, each in one list of 12 bytes, or in none.
    assert 20 * 12 < work["directory_bytes"] <= 41 * 12
    assert exact["threads"]["batch_us"] > 0
    assert "not asked for" in capsys.readouterr().out


def test_calls_take_turns() -> None:
    from benchmarks.rounds import latency, time_calls

    asked: list[tuple[str, int]] = []

    def call(name: str) -> Any:
        def run(q: int) -> str:
            asked.append((name, q))
            return f"{name}{q}"

        return run

    one, other = time_calls([call("a"), call("b")], 60, rounds=2)
    assert one.answers == [f"a{q}" for q in range(60)]
    assert other.answers == [f"b{q}" for q in range(60)]
    assert one.microseconds.shape == (60,)
    # Each is put twice; the first three of a block of 50 are preceded by others, to warm up.
    assert asked.count(("a", 55)) == asked.count(("b", 5)) == 2
    assert asked[:50] != [("a", q) for q in range(50)]
    assert [name for name, _ in asked[:106]] == ["a"] * 53 + ["b"] * 53
    assert latency(np.array([1.0, 2.0, 30.0])) == (2.0, 11.0, pytest.approx(29.44))


def test_slow_calls_are_put_fewer_queries() -> None:
    from benchmarks.rounds import time_calls

    def slow(q: int) -> int:
        time.sleep(0.005)
        return q

    fast, few = time_calls([lambda q: q, slow], 60, rounds=1, seconds=0.02)
    assert fast.answers == list(range(60))
    assert few.answers == list(range(10))
    assert few.microseconds.shape == (10,)
    assert few.microseconds.min() >= 5000


@pytest.mark.parametrize("cores", [1, 2])
def test_batches_with_two_threads_need_two_cores(
    cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import rounds

    monkeypatch.setattr(rounds, "_usable_cores", lambda: cores)
    used: list[int] = []
    one, two = rounds.time_batches(used.append, 5, rounds=2)
    assert one > 0
    assert (two is None) == (cores == 1)
    assert used == [1, 2][:cores] * 3


def test_small_readers() -> None:
    from benchmarks.limits.instructions import read_total
    from benchmarks.process import FailedError, memory_mb
    from benchmarks.scale.search import achieved

    assert read_total("version: 1\nfn=(1) f\n3 5\nsummary: 100\n\ntotals: 123\n") == 123
    with pytest.raises(FailedError, match="no total"):
        read_total("version: 1\n")
    status = "Name:\tpython\nVmHWM:\t    1000 kB\nRssAnon:\t     500 kB\nThreads:\t2\n"
    assert memory_mb(status) == {"VmHWM": 1.024, "RssAnon": 0.512}
    exact = [np.array([3, 2, 1], np.float32), np.array([], np.float32)]
    assert achieved(exact, exact) == 1
    found = [np.array([3, 1], np.float32), np.array([], np.float32)]
    assert achieved(exact, found) == pytest.approx((2 / 3 + 1) / 2)


def _measured(engine: str, k: int, us: float, **other: Any) -> Measured:
    from benchmarks.vectors.records import Measured

    record = Measured(engine, "-", "-", k, (0.95,), None, 0.96, 0.8, us, us, us, None, (us,))
    return replace(record, **other)


def _where() -> Environment:
    from benchmarks.environment import Environment

    return Environment("command", "time", "cpu", 2, 1.0, "system", "3", ())


def _report(name: str, measured: list[Measured], built: list[Any] | None = None) -> VectorReport:
    from benchmarks.vectors.records import Corpus, VectorReport

    corpus = Corpus(name, 10, 5, 1.0, 1.0, 1.0, 1, 1)
    return VectorReport(_where(), corpus, 1, (), tuple(built or ()), (), tuple(measured))


def _outcomes(check: Any, report: Any) -> list[tuple[str, bool]]:
    return [(target.measured, target.met) for target in check(report)]


def test_promises_on_searching() -> None:
    from benchmarks.promises import searching

    ours = _measured("sparseret", 100, 10.0)
    for us, met in ((29.0, False), (30.0, True)):
        report = _report("c", [ours, _measured("seismic", 100, us), _measured("bmp", 100, 99.0)])
        assert _outcomes(searching.fast_for_hundred, report) == [(f"{us / 10:.2f} ×", met)]
        assert [met for _, met in _outcomes(searching.fast, report)] == [True]
    slow = replace(ours, p99_us=41.0)
    assert _outcomes(searching.steady, _report("c", [ours, slow])) == [("4.10 ×", False)]
    many = _report("c", [replace(ours, k=10), replace(ours, k=1000, mean_us=30.0)])
    assert _outcomes(searching.many_results, many) == [("3.00 ×", True)]
    exact = [replace(ours, promised=1.0, recall=1.0), replace(ours, promised=0.9, recall=0.8)]
    assert _outcomes(searching.is_exact, _report("c", exact)) == [("1.0000", True)]
    lost = [replace(ours, promised=1.0, recall=0.9999)]
    assert _outcomes(searching.is_exact, _report("c", lost)) == [("0.9999", False)]
    exact = [replace(ours, levels=(1.0,)), _measured("bm25s", 100, 60.0, levels=(1.0,))]
    assert _outcomes(searching.static, _report("c", exact)) == []
    assert _outcomes(searching.static, _report("c-static", exact)) == [("6.00 ×", True)]


def test_promises_on_recall() -> None:
    from benchmarks.promises import searching
    from benchmarks.recall import Kept, RecallReport, markdown

    kept = (Kept(0.9, (0.88, 0.90)), Kept(0.95, (0.93, 0.94)))
    report = RecallReport(_where(), "c", 100, 10, 50, kept)
    assert _outcomes(searching.keeps_recall, report) == [("0.8900", True), ("0.9350", False)]
    assert "| 0.95 | 0.9350 | 0.9300 | 0.9400 |" in markdown(report)


def test_promises_on_leads() -> None:
    from benchmarks.promises import searching

    ours = [_measured("sparseret", 10, 10.0, levels=(0.95, 0.99, 1.0))]
    seismic = [_measured("seismic", 10, 49.0, levels=(0.9, 0.95)),
               _measured("seismic", 10, 70.0, levels=(0.99,))]  # fmt: skip
    assert _outcomes(searching.far_ahead, _report("splade-short", [*ours, *seismic])) == [
        ("4.90 ×", True), ("4.90 ×", False), ("7.00 ×", True)
    ]  # fmt: skip
    bmp = replace(_measured("bmp", 10, 29.0, levels=(0.9,)), recall=0.97)
    (lead,) = searching.far_ahead(_report("splade-long", [*ours, bmp]))
    assert (lead.met, "best, recall 0.970" in lead.what) == (False, True)
    assert _outcomes(searching.far_ahead, _report("splade-long-static", [*ours, bmp])) == []


def test_promises_on_building() -> None:
    from benchmarks.promises import building
    from benchmarks.vectors.records import Built, Swept

    def built(engine: str, build: str, cpu: float, size: int) -> Built:
        return Built(engine, build, cpu, cpu, 1.0, 1.0, size, None, 0.1)

    # The small index of the peer does not reach the recall, so it does not count.
    indexes = [
        built("sparseret", "-", 2.0, 700),
        built("seismic", "small", 20.0, 100),
        built("seismic", "large", 100.0, 1000),
        built("sindi", "x", 1.9, 1),
    ]
    measured = [
        _measured("seismic", 10, 1.0, build="large"),
        _measured("seismic", 10, 1.0, build="small", levels=(0.9,)),
    ]
    report = _report("splade-short", measured, indexes)
    assert _outcomes(building.faster_than_seismic, report) == [("50.00 ×", True)]
    assert _outcomes(building.faster_than_sindi, report) == [("0.95 ×", False)]
    assert _outcomes(building.smaller_than_seismic, report) == [("0.70 ×", False)]
    generated = _report("msmarco-like:10", measured, indexes)
    swept = [
        Swept("sparseret", "-", "", 10, 1.0, 1.0, None, exact=True, promised=None),
        Swept("sparseret", "precision=uint8", "", 10, 0.96, 1.0, None, exact=False, promised=None),
        Swept("seismic", "large", "", 10, 0.99, 1.0, None, exact=False, promised=None),
        Swept("scipy", "-", "", 10, 1.0, 1.0, None, exact=True, promised=None),
    ]
    rounded = [
        *indexes,
        built("sparseret", "precision=uint8", 2.0, 500),
        built("scipy", "-", 1, 650),
    ]
    equal = replace(_report("splade-long", measured, rounded), swept=tuple(swept))
    assert _outcomes(building.smallest_at_equal_recall, equal) == [
        ("0.77 ×", True), ("1.08 ×", False), ("1.08 ×", False), ("1.08 ×", False)
    ]  # fmt: skip
    assert _outcomes(building.smaller_than_seismic, generated) == [("0.70 ×", True)]


def test_the_page_names_what_is_missing(tmp_path: Path) -> None:
    from benchmarks import report
    from benchmarks.targets import PROMISES, check, target_lines

    lines = target_lines(check([]))
    assert sum("| not measured yet |" in line for line in lines) == len(PROMISES)
    met = _report("splade-long", [_measured("sparseret", 10, 1.0)])
    missed = _report("splade-long", [_measured("sparseret", 10, 1.0, p99_us=9.0)])
    assert any("**missed** (reached 1 of 2)" in line for line in target_lines(check([met, missed])))
    (tmp_path / "strange.json").write_text('{"of": "another kind"}')
    page = tmp_path / "page.md"
    report.main(["--results", str(tmp_path), "--out", str(page)])
    text = page.read_text()
    assert "- `scale.json`: `python -m benchmarks scale`" in text
    assert "- `ranges-msmarco-like-1000000.json`: `python -m benchmarks ranges" in text


def test_a_small_run_on_vocabulary_heads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import vocabulary_head
    from benchmarks.result_files import read_results

    arguments = ["--random", "600", "20", "--tokens", "40", "7", "--texts", "3", "--rounds", "2"]
    vocabulary_head.main([*arguments, "--out", str(tmp_path / "head")])
    (result,) = read_results([tmp_path / "head.json"])
    assert (result.record.columns, result.record.width) == (600, 20)
    assert {head.tokens for head in result.record.heads} == {40, 7}
    assert all(len(head.milliseconds) == 2 for head in result.record.heads)
    assert "| numpy, all logits | 40 |" in capsys.readouterr().out
    decoder, states = vocabulary_head.random_states(300, 8, [30], 2)
    wrong = vocabulary_head.VocabularyHead(decoder.weight, decoder.bias + np.float32(1))
    monkeypatch.setattr(vocabulary_head, "VocabularyHead", lambda *_: wrong)
    with pytest.raises(ValueError, match="sparseret float32 finds something else"):
        vocabulary_head.measure_heads(decoder, states, 1)


def test_a_small_run_on_binary_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import sdr
    from benchmarks.promises import overlap
    from benchmarks.result_files import read_results

    arguments = ["--codes", "500", "--cells", "256", "--active", "10", "--rounds", "2"]
    sdr.main([*arguments, "--queries", "5", "--out", str(tmp_path / "sdr")])
    (result,) = read_results([tmp_path / "sdr.json"])
    report = result.record
    assert (report.codes, report.cells, report.active) == (500, 256, 10)
    ours = [own for own in report.overlap_searches if own.method == "SdrIndex"]
    assert [own.times_fastest for own in ours] == [1.0, 1.0]
    assert "| SdrIndex | random |" in capsys.readouterr().out
    assert list(overlap.searches(report)) == []
    peer = replace(ours[0], method=sdr.FAISS, times_fastest=9.0)
    large = replace(report, codes=10**6, cells=2048, active=40, overlap_searches=(peer,))
    assert [target.met for target in overlap.searches(large)] == [False]
    index, rows = sdr.SdrIndex.build(sdr._draw(np.random.default_rng(0), 50, 64, 5)), 3
    queries = sdr._draw(np.random.default_rng(1), rows, 64, 5)
    calls = {"one": sdr._own(index, queries, 5), "other": lambda _: np.zeros(5, np.int64)}
    with pytest.raises(ValueError, match="other finds other overlaps than one"):
        sdr._compared(calls, "random", rows, 1)


def test_windows_of_dense_vectors_are_compared_at_equal_recall(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("faiss", reason="needs faiss-cpu (extra hybrid)")
    from benchmarks.result_files import read_results
    from benchmarks.windows import run
    from benchmarks.windows.tables import markdown

    arguments = ["--documents", "2000", "--smallest", "4", "--queries", "10", "--rounds", "1"]
    arguments += ["--m", "8", "--ef-construction", "20", "--folder", str(tmp_path / "segments")]
    run.main([*arguments, "--out", str(tmp_path)])
    (result,) = read_results([tmp_path / "windows.json"])
    sizes = result.record.dense_windows
    assert [size.documents for size in sizes] == [125, 250, 500, 1000, 2000]
    for size in sizes:
        recalls = {times.method: times.recall for times in size.times}
        assert recalls["sparseret, exact"] == 1.0
        assert recalls["faiss, flat"] > 0.98  # sums are rounded otherwise
        assert min(recalls.values()) >= 0.95
    assert "| 2^-4 | 125 |" in markdown(result.record)
    run.main([*arguments, "--out", str(tmp_path)])  # by the segment that is there
    capsys.readouterr()
