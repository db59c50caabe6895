"""Searching by recall, and the calibration behind it, on an index folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from sparseret.errors import ConfigurationError
from sparseret.indexers.info import index_info
from sparseret.indexers.inverted import InvertedIndex
from sparseret.indexers.verify import verify_index
from sparseret.kernels import Effort


def rows(n: int, seed: int, dim: int = 300) -> csr_array:
    rng = np.random.default_rng(seed)
    popular = 1 / np.arange(1, dim + 1) ** 0.7
    dense = rng.gamma(1.0, 0.5, (n, dim)) * (rng.random((n, dim)) < 0.3 * popular / popular.mean())
    return csr_array(dense.astype(np.float32))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> InvertedIndex:
    folder = tmp_path_factory.mktemp("recall") / "i"
    made = InvertedIndex.create(folder, dim=300, signed=False, memory_budget=2**20)
    for batch in range(4):
        made.add([f"{batch}-{i}" for i in range(1500)], rows(1500, batch))
        made.commit()
    made.delete([f"1-{i}" for i in range(0, 1500, 7)])
    made.merge()
    return made


def test_merge_calibrates_and_tune_measures_again(index: InvertedIndex) -> None:
    assert index.calibration is not None
    assert not index.calibration.given
    tuned = index.tune(rows(200, 50))
    assert tuned.given
    assert index.calibration == tuned
    with InvertedIndex.open(index.path) as again:
        assert again.calibration == tuned
    for k in {level.k for level in tuned.levels}:
        levels = [level for level in tuned.levels if level.k == k]
        assert levels == sorted(levels, key=lambda level: level.cost)
        assert levels == sorted(levels, key=lambda level: level.recall)


@pytest.fixture(scope="module")
def tuned(index: InvertedIndex) -> InvertedIndex:
    """The same, calibrated with queries of its own."""
    index.tune(rows(300, 51))
    return index


@pytest.mark.parametrize("asked", [0.9, 0.95, 0.99])
def test_recall_is_reached_on_queries_never_seen(tuned: InvertedIndex, asked: float) -> None:
    index, queries = tuned, rows(300, 52)
    exact = index.search(queries, 10, exact=True)
    found = index.search(queries, 10, recall=asked)
    assert exact.mode.exact
    assert found.mode.exact or found.mode.recall >= asked
    shares = [
        np.mean(got >= want[-1]) for want, got in zip(exact.scores, found.scores, strict=True)
    ]
    assert np.mean(shares) >= asked - 0.02


def test_segments_agree_with_the_product(index: InvertedIndex) -> None:
    live = [(b, i) for b in range(4) for i in range(1500) if b != 1 or i % 7]
    matrix = np.concatenate([rows(1500, b).toarray() for b in range(4)])
    matrix = matrix[[b * 1500 + i for b, i in live]]
    ids = np.array([f"{b}-{i}" for b, i in live])
    queries = rows(10, 60)
    scores = (queries @ csr_array(matrix).T).toarray()
    hits = index.search(queries, 20)
    for q in range(10):
        order = np.lexsort((np.arange(len(ids)), -scores[q]))[:20]
        assert hits.ids[q] == ids[order].tolist()
        np.testing.assert_array_equal(hits.scores[q], scores[q, order])
    assert verify_index(index.path) == []


def test_ranges_of_documents_are_found_without_the_rest(index: InvertedIndex) -> None:
    inside = [f"2-{i}" for i in range(100, 120)]
    queries = rows(5, 61)
    few = index.search(queries, 5, allow=inside)
    everything = index.search(queries, 6000)
    for q in range(5):
        want = [id for id in everything.ids[q] if id in set(inside)][:5]
        assert few.ids[q] == want


def test_bad_requests(index: InvertedIndex) -> None:
    queries = rows(1, 1)
    for wrong in ({"recall": 1.5}, {"recall": "0.9"}, {"exact": True, "recall": 0.9},
                  {"exact": False}, {"effort": (0.1, 5)}, {"effort": Effort(2.0, 5)},
                  {"effort": Effort(0.1, 0)}):  # fmt: skip
        with pytest.raises(ConfigurationError):
            index.search(queries, 10, **wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        index.search(queries, 10, heap_factor=0.9)  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="memory_budget"):
        InvertedIndex.open(index.path, memory_budget=0)


def test_rows_with_negative_values_join_and_stay_exact(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    index = InvertedIndex.create(tmp_path / "i", dim=50)
    positive = np.abs(rng.standard_normal((40, 50))).astype(np.float32)
    signed = rng.standard_normal((40, 50)).astype(np.float32)
    index.add([f"p{i}" for i in range(40)], csr_array(positive))
    index.commit()
    index.add([f"s{i}" for i in range(40)], csr_array(signed))
    index.commit()
    queries = csr_array(rng.standard_normal((6, 50)).astype(np.float32))
    before = index.search(queries, 80)
    assert len(index.snapshot.files) == 2
    index.merge()
    after = index.search(queries, 80)
    assert before.ids == after.ids
    product = (queries @ csr_array(np.concatenate([positive, signed])).T).toarray()
    for q in range(6):
        np.testing.assert_array_equal(after.scores[q], -np.sort(-product[q]))
    assert verify_index(index.path) == []


def test_info_shows_the_calibration(tmp_path: Path) -> None:
    with InvertedIndex.create(tmp_path / "i", dim=300, signed=False) as index:
        index.add([str(i) for i in range(2000)], rows(2000, 9))
        index.merge()
        measured = index.tune(rows(60, 10))
        assert index_info(index).legs[0].calibration == measured
