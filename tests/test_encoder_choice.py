"""Encoders by name on the command line: ``encode``, "auto", NAME:FOLDER, licences, what was cut."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from sparseret import published_weights, vectors
from sparseret.documents import Document
from sparseret.errors import ConfigurationError
from sparseret.published_weights import CHECKPOINTS, choose_encoder, forbids_commerce
from sparseret.registry import ENCODERS, load_encoder
from sparseret.retriever import Retriever

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Letters:
    """Letters and how often they occur; documents also have the letter after each, at half weight.

    Reads five letters, from a "model" whose folder holds a licence.
    """

    name = "letters"
    signed = False
    dim = 26

    def __init__(self, folder: str, licence: str | None = "mit") -> None:
        if not Path(folder).is_dir():
            raise ConfigurationError(f"{folder}: no such folder")
        self.folder = folder
        self.license = licence
        self.truncated = 0
        self.space = f"letters/{folder}"
        self.description = "letters"

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Letters:
        return cls(**options)

    @property
    def options(self) -> dict[str, Any]:
        return {"folder": self.folder, "licence": self.license}

    def encode_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> csr_array:
        texts = [d if isinstance(d, str) else d.content for d in documents]
        return self._encode(texts, after=0.5)

    def encode_queries(self, queries: Sequence[str], *, show_progress: bool = False) -> csr_array:
        return self._encode(queries, after=0.0)

    def _encode(self, texts: Sequence[str], after: float) -> csr_array:
        rows = np.zeros((len(texts), 26), np.float32)
        for row, text in zip(rows, texts, strict=True):
            letters = [LETTERS.index(c) for c in text.casefold() if c in LETTERS]
            self.truncated += len(letters) > 5
            for column in letters[:5]:
                row[column] += 1
                row[(column + 1) % 26] += after
        return vectors.check(rows)

    def term(self, column: int) -> str:
        return LETTERS[column]

    def save(self, path: str | Path) -> None:
        raise NotImplementedError


Run = Callable[..., Any]


@pytest.fixture
def run(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, which knows the encoder above as if a package had registered it."""
    monkeypatch.setitem(sys.modules, "letters_package", sys.modules[__name__])
    point = EntryPoint("letters", "letters_package:Letters", "sparseret.encoders")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: EntryPoints([point]))
    return run


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"_id": "1", "text": "abc"}\n{"_id": "2", "text": "xyzxyz"}\n', "utf-8")
    return path


# --- encode -------------------------------------------------------------------------------------


def test_encode_prints_terms_by_weight(run: Run, tmp_path: Path) -> None:
    ran = run("encode", "aab", "-", "--encoder", f"letters:{tmp_path}")
    assert ran.status == 0
    first, second = map(json.loads, ran.out.splitlines())
    assert first == {
        "text": "aab",
        "nnz": 3,
        "terms": [
            {"term": "a", "column": 0, "weight": 2.0},
            {"term": "b", "column": 1, "weight": 2.0},
            {"term": "c", "column": 2, "weight": 0.5},
        ],
    }
    assert second == {"text": "-", "nnz": 0, "terms": []}
    assert "weights: licence mit" in ran.err
    queries = run(
        "encode", "-", "--query", "--top", 1, "--encoder", f"letters:{tmp_path}",
        stdin="aab\nzz\n",
    )  # fmt: skip
    terms = [json.loads(line)["terms"] for line in queries.out.splitlines()]
    assert [[t["term"] for t in row] for row in terms] == [["a"], ["z"]]
    cut = run("encode", "abcdef", "--encoder", f"letters:{tmp_path}")
    assert "1 text was longer" in cut.err


def test_encode_draws_bars_in_a_terminal(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")  # without colours
    ran = run("encode", "aab", "--encoder", f"letters:{tmp_path}", "--top", 2, terminal=True)
    lines = ran.out.splitlines()
    assert lines[0] == "aab"
    assert lines[1].split() == ["a", "2.000", "█" * 40]
    assert "3 terms, the 2 heaviest shown; green ones are not in the text" in ran.out


def test_encode_with_an_index_has_its_statistics(run: Run, corpus: Path, tmp_path: Path) -> None:
    assert run("index", corpus, "--out", tmp_path / "i").status == 0
    ran = run("encode", "abc", "--index", tmp_path / "i", "--query")
    (term,) = json.loads(ran.out)["terms"]
    assert term["term"] == "abc"
    with Retriever.open(tmp_path / "i") as retriever:
        want = retriever.current_encoder.encode_queries(["abc"])
    assert term["weight"] == want.data[0]


def test_encode_refuses(run: Run, tmp_path: Path) -> None:
    alone = run("encode", "abc", "--encoder", "bm25")
    assert alone.status == 1
    assert "depend on a collection" in alone.err
    for wrong in ([], ["--encoder", "bm25", "--index", "i"], ["--index", "i", "-O", "a=1"]):
        assert run("encode", "abc", *wrong).status == 2
    for wrong in (["letters:"], [f"letters:{tmp_path}", "-O", "folder=x"]):
        ran = run("encode", "abc", "--encoder", *wrong)
        assert ran.status == 1
        assert "letters:FOLDER" in ran.err
    assert run("encode", "abc", "--encoder", "letters:nowhere").status == 1


# --- licences, truncation -----------------------------------------------------------------------


def test_index_tells_licence_and_what_was_cut(run: Run, corpus: Path, tmp_path: Path) -> None:
    call = ["index", corpus, "--out", tmp_path / "i", "--encoder", f"letters:{tmp_path}"]
    made = run(*call)
    assert made.status == 0
    assert "weights: licence mit" in made.err
    assert "1 text was longer than the encoder reads, and cut" in made.err
    assert "licence" not in run(*call, "--update").err  # told before first use
    assert "letters; weights under mit" in run("info", tmp_path / "i").out
    for number, (licence, told) in enumerate(
        [("cc-by-nc-sa-4.0", "warning: the weights are for non-commercial"), (None, "not say")]
    ):
        option = f"licence={json.dumps(licence)}"
        out = tmp_path / f"more{number}"
        ran = run("index", corpus, "-o", out, "--encoder", f"letters:{tmp_path}", "-O", option)
        assert told in ran.err


def test_info_of_an_index_whose_model_is_gone(run: Run, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    call = ["index", corpus, "-o", tmp_path / "i", "--encoder", f"letters:{tmp_path / 'model'}"]
    assert run(*call).status == 0
    (tmp_path / "model").rmdir()
    ran = run("info", tmp_path / "i")
    assert ran.status == 0
    assert "cannot be loaded" in ran.out


@pytest.mark.parametrize(
    ("licence", "forbids"),
    [("cc-by-nc-sa-4.0", True), ("CC BY-NC 4.0", True), ("mit", False), ("apache-2.0", False),
     ("Research, non-commercial", True), ("ncsa", False), ("openrail++", False)],
)  # fmt: skip
def test_licences(licence: str, forbids: bool) -> None:
    assert forbids_commerce(licence) is forbids


# --- auto ---------------------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    """A local cache of the hub, to which repositories can be added, and no package to run them."""
    installed = {"huggingface_hub"}
    cached: dict[str, Path] = {}

    def try_to_load(repository: str, name: str) -> str | None:
        file = cached.get(repository, tmp_path / "nowhere") / name
        return str(file) if file.exists() else None

    monkeypatch.setitem(
        sys.modules, "huggingface_hub", SimpleNamespace(try_to_load_from_cache=try_to_load)
    )
    monkeypatch.setattr(published_weights, "find_spec", lambda name: name in installed or None)

    def add(repository: str) -> Path:
        cached[repository] = tmp_path / repository.replace("/", "--")
        cached[repository].mkdir()
        (cached[repository] / "config.json").write_text("{}")
        return cached[repository]

    add.install = installed.update  # type: ignore[attr-defined]
    return add


def test_auto_is_bm25_where_there_are_no_weights(hub: Any, run: Run, corpus: Path) -> None:
    hub.install({"torch", "transformers", "tokenizers"})
    choice = choose_encoder()
    assert choice.name == "bm25"
    assert "inference-free:opensearch-project/" in choice.why
    assert load_encoder("auto").name == "bm25"
    ran = run("index", corpus, "--out", corpus.parent / "i", "--encoder", "auto")
    assert ran.status == 0
    assert "encoder: bm25, because no learned weights" in ran.err


def test_auto_is_the_best_that_can_be_run(hub: Any) -> None:
    good, better, noncommercial = (
        next(p for p in reversed(CHECKPOINTS) if p.encoder == "inference-free"),
        next(p for p in CHECKPOINTS if p.encoder == "splade"),
        next(p for p in CHECKPOINTS if forbids_commerce(p.license)),
    )
    hub(noncommercial.repository)
    folder = hub(good.repository)
    assert "nothing to run it with" in choose_encoder().why
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model-body.onnx").touch()
    hub.install({"onnxruntime", "tokenizers"})
    assert choose_encoder().name == f"inference-free:{good.repository}"
    hub(better.repository)
    assert choose_encoder().name == f"inference-free:{good.repository}"  # the other needs torch
    hub.install({"torch", "transformers"})
    assert choose_encoder().name == f"splade:{better.repository}"


def test_checkpoints_are_ranked_and_loadable() -> None:
    assert [p.quality for p in CHECKPOINTS] == sorted(
        (p.quality for p in CHECKPOINTS), reverse=True
    )
    assert {p.encoder for p in CHECKPOINTS} <= ENCODERS.keys()
