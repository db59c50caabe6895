"""Encoders and the legs of an index that keep their vectors: made, recorded, and found again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from sparseret.errors import (
    ConfigurationError,
    CorruptIndexError,
    IncompatibleIndexError,
    SparseretError,
)
from sparseret.indexers.catalog import Catalog
from sparseret.indexers.creation import LegSpec, create_folder
from sparseret.indexers.dense_ann import require_faiss
from sparseret.indexers.dense_leg import DenseLeg
from sparseret.indexers.dense_settings import DenseSettings
from sparseret.indexers.folder import IndexFolder, check_budget
from sparseret.indexers.inverted import InvertedIndex
from sparseret.indexers.inverted_leg import InvertedLeg
from sparseret.indexers.reduction import Reduction
from sparseret.protocols import CollectionEncoder, DenseEncoder, Encoder, Weighting
from sparseret.registry import load_any_encoder
from sparseret.views.dense import DenseView
from sparseret.views.sparse import SparseView

if TYPE_CHECKING:
    from sparseret.views.view import LegView

__all__ = [
    "AnyEncoder",
    "bind_legs",
    "create_index",
    "encoder_records",
    "has_encoders",
    "open_index",
    "recorded_encoders",
]

AnyEncoder: TypeAlias = Encoder | DenseEncoder

_ENCODER = "encoder"
"""Setting of an index of one leg: name and options of its encoder."""
_ENCODERS = "encoders"
"""Setting of an index of several legs: those by leg."""


def create_index(
    path: Path,
    encoder: str | AnyEncoder | Mapping[str, str | AnyEncoder],
    options: Mapping[str, Any],
    *,
    filter_fields: Sequence[str],
    order_by: str | None,
    reduction: Reduction | None,
    dense: DenseSettings | None,
    memory_budget: int | None,
) -> tuple[IndexFolder, list[AnyEncoder]]:
    """Make an empty index for an encoder, or several by the names of their legs.

    Returns it with its encoders in the order of its legs. Arguments are those of
    :meth:`sparseret.Retriever.create`.

    Raises:
        IndexExistsError, ConfigurationError, FilterError, StorageError
    """
    check_budget(memory_budget)
    if isinstance(encoder, Mapping):
        if not encoder:
            raise ConfigurationError("an index needs one encoder at least")
        if unknown := [name for name in options if name not in encoder]:
            raise ConfigurationError(f"encoder_options are for legs, and {unknown[0]!r} is none")
        made = {name: _made(e, options.get(name, {})) for name, e in encoder.items()}
    else:
        made = {"": _made(encoder, options)}
    share_runs(list(made.values()))
    specs = [_spec(name, each, reduction, dense) for name, each in made.items()]
    if dense is not None and not any(spec.dense for spec in specs):
        raise ConfigurationError("dense says how dense vectors are kept, and no encoder makes any")
    records = {name: {"name": e.name, "options": e.options} for name, e in made.items()}
    settings = (
        {_ENCODER: json.dumps(records[""])} if "" in records else {_ENCODERS: json.dumps(records)}
    )
    create_folder(path, specs, settings, filter_fields, order_by)
    encoders = list(made.values())
    return open_index(path, encoders, memory_budget), encoders


def open_index(
    path: Path,
    encoders: Sequence[AnyEncoder | Exception],
    memory_budget: int | None,
    *,
    degrade: bool = False,
) -> IndexFolder:
    """Open an index with the encoders of its legs, or what went wrong with them.

    With ``degrade``, legs whose files are missing or damaged are left out, too.

    Raises:
        IndexNotFoundError, IncompatibleIndexError, CorruptIndexError
    """
    names = [""] if len(encoders) == 1 else _names(path)
    weightings: dict[str, Weighting] = {
        name: encoder
        for name, encoder in zip(names, encoders, strict=True)
        if isinstance(encoder, CollectionEncoder)
    }
    only = encoders[0] if len(encoders) == 1 else None
    index = (
        InvertedIndex(path, weightings.get(""), memory_budget)
        if only is not None and not isinstance(only, DenseEncoder)
        else IndexFolder(path, weightings, memory_budget, degrade=degrade)
    )
    index.check_spaces([None if isinstance(e, Exception) else e.space for e in encoders])
    return index


def has_encoders(path: Path) -> bool:
    """Whether an index was made with encoders, and not for vectors alone.

    Raises:
        IndexNotFoundError: no index there.
    """
    catalog = Catalog(path, writable=False)
    try:
        return any(catalog.has_meta(f"setting:{key}") for key in (_ENCODER, _ENCODERS))
    finally:
        catalog.close()


def encoder_records(path: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """Name and options of the encoder of each leg, in their order.

    Raises:
        IndexNotFoundError: no index there.
        IncompatibleIndexError: vectors without an encoder.
        CorruptIndexError: the record is damaged.
    """
    catalog = Catalog(path, writable=False)
    try:
        if catalog.has_meta(f"setting:{_ENCODERS}"):
            read = json.loads(catalog.meta(f"setting:{_ENCODERS}"))
        elif catalog.has_meta(f"setting:{_ENCODER}"):
            read = {"": json.loads(catalog.meta(f"setting:{_ENCODER}"))}
        else:
            raise IncompatibleIndexError(
                f"{path} holds vectors without an encoder: open it as an InvertedIndex"
            )
        return {leg.name: (read[leg.name]["name"], read[leg.name]["options"])
                for leg in catalog.legs}  # fmt: skip
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise CorruptIndexError(
            f"{path}: the record of the encoder is damaged. Restore catalog.sqlite from a backup"
        ) from error
    finally:
        catalog.close()


def recorded_encoders(
    path: Path, given: AnyEncoder | Mapping[str, AnyEncoder] | None, *, degrade: bool
) -> list[AnyEncoder | Exception]:
    """The encoders an index was made with, in the order of its legs.

    Args:
        path: of the index.
        given: some or all of them; None to make them all from the record.
        degrade: of several legs, whether what goes wrong stands in the place of an encoder that
            cannot be made.

    Raises:
        IndexNotFoundError: no index there.
        IncompatibleIndexError: vectors without an encoder.
        CorruptIndexError: the record is damaged.
        ConfigurationError: an encoder cannot be made again, or one of another leg is given.
    """
    if given is not None and not isinstance(given, Mapping):
        return [given]
    records = encoder_records(path)
    if unknown := [name for name in given or {} if name not in records]:
        raise ConfigurationError(f"{path} has no leg {unknown[0]!r}; it has {', '.join(records)}")
    found: list[AnyEncoder | Exception] = []
    for name, (encoder, options) in records.items():
        if given and name in given:
            found.append(given[name])
            continue
        try:
            found.append(load_any_encoder(encoder, options))
        except (SparseretError, ImportError, OSError) as error:
            told = ConfigurationError(
                f"{path} was made with the encoder {encoder!r}, which cannot be made again: "
                f"{error}. Install the package it comes from, or give it: "
                "Retriever.open(path, encoder=...)"
            )
            if not degrade or len(records) == 1:
                if isinstance(error, ConfigurationError):
                    raise told from error
                raise
            found.append(told)
    share_runs(found)
    return found


def share_runs(encoders: Sequence[AnyEncoder | Exception]) -> None:
    """Let encoders that make halves of the same representation run their model once for both."""
    for encoder in encoders:
        share = getattr(encoder, "share", None)
        for other in encoders:
            if share is not None and other is not encoder:
                share(other)


def bind_legs(
    legs: Sequence[InvertedLeg | DenseLeg], encoders: Sequence[AnyEncoder | Exception]
) -> tuple[tuple[LegView, ...], dict[str, Exception]]:
    """Views of the legs as they are now; and of those without an encoder, why."""
    views: list[LegView] = []
    absent: dict[str, Exception] = {}
    for leg, encoder in zip(legs, encoders, strict=True):
        if isinstance(encoder, Exception):
            absent[leg.name] = encoder
        elif (broken := leg.snapshot.leg_files.error) is not None:
            absent[leg.name] = broken
        elif isinstance(leg, DenseLeg):
            views.append(DenseView.of(leg, cast("DenseEncoder", encoder)))
        else:
            views.append(SparseView.of(leg, cast("Encoder", encoder)))
    return tuple(views), absent


def _made(encoder: str | AnyEncoder, options: Mapping[str, Any]) -> AnyEncoder:
    if isinstance(encoder, str):
        return load_any_encoder(encoder, options)
    if options:
        raise ConfigurationError("encoder_options are for an encoder given by name")
    return encoder


def _spec(
    name: str, encoder: AnyEncoder, reduction: Reduction | None, dense: DenseSettings | None
) -> LegSpec:
    if isinstance(encoder, DenseEncoder):
        settings = replace(dense or DenseSettings(), metric=encoder.metric)
        require_faiss(settings)
        if reduction is not None and not name:
            raise ConfigurationError("a reduction is for sparse vectors: give dense= settings")
        return LegSpec(name, encoder.space, encoder.dim, dense=settings)
    weighted = isinstance(encoder, CollectionEncoder)
    # Of several legs, those of counts are left as they are; one alone says that it cannot.
    taken = Reduction() if reduction is None or (weighted and name) else reduction
    return LegSpec(name, encoder.space, encoder.dim, encoder.signed, weighted, taken)


def _names(path: Path) -> list[str]:
    catalog = Catalog(path, writable=False)
    try:
        return [leg.name for leg in catalog.legs]
    finally:
        catalog.close()
