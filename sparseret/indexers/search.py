"""A search on one snapshot: arguments checked, filters resolved, ids looked up."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from itertools import accumulate, pairwise
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import ConfigurationError, FilterError
from sparseret.indexers.calibration import check_effort
from sparseret.indexers.dense_snapshot import DenseSnapshot
from sparseret.indexers.filters import Filter, compile_filter, parse_filter
from sparseret.indexers.order_field import order_field
from sparseret.indexers.snapshot import Snapshot
from sparseret.indexers.state import State
from sparseret.kernels import Effort
from sparseret.protocols import Hits, Mode

__all__ = [
    "Selection",
    "as_filter",
    "check_count",
    "check_ids",
    "check_recall",
    "ids_of",
    "search_leg",
    "search_mode",
    "search_snapshot",
    "select",
]


class Selection(NamedTuple):
    """Which documents may be returned: those in a range, and of those in a list."""

    between: range | None = None
    """Consecutive numbers; None for all."""
    allow: NDArray[np.int64] | None = None
    """Ascending numbers; None for all."""


_CORES = os.cpu_count() or 1
_EVERYTHING = Selection()
_MOST_HITS = 2**62
"""More than any index holds; the kernel counts to 2**64."""


def search_snapshot(
    snapshot: Snapshot | DenseSnapshot,
    queries: Any,
    k: int,
    *,
    allow: Iterable[str] | None = None,
    where: Filter | str | None = None,
    exact: bool | None = None,
    recall: float | None = None,
    effort: Effort | int | None = None,
    threads: int | None = None,
) -> Hits:
    """:meth:`InvertedIndex.search` on one snapshot."""
    selection = _EVERYTHING
    if allow is not None or where is not None:
        selection = select(snapshot.state, allow, where)
    numbers, scores, mode = search_leg(
        snapshot, queries, k, selection, exact=exact, recall=recall, effort=effort, threads=threads
    )
    return Hits(ids_of(snapshot.state, numbers), scores, mode)


def search_leg(
    snapshot: Snapshot | DenseSnapshot,
    queries: Any,
    k: int,
    selection: Selection,
    *,
    exact: bool | None = None,
    recall: float | None = None,
    effort: Effort | int | None = None,
    threads: int | None = None,
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.float32]], Mode]:
    """The best k of a selection: numbers and scores of each query, and how that was found out.

    Raises:
        ConfigurationError, VectorError
    """
    check_count("k", k)
    if threads is not None:
        check_count("threads", threads)
    chosen, mode = _choose_effort(snapshot, k, exact, recall, effort)
    search: Any = snapshot.search  # each kind of snapshot with its own efforts
    found = search(
        queries,
        min(k, _MOST_HITS),
        allow=selection.allow,
        between=selection.between,
        effort=chosen,
        threads=threads or _CORES,
    )
    return found.numbers, found.scores, mode


def ids_of(state: State, numbers: list[NDArray[np.int64]]) -> list[list[str]]:
    """Ids of documents, one list a query."""
    if len(numbers) == 1:
        return [state.ids(numbers[0])]
    every = state.ids(np.concatenate([np.empty(0, np.int64), *numbers]))
    ends = [0, *accumulate(map(len, numbers))]
    return [every[begin:end] for begin, end in pairwise(ends)]


def as_filter(where: Filter | str) -> Filter:
    """A filter from its text, or as it is. Raises FilterError."""
    tree = parse_filter(where) if isinstance(where, str) else where
    if not isinstance(tree, Filter):
        raise FilterError(f"a filter must be text or made with field(), got {type(tree).__name__}")
    return tree


def select(
    state: State, allow: Iterable[str] | None = None, where: Filter | str | None = None
) -> Selection:
    """The documents of some ids that pass a filter.

    Raises:
        FilterError, ConfigurationError
    """
    allowed: NDArray[np.int64] | None = None
    between: range | None = None
    if allow is not None:
        check_ids(allow)
        allowed = state.catalog.numbers_of(allow)
    if where is not None:
        tree = as_filter(where)
        rest: Filter | None = tree
        if state.catalog.order_by is not None:
            order = order_field(state.catalog.order_by)
            bounds, rest = order.split(tree)
            if bounds is not None:
                between = state.catalog.range_where(*bounds, order.value)
        if rest is not None:
            selected = state.numbers_where(*compile_filter(rest), between)
            allowed = selected if allowed is None else np.intersect1d(allowed, selected)
    if between is not None and not between:
        return Selection(None, np.empty(0, np.int64))
    if between is not None and allowed is not None:
        allowed = allowed[slice(*np.searchsorted(allowed, [between.start, between.stop]))]
    if allowed is not None and len(allowed) and allowed[-1] - allowed[0] == len(allowed) - 1:
        between, allowed = range(int(allowed[0]), int(allowed[-1]) + 1), None
    return Selection(between, allowed)


def search_mode(
    snapshot: Snapshot | DenseSnapshot,
    k: int,
    *,
    exact: bool | None = None,
    recall: float | None = None,
) -> Mode:
    """How :func:`search_snapshot` would search; the queries make no difference to it."""
    check_count("k", k)
    return _choose_effort(snapshot, k, exact, recall, None)[1]


def _choose_effort(
    snapshot: Snapshot | DenseSnapshot,
    k: int,
    exact: bool | None,
    recall: float | None,
    effort: Effort | int | None,
) -> tuple[Effort | int | None, Mode]:
    """What the kernel is to do, and what to tell the caller about it."""
    if sum((exact is True, recall is not None, effort is not None)) > 1:
        raise ConfigurationError("exact, recall and effort exclude one another: give one of them")
    if effort is not None:
        if isinstance(snapshot, DenseSnapshot):
            check_count("effort", effort)
        else:
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
