"""Folders in the layout of Hugging Face datasets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sparseret import Document, Retriever
from sparseret.errors import DatasetError, DocumentError, IndexExistsError
from sparseret.eval.datasets import load_dataset
from sparseret.exchange.hf_datasets import export_hf_datasets, import_hf_datasets

Check = Callable[..., None]

DOCUMENTS = [
    Document("1", "the lift of a wing", "Wings", {"year": 1958, "tags": ["a", "b"], "x": 1}),
    Document("2", "flow", "", {"x": "s", "deep": {"er": [1]}}),
]


@pytest.fixture
def index(tmp_path: Path) -> Path:
    with Retriever.create(tmp_path / "two.idx") as retriever:
        retriever.add(DOCUMENTS)
    return tmp_path / "two.idx"


def documents_of(path: Path) -> list[Document]:
    with Retriever.open(path) as retriever:
        return list(retriever.documents())


def test_documents_come_back(index: Path, tmp_path: Path, nothing_left: Check) -> None:
    assert export_hf_datasets(index, tmp_path / "out") == 2
    lines = [json.loads(line) for line in (tmp_path / "out" / "corpus.jsonl").open()]
    assert lines[0] == {"_id": "1", "title": "Wings", "text": "the lift of a wing", "year": 1958,
                        "tags": ["a", "b"], "metadata": '{"x": 1}'}  # fmt: skip
    assert import_hf_datasets(tmp_path / "out", tmp_path / "i").n_documents == 2
    assert documents_of(tmp_path / "i") == DOCUMENTS
    nothing_left(tmp_path, "two.idx", "out", "i")
    with pytest.raises(IndexExistsError):
        export_hf_datasets(index, tmp_path / "out")


def test_it_is_a_folder_of_beir(counts_index: Path, tmp_path: Path) -> None:
    export_hf_datasets(counts_index, tmp_path / "out", dataset="cranfield")
    made, own = load_dataset(tmp_path / "out"), load_dataset("cranfield")
    assert made.queries == own.queries
    assert made.qrels == own.qrels


def test_datasets_reads_it_and_what_it_writes_is_read(
    index: Path, counts_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "1")
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    datasets.disable_progress_bars()

    def load(folder: Path, name: str) -> object:
        return datasets.load_dataset(str(folder), name, cache_dir=str(tmp_path / "cache"))

    export_hf_datasets(index, tmp_path / "out")
    export_hf_datasets(counts_index, tmp_path / "judged", dataset="cranfield")
    corpus = load(tmp_path / "out", "corpus")
    assert corpus["corpus"]["text"][1] == "flow"  # type: ignore[index]
    qrels = load(tmp_path / "judged", "qrels")["test"]  # type: ignore[index]
    assert qrels[0] == {"query-id": "1", "corpus-id": "184", "score": 3}
    assert load(tmp_path / "judged", "queries")["queries"].num_rows == 225  # type: ignore[index]
    corpus.save_to_disk(tmp_path / "dict")  # type: ignore[attr-defined]
    corpus["corpus"].save_to_disk(tmp_path / "one", num_shards=2)  # type: ignore[index]
    corpus["corpus"].to_parquet(tmp_path / "parquet" / "corpus" / "0.parquet")  # type: ignore[index]
    for name in ("dict", "one", "parquet"):
        import_hf_datasets(tmp_path / name, tmp_path / f"{name}.idx")
        assert documents_of(tmp_path / f"{name}.idx") == DOCUMENTS


def test_what_is_no_dataset(tmp_path: Path, nothing_left: Check) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        import_hf_datasets(tmp_path / "none", tmp_path / "i")
    (tmp_path / "d").mkdir()
    with pytest.raises(DatasetError, match="no corpus: expected"):
        import_hf_datasets(tmp_path / "d", tmp_path / "i")
    (tmp_path / "d" / "corpus.jsonl").write_text('{"_id": "1", "text": 5}\n')
    with pytest.raises(DocumentError, match=r"corpus\.jsonl:1: text is int"):
        import_hf_datasets(tmp_path / "d", tmp_path / "i")
    (tmp_path / "d" / "state.json").write_text("[]")
    with pytest.raises(DatasetError, match="no object"):
        import_hf_datasets(tmp_path / "d", tmp_path / "i")
    (tmp_path / "d" / "state.json").write_text("{}")
    with pytest.raises(DatasetError, match="no list of files"):
        import_hf_datasets(tmp_path / "d", tmp_path / "i")
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(DatasetError, match=r"give the folder of one, such as .*train"):
        import_hf_datasets(tmp_path / "d", tmp_path / "i")
    nothing_left(tmp_path, "d")


def test_damaged_arrow_files(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (sparseret[parquet])")
    (tmp_path / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
    with pytest.raises(DocumentError, match="no such file"):
        import_hf_datasets(tmp_path, tmp_path / "i")
    (tmp_path / "data.arrow").write_bytes(b"\xff\xff\xff\xff\x10\x00\x00\x00 nothing of the kind")
    with pytest.raises(DocumentError, match="damaged"):
        import_hf_datasets(tmp_path, tmp_path / "i")
