"""An index in the making, of documents whose vectors come as terms and values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret import vectors
from sparseret.documents import Document
from sparseret.errors import ConfigurationError, VectorError
from sparseret.exchange.making import new_folder
from sparseret.legs import AnyEncoder
from sparseret.protocols import CollectionEncoder, DenseEncoder, Encoder
from sparseret.retriever import Retriever

__all__ = ["Imported", "NewIndex", "new_index"]

_MAX_NAMED = 2**22
_CACHED = 2**20


class Imported(NamedTuple):
    """What an import made."""

    n_documents: int
    note: str = ""
    """What the user should know, if anything."""


class NewIndex:
    """Takes documents with their terms, in the vector space of an encoder.

    Args:
        retriever: an empty index of one leg of sparse vectors.

    Raises:
        ConfigurationError: an encoder that makes dense vectors.
    """

    def __init__(self, retriever: Retriever) -> None:
        encoder = retriever.encoder
        if isinstance(encoder, DenseEncoder) or not isinstance(encoder, Encoder):
            raise ConfigurationError(
                f"the encoder {encoder.name!r} makes dense vectors, and these are terms with "
                "weights: give another --encoder, or none"
            )
        self.retriever = retriever
        self.encoder = encoder
        self._grows = isinstance(encoder, CollectionEncoder)
        self._columns: dict[str, int] = {}
        if not self._grows:
            self._columns = _columns_by_term(encoder)

    def columns(self, terms: Sequence[str]) -> NDArray[np.int32]:
        """Column of each term, int32; terms that a growing vocabulary lacks are added to it.

        Raises:
            VectorError: a term that the encoder does not have, or that none can be.
        """
        known = self._columns
        fresh = [term for term in dict.fromkeys(terms) if term not in known]
        if fresh and not self._grows:
            raise VectorError(
                f"the encoder {self.encoder.name!r} has no term {fresh[0]!r}: give the --encoder "
                "that made the weights, or none for queries of terms"
            )
        if fresh:
            for term in fresh:
                if not term or "\0" in term:
                    raise VectorError(f"{term!r} is no term: give it a character, and no U+0000")
            if len(known) > _CACHED:
                self._columns = known = {}
                fresh = list(dict.fromkeys(terms))
            writer = self.retriever.index.writer
            writer.begin()
            found = writer.vocabulary.columns(fresh, add=True).tolist()
            known.update(zip(fresh, found, strict=True))
        return np.fromiter(map(known.__getitem__, terms), np.int32, len(terms))

    def add(
        self,
        documents: Sequence[Document],
        indptr: NDArray[np.int64],
        columns: NDArray[np.int32],
        values: NDArray[np.float32],
    ) -> None:
        """Append documents; columns of a row in any order, zeros are dropped.

        Raises:
            VectorError: values that cannot be.
            DuplicateIdError, DocumentError, StorageError
        """
        width = self.encoder.dim
        if width is None:
            width = max(1, len(self.retriever.index.writer.vocabulary))
        signed = self.encoder.signed and not self._grows
        rows = vectors.check(vectors.from_arrays(indptr, columns, values, width), signed=signed)
        self.retriever.index.append([d.id for d in documents], [rows], documents)


@contextmanager
def new_index(
    out: str | Path,
    encoder: str | AnyEncoder,
    encoder_options: Mapping[str, Any] | None = None,
) -> Iterator[NewIndex]:
    """An index that appears at ``out``, merged, when the block ends without an error.

    Raises:
        IndexExistsError, ConfigurationError, StorageError
    """
    with new_folder(out) as folder:
        retriever = Retriever.create(folder, encoder, encoder_options=encoder_options)
        try:
            yield NewIndex(retriever)
            retriever.commit()
            retriever.merge()
        finally:
            retriever.close()


def _columns_by_term(encoder: Encoder) -> dict[str, int]:
    dim = encoder.dim
    if dim is None or dim > _MAX_NAMED:
        raise ConfigurationError(
            f"the encoder {encoder.name!r} does not list its terms: import without it, or vectors "
            "from Parquet"
        )
    found: dict[str, int] = {}
    for column in range(dim):
        try:
            term = encoder.term(column)
        except KeyError:
            continue
        if found.setdefault(term, column) != column:
            raise ConfigurationError(
                f"the encoder {encoder.name!r} calls columns {found[term]} and {column} both "
                f"{term!r}: its terms do not tell its columns; exchange it as Parquet"
            )
    return found
