"""A search on one snapshot: arguments checked, filters resolved, ids looked up."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from itertools import accumulate, pairwise
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import ConfigurationError, FilterError
from sparseret.indexers.calibration import check_effort
from sparseret.indexers.filters import Filter, compile_filter, parse_filter
from sparseret.indexers.order_field import order_field
from sparseret.indexers.snapshot import Snapshot
from sparseret.kernels import Effort
from sparseret.protocols import Hits, Mode

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["check_count", "check_ids", "check_recall", "search_mode", "search_snapshot"]

_CORES = os.cpu_count() or 1
_MOST_HITS = 2**62
"""More than any index holds; the kernel counts to 2**64."""


def search_snapshot(
    snapshot: Snapshot,
    queries: csr_array,
    k: int,
    *,
    allow: Iterable[str] | None = None,
    where: Filter | str | None = None,
    exact: bool | None = None,
    recall: float | None = None,
    effort: Effort | None = None,
    threads: int | None = None,
) -> Hits:
    """:meth:`InvertedIndex.search` on one snapshot."""
    check_count("k", k)
    if threads is not None:
        check_count("threads", threads)
    chosen, mode = _choose_effort(snapshot, k, exact, recall, effort)
    between, allowed = (
        (None, None) if allow is None and where is None else _selected(snapshot, allow, where)
    )
    found = snapshot.search(
        queries,
        min(k, _MOST_HITS),
        allow=allowed,
        between=between,
        effort=chosen,
        threads=threads or _CORES,
    )
    if len(found.numbers) == 1:
        return Hits([snapshot.ids(found.numbers[0])], found.scores, mode)
    every = snapshot.ids(np.concatenate([np.empty(0, np.int64), *found.numbers]))
    ends = [0, *accumulate(map(len, found.numbers))]
    return Hits([every[begin:end] for begin, end in pairwise(ends)], found.scores, mode)


def _selected(
    snapshot: Snapshot, allow: Iterable[str] | None, where: Filter | str | None
) -> tuple[range | None, NDArray[np.int64] | None]:
    """Which documents may be returned: those in a range, and of those in a list; None for all."""
    allowed: NDArray[np.int64] | None = None
    between: range | None = None
    if allow is not None:
        check_ids(allow)
        allowed = snapshot.catalog.numbers_of(allow)
    if where is not None:
        tree = parse_filter(where) if isinstance(where, str) else where
        if not isinstance(tree, Filter):
            raise FilterError(
                f"a filter must be text or made with field(), got {type(tree).__name__}"
            )
        rest: Filter | None = tree
        if snapshot.catalog.order_by is not None:
            order = order_field(snapshot.catalog.order_by)
            bounds, rest = order.split(tree)
            if bounds is not None:
                between = snapshot.catalog.range_where(*bounds, order.value)
        if rest is not None:
            selected = snapshot.numbers_where(*compile_filter(rest), between)
            allowed = selected if allowed is None else np.intersect1d(allowed, selected)
    if between is not None and not between:
        return None, np.empty(0, np.int64)
    if between is not None and allowed is not None:
        allowed = allowed[slice(*np.searchsorted(allowed, [between.start, between.stop]))]
    if allowed is not None and len(allowed) and allowed[-1] - allowed[0] == len(allowed) - 1:
        between, allowed = range(int(allowed[0]), int(allowed[-1]) + 1), None
    return between, allowed


def search_mode(
    snapshot: Snapshot, k: int, *, exact: bool | None = None, recall: float | None = None
) -> Mode:
    """How :func:`search_snapshot` would search; the queries make no difference to it."""
    check_count("k", k)
    return _choose_effort(snapshot, k, exact, recall, None)[1]


def _choose_effort(
    snapshot: Snapshot,
    k: int,
    exact: bool | None,
    recall: float | None,
    effort: Effort | None,
) -> tuple[Effort | None, Mode]:
    """What the kernel is to do, and what to tell the caller about it."""
    if sum((exact is True, recall is not None, effort is not None)) > 1:
        raise ConfigurationError("exact, recall and effort exclude one another: give one of them")
    if effort is not None:
        check_effort(effort)
        return effort, Mode(exact=False, recall=math.nan)
    if recall is None:
        if exact is False:
            raise ConfigurationError("exact=False needs recall=, such as recall=0.95")
        return None, Mode()
    check_recall(recall)
    return snapshot.cheapest(float(recall), k)


def check_recall(recall: object) -> None:
    """Refuse a recall that cannot be asked for. Raises ConfigurationError."""
    if not isinstance(recall, (float, Real)) or not 0.5 <= float(recall) <= 0.999:
        raise ConfigurationError(
            f"recall must be a number from 0.5 to 0.999, got {recall!r}: for an exact search, "
            "leave it out"
        )


def check_count(name: str, value: object) -> None:
    """Refuse what is no whole number from 1 on. Raises ConfigurationError."""
    if not isinstance(value, (int, Integral)) or int(value) < 1:  # int: ABCs are slow
        raise ConfigurationError(f"{name} must be a whole number, at least 1, got {value!r}")


def check_ids(ids: Iterable[str]) -> None:
    """Refuse one string where several ids are expected. Raises ConfigurationError."""
    if isinstance(ids, str):
        raise ConfigurationError("ids must be a list of strings, not one string")
