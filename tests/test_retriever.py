"""The retriever: documents in, ranked documents out, and its manners at every border."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from sparseret.documents import Document
from sparseret.encoders.bm25 import BM25Encoder
from sparseret.errors import (
    ConfigurationError,
    CorruptIndexError,
    DocumentError,
    DuplicateIdError,
    FilterError,
    IncompatibleIndexError,
    IndexExistsError,
    IndexLockedError,
    IndexNotFoundError,
    StorageError,
)
from sparseret.indexers.filters import field
from sparseret.indexers.inverted import InvertedIndex
from sparseret.indexers.verify import verify_index
from sparseret.retriever import Retriever

DOCUMENTS = [
    Document("wing", "The lift of a wing in a stream", "Wings", {"year": 1958, "lang": "en"}),
    Document("heat", "Heat transfer in a laminar stream", "", {"year": 1961, "lang": "en"}),
    Document("empty", "", "", {"year": 1970}),
    Document("flügel", "Der Auftrieb eines Flügels, lift", "", {"year": 1961, "lang": "de"}),
]


@pytest.fixture
def retriever(tmp_path: Path) -> Iterator[Retriever]:
    with Retriever.create(tmp_path / "i", filter_fields=["year"]) as retriever:
        retriever.add(DOCUMENTS)
        retriever.commit()
        yield retriever


def ids(retriever: Retriever, query: str, k: int = 10, **options: Any) -> list[str]:
    return [result.id for result in retriever.search(query, k, **options)]


# --- searching ----------------------------------------------------------------------------------


def test_results_carry_the_documents(retriever: Retriever) -> None:
    found = {result.id: result for result in retriever.search("lift of wings")}
    assert found.keys() == {"wing", "flügel"}
    best = found["wing"]
    assert best[2:5] == ("Wings", "The lift of a wing in a stream", {"year": 1958, "lang": "en"})
    assert best.score > found["flügel"].score > 0
    assert isinstance(best.score, float)


def test_what_finds_nothing(retriever: Retriever) -> None:
    for query in ("", "   ", "?!", "the of a", "zeppelin", "\0", "\ud800", "🙂"):
        assert retriever.search(query) == []
    assert retriever.search_batch([]) == []
    hits = retriever.retrieve(["", "zeppelin"])
    assert hits.ids == [[], []]
    assert [len(scores) for scores in hits.scores] == [0, 0]


def test_k(retriever: Retriever) -> None:
    everything = ids(retriever, "lift stream", 100)
    assert set(everything) == {"wing", "heat", "flügel"}
    for k in (1, 2, 3, 2**31, 2**40, 2**63 - 1):
        assert ids(retriever, "lift stream", k) == everything[:k]
    for k in (0, -1):
        with pytest.raises(ConfigurationError, match="at least 1"):
            retriever.search("lift", k)


def test_batches_equal_single_searches_on_any_number_of_threads(retriever: Retriever) -> None:
    queries = ["lift", "", "heat stream", "lift", "zeppelin"] * 7
    single = [retriever.search(query) for query in queries]
    for threads in (None, 1, 2, 64):
        assert retriever.search_batch(queries, threads=threads) == single
        hits = retriever.retrieve(queries, threads=threads)
        assert hits.ids == [[result.id for result in row] for row in single]
        assert [s.tolist() for s in hits.scores] == [[r.score for r in row] for row in single]
    with pytest.raises(ConfigurationError, match="threads"):
        retriever.search_batch(["lift"], threads=0)
    with pytest.raises(ConfigurationError, match="list of strings"):
        retriever.search_batch("lift")


def test_filters_come_before_ranking(retriever: Retriever) -> None:
    assert ids(retriever, "lift stream", 1, filter="year = 1961 and lang = 'de'") == ["flügel"]
    assert ids(retriever, "lift stream", filter=field("year") < 1960) == ["wing"]
    assert ids(retriever, "lift stream", filter="year > 2000") == []
    assert ids(retriever, "zeppelin", filter="year > 1900") == []
    for rows in (
        retriever.search_batch(["lift", "heat"], filter="lang = 'en'"),
        retriever.retrieve(["lift", "heat"], filter="lang = 'en'").ids,
    ):
        assert [len(row) for row in rows] == [1, 1]
    with pytest.raises(FilterError, match=r"\^"):
        retriever.search("lift", filter="year >= ")


@pytest.mark.parametrize("language", ["english", "cjk"])
def test_scripts_without_spaces(tmp_path: Path, language: str) -> None:
    options = {"language": language}
    with Retriever.create(tmp_path / "i", encoder_options=options) as retriever:
        retriever.add(
            [Document("東京", "東京都の図書館"), Document("京都", "京都の大学図書館です")]
        )
        retriever.commit()
        assert ids(retriever, "大学") == ["京都"]
        assert set(ids(retriever, "図書館")) == {"東京", "京都"}
        assert retriever.explain("図書館", "東京").terms


def test_ids_of_any_language(tmp_path: Path) -> None:
    names = [
        "é",
        "e\u0301",
        "한국",
        "🙂",
        "a b",
        "A",
        "a",
        "0",
        "00",
        "x" * 10_000,
        "'); DROP --",
        '"',
    ]
    with Retriever.create(tmp_path / "i") as retriever:
        retriever.add(Document(name, "text") for name in names)
        retriever.commit()
        assert ids(retriever, "text", 100) == names
        assert [retriever.document(name) for name in names] == [Document(n, "text") for n in names]
        assert retriever.delete(names[::2]) == len(names[::2])
        retriever.commit()
        assert ids(retriever, "text", 100) == names[1::2]


def test_ids_that_readers_accept(tmp_path: Path) -> None:
    names = ["👩\u200d👧", "a\u00a0b", "soft\u00adhyphen"]
    with Retriever.create(tmp_path / "i") as retriever:
        assert retriever.add(Document(name, "text") for name in names) == 3


def test_a_text_of_five_megabytes(tmp_path: Path) -> None:
    text = " ".join(f"word{i % 5000}" for i in range(600_000))
    assert len(text) > 5e6
    with Retriever.create(tmp_path / "i") as retriever:
        retriever.add([Document("huge", text), Document("small", "word17 word18")])
        retriever.commit()
        assert ids(retriever, "word17") == ["huge", "small"]
        assert retriever.explain("word17", "huge").score > 0
        document = retriever.document("huge")
        assert document is not None
        assert document.text == text
        # As a query too: of its 5000 words the small document has two.
        assert ids(retriever, text) == ["huge", "small"]


# --- documents ----------------------------------------------------------------------------------


def test_documents_come_back_as_they_were(retriever: Retriever) -> None:
    assert len(retriever) == 4
    assert list(retriever.documents()) == DOCUMENTS
    assert retriever.document("heat") == DOCUMENTS[1]
    assert retriever.document("nothing") is None


def test_add_takes_iterators_larger_than_a_batch(tmp_path: Path) -> None:
    with Retriever.create(tmp_path / "i") as retriever:
        assert retriever.add(Document(str(i), f"n{i % 3}") for i in range(2500)) == 2500
        assert retriever.add([]) == 0
        retriever.commit()
        assert len(ids(retriever, "n1", 5000)) == 833


def test_add_refuses_what_is_no_new_document(retriever: Retriever) -> None:
    bad: list[tuple[Any, type[Exception], str]] = [
        (["text"], DocumentError, "got str"),
        ([Document("wing", "again")], DuplicateIdError, "'wing' is in the index already"),
        ([Document("x"), Document("x")], DuplicateIdError, "'x' occurs twice"),
        ([Document("", "no id")], DocumentError, "is empty"),
        ([Document("new\nline")], DocumentError, "control character"),
        ([Document("x", metadata={"a": object()})], DocumentError, "'x'.*object is not a JSON"),
    ]
    for documents, error, pattern in bad:
        with pytest.raises(error, match=pattern):
            retriever.add([Document("good"), *documents])
    with pytest.raises(ConfigurationError, match="not one string"):
        retriever.delete("wing")
    retriever.commit()
    assert list(retriever.documents()) == DOCUMENTS


def test_update_replaces_and_moves_to_the_end(retriever: Retriever) -> None:
    new = [Document("wing", "first"), Document("fresh", "lift"), Document("wing", "lift second")]
    assert retriever.update(new) == 3
    retriever.commit()
    assert [d.id for d in retriever.documents()] == ["heat", "empty", "flügel", "fresh", "wing"]
    assert retriever.document("wing") == Document("wing", "lift second")
    assert set(ids(retriever, "lift")) == {"fresh", "wing", "flügel"}
    assert ids(retriever, "first") == []


def test_a_failed_update_keeps_the_old_version(retriever: Retriever) -> None:
    retriever.add([Document("uncommitted", "lift")])
    with pytest.raises(DocumentError, match="'wing': the number nan"):
        retriever.update([Document("heat"), Document("wing", metadata={"bad": float("nan")})])
    retriever.commit()
    assert list(retriever.documents()) == [*DOCUMENTS, Document("uncommitted", "lift")]
    assert verify_index(retriever.path) == []


def test_delete_counts_what_was_there(retriever: Retriever) -> None:
    assert retriever.delete(["wing", "nothing", "wing"]) == 1
    assert retriever.delete(iter(["heat", "wing"])) == 1
    assert retriever.delete([]) == 0
    assert "wing" in ids(retriever, "lift")
    retriever.commit()
    assert ids(retriever, "lift stream") == ["flügel"]
    assert len(retriever) == 2


def test_rollback_forgets_documents_and_words(retriever: Retriever) -> None:
    before = retriever.search("lift stream")
    for _ in range(2):
        retriever.add([Document("x", "zeppelin lift")])
        retriever.delete(["wing"])
        retriever.rollback()
    retriever.commit()
    assert retriever.search("lift stream") == before
    # The word's column was given back with its document, and is given out again.
    retriever.add([Document("y", "airship zeppelin")])
    retriever.commit()
    assert ids(retriever, "zeppelin") == ["y"]
    assert verify_index(retriever.path) == []


def test_context_manager_commits_or_forgets(tmp_path: Path) -> None:
    with Retriever.create(tmp_path / "i") as retriever:
        retriever.add(DOCUMENTS)
    with pytest.raises(RuntimeError, match="on purpose"), Retriever.open(tmp_path / "i") as r:
        r.delete(["wing"])
        raise RuntimeError("on purpose")
    with Retriever.open(tmp_path / "i") as retriever:
        assert len(retriever) == 4
        retriever.delete(["wing"])
        retriever.close()  # forgets
    with Retriever.open(tmp_path / "i") as retriever:
        assert list(retriever.documents()) == DOCUMENTS


def test_merge_commits_and_reports(retriever: Retriever) -> None:
    retriever.add([Document("x", "lift")])
    seen: list[tuple[int, int]] = []
    assert retriever.merge(lambda done, planned: seen.append((done, planned))) == 1
    assert seen == [(0, 1), (1, 1)]
    assert "x" in ids(retriever, "lift")
    assert retriever.merge() == 0
    assert len(retriever.index.snapshot.files) == 1


def test_iterating_over_documents_goes_on_through_commits(tmp_path: Path) -> None:
    with Retriever.create(tmp_path / "i") as retriever:
        retriever.add(Document(str(i), "text") for i in range(3000))
        retriever.commit()
        seen = []
        for document in retriever.documents():
            seen.append(document.id)
            if len(seen) % 1000 == 500:
                retriever.update([Document(document.id, "changed")])
                retriever.commit()
        assert seen == [str(i) for i in range(3000)]
        changed = [d.id for d in retriever.documents() if d.text == "changed"]
        assert changed == ["499", "1499", "2499"]


# --- opening and closing ------------------------------------------------------------------------


def test_create_and_open_refuse(tmp_path: Path) -> None:
    Retriever.create(tmp_path / "i").close()
    with pytest.raises(IndexExistsError):
        Retriever.create(tmp_path / "i")
    with pytest.raises(IndexNotFoundError):
        Retriever.open(tmp_path / "nothing")
    with pytest.raises(ConfigurationError, match=r"unknown encoder 'bm52'; there are: bm25"):
        Retriever.create(tmp_path / "new", "bm52")
    with pytest.raises(ConfigurationError, match="no option 'kl'"):
        Retriever.create(tmp_path / "new", encoder_options={"kl": 1})
    with pytest.raises(ConfigurationError, match="given by name"):
        Retriever.create(tmp_path / "new", BM25Encoder(), encoder_options={"k1": 1})
    assert not (tmp_path / "new").exists()


def test_an_index_is_opened_with_its_own_encoder_only(retriever: Retriever) -> None:
    for other in (BM25Encoder(k1=0.9), BM25Encoder(language="german")):
        with pytest.raises(IncompatibleIndexError, match="encoder that made it"):
            Retriever.open(retriever.path, other)
    with Retriever.open(retriever.path, BM25Encoder()) as same:
        assert same.search("lift") == retriever.search("lift")


def test_options_come_back_with_the_index(tmp_path: Path) -> None:
    options = {"variant": "bm25+", "k1": 0.9, "delta": 0.7, "language": "german"}
    with Retriever.create(tmp_path / "i", "bm25", encoder_options=options) as retriever:
        retriever.add(DOCUMENTS)
        retriever.commit()
        before, description = retriever.search("flügel lift"), retriever.description
    with Retriever.open(tmp_path / "i") as retriever:
        assert retriever.description == description
        assert retriever.search("flügel lift") == before
        assert retriever.n_bytes > 10_000


def test_use_after_close(retriever: Retriever) -> None:
    iterator = retriever.documents()
    retriever.close()
    uses: list[Callable[[], Any]] = [
        lambda: retriever.search("lift"),
        lambda: retriever.search_batch(["lift"], filter="year > 1"),
        lambda: retriever.retrieve(["lift"]),
        lambda: retriever.explain("lift", "wing"),
        lambda: retriever.document("wing"),
        lambda: list(retriever.documents()),
        lambda: next(iterator),
        lambda: retriever.add([Document("x", "y")]),
        lambda: retriever.update([Document("x", "y")]),
        lambda: retriever.delete(["wing"]),
        lambda: retriever.merge(),
    ]
    for use in uses:
        with pytest.raises(StorageError, match="closed"):
            use()
    retriever.close()
    with Retriever.open(retriever.path) as again:
        assert len(again) == 4


def test_a_damaged_record_of_the_encoder(retriever: Retriever) -> None:
    import sqlite3

    retriever.close()
    for value in ("{", "[]", '{"name": "bm25"}', "null"):
        with sqlite3.connect(retriever.path / "catalog.sqlite") as db:
            db.execute("UPDATE meta SET value = ? WHERE key = 'setting:encoder'", (value,))
        db.close()
        with pytest.raises(CorruptIndexError, match="encoder is damaged"):
            Retriever.open(retriever.path)


def test_reader_and_writer_on_one_folder(retriever: Retriever) -> None:
    with Retriever.open(retriever.path) as reader:
        before = reader.search("lift")
        retriever.add([Document("x", "lift lift")])
        assert reader.search("lift") == before
        retriever.commit()
        assert reader.search("lift") == before
        assert reader.document("x") is None
        with pytest.raises(IndexLockedError, match="another"):
            reader.delete(["wing"])
        retriever.merge()
        assert reader.search("lift") == before
        reader.refresh()
        assert reader.search("lift") == retriever.search("lift") != before
        retriever.close()
        reader.delete(["wing"])
        reader.commit()
        assert "wing" not in ids(reader, "lift")


def test_searches_beside_commits_see_whole_states_only(tmp_path: Path) -> None:
    """All documents are equal, so under one state's statistics all scores are equal."""
    failures: list[str] = []
    stop = threading.Event()
    with Retriever.create(tmp_path / "i") as retriever:

        def read() -> None:
            try:
                while not stop.is_set():
                    results = retriever.search("common", 1000)
                    if len(results) % 10 or len({r.score for r in results}) > 1:
                        failures.append(f"{len(results)} results")
                    if results:
                        retriever.explain("common", "0-0")
                        retriever.document("0-0")
            except Exception as error:
                failures.append(repr(error))
                raise

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for step in range(25):
            retriever.add(Document(f"{step}-{i}", f"common step{step}") for i in range(10))
            if step > 3:
                retriever.delete(f"{step - 2}-{i}" for i in range(10))
            retriever.commit()
            if step % 8 == 7:
                retriever.merge()
        stop.set()
        for thread in threads:
            thread.join()
        assert not failures
        assert len(retriever) == 40


def test_arguments_of_the_wrong_kind_get_typed_errors(retriever: Retriever) -> None:
    anything: Any
    for anything in (b"lift", None, 5, ["lift"]):
        with pytest.raises(ConfigurationError, match="must be a string"):
            retriever.search(anything)
    for anything in (2.5, "3", None):
        with pytest.raises(ConfigurationError, match="whole number"):
            retriever.search("lift", anything)
    for anything in (5, b"year = 1", ["year = 1"]):
        with pytest.raises(FilterError, match="text or made with field"):
            retriever.search("lift", filter=anything)
    anything = Document("x")
    with pytest.raises(ConfigurationError, match="iterator, of documents"):
        retriever.add(anything)
    for anything in (None, 7, b"text"):
        with pytest.raises(DocumentError, match=r"'x'.*must be strings"):
            Document("x", anything)
        with pytest.raises(DocumentError, match=r"'x'.*must be strings"):
            Document("x", "", anything)
    anything = "ab"
    with pytest.raises(ConfigurationError, match="not one string"):
        retriever.index.add(anything, csr_array((2, 3), dtype=np.float32))
    with pytest.raises(ConfigurationError, match="not one string"):
        retriever.index.search(csr_array((1, 3), dtype=np.float32), allow=anything)


def test_an_index_without_an_encoder_is_no_retriever(tmp_path: Path) -> None:
    InvertedIndex.create(tmp_path / "i").close()
    with pytest.raises(IncompatibleIndexError, match="open it as an InvertedIndex"):
        Retriever.open(tmp_path / "i")


def test_nothing_happens_on_a_closed_retriever(retriever: Retriever) -> None:
    retriever.close()
    for act in (retriever.commit, retriever.refresh, retriever.merge):
        with pytest.raises(StorageError, match="closed"):
            act()
