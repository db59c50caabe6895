"""BMP (https://github.com/pisa-engine/BMP): block-max pruning over 8-bit impacts.

Mallia, Suel, Tonellotto: "Faster Learned Sparse Retrieval with Block-Max Pruning", 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import bmp

from benchmarks.vectors.corpora import VectorCorpus
from benchmarks.vectors.engine import Calls, Engine, Options, Setting, combinations

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Bmp"]


class Bmp(Engine):
    """``Indexer.add_document`` and ``Searcher.search``, with dictionaries of terms."""

    name = "bmp"
    distribution = "bmp"
    remarks = (
        "`Searcher.search`, one query a call, with a dictionary of strings made before the clock "
        "starts. Values are 8-bit, so that it is never exact for the vectors given. It is "
        "built from a dictionary a document, and making these counts as building."
    )

    def builds(self, corpus: VectorCorpus) -> Sequence[Options]:  # noqa: ARG002
        return [{"block": block} for block in (8, 16, 32)]

    def build(self, converted: csr_array, folder: Path, options: Options) -> None:
        scale = 255 / float(converted.data.max())
        impacts = (converted.data * scale + 0.5).astype("uint8").clip(1)
        names = [str(column) for column in range(converted.shape[1])]
        indexer = bmp.Indexer(str(folder / "index.bmp"), options["block"], compress_range=False)
        for number, (begin, end) in enumerate(pairwise(converted.indptr.tolist())):
            terms = [names[column] for column in converted.indices[begin:end].tolist()]
            indexer.add_document(
                str(number), dict(zip(terms, impacts[begin:end].tolist(), strict=True))
            )
        indexer.finish()

    def open(self, folder: Path, options: Options, queries: csr_array) -> None:  # noqa: ARG002
        self._searcher = bmp.Searcher(str(folder / "index.bmp"))

    def settings(self, k: int) -> Sequence[Setting]:  # noqa: ARG002
        return [
            Setting(options)
            for options in combinations(
                ("alpha", (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)), ("beta", (0.4, 0.6, 0.8, 1.0))
            )
        ]

    def calls(self, queries: csr_array, k: int, setting: Setting) -> Calls:
        search = self._searcher.search
        alpha, beta = setting.options["alpha"], setting.options["beta"]
        prepared = [
            dict(zip(map(str, queries.indices[begin:end].tolist()),
                     queries.data[begin:end].tolist(), strict=True))
            for begin, end in pairwise(queries.indptr.tolist())
        ]  # fmt: skip
        return Calls(
            prepared,
            lambda query: search(query, k, alpha, beta)[0],
            lambda found: [int(id) for id in found],
        )

    def close(self) -> None:
        del self._searcher
