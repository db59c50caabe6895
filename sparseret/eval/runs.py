"""Runs: what a system retrieved for each query, and TREC run files.

A run file has six columns a line: query id, ``Q0``, document id, rank, score, tag.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sparseret.errors import DatasetError
from sparseret.eval.files import read_lines, write_text
from sparseret.protocols import Hits

__all__ = [
    "RankedDocument",
    "Run",
    "drop_self_matches",
    "read_run",
    "run_from_hits",
    "run_lines",
    "write_run",
]


class RankedDocument(NamedTuple):
    """One line of a ranking."""

    id: str
    score: float


Run = Mapping[str, Sequence[RankedDocument]]
"""Query id -> documents, best first, scores never rising. Among equal scores, the order counts."""


def run_from_hits(query_ids: Sequence[str], hits: Hits) -> dict[str, list[RankedDocument]]:
    """The run of a batch of queries; ``hits`` has one row for each id."""
    return {
        query: [
            RankedDocument(document, float(score))
            for document, score in zip(ids, scores, strict=True)
        ]
        for query, ids, scores in zip(query_ids, hits.ids, hits.scores, strict=True)
    }


def drop_self_matches(run: Run) -> dict[str, list[RankedDocument]]:
    """The run without documents whose id is that of the query.

    In ArguAna and Quora the queries are documents of the corpus, and each would find itself first.
    """
    return {
        query: [document for document in ranking if document.id != query]
        for query, ranking in run.items()
    }


def run_lines(run: Run, *, tag: str = "sparseret", name: str = "run") -> Iterator[str]:
    """The lines of a TREC run file.

    The scores are the true ones, with all their digits. Among equal scores the rank column keeps
    our order, which :func:`read_run` restores; trec_eval ignores that column and puts equal scores
    in descending order of document id, so its figures may differ from ours in the last digits.

    Args:
        run: what was retrieved.
        tag: name of the system.
        name: what messages call the run.

    Raises:
        DatasetError: an id, or the tag, that is empty or holds white space, which the format cannot
            express; a score that is not finite; scores that rise within a ranking.
    """
    _check_word(name, "tag", tag)
    for query, ranking in run.items():
        _check_word(name, "query id", query)
        before = math.inf
        for rank, (document, score) in enumerate(ranking, start=1):
            _check_word(name, "document id", document)
            if not -math.inf < score <= before or score == math.inf:
                raise DatasetError(
                    f"{name}: query {query!r}, rank {rank}: score {score} is not finite, or "
                    f"above the {before} of the rank before"
                )
            before = score
            yield f"{query} Q0 {document} {rank} {score!r} {tag}\n"


def write_run(path: str | Path, run: Run, *, tag: str = "sparseret") -> None:
    """Write a TREC run file; a name that ends in ``.gz`` or ``.zst`` is compressed.

    Raises:
        DatasetError: as :func:`run_lines`.
        StorageError: the file system refused.
    """
    with write_text(Path(path)) as file:
        file.writelines(run_lines(run, tag=tag, name=str(path)))


def read_run(path: str | Path) -> dict[str, list[RankedDocument]]:
    """Read a TREC run file, ``.gz`` and ``.zst`` too.

    As in trec_eval, the score decides the order, whatever the order of the lines. Equal scores are
    ordered by the rank column, then by the order of the lines.

    Raises:
        DatasetError: with file and line: not six columns, a score or rank that is no number, a
            document twice in a ranking.
    """
    path = Path(path)
    lines: dict[str, dict[str, tuple[float, int]]] = {}
    for number, line in read_lines(path):
        columns = line.split()
        if len(columns) != 6:
            raise DatasetError(
                f"{path}:{number}: expected the 6 columns of a TREC run (query, Q0, document, "
                f"rank, score, tag), got {len(columns)}"
            )
        query, _, document, rank_text, score_text, _ = columns
        try:
            rank, score = int(rank_text), float(score_text)
        except ValueError:
            raise DatasetError(
                f"{path}:{number}: rank {rank_text!r} must be an integer and score {score_text!r} "
                "a number"
            ) from None
        if not math.isfinite(score):
            raise DatasetError(f"{path}:{number}: score {score_text!r} is not finite")
        ranking = lines.setdefault(query, {})
        if document in ranking:
            raise DatasetError(
                f"{path}:{number}: document {document!r} occurs twice for query {query!r}"
            )
        ranking[document] = (-score, rank)
    return {
        query: [
            RankedDocument(document, -order[0])
            for document, order in sorted(ranking.items(), key=lambda item: item[1])
        ]
        for query, ranking in lines.items()
    }


def _check_word(path: str | Path, what: str, word: str) -> None:
    # Readers split lines at white space of any kind, as str.split() does.
    if word.split() != [word]:
        raise DatasetError(
            f"{path}: {what} {word!r} is empty or holds white space, which a TREC run file cannot "
            "express; rename it, or keep the results as JSON"
        )
    if not word.isprintable() and any("\ud800" <= character <= "\udfff" for character in word):
        raise DatasetError(f"{path}: {what} {word!r} is not valid Unicode; rename it")
