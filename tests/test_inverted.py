"""The inverted index against a plain dict, and its behaviour at every border."""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from scipy.sparse import coo_array, csc_array, csr_array, csr_matrix

from sparseret import vectors
from sparseret.documents import Document
from sparseret.errors import (
    ConfigurationError,
    DocumentError,
    DuplicateIdError,
    IncompatibleIndexError,
    IndexExistsError,
    IndexLockedError,
    IndexNotFoundError,
    StorageError,
    VectorError,
)
from sparseret.indexers import writer as writer_module
from sparseret.indexers.inverted import InvertedIndex
from sparseret.indexers.verify import verify_index
from sparseret.kernels import reference
from sparseret.protocols import Hits
from sparseret.retriever import Retriever

DIM = 12


def assert_hits(got: Hits, want: Hits) -> None:
    assert got.ids == want.ids
    for a, b in zip(got.scores, want.scores, strict=True):
        np.testing.assert_array_equal(a, b)


def expected(model: dict[str, dict[int, float]], queries: csr_array, k: int) -> Hits:
    """What an index that holds ``model`` must answer, by the reference."""
    ids = list(model)
    dense = np.zeros((len(ids), queries.shape[1]))
    for row, id in enumerate(ids):
        for column, value in model[id].items():
            dense[row, column] = value
    ranking = reference.search(vectors.check(dense), queries, k)
    bounds = list(zip(ranking.ptr, ranking.ptr[1:], strict=False))
    return Hits(
        [[ids[row] for row in ranking.rows[a:b]] for a, b in bounds],
        [ranking.scores[a:b] for a, b in bounds],
    )


def rows(*entries: dict[int, float]) -> csr_array:
    dense = np.zeros((len(entries), DIM))
    for row, entry in enumerate(entries):
        for column, value in entry.items():
            dense[row, column] = value
    return vectors.check(dense)


values = st.sampled_from([-2.0, -1.0, 0.5, 1.0, 1.5, 3.0])
row_entries = st.dictionaries(st.integers(0, DIM - 1), values, max_size=5)
id_lists = st.lists(st.integers(0, 30).map(str), min_size=1, max_size=6, unique=True)


class IndexMachine(RuleBasedStateMachine):
    """Any sequence of operations leaves the index equal to a dict."""

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="sparseret-test-"))
        self.buffered = writer_module.MEMORY_BUDGET
        writer_module.MEMORY_BUDGET = 8 * 64  # many segments, even within one commit
        self.index = InvertedIndex.create(self.folder / "index", dim=DIM)
        self.committed: dict[str, dict[int, float]] = {}
        self.pending: dict[str, dict[int, float]] = {}

    def teardown(self) -> None:
        writer_module.MEMORY_BUDGET = self.buffered
        self.index.close()
        assert verify_index(self.folder / "index") == []
        shutil.rmtree(self.folder)

    @rule(ids=id_lists, entries=st.lists(row_entries, min_size=6, max_size=6))
    def add(self, ids: list[str], entries: list[dict[int, float]]) -> None:
        entries = entries[: len(ids)]
        if taken := [id for id in ids if id in self.pending]:
            with pytest.raises(DuplicateIdError, match=f"'({'|'.join(taken)})'"):
                self.index.add(ids, rows(*entries))
        else:
            self.index.add(ids, rows(*entries))
            self.pending.update(zip(ids, entries, strict=True))

    @rule(ids=id_lists)
    def delete(self, ids: list[str]) -> None:
        assert self.index.delete(ids) == len(self.pending.keys() & set(ids))
        for id in ids:
            self.pending.pop(id, None)

    @rule()
    def commit(self) -> None:
        self.index.commit()
        self.committed = dict(self.pending)

    @rule()
    def rollback(self) -> None:
        self.index.rollback()
        self.pending = dict(self.committed)

    @rule()
    def merge(self) -> None:
        self.index.merge()
        self.committed = dict(self.pending)
        assert len(self.index.snapshot.files) == bool(self.committed)
        assert not len(self.index.snapshot.tombstones)

    @rule()
    def reopen(self) -> None:
        self.index.close()
        self.index = InvertedIndex.open(self.folder / "index")
        self.pending = dict(self.committed)

    @rule(query=row_entries, k=st.sampled_from([1, 3, 100]), allowed=st.none() | id_lists)
    def search(self, query: dict[int, float], k: int, allowed: list[str] | None) -> None:
        model = self.committed
        if allowed is not None:
            model = {id: row for id, row in model.items() if id in allowed}
        queries = rows(query, {0: 1.0, 5: -1.0})
        assert_hits(self.index.search(queries, k, allow=allowed), expected(model, queries, k))

    @invariant()
    def counts(self) -> None:
        assert len(self.index) == len(self.committed)


TestIndexMachine = IndexMachine.TestCase
TestIndexMachine.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


@pytest.fixture
def index(tmp_path: Path) -> InvertedIndex:
    index = InvertedIndex.create(tmp_path / "index", dim=DIM)
    index.add(["a", "b", "c"], rows({0: 1.0}, {0: 2.0, 3: 1.0}, {}))
    index.commit()
    return index


def test_changes_show_after_commit_only(index: InvertedIndex) -> None:
    query = rows({0: 1.0})
    index.add(["d"], rows({0: 9.0}))
    index.delete(["b"])
    assert index.search(query).ids == [["b", "a"]]
    with InvertedIndex.open(index.path) as reader:
        assert reader.search(query).ids == [["b", "a"]]
        index.commit()
        assert index.search(query).ids == [["d", "a"]]
        assert reader.search(query).ids == [["b", "a"]]
        reader.refresh()
        assert reader.search(query).ids == [["d", "a"]]


def test_a_reader_keeps_its_snapshot_while_files_are_merged_away(index: InvertedIndex) -> None:
    index.add(["d"], rows({0: 3.0}))
    index.commit()
    with InvertedIndex.open(index.path) as reader:
        files = [entry.file for entry in reader.snapshot.entries]
        index.delete(["a"])
        index.merge()
        assert not any((index.path / file).exists() for file in files)
        assert reader.search(rows({0: 1.0})).ids == [["d", "b", "a"]]
        assert len(reader) == 4
        reader.refresh()
        assert reader.search(rows({0: 1.0})).ids == [["d", "b"]]


def test_context_manager_commits_or_forgets(tmp_path: Path) -> None:
    with InvertedIndex.create(tmp_path / "i") as index:
        index.add(["a"], rows({1: 1.0}))
    with pytest.raises(RuntimeError, match="on purpose"), InvertedIndex.open(tmp_path / "i") as i:
        i.add(["b"], rows({1: 1.0}))
        raise RuntimeError("on purpose")
    with InvertedIndex.open(tmp_path / "i") as index:
        assert index.search(rows({1: 1.0})).ids == [["a"]]
        assert list((tmp_path / "i" / "segments").iterdir()) != []


def test_only_one_writer(index: InvertedIndex) -> None:
    index.delete(["a"])
    with InvertedIndex.open(index.path) as second:
        with pytest.raises(IndexLockedError, match="another"):
            second.add(["x"], rows({1: 1.0}))
        index.close()
        second.add(["x"], rows({1: 1.0}))


def test_wrong_input_changes_nothing(index: InvertedIndex) -> None:
    nan = csr_array(np.array([[np.nan]]))
    for ids, matrix, error in (
        (["x"], rows({0: 1.0})[:, :3], VectorError),
        (["x"], csr_array((1, DIM + 1)), VectorError),
        (["x"], nan, VectorError),
        (["x", "y"], rows({0: 1.0}), ConfigurationError),
        (["x", "x"], rows({}, {}), DuplicateIdError),
        (["x", "a"], rows({}, {}), DuplicateIdError),
        ([""], rows({}), DocumentError),
        (["tab\tid"], rows({}), DocumentError),
        (["\ud800"], rows({}), DocumentError),
    ):
        with pytest.raises(error):
            index.add(ids, matrix)
    for k in (0, -1):
        with pytest.raises(ConfigurationError, match="k must"):
            index.search(rows({0: 1.0}), k)
    with pytest.raises(ConfigurationError, match="threads"):
        index.search(rows({0: 1.0}), threads=0)
    index.commit()
    assert len(index) == 3
    assert verify_index(index.path) == []


def test_metadata_that_is_not_json(index: InvertedIndex) -> None:
    deep: list[object] = []
    for _ in range(150):
        deep = [deep]
    for bad in (object(), float("nan"), {1, 2}, "\ud800", "a\0b", "\\\0", deep):
        metadata = {"x": bad}
        with pytest.raises(DocumentError):
            index.add(["x"], rows({}), documents=[Document("x", metadata=metadata)])
    with pytest.raises(DocumentError):
        index.add(["x"], rows({}), documents=[Document("x", text="\udfff")])
    index.add(["x"], rows({0: 5.0}), documents=[Document("x", metadata={"x": [None, "\\u0000"]})])
    index.commit()
    assert len(index) == 4


def test_unsigned_space_refuses_negative_values(tmp_path: Path) -> None:
    with (
        InvertedIndex.create(tmp_path / "i", signed=False) as index,
        pytest.raises(VectorError, match=r"row 0, column 2.*negative"),
    ):
        index.add(["a"], rows({2: -1.0}))


def test_scores_beyond_float32_are_refused(tmp_path: Path) -> None:
    with InvertedIndex.create(tmp_path / "i") as index:
        index.add(["a"], rows({0: 3e38, 1: 1e-38}))
        index.commit()
        with pytest.raises(VectorError, match="float32"):
            index.search(rows({0: 10.0}))
        assert index.search(rows({1: 1e-30}, {1: 0.5})).ids == [["a"], ["a"]]


def test_create_and_open_refuse_what_is_not_theirs(index: InvertedIndex, tmp_path: Path) -> None:
    with pytest.raises(IndexExistsError, match="already"):
        InvertedIndex.create(index.path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(IndexExistsError, match=r"cat\.jpg"):
        InvertedIndex.create(tmp_path / "photos")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        InvertedIndex.create(tmp_path / "file")
    with pytest.raises(IndexNotFoundError, match="no index at"):
        InvertedIndex.open(tmp_path / "nothing")
    with pytest.raises(IncompatibleIndexError, match="'custom'"):
        InvertedIndex.open(index.path, space="bm25/1")


def test_closed_index_cannot_be_written(index: InvertedIndex) -> None:
    index.close()
    with pytest.raises(StorageError, match="closed"):
        index.add(["z"], rows({}))


def test_filters_and_allow_lists_come_before_top_k(tmp_path: Path) -> None:
    with InvertedIndex.create(tmp_path / "i", filter_fields=["year"]) as index:
        documents = [Document(str(i), metadata={"year": 1990 + i}) for i in range(20)]
        index.add(
            [d.id for d in documents],
            rows(*({0: float(20 - i)} for i in range(20))),
            documents=documents,
        )
        index.commit()
        query = rows({0: 1.0}, {5: 1.0})
        assert index.search(query, 2, where="year >= 2005").ids == [["15", "16"], []]
        assert index.search(query, 2, where="year = 1066").ids == [[], []]
        hits = index.search(query, 9, where="year < 2000", allow=["3", "12", "9", "none"])
        assert hits.ids == [["3", "9"], []]
        assert index.search(query, 2, allow=[]).ids == [[], []]


def test_searches_run_beside_commits_and_merges(index: InvertedIndex) -> None:
    """Readers on many threads only ever see whole commits."""
    failures: list[Exception] = []
    stop = threading.Event()

    def read() -> None:
        try:
            while not stop.is_set():
                ids = index.search(rows({5: 1.0}), 1000).ids[0]
                assert len(ids) % 10 == 0
        except Exception as error:  # noqa: BLE001 - reported below
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for step in range(30):
            index.add([f"{step}-{i}" for i in range(10)], rows(*[{5: 1.0}] * 10))
            index.commit()
            if step % 10 == 9:
                index.delete([f"{step - 5}-{i}" for i in range(10)])
                index.merge()
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert not failures
    assert len(index) == 3 + 270


def test_small_commits_do_not_pile_up(index: InvertedIndex) -> None:
    for i in range(100):
        index.add([str(i)], rows({1: 1.0 + i}))
        index.commit()
    assert len(index.snapshot.files) < 16
    assert index.search(rows({1: 1.0}), 3).ids == [["99", "98", "97"]]


def test_the_write_ahead_log_is_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparseret.indexers.folder._LARGE_LOG", 2**18)
    log = tmp_path / "i" / "catalog.sqlite-wal"
    with Retriever.create(tmp_path / "i") as retriever:
        for i in range(60):
            retriever.add([Document(f"{i}-{j}", "x" * 10_000) for j in range(10)])
            retriever.commit()
        assert len(retriever) == 600
        assert (tmp_path / "i" / "catalog.sqlite").stat().st_size > 5_000_000
        assert log.stat().st_size < 2_000_000
    assert not log.exists()


def test_distinct_values_beyond_16_bits_stay_exact(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = rng.permutation(np.linspace(1, 2, 70_000, dtype=np.float32))
    matrix = vectors.from_arrays(
        np.arange(0, 70_001, 10, dtype=np.int64),
        np.tile(np.arange(10, dtype=np.int32), 7000),
        data,
        10,
    )
    with InvertedIndex.create(tmp_path / "i") as index:
        index.add([str(i) for i in range(7000)], matrix)
        index.commit()
        assert not index.snapshot.files[0].data.coded
        query = vectors.check(np.ones((1, 10)))
        want = reference.search(matrix, query, 50)
        hits = index.search(query, 50)
        assert hits.ids[0] == [str(row) for row in want.rows]
        np.testing.assert_array_equal(hits.scores[0], want.scores)
        assert verify_index(index.path) == []


def test_vectors_are_taken_as_they_are_at_the_call(tmp_path: Path) -> None:
    with InvertedIndex.create(tmp_path / "i") as index:
        matrix = rows({0: 1.0, 3: 2.0})
        index.add(["a"], matrix)
        matrix.data[:] = np.nan
        matrix.indices[:] = 7
        index.commit()
        hits = index.search(rows({0: 1.0, 3: 1.0}, {7: 1.0}))
        assert hits.ids == [["a"], []]
        assert hits.scores[0].tolist() == [3.0]


def test_documents_must_have_the_ids(index: InvertedIndex) -> None:
    with pytest.raises(ConfigurationError, match="same order"):
        index.add(["x", "y"], rows({}, {}), documents=[Document("y"), Document("x")])


def test_a_commit_shows_even_if_the_merge_after_it_fails(
    index: InvertedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object) -> int:
        raise StorageError("no space for a merge")

    monkeypatch.setattr(writer_module.Writer, "merge_small", fail)
    index.add(["d"], rows({0: 9.0}))
    with pytest.raises(StorageError, match="no space"):
        index.commit()
    assert index.search(rows({0: 1.0})).ids == [["d", "b", "a"]]


def test_any_whole_number_of_hits(tmp_path: Path) -> None:
    with InvertedIndex.create(tmp_path / "i") as index:
        index.add(["a", "b"], csr_array(np.eye(2, dtype=np.float32)))
        index.commit()
        for k in (2**63, 2**64, 10**30):
            assert index.search(csr_array([[1.0, 2.0]]), k).ids == [["b", "a"]]


def test_queries_of_any_form_and_none_that_lies(tmp_path: Path) -> None:
    with InvertedIndex.create(tmp_path / "i", dim=3, signed=False) as index:
        index.add(["a", "b"], csr_array([[1.0, 0, 0], [0, 2.0, 1.0]]))
        index.commit()
        two = np.array([[1.0, 0.75, 0], [0, 0, 1.0]])
        want = [["b", "a"], ["b"]]
        swapped = csr_array(two.astype(np.float32))
        swapped.data = swapped.data.astype(">f4")
        forms = [
            two.tolist(), two, two.astype(np.float16), csr_array(two), csc_array(two),
            coo_array(two), csr_matrix(two), swapped,
            csr_array(two.astype(np.float32)),
        ]  # fmt: skip
        for form in forms:
            assert index.search(form).ids == want
        assert index.search(two[:1].tolist()).ids == want[:1]
        assert index.search(csr_array((0, 3))).ids == []
        bad = [
            csr_array(two[0]), two[0], [], None, "abc", csr_array(two[:, :2]), -two, two * np.nan,
            csr_array((1, 2**32)),
        ]  # fmt: skip
        for rows in (1, 3):  # a shape that its arrays do not have
            lying = csr_array(two.astype(np.float32))
            lying._shape = (rows, 3)
            bad.append(lying)
        for queries in bad:
            with pytest.raises(VectorError):
                index.search(queries)
