"""sparseret's inverted index of vectors, as its users have it: a folder, string ids, durable."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.vectors.corpora import VectorCorpus
from benchmarks.vectors.engine import Calls, Engine, Options, Setting
from sparseret.indexers.inverted import InvertedIndex

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["SparseretVectors"]

_RECALLS = (0.9, 0.95, 0.97, 0.99, 0.995)


class SparseretVectors(Engine):
    """``InvertedIndex.search`` on one row a call; on all rows as the batch call."""

    name = "sparseret"
    distribution = "sparseret"
    remarks = (
        "`InvertedIndex.search` of one CSR row a call, which returns string ids and scores; the "
        "batch call has all rows. The index is a durable folder; recalls are its own calibration."
    )
    reusable = False

    def unfit(self, corpus: VectorCorpus) -> str | None:  # noqa: ARG002
        return None

    def convert(self, corpus: VectorCorpus, scratch: Path) -> VectorCorpus:  # noqa: ARG002
        if corpus.file is not None:
            _ = corpus.matrix  # read it before the clock starts
        return corpus

    def build(self, converted: VectorCorpus, folder: Path, options: Options) -> None:  # noqa: ARG002
        with InvertedIndex.create(folder / "index", dim=converted.n_columns, signed=False) as index:
            first = 0
            for rows in converted.chunks():
                index.add([str(first + i) for i in range(rows.shape[0])], rows)
                first += rows.shape[0]
            index.commit()
            index.merge(calibrate=False)  # with real queries, when it is opened

    def open(self, folder: Path, options: Options, queries: csr_array) -> None:  # noqa: ARG002
        self._index = InvertedIndex.open(folder / "index")
        self._approximate = "recall" in inspect.signature(self._index.search).parameters
        tuned = folder / "tuned"
        if self._approximate and not tuned.exists():
            self._index.tune(queries)
            tuned.touch()

    def settings(self, k: int) -> Sequence[Setting]:  # noqa: ARG002
        exact = Setting({"exact": True}, exact=True, promised=1.0)
        if not self._approximate:
            return [exact]
        return [exact, *(Setting({"recall": r}, promised=r) for r in _RECALLS)]

    def calls(self, queries: csr_array, k: int, setting: Setting) -> Calls:
        search = self._index.search
        options = dict(setting.options) if self._approximate else {}
        return Calls(
            [queries[q : q + 1] for q in range(queries.shape[0])],
            lambda row: search(row, k, threads=1, **options).ids[0],
            lambda ids: [int(id) for id in ids],
            lambda: search(queries, k, threads=1, **options).ids,
        )

    def close(self) -> None:
        self._index.close()
