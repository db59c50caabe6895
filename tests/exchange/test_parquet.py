"""Parquet: documents and vectors as columns."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparseret import Document, InvertedIndex, Retriever, read_documents
from sparseret.errors import (
    ConfigurationError,
    DocumentError,
    IncompatibleIndexError,
    MissingExtraError,
)
from sparseret.exchange.parquet import export_parquet
from sparseret.exchange.parquet_import import import_parquet
from sparseret.indexers.dense import DenseIndex
from sparseret.ingest import ingest

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (sparseret[parquet])")
from pyarrow import parquet  # noqa: E402

Check = Callable[..., None]


def write(path: Path, **columns: Any) -> Path:
    parquet.write_table(pa.table(columns), path)
    return path


def test_counts_come_back_to_the_last_bit(counts_index: Path, tmp_path: Path, same_results: Check,
                                          nothing_left: Check) -> None:  # fmt: skip
    assert export_parquet(counts_index, tmp_path / "x.parquet") == 198
    assert import_parquet(tmp_path / "x.parquet", tmp_path / "again").n_documents == 198
    same_results(counts_index, tmp_path / "again")
    nothing_left(tmp_path, "x.parquet", "again")
    with Retriever.open(counts_index) as a, Retriever.open(tmp_path / "again") as b:
        assert list(a.documents()) == list(b.documents())
        assert a.encoder.options == b.encoder.options
        # The vocabulary goes on growing as it would have.
        b.add([Document("new", "slipstream of wibble")])
        b.commit()
        assert [result.id for result in b.search("wibble")] == ["new"]


def test_weights_come_back(weights_index: Path, counts_index: Path, tmp_path: Path,
                           same_results: Check) -> None:  # fmt: skip
    export_parquet(weights_index, tmp_path / "w.parquet")
    import_parquet(tmp_path / "w.parquet", tmp_path / "again")
    same_results(weights_index, tmp_path / "again")
    export_parquet(counts_index, tmp_path / "b.parquet", values="weights")
    import_parquet(tmp_path / "b.parquet", tmp_path / "impacts")
    with Retriever.open(counts_index) as retriever:
        analyzer = retriever.encoder.analyzer  # type: ignore[union-attr]
    same_results(counts_index, tmp_path / "impacts", exactly=False,
                 change=lambda query: " ".join(analyzer(query)))  # fmt: skip


def test_columns_as_pandas_reads_them(counts_index: Path, tmp_path: Path) -> None:
    export_parquet(counts_index, tmp_path / "x.parquet")
    table = parquet.read_table(tmp_path / "x.parquet")
    assert {field.name: str(field.type) for field in table.schema} == {
        "id": "string", "title": "string", "text": "string", "tags": "list<element: string>",
        "year": "int64", "metadata": "string", "indices": "list<element: int32>",
        "terms": "list<element: string>", "values": "list<element: float>",
    }  # fmt: skip
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(tmp_path / "x.parquet").set_index("id")
    assert frame.loc["1", "year"] == 1950
    row = frame.loc["1"]
    counted = dict(zip(row["terms"], row["values"], strict=True))
    assert counted["slipstream"] == 6
    assert json.loads(frame.loc["2", "metadata"]) == {"odd": 1}


def test_vectors_of_ones_own(tmp_path: Path) -> None:
    rows = np.array([[0, 0.25, 0, -1], [0, 0, 0, 0], [3, 0, 0, 1e-30]], np.float32)
    with InvertedIndex.create(tmp_path / "i", space="mine", dim=4) as index:
        index.add(["a", "b", "c"], rows)  # type: ignore[arg-type]
        index.delete(["b"])
    export_parquet(tmp_path / "i", tmp_path / "x.parquet")
    import_parquet(tmp_path / "x.parquet", tmp_path / "again")
    with InvertedIndex.open(tmp_path / "again", space="mine") as index:
        assert index.vectors_of(["a", "c"]).toarray().tolist() == rows[[0, 2]].tolist()
        assert index.dim == 4
        assert index.signed


def test_dense_legs(hybrid_index: Path, documents: list[Document], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="give --leg, one of words, meaning"):
        export_parquet(hybrid_index, tmp_path / "x.parquet")
    export_parquet(hybrid_index, tmp_path / "x.parquet", leg="meaning")
    import_parquet(tmp_path / "x.parquet", tmp_path / "again")
    vectors = np.load(hybrid_index.parent / "documents.npy")
    with Retriever.open(hybrid_index) as a, Retriever.open(tmp_path / "again") as b:
        query = "slipstream of a propeller wing"
        expected = [(r.id, r.score) for r in a.search(query, legs=["meaning"])]
        assert [(r.id, r.score) for r in b.search(query)] == expected
    # Without an encoder: vectors of others, as pandas may write them.
    ids = [document.id for document in documents[:20]]
    write(tmp_path / "v.parquet", id=ids, vector=[row.tolist() for row in vectors])
    import_parquet(tmp_path / "v.parquet", tmp_path / "dense")
    with DenseIndex.open(tmp_path / "dense") as index:
        assert index.search(vectors[4:5], 1).ids == [[ids[4]]]
    with pytest.raises(ConfigurationError, match="not of the kind bm25 makes"):
        import_parquet(tmp_path / "v.parquet", tmp_path / "x", encoder="bm25")


def test_an_encoder_must_be_of_the_space(tmp_path: Path) -> None:
    np.save(tmp_path / "documents.npy", np.ones((1, 2), np.float32))
    (tmp_path / "documents.txt").write_text("1\n")
    with Retriever.create(tmp_path / "i", f"precomputed:{tmp_path}") as retriever:
        retriever.add([Document("1", "x")])
    export_parquet(tmp_path / "i", tmp_path / "x.parquet")
    np.save(tmp_path / "documents.npy", np.zeros((1, 2), np.float32))
    with pytest.raises(IncompatibleIndexError, match="holds vectors of the space"):
        import_parquet(tmp_path / "x.parquet", tmp_path / "again")
    (tmp_path / "documents.npy").unlink()
    with pytest.raises(ConfigurationError, match="cannot be made here"):
        import_parquet(tmp_path / "x.parquet", tmp_path / "again")


def test_documents_alone(counts_index: Path, tmp_path: Path) -> None:
    export_parquet(counts_index, tmp_path / "in" / "b.parquet", vectors=False)
    write(tmp_path / "in" / "a.parquet", _id=["x", "y"], contents=["new text", None], n=[1, None],
          title=[None, "only a title"])  # fmt: skip
    steps: list[int] = []
    import_parquet(tmp_path / "in", tmp_path / "i", encoder_options={"k1": 2}, advance=steps.append)
    with Retriever.open(counts_index) as a, Retriever.open(tmp_path / "i") as b:
        found = list(b.documents())
        assert found[:2] == [
            Document("x", "new text", "", {"n": 1}),
            Document("y", "", "only a title"),
        ]
        assert found[2:] == list(a.documents())
        assert sum(steps) == 200


def test_index_reads_parquet_and_continues(tmp_path: Path) -> None:
    path = write(
        tmp_path / "d.parquet", id=["1", "", "3"], text=["a wing", "bad", "lift"], year=[1, 2, 3]
    )
    with Retriever.create(tmp_path / "i") as retriever:
        with pytest.raises(DocumentError, match=r"d\.parquet:2: .*no id.*--on-error skip"):
            ingest(retriever, path)
        assert len(retriever) == 1
        report = ingest(retriever, path, on_error="skip")
        assert report[:3] == (1, 1, 1)
        assert retriever.search("lift", filter="year > 2")[0].id == "3"
    assert [record.line for record in read_documents(path, on_error="skip", skip_lines=1)] == [3]


def test_terms_of_others(tmp_path: Path) -> None:
    write(tmp_path / "x.parquet", id=["1", "2"], terms=[["a", "b"], []], values=[[1.0, 2.0], []])
    import_parquet(tmp_path / "x.parquet", tmp_path / "i")
    with Retriever.open(tmp_path / "i") as retriever:
        assert [(r.id, r.score) for r in retriever.search("b b a")] == [("1", 5.0)]
        assert len(retriever) == 2


def lists(*rows: list[Any] | None) -> list[list[Any] | None]:
    return list(rows)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"indices": lists([1])}, "are no vectors"),
        ({"values": lists([1.0])}, "are no vectors"),
        ({"indices": lists([1, 2]), "values": lists([1.0])}, "differ in length"),
        ({"indices": lists(None), "values": lists([1.0])}, "are no vectors"),
        ({"indices": lists([None]), "values": lists([1.0])}, "has nulls"),
        ({"indices": lists([1.5]), "values": lists([1.0])}, "indices integers"),
        ({"indices": lists(["x"]), "values": lists([1.0])}, "indices integers"),
        ({"indices": lists([-1]), "values": lists([1.0])}, "must lie in"),
        ({"indices": lists([2**40]), "values": lists([1.0])}, "must lie in"),
        ({"indices": lists([1, 1]), "values": lists([1.0, 2.0])}, "more than once"),
        ({"indices": lists([1]), "values": lists([float("nan")])}, "not finite"),
        ({"terms": lists([""]), "values": lists([1.0])}, "no term"),
        ({"terms": lists(["a", "a"]), "values": lists([1.0, 2.0])}, "more than once"),
        ({"vector": lists([])}, "no row has a vector"),
    ],
)
def test_bad_vectors(
    columns: dict[str, Any], reason: str, tmp_path: Path, nothing_left: Check
) -> None:
    write(tmp_path / "x.parquet", id=["1"], **columns)
    with pytest.raises(DocumentError, match=reason):
        import_parquet(tmp_path / "x.parquet", tmp_path / "i")
    nothing_left(tmp_path, "x.parquet")


def test_nulls_in_lists(tmp_path: Path) -> None:
    indices = pa.array([[1], None], pa.list_(pa.int32()))
    write(tmp_path / "x.parquet", id=["1", "2"], indices=indices, values=[[1.0], [1.0]])
    with pytest.raises(DocumentError, match="rows 1 to 2: indices has nulls"):
        import_parquet(tmp_path / "x.parquet", tmp_path / "i")


def test_columns_of_the_same_names_that_are_no_vectors(tmp_path: Path) -> None:
    write(tmp_path / "x.parquet", id=["1"], text=["wing"], values=[5])
    import_parquet(tmp_path / "x.parquet", tmp_path / "i")
    with Retriever.open(tmp_path / "i") as retriever:
        assert retriever.search("wing", filter="values = 5")[0].metadata == {"values": 5}


def test_bad_files(counts_index: Path, tmp_path: Path, nothing_left: Check) -> None:
    path = tmp_path / "x.parquet"
    with pytest.raises(DocumentError, match="no such file"):
        import_parquet(path, tmp_path / "i")
    export_parquet(counts_index, path)
    whole = path.read_bytes()
    middle = bytes([*whole[:1000], *(byte ^ 255 for byte in whole[1000:3000]), *whole[3000:]])
    for data in (b"", b"PAR1", whole[:-20], whole[: len(whole) // 2], b"x" * 100, middle):
        path.write_bytes(data)
        with pytest.raises(DocumentError, match=r"x\.parquet"):
            import_parquet(path, tmp_path / "i")
    write(path, id=["1", None], text=["a", "b"])
    with pytest.raises(DocumentError, match=r"x\.parquet:2: no id"):
        import_parquet(path, tmp_path / "i")
    write(path, id=["1", None], vector=[[1.0], [2.0]])
    with pytest.raises(DocumentError, match=r"x\.parquet: row 2: no id"):
        import_parquet(path, tmp_path / "i")
    write(path, id=["1", "2"], vector=[[1.0], [2.0, 3.0]])
    with pytest.raises(DocumentError, match="not all of 1 values"):
        import_parquet(path, tmp_path / "i")
    write(tmp_path / "y.parquet", id=["1"], text=["a"])
    with pytest.raises(DocumentError, match="some files have vectors"):
        import_parquet(tmp_path, tmp_path / "i")
    (tmp_path / "y.parquet").unlink()
    nothing_left(tmp_path, "x.parquet")


def test_pyarrow_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "x.parquet", id=["1"], text=["a"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"sparseret\[parquet\]"):
        list(read_documents(tmp_path / "x.parquet"))


def test_memory_is_that_of_a_row_group(tmp_path: Path) -> None:
    schema = pa.schema({"id": pa.string(), "text": pa.string()})
    with parquet.ParquetWriter(tmp_path / "x.parquet", schema) as writer:
        for group in range(40):
            rows = range(group * 500, group * 500 + 500)
            texts = [f"{row} " * 400 for row in rows]
            writer.write_table(pa.table({"id": list(map(str, rows)), "text": texts}))
    code = (
        "import resource, sys, pyarrow.parquet\n"
        "from sparseret import read_documents\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "assert sum(1 for _ in read_documents(sys.argv[1])) == 20_000\n"
        "print(peak() - before)\n"
    )
    told = subprocess.run([sys.executable, "-c", code, tmp_path / "x.parquet"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert int(told.stdout) < 30_000  # KiB; all texts are 48 MB
