"""Terms with weights in place of texts: queries, and documents, of an index made elsewhere.

A text is either a JSON object of weights, ``{"wing": 1.7, "##foil": 0.4}``, or terms between white
space, ``wing lift lift``, each of which weighs as often as it stands there. Nothing is analysed:
terms are those of the index, letter for letter. Weights of documents are stored as they are, under
the columns of the index's vocabulary; the price of a vocabulary without an end is that such an
index is searched exactly (:class:`sparseret.protocols.CollectionEncoder`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparseret import vectors
from sparseret.documents import Document
from sparseret.encoders.vocabulary import MemoryVocabulary
from sparseret.errors import ConfigurationError, VectorError
from sparseret.protocols import Statistics, Vocabulary

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["TermsEncoder", "parse_terms"]


def parse_terms(text: str) -> dict[str, float]:
    """The terms of a text and their weights, in the order they come; zeros are left out.

    Raises:
        VectorError: what begins like a JSON object is none, or a weight is not a number from 0.
    """
    if not text.lstrip().startswith("{"):
        return {term: float(count) for term, count in Counter(text.split()).items()}
    try:
        weights = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise VectorError(
            f'not a JSON object of weights, such as {{"wing": 1.7}}: {error}'
        ) from error
    for term, weight in weights.items():
        number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not number or not 0 <= weight <= float(np.finfo(np.float32).max):
            raise VectorError(f"the weight of {term!r} must be a number from 0, got {weight!r}")
    return {term: float(weight) for term, weight in weights.items() if weight}


class TermsEncoder:
    """Reads texts that are terms with weights, as the module says.

    Alone it keeps its own vocabulary, which grows with the documents it encodes; in an index that
    of the index (:meth:`bind`). Satisfies :class:`sparseret.protocols.CollectionEncoder`.
    """

    name = "terms"
    signed = False
    space = "terms/1"
    description = "terms (with the weights that are given)"

    def __init__(self) -> None:
        self._vocabulary: Vocabulary = MemoryVocabulary()

    @property
    def options(self) -> dict[str, Any]:
        """None."""
        return {}

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> TermsEncoder:
        """Undo :attr:`options`. Raises ConfigurationError for an unknown one."""
        if options:
            raise ConfigurationError(f"terms has no options, and {next(iter(options))!r} is given")
        return cls()

    @property
    def dim(self) -> int | None:
        """None: the number of columns grows with the vocabulary."""
        return None

    def term(self, column: int) -> str:
        """The term of a column. Raises KeyError where there is none."""
        return self._vocabulary.term(column)

    def bind(self, vocabulary: Vocabulary, statistics: Statistics | None) -> TermsEncoder:  # noqa: ARG002
        """The same encoder over another vocabulary; weights do not depend on the statistics."""
        bound = TermsEncoder()
        bound._vocabulary = vocabulary
        return bound

    def weigh(
        self,
        values: NDArray[np.float32],
        lengths: NDArray[np.float32],  # noqa: ARG002
        mean_length: float,  # noqa: ARG002
    ) -> NDArray[np.float32]:
        """The values: weights are stored as they are."""
        return values

    def count_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> csr_array:
        """What an index stores: the weights, as :meth:`encode_documents` gives them."""
        return self.encode_documents(documents, show_progress=show_progress)

    def encode_documents(
        self,
        documents: Sequence[Document | str],
        *,
        show_progress: bool = False,  # noqa: ARG002
    ) -> csr_array:
        """Weights of documents, float32, shape (n, vocabulary); new terms get columns.

        Raises:
            VectorError: weights that cannot be.
        """
        texts = [d.content if isinstance(d, Document) else d for d in documents]
        return self._rows(texts, add=True)

    def encode_queries(
        self,
        queries: Sequence[str],
        *,
        show_progress: bool = False,  # noqa: ARG002
    ) -> csr_array:
        """Weights of queries, float32, shape (n, vocabulary), without unknown terms.

        Raises:
            VectorError: weights that cannot be.
        """
        return self._rows(queries, add=False)

    def _rows(self, texts: Sequence[str], *, add: bool) -> csr_array:
        indptr, columns, values = [0], [np.empty(0, np.int32)], [np.empty(0, np.float32)]
        for text in texts:
            weights = parse_terms(text)
            found = self._vocabulary.columns(list(weights), add=add)
            known = found >= 0
            columns.append(found[known])
            values.append(np.fromiter(weights.values(), np.float32, len(weights))[known])
            indptr.append(indptr[-1] + int(known.sum()))
        rows = vectors.from_arrays(
            np.array(indptr, np.int64), np.concatenate(columns), np.concatenate(values),
            max(1, len(self._vocabulary)),
        )  # fmt: skip
        return vectors.check(rows, signed=False)  # sorts them

    def save(self, path: str | Path) -> None:
        """Write name and vocabulary to a folder."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        terms = [self._vocabulary.term(column) for column in range(len(self._vocabulary))]
        config = {"encoder": self.name, "vocabulary": terms}
        (folder / "encoder.json").write_text(json.dumps(config, ensure_ascii=False), "utf-8")

    @classmethod
    def load(cls, path: str | Path) -> TermsEncoder:
        """Read what :meth:`save` wrote.

        Raises:
            ConfigurationError: the folder holds no such encoder.
        """
        file = Path(path) / "encoder.json"
        try:
            config = json.loads(file.read_text("utf-8"))
            terms = config["vocabulary"] if config["encoder"] == cls.name else None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(f"{file} cannot be read: {error!r}") from error
        if terms is None:
            raise ConfigurationError(f"{file} does not describe a {cls.name} encoder")
        encoder = cls()
        encoder._vocabulary = MemoryVocabulary(terms)
        return encoder
