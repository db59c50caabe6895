"""A leg of dense vectors: what it takes, how it is kept, searched and calibrated."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import ConfigurationError, CorruptIndexError, VectorError
from sparseret.indexers.catalog import CALIBRATION, DENSE, QUANTISER, Catalog
from sparseret.indexers.dense_calibration import DenseCalibration, calibrate_dense
from sparseret.indexers.dense_exact import as_rows
from sparseret.indexers.dense_settings import DenseSettings
from sparseret.indexers.dense_snapshot import DenseSnapshot
from sparseret.indexers.dense_store import DenseStore
from sparseret.indexers.legs import calibration_is_due
from sparseret.indexers.quantiser import Quantiser
from sparseret.indexers.state import State

__all__ = ["DenseLeg"]

_SAMPLE_QUERIES = 100
_LARGEST_HALF = float(np.finfo(np.float16).max)


class DenseLeg:
    """One leg of an open index.

    Attributes:
        name: of the leg, empty in an index of one.
        space: id of the vector space.
        dim: width of the vectors.
        settings: how they are kept.
        snapshot: what searches see.

    Args:
        state: of the index.
        position: of the leg among those of the index.
    """

    weighting = None

    def __init__(self, state: State, position: int) -> None:
        record, catalog = state.catalog.legs[position], state.catalog
        self._key, self._position = record.key, position
        self.name = record.name
        self.space = catalog.meta(record.key("space"))
        self.dim = int(catalog.meta(record.key("dim")))
        self.settings = DenseSettings.from_json(catalog.meta(record.key(DENSE)))
        self.store = DenseStore(self.settings, _quantiser(catalog, record.key(QUANTISER)))
        self.refresh(state)

    def refresh(self, state: State) -> None:
        """See another state."""
        self.snapshot = DenseSnapshot(state, self._position, self.settings, self.dim)

    def check(self, vectors: Any) -> NDArray[np.float32]:
        """Finite float32 rows of this width. Raises VectorError."""
        return as_rows(vectors, self.dim, "dense vectors")

    def rows_to_keep(self, vectors: Any) -> NDArray[np.float32]:
        """Rows as they will be stored, none of them the caller's own arrays. Raises VectorError."""
        rows = self.check(vectors)
        if self.settings.precision == "float16" and self.settings.metric == "ip":
            beyond = (np.abs(rows) > _LARGEST_HALF).any(axis=1)
            if beyond.any():
                raise VectorError(
                    f"vector {int(np.argmax(beyond))} has values beyond float16: scale the vectors "
                    "down, or make the index with precision float32"
                )
        return rows.copy() if np.shares_memory(rows, vectors) else rows

    # --- calibration ------------------------------------------------------------------------

    @property
    def calibration(self) -> DenseCalibration | None:
        """What was measured; None if nothing was."""
        return self.snapshot.calibration

    @property
    def is_tunable(self) -> bool:
        """Whether there is anything but exact search."""
        return self.settings.kind != "flat"

    @property
    def calibration_is_due(self) -> bool:
        """Whether the leg has no calibration, or one from when it was of another size."""
        known = None if self.calibration is None else self.calibration.n_documents
        return self.is_tunable and calibration_is_due(self.snapshot.n_documents, known)

    def sample(self, queries: Any) -> NDArray[np.float32] | None:
        """Queries to calibrate with, checked; None for some of the documents.

        Raises:
            ConfigurationError: vectors without a structure, which are always searched exactly; or
                queries that are all zero.
            VectorError
        """
        if not self.is_tunable:
            raise ConfigurationError(
                "a flat leg is always searched exactly: there is nothing to tune"
            )
        sample = None if queries is None else self.check(queries)
        if sample is not None and not sample.any():
            raise ConfigurationError("no query to measure with is other than zero: give real ones")
        return sample

    def calibrate(
        self,
        sample: NDArray[np.float32] | None,
        *,
        threads: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[str, str]:
        """Measure which effort reaches which recall; returns key and text for the catalog."""
        given = sample is not None
        if sample is None:
            sample = self.snapshot.sample_queries(_SAMPLE_QUERIES)
        measured = calibrate_dense(
            self.snapshot, sample, given=given, threads=threads, progress=progress
        )
        return self._key(CALIBRATION), measured.to_json()


def _quantiser(catalog: Catalog, key: str) -> Quantiser | None:
    """The quantiser that was learned for a leg, if any was."""
    if not catalog.has_meta(key):
        return None
    try:
        data = base64.b64decode(catalog.meta(key), validate=True)
    except ValueError as error:
        raise CorruptIndexError(
            f"{catalog.folder}: the quantiser in its catalog is damaged. Restore it from a backup"
        ) from error
    return Quantiser.from_bytes(data, f"{catalog.folder}: the quantiser in its catalog")
