"""SINDI of VSAG (https://github.com/antgroup/vsag): windows of value-storing inverted lists.

Li, Zhong and others: "SINDI: an efficient index for approximate maximum inner product search on
sparse vectors", 2025. Lists hold float32 or 8-bit values; pruned or quantised lists are followed
by exact scores of n_candidate documents from a copy of the vectors ("reorder").
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyvsag

from benchmarks.vectors.corpora import VectorCorpus
from benchmarks.vectors.engine import Calls, Engine, Options, Setting, combinations

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Sindi"]


class Sindi(Engine):
    """``pyvsag.Index("sindi")``, built from CSR, searched with CSR rows."""

    name = "sindi"
    distribution = "pyvsag"
    remarks = "`Index.knn_search` of one CSR row a call; the batch call has all rows."

    def builds(self, corpus: VectorCorpus) -> Sequence[Options]:  # noqa: ARG002
        kinds = ((0.0, "float32"), (0.0, "sq8"), (0.2, "sq8"), (0.4, "sq8"), (0.2, "float32"))
        return [
            {"window": window, "doc_prune": prune, "lists": lists}
            for window in (10_000, 50_000)
            for prune, lists in kinds
        ]

    def convert(self, corpus: VectorCorpus, scratch: Path) -> Any:  # noqa: ARG002
        rows = corpus.matrix
        return (
            rows.indptr.astype(np.uint32),
            rows.indices.astype(np.uint32),
            rows.data,
            np.arange(rows.shape[0], dtype=np.int64),
        )

    def build(self, converted: Any, folder: Path, options: Options) -> None:
        index = _index(options)
        index.build(*converted)
        index.save(str(folder / "index"))

    def open(self, folder: Path, options: Options, queries: csr_array) -> None:  # noqa: ARG002
        self._options = options
        self._index = _index(options)
        self._index.load(str(folder / "index"))

    def settings(self, k: int) -> Sequence[Setting]:
        # Lists of all values as they are need no second pass, and so no candidates for it.
        factors = (1, 2, 4, 8, 20) if k <= 100 else (1, 2, 4)
        candidates = [f * k for f in factors] if _second_pass(self._options) else [k]
        cuts = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
        return [
            Setting(options, exact=options["query_prune"] == 0 and not _second_pass(self._options))
            for options in combinations(("query_prune", cuts), ("candidates", candidates))
        ]

    def calls(self, queries: csr_array, k: int, setting: Setting) -> Calls:
        search = self._index.knn_search
        parameters = json.dumps(
            {
                "sindi": {
                    "query_prune_ratio": setting.options["query_prune"],
                    "n_candidate": setting.options["candidates"],
                }
            }
        )
        pointers = queries.indptr.astype(np.uint32)
        columns, values = queries.indices.astype(np.uint32), queries.data
        prepared = [
            (np.array([0, end - begin], np.uint32), columns[begin:end], values[begin:end])
            for begin, end in pairwise(queries.indptr.tolist())
        ]
        return Calls(
            prepared,
            lambda query: search(*query, k, parameters)[0],
            np.ravel,
            lambda: search(pointers, columns, values, k, parameters)[0],
        )

    def close(self) -> None:
        del self._index


def _second_pass(options: Options) -> bool:
    return bool(options["doc_prune"] or options["lists"] == "sq8")


def _index(options: Options) -> Any:
    pyvsag.set_logger_off()
    parameters = {
        "dtype": "sparse",
        "metric_type": "ip",
        "dim": 4096,  # the most values of a vector, not its columns
        "index_param": {
            "term_id_limit": 65_536,
            "window_size": options["window"],
            "doc_prune_ratio": options["doc_prune"],
            "use_quantization": options["lists"] == "sq8",
            "use_reorder": _second_pass(options),
        },
    }
    return pyvsag.Index("sindi", json.dumps(parameters))
