"""Reading of segment files: their arrays stay memory-mapped, their header is checked at once.

The file is plain safetensors (any safetensors library reads it), written by
:mod:`sparseret.indexers.segment_writer`.
"""

from __future__ import annotations

import json
import mmap
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import CorruptIndexError, IncompatibleIndexError
from sparseret.indexers.impact_data import ImpactData
from sparseret.indexers.segment import SegmentData
from sparseret.indexers.segment_writer import DTYPES, FORMAT, SEGMENT_VERSION, flatten
from sparseret.kernels import ImpactLists, Postings

__all__ = ["SegmentFile", "map_file", "read_segment", "verify_segment"]


class SegmentFile(NamedTuple):
    """An open segment file."""

    path: Path
    data: SegmentData | ImpactData
    window_bits: int
    total_length: float
    """Sum over documents of their lengths; 0.0 where there is no weighting."""
    largest: float
    """Largest absolute stored value; 0.0 for an empty segment."""
    checksums: dict[str, int]
    """CRC-32 of each array."""

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Numbers of its documents, ascending."""
        return self.data.numbers

    def damaged(self) -> list[str]:
        """Names of the arrays whose checksum is wrong; reads the whole file."""
        return verify_segment(self)


def read_segment(path: Path, *, size: int, header_crc: int) -> SegmentFile:
    """Map a segment file into memory. Only the header is read and checked now.

    Args:
        path: the file.
        size: its size in bytes according to the catalog.
        header_crc: CRC-32 of its header according to the catalog.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptIndexError: truncated, altered or not a segment file.
        IncompatibleIndexError: written by a newer version of sparseret.
    """
    mapped, end = map_file(path, size=size, header_crc=header_crc)
    try:
        return _parse(path, mapped, end)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CorruptIndexError(
            f"{path} is no sound segment file ({error!r}). Restore it from a backup or build the "
            "index again"
        ) from error


def map_file(path: Path, *, size: int, header_crc: int) -> tuple[mmap.mmap | bytes, int]:
    """A mapped safetensors file and where its header ends; arguments and errors as read_segment."""
    with path.open("rb") as file:
        actual = os.fstat(file.fileno()).st_size
        if actual != size:
            raise CorruptIndexError(
                f"{path} has {actual} bytes where the catalog says {size}: the file was truncated "
                "or replaced. Restore it from a backup or build the index again"
            )
        # An empty file cannot be mapped.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if actual else b""
    end = 8 + int.from_bytes(mapped[:8], "little")
    if end > size or zlib.crc32(mapped[:end]) != header_crc:
        raise CorruptIndexError(
            f"{path} has an altered header. Restore it from a backup or build the index again"
        )
    return mapped, end


def _parse(path: Path, mapped: mmap.mmap | bytes, end: int) -> SegmentFile:
    """The segment behind a header of ``end`` bytes; exceptions of Python where there is none."""
    header = json.loads(mapped[8:end])
    metadata = header.pop("__metadata__")
    if metadata["format"] != FORMAT or int(metadata["version"]) > SEGMENT_VERSION:
        raise IncompatibleIndexError(
            f"{path} has segment version {metadata['version']}, this sparseret reads up to "
            f"{SEGMENT_VERSION}: upgrade sparseret"
        )
    arrays: dict[str, NDArray[Any]] = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        dtype = DTYPES[entry["dtype"]]
        if first < 0 or (end + first) % dtype.itemsize:
            raise ValueError(f"{name} is out of place")
        count = (last - first) // dtype.itemsize
        arrays[name] = (
            np.frombuffer(mapped, dtype, count, end + first) if count > 0 else np.empty(0, dtype)
        )
    checksums = json.loads(metadata["crc32"])
    if not checksums.keys() <= arrays.keys():
        raise ValueError("checksums of arrays that it lacks")
    data = _unflatten(arrays, int(metadata["version"]))
    if len(data.row_ptr) != data.n_docs + 1:
        raise ValueError("row_ptr does not fit the documents")
    return SegmentFile(
        path=path,
        data=data,
        window_bits=int(metadata["window_bits"]),
        total_length=float(metadata["total_length"]),
        largest=float(metadata["largest"]),
        checksums=checksums,
    )


def verify_segment(segment: SegmentFile) -> list[str]:
    """Names of the arrays whose checksum is wrong; reads the whole file."""
    arrays = flatten(segment.data)
    return [name for name, crc in segment.checksums.items() if zlib.crc32(arrays[name].data) != crc]


def _unflatten(arrays: dict[str, NDArray[Any]], version: int) -> SegmentData | ImpactData:
    if "lists.words" in arrays:
        if version == 3:  # all have the only code there is; pages of zeros are shared
            arrays["row_values"] = np.zeros(len(arrays["row_ranks"]), np.uint8)
        rows = {name: arrays[name] for name in ImpactData._fields if name != "lists"}
        lists = ImpactLists(*(arrays[f"lists.{name}"] for name in ImpactLists._fields))
        return ImpactData(**rows, lists=lists)
    rows = {name: arrays[name] for name in SegmentData._fields if name != "postings"}
    postings = Postings(*(arrays[f"postings.{name}"] for name in Postings._fields))
    return SegmentData(**rows, postings=postings)
