"""sparseret's inverted index of vectors, as its users have it: a folder, string ids, durable."""

from __future__ import annotations

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
        "batch call has all rows. The index is a durable folder; recalls are its own calibration. "
        "With `precision`, values are rounded when they are added, as most peers do."
    )
    reusable = False

    def builds(self, corpus: VectorCorpus) -> Sequence[Options]:
        default: Options = {}
        if corpus.file is None:
            return [default]
        largest = float(corpus.matrix.max())
        return [
            default, {"precision": "float16"}, {"precision": "uint8", "largest": round(largest, 3)}
        ]  # fmt: skip

    def unfit(self, corpus: VectorCorpus) -> str | None:  # noqa: ARG002
        return None

    def convert(self, corpus: VectorCorpus, scratch: Path) -> VectorCorpus:  # noqa: ARG002
        if corpus.file is not None:
            _ = corpus.matrix  # read it before the clock starts
        return corpus

    def build(self, converted: VectorCorpus, folder: Path, options: Options) -> None:
        with InvertedIndex.create(
            folder / "index", dim=converted.n_columns, signed=False, **options
        ) as index:
            first = 0
            for rows in converted.chunks():
                index.add([str(first + i) for i in range(rows.shape[0])], rows)
                first += rows.shape[0]
            index.commit()
            index.merge(calibrate=False)  # with real queries, when it is opened

    def open(self, folder: Path, options: Options, queries: csr_array) -> None:
        self._rounded = bool(options)
        self._index = InvertedIndex.open(folder / "index")
        tuned = folder / "tuned"
        if not tuned.exists():
            self._index.tune(queries)
            tuned.touch()

    def settings(self, k: int) -> Sequence[Setting]:  # noqa: ARG002
        if self._rounded:  # what it promises is of the rounded vectors
            return [Setting({"exact": True}), *(Setting({"recall": r}) for r in _RECALLS)]
        exact = Setting({"exact": True}, exact=True, promised=1.0)
        return [exact, *(Setting({"recall": r}, promised=r) for r in _RECALLS)]

    def calls(self, queries: csr_array, k: int, setting: Setting) -> Calls:
        search = self._index.search
        options = setting.options
        return Calls(
            [queries[q : q + 1] for q in range(queries.shape[0])],
            lambda row: search(row, k, threads=1, **options).ids[0],
            lambda ids: [int(id) for id in ids],
            lambda: search(queries, k, threads=1, **options).ids,
        )

    def close(self) -> None:
        self._index.close()
