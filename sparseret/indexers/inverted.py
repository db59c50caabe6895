"""The inverted index: vectors under string ids, top-k search, durable and transactional.

It stores rows given to it and knows nothing of text; :class:`sparseret.Retriever` joins it with an
encoder. Usable alone for any sparse vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from sparseret import vectors as vector_checks
from sparseret.documents import Document
from sparseret.errors import DocumentError
from sparseret.indexers.calibration import Calibration
from sparseret.indexers.creation import LegSpec, create_folder
from sparseret.indexers.filters import Filter
from sparseret.indexers.folder import IndexFolder, check_budget
from sparseret.indexers.inverted_leg import InvertedLeg
from sparseret.indexers.reduction import Precision, Reduction
from sparseret.indexers.search import search_snapshot
from sparseret.indexers.snapshot import Snapshot
from sparseret.kernels import Effort
from sparseret.protocols import Hits, Weighting

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["InvertedIndex"]


class InvertedIndex(IndexFolder):
    """A folder (:class:`~sparseret.indexers.folder.IndexFolder`) of one leg of sparse vectors.

    Use :meth:`create` or :meth:`open`. As a context manager it commits on a clean exit and forgets
    uncommitted changes after an exception.
    """

    def __init__(
        self,
        path: str | Path,
        weighting: Weighting | None = None,
        memory_budget: int | None = None,
    ) -> None:
        super().__init__(path, {} if weighting is None else {"": weighting}, memory_budget)
        self.check_kind(InvertedLeg)
        self.leg = cast("InvertedLeg", self.legs[0])
        self.weighting = weighting
        self.space, self.dim, self.signed = self.leg.space, self.leg.dim, self.leg.signed

    @property
    def snapshot(self) -> Snapshot:
        """What searches see."""
        return self.leg.snapshot

    @property
    def reduction(self) -> Reduction:
        """What is given up of vectors when they are added."""
        return self.leg.reduction

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        space: str = "custom",
        dim: int | None = None,
        signed: bool = True,
        weighting: Weighting | None = None,
        settings: Mapping[str, str] | None = None,
        filter_fields: Sequence[str] = (),
        order_by: str | None = None,
        precision: Precision = "float32",
        largest: float | None = None,
        mass: float = 1.0,
        max_terms: int | None = None,
        memory_budget: int | None = None,
    ) -> InvertedIndex:
        """Make an empty index in a new or empty folder.

        Args:
            path: the folder.
            space: id of the vector space; opening with another is an error.
            dim: number of columns that added vectors must have; None takes any up to 2**31.
            signed: whether vectors may hold negative values.
            weighting: given, values are counts that it turns to weights at search time.
            settings: strings to keep with the index (:meth:`setting`).
            filter_fields: metadata fields to build an SQL index for, so that filters on them need
                not read every document.
            order_by: metadata field, a number or string in each document, that ascends from one
                added document to the next: a filter on it costs as little as what it selects.
            precision: "float32" keeps values; "float16" rounds them to half precision, and
                "uint8" to 255 steps up to ``largest``, when they are added.
            largest: with "uint8", the largest weight to expect.
            mass: share of each document's weight to keep, in its heaviest terms.
            max_terms: of each document's heaviest terms, how many to keep at most. More on these
                four in :class:`sparseret.indexers.reduction.Reduction`.
            memory_budget: bytes that adding documents may take, by default 2**28; more makes
                building faster.

        Raises:
            IndexExistsError: the folder holds an index or other files.
            FilterError: an ``order_by`` or filter field that cannot be indexed.
            ConfigurationError: a precision, largest, mass or max_terms that cannot be.
        """
        check_budget(memory_budget)
        reduction = Reduction(precision, largest, mass, max_terms)
        spec = LegSpec("", space=space, dim=dim, signed=signed, weighted=weighting is not None,
                       reduction=reduction)  # fmt: skip
        create_folder(Path(path), [spec], settings or {}, filter_fields, order_by)
        return cls(path, weighting, memory_budget)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        weighting: Weighting | None = None,
        space: str | None = None,
        memory_budget: int | None = None,
    ) -> InvertedIndex:
        """Open an existing index; takes a snapshot of its last commit.

        Raises:
            IndexNotFoundError: no index there.
            IncompatibleIndexError: of another space, or a newer format.
            CorruptIndexError: a file is missing, truncated or altered.
        """
        index = cls(path, weighting, memory_budget)
        if space is not None:
            index.check_spaces([space])
        return index

    # --- reading ----------------------------------------------------------------------------

    def search(
        self,
        vectors: csr_array,
        k: int = 10,
        *,
        allow: Iterable[str] | None = None,
        where: Filter | str | None = None,
        exact: bool | None = None,
        recall: float | None = None,
        effort: Effort | None = None,
        threads: int | None = None,
    ) -> Hits:
        """Top-k by dot product among the live documents, exact unless told otherwise.

        Scores are those of the full float32 product of the stored weights, in either mode; an
        approximate search may miss hits. Ties go to the document added first. Documents that share
        no term with the query are never hits.

        Args:
            vectors: queries, any scipy sparse array of shape (n, dim).
            k: hits a query, at least 1; there are fewer where fewer match.
            allow: ids that may be returned; unknown ones are ignored. None allows all.
            where: metadata filter, as text or tree (:mod:`sparseret.indexers.filters`).
            exact: True for the results of the full product, which is the default.
            recall: 0.5 to 0.999: the cheapest search that found this share of the exact results
                when the index was calibrated (:meth:`tune`). It is exact where that is as cheap,
                or nothing was calibrated; ``mode`` of the result tells.
            effort: in place of ``recall``, how thorough to be.
            threads: None for one per core, at most one per query.

        Raises:
            VectorError, ConfigurationError, FilterError, CorruptIndexError
        """
        return search_snapshot(
            self.snapshot, vectors, k, allow=allow, where=where, exact=exact,
            recall=recall, effort=effort, threads=threads,
        )  # fmt: skip

    def vectors_of(self, ids: Sequence[str]) -> csr_array:
        """Vectors as they are stored, in the order of their ids; float32, shape (len(ids), dim).

        Raises:
            DocumentError: no vector has one of the ids.
        """
        columns, values, indptr = [], [], [0]
        for id in ids:
            numbers = self.snapshot.catalog.numbers_of([id])
            if not len(numbers):
                raise DocumentError(f"no document with id {id!r} in {self.path}")
            row = self.snapshot.row(int(numbers[0]))
            columns.append(row[0])
            values.append(row[1])
            indptr.append(indptr[-1] + len(row[0]))
        return vector_checks.from_arrays(
            np.array(indptr, np.int64),
            np.concatenate([np.empty(0, np.int32), *columns]),
            np.concatenate([np.empty(0, np.float32), *values]),
            self.dim or vector_checks.MAX_DIM,
        )

    @property
    def calibration(self) -> Calibration | None:
        """What :meth:`tune` measured; None if it never did."""
        return self.snapshot.calibration

    def tune(
        self,
        queries: csr_array | None = None,
        *,
        threads: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Calibration:
        """Measure which effort of approximate search reaches which recall, and keep that.

        Commits first. :meth:`merge` does this by itself where it is due.

        Args:
            queries: a sample of those to come, any scipy sparse array of shape (n, dim), positive;
                a few hundred are enough. None makes some from documents, which resembles real
                ones less.
            threads: None for one per core.
            progress: called with (efforts tried, efforts in all).

        Raises:
            VectorError, ConfigurationError, IndexLockedError, StorageError
        """
        self.calibrate(self.leg, queries, threads=threads, progress=progress)
        return cast("Calibration", self.calibration)

    @property
    def calibration_is_due(self) -> bool:
        """Whether the index has no calibration, or one from when it was of another size."""
        return self.leg.calibration_is_due

    # --- writing ----------------------------------------------------------------------------

    def add(
        self,
        ids: Sequence[str],
        vectors: csr_array,
        *,
        documents: Sequence[Document] | None = None,
    ) -> None:
        """Append vectors; visible after :meth:`commit`.

        Args:
            ids: unique, non-empty, one a row.
            vectors: any scipy sparse array of shape (len(ids), dim); empty rows are legal.
            documents: what to keep with each row, ids equal to ``ids``; by default the id alone.

        Raises:
            DuplicateIdError: an id is in the index or given twice; nothing was added.
            DocumentError: a document out of the order of ``order_by``; nothing was added.
            VectorError: NaN, wrong dimension, negative where not allowed, duplicate columns.
            IndexLockedError, StorageError
        """
        self.append(ids, [vectors], documents)

    def update(
        self,
        ids: Sequence[str],
        vectors: csr_array,
        *,
        documents: Sequence[Document] | None = None,
    ) -> None:
        """:meth:`add`, replacing documents whose ids are there already."""
        self.append(ids, [vectors], documents, replace=True)
