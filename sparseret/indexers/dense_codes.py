"""Two-stage search: candidates by light codes in memory, scores by vectors on disk.

Codes of a few bytes (:mod:`sparseret.indexers.quantiser`) are compared with a query one and all;
the vectors of the best, and no others, are then read from the mapped file. This is the search of
BiDR (Xiao, Liu, Han et al., "Progressively Optimized Bi-Granular Document Representation for
Scalable Embedding Based Retrieval", WWW 2022); both stages can be learned, which is left to
:mod:`sparseret.train.two_stage`.

The structure of a segment is the number of bytes of its quantiser (8 bytes, little-endian), the
quantiser, for ``binary`` a float16 factor a row, and the codes, a row after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret import kernels
from sparseret.errors import ConfigurationError, CorruptIndexError
from sparseret.indexers.dense_exact import Vectors, count_allowed, unpack
from sparseret.indexers.dense_file import DenseFile, check_structure
from sparseret.indexers.dense_settings import DenseSettings
from sparseret.indexers.quantiser import CodeKind, Quantiser
from sparseret.indexers.quantiser_fit import SAMPLE, fit_quantiser

__all__ = ["CodeIndex", "build_codes", "check_quantiser", "code_kind"]

_BLOCK_ROWS = 2**15
"""Codes that are scored at a time."""
_WORTH_A_THREAD = 2**22
"""Bytes of codes."""
_MARGIN = 2**12
"""Candidates beyond those wanted that are held before the worst are dropped."""
_FEW = 4
"""Of so many rows at most one is allowed where the others are not scored at all."""


def code_kind(settings: DenseSettings) -> CodeKind | None:
    """Which codes an index of these settings has; None for no codes."""
    return settings.kind if settings.kind in ("binary", "pq") else None


def check_quantiser(quantiser: Quantiser, settings: DenseSettings, dim: int) -> None:
    """Raises ConfigurationError for a quantiser of other codes or vectors than those of a leg."""
    asked = (settings.kind, settings.codes_for(dim), dim)
    has = (quantiser.kind, quantiser.code_bytes, quantiser.dim)
    if asked != has:
        raise ConfigurationError(
            f"the quantiser makes {has[0]} codes of {has[1]} bytes of {has[2]} values; the index "
            f"needs {asked[0]} codes of {asked[1]} bytes of {asked[2]} values: learn another, or "
            "set kind and code_bytes"
        )


def build_codes(
    settings: DenseSettings,
    quantiser: Quantiser | None,
    n: int,
    dim: int,
    blocks: Callable[[], Iterable[Vectors]],
) -> list[bytes]:
    """The structure of a segment of codes, in pieces; memory holds a block, a sample, and codes.

    Args:
        settings: of the index, of a kind that has codes.
        quantiser: that was learned; None to fit one to these vectors.
        n: vectors, at least 1.
        dim: their width.
        blocks: the vectors as they are stored; called once, or twice to fit a quantiser.

    Raises:
        ConfigurationError: settings or a quantiser that do not go with the vectors.
    """
    kind = code_kind(settings)
    if kind is None:
        raise ConfigurationError(f"an index of kind {settings.kind} has no codes")
    if quantiser is None:
        sample = _sample(n, dim, blocks())
        quantiser = fit_quantiser(kind, settings.codes_for(dim), sample)
    check_quantiser(quantiser, settings, dim)
    head = quantiser.to_bytes()
    made = [quantiser.encode(rows) for rows in _even(dim, blocks())]
    factors = [part.factors.astype("<f2").tobytes() for part in made if part.factors is not None]
    codes = [part.codes.tobytes() for part in made]
    return [len(head).to_bytes(8, "little"), head, *factors, *codes]


def _even(dim: int, blocks: Iterable[Vectors]) -> Iterator[NDArray[np.float32]]:
    """The rows in blocks of one size, on which the last bits of products may depend."""
    held = np.empty((_BLOCK_ROWS, dim), np.float32)
    n = 0
    for block in blocks:
        taken = 0
        while taken < len(block):
            some = block[taken : taken + len(held) - n]
            held[n : n + len(some)] = some
            taken, n = taken + len(some), n + len(some)
            if n == len(held):
                yield held
                n = 0
    yield held[:n]


def _sample(n: int, dim: int, blocks: Iterable[Vectors]) -> NDArray[np.float32]:
    """Evenly spread rows, shape (min(n, SAMPLE), dim)."""
    places = np.linspace(0, n - 1, min(n, SAMPLE)).astype(np.int64)
    sample = np.empty((len(places), dim), np.float32)
    begin = 0
    for block in blocks:
        first, last = np.searchsorted(places, [begin, begin + len(block)])
        sample[first:last] = block[places[first:last] - begin]
        begin += len(block)
    return sample


class CodeIndex:
    """Codes of an open segment, copied to memory when this is made, their checksum verified.

    Args:
        file: of a segment that has codes.

    Raises:
        CorruptIndexError: they were altered.
    """

    def __init__(self, file: DenseFile) -> None:
        # A copy stays in memory; what is mapped could be dropped from it by the reading of vectors.
        data = file.structure.tobytes()
        check_structure(file, data)
        n, dim = file.vectors.shape
        end = 8 + int.from_bytes(data[:8], "little")
        self.quantiser = Quantiser.from_bytes(data[8:end], f"{file.path}: its structure")
        has_factors = self.quantiser.kind == "binary"
        begin = end + 2 * n * has_factors
        width = self.quantiser.code_bytes
        if len(data) != begin + n * width or self.quantiser.dim != dim:
            raise CorruptIndexError(
                f"{file.path}: the codes are of other vectors. Build the index again"
            )
        self._factors = np.frombuffer(data, "<f2", n, end) if has_factors else None
        self._codes = np.frombuffer(data, np.uint8, n * width, begin).reshape(n, width)

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        effort: int,
        inside: range,
        allowed: NDArray[np.uint64] | None,
        threads: int,
    ) -> list[NDArray[np.int64] | None]:
        """The rows of the best codes for each query, ascending; None where those are all rows.

        Args:
            queries: as they are multiplied, shape (n, dim).
            k: at least 1.
            effort: candidates; no fewer than k are taken.
            inside: rows, not empty.
            allowed: a bit for each row; None for all.
            threads: queries, or rows for one query, are spread over this many; what is found does
                not depend on it.
        """
        wanted = max(k, effort)
        count = count_allowed(inside, allowed)
        if count <= wanted:
            return [None] * len(queries)
        parts = 1
        if len(queries) == 1:
            work = len(inside) * self.quantiser.code_bytes
            parts = max(1, min(threads, work // _WORTH_A_THREAD))
        bounds = [inside.start + len(inside) * p // parts for p in range(parts + 1)]
        tables = [self.quantiser.table(query)[None] for query in queries]

        def part(task: tuple[int, int]) -> _Best:
            query, p = task
            return self._scan(tables[query], wanted, range(bounds[p], bounds[p + 1]), allowed)

        tasks = [(query, p) for query in range(len(queries)) for p in range(parts)]
        if threads == 1 or len(tasks) == 1:
            found = list(map(part, tasks))
        else:
            with ThreadPoolExecutor(threads) as pool:
                found = list(pool.map(part, tasks))
        rows: list[NDArray[np.int64] | None] = []
        for query in range(len(queries)):
            own = found[query * parts : (query + 1) * parts]
            best = _joined(own).keep(wanted) if parts > 1 else own[0]
            rows.append(np.sort(best.rows))
        return rows

    def _scan(
        self,
        table: NDArray[np.float32],
        wanted: int,
        inside: range,
        allowed: NDArray[np.uint64] | None,
    ) -> _Best:
        held = [_Best(np.empty(0, np.int64), np.empty(0, np.float32))]
        n_held, floor = 0, np.float32(-np.inf)
        for begin in range(inside.start, inside.stop, _BLOCK_ROWS):
            end = min(begin + _BLOCK_ROWS, inside.stop)
            rows = None
            codes = self._codes[begin:end]
            factors = None if self._factors is None else self._factors[begin:end]
            mask = None if allowed is None else unpack(allowed, begin, end)
            if mask is not None and _FEW * np.count_nonzero(mask) <= end - begin:
                rows, mask = np.flatnonzero(mask), None
                codes = codes[rows]
                factors = None if factors is None else factors[rows]
            scores = kernels.code_scores(codes, table)[0]
            if factors is not None:
                scores *= factors
            good = scores >= floor
            if mask is not None:
                good &= mask
            places = np.flatnonzero(good)
            held.append(_Best((places if rows is None else rows[places]) + begin, scores[places]))
            n_held += len(places)
            if n_held >= wanted + _MARGIN:
                held = [_joined(held).keep(wanted)]
                n_held, floor = wanted, held[0].scores.min()
        return _joined(held).keep(wanted)


class _Best(NamedTuple):
    """Rows, and the scores of their codes."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]

    def keep(self, n: int) -> _Best:
        """The best n: larger scores, then smaller rows."""
        if len(self.rows) <= n:
            return self
        least = np.partition(self.scores, -n)[-n]
        better = np.flatnonzero(self.scores > least)
        equal = np.flatnonzero(self.scores == least)
        first = equal[np.argsort(self.rows[equal], kind="stable")[: n - len(better)]]
        kept = np.concatenate([better, first])
        return _Best(self.rows[kept], self.scores[kept])


def _joined(parts: Iterable[_Best]) -> _Best:
    parts = list(parts)
    return _Best(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )
