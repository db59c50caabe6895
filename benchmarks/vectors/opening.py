"""Open indexes, and closing them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.vectors.build import Index
from benchmarks.vectors.engine import Engine, Setting, make_engine, option_line
from benchmarks.vectors.measure import quiet

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Way", "opened"]


@dataclass(frozen=True, eq=False)
class Way:
    """An engine's index, and a setting to search it with."""

    engine: str
    index: Index
    setting: Setting


@contextmanager
def opened(ways: Sequence[Way], queries: csr_array) -> Iterator[list[tuple[Engine, Setting]]]:
    """Open each index once; engines that are open, each with a setting, parallel to ``ways``.

    Args:
        ways: any number of settings an index.
        queries: those that settings are picked on.
    """
    engines: dict[tuple[str, str], Engine] = {}
    try:
        for way in ways:
            key = (way.engine, option_line(way.index.options))
            if key not in engines:
                engine = make_engine(way.engine)
                with quiet():
                    engine.open(way.index.folder, way.index.options, queries)
                engines[key] = engine
        yield [(engines[way.engine, option_line(way.index.options)], way.setting) for way in ways]
    finally:
        for engine in engines.values():
            engine.close()
