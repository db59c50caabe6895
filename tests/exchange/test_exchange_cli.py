"""``sparseret export`` and ``sparseret import``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparseret import Retriever
from sparseret.errors import ConfigurationError, DocumentError
from sparseret.exchange.formats import format_by_name, format_of

Check = Callable[..., None]
Run = Callable[..., Any]


def test_names_of_formats(tmp_path: Path) -> None:
    assert format_by_name("a/b.jsonl.gz") == "anserini"
    assert format_by_name("b.ciff.zst") == "ciff"
    assert format_by_name("b.parquet") == "parquet"
    with pytest.raises(ConfigurationError, match="does not say the format: give --format, one of"):
        format_by_name("b.bin")
    with pytest.raises(DocumentError, match="no such file"):
        format_of(tmp_path / "none")
    for name, content in (
        ("l", ["segments_3"]), ("h", ["corpus.jsonl"]), ("s", ["dataset_info.json", "state.json"]),
        ("p", ["1.parquet", "2.parquet"]), ("a", ["1.jsonl.gz", "README"]), ("n", []),
        ("m", ["1.jsonl", "2.parquet"]),
    ):  # fmt: skip
        (tmp_path / name).mkdir()
        for file in content:
            (tmp_path / name / file).touch()
    found = [format_of(tmp_path / name) for name in "lhspa"]
    assert found == ["lucene", "hf-datasets", "hf-datasets", "parquet", "anserini"]
    for name in "nm":
        with pytest.raises(ConfigurationError, match="give --format"):
            format_of(tmp_path / name)


def test_there_and_back(counts_index: Path, tmp_path: Path, run: Run, nothing_left: Check) -> None:
    out = tmp_path / "v.jsonl.gz"
    done = run("export", counts_index, "--out", out)
    assert done.out == f"{out}: 198 documents, anserini\n"
    done = run("import", out, "--scale", 100, "--out", tmp_path / "i")
    assert done.out.startswith(f"{tmp_path / 'i'}: 198 documents, ")
    assert done.out.endswith("MB, terms (with the weights that are given)\n")
    found = run("search", tmp_path / "i", '{"slipstream": 1}', "--json").out
    assert json.loads(found.splitlines()[0])["id"] in ("1", "453", "484")
    done = run("import", out, "--out", tmp_path / "i")
    assert done.status == 1
    assert "exists already" in done.err
    nothing_left(tmp_path, "v.jsonl.gz", "i")
    assert run("export", counts_index, "--out", tmp_path / "f.jsonl", "--scale", 0, "-q").out == ""
    with (tmp_path / "f.jsonl").open() as file:
        vector = json.loads(next(file))["vector"]
    assert any(weight != int(weight) for weight in vector.values())


def test_folders_of_datasets(counts_index: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    run("export", counts_index, "--format", "hf-datasets", "--out", out, "--dataset", "cranfield")
    assert (out / "qrels" / "test.tsv").exists()
    done = run("import", out, "--out", tmp_path / "i", "-O", "k1=0.9", "-O", "language=german")
    assert "k1=0.9, b=0.75, german" in done.out
    with Retriever.open(tmp_path / "i") as retriever:
        assert len(retriever) == 198


def test_parquet_and_ciff(counts_index: Path, tmp_path: Path, run: Run) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (sparseret[parquet])")
    pytest.importorskip("google.protobuf", reason="protobuf is not installed (sparseret[ciff])")
    for name, options in (
        ("x.parquet", ["--values", "weights"]), ("y.parquet", ["--no-vectors"]), ("z.ciff", []),
    ):  # fmt: skip
        assert run("export", counts_index, "--out", tmp_path / name, *options).status == 0
        done = run("import", tmp_path / name, "--out", tmp_path / f"{name}.idx")
        assert done.status == 0, done.err
        assert ("terms" in done.out) == (name == "x.parquet")
    (tmp_path / "z.ciff").write_bytes(b"\x02\x08")
    done = run("import", tmp_path / "z.ciff", "--out", tmp_path / "bad")
    assert (done.status, done.out) == (1, "")
    assert "z.ciff: the file ends within the header: fetch or export it again" in done.err
    done = run("index", tmp_path / "y.parquet", "--out", tmp_path / "indexed")
    assert done.out.startswith("198 documents indexed\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["export", "{i}", "--out", "x.jsonl", "--values", "counts"], "--values is for ciff"),
        (["export", "{i}", "--out", "x.parquet", "--scale", "2"], "--scale is for anserini"),
        (["export", "{i}", "--out", "x.ciff", "--no-vectors"], "--no-vectors is for parquet"),
        (["export", "{i}", "--out", "x.ciff", "--dataset", "cranfield"], "is for hf-datasets"),
        (["import", "{i}", "--format", "parquet", "--out", "x", "--scale", "2"], "--scale is for"),
    ],
)
def test_options_that_say_nothing(
    arguments: list[str], told: str, counts_index: Path, run: Run
) -> None:
    done = run(*[argument.format(i=counts_index) for argument in arguments])
    assert done.status == 2
    assert told in " ".join(done.err.replace("│", " ").split())
