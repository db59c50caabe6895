"""Seismic (https://github.com/TusKANNy/seismic): clustered, pruned inverted lists with summaries.

Bruch, Nardini, Rulli, Venturini: "Efficient Inverted Indexes for Approximate Retrieval over
Learned Sparse Representations", 2024. Its index is static, and its values are half floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import seismic

from benchmarks.vectors.corpora import VectorCorpus
from benchmarks.vectors.engine import Calls, Engine, Options, Setting, combinations

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Seismic"]

_BUILDS = (("plain", 1000), ("plain", 4000), ("dotvbyte", 300), ("dotvbyte", 1000),
           ("dotvbyte", 4000))  # fmt: skip
_MANY = 1_000_000


class Seismic(Engine):
    """``SeismicIndexDotVByte`` (compressed, the faster one), and ``SeismicIndex``."""

    name = "seismic"
    distribution = "pyseismic-lsr"
    remarks = (
        "`SeismicIndex.search` and `SeismicIndexDotVByte.search`, one query a call: their batch "
        "calls on one thread are no faster. Terms are strings, made before the clock starts."
    )

    def builds(self, corpus: VectorCorpus) -> Sequence[Options]:
        # A build takes minutes where vectors are long and many, and 1000 is enough for all recalls.
        many = corpus.n_documents >= _MANY and corpus.matrix.nnz >= 100 * _MANY
        return [
            {"forward": forward, "n_postings": n} for forward, n in _BUILDS if n == 1000 or not many
        ]

    def convert(self, corpus: VectorCorpus, scratch: Path) -> Any:  # noqa: ARG002
        rows = corpus.matrix
        dataset = seismic.SeismicDataset()
        dataset.add_documents_by_id(
            [str(i) for i in range(rows.shape[0])],
            rows.indices.astype(np.int64),
            rows.data,
            rows.indptr.astype(np.int64),
        )
        return dataset

    def build(self, converted: Any, folder: Path, options: Options) -> None:
        # With 0 threads it takes what RAYON_NUM_THREADS says.
        index = _kind(options).build_from_dataset(
            converted, n_postings=options["n_postings"], num_threads=0
        )
        index.save(str(folder / "index"))

    def open(self, folder: Path, options: Options, queries: csr_array) -> None:  # noqa: ARG002
        (file,) = folder.glob("index*")
        self._index = _kind(options).load(str(file))

    def settings(self, k: int) -> Sequence[Setting]:
        cuts = (2, 3, 5, 8, 12, 16, 24) if k <= 100 else (5, 8, 12, 20, 32)
        factors = (0.7, 0.8, 0.9, 1.0) if k <= 100 else (0.8, 0.9, 1.0)
        return [
            Setting(options)
            for options in combinations(("query_cut", cuts), ("heap_factor", factors))
        ]

    def calls(self, queries: csr_array, k: int, setting: Setting) -> Calls:
        search = self._index.search
        cut, factor = setting.options["query_cut"], setting.options["heap_factor"]
        text = seismic.get_seismic_string()
        prepared = []
        for begin, end in zip(queries.indptr[:-1], queries.indptr[1:], strict=True):
            terms = np.array([str(c) for c in queries.indices[begin:end].tolist()], text)
            prepared.append((terms, queries.data[begin:end].copy()))
        return Calls(
            prepared,
            lambda query: search("", query[0], query[1], k, cut, factor, 0, True),
            lambda found: [int(id) for _, _, id in found],
        )

    def close(self) -> None:
        del self._index


def _kind(options: Options) -> Any:
    plain = options["forward"] == "plain"
    return seismic.SeismicIndex if plain else seismic.SeismicIndexDotVByte
