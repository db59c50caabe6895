"""bm25s (https://github.com/xhluca/bm25s) with numba, for queries whose weights depend on the term.

It sums stored values over the terms of a query and cannot weigh the terms. Where all queries give a
term the same weight, that weight can be put into the stored values, and the scores are the same.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import bm25s
import numba  # noqa: F401 (without it bm25s silently falls back to what is far slower)
import numpy as np

from benchmarks.vectors.corpora import VectorCorpus
from benchmarks.vectors.engine import Calls, Engine, Options, Setting
from sparseret.errors import ConfigurationError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Bm25s"]


class Bm25s(Engine):
    """``BM25.retrieve`` of lists of term numbers."""

    name = "bm25s"
    distribution = "bm25s"
    remarks = (
        "`BM25.retrieve` with numba on lists of term numbers, one a call, all in the batch "
        "call; only for inference-free queries, whose weights are folded into the stored values."
    )

    def unfit(self, corpus: VectorCorpus) -> str | None:
        if corpus.file is None:
            return "not for corpora that are streamed"
        if corpus.column_weights() is None:
            return "it cannot weigh the terms of a query"
        return None

    def convert(self, corpus: VectorCorpus, scratch: Path) -> csr_array:  # noqa: ARG002
        weights = corpus.column_weights()
        if weights is None:
            raise ConfigurationError(f"{corpus.name}: queries disagree on the weights of terms")
        weighted = corpus.matrix.copy()
        weighted.data *= weights[weighted.indices]
        return weighted

    def build(self, converted: csr_array, folder: Path, options: Options) -> None:  # noqa: ARG002
        model = bm25s.BM25(backend="numba")
        by_column = converted.tocsc()
        model.scores = {
            "data": by_column.data,
            "indices": by_column.indices,
            "indptr": by_column.indptr,
            "num_docs": converted.shape[0],
        }
        model.vocab_dict = {str(column): column for column in range(converted.shape[1])}
        model.unique_token_ids_set = set(range(converted.shape[1]))
        model.save(folder)

    def open(self, folder: Path, options: Options, queries: csr_array) -> None:
        self._model = bm25s.BM25.load(folder, mmap=False)
        self._model.backend = "numba"
        calls = self.calls(queries[:1], 1, Setting(options))
        calls.search(calls.queries[0])  # compiles

    def calls(self, queries: csr_array, k: int, setting: Setting) -> Calls:  # noqa: ARG002
        retrieve = self._model.retrieve
        options = {
            "k": min(k, self._model.scores["num_docs"]), "n_threads": 1, "show_progress": False,
            "backend_selection": "numba", "return_as": "documents",
        }  # fmt: skip
        rows = [queries.indices[b:e].tolist() for b, e in pairwise(queries.indptr.tolist())]
        return Calls(
            [[row] for row in rows],
            lambda row: retrieve(row, **options),
            np.ravel,
            lambda: retrieve(rows, **options),
        )

    def memory_bytes(self) -> int | None:
        return sum(int(self._model.scores[name].nbytes) for name in ("data", "indices", "indptr"))

    def close(self) -> None:
        del self._model
