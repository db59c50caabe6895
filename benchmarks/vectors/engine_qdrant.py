"""Qdrant Edge (https://github.com/qdrant/qdrant): the segment of the Qdrant server, in process."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qdrant_edge as qdrant

from benchmarks.vectors.engine import Calls, Engine, Options, Setting

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Qdrant"]

_NAME = "text"
_POINTS_AT_ONCE = 1000


class Qdrant(Engine):
    """``EdgeShard.query`` with requests made before the clock starts."""

    name = "qdrant-edge"
    distribution = "qdrant-edge-py"
    remarks = (
        "`EdgeShard.query`, one request a call, without payload or vectors, on a shard with one "
        "search thread; the batch call is `query_batch`. Points are Python objects, and making "
        "them counts as building."
    )

    def build(self, converted: csr_array, folder: Path, options: Options) -> None:  # noqa: ARG002
        shard = qdrant.EdgeShard.create(str(folder), _configuration())
        rows = list(pairwise(converted.indptr.tolist()))
        for first in range(0, len(rows), _POINTS_AT_ONCE):
            points = [
                qdrant.Point(number, {_NAME: _vector(converted, begin, end)})
                for number, (begin, end) in enumerate(
                    rows[first : first + _POINTS_AT_ONCE], start=first
                )
            ]
            shard.update(qdrant.UpdateOperation.upsert_points(points))
        shard.optimize()
        shard.flush()
        shard.close()

    def open(self, folder: Path, options: Options, queries: csr_array) -> None:  # noqa: ARG002
        self._shard = qdrant.EdgeShard.load(str(folder), _configuration())

    def calls(self, queries: csr_array, k: int, setting: Setting) -> Calls:  # noqa: ARG002
        requests = [
            qdrant.QueryRequest(
                limit=k, query=qdrant.Query.Nearest(_vector(queries, begin, end), using=_NAME)
            )
            for begin, end in pairwise(queries.indptr.tolist())
        ]
        batch = qdrant.QueryBatchRequest(requests)
        return Calls(
            requests,
            self._shard.query,
            lambda points: [point.id for point in points],
            lambda: self._shard.query_batch(batch),
        )

    def close(self) -> None:
        self._shard.close()


def _configuration() -> Any:
    return qdrant.EdgeConfig(
        sparse_vectors={_NAME: qdrant.EdgeSparseVectorParams(full_scan_threshold=0)},
        max_search_threads=1,
        wal_enabled=False,
        optimizers=qdrant.EdgeOptimizersConfig(
            default_segment_number=1, max_segment_size=10**9, indexing_threshold=1
        ),
    )


def _vector(rows: csr_array, begin: int, end: int) -> Any:
    return qdrant.SparseVector(rows.indices[begin:end].tolist(), rows.data[begin:end].tolist())
