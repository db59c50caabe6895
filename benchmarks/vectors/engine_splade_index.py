"""splade-index (https://github.com/rasyosef/splade-index): numba over a CSC matrix, as bm25s."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from splade_index.numba.retrieve_utils import _retrieve_numba_functional as retrieve

from benchmarks.vectors.engine import Calls, Engine, Options, Setting

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["SpladeIndex"]

_ARRAYS = ("data", "indices", "indptr")


class SpladeIndex(Engine):
    """What ``SPLADE.retrieve`` calls after it has encoded the query."""

    name = "splade-index"
    distribution = "splade-index"
    remarks = (
        "the numba function below `SPLADE.retrieve`, without the encoder that this class insists "
        "on; one query a call, and all in the batch call, on one thread. Saved as NumPy arrays: "
        "its own `save` wants the texts."
    )

    def build(self, converted: csr_array, folder: Path, options: Options) -> None:  # noqa: ARG002
        by_column = converted.tocsc()
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(by_column, name))
        np.save(folder / "num_docs.npy", converted.shape[0])

    def open(self, folder: Path, options: Options, queries: csr_array) -> None:
        self._scores = {name: np.load(folder / f"{name}.npy") for name in _ARRAYS}
        self._scores["num_docs"] = int(np.load(folder / "num_docs.npy"))
        calls = self.calls(queries[:1], 1, Setting(options))
        calls.search(calls.queries[0])  # compiles

    def calls(self, queries: csr_array, k: int, setting: Setting) -> Calls:  # noqa: ARG002
        scores = self._scores
        most = min(k, scores["num_docs"])
        rows = [
            ([queries.indices[b:e].astype(np.int32)], [queries.data[b:e]])
            for b, e in pairwise(queries.indptr.tolist())
        ]
        all_columns = [columns[0] for columns, _ in rows]
        all_values = [values[0] for _, values in rows]
        return Calls(
            rows,
            lambda row: retrieve(row[0], row[1], scores, k=most, return_as="doc_ids"),
            np.ravel,
            lambda: retrieve(all_columns, all_values, scores, k=most, return_as="doc_ids"),
        )

    def memory_bytes(self) -> int | None:
        return sum(int(self._scores[name].nbytes) for name in _ARRAYS)

    def close(self) -> None:
        del self._scores
