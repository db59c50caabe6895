"""bm25s (https://github.com/xhluca/bm25s), with numba and without, in the settings that suit it.

Its numba functions are compiled before anything is timed; its matrices are built by scipy, the
fastest of its three ways here. As k it gets at most the number of documents, which it demands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.lexical.engines import Found, Size, Stage
from benchmarks.lexical.material import BM25_B, BM25_K1, Material
from benchmarks.lexical.stopwatch import Stopwatch

__all__ = ["TextBM25S", "VectorBM25S"]

Backend = Literal["numba", "numpy"]


class _Model:
    """A bm25s index, and how to search it."""

    def __init__(self, backend: Backend) -> None:
        import bm25s

        self.backend = backend
        self.bm25 = bm25s.BM25(
            k1=BM25_K1, b=BM25_B, method="lucene", backend=backend, csc_backend="scipy"
        )

    def retrieve(self, queries: list[Any], k: int, threads: int, corpus: Any = None) -> Found:
        # Without numba a pool of one thread is slower than none, which is what 0 asks for.
        n_threads = 0 if self.backend == "numpy" and threads == 1 else threads
        found = self.bm25.retrieve(
            queries,
            corpus=corpus,
            k=min(k, self.bm25.scores["num_docs"]),
            n_threads=n_threads,
            show_progress=False,
            backend_selection=self.backend,
        )
        return Found(found.documents, found.scores)


class VectorBM25S:
    """Index from lists of term numbers, search with lists of term numbers."""

    def __init__(self, backend: Backend) -> None:
        self.name = f"bm25s-{backend}"
        self._model = _Model(backend)

    def build(self, material: Material, folder: Path) -> list[Stage]:
        numbers = material.token_numbers
        vocabulary = {term: column for column, term in enumerate(material.terms)}
        self._folder = folder
        watch = Stopwatch()
        self._model.bm25.index((numbers, vocabulary), show_progress=False)
        stages = [watch.stage("index")]
        self._model.bm25.save(folder)
        return [*stages, watch.stage("save")]

    def size(self) -> Size:
        return Size(_bytes(self._folder), 0)

    def encode(self, material: Material, begin: int, end: int) -> list[list[int]]:
        # A repeated term weighs as much in bm25s as it is often repeated.
        analyzer = material.encoder.analyzer
        column_of = self._model.bm25.vocab_dict
        lists = []
        for query in material.queries[begin:end]:
            terms = [analyzer.term(token) for token in analyzer.tokens(query)]
            lists.append([column_of[term] for term in terms if term in column_of])
        return lists

    def search(self, queries: list[list[int]], k: int, threads: int) -> Found:
        return self._model.retrieve(queries, k, threads)

    def close(self) -> None:
        del self._model


class TextBM25S:
    """``bm25s.tokenize`` with a PyStemmer stemmer, and retrieval of document ids."""

    def __init__(self, backend: Backend) -> None:
        import Stemmer

        self.name = f"bm25s-{backend}"
        self._model = _Model(backend)
        self._stemmer = Stemmer.Stemmer("english")

    def build(self, material: Material, folder: Path) -> list[Stage]:
        import bm25s

        self._folder = folder
        self._ids = np.array(material.ids)
        watch = Stopwatch()
        tokens = bm25s.tokenize(material.texts, stemmer=self._stemmer, show_progress=False)
        stages = [watch.stage("tokenize")]
        self._model.bm25.index(tokens, show_progress=False)
        stages.append(watch.stage("index"))
        self._model.bm25.save(folder)
        stages.append(watch.stage("save"))
        self._index_bytes = _bytes(folder)
        watch.skip()
        # bm25s can keep the documents, as sparseret does.
        self._model.bm25.save(
            folder,
            corpus=[
                {"id": id, "text": text}
                for id, text in zip(material.ids, material.texts, strict=True)
            ],
        )
        return [*stages, watch.stage("save documents")]

    def size(self) -> Size:
        return Size(self._index_bytes, _bytes(self._folder) - self._index_bytes)

    def encode(self, material: Material, begin: int, end: int) -> list[str]:
        return material.queries[begin:end]

    def search(self, queries: list[str], k: int, threads: int) -> Found:
        import bm25s

        tokens = bm25s.tokenize(
            queries, stemmer=self._stemmer, return_ids=False, show_progress=False
        )
        return self._model.retrieve(tokens, k, threads, corpus=self._ids)

    def close(self) -> None:
        del self._model


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
