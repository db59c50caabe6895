"""The contextual encoders on the command line, and what is said of folders that hold no model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparseret.documents import Document
from sparseret.errors import ConfigurationError
from sparseret.registry import load_encoder

Run = Callable[..., Any]
KINDS = ["unicoil", "deepimpact", "causal-lm", "promptreps", "uhd"]
DOCUMENTS = [
    {"_id": "wing", "title": "Wings", "text": "the lift of a wing in a slipstream"},
    {"_id": "heat", "title": "Heat", "text": "heat conduction in composite slabs"},
    {"_id": "flow", "title": "", "text": "boundary layer flow past a flat plate"},
]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A folder in BEIR's layout."""
    folder = tmp_path / "few"
    (folder / "qrels").mkdir(parents=True)
    lines = "".join(json.dumps(document) + "\n" for document in DOCUMENTS)
    (folder / "corpus.jsonl").write_text(lines, "utf-8")
    queries = "".join(json.dumps({"_id": d["_id"], "text": d["text"]}) + "\n" for d in DOCUMENTS)
    (folder / "queries.jsonl").write_text(queries, "utf-8")
    judged = "".join(f"{d['_id']}\t{d['_id']}\t1\n" for d in DOCUMENTS)
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}", "utf-8")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_every_command(
    kind: str, models: dict[str, Path], dataset: Path, tmp_path: Path, run: Run
) -> None:
    encoder = f"{kind}:{models[kind]}"
    shown = run("encode", "the lift of a wing", "--encoder", encoder, "--top", "15", terminal=True)
    assert shown.status == 0, shown.err
    assert 1 <= len([line for line in shown.out.splitlines() if "█" in line]) <= 15

    index = tmp_path / "x.idx"
    fields = 'fields={"title": 1, "text": 1}'
    options = ["-O", "long=windows", "-O", "max_length=16", "-O", fields]
    made = run("index", dataset / "corpus.jsonl", "-o", index, "--encoder", encoder, *options)
    assert made.status == 0, made.err
    assert "3 documents" in made.out
    assert "cut" not in made.err
    found = run("search", index, "heat conduction in composite slabs")
    assert found.status == 0, found.err
    assert "heat" in found.out

    judged = run("eval", dataset, "--encoder", encoder)
    assert judged.status == 0, judged.err
    assert "nDCG@10" in judged.out


def complaint(ran: Any) -> str:
    """The line that says what is wrong; the licence of the weights may be told before."""
    assert ran.status == 1
    (line,) = [line for line in ran.err.splitlines() if not line.startswith("weights:")]
    assert line.startswith("error: ")
    return str(line)


def spoil(folder: Path, how: str) -> None:
    config, weights = folder / "config.json", folder / "model.safetensors"
    if how == "no config.json":
        config.unlink()
    elif how == "garbage config.json":
        config.write_text("garbage {", "utf-8")
    elif how == "config.json of a list":
        config.write_text("[1, 2]", "utf-8")
    elif how == "foreign config.json":
        config.write_text('{"model_type": "never heard of"}', "utf-8")
    elif how == "truncated weights":
        weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    elif how == "garbage weights":
        weights.write_bytes(b"garbage")
    elif how == "no weights":
        weights.unlink()
    elif how == "garbage tokenizer":
        (folder / "tokenizer.json").write_text("{}", "utf-8")
    else:
        (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "how",
    [
        "no config.json",
        "garbage config.json",
        "config.json of a list",
        "foreign config.json",
        "truncated weights",
        "garbage weights",
        "no weights",
        "garbage tokenizer",
        "no tokenizer",
    ],
)
def test_spoilt_folders_are_named_in_one_line(
    kind: str, how: str, models: dict[str, Path], tmp_path: Path, run: Run
) -> None:
    folder = tmp_path / "spoilt"
    shutil.copytree(models[kind], folder)
    spoil(folder, how)
    corpus = write_corpus(tmp_path)
    ran = run("index", corpus, "-o", tmp_path / "i", "--encoder", f"{kind}:{folder}")
    assert str(folder) in complaint(ran)


def write_corpus(folder: Path) -> Path:
    path = folder / "c.jsonl"
    path.write_text("".join(json.dumps(document) + "\n" for document in DOCUMENTS), "utf-8")
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_options_are_named_in_one_line(
    kind: str, models: dict[str, Path], tmp_path: Path, run: Run
) -> None:
    whole = f"{kind}:{models[kind]}"
    for encoder, option, message in (
        (whole, "max_length=0", "max_length must be a whole number"),
        (whole, "max_length=1000000", "the most that the model in"),
        (whole, "long=wide", "long 'wide' is not one of truncate, windows"),
        (whole, "fields=title", "fields must map names to weights"),
        (whole, "depth=3", f"{kind} has no option 'depth'"),
        (kind, "max_length=16", f"{kind} needs the option folder"),
        (":x", "max_length=16", "unknown encoder ''"),
        (whole, "device=abacus", "torch cannot use the device 'abacus'"),
        (f"{kind}:", "max_length=16", f"once: {kind}:FOLDER"),
        (f"{kind}:{tmp_path / 'none'}", "max_length=16", "no such folder"),
    ):
        ran = run("encode", "heat", "--encoder", encoder, "-O", option)
        assert message in complaint(ran)


def test_options_of_one_kind(models: dict[str, Path]) -> None:
    with pytest.raises(ConfigurationError, match=r"fields=\{'title': 1, 'text': 1\}"):
        load_encoder(f"uhd:{models['uhd']}", {"fields": {"title": 2, "text": 1}})
    for options, message in (
        ({"precision": "int4"}, "precision 'int4' is not one of float32, int8"),
        ({"threads": 0}, "threads must be a whole number from 1"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            load_encoder(f"causal-lm:{models['causal-lm']}", options)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_without_words_have_empty_vectors(kind: str, models: dict[str, Path]) -> None:
    options = {"fields": {"title": 1, "text": 1}}
    for encoder in (load_encoder(f"{kind}:{models[kind]}", o) for o in ({}, options)):
        rows = encoder.encode_documents(["", " \n\t ", Document("1", " ", ""), "\u3000"])
        assert rows.nnz == 0
        assert rows.shape[0] == 4
        assert encoder.encode_queries(["", "  "]).nnz == 0
        assert encoder.encode_documents([]).shape[0] == 0
        assert encoder.encode_queries([]).shape[0] == 0
