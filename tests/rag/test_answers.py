"""Evidence, answers and their rating."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from sparseret import Document, Retriever, read_documents
from sparseret.errors import ConfigurationError, DatasetError, FilterError
from sparseret.eval.datasets import load_dataset
from sparseret.parents import ParentRetriever
from sparseret.rag import Answer, ExtractiveReader, Fact, Quote, Source, ask, select_evidence
from sparseret.rag.questions import Evidence, Question, read_questions
from sparseret.rag.rating import exact_match, f1, rate
from sparseret.rag.scoring import text_scores

QUESTION = "When does a wing stall?"


class Scripted:
    """Says what it was told to say."""

    name, description = "scripted", "for tests"

    def __init__(self, quotes: Sequence[Quote], text: str) -> None:
        self.quotes, self.text = quotes, text
        self.asked: list[Sequence[Fact]] = []

    def facts(self, question: str, sources: Sequence[Source]) -> list[Quote]:
        return list(self.quotes)

    def answer(self, question: str, facts: Sequence[Fact]) -> str:
        self.asked.append(facts)
        return self.text


class Letters:
    """Dense vectors: counts of letters."""

    name, metric, dim, space = "letters", "cosine", 26, "letters/1"
    description = "counts of letters"
    options: ClassVar[dict[str, Any]] = {}

    def encode_documents(
        self, documents: Any, *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        texts = [d if isinstance(d, str) else d.content for d in documents]
        rows = np.zeros((len(texts), 26), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for letter in text.lower():
                if "a" <= letter <= "z":
                    row[ord(letter) - 97] += 1
        return rows

    def encode_queries(self, queries: Any, *, show_progress: bool = False) -> NDArray[np.float32]:
        return self.encode_documents(queries)


def test_the_best_sentence_is_found(plain: Retriever, chunked: ParentRetriever) -> None:
    for retriever in (plain, chunked):
        answer = ask(retriever, QUESTION)
        assert answer.text == "Beyond 15 degrees the wing stalls. [1]"
        assert answer.plain == "Beyond 15 degrees the wing stalls."
        assert answer.cited == (1,)
        assert answer.dropped == ()
        assert answer.facts[0].document == "w"
        assert answer.retrieved == ("w", "p")
        assert answer == ask(retriever, QUESTION)
        for source in answer.sources:
            for sentence in source.sentences:
                assert source.text[sentence.start : sentence.end] == sentence.text
                assert 0 <= sentence.value <= 1


def test_a_budget_is_kept(plain: Retriever) -> None:
    results = plain.search(QUESTION)
    for budget in (1, 34, 35, 60, 1000):
        sources = select_evidence(plain, QUESTION, results, budget=budget)
        chosen = [s for source in sources for s in source.sentences]
        assert sum(len(s.text) for s in chosen) <= budget
        assert [source.number for source in sources] == list(range(1, len(sources) + 1))
    texts = {s.text for s in chosen}
    assert "Wings." not in texts  # the title
    assert "Paint is unimportant." not in texts  # nothing in common
    assert select_evidence(plain, QUESTION, []) == []
    for wrong in ({"budget": 0}, {"document_weight": 1.5}, {"document_weight": "much"}):
        with pytest.raises(ConfigurationError):
            select_evidence(plain, QUESTION, results, **wrong)


def test_weight_of_documents(plain: Retriever) -> None:
    question = "flutter of panels on a wing"
    results = plain.search(question)
    by_document = select_evidence(plain, question, results, document_weight=1.0)
    values = {s.value for source in by_document for s in source.sentences}
    assert values == {0.0, 1.0}


def test_evidence_of_chunks_is_of_their_passages(chunked: ParentRetriever) -> None:
    results = chunked.search(QUESTION, 1, passages=1)
    (source,) = select_evidence(chunked, QUESTION, results)
    passage = results[0].passages[0]
    assert all(s.start < passage.end and passage.start < s.end for s in source.sentences)
    assert [s.text for s in source.sentences] != [
        s.text for s in select_evidence(chunked, QUESTION, chunked.search(QUESTION, 1, passages=9))[
            0
        ].sentences
    ]  # fmt: skip


def test_scores_of_texts(tmp_path: Path, plain: Retriever) -> None:
    terms = len(plain.view.state.catalog.documents(["w"]))
    scores = text_scores(plain.view, "wing stall", ["unheard words", "a wing", "stall", ""])
    assert scores[0] == scores[3] == 0
    assert scores[2] > scores[1] > 0
    assert terms == len(plain.view.state.catalog.documents(["w"]))
    assert len(text_scores(plain.view, "wing", [])) == 0
    assert not text_scores(plain.view, "", ["a wing"]).any()
    encoders: dict[str, Any] = {"words": "bm25", "letters": Letters()}
    with Retriever.create(tmp_path / "h.idx", encoders) as hybrid:
        hybrid.add([Document("1", "wing stalls"), Document("2", "panel")])
        hybrid.commit()
        mixed = text_scores(hybrid.view, "wing stall", ["panel", "a wing stalls"])
        assert mixed[1] > mixed[0]
        assert ask(hybrid, "wing stall").facts[0].text == "wing stalls"
    with Retriever.create(tmp_path / "d.idx", Letters()) as dense:
        dense.add([Document("1", "wing stalls")])
        dense.commit()
        assert text_scores(dense.view, "wing", ["wing", "zzz"]).tolist() == [1.0, 0.0]


def test_what_was_made_up_is_dropped(plain: Retriever) -> None:
    reader = Scripted(
        [Quote(1, "the wing stalls"), Quote(1, "wings are green"), Quote(9, "the wing stalls")],
        "At 15 degrees [1, 7], they say [3][2].",
    )
    answer = ask(plain, QUESTION, reader=reader)
    assert [fact.text for fact in answer.facts] == ["the wing stalls"]
    assert len(answer.dropped) == 2
    assert answer.text == "At 15 degrees [1], they say."
    assert answer.cited == (1,)
    assert answer.plain == "At 15 degrees, they say."


def test_no_fact_no_answer(plain: Retriever) -> None:
    reader = Scripted([Quote(1, "wings are green")], "They are green [1].")
    answer = ask(plain, QUESTION, reader=reader)
    assert (answer.text, answer.cited, answer.facts) == ("", (), ())
    assert len(answer.dropped) == 1
    assert reader.asked == []
    nothing = ask(plain, "unheard-of", reader=reader)
    assert (nothing.sources, nothing.retrieved, nothing.dropped) == ((), (), ())
    assert ask(plain, "wing", filter='_id = "h"').retrieved == ()
    with pytest.raises(FilterError):
        ask(plain, "wing", filter="year >=")


def test_extractive_reader_settings() -> None:
    assert ExtractiveReader(1).description == "extractive (best 1 sentences)"
    with pytest.raises(ConfigurationError):
        ExtractiveReader(0)


def answered(plain: Retriever, quotes: Sequence[Quote], text: str) -> Answer:
    return ask(plain, QUESTION, reader=Scripted(quotes, text))


def test_rating(plain: Retriever) -> None:
    asked = [
        Question("1", QUESTION, ("15 degrees", "fifteen"), (
            Evidence("w", "beyond 15 degrees the wing stalls."), Evidence("h"))),
        Question("2", QUESTION, ("green",), (Evidence("w", "Paint is unimportant."),)),
        Question("3", QUESTION),
    ]  # fmt: skip
    answers = [
        answered(plain, [Quote(1, "the wing stalls"), Quote(1, "x y")], "The 15 degrees! [1]"),
        answered(plain, [Quote(1, "made up")], "never asked for"),
        answered(plain, [Quote(1, "angle")], "by angle"),
    ]
    rating = rate(asked, answers)
    assert rating.n_questions == 3
    assert rating.document_recall == rating.selected_documents == (0.5 + 1) / 2
    assert rating.sentence_recall == (1 + 0) / 2
    assert rating.n_quotes == 4
    assert rating.quote_precision == 0.5
    assert rating.answered == pytest.approx(2 / 3)
    assert rating.exact_match == rating.f1 == rating.contained == 0.5
    assert rating.mean_characters > 30
    bare = rate(asked[2:], answers[2:])
    assert bare.document_recall is bare.exact_match is bare.sentence_recall is None
    with pytest.raises(ConfigurationError):
        rate(asked, answers[1:])
    with pytest.raises(ConfigurationError):
        rate([], [])


def test_answers_are_compared_as_in_squad() -> None:
    assert exact_match("The  Wing's lift!", "wings lift") == 1.0
    assert exact_match("wing", "wings") == 0.0
    assert f1("a wing with slats", "the wing") == pytest.approx(0.5)
    assert f1("", "the") == 1.0
    assert f1("", "wing") == 0.0


def test_bundled_questions_are_sound_and_answered(tmp_path: Path, cranfield: Path) -> None:
    questions = read_questions(cranfield / "questions.jsonl")
    assert len(questions) == 44
    with Retriever.create(tmp_path / "c.idx") as retriever:
        retriever.add(record.document for record in read_documents(cranfield))
        retriever.commit()
        answers = [ask(retriever, question.text, budget=1000) for question in questions]
        for question in questions:
            for evidence in question.evidence:
                document = retriever.document(evidence.document)
                assert document is not None
                assert evidence.text in document.text
    rating = rate(questions, answers)
    assert rating.quote_precision == 1.0
    assert rating.document_recall is not None
    assert rating.document_recall >= 0.97
    assert rating.sentence_recall is not None
    assert rating.sentence_recall >= 0.9
    assert rating.contained is not None
    assert rating.contained >= 0.55


def test_datasets_are_questions(cranfield: Path) -> None:
    questions = read_questions(str(cranfield))
    dataset = load_dataset(cranfield)
    assert len(questions) == len(dataset.queries)
    relevant = {id for id, gain in dataset.qrels[questions[0].id].items() if gain > 0}
    assert {evidence.document for evidence in questions[0].evidence} == relevant
    assert questions[0].answers == ()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "holds no question"),
        ("{", ":1: not JSON"),
        ("[]", "expected an object"),
        ('{"_id": "1"}', "strings _id and text"),
        ('{"_id": "1", "text": " "}', "strings _id and text"),
        ('{"_id": "1", "text": "a", "answers": "b"}', "list of"),
        ('{"_id": "1", "text": "a", "evidence": [{"text": "x"}]}', "strings document"),
        ('{"_id": "1", "text": "a"}\n{"_id": "1", "text": "b"}', "more than one line"),
    ],
)
def test_bad_files_of_questions(tmp_path: Path, lines: str, message: str) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text(lines, "utf-8")
    with pytest.raises(DatasetError, match=message):
        read_questions(file)


def test_command(plain: Retriever, tmp_path: Path, run: Callable[..., Any]) -> None:
    index = plain.path
    line = json.loads(run("ask", index, QUESTION).out)
    assert line["text"] == "Beyond 15 degrees the wing stalls. [1]"
    assert line["facts"][0]["document"] == "w"
    assert line["sources"][0]["sentences"][0].keys() == {"start", "end", "text", "value"}
    shown = run("ask", index, QUESTION, terminal=True).out
    assert "characters" in shown
    assert "No answer" in run("ask", index, "unheard-of", terminal=True).out
    file = tmp_path / "q.jsonl"
    file.write_text(
        json.dumps({"_id": "1", "text": QUESTION, "evidence": [{"document": "w"}]}), "utf-8"
    )
    rating = json.loads(run("ask", index, "--questions", file).out)
    assert rating["document_recall"] == 1.0
    assert rating["f1"] is None
    assert "document recall" in run("ask", index, "--questions", file, terminal=True).out
    for wrong in (
        ["ask", index],
        ["ask", index, "x", "--questions", file],
        ["ask", index, "x", "--reader", "oracle"],
        ["ask", index, "x", "--reader", "openai:"],
        ["ask", index, "x", "--base-url", "http://localhost"],
    ):
        assert run(*wrong).status == 2
