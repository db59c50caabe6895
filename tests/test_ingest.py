"""Indexing files: every format, every interruption, nothing twice and nothing lost."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from sparseret import ingest as ingest_module
from sparseret.documents import Document
from sparseret.errors import (
    ConfigurationError,
    DocumentError,
    DuplicateIdError,
    IndexLockedError,
    VectorError,
)
from sparseret.indexers.verify import verify_index
from sparseret.ingest import IngestReport, ingest
from sparseret.readers import BadLine
from sparseret.retriever import Retriever

Factory = Callable[..., Retriever]


@pytest.fixture
def retriever(tmp_path: Path) -> Iterable[Retriever]:
    with Retriever.create(tmp_path / "index", encoder_options={"language": "simple"}) as retriever:
        yield retriever
    assert verify_index(tmp_path / "index") == []


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of ten documents."""
    monkeypatch.setattr(ingest_module, "_BATCH", 10)


def line(id: object, text: str = "some text", **fields: object) -> str:
    return json.dumps({"_id": id, "text": text, **fields}) + "\n"


def lines(*ids: Any, text: str = "some text") -> str:
    return "".join(line(str(id), text) for id in ids)


def write(path: Path, content: str) -> Path:
    data = content.encode()
    if path.suffix == ".gz":
        data = gzip.compress(data)
    elif path.suffix == ".zst":
        data = zstandard.compress(data)
    path.write_bytes(data)
    return path


def ids(retriever: Retriever) -> list[str]:
    return [document.id for document in retriever.documents()]


# --- formats ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("form", ["jsonl", "tsv", "folder"])
def test_every_form_of_corpus(retriever: Retriever, tmp_path: Path, form: str, suffix: str) -> None:
    if form == "tsv":
        source = write(
            tmp_path / f"c.tsv{suffix}", "_id\ttext\tlang\na\tone two\ten\nb\tthree\tde\n"
        )
    else:
        corpus = line("a", "one two", lang="en") + "\n" + line("b", "three", lang="de")
        name = "corpus" if form == "folder" else "c"
        source = write(tmp_path / f"{name}.jsonl{suffix}", corpus)
        source = tmp_path if form == "folder" else source
    assert ingest(retriever, source) == IngestReport(2, 0, 0, complete_before=False)
    assert list(retriever.documents()) == [
        Document("a", "one two", "", {"lang": "en"}),
        Document("b", "three", "", {"lang": "de"}),
    ]
    assert [result.id for result in retriever.search("three")] == ["b"]


def test_standard_input_has_no_past(retriever: Retriever, monkeypatch: pytest.MonkeyPatch) -> None:
    def feed(content: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))

    feed(lines(1, 2))
    assert ingest(retriever, "-").added == 2
    feed(lines(3))
    assert ingest(retriever, "-") == IngestReport(1, 0, 0, complete_before=False)
    feed("4\tfour\n")
    assert ingest(retriever, "-", format="tsv").added == 1
    assert ids(retriever) == ["1", "2", "3", "4"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_read_once(retriever: Retriever, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # More than a pipe holds, and than is read ahead.
    content = lines(*range(20_000))
    writer = threading.Thread(target=lambda: pipe.write_text(content))
    writer.start()
    report = ingest(retriever, pipe, format="jsonl")
    writer.join()
    assert report.added == 20_000
    assert retriever.index.writer.catalog.source(str(pipe.resolve())) is None


def test_an_empty_file(retriever: Retriever, tmp_path: Path) -> None:
    source = write(tmp_path / "c.jsonl", "")
    assert ingest(retriever, source) == IngestReport(0, 0, 0, complete_before=False)
    assert ingest(retriever, source) == IngestReport(0, 0, 0, complete_before=True)


def test_progress_is_told_in_documents_and_bytes(
    retriever: Retriever, tmp_path: Path, small_batches: None
) -> None:
    source = write(tmp_path / "c.jsonl", lines(*range(25)))
    size = source.stat().st_size
    seen: list[tuple[int, int]] = []
    ingest(retriever, source, advance=lambda *step: seen.append(step))
    assert [documents for documents, _ in seen] == [10, 20, 25]
    assert seen[-1][1] == size
    assert 0 < seen[0][1] < seen[1][1] < size


def test_impossible_arguments(retriever: Retriever, tmp_path: Path) -> None:
    source = write(tmp_path / "c.jsonl", lines(1))
    for options in ({"commit_every": 0}, {"on_error": "ignore"}, {"format": "xml"}):
        with pytest.raises(ConfigurationError):
            ingest(retriever, source, **options)  # type: ignore[arg-type]
    with pytest.raises(DocumentError, match="no such file"):
        ingest(retriever, tmp_path / "nothing.jsonl")
    assert len(retriever) == 0


def test_another_writer_is_noticed_before_reading(retriever: Retriever, tmp_path: Path) -> None:
    source = write(tmp_path / "c.jsonl", lines(1))
    retriever.delete(["nothing"])
    with Retriever.open(retriever.path) as second, pytest.raises(IndexLockedError):
        ingest(second, source)


# --- going on -----------------------------------------------------------------------------------


def test_a_complete_file_is_left_alone_until_it_grows(retriever: Retriever, tmp_path: Path) -> None:
    source = write(tmp_path / "c.jsonl", lines(1, 2) + "\n")
    assert ingest(retriever, source).added == 2
    for _ in range(2):
        assert ingest(retriever, source) == IngestReport(0, 0, 2, complete_before=True)
    with source.open("a") as file:
        file.write(lines(3, 4))
    assert ingest(retriever, source) == IngestReport(2, 0, 2, complete_before=False)
    assert ids(retriever) == ["1", "2", "3", "4"]


def test_a_complete_file_stays_known_to_later_processes(tmp_path: Path) -> None:
    source = write(tmp_path / "c.jsonl.gz", lines(*range(50)))
    with Retriever.create(tmp_path / "i") as retriever:
        ingest(retriever, source)
    with Retriever.open(tmp_path / "i") as retriever:
        assert ingest(retriever, source).complete_before
        # The same file by another way to it.
        other = tmp_path / "folder" / ".." / "c.jsonl.gz"
        (tmp_path / "folder").mkdir()
        assert ingest(retriever, other).complete_before


@pytest.mark.parametrize("same_object", [True, False])
@pytest.mark.parametrize("stop_at", [10, 30, 40, 70, 95])
def test_an_interruption_loses_and_repeats_nothing(
    tmp_path: Path, small_batches: None, stop_at: int, same_object: bool
) -> None:
    source = write(tmp_path / "c.jsonl", lines(*range(95)))
    retriever = Retriever.create(tmp_path / "i")

    def interrupt(documents: int, _: int) -> None:
        if documents >= stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(retriever, source, commit_every=25, advance=interrupt)
    assert len(retriever) == stop_at // 30 * 30
    if same_object:
        expected = stop_at  # what was not committed is still in the transaction
    else:
        retriever.close()
        retriever = Retriever.open(tmp_path / "i")
        expected = stop_at // 30 * 30
    report = ingest(retriever, source, commit_every=25)
    assert (report.added, report.resumed_after) == (95 - expected, expected)
    assert not report.complete_before
    assert ids(retriever) == [str(i) for i in range(95)]
    assert ingest(retriever, source).complete_before
    retriever.close()
    assert verify_index(tmp_path / "i") == []


def test_commits_come_while_reading(
    retriever: Retriever, tmp_path: Path, small_batches: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "c.jsonl", lines(*range(60)))
    visible: list[int] = []
    ingest(retriever, source, commit_every=20, advance=lambda *_: visible.append(len(retriever)))
    assert visible == [0, 20, 20, 40, 40, 60]
    # Slow reading commits by the clock.
    monkeypatch.setattr(ingest_module, "_SECONDS_PER_COMMIT", 0.0)
    more = write(tmp_path / "d.jsonl", lines(*range(60, 90)))
    ingest(retriever, more, advance=lambda *_: visible.append(len(retriever)))
    assert visible[6:] == [70, 80, 90]


@pytest.mark.parametrize("form", ["jsonl", "tsv", "jsonl.zst"])
def test_a_bad_line_stops_and_the_mended_file_goes_on(
    retriever: Retriever, tmp_path: Path, small_batches: None, form: str
) -> None:
    if form == "tsv":
        good, bad, mended = (
            "_id\ttext\n" + "".join(f"{i}\tx\n" for i in range(33)),
            "33\n",
            "33\tx\n",
        )
    else:
        good, bad, mended = lines(*range(33)), '{"_id": "33"\n', lines(33)
    end = good.splitlines(keepends=True)[-1].replace("32", "34")
    at = good.count("\n") + 1
    source = write(tmp_path / f"c.{form}", good + bad + end)
    for _ in range(2):
        with pytest.raises(DocumentError, match=rf"c\.{form}:{at}: "):
            ingest(retriever, source)
        assert len(retriever) == 33
    write(source, good + mended + end)
    assert ingest(retriever, source) == IngestReport(2, 0, at - 1, complete_before=False)
    assert ids(retriever) == [str(i) for i in range(35)]


def test_bad_lines_can_be_skipped_after_all(retriever: Retriever, tmp_path: Path) -> None:
    source = write(tmp_path / "c.jsonl", lines(1) + "[]\n" + lines(2) + "{\n{}\n")
    with pytest.raises(DocumentError, match=r"c\.jsonl:2"):
        ingest(retriever, source)
    seen: list[BadLine] = []
    report = ingest(retriever, source, on_error="skip", on_skip=seen.append)
    assert report == IngestReport(1, 3, 1, complete_before=False)
    assert [bad.line for bad in seen] == [2, 4, 5]
    # They have been seen, and are not told again.
    assert ingest(retriever, source, on_error="skip") == IngestReport(0, 0, 5, complete_before=True)
    assert ids(retriever) == ["1", "2"]
    entry = retriever.index.writer.catalog.source(str(source.resolve()))
    assert entry is not None
    assert (entry.lines, entry.skipped, entry.complete) == (5, 3, True)


def test_damaged_compression_keeps_what_came_before(
    retriever: Retriever, tmp_path: Path, small_batches: None
) -> None:
    source = write(tmp_path / "c.jsonl.gz", lines(*range(20_000)))
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DocumentError, match="cut short"):
        ingest(retriever, source, on_error="skip")
    kept = len(retriever)
    assert 0 < kept < 20_000
    source.write_bytes(whole)
    assert ingest(retriever, source) == IngestReport(20_000 - kept, 0, kept, complete_before=False)
    assert ids(retriever) == [str(i) for i in range(20_000)]


def test_another_file_under_the_name_of_an_interrupted_one(
    retriever: Retriever, tmp_path: Path
) -> None:
    source = write(tmp_path / "c.jsonl", lines(1, 2) + "{\n")
    with pytest.raises(DocumentError):
        ingest(retriever, source)
    write(source, lines("other", 2, 3))
    with pytest.raises(
        ConfigurationError, match=r"c\.jsonl begins otherwise.*after line 2.*--update"
    ):
        ingest(retriever, source)
    assert ids(retriever) == ["1", "2"]
    assert ingest(retriever, source, update=True) == IngestReport(3, 0, 0, complete_before=False)
    assert ids(retriever) == ["1", "other", "2", "3"]
    # A complete one may be followed by any other.
    write(source, lines("new"))
    assert ingest(retriever, source).added == 1


# --- ids twice, and updates ---------------------------------------------------------------------


def test_a_duplicate_names_itself_and_keeps_the_batches_before(
    retriever: Retriever, tmp_path: Path, small_batches: None
) -> None:
    source = write(tmp_path / "c.jsonl", lines(*range(25), 7, *range(25, 40)))
    for _ in range(2):
        with pytest.raises(DuplicateIdError, match=r"'7' is in the index already.*--update"):
            ingest(retriever, source)
        assert ids(retriever) == [str(i) for i in range(20)]
    write(source, lines(*range(25), 77, *range(25, 40)))
    assert ingest(retriever, source) == IngestReport(21, 0, 20, complete_before=False)
    assert len(retriever) == 41


def test_a_duplicate_within_a_batch(retriever: Retriever, tmp_path: Path) -> None:
    source = write(tmp_path / "c.jsonl", lines("a", "b", "a"))
    with pytest.raises(DuplicateIdError, match="'a' occurs twice"):
        ingest(retriever, source)
    assert len(retriever) == 0
    assert ingest(retriever, source, update=True).added == 3
    assert ids(retriever) == ["b", "a"]


def test_large_titles_do_not_split_a_batch(
    retriever: Retriever, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a stored batch without its position would be stored again by the next call."""
    monkeypatch.setattr("sparseret.documents._BATCH_CHARACTERS", 100)
    monkeypatch.setattr(ingest_module, "_BATCH_CHARACTERS", 100)
    titled = [line(str(i), "x", title="t" * 60) for i in range(5)]
    source = write(tmp_path / "c.jsonl", "".join(titled) + lines(1))
    with pytest.raises(DuplicateIdError, match="'1' is in the index"):
        ingest(retriever, source)
    write(source, "".join(titled) + lines(6))
    ingest(retriever, source)
    assert sorted(ids(retriever)) == ["0", "1", "2", "3", "4", "6"]


def test_a_field_that_is_no_text_keeps_the_batches_before(
    tmp_path: Path, small_batches: None
) -> None:
    options = {"fields": {"text": 1, "abstract": 2}}
    content = "".join(line(str(i), abstract="b") for i in range(10)) + line("bad", abstract=5)
    source = write(tmp_path / "c.jsonl", content)
    with Retriever.create(tmp_path / "i", encoder_options=options) as retriever:
        with pytest.raises(VectorError, match=r"'bad'.*'abstract' holds int"):
            ingest(retriever, source)
        assert len(retriever) == 10
        write(source, content.replace("5", '"5"'))
        assert ingest(retriever, source).resumed_after == 10
        assert len(retriever) == 11


def test_update_reads_again_and_replaces(retriever: Retriever, tmp_path: Path) -> None:
    source = write(tmp_path / "c.jsonl", lines(1, 2, 3, text="old"))
    ingest(retriever, source)
    write(source, lines(2, 4, text="new"))
    assert ingest(retriever, source, update=True) == IngestReport(2, 0, 0, complete_before=False)
    assert [(d.id, d.text) for d in retriever.documents()] == [
        ("1", "old"), ("3", "old"), ("2", "new"), ("4", "new"),
    ]  # fmt: skip
    for _ in range(2):
        assert ingest(retriever, source, update=True).added == 2
    assert len(retriever) == 4
    assert len(retriever.search("old new")) == 4


def test_an_interrupted_update_goes_on(
    retriever: Retriever, tmp_path: Path, small_batches: None
) -> None:
    source = write(tmp_path / "c.jsonl", lines(*range(30), text="old"))
    ingest(retriever, source)
    write(source, lines(*range(30), text="new"))

    def interrupt(documents: int, _: int) -> None:
        if documents == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(retriever, source, update=True, commit_every=10, advance=interrupt)
    report = ingest(retriever, source, update=True)
    assert report == IngestReport(10, 0, 20, complete_before=False)
    assert [d.text for d in retriever.documents()] == ["new"] * 30


def test_every_line_that_cannot_be_stored_can_be_skipped(
    retriever: Retriever, tmp_path: Path
) -> None:
    bad = [line("nul", m="a\0b"), line("key", **{"a\0b": 1}), line("deep", m={"x": ["\0"]})]
    source = write(tmp_path / "c.jsonl", lines(1) + "".join(bad) + lines(2))
    report = ingest(retriever, source, on_error="skip")
    assert (report.added, report.skipped) == (2, 3)
