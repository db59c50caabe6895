"""Top-k by overlap among binary codes that lie in memory, complete and exact.

The overlap of two codes is how many active cells they share, x . y. Two layouts find the same:

========  ===================================  ===========================================
layout    bytes a code                         a query reads
========  ===================================  ===========================================
lists     2 a, and 4 n a block of 2^15 codes   2 bytes a posting of its active cells
bits      n / 8, n in multiples of 256         all bits of all codes
========  ===================================  ===========================================

With n cells of which a are active, a query of a active cells meets a * a / n postings a code in
the lists: 0.8 where n = 2,048 and a = 40, which is 1.6 bytes against 256. Lists lose where codes
or queries are dense, such as unions. What a posting and a word cost is measured when an index is
built, on its own codes, and decides which layout is kept or, where both are, which is searched.
"""

from __future__ import annotations

import math
import os
import time
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import (
    ConfigurationError,
    CorruptIndexError,
    IncompatibleIndexError,
    IndexNotFoundError,
    VectorError,
)
from sparseret.indexers.search import check_count
from sparseret.kernels.sdr import BLOCK_BITS, MAX_ACTIVE, MAX_CELLS, SdrBits, SdrLists, SdrRanking
from sparseret.vectors import check_binary

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Layout", "ScanCosts", "SdrIndex", "SdrMatches"]

Layout = Literal["cheaper", "both", "lists", "bits"]

_FORMAT, _VERSION = "sparseret-sdr", 1
_SAMPLE_CODES, _SAMPLE_POSTINGS, _SAMPLE_QUERIES = 2**17, 2**22, 8
_CODES_A_POSTING = 16  # looking at that many counters takes about as long as a posting
_MOST_HITS = 2**62
_CORES = os.cpu_count() or 1


class SdrMatches(NamedTuple):
    """The best codes of each query, best first; ties in the order of the codes.

    A row holds fewer than k entries where fewer codes reach the threshold.
    """

    numbers: list[NDArray[np.int64]]
    """Numbers of the codes, in the order they were given, one array a query."""
    overlaps: list[NDArray[np.int32]]
    """Active cells that query and code share, parallel to ``numbers``."""


class ScanCosts(NamedTuple):
    """What the two layouts cost on this machine, measured on codes of the index."""

    posting: float
    """Nanoseconds a posting that is read in the lists."""
    word: float
    """Nanoseconds a word of 64 cells that is read in the bits."""


class SdrIndex:
    """Binary codes, searched by overlap. Make one with :meth:`build` or :meth:`load`.

    It holds numbers, not ids or documents, and is built at once: for codes that come and go, with
    ids and metadata, :class:`sparseret.InvertedIndex` takes the same rows.
    """

    def __init__(
        self,
        n_codes: int,
        n_cells: int,
        frequencies: NDArray[np.int64],
        costs: ScanCosts,
        lists: SdrLists | None,
        bits: SdrBits | None,
    ) -> None:
        self.n_codes, self.n_cells = n_codes, n_cells
        self.frequencies = frequencies
        """Codes in which each cell is active, int64, shape (n_cells,)."""
        self.costs = costs
        self.lists, self.bits = lists, bits

    @classmethod
    def build(cls, codes: csr_array, *, keep: Layout = "cheaper") -> SdrIndex:
        """Make an index.

        Args:
            codes: binary, shape (n_codes, n_cells): any scipy sparse array of zeros and ones.
            keep: "lists" or "bits"; "cheaper" keeps what a query like the codes themselves costs
                less in; "both" keeps both, and chooses for each query.

        Raises:
            ConfigurationError: another ``keep``.
            VectorError: values other than 0 and 1, no cells or more than 2**20, or a code with
                more than 65,535 active cells.
        """
        if keep not in get_args(Layout):
            raise ConfigurationError(f"keep {keep!r} is not one of {', '.join(get_args(Layout))}")
        rows = check_binary(codes)
        n_codes, n_cells = rows.shape
        if not 1 <= n_cells <= MAX_CELLS:
            raise VectorError(f"codes have {n_cells} cells; from 1 to {MAX_CELLS:,} are possible")
        active = np.diff(rows.indptr)
        if active.max(initial=0) > MAX_ACTIVE:
            raise VectorError(
                f"code {int(np.argmax(active))} has {active.max()} active cells; at most "
                f"{MAX_ACTIVE:,} are possible: make the codes sparser"
            )
        frequencies = np.bincount(rows.indices, minlength=n_cells).astype(np.int64)
        costs = _measure(rows)
        if keep == "cheaper":
            # Queries drawn from the codes: a cell is met as often as it is active.
            postings = float((frequencies.astype(np.float64) ** 2).sum()) / max(n_codes, 1)
            likely = _costs(costs, postings, n_codes, n_cells)
            keep = "lists" if likely[0] <= likely[1] else "bits"
        return cls(
            n_codes,
            n_cells,
            frequencies,
            costs,
            SdrLists.build(rows) if keep != "bits" else None,
            SdrBits.build(rows) if keep != "lists" else None,
        )

    def __len__(self) -> int:
        return self.n_codes

    @property
    def bytes_per_code(self) -> float:
        """Memory of lists, bits and counts by cell, divided by the number of codes; 0 without."""
        held = self.frequencies.nbytes + sum(layout.n_bytes for layout in self._layouts)
        return held / self.n_codes if self.n_codes else 0.0

    def search(
        self, queries: csr_array, k: int = 10, *, threshold: int = 1, threads: int | None = None
    ) -> SdrMatches:
        """The k codes that share most active cells with each query.

        Args:
            queries: binary, shape (n_queries, n_cells).
            k: matches a query, at least 1.
            threshold: smallest overlap of a match, at least 1
                (:func:`sparseret.encoders.sdr_theory.choose_threshold`).
            threads: queries are spread over this many, by default over all processors; results do
                not depend on it.

        Raises:
            ConfigurationError: k, threshold or threads below 1.
            VectorError: values other than 0 and 1, or another number of columns.
        """
        check_count("k", k)
        check_count("threshold", threshold)
        if threads is not None:
            check_count("threads", threads)
        rows = check_binary(queries, dim=self.n_cells)
        if threshold > self.n_cells:
            threshold = self.n_cells + 1  # none has as much, and the kernel counts to 2**32
        count = threads or _CORES
        most = min(k, _MOST_HITS)
        if self.lists is None or self.bits is None:
            only = self._layouts[0]
            ranking = only.search(rows, most, threshold=threshold, threads=count)
            return SdrMatches(*_by_query(ranking))
        numbers: list[NDArray[np.int64]] = [np.empty(0, np.int64)] * rows.shape[0]
        overlaps: list[NDArray[np.int32]] = [np.empty(0, np.int32)] * rows.shape[0]
        by_lists = self._by_lists(rows)
        for layout, chosen in ((self.lists, by_lists), (self.bits, ~by_lists)):
            places = np.flatnonzero(chosen)
            if len(places):
                part = rows if len(places) == rows.shape[0] else check_binary(rows[places])
                ranking = layout.search(part, most, threshold=threshold, threads=count)
                for place, own, shared in zip(places.tolist(), *_by_query(ranking), strict=True):
                    numbers[place], overlaps[place] = own, shared
        return SdrMatches(numbers, overlaps)

    @property
    def _layouts(self) -> list[SdrLists | SdrBits]:
        return [layout for layout in (self.lists, self.bits) if layout is not None]

    def _by_lists(self, queries: csr_array) -> NDArray[np.bool_]:
        """Which queries cost less by lists, shape (n_queries,)."""
        met = np.concatenate(([0], np.cumsum(self.frequencies[queries.indices])))
        postings = np.diff(met[queries.indptr]).astype(np.float64)
        lists, bits = _costs(self.costs, postings, self.n_codes, self.n_cells)
        return np.asarray(lists <= bits)

    def save(self, path: str | Path) -> None:
        """Write one file of safetensors: the new one is there whole, or what was there stays.

        Raises:
            OSError: the file cannot be written.
        """
        from safetensors.numpy import save_file

        target = Path(path)
        arrays: dict[str, NDArray[Any]] = {"frequencies": self.frequencies}
        if self.lists is not None:
            arrays |= {"lists.docs": self.lists.docs, "lists.ptr": self.lists.ptr,
                       "lists.blocks": self.lists.blocks}  # fmt: skip
        if self.bits is not None:
            arrays["bits.words"] = self.bits.words
        metadata = {
            "format": _FORMAT,
            "version": str(_VERSION),
            "n_codes": str(self.n_codes),
            "n_cells": str(self.n_cells),
            "most_active": str(self.lists.most_active if self.lists is not None else 0),
            "block_bits": str(BLOCK_BITS),
            "posting_ns": repr(self.costs.posting),
            "word_ns": repr(self.costs.word),
            "sha256": _digest(arrays),
        }
        new = target.with_name(f"{target.name}.new")
        try:
            save_file(arrays, new, metadata=metadata)
            with new.open("rb+") as written:
                os.fsync(written.fileno())
            new.replace(target)
        finally:
            new.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> SdrIndex:
        """Read what :meth:`save` wrote, into memory.

        Raises:
            IndexNotFoundError: there is no such file.
            CorruptIndexError: it is truncated, altered, or holds something else.
            IncompatibleIndexError: a newer version of sparseret wrote it.
        """
        from safetensors import SafetensorError, safe_open

        file = Path(path)
        if not file.is_file():
            raise IndexNotFoundError(f"{file}: no such file; SdrIndex.save writes one")
        try:
            with safe_open(file, framework="numpy") as opened:
                metadata = opened.metadata() or {}
                arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise CorruptIndexError(
                f"{file} cannot be read: {error}; restore it, or build the index again"
            ) from error
        try:
            return cls._restored(metadata, arrays)
        except (KeyError, TypeError, ValueError, CorruptIndexError) as error:
            raise CorruptIndexError(
                f"{file} is no sound SDR index: {error}; restore it, or build the index again"
            ) from error

    @classmethod
    def _restored(cls, metadata: dict[str, str], arrays: dict[str, NDArray[Any]]) -> SdrIndex:
        if metadata.get("format") != _FORMAT:
            raise CorruptIndexError("it holds something else")
        if int(metadata["version"]) > _VERSION:
            raise IncompatibleIndexError(
                f"written in version {metadata['version']} of the format, and this sparseret reads "
                f"up to {_VERSION}: upgrade it"
            )
        if metadata["sha256"] != _digest(arrays):
            raise CorruptIndexError("it was altered")
        n_codes, n_cells = int(metadata["n_codes"]), int(metadata["n_cells"])
        frequencies = arrays["frequencies"]
        if frequencies.dtype != np.int64 or frequencies.shape != (n_cells,):
            raise CorruptIndexError("counts of cells do not fit")
        lists = bits = None
        if "lists.docs" in arrays:
            docs, ptr, blocks = (arrays[f"lists.{name}"] for name in ("docs", "ptr", "blocks"))
            most, block_bits = int(metadata["most_active"]), int(metadata["block_bits"])
            lists = SdrLists(n_codes, n_cells, most, docs, ptr, blocks, block_bits)
        if "bits.words" in arrays:
            bits = SdrBits(n_codes, n_cells, arrays["bits.words"])
        if lists is None and bits is None:
            raise CorruptIndexError("it has neither lists nor bits")
        costs = ScanCosts(float(metadata["posting_ns"]), float(metadata["word_ns"]))
        return cls(n_codes, n_cells, frequencies, costs, lists, bits)


def _costs(costs: ScanCosts, postings: Any, n_codes: int, n_cells: int) -> tuple[Any, float]:
    """Nanoseconds by lists and by bits of queries that meet so many postings."""
    words = SdrBits.words_of(n_cells)
    return (postings + n_codes / _CODES_A_POSTING) * costs.posting, n_codes * words * costs.word


def _measure(codes: csr_array) -> ScanCosts:
    """Time both layouts on the first codes, which are put to themselves as queries."""
    if not codes.nnz:
        return ScanCosts(1.0, 1.0)
    share = min(1.0, _SAMPLE_POSTINGS / codes.nnz)
    sample = check_binary(codes[: min(_SAMPLE_CODES, math.ceil(codes.shape[0] * share))])
    n, n_cells = sample.shape
    places = np.unique(np.linspace(0, n - 1, _SAMPLE_QUERIES).astype(np.int64))
    queries = check_binary(sample[places])
    postings = float(np.bincount(sample.indices, minlength=n_cells)[queries.indices].sum())
    units = (postings + len(places) * n / _CODES_A_POSTING, len(places) * n)
    times = [_best_time(layout, queries) for layout in (SdrLists.build(sample),
                                                        SdrBits.build(sample))]  # fmt: skip
    return ScanCosts(times[0] / units[0], times[1] / (units[1] * SdrBits.words_of(n_cells)))


def _best_time(layout: SdrLists | SdrBits, queries: csr_array) -> float:
    """Nanoseconds of the faster of two searches, at least 1."""
    times = []
    for _ in range(2):
        start = time.perf_counter_ns()
        layout.search(queries, 10)
        times.append(time.perf_counter_ns() - start)
    return float(max(1, min(times)))


def _by_query(
    ranking: SdrRanking,
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int32]]]:
    ends = [0, *np.cumsum(ranking.counts).tolist()]
    return (
        [ranking.rows[begin:end] for begin, end in pairwise(ends)],
        [ranking.overlaps[begin:end] for begin, end in pairwise(ends)],
    )


def _digest(arrays: dict[str, NDArray[Any]]) -> str:
    digest = sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()
