"""Making an index: an empty folder with a catalog that records what is fixed for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sparseret.errors import IndexExistsError, SparseretError, StorageError
from sparseret.indexers.catalog import Catalog
from sparseret.indexers.filters import field_index_sql
from sparseret.indexers.writer import SEGMENT_FOLDER

__all__ = ["create_folder"]


def create_folder(folder: Path, meta: Mapping[str, str], filter_fields: Sequence[str]) -> None:
    """Make an empty index.

    Args:
        folder: new or empty.
        meta: what the catalog is to record.
        filter_fields: metadata fields to build an SQL index for.

    Raises:
        IndexExistsError: the folder holds an index or other files.
        FilterError: a field that no index can have.
        StorageError: the system refuses.
    """
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
    catalog = Catalog.create(folder, dict(meta))
    try:
        for name in filter_fields:
            catalog.create_field_index(name, field_index_sql(name))
    finally:
        catalog.close()
