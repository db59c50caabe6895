"""What models are trained on: queries with a right document, and perhaps wrong ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from sparseret.documents import Document

__all__ = ["Pair", "judged_pairs", "title_pairs"]


class Pair(NamedTuple):
    """One example: a query, a document that answers it, and documents that do not."""

    query: str
    positive: str
    negatives: tuple[str, ...] = ()
    """Hard negatives; may be empty, as the other documents of a batch serve as negatives too."""
    teacher: tuple[float, ...] = ()
    """A teacher's score of the positive and of each negative, for distillation; or empty."""


def judged_pairs(
    queries: Mapping[str, str],
    documents: Mapping[str, str],
    judgements: Mapping[str, Mapping[str, int]],
    *,
    least: int = 1,
) -> Iterator[Pair]:
    """A pair for each document judged right for a query.

    Args:
        queries: texts by query id.
        documents: texts by document id; judgements of others are passed over.
        judgements: query id -> document id -> grade.
        least: smallest grade that counts as right.
    """
    for query, grades in judgements.items():
        for document, grade in grades.items():
            if grade >= least and query in queries and document in documents:
                yield Pair(queries[query], documents[document])


def title_pairs(documents: Iterable[Document]) -> Iterator[Pair]:
    """A pair of title and text for each document that has both: training without judgements.

    A text that begins with its title is given without it.
    """
    for document in documents:
        text = document.text.removeprefix(document.title).strip()
        if document.title and text:
            yield Pair(document.title, text)
