from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from sparseret import parents
from sparseret.cli.eval import eval_command
from sparseret.documents import Document
from sparseret.errors import ConfigurationError, DatasetError
from sparseret.eval.runs import read_run
from sparseret.protocols import Hits

app = typer.Typer()
app.command("eval")(eval_command)


class FakeRetriever:
    """Ranks documents by the number of words that they share with the query."""

    opened: Path | None = None
    created: tuple[str, Mapping[str, object] | None] | None = None
    encoders: ClassVar[dict[str, object]] = {}  # none has weights to tell of

    def __init__(self) -> None:
        self.documents: list[Document] = []
        self.committed = False

    @classmethod
    def create(
        cls, path: Path, encoder: str, *, encoder_options: Mapping[str, object] | None = None
    ) -> FakeRetriever:
        cls.created = (encoder, encoder_options)
        assert path.parent.is_dir()
        return cls()

    @classmethod
    def open(cls, path: Path) -> FakeRetriever:
        cls.opened = path
        retriever = cls()
        retriever.add([Document("d1", "rough surface flow"), Document("d2", "wing")])
        retriever.commit()
        return retriever

    def __enter__(self) -> FakeRetriever:
        return self

    def __exit__(self, *error: object) -> None:
        self.documents.clear()

    def add(self, documents: Iterable[Document]) -> int:
        before = len(self.documents)
        self.documents.extend(documents)
        return len(self.documents) - before

    def commit(self) -> None:
        self.committed = True

    def retrieve(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        recall: float | None = None,
        threads: int | None = None,
    ) -> Hits:
        assert self.committed
        ids, scores = [], []
        for query in queries:
            words = set(query.split())
            counts = {
                document.id: len(words & set(document.content.split()))
                for document in self.documents
            }
            best = sorted(counts.items(), key=lambda item: -item[1])[:k]
            ids.append([document for document, count in best if count])
            scores.append(np.array([count for _, count in best if count], np.float32))
        return Hits(ids, scores)

    def __len__(self) -> int:
        return len(self.documents)

    n_bytes = 1234
    description = "words in common"


@pytest.fixture(autouse=True)
def fake_retriever(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("sparseret.retriever")
    module.Retriever = FakeRetriever  # type: ignore[attr-defined]
    monkeypatch.setattr(parents, "open_retriever", FakeRetriever.open)
    monkeypatch.setitem(sys.modules, "sparseret.retriever", module)
    FakeRetriever.opened = FakeRetriever.created = None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    (folder / "qrels").mkdir(parents=True)
    texts = {"d1": "rough surface flow", "d2": "wing flow", "q2": "heat", "d3": "heat of a wing"}
    lines = (json.dumps({"_id": name, "title": "", "text": text}) for name, text in texts.items())
    (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    queries = {"q1": "flow on a wing", "q2": "heat"}
    lines = (json.dumps({"_id": name, "text": text}) for name, text in queries.items())
    (folder / "queries.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "qrels" / "test.tsv").write_text("q1\td2\t1\nq2\td3\t1\n")
    return folder


def run_cli(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_temporary_index(folder: Path) -> None:
    text = run_cli(folder, "--encoder", "other", "--encoder-option", "k1=0.9",
                   "--encoder-option", "language=en")  # fmt: skip
    assert FakeRetriever.created == ("other", {"k1": 0.9, "language": "en"})
    assert "mine (test): words in common" in text
    for name in ("nDCG@10", "Recall@100", "MRR@10", "MAP"):
        assert name in text
    assert "4 documents" in text


def test_existing_index(folder: Path, tmp_path: Path) -> None:
    run_cli(folder, "--index", tmp_path / "index")
    assert FakeRetriever.opened == tmp_path / "index"
    assert FakeRetriever.created is None


def test_files(folder: Path, tmp_path: Path) -> None:
    run, report = tmp_path / "out" / "a.run.gz", tmp_path / "report.json"
    run_cli(folder, "--run", run, "--json", report, "--per-query", tmp_path / "q.tsv",
            "-m", "MRR@10", "-m", "P@1")  # fmt: skip
    assert [document.id for document in read_run(run)["q1"]] == ["d2", "d3", "d1"]
    data = json.loads(report.read_text())
    assert data["measures"] == {"MRR@10": 0.75, "P@1": 0.5}
    assert data["index"] == {"documents": 4, "bytes": 1234}
    rows = (tmp_path / "q.tsv").read_text().splitlines()
    assert rows == ["query-id\tMRR@10\tP@1", "q1\t1.0\t1.0", "q2\t0.5\t0.0"]
    run_cli(folder, "--per-query", tmp_path / "q.csv", "-m", "MRR@10")
    assert (tmp_path / "q.csv").read_text() == "query-id,MRR@10\nq1,1.0\nq2,0.5\n"


def test_drop_self(folder: Path, tmp_path: Path) -> None:
    text = run_cli(folder, "--drop-self", "--json", tmp_path / "a.json", "-m", "MRR@10")
    assert "self-matches dropped" in text
    data = json.loads((tmp_path / "a.json").read_text())
    assert data["drop_self"] is True
    assert data["measures"] == {"MRR@10": 1.0}


def test_run_of_another_system(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.run"
    path.write_text("q1 Q0 d1 1 2.0 x\nq1 Q0 d2 2 1.0 x\n")
    text = run_cli(folder, "--from-run", path, "-m", "MRR@10")
    assert "mine (test): other.run" in text
    assert "0.2500" in text
    assert FakeRetriever.created is FakeRetriever.opened is None


def test_comparison(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.run"
    path.write_text("q1 Q0 d1 1 2.0 x\nq1 Q0 d2 2 1.0 x\n")
    text = run_cli(folder, "--compare", path, "-m", "MRR@10")
    assert "words in common against other.run" in text
    assert "2/0/0" in text
    # Nothing is cut or wrapped where standard output is a pipe.
    assert "…" not in text


def test_plot(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "plot.png"
    run_cli(folder, "--plot", path)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--index", "a", "--encoder", "bm25"], "exclude one another"),
        (["--index", "a", "--from-run", "b"], "exclude one another"),
        (["--encoder-option", "k1"], "expected KEY=VALUE"),
        (["--per-query", "q.txt"], "must end in .tsv or .csv"),
        (["--from-run", "a", "-k", "5"], "-k has no effect"),
        (["-k", "0"], "-k"),
    ],
)
def test_wrong_usage(folder: Path, arguments: list[str], reason: str) -> None:
    result = CliRunner().invoke(app, [str(folder), *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert reason in result.output


def test_errors_show_before_the_index_is_built(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nonsense"):
        run_cli(folder, "-m", "nonsense")
    with pytest.raises(ConfigurationError, match="k is 5"):
        run_cli(folder, "-k", "5")
    with pytest.raises(ConfigurationError, match=r"plot\.doc"):
        run_cli(folder, "--plot", "plot.doc")
    with pytest.raises(DatasetError, match=r"absent\.run: no such file"):
        run_cli(folder, "--compare", tmp_path / "absent.run")
    with pytest.raises(DatasetError, match="no split 'dev'"):
        run_cli(folder, "--split", "dev")
    assert FakeRetriever.created is None


def test_help() -> None:
    text = run_cli("--help")
    assert "sparseret eval cranfield" in text
