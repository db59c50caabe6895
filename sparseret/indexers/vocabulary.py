"""The vocabulary kept in the catalog: terms get columns in order of first sight, for good."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sparseret.indexers.catalog import Catalog

__all__ = ["CatalogVocabulary"]


class CatalogVocabulary:
    """Terms and their columns (:class:`sparseret.protocols.Vocabulary`) through one connection.

    Added terms become visible to others with the commit of the transaction they belong to.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._size: int | None = None

    def __len__(self) -> int:
        if self._size is None:
            self._size = self._catalog.count_terms()
        return self._size

    def columns(self, terms: Sequence[str], *, add: bool = False) -> NDArray[np.int32]:
        """Column of each term, int32, -1 where unknown; ``add`` gives unknown ones the next."""
        known = self._catalog.term_columns(terms)
        if add:
            fresh = [term for term in dict.fromkeys(terms) if term not in known]
            if fresh:
                first = len(self)
                self._catalog.add_terms(fresh, first)
                self._size = first + len(fresh)
                known.update(zip(fresh, range(first, self._size), strict=True))
        return np.fromiter((known.get(term, -1) for term in terms), np.int32, len(terms))

    def term(self, column: int) -> str:
        """The term of a column. Raises KeyError where there is none."""
        return self._catalog.term(column)
