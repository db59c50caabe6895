"""sparseret: its durable index, and its kernels in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.lexical.engines import Found, Size, Stage
from benchmarks.lexical.material import BM25_B, BM25_K1, Material
from benchmarks.lexical.stopwatch import Stopwatch
from sparseret import kernels
from sparseret.encoders.bm25 import BM25Encoder
from sparseret.indexers.inverted import InvertedIndex
from sparseret.indexers.segment import SegmentData, build_segment
from sparseret.retriever import Retriever

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["InMemory", "TextRetriever", "VectorIndex"]


class VectorIndex:
    """An index folder of term counts, weighted by BM25 at search time."""

    name = "sparseret"

    def build(self, material: Material, folder: Path) -> list[Stage]:
        watch = Stopwatch()
        self._index = InvertedIndex.create(folder, weighting=material.encoder)
        self._index.add(material.ids, material.counts)
        stages = [watch.stage("add")]
        self._index.commit()
        stages.append(watch.stage("commit"))
        self._index.merge()
        return [*stages, watch.stage("merge")]

    def size(self) -> Size:
        return _folder_size(self._index.path)

    def encode(self, material: Material, begin: int, end: int) -> csr_array:
        rows: csr_array = material.encoder.encode_queries(material.queries[begin:end])
        return rows

    def search(self, queries: csr_array, k: int, threads: int) -> Found:
        return Found(*self._index.snapshot.search(queries, k, threads=threads)[:2])

    def close(self) -> None:
        self._index.close()


class TextRetriever:
    """A :class:`sparseret.Retriever`: texts and ids are stored, everything is synced to disk."""

    name = "sparseret"

    def build(self, material: Material, folder: Path) -> list[Stage]:
        watch = Stopwatch()
        self._retriever = Retriever.create(folder, encoder_options={"k1": BM25_K1, "b": BM25_B})
        self._retriever.add(material.documents)
        stages = [watch.stage("add")]
        self._retriever.commit()
        stages.append(watch.stage("commit"))
        self._retriever.merge()
        return [*stages, watch.stage("merge")]

    def size(self) -> Size:
        return _folder_size(self._retriever.path)

    def encode(self, material: Material, begin: int, end: int) -> list[str]:
        return material.queries[begin:end]

    def search(self, queries: list[str], k: int, threads: int) -> Found:
        return Found(*self._retriever.retrieve(queries, k, threads=threads)[:2])

    def close(self) -> None:
        self._retriever.close()


class InMemory:
    """A segment built and searched in memory: no ids, nothing on disk.

    Args:
        from_text: whether the documents are analysed as part of building, and the queries as part
            of searching.
    """

    name = "sparseret-memory"

    def __init__(self, *, from_text: bool) -> None:
        self._from_text = from_text

    def build(self, material: Material, folder: Path) -> list[Stage]:  # noqa: ARG002
        stages = []
        watch = Stopwatch()
        self._encoder, counts = material.encoder, material.counts
        if self._from_text:
            self._encoder = BM25Encoder(k1=BM25_K1, b=BM25_B).fit(material.documents)
            stages.append(watch.stage("analyse and count"))
        self._data = _segment(counts)
        weights = self._encoder.weigh(
            self._data.code_values, self._data.code_lengths, material.mean_length
        )
        self._segment = kernels.Segment(self._data.n_docs, self._data.postings, weights)
        return [*stages, watch.stage("invert")]

    def size(self) -> Size:
        arrays: list[Any] = [*self._data.postings, self._data.code_values, self._data.code_lengths]
        return Size(sum(array.nbytes for array in arrays), 0)

    def encode(self, material: Material, begin: int, end: int) -> Any:
        queries = material.queries[begin:end]
        return queries if self._from_text else self._encoder.encode_queries(queries)

    def search(self, queries: Any, k: int, threads: int) -> Found:
        if self._from_text:
            queries = self._encoder.encode_queries(queries)
        ranking = kernels.search([self._segment], queries, k, threads=threads)
        bounds = ranking.ptr[1:-1]
        return Found(np.split(ranking.rows, bounds), np.split(ranking.scores, bounds))

    def close(self) -> None:
        del self._data, self._segment


def _segment(counts: csr_array) -> SegmentData:
    return build_segment(
        np.arange(counts.shape[0]), counts, weighted=True, window_bits=kernels.WINDOW_BITS
    )


def _folder_size(folder: Path) -> Size:
    segments = sum(file.stat().st_size for file in (folder / "segments").iterdir())
    catalog = sum(
        file.stat().st_size
        for file in folder.iterdir()
        if file.is_file() and file.name.startswith("catalog.sqlite")
    )
    return Size(segments, catalog)
