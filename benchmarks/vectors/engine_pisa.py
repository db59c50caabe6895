"""PISA (https://github.com/pisa-engine/pisa) through pyterrier-pisa: quantised impacts.

Mallia, Siedlaczek, Mackenzie, Suel: "PISA: Performant Indexes and Search for Academia", 2019.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pyterrier_pisa import PisaIndex, _pisathon

from benchmarks.vectors.engine import Calls, Engine, Options, Setting

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Pisa"]

_ALGORITHMS = ("maxscore", "block_max_maxscore", "wand", "block_max_wand", "ranked_or_taat")
_LEVELS = 255


class Pisa(Engine):
    """What ``PisaRetrieve.transform`` calls, without its data frames."""

    name = "pisa"
    distribution = "pyterrier-pisa"
    remarks = (
        "the native function below `PisaRetrieve`, without its data frames, one query a call; "
        "impacts have 255 levels, so that it is never exact for the vectors given. Building goes "
        "through a Python dictionary a document, its only way in."
    )

    def build(self, converted: csr_array, folder: Path, options: Options) -> None:  # noqa: ARG002
        scale = _LEVELS / float(converted.data.max())
        index = PisaIndex(str(folder / "index"), stemmer="none", threads=1)
        # It truncates to integers, and drops what comes to 0.
        index.toks_indexer(scale=1.0, mode="overwrite").index(_documents(converted, scale))
        index.quantized(threads=1)  # compresses the index at the first use
        (folder / "scale").write_text(repr(scale))

    def open(self, folder: Path, options: Options, queries: csr_array) -> None:  # noqa: ARG002
        self._scale = float((folder / "scale").read_text())
        index = PisaIndex(str(folder / "index"), stemmer="none", threads=1)
        self._retriever = index.quantized(threads=1)

    def settings(self, k: int) -> Sequence[Setting]:  # noqa: ARG002
        return [Setting({"algorithm": name}) for name in _ALGORITHMS]

    def calls(self, queries: csr_array, k: int, setting: Setting) -> Calls:
        context, algorithm = self._retriever._ctxt, setting.options["algorithm"]
        values = queries.data * self._scale
        prepared = [
            [(0, dict(zip(map(str, queries.indices[b:e].tolist()), values[b:e].tolist(),
                          strict=True)))]
            for b, e in pairwise(queries.indptr.tolist())
        ]  # fmt: skip
        numbers = np.empty(k, object)
        others = {
            "result_qidxs": np.empty(k, np.int32),
            "result_ranks": np.empty(k, np.int32),
            "result_scores": np.empty(k, np.float32),
        }

        def search(query: Any) -> list[str]:
            n = _pisathon.retrieve(
                context, algorithm, query, k=k, threads=1, query_weighted=1, pretokenised=True,
                result_docnos=numbers, **others,
            )  # fmt: skip
            found: list[str] = numbers[:n].tolist()
            return found

        return Calls(prepared, search, lambda found: [int(number) for number in found])

    def close(self) -> None:
        del self._retriever


def _documents(rows: csr_array, scale: float) -> Iterator[dict[str, Any]]:
    impacts = np.maximum(np.rint(rows.data * scale), 1)
    names = [str(column) for column in range(rows.shape[1])]
    for number, (begin, end) in enumerate(pairwise(rows.indptr.tolist())):
        terms = [names[column] for column in rows.indices[begin:end].tolist()]
        yield {
            "docno": str(number),
            "toks": dict(zip(terms, impacts[begin:end].tolist(), strict=True)),
        }
