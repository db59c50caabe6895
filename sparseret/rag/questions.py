"""Questions with the answers and the evidence that people found for them.

A file of questions has a JSON object a line::

    {"_id": "1", "text": "How many ...?", "answers": ["thirteen", "13"],
     "evidence": [{"document": "1178", "text": "thirteen cylinders were ..."}]}

``answers`` are forms of the same answer; they and the ``text`` of evidence may be left out. A
dataset in BEIR's layout serves, too: its relevant documents are the evidence, as wholes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sparseret.errors import DatasetError
from sparseret.eval.datasets import load_dataset
from sparseret.eval.files import read_lines

__all__ = ["Evidence", "Question", "read_questions"]


class Evidence(NamedTuple):
    """Where the answer to a question stands."""

    document: str
    """Id."""
    text: str = ""
    """A part of the document's text, such as a sentence; empty for all of it."""


class Question(NamedTuple):
    """A question that people have answered."""

    id: str
    text: str
    answers: tuple[str, ...] = ()
    """Forms of the one answer; none where only the evidence is known."""
    evidence: tuple[Evidence, ...] = ()


def read_questions(source: str | Path, split: str = "test") -> list[Question]:
    """Read a file of questions, or those of a dataset.

    Args:
        source: a ``.jsonl`` file, also compressed; or as for
            :func:`sparseret.eval.datasets.load_dataset`.
        split: of a dataset.

    Raises:
        DatasetError: a file that is absent or empty, or a line of another form.
    """
    if not Path(source).is_file():
        dataset = load_dataset(source, split)
        return [
            Question(
                query.id,
                query.text,
                (),
                tuple(Evidence(id) for id, gain in dataset.qrels[query.id].items() if gain > 0),
            )
            for query in dataset.queries
        ]
    lines = read_lines(Path(source))
    questions = [_question(f"{source}:{number}", line) for number, line in lines]
    if not questions:
        raise DatasetError(f"{source} holds no question")
    ids = [question.id for question in questions]
    if len({*ids}) < len(ids):
        twice = next(id for id in ids if ids.count(id) > 1)
        raise DatasetError(f"{source}: the id {twice!r} stands on more than one line")
    return questions


def _question(where: str, line: str) -> Question:
    try:
        read: Any = json.loads(line)
    except ValueError as error:
        raise DatasetError(f"{where}: not JSON: {error}") from error
    if not isinstance(read, Mapping):
        raise DatasetError(f"{where}: expected an object")
    id, text = read.get("_id"), read.get("text")
    answers, evidence = read.get("answers", []), read.get("evidence", [])
    if (
        isinstance(id, str)
        and isinstance(text, str)
        and text.strip()
        and _is_list_of(answers, str)
        and _is_list_of(evidence, Mapping)
    ):
        found = tuple(_evidence(where, each) for each in evidence)
        return Question(id, text, tuple(answers), found)
    raise DatasetError(
        f"{where}: a question has strings _id and text, and where wanted answers, a list of "
        "strings, and evidence, a list of objects"
    )


def _evidence(where: str, read: Mapping[str, Any]) -> Evidence:
    document, text = read.get("document"), read.get("text", "")
    if not isinstance(document, str) or not isinstance(text, str):
        raise DatasetError(f"{where}: evidence has strings document and, where wanted, text")
    return Evidence(document, text)


def _is_list_of(value: object, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)
