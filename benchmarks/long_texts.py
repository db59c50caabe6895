"""The texts of ``data/splade-long``: four test collections, and descriptions of Debian packages."""

from __future__ import annotations

import csv
import json
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.corpora import DATA
from benchmarks.debian import Debian
from sparseret.errors import DatasetError

__all__ = ["LongText", "LongTexts", "collection_folder", "long_texts"]

_SEED = 20240
_COLLECTIONS = {
    "scifact": ("test", "train"),
    "nfcorpus": ("test", "dev"),
    "cranfield": (),
    "cisi": (),
}
"""Test collections, with the judgements that say which queries are taken; all of a collection's
when there is none."""
_DOCUMENTS = 30_000
_DESCRIPTION_WORDS = 40  # at least, for a description of a package to count as a long text


class LongText(NamedTuple):
    """A document or query."""

    collection: str
    """Of the test collections; "debian" for a description."""
    id: str
    """Within its collection; empty for a description."""
    text: str


class LongTexts(NamedTuple):
    """Both in the order of the rows of their vectors."""

    documents: list[LongText]
    queries: list[LongText]
    sources: dict[str, object]


def long_texts() -> LongTexts:
    """Test collections and descriptions of packages, both documents and queries shuffled.

    Raises:
        DatasetError: a collection is not there, or the archive cannot be read.
    """
    documents: list[LongText] = []
    queries: list[LongText] = []
    sources: dict[str, object] = {}
    for name, splits in _COLLECTIONS.items():
        found = [
            LongText(name, str(record["_id"]), _title_and_text(record))
            for record in _records(name, "corpus.jsonl")
        ]
        judged = _judged(name, splits)
        asked = [
            LongText(name, str(record["_id"]), str(record["text"]))
            for record in _records(name, "queries.jsonl")
            if not splits or record["_id"] in judged
        ]
        documents += found
        queries += asked
        sources[name] = {"documents": len(found), "queries": len(asked)}
    described = sorted(
        {
            f"{description.short}. {' '.join(description.long.splitlines())}"
            for description in Debian(DATA / "debian").descriptions()
            if len(description.long.split()) >= _DESCRIPTION_WORDS
        }
    )
    rng = random.Random(_SEED)
    chosen = rng.sample(described, min(len(described), _DOCUMENTS - len(documents)))
    sources["descriptions of Debian packages"] = {"documents": len(chosen)}
    documents += [LongText("debian", "", text) for text in chosen]
    rng.shuffle(documents)
    rng.shuffle(queries)
    return LongTexts(documents, queries, sources)


def collection_folder(name: str) -> Path:
    """The folder of a test collection, in BEIR's layout. Raises DatasetError."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SPARSERET_DATA", default)) / name
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not there: set SPARSERET_DATA to the folder with {name}")
    return folder


def _records(collection: str, file: str) -> Iterator[dict[str, object]]:
    with (collection_folder(collection) / file).open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _title_and_text(record: dict[str, object]) -> str:
    return f"{record.get('title', '')} {record['text']}".strip()


def _judged(collection: str, splits: Sequence[str]) -> set[str]:
    judged: set[str] = set()
    for split in splits:
        path = collection_folder(collection) / "qrels" / f"{split}.tsv"
        with path.open(encoding="utf-8", newline="") as file:
            judged.update(row["query-id"] for row in csv.DictReader(file, delimiter="\t"))
    return judged
