"""What the vector stores of several frameworks have in common: legs, and changes that commit.

The index of a store has the legs of its encoders and, where the framework brings dense vectors, a
leg of those.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparseret.documents import Document
from sparseret.errors import ConfigurationError
from sparseret.indexers.catalog import Catalog
from sparseret.legs import AnyEncoder
from sparseret.protocols import DenseEncoder
from sparseret.retriever import Retriever

if TYPE_CHECKING:
    from sparseret.indexers.filters import Filter

__all__ = [
    "EMBEDDING",
    "Changes",
    "create_store",
    "dense_leg",
    "embedding_width",
    "open_store",
    "title_of",
]

EMBEDDING = "embedding"
"""Name of the leg of the framework's vectors, beside others."""


def create_store(
    path: str | Path,
    encoder: str | AnyEncoder | Mapping[str, str | AnyEncoder] | None,
    embedding: DenseEncoder | None,
    **options: Any,
) -> Retriever:
    """Make an empty index.

    Args:
        path: a new or empty folder.
        encoder: of the texts, or several by the names of their legs; None for dense vectors alone.
        embedding: stands for the framework's vectors; None for none.
        options: of :meth:`sparseret.Retriever.create`.

    Raises:
        ConfigurationError: neither, or a leg by the name of that of the vectors.
        IndexExistsError, StorageError
    """
    if embedding is None:
        if encoder is None:
            raise ConfigurationError("a store needs an encoder, or embeddings, or both")
        return Retriever.create(path, encoder, **options)
    if encoder is None:
        encoder = {}
    elif not isinstance(encoder, Mapping):
        name = encoder.partition(":")[0] if isinstance(encoder, str) else encoder.name
        if "encoder_options" in options:
            options["encoder_options"] = {name: options["encoder_options"]}
        encoder = {name: encoder}
    if EMBEDDING in encoder:
        raise ConfigurationError(f"{EMBEDDING!r} is the leg of the embeddings: rename the other")
    return Retriever.create(path, {**encoder, EMBEDDING: embedding}, **options)


def embedding_width(path: str | Path) -> int | None:
    """Width of the framework's vectors in an index; None without a leg of them.

    Raises:
        IndexNotFoundError
    """
    catalog = Catalog(Path(path), writable=False)
    try:
        legs = [leg for leg in catalog.legs if leg.name == EMBEDDING and leg.kind == "dense"]
        return int(catalog.meta(legs[0].key("dim"))) if legs else None
    finally:
        catalog.close()


def open_store(path: str | Path, embedding: DenseEncoder | None) -> Retriever:
    """Open an index that :func:`create_store` made, or one of any other origin.

    Raises:
        ConfigurationError: it has a leg of embeddings and none are given, or the other way round;
            or an encoder cannot be made again.
        IndexNotFoundError, IncompatibleIndexError, CorruptIndexError
    """
    if embedding_width(path) is not None:
        if embedding is None:
            raise ConfigurationError(f"{path} has a leg of embeddings: give embedding=")
        return Retriever.open(path, {EMBEDDING: embedding})
    if embedding is not None:
        raise ConfigurationError(
            f"{path} has no leg of embeddings: open it without them, or make a new index with them"
        )
    return Retriever.open(path)


def dense_leg(retriever: Retriever) -> str | None:
    """Name of the leg that vectors of queries are for: that of embeddings, or the first dense one;
    None where there is none.
    """
    names = [name for name, e in retriever.encoders.items() if isinstance(e, DenseEncoder)]
    return EMBEDDING if EMBEDDING in names else next(iter(names), None)


def title_of(metadata: Mapping[str, Any]) -> str:
    """The title that metadata gives: filters on ``title`` look at that of the document."""
    title = metadata.get("title")
    return title if isinstance(title, str) else ""


class Changes:
    """Changes of an index that are committed at once, or undone where they fail.

    Args:
        retriever: of the index; what was changed through it before is committed, or undone, too.
    """

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever
        self._lock = threading.Lock()

    def put(self, documents: Sequence[Document]) -> None:
        """Add documents, or replace those of the same ids."""
        if documents:
            self._commit(lambda: self._retriever.update(documents))

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents; unknown ids are ignored. Returns how many there were."""
        return self._commit(lambda: self._retriever.delete(ids)) if ids else 0

    def delete_where(self, filter: Filter | str | None) -> int:
        """Delete the documents that satisfy a filter; all of them without one."""
        return self.delete([document.id for document in self._retriever.documents(filter)])

    def _commit(self, change: Callable[[], int]) -> int:
        with self._lock:
            try:
                changed = change()
                self._retriever.commit()
            except BaseException:
                self._retriever.rollback()
                raise
        return changed
