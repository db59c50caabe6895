"""Checks of a whole index: checksums, counts, and every part against every other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from sparseret import kernels
from sparseret.errors import CorruptIndexError, SparseretError
from sparseret.indexers.catalog import SegmentEntry
from sparseret.indexers.dense_segment import DenseSegment, verify_dense_segment
from sparseret.indexers.impact_data import ImpactData
from sparseret.indexers.legs import PartFile
from sparseret.indexers.order_field import order_field
from sparseret.indexers.segment_file import SegmentFile
from sparseret.indexers.state import State
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
        state = State(folder)
    except CorruptIndexError as error:
        return [str(error)]
    try:
        try:
            problems = state.catalog.integrity_errors()
        except SparseretError as error:
            return [str(error)]
        problems = [f"catalog: {problem}" for problem in problems]
        if problems:
            return problems
        n_files, done = sum(len(leg.files) for leg in state.legs), 0
        for leg in state.legs:
            weighted = state.catalog.meta(leg.leg.key("weighted")) == "1"
            n_terms = state.catalog.count_terms() if weighted else 0
            for entry, file in zip(leg.entries, leg.files, strict=True):
                if progress:
                    progress(done, n_files)
                found = _file_problems(entry, file, n_terms or None)
                problems += [f"{entry.file}: {problem}" for problem in found]
                done += 1
        problems += _document_problems(state)
        problems += _order_problems(state)
        if progress:
            progress(n_files, n_files)
        return problems
    finally:
        state.close()


def _file_problems(entry: SegmentEntry, file: PartFile, n_terms: int | None) -> list[str]:
    if damaged := file.damaged():
        return [f"checksum of {', '.join(damaged)} is wrong: restore the file from a backup"]
    numbers = file.numbers
    if len(numbers) != entry.n_docs:
        return ["document count differs from the catalog"]
    if not (np.diff(numbers) > 0).all():
        return ["document numbers do not ascend"]
    if len(numbers) and (numbers[0], numbers[-1]) != (entry.first, entry.last):
        return ["document numbers differ from the catalog's range"]
    if isinstance(file, DenseSegment):
        return verify_dense_segment(file)
    return _row_problems(entry, file, n_terms) if isinstance(file, SegmentFile) else []


def _row_problems(entry: SegmentEntry, file: SegmentFile, n_terms: int | None) -> list[str]:
    data = file.data
    if data.nnz != entry.nnz:
        return ["value count differs from the catalog"]
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


def _order_problems(state: State) -> list[str]:
    if state.catalog.order_by is None:
        return []
    order = order_field(state.catalog.order_by)
    found = state.catalog.out_of_order(order.value, order.json_type)
    return [] if found is None else [f"catalog: {order.complaint(found)}"]


def _document_problems(state: State) -> list[str]:
    listed, problems = state.catalog.all_numbers(), []
    for leg in state.legs:
        stored = np.concatenate([np.empty(0, np.int64), *(file.numbers for file in leg.files)])
        if not (np.diff(stored) > 0).all():
            return [f"{SEGMENT_FOLDER}: segments overlap in document numbers"]
        live = np.setdiff1d(stored, state.tombstones, assume_unique=True)
        where = f" of the leg {leg.leg.name}" * bool(leg.leg.name)
        if missing := len(np.setdiff1d(listed, live, assume_unique=True)):
            problems.append(f"{missing} documents of the catalog are in no segment{where}")
        if extra := len(np.setdiff1d(live, listed, assume_unique=True)):
            problems.append(f"{extra} documents of the segments{where} are not in the catalog")
    return problems
