"""The plain way: a product of sparse matrices, then a partition."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.vectors.engine import Calls, Engine, Options, Setting

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Scipy"]


class Scipy(Engine):
    """``query @ documents.T``, both CSR, so that only postings of the query are read."""

    name = "scipy"
    distribution = "scipy"
    remarks = "`query @ documents.T` of CSR matrices, then `argpartition`, one row a call."

    def build(self, converted: csr_array, folder: Path, options: Options) -> None:  # noqa: ARG002
        sparse.save_npz(folder / "by_column.npz", converted.T.tocsr(), compressed=False)

    def open(self, folder: Path, options: Options, queries: csr_array) -> None:  # noqa: ARG002
        self._by_column = sparse.csr_array(sparse.load_npz(folder / "by_column.npz"))

    def calls(self, queries: csr_array, k: int, setting: Setting) -> Calls:  # noqa: ARG002
        by_column = self._by_column

        def search(row: csr_array) -> NDArray[np.int32]:
            product = row @ by_column
            scores = product.data
            best = np.argpartition(scores, -k)[-k:] if k < len(scores) else np.arange(len(scores))
            found: NDArray[np.int32] = product.indices[best[np.argsort(-scores[best])]]
            return found

        rows = [queries[q : q + 1] for q in range(queries.shape[0])]
        return Calls(rows, search, _same)

    def memory_bytes(self) -> int | None:
        t = self._by_column
        return int(t.data.nbytes + t.indices.nbytes + t.indptr.nbytes)

    def close(self) -> None:
        del self._by_column


def _same(found: Any) -> Any:
    return found
