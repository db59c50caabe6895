"""Documents of Haystack as documents of an index, and back, without loss.

The content is the text, ``meta`` the metadata. A non-empty string ``meta["title"]`` is the title,
and is searched with the text. What else a document may have, such as its embedding, is kept under
the key ``_haystack`` of the metadata.
"""

from __future__ import annotations

import base64
from typing import Any

from haystack.dataclasses import ByteStream, Document, SparseEmbedding

from sparseret import documents as ours
from sparseret.errors import DocumentError
from sparseret.retriever import Result

__all__ = ["EMBEDDING", "KEPT", "from_haystack", "to_haystack"]

KEPT = "_haystack"
"""Key of the metadata under which stands what only Haystack knows."""
EMBEDDING = (KEPT, "embedding")
"""Keys that lead to the embedding of a document."""
_NO_CONTENT = "no_content"


def from_haystack(document: Document) -> ours.Document:
    """A document as an index keeps it.

    Raises:
        DocumentError: metadata that uses the key ``_haystack``.
    """
    metadata = dict(document.meta)
    if KEPT in metadata:
        raise DocumentError(f"document {document.id!r}: the key {KEPT} of meta is reserved")
    title = metadata.get("title")
    if isinstance(title, str) and title:
        del metadata["title"]
    else:
        title = ""
    if kept := _kept(document):
        metadata[KEPT] = kept
    return ours.Document(document.id, document.content or "", title, metadata)


def to_haystack(
    document: ours.Document | Result, *, score: float | None = None, embedding: bool = True
) -> Document:
    """A document as it was written.

    Args:
        document: of an index, or found in it, whoever wrote it.
        score: of a search; None for the one that it was written with.
        embedding: whether to give its embedding, too.
    """
    meta = dict(document.metadata)
    kept = meta.pop(KEPT, {})
    if document.title:
        meta["title"] = document.title
    blob, sparse = kept.get("blob"), kept.get("sparse_embedding")
    return Document(
        id=document.id,
        content=None if _NO_CONTENT in kept else document.text,
        blob=blob and ByteStream(base64.b64decode(blob["data"]), blob["meta"], blob["mime_type"]),
        meta=meta,
        score=kept.get("score") if score is None else score,
        embedding=kept.get("embedding") if embedding else None,
        sparse_embedding=sparse and SparseEmbedding(sparse["indices"], sparse["values"]),
    )


def _kept(document: Document) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    if document.content is None:
        kept[_NO_CONTENT] = True
    if document.blob is not None:
        kept["blob"] = {
            "data": base64.b64encode(document.blob.data).decode("ascii"),
            "meta": document.blob.meta,
            "mime_type": document.blob.mime_type,
        }
    if document.score is not None:
        kept["score"] = float(document.score)
    if document.embedding is not None:
        kept["embedding"] = [float(value) for value in document.embedding]
    if document.sparse_embedding is not None:
        kept["sparse_embedding"] = {
            "indices": [int(index) for index in document.sparse_embedding.indices],
            "values": [float(value) for value in document.sparse_embedding.values],
        }
    return kept
