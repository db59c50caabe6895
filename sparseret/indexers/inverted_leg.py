"""A leg of sparse vectors: what it takes, how it is kept, searched and calibrated."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sparseret import vectors as vector_checks
from sparseret.errors import ConfigurationError, IncompatibleIndexError, VectorError
from sparseret.indexers.calibration import Calibration, calibrate
from sparseret.indexers.catalog import CALIBRATION, REDUCTION
from sparseret.indexers.inverted_store import InvertedStore
from sparseret.indexers.legs import calibration_is_due
from sparseret.indexers.reduction import Reduction
from sparseret.indexers.snapshot import Snapshot
from sparseret.indexers.state import State
from sparseret.protocols import Weighting

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["InvertedLeg"]

_SAMPLE_QUERIES = 100
_MAX_NNZ_AT_ONCE = 2**31  # a segment has room for a buffer and this


class InvertedLeg:
    """One leg of an open index.

    Attributes:
        name: of the leg, empty in an index of one.
        space: id of the vector space.
        dim: number of columns; None where any up to 2**31 are taken.
        signed: whether vectors may hold negative values.
        weighting: what turns counts to weights; None where weights are kept.
        reduction: what is given up of vectors when they are added.
        snapshot: what searches see.

    Args:
        state: of the index.
        position: of the leg among those of the index.
        weighting: as the attribute.

    Raises:
        IncompatibleIndexError: counts are kept and there is no weighting, or the other way round.
    """

    def __init__(self, state: State, position: int, weighting: Weighting | None) -> None:
        record, catalog = state.catalog.legs[position], state.catalog
        self._key, self._position = record.key, position
        self.name = record.name
        self.space = catalog.meta(record.key("space"))
        dim = catalog.meta(record.key("dim"))
        self.dim = int(dim) if dim else None
        self.signed = catalog.meta(record.key("signed")) == "1"
        self.weighting = weighting
        weighted = catalog.meta(record.key("weighted")) == "1"
        if weighted != (weighting is not None):
            raise IncompatibleIndexError(
                f"{catalog.folder} stores {'counts' if weighted else 'weights'} of the space "
                f"{self.space!r}: open it with the encoder that made it"
            )
        self.store = InvertedStore(weighted=weighted)
        self.reduction = Reduction()
        if catalog.has_meta(record.key(REDUCTION)):
            self.reduction = Reduction.from_json(catalog.meta(record.key(REDUCTION)))
        self.refresh(state)

    def refresh(self, state: State) -> None:
        """See another state."""
        self.snapshot = Snapshot(state, self._position, self.weighting)

    def check(self, vectors: Any) -> csr_array:
        """Canonical rows of this space. Raises VectorError."""
        return vector_checks.check(vectors, dim=self.dim, signed=self.signed)

    def rows_to_keep(self, vectors: Any) -> csr_array:
        """Rows as they will be stored, none of them the caller's own arrays.

        Raises:
            VectorError: NaN, wrong dimension, negative where not allowed, duplicate columns.
        """
        rows = self.check(vectors)
        if rows.nnz > _MAX_NNZ_AT_ONCE:
            raise VectorError(
                f"{rows.nnz} values in one call, {_MAX_NNZ_AT_ONCE} is the most: add fewer rows"
            )
        rows = self.reduction.apply(rows)
        if rows is vectors:  # rows are kept until the commit, and the caller may change its own
            rows = vector_checks.from_arrays(
                rows.indptr.copy(), rows.indices.copy(), rows.data.copy(), rows.shape[1]
            )
        return rows

    # --- calibration ------------------------------------------------------------------------

    @property
    def calibration(self) -> Calibration | None:
        """What was measured; None if nothing was."""
        return self.snapshot.calibration

    @property
    def is_tunable(self) -> bool:
        """Whether there is anything but exact search."""
        return self.weighting is None

    @property
    def calibration_is_due(self) -> bool:
        """Whether the leg has no calibration, or one from when it was of another size."""
        known = None if self.calibration is None else self.calibration.n_documents
        return self.is_tunable and calibration_is_due(self.snapshot.n_documents, known)

    def sample(self, queries: Any) -> csr_array | None:
        """Queries to calibrate with, checked; None for some made from documents.

        Raises:
            ConfigurationError: counts, which are always searched exactly; or queries without a
                known term.
            VectorError
        """
        if not self.is_tunable:
            raise ConfigurationError(
                "an index of counts is always searched exactly: there is nothing to tune"
            )
        sample = None if queries is None else self.check(queries)
        if sample is not None and not sample.nnz:
            raise ConfigurationError(
                "no query to measure with has any term: give a sample of real ones, or none at all"
            )
        return sample

    def calibrate(
        self,
        sample: csr_array | None,
        *,
        threads: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[str, str]:
        """Measure which effort reaches which recall; returns key and text for the catalog."""
        given = sample is not None
        if sample is None:
            sample = self.snapshot.sample_queries(_SAMPLE_QUERIES)
        measured = calibrate(
            self.snapshot.search, sample, n_documents=self.snapshot.n_documents, given=given,
            threads=threads or os.cpu_count() or 1, progress=progress,
        )  # fmt: skip
        return self._key(CALIBRATION), measured.to_json()
