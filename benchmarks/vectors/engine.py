"""What the suite asks of an engine, and the engines by name; one engine a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks.vectors.corpora import VectorCorpus
from sparseret.errors import ConfigurationError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = [
    "ENGINES",
    "Calls",
    "Engine",
    "Options",
    "Setting",
    "combinations",
    "make_engine",
    "option_line",
]

Options = Mapping[str, Any]
"""JSON values by name: how an index is built, or searched."""


@dataclass(frozen=True)
class Setting:
    """One way to search an index."""

    options: Options
    exact: bool = False
    """The engine promises the true top k of the vectors it was given."""
    promised: float | None = None
    """The recall that the engine itself promises, where it does."""


@dataclass(frozen=True)
class Calls:
    """Queries in the engine's own form, and how to answer one of them: only this is timed."""

    queries: Sequence[Any]
    search: Callable[[Any], Any]
    ids: Callable[[Any], Any]
    """Document numbers of what ``search`` returned, an array or list; not timed."""
    batch: Callable[[], Sequence[Any]] | None = None
    """All queries in one call on one thread, where the engine has one; answers as of ``search``."""


class Engine(Protocol):
    """A way to index and search sparse vectors by dot product; one instance opens one index."""

    name: str
    distribution: str
    """The Python distribution whose version is reported."""
    remarks: str
    """Which of its calls are used, what is known to cost it or to favour it."""
    reusable: bool = True
    """Whether an index built before may be used again: not for what is being developed."""

    def builds(self, corpus: VectorCorpus) -> Sequence[Options]:  # noqa: ARG002
        """The ways to build that are swept."""
        return [{}]

    def unfit(self, corpus: VectorCorpus) -> str | None:
        """Why the engine is not for a corpus; None where it is."""
        return "not for corpora that are streamed" if corpus.file is None else None

    def convert(self, corpus: VectorCorpus, scratch: Path) -> Any:  # noqa: ARG002
        """The corpus in the engine's own form; not timed. ``scratch`` is an empty folder."""
        return corpus.matrix

    def build(self, converted: Any, folder: Path, options: Options) -> None:
        """Index into an empty folder; timed, in a process of its own."""

    def open(self, folder: Path, options: Options, queries: csr_array) -> None:
        """Open what :meth:`build` made; ``queries`` are those that settings are picked on."""

    def settings(self, k: int) -> Sequence[Setting]:  # noqa: ARG002
        """The settings to sweep for the top k; by default one, exact."""
        return [Setting({}, exact=True)]

    def calls(self, queries: csr_array, k: int, setting: Setting) -> Calls:
        """Everything that can be done before the clock starts."""

    def memory_bytes(self) -> int | None:
        """Bytes of the open index in memory, where the engine or its arrays tell."""
        return None

    def close(self) -> None:
        """Release files and memory."""


ENGINES: Mapping[str, str] = {
    "sparseret": "benchmarks.vectors.engine_sparseret:SparseretVectors",
    "seismic": "benchmarks.vectors.engine_seismic:Seismic",
    "sindi": "benchmarks.vectors.engine_sindi:Sindi",
    "bmp": "benchmarks.vectors.engine_bmp:Bmp",
    "kannolo": "benchmarks.vectors.engine_kannolo:Kannolo",
    "splade-index": "benchmarks.vectors.engine_splade_index:SpladeIndex",
    "pisa": "benchmarks.vectors.engine_pisa:Pisa",
    "qdrant-edge": "benchmarks.vectors.engine_qdrant:Qdrant",
    "bm25s": "benchmarks.vectors.engine_bm25s:Bm25s",
    "scipy": "benchmarks.vectors.engine_scipy:Scipy",
}
"""Engines by name, as "module:class"; a new one is an entry here and a file."""


def make_engine(name: str) -> Engine:
    """An engine by name.

    Raises:
        ConfigurationError: no engine goes by that name.
        ImportError: what it needs is not installed.
    """
    if name not in ENGINES:
        raise ConfigurationError(f"no engine {name!r}; choose from {', '.join(ENGINES)}")
    module, _, kind = ENGINES[name].partition(":")
    engine: Engine = getattr(import_module(module), kind)()
    return engine


def option_line(options: Options) -> str:
    """Options in a line: ``m=16, ef=100``."""
    return ", ".join(f"{name}={value}" for name, value in options.items()) or "-"


def combinations(*axes: tuple[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """All combinations of values, by name."""
    made: list[dict[str, Any]] = [{}]
    for name, values in axes:
        made = [{**options, name: value} for options in made for value in values]
    return made
