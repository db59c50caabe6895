from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseret.errors import DatasetError, StorageError
from sparseret.eval.runs import (
    RankedDocument,
    drop_self_matches,
    read_run,
    run_from_hits,
    write_run,
)
from sparseret.protocols import Hits

# Any characters but white space and lone surrogates, which the format cannot express.
WORDS = st.text(
    st.characters(exclude_categories=["Cs", "Zs", "Zl", "Zp", "Cc"]), min_size=1, max_size=8
)


@st.composite
def runs(draw: st.DrawFn) -> dict[str, list[RankedDocument]]:
    run = {}
    for query in draw(st.lists(WORDS, unique=True, max_size=4)):
        ids = draw(st.lists(WORDS, unique=True, min_size=1, max_size=6))
        # Few distinct scores, so that ties are common.
        scores = st.one_of(
            st.sampled_from([0.0, 1.5, -2.0, 1e-30]), st.floats(width=32, allow_nan=False)
        ).filter(lambda score: abs(score) != np.inf)
        ranked = draw(st.lists(scores, min_size=len(ids), max_size=len(ids)))
        ranked.sort(reverse=True)
        run[query] = [RankedDocument(*pair) for pair in zip(ids, ranked, strict=True)]
    return run


@given(run=runs())
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, run: dict) -> None:  # type: ignore[type-arg]
    path = tmp_path_factory.mktemp("runs") / "a.run"
    write_run(path, run)
    assert read_run(path) == run


def test_format(tmp_path: Path) -> None:
    run = {"q1": [RankedDocument("d2", 1.5), RankedDocument("d1", 0.25)], "q2": []}
    write_run(tmp_path / "a.run", run, tag="mine")
    expected = "q1 Q0 d2 1 1.5 mine\nq1 Q0 d1 2 0.25 mine\n"
    assert (tmp_path / "a.run").read_text() == expected
    write_run(tmp_path / "a.run.gz", run, tag="mine")
    assert gzip.decompress((tmp_path / "a.run.gz").read_bytes()).decode() == expected
    write_run(tmp_path / "a.run.zst", run, tag="mine")
    assert (tmp_path / "a.run.zst").read_bytes()[:4] == b"\x28\xb5\x2f\xfd"
    for suffix in (".gz", ".zst"):
        assert read_run(tmp_path / f"a.run{suffix}") == read_run(tmp_path / "a.run")


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    run = {"q1": [RankedDocument("d2", 1.5)]}
    for name in ("a.gz", "b.gz", "a.zst", "b.zst"):
        write_run(tmp_path / name, run)
    for suffix in ("gz", "zst"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_order_of_a_foreign_file(tmp_path: Path) -> None:
    path = tmp_path / "a.run"
    path.write_text(
        "q1 Q0 low 1 0.5 x\n"  # the score decides, not the rank
        "q1 Q0 b 3 2.0 x\n"
        "q1 Q0 a 2 2.0 x\n"  # among equal scores the rank does
        "q1 Q0 z 2 2.0 x\n"  # and then the order of the lines
    )
    assert [document.id for document in read_run(path)["q1"]] == ["a", "z", "b", "low"]


@pytest.mark.parametrize("bad", ["a b", "", "a\tb", "a\nb", "a\u00a0b", "a\x85b", " a"])
def test_ids_that_do_not_fit(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "a.run"
    for run in ({bad: [RankedDocument("d", 1.0)]}, {"q": [RankedDocument(bad, 1.0)]}):
        with pytest.raises(DatasetError, match="white space"):
            write_run(path, run)
    with pytest.raises(DatasetError, match="white space"):
        write_run(path, {}, tag=bad)
    assert list(tmp_path.iterdir()) == []


def test_lone_surrogate(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not valid Unicode"):
        write_run(tmp_path / "a.run", {"q": [RankedDocument("\ud800", 1.0)]})


@pytest.mark.parametrize("scores", [(float("nan"),), (float("inf"),), (1.0, 2.0), (-float("inf"),)])
def test_scores_that_do_not_fit(tmp_path: Path, scores: tuple[float, ...]) -> None:
    ranking = [RankedDocument(str(rank), score) for rank, score in enumerate(scores)]
    with pytest.raises(DatasetError, match="not finite"):
        write_run(tmp_path / "a.run", {"q": ranking})


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.run"
    write_run(path, {"q": [RankedDocument("old", 1.0)]})
    with pytest.raises(DatasetError):
        write_run(path, {"q": [RankedDocument("new", 1.0), RankedDocument("not ok", 1.0)]})
    assert read_run(path) == {"q": [("old", 1.0)]}
    assert [child.name for child in tmp_path.iterdir()] == ["a.run"]


def test_unwritable_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write_run(tmp_path / "file" / "a.run", {})


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
def test_permissions_are_those_of_a_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    write_run(tmp_path / "a.run", {})
    assert (tmp_path / "a.run").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("q1 Q0 d1 1 0.5", "expected the 6 columns"),
        ("q1 Q0 d1 first 0.5 x", "rank 'first'"),
        ("q1 Q0 d1 1 high x", "score 'high'"),
        ("q1 Q0 d1 1 nan x", "not finite"),
        ("q0 Q0 d0 2 0.5 x", "'d0' occurs twice"),
    ],
)
def test_malformed_file(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "a.run"
    path.write_text(f"q0 Q0 d0 1 1.0 x\n{line}\n")
    with pytest.raises(DatasetError, match=rf"a\.run:2: .*{reason}"):
        read_run(path)


def test_run_from_hits() -> None:
    hits = Hits([["a", "b"], []], [np.array([2, 1], np.float32), np.array([], np.float32)])
    assert run_from_hits(["q1", "q2"], hits) == {"q1": [("a", 2.0), ("b", 1.0)], "q2": []}


def test_drop_self_matches() -> None:
    run = {"q1": [RankedDocument("q1", 2.0), RankedDocument("q2", 1.0)], "q2": []}
    assert drop_self_matches(run) == {"q1": [("q2", 1.0)], "q2": []}
