"""Graphs as lines of text: two names, and where wanted the weight of the edge between them."""

from __future__ import annotations

import math
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import numpy as np

from sparseret import vectors
from sparseret.documents import id_problem
from sparseret.errors import DocumentError
from sparseret.linefile import LineFile, locate

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Graph", "read_edges"]

_FILE = "edges.tsv"


class Graph(NamedTuple):
    """A graph whose nodes have names."""

    names: list[str]
    """Of the nodes, in the order in which they came first."""
    adjacency: csr_array
    """Weights of edges, canonical, shape (len(names), len(names)): rows are where edges start."""


def read_edges(file: str | Path, *, directed: bool = False) -> Graph:
    """Read a graph: ``name<TAB>name`` or ``name<TAB>name<TAB>weight`` a line.

    Where a line has no tab, spaces part its fields. Blank lines, and those that begin with ``#``,
    are ignored. An edge that comes again adds its weight, which is 1 where none is given.

    Args:
        file: UTF-8, also ``.gz`` or ``.zst``; "-" for standard input; or a folder, for its
            edges.tsv.
        directed: whether an edge leads from the first name to the second only.

    Raises:
        DocumentError: no such file, no edges, or a line that is none, by its number.
        StorageError: the file system refused.
    """
    from scipy.sparse import coo_array

    numbers: dict[str, int] = {}
    starts, ends, weights = array("q"), array("q"), array("d")
    with LineFile(locate(file, _FILE)) as lines:
        for raw in lines:

            def refuse(reason: str) -> NoReturn:
                raise DocumentError(
                    f"{lines.name}:{lines.number}: {reason}; expected name<TAB>name, and where "
                    "wanted a weight"
                )

            try:
                line = raw.decode("utf-8-sig" if lines.number == 1 else "utf-8").strip("\r\n")
            except UnicodeDecodeError as error:
                refuse(f"not UTF-8 text ({error.reason})")
            if not line.strip() or line.startswith("#"):
                continue
            fields = line.split("\t") if "\t" in line else line.split()
            if len(fields) not in (2, 3):
                refuse(f"{len(fields)} fields")
            for name in fields[:2]:
                if problem := id_problem(name):
                    refuse(problem)
            weight = _weight(fields[2]) if len(fields) == 3 else 1.0
            if weight is None:
                refuse(f"the weight {fields[2]!r} is no number above 0")
            starts.append(numbers.setdefault(fields[0], len(numbers)))
            ends.append(numbers.setdefault(fields[1], len(numbers)))
            weights.append(weight)
        if not numbers:
            raise DocumentError(f"{lines.name}: no edges")
    from_, to, values = np.array(starts), np.array(ends), np.array(weights)
    if not directed:
        other = from_ != to
        from_, to, values = (
            np.concatenate([from_, to[other]]),
            np.concatenate([to, from_[other]]),
            np.concatenate([values, values[other]]),
        )
    summed = coo_array((values, (from_, to)), shape=(len(numbers), len(numbers))).tocsr()
    return Graph(list(numbers), vectors.check(summed))


def _weight(text: str) -> float | None:
    try:
        weight = float(text)
    except ValueError:
        return None
    return weight if 0 < weight < math.inf else None
