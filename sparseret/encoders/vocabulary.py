"""Vocabularies in memory, for encoders used without an index or beside one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sparseret.protocols import Vocabulary

__all__ = ["MemoryVocabulary", "OverlaidVocabulary"]


class MemoryVocabulary:
    """Terms and their columns (:class:`sparseret.protocols.Vocabulary`) in a dict.

    Args:
        terms: initial terms; the position is the column.
    """

    def __init__(self, terms: Sequence[str] = ()) -> None:
        self.terms = list(terms)
        self._columns = {term: column for column, term in enumerate(self.terms)}

    def __len__(self) -> int:
        return len(self.terms)

    def columns(self, terms: Sequence[str], *, add: bool = False) -> NDArray[np.int32]:
        """Column of each term, int32, -1 where unknown; ``add`` gives unknown ones the next."""
        if add:
            for term in terms:
                if term not in self._columns:
                    self._columns[term] = len(self.terms)
                    self.terms.append(term)
        return np.fromiter((self._columns.get(term, -1) for term in terms), np.int32, len(terms))

    def term(self, column: int) -> str:
        """The term of a column. Raises KeyError where there is none."""
        if not 0 <= column < len(self.terms):
            raise KeyError(column)
        return self.terms[column]


class OverlaidVocabulary:
    """A vocabulary as it is, and new terms behind it, which it does not see."""

    def __init__(self, base: Vocabulary) -> None:
        self._base = base
        self._size = len(base)
        self._new = MemoryVocabulary()

    def __len__(self) -> int:
        return self._size + len(self._new)

    def columns(self, terms: Sequence[str], *, add: bool = False) -> NDArray[np.int32]:
        """Column of each term, int32, -1 where unknown; ``add`` gives unknown ones the next."""
        columns = self._base.columns(terms)
        unknown = np.flatnonzero(columns < 0)
        if len(unknown):
            new = self._new.columns([terms[i] for i in unknown.tolist()], add=add)
            columns[unknown] = np.where(new < 0, -1, new + self._size)
        return columns

    def term(self, column: int) -> str:
        """The term of a column. Raises KeyError where there is none."""
        if column < self._size:
            return self._base.term(column)
        return self._new.term(column - self._size)
