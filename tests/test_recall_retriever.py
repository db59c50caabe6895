"""Exact and approximate search, tuning and the memory budget, by texts and on the command line."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from scipy.sparse import csr_array

from sparseret import vectors
from sparseret.cli.options import parse_size
from sparseret.documents import Document
from sparseret.errors import ConfigurationError, IndexLockedError
from sparseret.indexers.reduction import Reduction
from sparseret.indexers.verify import verify_index
from sparseret.protocols import CollectionEncoder, Encoder, Mode
from sparseret.retriever import Retriever

DIM = 300


class WrittenWeights:
    """Texts such as "7:0.25 12:1.5" are vectors written down: column and positive weight."""

    name = "written"
    signed = False
    dim = DIM
    space = "written/300"
    description = "weights written in the texts"

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> WrittenWeights:
        return cls(**options)

    @property
    def options(self) -> dict[str, Any]:
        return {}

    def encode_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> csr_array:
        ptr, columns, values = [0], [], []
        for document in documents:
            text = document if isinstance(document, str) else document.content
            for word in text.split():
                column, colon, value = word.partition(":")
                if colon:
                    columns.append(int(column))
                    values.append(float(value))
            ptr.append(len(columns))
        return vectors.from_arrays(
            np.array(ptr, np.int64), np.array(columns, np.int32), np.array(values, np.float32), DIM
        )

    def encode_queries(self, queries: Sequence[str], *, show_progress: bool = False) -> csr_array:
        return self.encode_documents(queries)

    def term(self, column: int) -> str:
        return str(column)

    def save(self, path: str | Path) -> None:
        Path(path).mkdir(parents=True, exist_ok=True)


def texts(n: int, seed: int) -> list[str]:
    """Vectors in which some columns are popular, written down."""
    rng = np.random.default_rng(seed)
    popular = 1 / np.arange(1, DIM + 1) ** 0.7
    dense = rng.gamma(1.0, 0.5, (n, DIM)) * (rng.random((n, DIM)) < 0.1 * popular / popular.mean())
    return [
        " ".join(f"{column}:{row[column]:.4f}" for column in np.flatnonzero(row >= 0.0001))
        for row in dense
    ]


def make_index(path: Path, n: int) -> Path:
    """An index that no one has calibrated yet."""
    with Retriever.create(path, WrittenWeights()) as retriever:
        retriever.add(Document(str(i), text) for i, text in enumerate(texts(n, 1)))
    return path


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of 1,000 documents, calibrated for 10 and 100 results. Nobody changes it."""
    path = make_index(tmp_path_factory.mktemp("recall") / "i", 1000)
    with Retriever.open(path, WrittenWeights()) as retriever:
        retriever.tune(texts(40, 2))
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """An index of 200 documents, for everyone's own use."""
    return make_index(tmp_path / "small", 200)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the encoder as another package would."""
    monkeypatch.setitem(sys.modules, "written_package", sys.modules[__name__])
    point = EntryPoint("written", "written_package:WrittenWeights", "sparseret.encoders")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: EntryPoints([point]))


def test_the_encoder_is_one() -> None:
    assert isinstance(WrittenWeights(), Encoder)
    assert not isinstance(WrittenWeights(), CollectionEncoder)


# --- in Python ----------------------------------------------------------------------------------


def test_a_search_by_recall_says_how_it_was_made(tuned: Path) -> None:
    queries = texts(100, 3)
    with Retriever.open(tuned, WrittenWeights()) as retriever:
        exact = retriever.retrieve(queries, exact=True)
        assert exact.mode == retriever.mode() == retriever.mode(exact=True) == Mode()
        assert retriever.retrieve(queries).ids == exact.ids
        found = retriever.retrieve(queries, recall=0.9)
        assert found.mode == retriever.mode(recall=0.9)
        assert not found.mode.exact
        assert 0.9 <= found.mode.recall < 1
        assert found.mode.description == (
            f"approximate, recall {found.mode.recall:.3f} when calibrated"
        )
        overlap = [
            np.mean(got >= want[-1]) for want, got in zip(exact.scores, found.scores, strict=True)
        ]
        assert 0.85 <= np.mean(overlap) < 1
        # The three ways to search are one, and documents come with either mode.
        batch = retriever.search_batch(queries, recall=0.9)
        assert [[result.id for result in row] for row in batch] == found.ids
        for query, row in zip(queries[:5], batch, strict=False):
            assert retriever.search(query, recall=0.9) == row
        assert [r.id for r in retriever.search(queries[0], exact=True)] == exact.ids[0]
        assert all(type(row) is list for row in batch)
        # Nothing was measured for so many results.
        assert retriever.mode(1001, recall=0.9).exact


def test_modes_in_words() -> None:
    assert Mode().description == "exact"
    assert Mode(exact=False, recall=math.nan).description.startswith("approximate, by an effort")


@pytest.mark.parametrize("recall", [0.4, 1.0, 95, math.nan, "0.9", True])
def test_a_recall_that_cannot_be_asked_for(tuned: Path, recall: Any) -> None:
    with Retriever.open(tuned, WrittenWeights()) as retriever:
        for ask in (retriever.mode, lambda **o: retriever.search("1:1", **o)):
            with pytest.raises(ConfigurationError, match=r"from 0\.5 to 0\.999.*leave it out"):
                ask(recall=recall)
            with pytest.raises(ConfigurationError, match="exclude one another"):
                ask(exact=True, recall=recall)
            with pytest.raises(ConfigurationError, match="recall="):
                ask(exact=False)
        with pytest.raises(ConfigurationError, match="k must be"):
            retriever.mode(0)


def test_tuning_by_texts(small: Path) -> None:
    calls: list[tuple[int, int]] = []
    with Retriever.open(small, WrittenWeights()) as retriever:
        by_documents = retriever.tune(progress=lambda *call: calls.append(call))
        assert not by_documents.given
        assert by_documents.n_documents == len(retriever) == 200
        assert calls[0][0] == 0
        assert calls[-1][0] == calls[-1][1] == 29
        by_queries = retriever.tune(texts(30, 4), threads=1)
        assert (by_queries.given, by_queries.n_queries) == (True, 30)
        assert {level.k for level in by_queries.levels} == {10}
        # The retriever itself goes by it from now on, and so do others.
        expected = by_queries.cheapest(0.8, 10)
        assert expected is not None
        assert retriever.mode(recall=0.8) == Mode(exact=False, recall=expected.recall)
        for nothing in ([], ["no weights here", ""]):
            with pytest.raises(ConfigurationError, match="no query to measure with has any term"):
                retriever.tune(nothing)
        with pytest.raises(ConfigurationError, match="list of strings"):
            retriever.tune("1:1")
        with pytest.raises(ConfigurationError, match="threads must be"):
            retriever.tune(threads=0)
        with (
            Retriever.open(small, WrittenWeights()) as other,
            pytest.raises(IndexLockedError),
        ):
            other.tune()
        assert retriever.index.calibration == by_queries
    with Retriever.open(small, WrittenWeights()) as again:
        assert again.index.calibration == by_queries


def test_tuning_commits_and_shows_what_was_added(tmp_path: Path) -> None:
    with Retriever.create(tmp_path / "i", WrittenWeights()) as retriever:
        retriever.add([Document("a", "1:1")])
        assert retriever.tune().levels == []  # too few documents to miss any
        assert len(retriever) == 1
        hits = retriever.retrieve(["1:1"], recall=0.9)
        assert (hits.ids, hits.mode) == ([["a"]], Mode())


def test_an_index_of_counts_is_searched_exactly_and_not_tuned(tmp_path: Path) -> None:
    with Retriever.create(tmp_path / "i") as retriever:
        retriever.add([Document("a", "a wing"), Document("b", "a blunt wing")])
        retriever.commit()
        hits = retriever.retrieve(["wing"], recall=0.9)
        assert hits.mode == retriever.mode(recall=0.9) == Mode()
        assert hits.ids == retriever.retrieve(["wing"], exact=True).ids == [["a", "b"]]
        for queries in (None, ["wing"]):
            with pytest.raises(ConfigurationError, match=r"counts.*exactly.*nothing to tune"):
                retriever.tune(queries)
        with pytest.raises(ConfigurationError, match=r"0\.999"):
            retriever.search("wing", recall=1.0)


def test_the_memory_budget_decides_how_many_segments_are_written(tmp_path: Path) -> None:
    documents = [Document(str(i), text) for i, text in enumerate(texts(3000, 5))]
    segments = []
    for name, budget in (("large", None), ("small", 2**19)):
        path = tmp_path / name
        with Retriever.create(path, WrittenWeights(), memory_budget=budget) as retriever:
            retriever.add(documents[:1000])
        with Retriever.open(path, WrittenWeights(), memory_budget=budget) as retriever:
            retriever.add(documents[1000:])
            retriever.commit()
            segments.append(len(retriever.index.snapshot.files))
            found = retriever.retrieve(texts(5, 6))
            assert len(retriever) == 3000
        assert verify_index(path) == []
        segments.append(found.ids)
    assert (segments[0], segments[2]) == (2, 3)
    assert segments[1] == segments[3]


@pytest.mark.parametrize("budget", [0, -1, 2.5, "2GB", math.inf])
def test_a_budget_that_is_none_leaves_no_index_behind(tmp_path: Path, budget: Any) -> None:
    with pytest.raises(ConfigurationError, match="memory_budget must be a whole number of bytes"):
        Retriever.create(tmp_path / "i", memory_budget=budget)
    assert not (tmp_path / "i").exists()
    Retriever.create(tmp_path / "i").close()
    with pytest.raises(ConfigurationError, match="memory_budget"):
        Retriever.open(tmp_path / "i", memory_budget=budget)


# --- on the command line ------------------------------------------------------------------------


Run = Callable[..., Any]


@pytest.fixture
def run(run: Run, written: None) -> Run:
    """The command, which knows the encoder above."""
    return run


def write_lines(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def test_sizes() -> None:
    for text, size in (
        ("2GB", 2 * 10**9), ("512MiB", 2**29), ("1.5 gb", 1_500_000_000), ("7B", 7),
        (" 3kb ", 3000), ("1TiB", 2**40), ("0.5KiB", 512), ("1000000TB", 10**18),
    ):  # fmt: skip
        assert parse_size(text) == size
    for bad in ("2", "2G", "GB", "-1GB", "2 GB more", "2XB", "1iB", "1e3MB", "٢GB", "inf", ""):
        with pytest.raises(typer.BadParameter, match="size with its unit, such as 2GB"):
            parse_size(bad)
    for none in ("0GB", "0.1B"):
        with pytest.raises(typer.BadParameter, match="at least one byte"):
            parse_size(none)


def test_index_with_memory_tune_and_search_by_recall(run: Run, tmp_path: Path) -> None:
    corpus = write_lines(
        tmp_path / "c.jsonl",
        [json.dumps({"_id": str(i), "text": text}) for i, text in enumerate(texts(900, 7))],
    )
    index = tmp_path / "i"
    arguments = ["index", corpus, "-o", index, "--no-merge"]
    assert run(*arguments, "--encoder", "written", "--memory", "1GB").status == 0
    before = json.loads(run("info", index, "--json").out)
    assert before["legs"][0]["calibration"] is None

    asked = texts(1, 8)[0]
    ran = run("search", index, asked, "--recall", "0.9")
    assert ran.status == 0
    exact = ran.out
    assert ran.err == "--recall 0.9: exact, as the index was never calibrated (sparseret tune)\n"
    assert run("search", index, asked) == run("search", index, asked, "--exact") == (0, exact, "")

    ran = run("tune", index)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith("calibrated with 100 queries made from documents, on 900 documents")
    queries = write_lines(tmp_path / "queries.txt", texts(30, 9))
    ran = run("tune", index, "--queries", queries, "--threads", "1")
    first, header, *levels = ran.out.splitlines()
    assert first == "calibrated with 30 queries given, on 900 documents"
    assert header.split() == ["k", "recall", "cut", "candidates", "cost"]
    after = json.loads(run("info", index, "--json").out)
    assert after["legs"][0]["calibration"]["given"]
    assert [float(line.split()[1]) for line in levels] == [
        round(level["recall"], 3) for level in after["legs"][0]["calibration"]["levels"]
    ]
    # The same words and numbers in `info`.
    assert run("info", index).out.endswith("\n\n" + ran.out)

    ran = run("search", index, "--queries", queries, "--recall", "0.8")
    assert ran.status == 0
    assert ran.err.startswith("--recall 0.8: approximate, recall 0.")
    assert ran.err.endswith(" when calibrated, with queries that were given\n")
    whole = run("search", index, "--queries", queries, "--exact")
    assert whole.err == ""
    assert set(whole.out.splitlines()) != set(ran.out.splitlines())
    ran = run("search", index, asked, "--recall", "0.8", "-k", 101)
    assert ran.err == (
        "--recall 0.8: exact, as nothing cheaper is calibrated to that for 101 results\n"
    )


def test_tune_takes_queries_in_every_form(run: Run, small: Path, tmp_path: Path) -> None:
    asked = texts(4, 10)
    lines = [json.dumps({"_id": str(i), "text": text}) for i, text in enumerate(asked)]
    (tmp_path / "beir").mkdir()
    write_lines(tmp_path / "beir" / "queries.jsonl", lines)
    shown = set()
    for source in (
        tmp_path / "beir",
        tmp_path / "beir" / "queries.jsonl",
        write_lines(tmp_path / "q.tsv", [f"{i}\t{text}" for i, text in enumerate(asked)]),
        write_lines(tmp_path / "q.txt", asked),
        "-",
    ):
        ran = run("tune", small, "--queries", source, stdin="".join(f"{q}\n" for q in asked))
        assert (ran.status, ran.err) == (0, "")
        shown.add(ran.out)
    (out,) = shown
    assert out.startswith("calibrated with 4 queries given, on 200 documents\n")


def test_the_command_line_refuses(run: Run, tuned: Path, tmp_path: Path) -> None:
    with Retriever.create(tmp_path / "counts") as retriever:
        retriever.add([Document("a", "a wing")])
    counts = tmp_path / "counts"
    empty = write_lines(tmp_path / "empty.txt", [])
    corpus = write_lines(tmp_path / "c.jsonl", ['{"_id": "1", "text": "1:1"}'])
    for arguments, status, expected in (
        (["tune", counts], 1, "error: an index of counts is always searched exactly: there is no"),
        (["tune", tmp_path / "none"], 1, "error: no index at "),
        (["tune", tuned, "--queries", tmp_path / "none.txt"], 1, "none.txt: no such file"),
        (["tune", tuned, "--queries", empty], 1, "no query to measure with has any term"),
        (["search", tuned, "1:1", "--recall", "95"], 1, "error: recall must be a number from 0.5"),
        (["search", tuned, "1:1", "--recall", "nan"], 1, "error: recall must be a number from 0.5"),
        (["search", tuned, "1:1", "--recall", "most"], 2, "--recall"),
        (["search", tuned, "1:1", "--recall", "0.9", "--exact"], 2, "exclude one another"),
        (["index", corpus, "-o", tmp_path / "new", "--memory", "2"], 2, "such as 2GB"),
        (["eval", "cranfield", "--recall", "1.0"], 1, "error: recall must be a number from 0.5"),
        (["eval", "cranfield", "--recall", "0.9", "--from-run", "x"], 2, "--recall has no effect"),
    ):
        ran = run(*arguments)
        assert (ran.status, ran.out) == (status, ""), arguments
        assert expected in " ".join(ran.err.replace("│", " ").split()), arguments
    assert not (tmp_path / "new").exists()
    ran = run("search", counts, "wing", "--recall", "0.95")
    assert json.loads(ran.out)["id"] == "a"
    assert ran.err == "--recall 0.95: exact, as an index of counts always is\n"


def test_eval_by_recall(
    run: Run, tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an index that is calibrated, and on a temporary one, which calibrates itself."""
    dataset = tmp_path / "set"
    (dataset / "qrels").mkdir(parents=True)
    documents = enumerate(texts(1000, 1))
    write_lines(
        dataset / "corpus.jsonl", [json.dumps({"_id": str(i), "text": t}) for i, t in documents]
    )
    asked = texts(50, 11)
    write_lines(
        dataset / "queries.jsonl",
        [json.dumps({"_id": f"q{i}", "text": text}) for i, text in enumerate(asked)],
    )
    with Retriever.open(tuned, WrittenWeights()) as retriever:
        best = retriever.retrieve(asked, 20).ids
        modes = [retriever.mode(k, recall=0.8) for k in (1000, 100, 10)]
    assert [mode.exact for mode in modes] == [True, False, False]
    judged = [f"q{q}\t{id}\t1" for q, ids in enumerate(best) for id in ids]
    write_lines(dataset / "qrels" / "test.tsv", judged)

    arguments = ["eval", dataset, "--index", tuned, "--json", tmp_path / "report.json"]
    recall = ["-m", "Recall@20"]
    ran = run(*arguments, *recall)
    assert "\nsearch: exact\n" in ran.out
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["measures"]["Recall@20"] == 1.0
    assert (report["asked_recall"], report["exact"]) == (None, True)

    ran = run(*arguments, *recall, "--recall", "0.8")
    assert f"\nsearch: {modes[1].description} (asked for 0.8)\n" in ran.out
    assert f"\nsearch for the latency: {modes[2].description} (asked for 0.8)\n" in ran.out
    report = json.loads((tmp_path / "report.json").read_text())
    assert 0.75 <= report["measures"]["Recall@20"] < 1.0
    assert (report["asked_recall"], report["exact"]) == (0.8, False)
    assert report["calibrated_recall"] == modes[1].recall
    assert report["latency_ms"]["calibrated_recall"] == modes[2].recall

    ran = run(*arguments, "-m", "MAP", "--recall", "0.8")
    assert "\nsearch: exact, as nothing cheaper is calibrated to recall 0.8\n" in ran.out
    assert "\nsearch for the latency: approximate, " in ran.out

    monkeypatch.setattr("sparseret.indexers.legs._LEAST_CALIBRATED", 1000)
    ran = run("eval", dataset, "--encoder", "written", *recall, "--recall", "0.8")
    assert "\nsearch: approximate, recall " in ran.out


def test_memory_of_the_index_command(run: Run, tmp_path: Path) -> None:
    """Both where the index is made and where documents are added to it."""
    index = tmp_path / "i"
    for name, start in (("first", 0), ("second", 1500)):
        lines = [
            json.dumps({"_id": str(start + i), "text": text})
            for i, text in enumerate(texts(1500, start))
        ]
        corpus = write_lines(tmp_path / f"{name}.jsonl", lines)
        encoder = ["--encoder", "written"] if name == "first" else []
        assert (
            run("index", corpus, "-o", index, "--memory", "512KiB", "--no-merge", *encoder)[0] == 0
        )
    info = json.loads(run("info", index, "--json").out)
    assert [segment["documents"] for segment in info["legs"][0]["segments"]] == [
        1000,
        500,
        1000,
        500,
    ]


def test_smaller_vectors(run: Run, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    lines = [json.dumps({"_id": str(i), "text": text}) for i, text in enumerate(texts(50, 1))]
    corpus.write_text("\n".join(lines) + "\n", "utf-8")
    reduction = Reduction("uint8", 4.0, mass=0.9, max_terms=12)
    with Retriever.create(tmp_path / "a", WrittenWeights(), reduction=reduction) as retriever:
        retriever.add(Document(str(i), text) for i, text in enumerate(texts(50, 1)))
        retriever.commit()
        assert retriever.index.reduction == reduction
        want = retriever.retrieve(texts(5, 2), k=50)
    options = ["--precision", "uint8", "--largest", "4", "--mass", "0.9", "--max-terms", "12"]
    call = ["index", str(corpus), "--out", str(tmp_path / "b"), "--encoder", "written"]
    assert run(*call, *options).status == 0
    with Retriever.open(tmp_path / "b") as retriever:
        assert retriever.index.reduction == reduction
        got = retriever.retrieve(texts(5, 2), k=50)
    assert got.ids == want.ids
    for a, b in zip(got.scores, want.scores, strict=True):
        np.testing.assert_array_equal(a, b)
    refused = run(*call, "--mass", "0.5")
    assert refused.status == 2
    assert "--max-terms" in refused.err
    refused = run("index", corpus, "--out", tmp_path / "c", "--precision", "float16")
    assert refused.status == 1
    assert "counts are neither rounded nor pruned" in refused.err
    refused = run(*call[:3], tmp_path / "d", *call[4:], "--precision", "uint8")
    assert refused.status == 1
    assert "largest= goes with" in refused.err
