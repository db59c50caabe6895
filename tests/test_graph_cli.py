"""Graphs on the command line: edges to vectors of nodes, to an index of their codes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array, save_npz

pytest.importorskip("sparseret.kernels._native", reason="the native kernel is not built")

from sparseret import InvertedIndex
from sparseret.encoders.codecs import load_codec
from sparseret.encoders.edge_list import read_edges
from sparseret.encoders.fastrp import FastRP
from sparseret.errors import DocumentError


def write(folder: Path, text: str | bytes) -> Path:
    file = folder / "edges.tsv"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def test_edges_with_names_and_weights(tmp_path: Path) -> None:
    text = "\ufeff# a comment\nRoma Termini\tOstia\n\nOstia\tRoma Termini\t2.5\r\na a\ta a\n"
    names, adjacency = read_edges(write(tmp_path, text))
    assert names == ["Roma Termini", "Ostia", "a a"]
    expected = [[0, 3.5, 0], [3.5, 0, 0], [0, 0, 1]]
    np.testing.assert_array_equal(adjacency.toarray(), expected)
    _, directed = read_edges(tmp_path, directed=True)  # the file in a folder
    np.testing.assert_array_equal(directed.toarray(), [[0, 1, 0], [2.5, 0, 0], [0, 0, 1]])
    (tmp_path / "e.txt.gz").write_bytes(gzip.compress(b"x y 2\ny  z\n"))
    names, adjacency = read_edges(tmp_path / "e.txt.gz")
    assert (names, adjacency.nnz, adjacency.sum()) == (["x", "y", "z"], 4, 6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\na\n", r"edges\.tsv:2: 1 fields; expected name<TAB>name"),
        ("a\tb\tc\td\n", r":1: 4 fields"),
        ("a\t\n", r":1: the id is empty"),
        ("a\tb\tx\n", r":1: the weight 'x' is no number above 0"),
        ("a\tb\t-1\n", r"'-1' is no number above 0"),
        ("a\tb\nc\td\tnan\n", r":2: the weight 'nan'"),
        (b"a\tb\nc\t\xff\n", r":2: not UTF-8"),
        ("# nothing\n", r"no edges"),
    ],
)
def test_lines_that_are_no_edges(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        read_edges(write(tmp_path, text))


def cliques(folder: Path) -> Path:
    """Two groups of ten, each all tied to one another, and one tie between the groups."""
    lines = [
        f"{group} {i}\t{group} {j}\n" for group in "AB" for i in range(10) for j in range(i)
    ]  # fmt: skip
    return write(folder, "".join([*lines, "A 0\tB 0\n"]))


def test_neighbours_by_codes(run: Callable[..., Any], tmp_path: Path) -> None:
    nodes, codec, index = tmp_path / "nodes.npy", tmp_path / "codec", tmp_path / "nodes.idx"
    graph = ("train", "graph", cliques(tmp_path), "--components", "64", "--weights", "1,1")
    done = run(*graph, "--out", nodes)
    assert done.status == 0, done.err
    assert "20 nodes" in done.out
    names, adjacency = read_edges(tmp_path)
    assert (tmp_path / "nodes.txt").read_text().splitlines() == names
    expected = FastRP(64, (1, 1)).fit_transform(adjacency)
    np.testing.assert_array_equal(np.load(nodes), expected)

    hashing = ("train", "codec", "expansion-hashing", nodes, "--out", codec)
    assert run(*hashing, "-O", "winners=8").status == 0
    indexed = run("vectors", "index", nodes, "--codec", codec, "--out", index)
    assert indexed.status == 0, indexed.err
    with InvertedIndex.open(index, space=load_codec(codec).space) as opened:
        assert len(opened) == 20
        stored = opened.vectors_of(["B 3", "A 0"])
        coded = load_codec(codec).transform(expected[[names.index("B 3"), names.index("A 0")]])
        np.testing.assert_array_equal(stored.toarray(), coded.toarray())
    found = run("vectors", "search", index, "--like", "B 3", "-k", "5", "--json")
    rows = [json.loads(line) for line in found.out.splitlines()]
    assert len(rows) == 5
    assert all(row["id"].startswith("B") and row["id"] != "B 3" for row in rows)
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]
    assert run("vectors", "search", index, "--like", "B 3", "-k", "1").out.startswith("1\t")
    assert run("info", index).status == 0

    again = run(*graph, "--out", nodes)
    assert again.status == 1
    assert "exists: choose another" in again.err
    missing = run("vectors", "search", index, "--like", "C")
    assert (missing.status, "no document with id 'C'" in missing.err) == (1, True)


def test_a_matrix_and_sparse_vectors(run: Callable[..., Any], tmp_path: Path) -> None:
    ring = csr_array(np.roll(np.eye(12, dtype=np.float32), 1, axis=1))
    save_npz(tmp_path / "ring.npz", ring + ring.T)
    out = tmp_path / "deep" / "nodes.npy"
    done = run(
        "train", "graph", tmp_path / "ring.npz", "--out", out, "--components", "8",
        "--density", "0.5", "--weights", "1",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert np.load(out).shape == (12, 8)
    assert out.with_suffix(".txt").read_text().splitlines() == [str(i) for i in range(12)]
    index = ("vectors", "index", tmp_path / "ring.npz", "--out", tmp_path / "ring.idx")
    assert run(*index).status == 0  # as they are
    found = run("vectors", "search", tmp_path / "ring.idx", "--like", "3")
    assert {line.split("\t")[2] for line in found.out.splitlines()} == {"1", "5"}


def test_what_does_not_go_together(run: Callable[..., Any], tmp_path: Path) -> None:
    file = cliques(tmp_path)
    np.save(tmp_path / "x.npy", np.eye(3, dtype=np.float32))
    save_npz(tmp_path / "m.npz", csr_array(np.eye(3, dtype=np.float32)))
    save_npz(tmp_path / "bad.npz", csr_array(np.ones((2, 3), np.float32)))
    (tmp_path / "names").write_text("a\nb\n")
    (tmp_path / "same").write_text("a\nb\na\n")
    out = ("--out", tmp_path / "o.npy")
    index = ("--out", tmp_path / "o.idx")
    for arguments, message, status in (
        (("train", "graph", file, "--out", tmp_path / "o"), "ends in .npy", 2),
        (("train", "graph", file, *out, "--weights", "a"), "expected numbers", 2),
        (("train", "graph", file, *out, "--weights", "0"), "not all zero", 1),
        (("train", "graph", tmp_path / "m.npz", *out, "--directed"), "goes with edges", 2),
        (("train", "graph", tmp_path / "bad.npz", *out), "is square", 1),
        (("train", "graph", tmp_path / "no.tsv", *out), "no such file", 1),
        (("vectors", "index", tmp_path / "x.npy", *index), "give --codec", 1),
        (
            ("vectors", "index", tmp_path / "m.npz", *index, "--names", tmp_path / "names"),
            "has 2 lines, and", 1,
        ),
        (("vectors", "index", tmp_path / "m.npz", *index, "--names", "none"), "cannot be read", 1),
        (("vectors", "index", tmp_path / "m.npz", *index, "--names", tmp_path / "same"), "'a'", 1),
    ):  # fmt: skip
        done = run(*arguments)
        assert done.status == status, done
        assert message in " ".join(done.err.split())
        assert "Traceback" not in done.err
        assert not (tmp_path / "o.idx").exists()
