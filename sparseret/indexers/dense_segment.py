"""Segments of dense vectors: one immutable file each, searched exactly, by faiss, or by codes.

A segment holds vectors of the documents of one flush or merge, in ascending order of document
number, so that a filter on the field by which an index is ordered is a range of rows. Vectors are
stored as they are scored: normalised where the metric is cosine, rounded where the precision is
float16. A vector of zeros, which an empty text may have, is stored and is never a hit; a query of
zeros has no hits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import ConfigurationError, VectorError
from sparseret.indexers.dense_ann import ApproximateIndex
from sparseret.indexers.dense_codes import CodeIndex, code_kind
from sparseret.indexers.dense_exact import (
    DenseHits,
    Vectors,
    as_rows,
    euclidean_norms,
    normalised,
    product_errors,
    rank_rows,
    scan,
)
from sparseret.indexers.dense_file import (
    DenseFile,
    damaged_arrays,
    read_dense_file,
)
from sparseret.indexers.dense_settings import DenseKind, DenseSettings
from sparseret.indexers.dense_writing import SegmentRows, rounded, stretches, write_rows
from sparseret.indexers.quantiser import CodeKind, Quantiser
from sparseret.indexers.read_ahead import read_ahead

__all__ = [
    "DenseSegment",
    "merge_dense",
    "read_dense_segment",
    "verify_dense_segment",
    "write_dense_segment",
]

_NO_HITS = DenseHits(np.empty(0, np.int64), np.empty(0, np.float32))


class DenseSegment:
    """An open segment, searchable from any thread.

    Args:
        file: as :func:`read_dense_segment` opens it.
    """

    def __init__(self, file: DenseFile) -> None:
        self.file = file
        self.numbers = file.numbers
        """Document numbers, int64, ascending, shape (n_docs,)."""
        self.vectors = file.vectors
        """As they are scored, mapped, shape (n_docs, dim)."""
        self.settings = file.settings
        self.built: DenseKind = file.built
        """What the segment is searched by: ``flat`` where it is too small for the settings."""

    @property
    def path(self) -> Path:
        """The file."""
        return self.file.path

    def damaged(self) -> list[str]:
        """Names of the arrays whose checksum is wrong; reads the whole file."""
        return damaged_arrays(self.file)

    @property
    def n_docs(self) -> int:
        """Number of documents."""
        return len(self.numbers)

    @property
    def dim(self) -> int:
        """Values of a vector."""
        return int(self.vectors.shape[1])

    def search(
        self,
        queries: Any,
        k: int,
        *,
        allowed: NDArray[np.uint64] | None = None,
        inside: range | None = None,
        effort: int | None = None,
        threads: int = 1,
    ) -> list[DenseHits]:
        """The best k rows for each query: larger scores first, then smaller rows.

        Scores are inner products of the stored vectors and the queries, exact but for their
        rounding to float32 (:mod:`sparseret.indexers.dense_exact`), whether the rows were found
        exactly or not. Neither they nor the rows depend on other queries or on ``threads``.

        Args:
            queries: shape (n, dim), finite.
            k: at least 1; fewer rows are returned where fewer can be hits.
            allowed: a bit for each row, packed from the lowest, shape (ceil(n_docs / 64),); None
                for all.
            inside: consecutive rows, outside of which there is no hit; None for all.
            effort: None for an exact search, which reads every row inside. Otherwise how much an
                approximate search does: for ``hnsw``, how many nodes of the graph it explores
                (efSearch), for ``ivf-pq``, how many lists it reads (nprobe), for ``binary`` and
                ``pq``, how many vectors are read. Under a filter graph and lists do more, in
                proportion. A flat segment is always searched exactly, and so is any where
                that costs less: within narrow ranges, and among few allowed rows.
            threads: the work is spread over this many threads. For batches of queries, BLAS
                behind NumPy may use threads of its own, which its environment variables set.

        Raises:
            ConfigurationError: k, allowed, inside, effort or threads that cannot be.
            VectorError: queries of another width, not finite, or with scores beyond float32.
            CorruptIndexError: an approximate search found the structure altered.
            MissingExtraError: an approximate search needs faiss.
        """
        for name, value in (("k", k), ("threads", threads), ("effort", effort)):
            if not (name == "effort" and value is None):
                _check_count(name, value)
        rows = as_rows(queries, self.dim, "queries")
        if self.settings.metric == "cosine":
            rows = normalised(rows)
        errors = product_errors(rows, self.file.largest_norm)
        mask = self._mask(allowed)
        within = self._within(inside)
        if not within:
            return [_NO_HITS] * len(rows)
        asked = np.asarray(rows.any(axis=1))
        if asked.all():
            return self._ranked(rows, errors, k, effort, within, mask, threads)
        found = iter(self._ranked(rows[asked], errors[asked], k, effort, within, mask, threads))
        return [next(found) if ask else _NO_HITS for ask in asked.tolist()]

    def _ranked(
        self,
        queries: NDArray[np.float32],
        errors: NDArray[np.float64],
        k: int,
        effort: int | None,
        inside: range,
        allowed: NDArray[np.uint64] | None,
        threads: int,
    ) -> list[DenseHits]:
        """:meth:`search` of queries as they are multiplied, none of them zero."""
        k = min(k, self.n_docs)
        if effort is None or self.built == "flat":
            return scan(self.vectors, queries, k, errors, inside, allowed, threads)
        candidates = self._approximate.search(queries, k, int(effort), inside, allowed, threads)
        left = [q for q, rows in enumerate(candidates) if rows is None]
        found: Iterator[DenseHits] = iter(())
        if left:
            found = iter(
                self._ranked(queries[left], errors[left], k, None, inside, allowed, threads)
            )
        hits: list[DenseHits] = []
        for q, (rows, query) in enumerate(zip(candidates, queries, strict=True)):
            for coming in candidates[q and q + 1 : q + 2]:  # the next, and first of all the first
                self._read_ahead(coming)
            hits.append(next(found) if rows is None else rank_rows(self.vectors, rows, query, k))
        return hits

    def _read_ahead(self, rows: NDArray[np.int64] | None) -> None:
        """Have vectors of candidates by codes read; those of others were compared already."""
        if rows is not None and self._codes is not None:
            row_bytes = self.dim * self.vectors.itemsize
            read_ahead(self.file.mapped, self.file.vectors_begin, row_bytes, rows)

    # --- details -------------------------------------------------------------------------------

    def _within(self, inside: range | None) -> range:
        if inside is None:
            return range(self.n_docs)
        if inside.step != 1:
            raise ConfigurationError(f"inside must be consecutive rows, got {inside!r}")
        return range(max(0, inside.start), min(self.n_docs, inside.stop))

    def _mask(self, allowed: NDArray[np.uint64] | None) -> NDArray[np.uint64] | None:
        """Rows that can be hits, as a bitmap; None for all."""
        if allowed is None:
            return self._possible
        words = -(-self.n_docs // 64)
        if allowed.dtype != np.uint64 or allowed.shape != (words,):
            raise ConfigurationError(
                f"allowed must be a bitmap of {self.n_docs} rows, uint64 of shape ({words},), got "
                f"{allowed.dtype} of shape {allowed.shape}"
            )
        if self._possible is None:
            return np.ascontiguousarray(allowed)
        return allowed & self._possible

    @cached_property
    def _approximate(self) -> ApproximateIndex | CodeIndex:
        return ApproximateIndex(self.file) if self._codes is None else CodeIndex(self.file)

    @property
    def _codes(self) -> CodeKind | None:
        """Which codes it is searched by, if by codes."""
        return None if self.built == "flat" else code_kind(self.settings)

    @cached_property
    def _possible(self) -> NDArray[np.uint64] | None:
        """Rows that are not zero, as a bitmap; None where all are not."""
        if not len(self.file.zeros):
            return None
        mask = np.zeros(-(-self.n_docs // 64) * 64, bool)
        mask[: self.n_docs] = True
        mask[self.file.zeros] = False
        return np.packbits(mask, bitorder="little").view(np.uint64)


def write_dense_segment(
    path: Path,
    numbers: NDArray[np.int64],
    vectors: Any,
    settings: DenseSettings,
    *,
    threads: int = 1,
    quantiser: Quantiser | None = None,
) -> tuple[int, int]:
    """Write and fsync a new file; returns its size in bytes and the CRC-32 of its header.

    A segment of fewer than 2,000 vectors, or 10,000 for ``ivf-pq``, is flat whatever the settings:
    comparing all of them is as fast, and quantisers need as many to be trained. While a graph or
    lists are built, a float32 copy of all vectors is held in memory; for light codes, a sample.

    Args:
        path: must not exist.
        numbers: of the documents, int64, ascending, shape (n,).
        vectors: shape (n, dim), finite in float32; read twice or more, block by block, so that
            they may be memory-mapped.
        settings: of the index.
        threads: that build a graph. With one, the same input gives the same file; with more, a
            graph as good, but another one each time.
        quantiser: of light codes, learned; None to fit one to these vectors.

    Raises:
        VectorError: another shape, or values that are not finite or that the precision cannot hold.
        ConfigurationError: document numbers that do not ascend, or settings that do not go with
            the dimension.
        MissingExtraError: the settings need faiss.
        StorageError: the file exists, the disk is full, or the system refuses otherwise; no
            partial file is left.
    """
    source = vectors if hasattr(vectors, "shape") else np.asarray(vectors)
    if len(source.shape) != 2 or not source.shape[1] or source.shape[0] != len(numbers):
        raise VectorError(f"vectors: shape {source.shape}, expected ({len(numbers)}, dim)")
    dim = int(source.shape[1])

    def blocks() -> Iterator[Vectors]:
        for begin, end in stretches(len(numbers), dim):
            rows = as_rows(source[begin:end], dim, "vectors", begin)
            if settings.metric == "cosine":
                rows = normalised(rows)
            yield rounded(rows, settings, begin)

    _check_count("threads", threads)
    rows = SegmentRows(numbers, dim, blocks)
    return write_rows(path, rows, settings, threads, quantiser)


def read_dense_segment(path: Path, *, size: int, header_crc: int) -> DenseSegment:
    """Map a segment file into memory. Only the header is read and checked now.

    Args:
        path: the file.
        size: its size in bytes, as :func:`write_dense_segment` returned it.
        header_crc: CRC-32 of its header, likewise.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptIndexError: truncated, altered or not a dense segment.
        IncompatibleIndexError: written by a newer version of sparseret.
    """
    return DenseSegment(read_dense_file(path, size=size, header_crc=header_crc))


def verify_dense_segment(segment: DenseSegment) -> list[str]:
    """What is wrong with a segment, one line a problem; reads the whole file."""
    file = segment.file
    damaged = damaged_arrays(file)
    if damaged:
        return [f"checksum of {', '.join(damaged)} is wrong: restore the file from a backup"]
    problems = []
    if not (np.diff(file.numbers) > 0).all():
        problems.append("document numbers do not ascend")
    zeros: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    for begin, end in stretches(segment.n_docs, segment.dim):
        norms = euclidean_norms(file.vectors[begin:end])
        if not (norms <= file.largest_norm).all():
            problems.append(f"a vector from row {begin} on is not finite, or longer than any was")
        zeros.append(np.flatnonzero(norms == 0) + begin)
    if not np.array_equal(np.concatenate(zeros), file.zeros):
        problems.append("other vectors are zero than the segment says")
    return problems


def merge_dense(
    parts: Sequence[tuple[DenseSegment, NDArray[np.bool_] | None]],
    path: Path,
    settings: DenseSettings,
    *,
    threads: int = 1,
    quantiser: Quantiser | None = None,
) -> tuple[int, int]:
    """One segment of the live documents of several; what writing them at once would have given.

    Args:
        parts: segments with ascending, disjoint ranges of document numbers, at least one, each with
            a mask of its live documents, shape (n_docs,), or None where all are.
        path: must not exist.
        settings: of the index; the metric has to be that of the parts.
        threads: as of :func:`write_dense_segment`.
        quantiser: as well.

    Returns:
        As :func:`write_dense_segment`.

    Raises:
        ConfigurationError: parts of different dimensions or of another metric; a mask that does not
            fit its part.
        MissingExtraError: the settings need faiss.
        StorageError: as :func:`write_dense_segment`.
    """
    dims = {segment.dim for segment, _ in parts}
    if len(dims) != 1 or {segment.settings.metric for segment, _ in parts} != {settings.metric}:
        raise ConfigurationError(
            f"segments to be merged need one dimension and the metric {settings.metric}: got "
            f"dimensions {sorted(dims)} and "
            f"{sorted({segment.settings.metric for segment, _ in parts})}"
        )
    for segment, live in parts:
        if live is not None and (live.dtype != bool or live.shape != (segment.n_docs,)):
            raise ConfigurationError(
                f"a mask of {segment.n_docs} documents must be bool of shape ({segment.n_docs},), "
                f"got {live.dtype} of shape {live.shape}"
            )
    dim = dims.pop()
    numbers = [s.numbers if live is None else s.numbers[live] for s, live in parts]

    def blocks() -> Iterator[Vectors]:
        at = 0
        for segment, live in parts:
            for begin, end in stretches(segment.n_docs, dim):
                rows = segment.vectors[begin:end]
                if live is not None:
                    rows = rows[live[begin:end]]
                yield rounded(rows.astype(np.float32, copy=False), settings, at)
                at += len(rows)

    _check_count("threads", threads)
    rows = SegmentRows(np.concatenate(numbers), dim, blocks)
    return write_rows(path, rows, settings, threads, quantiser)


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ConfigurationError(f"{name} must be a whole number, at least 1, got {value!r}")
