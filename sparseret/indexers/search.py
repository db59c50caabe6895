"""A search on one snapshot: arguments checked, filters resolved, ids looked up."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import accumulate, pairwise
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import ConfigurationError, FilterError
from sparseret.indexers.filters import Filter, compile_filter, parse_filter
from sparseret.indexers.snapshot import Snapshot
from sparseret.protocols import Hits

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["check_ids", "search_snapshot"]

_CORES = os.cpu_count() or 1


def search_snapshot(
    snapshot: Snapshot,
    queries: csr_array,
    k: int,
    *,
    allow: Iterable[str] | None = None,
    where: Filter | str | None = None,
    threads: int | None = None,
) -> Hits:
    """:meth:`InvertedIndex.search` on one snapshot, for vectors that were checked."""
    _check_count("k", k)
    if threads is not None:
        _check_count("threads", threads)
    allowed: NDArray[np.int64] | None = None
    if allow is not None:
        check_ids(allow)
        allowed = snapshot.catalog.numbers_of(allow)
    if where is not None:
        tree = parse_filter(where) if isinstance(where, str) else where
        if not isinstance(tree, Filter):
            raise FilterError(
                f"a filter must be text or made with field(), got {type(tree).__name__}"
            )
        selected = snapshot.numbers_where(*compile_filter(tree))
        allowed = selected if allowed is None else np.intersect1d(allowed, selected)
    numbers, scores = snapshot.search(queries, k, allow=allowed, threads=threads or _CORES)
    if len(numbers) == 1:
        return Hits([snapshot.ids(numbers[0]).tolist()], scores)
    every = snapshot.ids(np.concatenate([np.empty(0, np.int64), *numbers]))
    ends = [0, *accumulate(map(len, numbers))]
    return Hits([every[begin:end].tolist() for begin, end in pairwise(ends)], scores)


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, Integral) or int(value) < 1:
        raise ConfigurationError(f"{name} must be a whole number, at least 1, got {value!r}")


def check_ids(ids: Iterable[str]) -> None:
    """Refuse one string where several ids are expected. Raises ConfigurationError."""
    if isinstance(ids, str):
        raise ConfigurationError("ids must be a list of strings, not one string")
