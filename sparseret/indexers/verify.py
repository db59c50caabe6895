"""Checks of a whole index: checksums, counts, and every part against every other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from sparseret import kernels
from sparseret.errors import CorruptIndexError, SparseretError
from sparseret.indexers.catalog import SegmentEntry
from sparseret.indexers.impact_data import ImpactData
from sparseret.indexers.order_field import order_field
from sparseret.indexers.segment_file import SegmentFile, verify_segment
from sparseret.indexers.snapshot import Snapshot
from sparseret.indexers.writer import SEGMENT_FOLDER

__all__ = ["verify_index"]


def verify_index(path: str | Path, progress: Callable[[int, int], None] | None = None) -> list[str]:
    """Read everything and report what is wrong, one line a problem; an empty list is sound.

    Checked: SQLite's own integrity check; every array's checksum; structure of rows and postings;
    postings against rows, which hold the same values twice; document numbers against the catalog;
    columns against the vocabulary. Files that belong to no commit (what a crash left) are not
    problems: the next writer removes them.

    Args:
        path: the index folder.
        progress: called with (segments checked, segments in all).

    Raises:
        IndexNotFoundError: no index there.
    """
    folder = Path(path)
    try:
        snapshot = Snapshot(folder)
    except CorruptIndexError as error:
        return [str(error)]
    try:
        try:
            problems = snapshot.catalog.integrity_errors()
        except SparseretError as error:
            return [str(error)]
        problems = [f"catalog: {problem}" for problem in problems]
        if problems:
            return problems
        n_terms = snapshot.catalog.count_terms()
        uses_vocabulary = snapshot.catalog.meta("weighted") == "1"
        for i, (entry, file) in enumerate(zip(snapshot.entries, snapshot.files, strict=True)):
            if progress:
                progress(i, len(snapshot.files))
            max_column = n_terms if uses_vocabulary and n_terms else None
            problems += [f"{entry.file}: {p}" for p in _segment_problems(entry, file, max_column)]
        problems += _document_problems(snapshot)
        problems += _order_problems(snapshot)
        if progress:
            progress(len(snapshot.files), len(snapshot.files))
        return problems
    finally:
        snapshot.close()


def _segment_problems(entry: SegmentEntry, file: SegmentFile, n_terms: int | None) -> list[str]:
    damaged = verify_segment(file)
    if damaged:
        return [f"checksum of {', '.join(damaged)} is wrong: restore the file from a backup"]
    data = file.data
    if data.n_docs != entry.n_docs or data.nnz != entry.nnz:
        return ["document or value count differs from the catalog"]
    if not (np.diff(data.numbers) > 0).all():
        return ["document numbers do not ascend"]
    if data.n_docs and (data.numbers[0], data.numbers[-1]) != (entry.first, entry.last):
        return ["document numbers differ from the catalog's range"]
    if data.coded and len(data.row_values) and data.row_values.max() >= len(data.code_values):
        return ["a value's code is not in the table of codes"]
    values = data.values(data.row_values)
    try:
        columns = data.columns(slice(None))
    except CorruptIndexError:
        return ["a rank is not in the table of columns"]
    canonical = kernels.is_canonical(data.row_ptr, columns, values, 2**31, signed=True)
    if not canonical:
        return ["rows are not canonical sparse vectors"]
    problems = []
    if n_terms is not None and len(columns) and columns.max() >= n_terms:
        problems.append("a column has no term in the vocabulary")
    if isinstance(data, ImpactData):
        return problems + _list_problems(data, file.window_bits)
    again = kernels.invert(data.row_ptr, data.row_columns, data.row_values, file.window_bits)
    problems += [
        f"postings ({name}) disagree with the stored rows"
        for name in again._fields
        if not np.array_equal(getattr(data.postings, name), getattr(again, name))
    ]
    if len(data.lengths):
        row_of = np.repeat(np.arange(data.n_docs), np.diff(data.row_ptr))
        sums = np.bincount(row_of, weights=values, minlength=data.n_docs).astype(np.float32)
        if not np.array_equal(sums, data.lengths):
            problems.append("document lengths disagree with the stored rows")
        elif not np.array_equal(data.code_lengths[data.row_values], data.lengths[row_of]):
            problems.append("lengths in the table of codes disagree with the documents")
    return problems


def _list_problems(data: ImpactData, window_bits: int) -> list[str]:
    """Makes the lists again from the rows."""
    values = data.values(data.row_values)
    if (values > data.lists.column_max[data.row_ranks]).any() or (values <= 0).any():
        return ["a value is not positive, or above the bound of its column"]
    builder = kernels.ImpactBuilder(data.lists.columns, data.lists.column_max, window_bits)
    again = builder.finish(builder.add(data.row_ptr, data.row_ranks, values))
    return [
        f"lists ({name}) disagree with the stored rows"
        for name in again._fields
        if not np.array_equal(getattr(data.lists, name), getattr(again, name))
    ]


def _order_problems(snapshot: Snapshot) -> list[str]:
    if snapshot.catalog.order_by is None:
        return []
    order = order_field(snapshot.catalog.order_by)
    found = snapshot.catalog.out_of_order(order.value, order.json_type)
    return [] if found is None else [f"catalog: {order.complaint(found)}"]


def _document_problems(snapshot: Snapshot) -> list[str]:
    stored = np.concatenate(
        [np.empty(0, np.int64), *(file.data.numbers for file in snapshot.files)]
    )
    if not (np.diff(stored) > 0).all():
        return [f"{SEGMENT_FOLDER}: segments overlap in document numbers"]
    live = np.setdiff1d(stored, snapshot.tombstones, assume_unique=True)
    listed = snapshot.catalog.all_numbers()
    problems = []
    if missing := len(np.setdiff1d(listed, live, assume_unique=True)):
        problems.append(f"{missing} documents of the catalog are in no segment")
    if extra := len(np.setdiff1d(live, listed, assume_unique=True)):
        problems.append(f"{extra} documents of the segments are not in the catalog")
    return problems
