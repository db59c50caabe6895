"""What faiss builds for a dense segment, and approximate search by it.

The structure is kept as faiss serialises it. It is read from mapped memory without a copy: for a
graph, the stretch of the file that ends with the vectors, which faiss lays out last; for inverted
lists, the structure alone.

A filter is given to faiss as a selector. A graph is walked, and lists are read, as if there were no
filter, so that among few allowed rows most of the work is for nothing: the effort is raised by the
share of rows that are allowed, and again until enough of them were met. This is post-filtering with
a growing number of candidates (Engels, Landrum, Yu, Dhulipala and Shun, "Approximate Nearest
Neighbor Search with Window Filters", 2024). Where it would cost more than comparing the query with
every allowed row, the caller is told so and does that, which is exact.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import ConfigurationError, CorruptIndexError, MissingExtraError
from sparseret.indexers.dense_exact import Vectors, count_allowed
from sparseret.indexers.dense_file import DenseFile, check_structure
from sparseret.indexers.dense_settings import DenseKind, DenseSettings

__all__ = ["ApproximateIndex", "Builder", "built_kind", "require_faiss"]

_LEAST = {"flat": 0, "hnsw": 2_000, "ivf-pq": 10_000, "binary": 2_000, "pq": 2_000}
"""Vectors below which a segment is flat. 256 centroids need 39 vectors each, as faiss has it."""
_PER_LIST = 39
_PER_LIST_TRAINED = 64
"""Vectors a list that centroids are learned of at most."""
_TRAINED = 2**16
"""Vectors that they are learned of at least, where there are as many."""
_SEED = 1234
_ADDED = 2**14
"""Vectors that a graph takes at a time."""
_REFINED = 10
"""Candidates of product-quantised codes that are scored exactly, for each result."""
_SPARE = 8
"""Candidates of a graph beyond k: its scores are rounded otherwise."""
_NARROWER = 0.65
"""How the nodes of a graph that must be explored for the same recall grow as fewer rows are
allowed: by the share of those, to this power. Measured on 50,000 vectors: a recall of 0.95 took 32
nodes among all, 160 among a 16th and 400 among a 64th of them."""
_GRAPH_COST = 1.0
_CODE_COST = 0.35
_SKIP_COST = 0.05
"""What faiss does, in rows that an exact search would read in that time: for each of ``effort * m``
in a graph; for each allowed, and each other, code of the lists that are read."""


def built_kind(settings: DenseSettings, n: int) -> DenseKind:
    """What a segment of n vectors is searched by: ``flat`` where n is small.

    A graph and light codes are made of 2,000 vectors or more, inverted lists of 10,000 or more,
    which product quantisation needs to be trained.
    """
    return settings.kind if n >= _LEAST[settings.kind] else "flat"


def require_faiss(settings: DenseSettings) -> None:
    """Check, before the first segment, that large ones can be built. Raises MissingExtraError."""
    if settings.kind in ("hnsw", "ivf-pq"):
        _import_faiss()


class Builder:
    """Makes the structure of a segment that is not flat; holds a copy of its vectors meanwhile.

    Args:
        settings: of the index.
        n: vectors that will be added.
        dim: their width.
        threads: for a graph. With more than one, it is as good, but not the same each time.

    Raises:
        MissingExtraError: faiss is not installed.
        ConfigurationError: settings that do not go with the dimension.
    """

    def __init__(self, settings: DenseSettings, n: int, dim: int, threads: int) -> None:
        self._faiss = _import_faiss()
        self._settings = settings
        self._graph = settings.kind == "hnsw"
        self._threads = threads if self._graph else 1
        # A graph depends on which vectors come together, so that is not left to the caller.
        self._waiting = np.empty((min(n, _ADDED) if self._graph else n, dim), np.float32)
        self._n_waiting = 0
        if self._graph:
            self._index = self._make_graph(n, dim)
        else:
            n_lists = settings.n_lists or round(4 * math.sqrt(n))
            self._index = self._make_lists(max(1, min(n_lists, n // _PER_LIST)), dim)

    def _make_graph(self, n: int, dim: int) -> Any:
        faiss, settings = self._faiss, self._settings
        inner_product = faiss.METRIC_INNER_PRODUCT
        if settings.precision == "float16":
            half = faiss.ScalarQuantizer.QT_fp16
            index = faiss.IndexHNSWSQ(dim, half, settings.m, inner_product)
        else:
            index = faiss.IndexHNSWFlat(dim, settings.m, inner_product)
        index.hnsw.efConstruction = settings.ef_construction
        # Room for all, once: a vector that grows is copied, and holds up to twice as much.
        codes = faiss.downcast_index(index.storage).codes
        codes.resize(n * dim * np.dtype(settings.precision).itemsize)
        codes.clear()
        return index

    def _make_lists(self, n_lists: int, dim: int) -> Any:
        faiss = self._faiss
        index = faiss.IndexIVFPQ(
            faiss.IndexFlatIP(dim), dim, n_lists, self._settings.codes_for(dim), 8,
            faiss.METRIC_INNER_PRODUCT,
        )  # fmt: skip
        for clustering in (index.cp, index.pq.cp):
            clustering.seed = _SEED
        index.cp.max_points_per_centroid = _PER_LIST_TRAINED
        return index

    def add(self, block: Vectors) -> None:
        """Take the next vectors, as they are stored."""
        taken = 0
        while taken < len(block):
            some = block[taken : taken + len(self._waiting) - self._n_waiting]
            self._waiting[self._n_waiting : self._n_waiting + len(some)] = some
            self._n_waiting += len(some)
            taken += len(some)
            if self._graph and self._n_waiting == len(self._waiting):
                self._add_waiting()

    def _add_waiting(self) -> None:
        with _faiss_threads(self._faiss, self._threads):
            self._index.add(self._waiting[: self._n_waiting])
        self._n_waiting = 0

    def finish(self, vectors: tuple[int, int]) -> list[bytes]:
        """The structure, in pieces.

        Args:
            vectors: number of bytes and CRC-32 of the stored vectors, which a graph ends with.

        Raises:
            ConfigurationError: this version of faiss lays a graph out in another way.
        """
        if not self._graph:
            n = len(self._waiting)
            some = min(n, max(_TRAINED, _PER_LIST_TRAINED * self._index.nlist))
            sample = self._waiting[np.linspace(0, n - 1, some).astype(np.int64)]
            with _faiss_threads(self._faiss, 1):
                self._index.train(sample)
            self._add_waiting()
            return self._serialised(0)[0]
        if self._n_waiting:
            self._add_waiting()
        n_bytes, crc = vectors
        pieces, crc_behind = self._serialised(n_bytes)
        if crc_behind != crc:
            raise ConfigurationError(
                f"faiss {self._faiss.__version__} keeps the vectors of a graph in a way that this "
                "sparseret does not know: install another version, or use kind='flat'"
            )
        return pieces

    def _serialised(self, behind: int) -> tuple[list[bytes], int]:
        """All but the last ``behind`` bytes, and the CRC-32 of those."""
        total = 0

        def count(piece: bytes) -> int:
            nonlocal total
            total += len(piece)
            return len(piece)

        self._write(count)
        pieces: list[bytes] = []
        left, crc = total - behind, 0

        def take(piece: bytes) -> int:
            nonlocal left, crc
            pieces.append(piece[:left])
            crc = zlib.crc32(piece[left:], crc)
            left -= len(pieces[-1])
            return len(piece)

        self._write(take)
        return pieces, crc

    def _write(self, receive: Any) -> None:
        self._faiss.write_index(self._index, self._faiss.PyCallbackIOWriter(receive, 1 << 20))


class ApproximateIndex:
    """The structure of an open segment; it is read, and its checksum checked, when it is made.

    Args:
        file: of a segment that is not flat.

    Raises:
        MissingExtraError: faiss is not installed.
        CorruptIndexError: the structure was altered, or faiss cannot read it.
    """

    def __init__(self, file: DenseFile) -> None:
        self._faiss = _import_faiss()
        check_structure(file, file.structure.data)  # faiss trusts what it reads
        self._is_graph = file.built == "hnsw"
        self._m = file.settings.m
        self._bytes = file.joined if self._is_graph else file.structure
        reader = self._faiss.ZeroCopyIOReader(self._faiss.swig_ptr(self._bytes), len(self._bytes))
        try:
            self._index = self._faiss.read_index(reader)
        except RuntimeError as error:
            raise CorruptIndexError(
                f"{file.path}: faiss {self._faiss.__version__} cannot read its structure "
                f"({error}). Upgrade faiss-cpu, or build the index again"
            ) from error
        if (self._index.ntotal, self._index.d) != file.vectors.shape:
            raise CorruptIndexError(
                f"{file.path}: the structure is of other vectors. Build the index again"
            )

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        effort: int,
        inside: range,
        allowed: NDArray[np.uint64] | None,
        threads: int,
    ) -> list[NDArray[np.int64] | None]:
        """Candidates for each query, in no order; None where an exact search costs less.

        Args:
            queries: as they are multiplied, shape (n, dim).
            k: at least 1.
            effort: of a search without filters: nodes of a graph, or lists.
            inside: rows, not empty.
            allowed: a bit for each row; None for all.
            threads: queries are spread over this many; what is found does not depend on it.
        """
        n = int(self._index.ntotal)
        count = count_allowed(inside, allowed)
        if count <= k:
            return [None] * len(queries)
        selector = _Selector(self._faiss, n, inside, allowed)
        one = self._nodes if self._is_graph else self._codes

        def found(query: NDArray[np.float32]) -> NDArray[np.int64] | None:
            # One by one: in a batch, faiss may round the distances to centroids otherwise.
            return one(query[None], k, effort, n, count, selector.selector)

        if threads == 1 or len(queries) == 1:
            with _faiss_threads(self._faiss, 1):
                return [found(query) for query in queries]
        setting = self._faiss.omp_set_num_threads
        with ThreadPoolExecutor(threads, initializer=setting, initargs=(1,)) as pool:
            return list(pool.map(found, queries))

    def _nodes(
        self, query: NDArray[np.float32], k: int, effort: int, n: int, count: int, selector: Any
    ) -> NDArray[np.int64] | None:
        wanted = min(max(k + _SPARE, effort if selector else 0), count)
        nodes = math.ceil(max(effort, k) * (n / count) ** _NARROWER)
        while nodes * self._m * _GRAPH_COST < count:
            params = self._faiss.SearchParametersHNSW(efSearch=nodes, sel=selector)
            rows = self._rows(query, wanted, params)
            if len(rows) >= wanted or not selector:
                return rows[: k + _SPARE]  # best first
            nodes *= 2
        return None

    def _codes(
        self, query: NDArray[np.float32], k: int, effort: int, n: int, count: int, selector: Any
    ) -> NDArray[np.int64] | None:
        wanted = min(max(_REFINED * k, _REFINED * _REFINED), count)
        n_lists = int(self._index.nlist)
        lists = min(n_lists, math.ceil(effort * n / count))
        while True:
            share = lists / n_lists
            cost = share * (count * _CODE_COST + n * _SKIP_COST) + n_lists + wanted
            if cost >= count:
                return None
            params = self._faiss.SearchParametersIVF(nprobe=lists, sel=selector)
            rows = self._rows(query, wanted, params)
            if len(rows) >= min(wanted, 2 * k) or lists == n_lists:
                return rows
            lists = min(n_lists, 2 * lists)

    def _rows(self, query: NDArray[np.float32], wanted: int, params: Any) -> NDArray[np.int64]:
        _, rows = self._index.search(query, wanted, params=params)
        found: NDArray[np.int64] = rows[0][rows[0] >= 0]
        return found


class _Selector:
    """Allowed rows as faiss takes them; keeps alive what it points to."""

    def __init__(
        self, faiss: Any, n: int, inside: range, allowed: NDArray[np.uint64] | None
    ) -> None:
        self._parts: list[Any] = []
        if len(inside) < n:
            self._parts.append(faiss.IDSelectorRange(inside.start, inside.stop))
        if allowed is not None:
            self._bits = np.ascontiguousarray(allowed).view(np.uint8)
            self._parts.append(faiss.IDSelectorBitmap(self._bits))
        if len(self._parts) == 2:
            self._parts.append(faiss.IDSelectorAnd(*self._parts))
        self.selector = self._parts[-1] if self._parts else None


def _import_faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError(
            "faiss-cpu", "hybrid", "graphs and inverted lists of dense vectors"
        ) from error
    return faiss


@contextmanager
def _faiss_threads(faiss: Any, threads: int) -> Iterator[None]:
    """Let faiss use so many threads of its own, when called from this one."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
