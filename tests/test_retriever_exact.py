"""Scores are exactly those of a fresh index of the same documents, whatever happened before, and
explanations add up to them exactly.

SPARSERET_HISTORIES sets how many random histories each variant goes through (default 8).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparseret.documents import Document
from sparseret.encoders.bm25 import BM25Encoder, Variant
from sparseret.indexers import writer as writer_module
from sparseret.indexers.verify import verify_index
from sparseret.protocols import Hits
from sparseret.retriever import Retriever

EXAMPLES = int(os.environ.get("SPARSERET_HISTORIES", "8"))
WORDS = [f"w{i}" for i in range(8)]
QUERIES = [*WORDS, "w0 w1", "w5 w2 w2 w7", " ".join(WORDS), "w3 w3 unknown", ""]
FIELDS = [None, {"title": 2.5, "text": 1, "note": 0.3}]

texts = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)
documents = st.builds(
    Document,
    id=st.integers(0, 12).map(str),
    text=texts,
    title=texts,
    metadata=st.fixed_dictionaries({}, optional={"note": texts}),
)
batches = st.lists(documents, max_size=5)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), batches),
        st.tuples(st.just("update"), batches),
        st.tuples(st.just("delete"), st.lists(st.integers(0, 12).map(str), max_size=8)),
        st.tuples(st.sampled_from(["commit", "commit", "rollback", "merge", "reopen"]), st.none()),
    ),
    max_size=12,
)


class History:
    """A retriever that goes through a history, and a dict that goes through the same."""

    def __init__(self, path: Path, options: Mapping[str, Any], first: Sequence[Document]) -> None:
        self.path = path
        self.retriever = Retriever.create(path, encoder_options=options)
        self.pending: dict[str, Document] = {}
        self.do("add", first)
        self.do("commit", None)

    def do(self, step: str, what: Any) -> None:
        if step == "add":
            new = {d.id: d for d in what if d.id not in self.pending}
            assert self.retriever.add(new.values()) == len(new)
            self.pending |= new
        elif step == "update":
            assert self.retriever.update(what) == len(what)
            last = {document.id: place for place, document in enumerate(what)}
            for place in sorted(last.values()):
                self.pending.pop(what[place].id, None)
                self.pending[what[place].id] = what[place]
        elif step == "delete":
            assert self.retriever.delete(what) == len(self.pending.keys() & set(what))
            for id in what:
                self.pending.pop(id, None)
        elif step == "commit":
            self.retriever.commit()
            self.committed = dict(self.pending)
        elif step == "merge":
            self.retriever.merge()
            self.committed = dict(self.pending)
        elif step == "rollback":
            self.retriever.rollback()
            self.pending = dict(self.committed)
        else:
            self.retriever.close()
            self.retriever = Retriever.open(self.path)
            self.pending = dict(self.committed)


def assert_equal_hits(got: Hits, want: Hits) -> None:
    assert got.ids == want.ids
    for a, b in zip(got.scores, want.scores, strict=True):
        np.testing.assert_array_equal(a, b)


def assert_explained(retriever: Retriever, hits: Hits) -> None:
    catalog = retriever.index.snapshot.catalog
    for query, ids, scores in zip(QUERIES, hits.ids, hits.scores, strict=True):
        for id, score in zip(ids, scores, strict=True):
            explanation = retriever.explain(query, id)
            columns = catalog.term_columns([term.term for term in explanation.terms])
            total = np.float32(0)
            for term in sorted(explanation.terms, key=lambda term: columns[term.term]):
                product = np.float32(term.query_weight) * np.float32(term.document_weight)
                assert product == term.contribution
                total += product
            assert explanation.score == total == score
            contributions = [term.contribution for term in explanation.terms]
            assert contributions == sorted(contributions, reverse=True)


@pytest.mark.parametrize("variant", get_args(Variant))
def test_history_does_not_matter(variant: Variant) -> None:
    # Scores are sums in the order of columns, and columns are in order of first sight: the same
    # in both indexes, thanks to this document.
    everything = Document("all words", " ".join(WORDS))

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(steps, st.sampled_from(FIELDS), st.sampled_from([1, 6, 10**6]))
    def check(steps: list[tuple[str, Any]], fields: dict[str, float] | None, segment: int) -> None:
        options = {"variant": variant, "fields": fields, "language": "simple"}
        buffered = writer_module.MEMORY_BUDGET
        writer_module.MEMORY_BUDGET = 64 * segment  # values, so that commits make several segments
        try:
            with tempfile.TemporaryDirectory() as folder:
                history = History(Path(folder) / "old", options, [everything])
                for step, what in steps:
                    history.do(step, what)
                history.do("commit", None)
                fresh = History(Path(folder) / "new", options, list(history.pending.values()))
                want = fresh.retriever.retrieve(QUERIES, 100)
                assert history.retriever.index.snapshot.mean_length == (
                    fresh.retriever.index.snapshot.mean_length
                )
                stored = list(history.pending.values())
                for _ in range(2):
                    assert list(history.retriever.documents()) == stored
                    hits = history.retriever.retrieve(QUERIES, 100)
                    assert_equal_hits(hits, want)
                    assert_explained(history.retriever, hits)
                    assert verify_index(history.path) == []
                    history.do("merge", None)
                history.retriever.close()
                fresh.retriever.close()
        finally:
            writer_module.MEMORY_BUDGET = buffered

    check()


@pytest.mark.parametrize("variant", get_args(Variant))
def test_statistics_follow_real_texts(tmp_path: Path, cranfield: Path, variant: Variant) -> None:
    """Without a common order of columns scores may differ in the last bit, and no more."""
    from sparseret.eval.datasets import load_dataset
    from sparseret.readers import read_documents

    corpus = [record.document for record in read_documents(cranfield)][:200]
    queries = [query.text for query in load_dataset(str(cranfield)).queries[:15]]
    options = {"variant": variant}
    with (
        Retriever.create(tmp_path / "old", encoder_options=options) as old,
        Retriever.create(tmp_path / "new", encoder_options=options) as new,
    ):
        old.add(corpus[100:150])
        old.commit()
        old.add(corpus[:100])
        old.delete(document.id for document in corpus[100:150])
        old.commit()
        old.update(Document(d.id, "replaced soon") for d in corpus[25:50])
        old.commit()
        old.update(corpus[25:50])
        old.add(corpus[150:])
        old.commit()
        new.add([*corpus[:25], *corpus[50:100], *corpus[25:50], *corpus[150:]])
        new.commit()
        for _ in range(2):
            for query in queries:
                got, want = old.search(query, 1000), new.search(query, 1000)
                scores = {result.id: result.score for result in want}
                assert {result.id for result in got} == scores.keys()
                np.testing.assert_allclose(
                    [result.score for result in got],
                    [scores[result.id] for result in got],
                    rtol=1e-6,
                )
            old.merge()
        # The encoder on its own, fitted to the same documents, agrees.
        encoder = BM25Encoder(variant=variant).fit(list(new.documents()))
        product = (
            encoder.encode_queries(queries) @ encoder.encode_documents(list(new.documents())).T
        )
        hits = new.retrieve(queries, 1000)
        order = {d.id: row for row, d in enumerate(new.documents())}
        for row, (ids, values) in enumerate(zip(hits.ids, hits.scores, strict=True)):
            dense = product[[row]].toarray()[0]
            np.testing.assert_allclose(values, dense[[order[id] for id in ids]], rtol=1e-6)


# --- explanations -------------------------------------------------------------------------------


def test_explanations_name_terms_in_common_and_missing(tmp_path: Path) -> None:
    with Retriever.create(tmp_path / "i", encoder_options={"k1": 1.2}) as retriever:
        retriever.add(
            [
                Document("1", "wings and wings and a tunnel"),
                Document("2", "supersonic tunnels"),
                Document("3", ""),
            ]
        )
        retriever.commit()
        explanation = retriever.explain("supersonic wing tunnel unknown the", "1")
        assert [term.term for term in explanation.terms] == ["wing", "tunnel"]
        assert explanation.missing == ["superson"]
        assert explanation.id == "1"
        assert explanation.terms[0].query_weight == pytest.approx(np.log(1 + 2.5 / 1.5))
        length = 1 - 0.75 + 0.75 * 3 / (5 / 3)
        assert explanation.terms[0].document_weight == pytest.approx(2 / (2 + 1.2 * length))
        assert retriever.explain("wing wing", "1").terms[0].query_weight == pytest.approx(
            2 * explanation.terms[0].query_weight
        )
        nothing = retriever.explain("wing", "3")
        assert (nothing.score, nothing.terms, nothing.missing) == (0.0, [], ["wing"])
        assert retriever.explain("", "1").terms == []


def test_explanations_of_what_is_not_there(tmp_path: Path) -> None:
    from sparseret.errors import DocumentError

    with Retriever.create(tmp_path / "i") as retriever:
        retriever.add([Document("1", "wings"), Document("2", "wings")])
        with pytest.raises(DocumentError, match="no document with id '1'"):
            retriever.explain("wing", "1")
        retriever.commit()
        retriever.delete(["1"])
        assert retriever.explain("wing", "1").score > 0
        retriever.commit()
        for id in ("1", "", "\ud800"):
            with pytest.raises(DocumentError, match="no document with id"):
                retriever.explain("wing", id)
        assert retriever.explain("wing", "2").score == retriever.search("wing")[0].score
