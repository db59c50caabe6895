"""Corpora of sparse vectors, by name."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmarks import generate_vectors
from benchmarks.corpora import DATA
from sparseret.errors import ConfigurationError, DatasetError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["VectorCorpus", "load_vectors"]

_ENCODED = ("splade-long", "splade-short")
_GENERATED = "msmarco-like"
_MOST_KEPT = 2_000_000
"""Documents of a generated corpus that is kept on disk; larger ones are made as they are read."""
_MADE_QUERIES = 2_000


@dataclass(frozen=True)
class VectorCorpus:
    """Documents, in memory or made chunk by chunk, and queries in memory."""

    name: str
    n_documents: int
    queries: csr_array
    """Shape (n_queries, n_columns), float32."""
    file: Path | None
    """The documents; None where they are generated as they are read."""

    @property
    def n_columns(self) -> int:
        return int(self.queries.shape[1])

    @cached_property
    def matrix(self) -> csr_array:
        """All documents, shape (n_documents, n_columns), float32, int32 sorted columns.

        Raises:
            ConfigurationError: the corpus is too large to be held in memory.
        """
        if self.file is None:
            raise ConfigurationError(
                f"{self.name} is never held in memory: only engines that are built chunk by chunk "
                f"take more than {_MOST_KEPT:,} documents"
            )
        return _load(self.file)

    def chunks(self) -> Iterator[csr_array]:
        """The documents in order, at most 65,536 at a time."""
        if self.file is None:
            yield from generate_vectors.documents(self.n_documents)
            return
        for first in range(0, self.n_documents, generate_vectors.CHUNK):
            yield self.matrix[first : first + generate_vectors.CHUNK]

    def column_weights(self) -> NDArray[np.float32] | None:
        """The weight that every query gives to a column, where it is the same in all of them.

        Such queries are of an inference-free encoder: a weight a term, whatever the text. Columns
        that no query has weigh 0. None where two queries disagree.
        """
        weights = np.zeros(self.n_columns, np.float32)
        weights[self.queries.indices] = self.queries.data
        return weights if np.array_equal(weights[self.queries.indices], self.queries.data) else None


def load_vectors(name: str) -> VectorCorpus:
    """A corpus by name; a generated one is made at the first use.

    Args:
        name: "splade-long" or "splade-short", encoded from real texts, with the suffix "-static"
            for the queries of an inference-free encoder; or "msmarco-like:N", generated, with N
            documents.

    Raises:
        ConfigurationError: no corpus goes by that name.
        DatasetError: it has not been encoded yet.
    """
    kind, _, size = name.partition(":")
    if kind == _GENERATED and size.isdecimal() and int(size):
        return _generated(name, int(size))
    base = name.removesuffix("-static")
    if base not in _ENCODED:
        raise ConfigurationError(
            f"no corpus {name!r}; choose {', '.join(_ENCODED)}, one of these with -static, or "
            f"{_GENERATED}:N with N documents"
        )
    queries = DATA / base / ("queries.npz" if base == name else "queries-static.npz")
    documents = DATA / base / "documents.npz"
    for file in (documents, queries):
        if not file.exists():
            raise DatasetError(
                f"{file} is not there: make it with python -m benchmarks.short_texts and then "
                "python -m benchmarks.splade"
            )
    corpus = VectorCorpus(name, 0, _load(queries), documents)
    return VectorCorpus(name, int(corpus.matrix.shape[0]), corpus.queries, documents)


def _generated(name: str, n_documents: int) -> VectorCorpus:
    folder = DATA / f"{_GENERATED}-{n_documents}"
    kept = n_documents <= _MOST_KEPT
    if not folder.exists():
        unfinished = folder.with_name(folder.name + ".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        queries = generate_vectors.queries(n_documents, _MADE_QUERIES)
        sparse.save_npz(unfinished / "queries.npz", queries, compressed=False)
        if kept:
            rows = sparse.vstack(list(generate_vectors.documents(n_documents)), format="csr")
            sparse.save_npz(unfinished / "documents.npz", rows, compressed=False)
        unfinished.rename(folder)
    file = folder / "documents.npz" if kept else None
    return VectorCorpus(name, n_documents, _load(folder / "queries.npz"), file)


def _load(file: Path) -> csr_array:
    return sparse.csr_array(sparse.load_npz(file))
