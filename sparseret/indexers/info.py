"""What an index is and holds, in numbers."""

from __future__ import annotations

from typing import NamedTuple

from sparseret.indexers.calibration import Calibration
from sparseret.indexers.dense_calibration import DenseCalibration
from sparseret.indexers.dense_leg import DenseLeg
from sparseret.indexers.dense_segment import DenseSegment
from sparseret.indexers.dense_settings import DenseSettings
from sparseret.indexers.folder import IndexFolder
from sparseret.indexers.inverted_leg import InvertedLeg
from sparseret.indexers.legs import PartFile
from sparseret.indexers.reduction import Reduction
from sparseret.indexers.segment_file import SegmentFile

__all__ = ["IndexInfo", "LegInfo", "SegmentInfo", "index_info"]


class SegmentInfo(NamedTuple):
    """One segment file."""

    file: str
    documents: int
    tombstones: int
    nnz: int
    bytes: int
    value_type: str
    """"float32", or the width of the codes that stand for values, as "8-bit codes"; of dense
    vectors, with what they are searched by."""


class LegInfo(NamedTuple):
    """One vector space of an index."""

    name: str
    """Empty in an index of one leg."""
    kind: str
    """"inverted" or "dense"."""
    space: str
    nnz: int
    """Stored values, those of deleted documents included until a merge."""
    segment_bytes: int
    segments: list[SegmentInfo]
    reduction: Reduction | None
    """What is given up of sparse vectors when they are added; None of dense ones."""
    dense: DenseSettings | None
    """How dense vectors are kept; None of sparse ones."""
    calibration: Calibration | DenseCalibration | None
    """Which effort of approximate search reaches which recall; None if never measured."""


class IndexInfo(NamedTuple):
    """An index as of its last commit."""

    path: str
    format_version: int
    documents: int
    tombstones: int
    terms: int
    """Size of the vocabulary; 0 where the index keeps none."""
    mean_length: float
    """Of the leg of counts; 0.0 without one."""
    bytes: int
    """Everything in the folder."""
    order_by: str | None
    """The field by which documents are ordered; None if there is none."""
    legs: list[LegInfo]


def index_info(index: IndexFolder) -> IndexInfo:
    """Read counts and sizes; touches no vectors."""
    state = index.state
    lengths = [
        leg.snapshot.mean_length
        for leg in index.legs
        if isinstance(leg, InvertedLeg) and leg.weighting is not None
    ]
    return IndexInfo(
        path=str(index.path),
        format_version=state.catalog.format_version,
        documents=state.n_documents,
        tombstones=sum(map(len, state.legs[0].dead)),
        terms=state.catalog.count_terms(),
        mean_length=lengths[0] if lengths else 0.0,
        bytes=index.n_bytes,
        order_by=state.catalog.order_by,
        legs=[_leg_info(leg) for leg in index.legs],
    )


def _leg_info(leg: InvertedLeg | DenseLeg) -> LegInfo:
    files = leg.snapshot.leg_files
    segments = [
        SegmentInfo(
            file=entry.file,
            documents=entry.n_docs,
            tombstones=len(dead),
            nnz=entry.nnz,
            bytes=entry.bytes,
            value_type=_value_type(file),
        )
        for entry, file, dead in zip(files.entries, files.files, files.dead, strict=True)
    ]
    return LegInfo(
        name=leg.name,
        kind=files.leg.kind,
        space=leg.space,
        nnz=sum(s.nnz for s in segments),
        segment_bytes=sum(s.bytes for s in segments),
        segments=segments,
        reduction=None if isinstance(leg, DenseLeg) else leg.reduction,
        dense=leg.settings if isinstance(leg, DenseLeg) else None,
        calibration=leg.calibration,
    )


def _value_type(file: PartFile) -> str:
    if isinstance(file, DenseSegment):
        return f"{file.vectors.dtype}, {file.built}"
    if isinstance(file, SegmentFile) and file.data.coded:
        return f"{8 * file.data.row_values.dtype.itemsize}-bit codes"
    return "float32"
