"""What is exported: the documents of an index and the vectors of one of its legs, in order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparseret import vectors
from sparseret.documents import Document
from sparseret.errors import ConfigurationError, CorruptIndexError, VectorError
from sparseret.indexers.dense_leg import DenseLeg
from sparseret.indexers.folder import IndexFolder
from sparseret.indexers.inverted_leg import InvertedLeg
from sparseret.indexers.segment import SegmentData
from sparseret.legs import AnyEncoder, has_encoders
from sparseret.protocols import Encoder, TermWeights
from sparseret.retriever import Retriever
from sparseret.views.sparse import SparseView

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from sparseret.indexers.segment_file import SegmentFile

__all__ = [
    "REST_OF_LENGTH",
    "DenseBatch",
    "LegReader",
    "SparseBatch",
    "Values",
    "whole_numbers",
]

Values: TypeAlias = Literal["counts", "weights"]
"""What a value of a sparse vector is: how often a term occurs, or what it adds to a score."""

REST_OF_LENGTH = " rest of the length "
"""Term that stands for all terms of which an imported index had no postings: it makes up the
documents' lengths, and no query has it."""

_BATCH = 1000


class SparseBatch(NamedTuple):
    """Documents and their sparse vectors."""

    documents: list[Document]
    rows: csr_array
    """Canonical, shape (len(documents), dim)."""


class DenseBatch(NamedTuple):
    """Documents and their dense vectors."""

    documents: list[Document]
    rows: NDArray[np.float32]
    """As they are scored, shape (len(documents), dim)."""


class LegReader:
    """One leg of an index at its last commit, open to be read from first document to last.

    Args:
        path: folder of the index.
        leg: its name; None for the only one.

    Attributes:
        index: the open folder.
        leg: of the index.
        encoder: what made the vectors, with the vocabulary and statistics of the index; None where
            vectors were given to the index without one.

    Raises:
        ConfigurationError: no such leg, or several and none is named.
        IndexNotFoundError, IncompatibleIndexError, CorruptIndexError
    """

    def __init__(self, path: str | Path, leg: str | None = None) -> None:
        self.path = Path(path)
        self._retriever: Retriever | None = None
        if has_encoders(self.path):
            self._retriever = Retriever.open(self.path)
            self.index = self._retriever.index
        else:
            self.index = IndexFolder(self.path)
        names = [each.name for each in self.index.legs]
        if (leg is None and len(names) > 1) or (leg is not None and leg not in names):
            self.close()
            asked = "has several legs" if leg is None else f"has no leg {leg!r}"
            raise ConfigurationError(f"{path} {asked}: give --leg, one of {', '.join(names)}")
        self.leg: InvertedLeg | DenseLeg = self.index.legs[0 if leg is None else names.index(leg)]
        self.encoder: AnyEncoder | None = None
        if self._retriever is not None:
            self.encoder = self._retriever.encoders[self.leg.name]
            if isinstance(self.leg, InvertedLeg) and isinstance(self.encoder, Encoder):
                self.encoder = SparseView.of(self.leg, self.encoder).encoder

    def __len__(self) -> int:
        return len(self.index)

    @property
    def counts(self) -> bool:
        """Whether the leg keeps counts, which become weights when it is searched."""
        return self.leg.weighting is not None and isinstance(self.encoder, TermWeights)

    def check_values(self, values: Values | None) -> Values:
        """What to export: by default what the leg keeps.

        Raises:
            ConfigurationError: the counts of a leg that keeps weights.
        """
        if values is None:
            return "counts" if self.counts else "weights"
        if values == "counts" and not self.counts:
            raise ConfigurationError(f"{self.path} keeps weights, not counts: give values=weights")
        return values

    def require_sparse(self) -> InvertedLeg:
        """The leg, of sparse vectors. Raises ConfigurationError for a dense one."""
        if isinstance(self.leg, DenseLeg):
            raise ConfigurationError(
                f"{self.path}: the leg {self.leg.name!r} holds dense vectors, which this format "
                "cannot: take parquet, or another leg with --leg"
            )
        return self.leg

    def term(self, column: int) -> str:
        """The term of a column; its number where no encoder gives it one."""
        if not isinstance(self.encoder, Encoder):
            return str(column)
        try:
            return self.encoder.term(column)
        except KeyError:
            return str(column)

    def documents(self) -> Iterator[Document]:
        """All documents in the order they were added."""
        return self.index.state.catalog.iterate_documents()

    def sparse_batches(self, values: Values) -> Iterator[SparseBatch]:
        """Documents with their stored counts, or with what their terms weigh.

        Weights of an encoder that weighs terms in queries too, as BM25 does, are products of both
        parts: a query whose terms weigh 1 then gives the scores of the encoder.

        Raises:
            CorruptIndexError: files that do not fit each other.
        """
        leg = self.require_sparse()
        documents = self.documents()
        dim = leg.dim or vectors.MAX_DIM
        for file, dead in zip(leg.snapshot.files, leg.snapshot.leg_files.dead, strict=True):
            live = np.ones(file.data.n_docs, dtype=bool)
            live[dead] = False
            for begin in range(0, file.data.n_docs, _BATCH):
                part = slice(begin, min(begin + _BATCH, file.data.n_docs))
                rows = self._rows(leg, file, part, live[part], dim, values)
                yield SparseBatch(self._taken(documents, rows.shape[0]), rows)

    def dense_batches(self) -> Iterator[DenseBatch]:
        """Documents with their dense vectors. Raises CorruptIndexError."""
        if not isinstance(self.leg, DenseLeg):
            raise ConfigurationError(f"{self.path}: the leg {self.leg.name!r} is not dense")
        documents = self.documents()
        snapshot = self.leg.snapshot
        for file, dead in zip(snapshot.files, snapshot.leg_files.dead, strict=True):
            live = np.ones(file.n_docs, dtype=bool)
            live[dead] = False
            for begin in range(0, file.n_docs, _BATCH):
                part = slice(begin, begin + _BATCH)
                rows = np.asarray(file.vectors[part][live[part]], np.float32)
                yield DenseBatch(self._taken(documents, len(rows)), rows)

    def close(self) -> None:
        """Release all files."""
        (self._retriever or self.index).close()

    def __enter__(self) -> LegReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _taken(self, documents: Iterator[Document], n: int) -> list[Document]:
        taken = list(islice(documents, n))
        if len(taken) != n:
            raise CorruptIndexError(
                f"{self.path}: segments hold more documents than the catalog; run `sparseret "
                "verify`"
            )
        return taken

    def _rows(
        self,
        leg: InvertedLeg,
        file: SegmentFile,
        part: slice,
        live: NDArray[np.bool_],
        dim: int,
        values: Values,
    ) -> csr_array:
        data = file.data
        ends = [data.row(i) for i in range(part.start, part.stop)]  # checked, each of them
        inside = slice(ends[0].start, ends[-1].stop)
        columns, stored = data.columns(inside), data.row_values[inside]
        weights = data.values(stored)
        if values == "weights" and leg.weighting is not None and isinstance(data, SegmentData):
            weights = leg.weighting.weigh(
                weights, data.lengths_of(stored), leg.snapshot.mean_length
            )
            encoder: object = self.encoder
            if isinstance(encoder, TermWeights):
                weights = weights * encoder.term_weights(columns)
        sizes = np.array([end.stop - end.start for end in ends], np.int64)
        if not live.all():
            kept = np.repeat(live, sizes)
            columns, weights, sizes = columns[kept], weights[kept], sizes[live]
        indptr = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
        rows = vectors.from_arrays(indptr, columns, np.asarray(weights, np.float32), dim)
        return rows if weights.all() else vectors.check(rows)  # drops zeros


def whole_numbers(rows: csr_array, scale: float, documents: list[Document]) -> csr_array:
    """Values times a scale, rounded to the nearest integer (to even at a tie), zeros dropped.

    Args:
        rows: canonical, shape (len(documents), dim).
        scale: above 0.
        documents: for messages.

    Raises:
        VectorError: negative values, or integers that do not fit 32 bits.
    """
    scaled = np.rint(rows.data.astype(np.float64) * scale)
    bad = (scaled < 0) | (scaled > np.iinfo(np.int32).max) | (rows.data < 0)
    if bad.any():
        at = int(np.argmax(bad))
        row = int(np.searchsorted(rows.indptr, at, "right")) - 1
        raise VectorError(
            f"document {documents[row].id!r}: the value {rows.data[at]} times {scale:g} is no "
            "whole number from 0 to 2147483647, as the format has them"
            + (": take another scale" if rows.data[at] > 0 else "")
        )
    kept = scaled > 0
    indptr = np.concatenate(([0], np.cumsum(kept)))[rows.indptr].astype(np.int64)
    # float64 holds all integers of 32 bits, and float32 does not.
    made = vectors.from_arrays(indptr, rows.indices[kept], rows.data[kept], rows.shape[1])
    made.data = scaled[kept]
    return made
