"""Every command of the command line, as a user types it; evaluation has test_eval_cli.py."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console

from sparseret import __version__
from sparseret.cli.options import parse_options
from sparseret.cli.search import _print_table
from sparseret.documents import Document
from sparseret.indexers.verify import verify_index
from sparseret.retriever import Retriever

CORPUS = [
    {"_id": "wing", "title": "Wings", "text": "The lift of a wing in a stream", "year": 1958},
    {"_id": "heat", "text": "Heat transfer in a laminar stream", "year": 1961},
    {"_id": "café", "text": "Grüße aus dem 東京 café", "year": 1961},
]
COMMANDS = ["index", "search", "eval", "info", "delete", "merge", "tune", "verify"]


Run = Callable[..., Any]


def command(
    *arguments: object, env: Mapping[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run the command in a process of its own."""
    code = "from sparseret.cli.app import main; main()"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHONUNBUFFERED")}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**environment, **(env or {})},
        check=False,
        # Not among the sources: they lack the native module.
        **{"capture_output": True, "cwd": tempfile.gettempdir(), **options},
    )


def write_corpus(path: Path, documents: list[dict[str, Any]] = CORPUS) -> Path:
    path.write_text("".join(json.dumps(d, ensure_ascii=False) + "\n" for d in documents), "utf-8")
    return path


@pytest.fixture
def index(tmp_path: Path) -> Path:
    with Retriever.create(tmp_path / "i") as retriever:
        for d in CORPUS:
            document = Document(d["_id"], d["text"], d.get("title", ""), {"year": d["year"]})
            retriever.add([document])
    return tmp_path / "i"


# --- about --------------------------------------------------------------------------------------


def test_help_and_version(run: Run) -> None:
    assert run("--version") == (0, f"sparseret {__version__}\n", "")
    for option in ("--help", "-h"):
        ran = run(option)
        assert ran.status == 0
        assert all(name in ran.out for name in COMMANDS)
    for name in COMMANDS:
        ran = run(name, "--help")
        assert ran.status == 0
        assert "Usage" in ran.out
    assert "Usage" in run().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["unknown"],
        ["search"],
        ["search", "i"],
        ["search", "i", "query", "--queries", "q.txt"],
        ["search", "i", "query", "-k", "0"],
        ["search", "i", "query", "-k", "many"],
        ["search", "i", "query", "--threads", "2"],
        ["search", "i", "query", "--run", "r"],
        ["search", "i", "--queries", "q.txt", "--explain"],
        ["search", "i", "--queries", "q.txt", "--json"],
        ["search", "i", "--queries", "q.txt", "--threads", "0"],
        ["index", "-"],
        ["index", "c.jsonl", "--format", "xml"],
        ["index", "c.jsonl", "--on-error", "ignore"],
        ["index", "c.jsonl", "--commit-every", "0"],
        ["index", "c.jsonl", "--memory", "2"],
        ["search", "i", "query", "--exact", "--recall", "0.9"],
        ["search", "i", "query", "--recall", "high"],
        ["tune"],
        ["tune", "i", "--threads", "0"],
        ["delete", "i"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_status_2(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run(*arguments)
    assert ran.status == 2
    assert ran.out == ""
    assert "Usage" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_expected_errors_are_one_line_and_status_1(
    run: Run, tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_corpus(Path("c.jsonl"))
    Path("queries.txt").write_bytes(b"caf\xe9\n")
    Path("full").mkdir()
    Path("full/file").touch()
    for arguments, expected in (
        (["search", "nothing", "q"], "no index at nothing"),
        (["search", "i", "--queries", "nothing.txt"], "nothing.txt: no such file"),
        (["search", "i", "--queries", "queries.txt"], "queries.txt:1: not UTF-8"),
        (["search", "i", "--queries", "c.jsonl", "--run", "full"], "full: "),
        (["info", "nothing"], "no index at nothing"),
        (["merge", "nothing"], "no index at nothing"),
        (["verify", "nothing"], "no index at nothing"),
        (["delete", "nothing", "x"], "no index at nothing"),
        (["tune", "nothing"], "no index at nothing"),
        (["tune", "i"], "counts is always searched exactly: there is nothing to tune"),
        (["search", "i", "q", "--recall", "95"], "recall must be a number from 0.5 to 0.999"),
        (["index", "nothing.jsonl"], "nothing.jsonl: no such file"),
        (["index", "c.jsonl", "--encoder", "bm52"], "unknown encoder 'bm52'"),
        (["index", "c.jsonl", "-O", "kl=1"], "no option 'kl'"),
        (["index", "c.jsonl", "-O", "k1=-1"], "k1 must be"),
        (["index", "c.jsonl", "-O", "variant=bm26"], "'bm26' is not one of"),
        (["index", "c.jsonl", "-o", "full"], "full is not empty"),
        (["index", "c.jsonl", "-o", "i", "-O", "k1=0.9"], "open it with the encoder that made it"),
        (["index", "c.jsonl", "-o", "i"], "is in the index already; use update() or --update"),
    ):
        ran = run(*arguments)
        assert (ran.status, ran.out) == (1, ""), arguments
        assert ran.err.startswith("error: ")
        assert expected in ran.err
        assert ran.err.count("\n") == 1
    assert verify_index(index) == []


def test_errors_of_a_process_have_no_traceback(tmp_path: Path) -> None:
    done = command("info", tmp_path)
    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr.startswith(b"error: no index at ")
    assert done.stderr.count(b"\n") == 1


# --- index --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("corpus.jsonl", "corpus.idx"),
        ("corpus.jsonl.gz", "corpus.idx"),
        ("wiki.de.tsv.ZST", "wiki.de.idx"),
        ("v1.2.jsonl", "v1.2.idx"),
    ],
)
def test_default_folder_is_named_after_the_corpus(name: str, folder: str) -> None:
    from sparseret.cli.index import _default_folder

    assert _default_folder(f"some/where/{name}") == Path(folder)


def test_index_a_folder_and_go_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my.set").mkdir()
    corpus = write_corpus(tmp_path / "my.set" / "corpus.jsonl")
    monkeypatch.chdir(tmp_path)
    ran = run("index", "my.set")
    assert ran.status == 0
    assert ran.err == ""
    first, second = ran.out.splitlines()
    assert first == "3 documents indexed"
    assert second.startswith("my.set.idx: 3 documents, 0.")
    assert second.endswith("bm25 (lucene, k1=1.5, b=0.75, english)")
    assert run("index", "my.set").out.startswith(
        "my.set is in my.set.idx already: nothing to do (--update reads it again)\n"
    )
    write_corpus(corpus, [*CORPUS, {"_id": "new", "text": "new"}])
    assert run("index", "my.set").out.startswith(
        "1 document indexed, continued after line 3\nmy.set.idx: 4 documents"
    )
    assert run("index", "my.set", "--update").out.startswith(
        "4 documents indexed, 4 of them replaced\nmy.set.idx: 4 documents"
    )
    assert run("index", "my.set", "--quiet") == (0, "", "")


def test_index_options(run: Run, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl")
    out = tmp_path / "o"
    options = [
        "k1=0.9",
        "b=0.4",
        "variant=bm25+",
        "language=german",
        'fields={"title": 2, "text": 1}',
    ]
    pairs = [part for option in options for part in ("-O", option)]
    arguments = ["index", corpus, "--out", out, *pairs, "--filter-field", "year", "--no-merge"]
    ran = run(*arguments, "--commit-every", "1", "--encoder", "bm25")
    assert ran.status == 0
    assert "bm25 (bm25+, k1=0.9, b=0.4, delta=1, title×2, german)" in ran.out
    # Named again, the same encoder is welcome and another is not.
    (tmp_path / "more.jsonl").write_text('{"_id": "x", "text": "y"}\n')
    assert run("index", tmp_path / "more.jsonl", "-o", out, *pairs).status == 0
    assert run("index", tmp_path / "more.jsonl", "-o", out, "--encoder", "bm25").status == 1
    ran = run("index", tmp_path / "more.jsonl", "-o", out, "--filter-field", "lang")
    assert ran.status == 2
    assert "--filter-field is for a new index" in ran.err
    with Retriever.open(out) as retriever:
        assert len(retriever) == 4


def test_options_are_json_or_text() -> None:
    texts = ["k1=0.9", "variant=bm25+", 'fields={"title": 2}', "a=b=c", "empty=", "n=null", "s= x"]
    assert parse_options(texts) == {
        "k1": 0.9, "variant": "bm25+", "fields": {"title": 2}, "a": "b=c", "empty": "", "n": None,
        "s": " x",
    }  # fmt: skip
    assert parse_options(None) == {}
    for bad in ("k1", "=1", ""):
        with pytest.raises(typer.BadParameter, match="KEY=VALUE"):
            parse_options([bad])


def test_skipped_lines_are_counted_and_the_first_ten_shown(run: Run, tmp_path: Path) -> None:
    corpus = tmp_path / "c.jsonl"
    corpus.write_text(
        '{"_id": "1", "text": "one"}\n' + "{}\n" * 12 + '{"_id": "2", "text": "two"}\n'
    )
    out = tmp_path / "o"
    ran = run("index", corpus, "--out", out)
    assert ran.status == 1
    assert ran.err.startswith(f"error: {corpus}:2: ")
    assert "--on-error skip" in ran.err
    ran = run("index", corpus, "--out", out, "--on-error", "skip")
    assert ran.status == 0
    assert ran.out.startswith("1 document indexed, 12 bad lines skipped, continued after line 1\n")
    shown = ran.err.splitlines()
    assert [line.split(": ")[0] for line in shown] == [
        f"skipped {corpus}:{number}" for number in range(2, 12)
    ]


def test_index_standard_input(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "o"
    ran = run("index", "-", "--out", out, stdin='{"_id": "1", "text": "Grüße"}\n')
    assert ran.out.startswith("1 document indexed\n")
    ran = run("index", "-", "--out", out, "--update", "--format", "tsv", stdin="1\tneu\n2\tzwei\n")
    assert ran.out.startswith("2 documents indexed, 1 of them replaced\n")
    with Retriever.open(out) as retriever:
        assert [(d.id, d.text) for d in retriever.documents()] == [("1", "neu"), ("2", "zwei")]


# --- search -------------------------------------------------------------------------------------


def test_search_prints_json_lines_in_a_pipe(run: Run, index: Path) -> None:
    ran = run("search", index, "lift stream wing")
    assert (ran.status, ran.err) == (0, "")
    found = [json.loads(line) for line in ran.out.splitlines()]
    assert [result["id"] for result in found] == ["wing", "heat"]
    assert list(found[0]) == ["rank", "id", "score", "title", "text", "metadata"]
    assert found[0]["metadata"] == {"year": 1958}
    assert [result["rank"] for result in found] == [1, 2]
    assert len(run("search", index, "stream", "-k", 1).out.splitlines()) == 1
    assert run("search", index, "zeppelin") == (0, "", "")
    assert run("search", index, "") == (0, "", "")
    assert "東京 café" in run("search", index, "東京").out


def test_search_explains(run: Run, index: Path) -> None:
    result = json.loads(run("search", index, "wing stream heat", "-k", 1, "--explain").out)
    assert {term["term"] for term in result["terms"]} == {"wing", "stream"}
    assert result["missing"] == ["heat"]
    total = sum(term["contribution"] for term in result["terms"])
    assert total == pytest.approx(result["score"], rel=1e-6)


def test_search_filters(run: Run, index: Path) -> None:
    ran = run("search", index, "stream", "--filter", "year > 1960")
    assert json.loads(ran.out)["id"] == "heat"
    ran = run("search", index, "stream", "-f", "year >= 1950 and lang ~ 'en'")
    assert (ran.status, ran.out) == (1, "")
    message, text, caret, *_ = ran.err.splitlines()
    assert message.startswith("error: ")
    assert text.strip() == "year >= 1950 and lang ~ 'en'"
    assert caret.strip() == "^"
    assert text[caret.index("^")] == "~"
    assert "Traceback" not in ran.err


def test_search_prints_a_table_on_a_terminal(run: Run, index: Path) -> None:
    ran = run("search", index, "wing stream", "--explain", terminal=True)
    assert ran.status == 0
    shown = re.sub("\x1b\\[[0-9;]*m", "", ran.out)
    with pytest.raises(json.JSONDecodeError):
        json.loads(shown.splitlines()[0])
    for part in (
        "score",
        "Wings",
        "The lift of a wing in a stream",
        "year=1958",
        "█",
        "×",
        "not in",
    ):
        assert part in shown
    assert run("search", index, "zeppelin", terminal=True).out == "No document matches.\n"
    json.loads(run("search", index, "wing", "--json", terminal=True).out)


def test_the_table_marks_words_and_cuts_long_texts(tmp_path: Path) -> None:
    with Retriever.create(tmp_path / "i") as retriever:
        text = "filler " * 200 + "the [bold]supersonic[/bold] wings " + "filler " * 200
        retriever.add([Document("long" * 20, text), Document("cjk", "東京都の図書館")])
        retriever.commit()
        for query in ("supersonic wing", "図書館"):
            console = Console(record=True, width=80, file=io.StringIO())
            results = retriever.search(query)
            explanations = [retriever.explain(query, result.id) for result in results]
            _print_table(retriever, query, results, explanations, console)
            plain = console.export_text(clear=False)
            styled = console.export_text(styles=True)
            assert max(map(len, plain.splitlines())) <= 80
            if query == "図書館":
                assert "\x1b[1;33m図書館\x1b[0m" in styled
            else:
                assert "[bold]supersonic[/bold]" in plain  # markup of documents is plain text
                assert "\x1b[1;33msupersonic\x1b[0m" in styled
                assert "\x1b[1;33mwings\x1b[0m" in styled
                assert "…" in plain
                assert len(plain.splitlines()) < 15


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_search_on_a_real_terminal(index: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    try:
        done = command(
            "search", index, "wing", capture_output=False, stdout=theirs, stderr=subprocess.PIPE,
            env={"TERM": "xterm", "COLUMNS": "80"},
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b"")
        shown = os.read(ours, 100_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "Wings" in shown
    assert "\x1b[1;33m" in shown


def test_search_writes_runs(run: Run, index: Path, tmp_path: Path) -> None:
    queries = tmp_path / "queries.jsonl"
    queries.write_text(
        '{"_id": "q1", "text": "wing stream"}\n{"_id": "q2", "text": "zeppelin"}\n'
        '{"_id": "q3", "text": "heat"}\n'
    )
    ran = run("search", index, "--queries", queries, "-k", 5, "--threads", 2)
    assert (ran.status, ran.err) == (0, "")
    rows = [line.split() for line in ran.out.splitlines()]
    assert [row[:4] for row in rows] == [
        ["q1", "Q0", "wing", "1"],
        ["q1", "Q0", "heat", "2"],
        ["q3", "Q0", "heat", "1"],
    ]
    assert all(len(row) == 6 for row in rows)
    for name in ("my.run", "my.run.gz", "my.run.zst"):
        assert run("search", index, "--queries", queries, "--run", tmp_path / name).out == ""
    assert (tmp_path / "my.run").read_text() == ran.out
    import gzip

    assert gzip.decompress((tmp_path / "my.run.gz").read_bytes()).decode() == ran.out
    filtered = run("search", index, "--queries", queries, "--filter", "year = 1961", "-k", 1)
    assert [line.split()[2] for line in filtered.out.splitlines()] == ["heat", "heat"]
    plain = tmp_path / "queries.txt"
    plain.write_text("wing\n\nheat\n")
    ran = run("search", index, "--queries", plain)
    assert [line.split()[0] for line in ran.out.splitlines()] == ["1", "3"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
@pytest.mark.parametrize("k", [1, 2000])
def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path, k: int) -> None:
    """With one result all is written at exit, with 2,000 the pipe is full before."""
    with Retriever.create(tmp_path / "i") as retriever:
        retriever.add(Document(str(i), "common " + "filler " * 20) for i in range(2000))
    read, write = os.pipe()
    os.close(read)
    try:
        done = command(
            "search", tmp_path / "i", "common", "-k", k, capture_output=False, stdout=write,
            stderr=subprocess.PIPE,
        )  # fmt: skip
    finally:
        os.close(write)
    assert done.stderr == b""
    assert done.returncode == 1
    shell = f'"$0" -c "from sparseret.cli.app import main; main()" search i common -k {k} | head -1'
    done = subprocess.run(
        ["sh", "-c", shell, sys.executable], cwd=tmp_path, capture_output=True, check=True
    )
    assert json.loads(done.stdout)["id"] == "0"
    assert done.stderr == b""


def test_pipes_are_utf_8_whatever_the_locale(index: Path) -> None:
    done = command("search", index, "東京", env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode("utf-8"))["id"] == "café"
    if sys.platform != "win32":  # bytes that are no text in the query
        done = command("search", index, os.fsdecode(b"\xff caf\xe9 wing"))
        assert json.loads(done.stdout)["id"] == "wing"


# --- upkeep -------------------------------------------------------------------------------------


def test_info(run: Run, index: Path) -> None:
    ran = run("info", index)
    assert (ran.status, ran.err) == (0, "")
    assert "bm25 (lucene, k1=1.5, b=0.75, english)" in ran.out
    assert "segments/000001.safetensors" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 120
    info = json.loads(run("info", index, "--json").out)
    assert info["documents"] == 3
    assert info["tombstones"] == 0
    assert info["format_version"] == 1
    (leg,) = info["legs"]
    assert info["bytes"] >= leg["segment_bytes"] == sum(s["bytes"] for s in leg["segments"])
    assert leg["nnz"] == sum(segment["nnz"] for segment in leg["segments"])
    assert [segment["value_type"] for segment in leg["segments"]] == ["8-bit codes"]
    run("delete", index, "wing")
    info = json.loads(run("info", index, "--json").out)
    assert (info["documents"], info["tombstones"]) == (2, 1)


def test_info_of_an_empty_index(run: Run, tmp_path: Path) -> None:
    Retriever.create(tmp_path / "e").close()
    assert run("info", tmp_path / "e").status == 0
    assert json.loads(run("info", tmp_path / "e", "--json").out)["legs"][0]["segments"] == []
    assert run("search", tmp_path / "e", "anything") == (0, "", "")


def test_delete_and_merge(run: Run, index: Path) -> None:
    ran = run("delete", index, "wing", "nothing", "wing")
    assert ran == (0, "1 document deleted, 1 unknown id\n", "")
    assert run("search", index, "wing lift") == (0, "", "")
    ran = run("merge", index)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith("1 merge; 1 segment, ")
    assert run("merge", index).out.startswith("0 merges; 1 segment, ")
    ran = run("delete", index, "heat", "-", stdin="café\r\n\nother\n")
    assert ran.out == "2 documents deleted, 1 unknown id\n"
    assert run("merge", index).out.startswith("0 merges; 0 segments, ")
    assert run("verify", index).status == 0


def test_verify(run: Run, index: Path) -> None:
    assert run("verify", index) == (0, f"{index} is sound\n", "")
    (segment,) = (index / "segments").iterdir()
    data = bytearray(segment.read_bytes())
    data[-1] ^= 1
    segment.write_bytes(data)
    ran = run("verify", index)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("error: segments/000001.safetensors: checksum of ")


def test_a_failed_first_run_leaves_no_index_behind(run: Run, tmp_path: Path) -> None:
    corpus = tmp_path / "c.jsonl"
    corpus.write_text('{"_id": "1", "text": "a", "year": 1999}\n')
    ran = run("index", corpus, "-o", tmp_path / "new", "-O", 'fields={"year": 1}')
    assert ran.status == 1
    assert not (tmp_path / "new").exists()
    assert run("index", corpus, "-o", tmp_path / "new").status == 0
    assert run("index", corpus, "-o", tmp_path / "new", "--update").status == 0
    corpus.write_text("not JSON")
    assert run("index", corpus, "-o", tmp_path / "new", "--update").status == 1
    assert (tmp_path / "new").exists()


def test_a_duplicate_is_named_with_file_and_line(run: Run, tmp_path: Path) -> None:
    corpus = tmp_path / "c.jsonl"
    corpus.write_text('{"_id": "1", "text": "a"}\n\n{"_id": "1", "text": "b"}\n')
    ran = run("index", corpus, "-o", tmp_path / "new")
    assert ran.status == 1
    assert f"{corpus}:3: document id '1' occurs twice" in ran.err
