"""kANNolo (https://github.com/TusKANNy/kannolo): an HNSW graph over sparse vectors.

Delfino, Erriquez, Martinico, Nardini, Rulli, Venturini: "kANNolo: Sweet and Smooth Approximate
k-Nearest Neighbors Search", 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import kannolo
import numpy as np

from benchmarks.vectors.corpora import VectorCorpus
from benchmarks.vectors.engine import Calls, Engine, Options, Setting

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Kannolo"]


_MOST_DOCUMENTS = 100_000
"""Building takes two to six minutes for 30,000 documents, and grows faster than their number."""


class Kannolo(Engine):
    """``SparsePlainHNSW``."""

    name = "kannolo"
    distribution = "kannolo"
    remarks = "`SparsePlainHNSW.search` of one query a call; the batch call has all on one thread."

    def unfit(self, corpus: VectorCorpus) -> str | None:
        if corpus.n_documents > _MOST_DOCUMENTS:
            return f"its graph takes too long to build for more than {_MOST_DOCUMENTS:,} documents"
        return None

    def builds(self, corpus: VectorCorpus) -> Sequence[Options]:  # noqa: ARG002
        return [{"m": 16, "ef_construction": 100}, {"m": 32, "ef_construction": 200}]

    def build(self, converted: csr_array, folder: Path, options: Options) -> None:
        index = kannolo.SparsePlainHNSW.build_from_arrays(
            converted.indices, converted.data, converted.indptr.astype(np.int64),
            options["m"], options["ef_construction"],
        )  # fmt: skip
        index.save(str(folder / "index"))

    def open(self, folder: Path, options: Options, queries: csr_array) -> None:  # noqa: ARG002
        self._index = kannolo.SparsePlainHNSW.load(str(folder / "index"))

    def settings(self, k: int) -> Sequence[Setting]:
        factors = (1, 2, 4, 8, 12, 16, 24, 32, 64, 128) if k < 100 else (1, 1.5, 2, 4, 8)
        return [Setting({"ef_search": int(factor * k)}) for factor in factors]

    def calls(self, queries: csr_array, k: int, setting: Setting) -> Calls:
        index, ef = self._index, setting.options["ef_search"]
        columns, values = queries.indices.astype(np.int32), queries.data
        pointers = queries.indptr.astype(np.int64)
        n = len(pointers) - 1
        return Calls(
            [(columns[b:e], values[b:e]) for b, e in pairwise(pointers.tolist())],
            lambda query: index.search(query[0], query[1], k, ef)[1],
            np.ravel,
            lambda: index.batch_search(columns, values, pointers, k, ef, None, 1)[1].reshape(n, -1),
        )

    def memory_bytes(self) -> int | None:
        return int(self._index.space_usage_bytes())

    def close(self) -> None:
        del self._index
