"""Making an index: an empty folder with a catalog that records what is fixed for good."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sparseret.errors import (
    ConfigurationError,
    IndexExistsError,
    SparseretError,
    StorageError,
)
from sparseret.indexers.catalog import DENSE, LEGS, ORDER_BY, QUANTISER, REDUCTION, Catalog
from sparseret.indexers.dense_codes import check_quantiser
from sparseret.indexers.dense_settings import DenseSettings
from sparseret.indexers.filters import field_index_sql
from sparseret.indexers.legs import LegKind, LegRecord
from sparseret.indexers.order_field import order_field
from sparseret.indexers.quantiser import Quantiser
from sparseret.indexers.reduction import Reduction
from sparseret.indexers.writer import SEGMENT_FOLDER

__all__ = ["LegSpec", "create_folder"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


@dataclass(frozen=True)
class LegSpec:
    """What an index is to keep in one leg, fixed for good.

    Raises:
        ConfigurationError: counts or dense vectors with a reduction.
    """

    name: str
    """Empty for an index of one leg; else of letters, digits, - and _."""
    space: str
    """Id of the vector space."""
    dim: int | None = None
    """Number of columns; None takes any up to 2**31 of sparse vectors."""
    signed: bool = False
    """Whether sparse vectors may hold negative values."""
    weighted: bool = False
    """Whether values are counts, turned to weights at search time."""
    reduction: Reduction = field(default_factory=Reduction)
    """What is given up of sparse vectors when they are added."""
    dense: DenseSettings | None = None
    """How dense vectors are kept; None for a leg of sparse vectors."""

    def __post_init__(self) -> None:
        if self.weighted and self.reduction.is_lossy:
            raise ConfigurationError(
                "counts are neither rounded nor pruned: their weights follow the collection"
            )
        if self.dense is not None and (self.reduction.is_lossy or self.dim is None):
            raise ConfigurationError(
                "dense vectors have a width, and are made smaller by their own settings"
            )

    @property
    def kind(self) -> LegKind:
        """Whether vectors are sparse or dense."""
        return "inverted" if self.dense is None else "dense"

    @property
    def meta(self) -> dict[str, str]:
        """What the catalog records; raises ConfigurationError for a quantiser that does not fit."""
        made = {
            "space": self.space,
            "dim": "" if self.dim is None else str(self.dim),
            "signed": str(int(self.signed)),
            "weighted": str(int(self.weighted)),
        }
        if self.reduction.is_lossy:
            made[REDUCTION] = self.reduction.to_json()
        if self.dense is not None:
            made[DENSE] = self.dense.to_json()
            if self.dense.quantiser is not None and self.dim is not None:
                quantiser = Quantiser.load(self.dense.quantiser)
                check_quantiser(quantiser, self.dense, self.dim)
                made[QUANTISER] = base64.b64encode(quantiser.to_bytes()).decode()
        return made


def create_folder(
    folder: Path,
    legs: Sequence[LegSpec],
    settings: Mapping[str, str],
    filter_fields: Sequence[str],
    order_by: str | None,
) -> None:
    """Make an empty index.

    Args:
        folder: new or empty.
        legs: one at least, of different names.
        settings: strings to keep with the index.
        filter_fields: metadata fields to build an SQL index for.
        order_by: metadata field in whose order documents come; None for any order.

    Raises:
        ConfigurationError: names of legs that cannot be.
        IndexExistsError: the folder holds an index or other files.
        FilterError: a field that no index can have.
        StorageError: the system refuses.
    """
    meta = _meta(legs, settings)
    if order_by is not None:
        meta[ORDER_BY] = order_field(order_by).text
        filter_fields = [*filter_fields, order_by]
    _make_empty(folder)
    catalog = Catalog.create(folder, meta)
    try:
        for name in filter_fields:
            catalog.create_field_index(name, field_index_sql(name))
    finally:
        catalog.close()


def _meta(legs: Sequence[LegSpec], settings: Mapping[str, str]) -> dict[str, str]:
    meta: dict[str, str] = {}
    for i, leg in enumerate(legs):
        record = LegRecord(leg.name, leg.kind, first=i == 0)
        meta |= {record.key(key): value for key, value in leg.meta.items()}
    if len(legs) > 1 or legs[0].dense is not None:
        names = [leg.name for leg in legs]
        bad = [name for name in names if not _NAME.fullmatch(name)] if len(legs) > 1 else []
        if bad or len(set(names)) < len(names):
            raise ConfigurationError(
                f"legs {', '.join(map(repr, names))}: names must differ, and consist of up to 32 "
                "letters, digits, - and _"
            )
        meta[LEGS] = json.dumps([{"name": leg.name, "kind": leg.kind} for leg in legs])
    if sum(leg.weighted for leg in legs) > 1:
        raise ConfigurationError(
            "one leg of counts, such as BM25's, is the most an index can have: they would share "
            "the vocabulary"
        )
    return meta | {f"setting:{key}": value for key, value in settings.items()}


def _make_empty(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if Catalog.exists(folder):
            raise IndexExistsError(
                f"{folder} holds an index already: open it to add documents, or choose "
                "another folder"
            )
        foreign = [
            item.name
            for item in folder.iterdir()
            if not item.name.startswith(("catalog.sqlite", "writer.lock", SEGMENT_FOLDER))
        ]
        if foreign:
            raise IndexExistsError(
                f"{folder} is not empty (it holds {foreign[0]}): choose another folder"
            )
        (folder / SEGMENT_FOLDER).mkdir(exist_ok=True)
    except SparseretError:
        raise
    except OSError as error:
        raise StorageError(f"cannot create {folder}: {error.strerror}") from error
