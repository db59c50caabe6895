"""What an index is and holds, in numbers."""

from __future__ import annotations

from typing import NamedTuple

from sparseret.indexers.calibration import Calibration
from sparseret.indexers.inverted import InvertedIndex
from sparseret.indexers.reduction import Reduction

__all__ = ["IndexInfo", "SegmentInfo", "index_info"]


class SegmentInfo(NamedTuple):
    """One segment file."""

    file: str
    documents: int
    tombstones: int
    nnz: int
    bytes: int
    value_type: str
    """"float32", or the width of the codes that stand for values, as "8-bit codes"."""


class IndexInfo(NamedTuple):
    """An index as of its last commit."""

    path: str
    space: str
    format_version: int
    documents: int
    tombstones: int
    terms: int
    """Size of the vocabulary; 0 where the index keeps none."""
    nnz: int
    """Stored values, those of deleted documents included until a merge."""
    mean_length: float
    bytes: int
    """Everything in the folder."""
    segment_bytes: int
    segments: list[SegmentInfo]
    order_by: str | None
    """The field by which documents are ordered; None if there is none."""
    reduction: Reduction
    """What is given up of vectors when they are added."""
    calibration: Calibration | None
    """Which effort of approximate search reaches which recall; None if never measured."""


def index_info(index: InvertedIndex) -> IndexInfo:
    """Read counts and sizes; touches no vectors."""
    from sparseret.indexers.catalog import FORMAT_VERSION

    snapshot = index.snapshot
    segments = []
    for i, (entry, file) in enumerate(zip(snapshot.entries, snapshot.files, strict=True)):
        live = snapshot.live_mask(i)
        bits = 8 * file.data.row_values.dtype.itemsize
        segments.append(
            SegmentInfo(
                file=entry.file,
                documents=entry.n_docs,
                tombstones=0 if live is None else int((~live).sum()),
                nnz=entry.nnz,
                bytes=entry.bytes,
                value_type=f"{bits}-bit codes" if file.data.coded else "float32",
            )
        )
    return IndexInfo(
        path=str(index.path),
        space=index.space,
        format_version=FORMAT_VERSION,
        documents=snapshot.n_documents,
        tombstones=sum(s.tombstones for s in segments),
        terms=snapshot.catalog.count_terms(),
        nnz=sum(s.nnz for s in segments),
        mean_length=snapshot.mean_length,
        bytes=index.n_bytes,
        segment_bytes=sum(s.bytes for s in segments),
        segments=segments,
        order_by=snapshot.catalog.order_by,
        reduction=index.reduction,
        calibration=snapshot.calibration,
    )
