"""The dense index: vectors of one width under string ids, top-k search, durable, transactional.

It is to dense vectors what :mod:`sparseret.indexers.inverted` is to sparse ones, over the same
catalog: ids, deletions, filters, commits and snapshots are the same. Exact search needs NumPy
alone; graphs and lists for approximate search are built by faiss (extra ``hybrid``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

from numpy.typing import ArrayLike

from sparseret.documents import Document
from sparseret.indexers.creation import LegSpec, create_folder
from sparseret.indexers.dense_ann import require_faiss
from sparseret.indexers.dense_calibration import DenseCalibration
from sparseret.indexers.dense_leg import DenseLeg
from sparseret.indexers.dense_settings import DenseSettings
from sparseret.indexers.filters import Filter
from sparseret.indexers.folder import IndexFolder, check_budget
from sparseret.indexers.search import check_count, search_snapshot
from sparseret.protocols import Hits

__all__ = ["DenseIndex"]


class DenseIndex(IndexFolder):
    """A folder (:class:`~sparseret.indexers.folder.IndexFolder`) of one leg of dense vectors.

    Use :meth:`create` or :meth:`open`. As a context manager it commits on a clean exit and forgets
    uncommitted changes after an exception.
    """

    def __init__(self, path: str | Path, memory_budget: int | None = None) -> None:
        super().__init__(path, None, memory_budget)
        self.check_kind(DenseLeg)
        self.leg = cast("DenseLeg", self.legs[0])
        self.space, self.dim, self.settings = self.leg.space, self.leg.dim, self.leg.settings

    @classmethod
    def create(
        cls,
        path: str | Path,
        dim: int,
        *,
        dense: DenseSettings | None = None,
        space: str = "custom",
        settings: Mapping[str, str] | None = None,
        filter_fields: Sequence[str] = (),
        order_by: str | None = None,
        memory_budget: int | None = None,
    ) -> DenseIndex:
        """Make an empty index in a new or empty folder.

        Args:
            path: the folder.
            dim: width of the vectors.
            dense: how they are kept, compared and searched.
            space: id of the vector space; opening with another is an error.
            settings: strings to keep with the index (:meth:`setting`).
            filter_fields: metadata fields to build an SQL index for, so that filters on them need
                not read every document.
            order_by: metadata field, a number or string in each document, that ascends from one
                added document to the next: a filter on it is a range of vectors.
            memory_budget: bytes that adding documents may take, by default 2**28.

        Raises:
            IndexExistsError: the folder holds an index or other files.
            FilterError: an ``order_by`` or filter field that cannot be indexed.
            ConfigurationError: a dim or budget that is no whole number from 1, or code_bytes that
                do not divide the dim.
            MissingExtraError: settings that need faiss, which is not installed.
        """
        check_budget(memory_budget)
        check_count("dim", dim)
        chosen = dense or DenseSettings()
        require_faiss(chosen)
        spec = LegSpec("", space, dim, dense=chosen)
        create_folder(Path(path), [spec], settings or {}, filter_fields, order_by)
        return cls(path, memory_budget)

    @classmethod
    def open(
        cls, path: str | Path, *, space: str | None = None, memory_budget: int | None = None
    ) -> DenseIndex:
        """Open an existing index; takes a snapshot of its last commit.

        Raises:
            IndexNotFoundError: no index there.
            IncompatibleIndexError: of another space, of sparse vectors, or of a newer format.
            CorruptIndexError: a file is missing, truncated or altered.
        """
        index = cls(path, memory_budget)
        if space is not None:
            index.check_spaces([space])
        return index

    def search(
        self,
        vectors: ArrayLike,
        k: int = 10,
        *,
        allow: Iterable[str] | None = None,
        where: Filter | str | None = None,
        exact: bool | None = None,
        recall: float | None = None,
        effort: int | None = None,
        threads: int | None = None,
    ) -> Hits:
        """Top-k by cosine or inner product among the live documents, exact unless told otherwise.

        Scores are products of stored vectors and queries, summed in float64 and rounded to float32,
        in either mode. Ties go to the document added first. Vectors and queries of zeros have no
        hits.

        Args:
            vectors: queries, finite, shape (n, dim).
            k: hits a query, at least 1; there are fewer where fewer match.
            allow: ids that may be returned; unknown ones are ignored. None allows all.
            where: metadata filter, as text or tree (:mod:`sparseret.indexers.filters`).
            exact: True for a scan of all vectors, which is the default.
            recall: 0.5 to 0.999: the cheapest search that found this share of the exact results
                when the index was calibrated (:meth:`tune`); ``mode`` of the result tells.
            effort: in place of ``recall``, ``efSearch`` of a graph or ``nprobe`` of lists.
            threads: None for one per core.

        Raises:
            VectorError, ConfigurationError, FilterError, CorruptIndexError
        """
        return search_snapshot(
            self.leg.snapshot, self.leg.check(vectors), k, allow=allow, where=where, exact=exact,
            recall=recall, effort=effort, threads=threads,
        )  # fmt: skip

    @property
    def calibration(self) -> DenseCalibration | None:
        """What :meth:`tune` measured; None if it never did."""
        return self.leg.calibration

    def tune(
        self,
        queries: ArrayLike | None = None,
        *,
        threads: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> DenseCalibration:
        """Measure which effort of approximate search reaches which recall, and keep that.

        Commits first. :meth:`merge` does this by itself where it is due.

        Args:
            queries: a sample of those to come, shape (n, dim); None takes some of the vectors.
            threads: None for one per core.
            progress: called with (efforts tried, efforts in all).

        Raises:
            ConfigurationError: flat vectors, which are always searched exactly.
            VectorError, IndexLockedError, StorageError
        """
        self.calibrate(self.leg, queries, threads=threads, progress=progress)
        return cast("DenseCalibration", self.calibration)

    def add(
        self,
        ids: Sequence[str],
        vectors: ArrayLike,
        *,
        documents: Sequence[Document] | None = None,
    ) -> None:
        """Append vectors; visible after :meth:`commit`.

        Args:
            ids: unique, non-empty, one a row.
            vectors: finite, shape (len(ids), dim).
            documents: what to keep with each row, ids equal to ``ids``; by default the id alone.

        Raises:
            DuplicateIdError: an id is in the index or given twice; nothing was added.
            DocumentError: a document out of the order of ``order_by``; nothing was added.
            VectorError: NaN, another width, or values beyond the precision.
            IndexLockedError, StorageError
        """
        self.append(ids, [vectors], documents)

    def update(
        self,
        ids: Sequence[str],
        vectors: ArrayLike,
        *,
        documents: Sequence[Document] | None = None,
    ) -> None:
        """:meth:`add`, replacing documents whose ids are there already."""
        self.append(ids, [vectors], documents, replace=True)
