"""What the harness asks of an engine, and the engines by name.

Two levels. At level "vectors" every engine is built from the same term counts and searched with
queries encoded beforehand: indexing structures and search alone are compared. At level "text" an
engine gets strings and does all of its own work: analysis, encoding, search, ids of the documents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.lexical.material import Material
from sparseret.errors import ConfigurationError

__all__ = ["ENGINES", "Engine", "Found", "Level", "Size", "Stage", "engines_of"]

Level = Literal["vectors", "text"]


class Found(NamedTuple):
    """Results of a batch, one row a query, best first; rows may be padded with scores of 0."""

    ids: Sequence[Any]
    scores: Sequence[NDArray[np.float32]]


@dataclass(frozen=True)
class Stage:
    """A part of building an index."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Size:
    """Bytes of a built index."""

    index: int
    """What a search reads."""
    documents: int
    """Stored texts and ids; 0 where the engine keeps none."""


class Engine(Protocol):
    """One way to index and search. Built once, then searched any number of times."""

    name: str

    def build(self, material: Material, folder: Path) -> list[Stage]:
        """Index the corpus; the engine's own stopwatch leaves out conversion of the material.

        Args:
            material: the corpus.
            folder: an empty folder for what the engine keeps on disk.
        """

    def size(self) -> Size:
        """Bytes of what :meth:`build` made."""

    def encode(self, material: Material, begin: int, end: int) -> Any:
        """Queries ``begin`` to ``end`` in the form that :meth:`search` takes; not timed."""

    def search(self, queries: Any, k: int, threads: int) -> Found:
        """The best k documents of each query; timed."""

    def close(self) -> None:
        """Release files and memory."""


def _sparseret(level: Level) -> Engine:
    from benchmarks.lexical.engine_sparseret import TextRetriever, VectorIndex

    return VectorIndex() if level == "vectors" else TextRetriever()


def _sparseret_memory(level: Level) -> Engine:
    from benchmarks.lexical.engine_sparseret import InMemory

    return InMemory(from_text=level == "text")


def _bm25s_numba(level: Level) -> Engine:
    from benchmarks.lexical.engine_bm25s import TextBM25S, VectorBM25S

    return VectorBM25S("numba") if level == "vectors" else TextBM25S("numba")


def _bm25s_numpy(level: Level) -> Engine:
    from benchmarks.lexical.engine_bm25s import TextBM25S, VectorBM25S

    return VectorBM25S("numpy") if level == "vectors" else TextBM25S("numpy")


def _scipy(level: Level) -> Engine | None:
    from benchmarks.lexical.engine_scipy import ScipyProduct

    return ScipyProduct() if level == "vectors" else None


ENGINES: Mapping[str, Callable[[Level], Engine | None]] = {
    "sparseret": _sparseret,
    "sparseret-memory": _sparseret_memory,
    "bm25s-numba": _bm25s_numba,
    "bm25s-numpy": _bm25s_numpy,
    "scipy": _scipy,
}
"""Engines by name; a new one is an entry here and a file. None where it has no such level."""


def engines_of(level: Level, names: Sequence[str]) -> list[Engine]:
    """Fresh engines of a level, in the order named.

    Raises:
        ConfigurationError: no engine goes by a name.
    """
    for name in names:
        if name not in ENGINES:
            raise ConfigurationError(f"no engine {name!r}; choose from {', '.join(ENGINES)}")
    made = [ENGINES[name](level) for name in names]
    return [engine for engine in made if engine is not None]
