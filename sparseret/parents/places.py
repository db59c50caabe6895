"""What ties chunks to their document: ids, the place that metadata hold, and filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from sparseret.documents import Document
from sparseret.errors import CorruptIndexError, DocumentError
from sparseret.indexers.catalog import Catalog
from sparseret.indexers.filters import And, Filter, Not, Or, parse_filter
from sparseret.indexers.search import check_ids

__all__ = [
    "CHUNK",
    "ChunkPlace",
    "chunk_id",
    "chunks_of",
    "on_chunks",
    "own_metadata",
    "split_id",
    "whole_document",
]

CHUNK = "_chunk"
"""Key of a chunk's metadata under which its place stands."""


class ChunkPlace(NamedTuple):
    """Which part of which document a chunk is."""

    parent: str
    """Id of the document."""
    number: int
    """Of the chunk in its document, from 0."""
    total: int
    """Chunks of the document."""
    start: int
    """Offset of its first character in the document's text."""
    end: int
    """Offset behind its last."""

    @classmethod
    def of(cls, chunk: Document) -> ChunkPlace:
        """The place in the metadata of a chunk. Raises CorruptIndexError."""
        try:
            return cls(**chunk.metadata[CHUNK])
        except (KeyError, TypeError) as error:
            raise not_a_chunk(chunk.id) from error


def chunk_id(parent: str, number: int) -> str:
    """Id of a chunk."""
    return f"{parent}#{number}"


def split_id(id: str) -> tuple[str, int]:
    """Id of the document, and number in it, of a chunk. Raises CorruptIndexError."""
    parent, _, number = id.rpartition("#")
    if not parent or not (number.isascii() and number.isdigit()):
        raise not_a_chunk(id)
    return parent, int(number)


def not_a_chunk(id: str) -> CorruptIndexError:
    """What to raise where an index of chunks holds something else."""
    return CorruptIndexError(
        f"{id!r} is no chunk, though the index is one of chunks: it was added by a plain "
        "Retriever. Delete it with one, and add the document with a ParentRetriever"
    )


def own_metadata(chunk: Document) -> dict[str, object]:
    """Metadata of the document of a chunk."""
    return {key: value for key, value in chunk.metadata.items() if key != CHUNK}


def chunks_of(catalog: Catalog, ids: Sequence[str], *, missing_ok: bool = False) -> list[str]:
    """Ids of all chunks of some documents.

    Raises:
        DocumentError: there is no such document, unless ``missing_ok``.
        ConfigurationError: one string for several.
    """
    check_ids(ids)
    heads = catalog.documents([chunk_id(id, 0) for id in ids])
    chunks: list[str] = []
    for id, head in zip(ids, heads, strict=True):
        if head is not None:
            chunks += [chunk_id(id, n) for n in range(ChunkPlace.of(head).total)]
        elif not missing_ok:
            raise DocumentError(f"no document with id {id!r} in {catalog.folder}")
    return chunks


def whole_document(chunks: Sequence[Document]) -> Document:
    """A document of all its chunks, in order.

    Raises:
        CorruptIndexError: they are not all of one document, or leave gaps.
    """
    first = ChunkPlace.of(chunks[0])
    parts: list[str] = []
    reached = 0
    for number, chunk in enumerate(chunks):
        place = ChunkPlace.of(chunk)
        fits = place[:3] == (first.parent, number, len(chunks)) and place.start <= reached
        if not fits or place.end < reached or place.end - place.start != len(chunk.text):
            raise CorruptIndexError(
                f"the chunks of document {first.parent!r} do not fit together: index it again"
            )
        parts.append(chunk.text[reached - place.start :])
        reached = place.end
    return Document(first.parent, "".join(parts), chunks[0].title, own_metadata(chunks[0]))


def on_chunks(filter: Filter | str | None) -> Filter | None:
    """A filter of documents as one of their chunks: ``_id`` is that of the document.

    Raises:
        FilterError
    """
    if filter is None:
        return None
    return _on_chunks(parse_filter(filter) if isinstance(filter, str) else filter)


def _on_chunks(tree: Filter) -> Filter:
    if isinstance(tree, And | Or):
        return replace(tree, operands=tuple(map(_on_chunks, tree.operands)))
    if isinstance(tree, Not):
        return replace(tree, operand=_on_chunks(tree.operand))
    if getattr(tree, "path", None) == ("_id",):
        return replace(tree, path=(CHUNK, "parent"))
    return tree  # what is no filter at all, the search refuses
