"""Texts as binary codes: each word has cells of its own, a text those that its words have most.

With R(w) the k cells that a hash gives a word w, tf its frequency in the text and

    score(c) = sum over words w with c in R(w) of (1 + ln tf(w)),

the code of a text is the union of its R(w) or, where that has more cells than are to be active,
the cells of largest score, ties going to the cell that comes first in an order that is the same
for all texts. So two texts that share words share cells: a word of one that is in the other gives
k shared cells as long as neither text is full. The common order of ties keeps the same cells of
what two full texts share, as bottom-k sketches do.

Random indexing: Kanerva, Kristoferson and Holst, "Random indexing of text samples for latent
semantic analysis", CogSci 2000; here the sum of the words' vectors is cut to a binary code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparseret.analysis import Analysis, load_analyzer
from sparseret.documents import Document
from sparseret.encoders.options import analysis_options, read_description, write_description
from sparseret.encoders.sdr_hash import cells_of, scatter
from sparseret.encoders.spaces import space_id
from sparseret.errors import ConfigurationError
from sparseret.progress import progress_bar
from sparseret.vectors import from_arrays

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["SdrTextEncoder"]

_BATCH = 1000
_MAX_CELLS = 2**31 - 1
_MAX_CACHED = 200_000


class SdrTextEncoder:
    """Binary codes of texts (``sdr``). Scores are numbers of shared cells.

    Nothing is learned and no vocabulary is kept; words of any text have a code at once. That has a
    price: a rare word counts as much as a frequent one.

    Args:
        cells: columns, n.
        active: most cells that a text may have.
        cells_per_word: k.
        ngrams: runs of up to so many words have cells, too; 1 for words alone.
        seed: of the hash; other seeds give codes that do not compare.
        language: of the default analyzer (:func:`sparseret.analysis.load_analyzer`).
        analyzer: anything that satisfies :class:`sparseret.analysis.Analysis`, instead.

    Raises:
        ConfigurationError: not 1 <= cells_per_word <= active <= cells, ngrams not 1 to 5, or an
            unknown language.
    """

    name = "sdr"
    signed = False

    def __init__(
        self,
        *,
        cells: int = 16384,
        active: int = 256,
        cells_per_word: int = 8,
        ngrams: int = 1,
        seed: int = 0,
        language: str = "english",
        analyzer: Analysis | None = None,
    ) -> None:
        numbers = {"cells": cells, "active": active, "cells_per_word": cells_per_word,
                   "ngrams": ngrams, "seed": seed}  # fmt: skip
        for name, value in numbers.items():
            if not isinstance(value, int):
                raise ConfigurationError(f"{name} must be a whole number, got {value!r}")
        if not 1 <= cells_per_word <= active <= cells <= _MAX_CELLS:
            raise ConfigurationError(
                f"{cells_per_word} cells a word, {active} active of {cells} cells: each is at "
                f"least 1, at most the next, and cells at most {_MAX_CELLS:,}"
            )
        if not 1 <= ngrams <= 5 or not -(2**63) <= seed < 2**63:
            raise ConfigurationError(f"ngrams {ngrams}: 1 to 5; seed {seed}: a number of 64 bits")
        self.cells, self.active = cells, active
        self.cells_per_word, self.ngrams, self.seed = cells_per_word, ngrams, seed
        self.analyzer = load_analyzer(language) if analyzer is None else analyzer
        self._known: dict[str, NDArray[np.int32]] = {}

    @property
    def options(self) -> dict[str, Any]:
        """Constructor options as JSON values (:func:`sparseret.registry.load_encoder`)."""
        return {
            "cells": self.cells,
            "active": self.active,
            "cells_per_word": self.cells_per_word,
            "ngrams": self.ngrams,
            "seed": self.seed,
            "analyzer": self.analyzer.to_dict(),
        }

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> SdrTextEncoder:
        """Undo :attr:`options`. Raises ConfigurationError for an unknown one."""
        return cls(**analysis_options(cls, options))

    @property
    def space(self) -> str:
        """Id of the vector space: sizes, seed and analyzer."""
        made = [self.cells, self.active, self.cells_per_word, self.ngrams, self.seed]
        return space_id(self.name, [*made, self.analyzer.spec])

    @property
    def description(self) -> str:
        """One line for people."""
        runs = f", runs of {self.ngrams} words" if self.ngrams > 1 else ""
        return (
            f"sdr ({self.cells:,} cells, up to {self.active:,} active, {self.cells_per_word} a "
            f"word{runs})"
        )

    @property
    def dim(self) -> int:
        """Number of cells."""
        return self.cells

    def term(self, column: int) -> str:
        """The number of the cell: many words share it, and none is kept.

        Raises:
            KeyError: there is no such cell.
        """
        if not 0 <= column < self.cells:
            raise KeyError(column)
        return f"cell {column}"

    def encode_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> csr_array:
        """Codes of title and text together, float32, values 1, shape (len(documents), cells)."""
        texts = [d if isinstance(d, str) else d.content for d in documents]
        return self._encode(texts, "Encoding documents", show_progress)

    def encode_queries(self, queries: Sequence[str], *, show_progress: bool = False) -> csr_array:
        """As documents: queries are texts."""
        return self._encode(queries, "Encoding queries", show_progress)

    def save(self, path: str | Path) -> None:
        """Write the options to a folder."""
        write_description(Path(path), {"encoder": self.name, "options": self.options})

    @classmethod
    def load(cls, path: str | Path) -> SdrTextEncoder:
        """Read what :meth:`save` wrote. Raises ConfigurationError for any other folder."""
        config = read_description(Path(path), cls.name)
        return cls.from_options(config["options"])

    def _encode(self, texts: Sequence[str], what: str, show_progress: bool) -> csr_array:
        codes = []
        with progress_bar(what, len(texts), show=show_progress) as advance:
            for begin in range(0, len(texts), _BATCH):
                batch = texts[begin : begin + _BATCH]
                codes += [self._code(text) for text in batch]
                advance(len(batch))
        indptr = np.concatenate(([0], np.cumsum([len(code) for code in codes]))).astype(np.int64)
        columns = np.concatenate([np.empty(0, np.int32), *codes])
        return from_arrays(indptr, columns, np.ones(len(columns), np.float32), self.cells)

    def _code(self, text: str) -> NDArray[np.int32]:
        """Active cells of a text, ascending."""
        counts = Counter(self._terms(text))
        if not counts:
            return np.empty(0, np.int32)
        cells = np.concatenate([self._cells(term) for term in counts])
        weights = np.repeat(1 + np.log(list(counts.values())), self.cells_per_word)
        distinct, place = np.unique(cells, return_inverse=True)
        if len(distinct) <= self.active:
            return distinct
        # Whole numbers: sums of floats would depend on the order of the words.
        scores = np.zeros(len(distinct), np.int64)
        np.add.at(scores, place, np.round(weights * 2**20).astype(np.int64))
        order = np.lexsort((scatter(distinct.astype(np.uint64), self.seed), -scores))
        return np.sort(distinct[order[: self.active]])

    def _terms(self, text: str) -> list[str]:
        terms = [self.analyzer.term(token) for token in self.analyzer.tokens(text)]
        words = [term for term in terms if term is not None]
        runs = [
            " ".join(words[begin : begin + length])
            for length in range(2, self.ngrams + 1)
            for begin in range(len(words) - length + 1)
        ]
        return words + runs

    def _cells(self, term: str) -> NDArray[np.int32]:
        if term not in self._known:
            if len(self._known) >= _MAX_CACHED:
                self._known = {}  # a new one: other threads may read the old
            self._known[term] = cells_of(term, self.cells_per_word, self.cells, self.seed)
        return self._known[term]
