"""The corpora that benchmarks run on, by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from sparseret.documents import Document
from sparseret.errors import ConfigurationError, DatasetError
from sparseret.readers import read_documents, read_queries

__all__ = ["DATA", "Corpus", "corpus_folder", "load_corpus"]

DATA = Path(os.environ.get("SPARSERET_BENCHMARK_DATA", Path(__file__).parent / "data")).resolve()
"""Corpora that were made, and indexes; nothing here is under version control."""

_REAL = ("scifact", "nfcorpus", "cranfield")


class Corpus(NamedTuple):
    """Documents and queries in memory."""

    name: str
    documents: list[Document]
    queries: list[str]


def corpus_folder(name: str) -> Path:
    """The folder, in BEIR's layout, of a named corpus; a generated one is made at the first use.

    Args:
        name: "scifact", "nfcorpus" or "cranfield", looked for in the folder that the environment
            variable SPARSERET_DATA names or in ../shared/data; or "generated:N" with N documents.

    Raises:
        ConfigurationError: no corpus goes by that name.
        DatasetError: the folder is not there.
    """
    kind, _, size = name.partition(":")
    if kind == "generated" and size.isdecimal() and int(size):
        folder = DATA / f"generated-{int(size)}"
        if not folder.exists():
            from benchmarks.lexical.generate import write_corpus

            write_corpus(folder, int(size))
        return folder
    if name not in _REAL:
        raise ConfigurationError(
            f"no corpus {name!r}; choose {', '.join(_REAL)} or generated:N with N documents"
        )
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SPARSERET_DATA", default)) / name
    if not (folder / "corpus.jsonl").exists():
        raise DatasetError(
            f"{folder} has no corpus.jsonl: set SPARSERET_DATA to the folder that holds {name} in "
            "BEIR's layout"
        )
    return folder


def load_corpus(name: str) -> Corpus:
    """Read a corpus (:func:`corpus_folder`) into memory; raises what that does."""
    folder = corpus_folder(name)
    documents = [record.document for record in read_documents(folder)]
    return Corpus(name, documents, [query.text for query in read_queries(folder)])
