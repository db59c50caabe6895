r"""BM25 as sparse vectors: the dot product of a query's and a document's vector is the score.

With tf the term's frequency in the document, l the document's length, L the mean length, df the
number of documents with the term, N the number of documents and B = 1 - b + b * l / L:

=========  =================================  ========================================
variant    query weight (times the term's     document weight
           frequency in the query)
=========  =================================  ========================================
lucene     ln(1 + (N - df + 0.5)/(df + 0.5))  tf / (tf + k1 B)
robertson  max(0, ln((N - df + 0.5)/          tf / (tf + k1 B)
           (df + 0.5)))
atire      ln(N / df)                         (k1 + 1) tf / (tf + k1 B)
bm25l      ln((N + 1)/(df + 0.5))             (k1 + 1)(c + delta)/(k1 + c + delta), c = tf/B
bm25+      ln((N + 1)/df)                     delta + (k1 + 1) tf / (tf + k1 B)
=========  =================================  ========================================

Formulas: Kamphuis, de Vries, Boytsov and Lin, "Which BM25 Do You Mean?", ECIR 2020, Table 1;
BM25L and BM25+: Lv and Zhai, SIGIR 2011 and CIKM 2011, where only terms that the document holds
contribute (bm25s adds delta for absent terms too, a constant that leaves every ranking as it is).

Fields follow Robertson, Zaragoza and Taylor, "Simple BM25 Extension to Multiple Weighted Fields",
CIKM 2004: tf and l are sums over fields of weight times frequency and weight times length, as if
a field of weight 2 stood twice in the document. With all weights 1 this is BM25 on their
concatenation.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from sparseret import kernels, vectors
from sparseret.analysis import Analysis, load_analyzer, restore_analyzer
from sparseret.documents import Document
from sparseret.encoders.vocabulary import MemoryVocabulary, OverlaidVocabulary
from sparseret.errors import ConfigurationError, VectorError
from sparseret.progress import progress_bar
from sparseret.protocols import Statistics, Vocabulary

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["BM25Encoder", "Variant"]

Variant = Literal["lucene", "robertson", "atire", "bm25l", "bm25+"]

_BATCH = 1000
_MAX_CACHED_TOKENS = 1_000_000
_UNKNOWN = -1  # as vocabularies answer
_STOP_WORD = -2
_ABSENT = -3  # unknown, in a vocabulary that does not grow


class CollectionStatistics(NamedTuple):
    """Counts over a fixed collection (:class:`sparseret.protocols.Statistics`)."""

    n_documents: int
    mean_length: float
    frequencies: NDArray[np.int64]
    """Document frequency of each column, shape (n_columns,)."""

    def document_frequencies(self, columns: NDArray[np.int32]) -> NDArray[np.int64]:
        """Documents that hold each column; 0 for columns past the last known."""
        inside = columns < len(self.frequencies)
        return np.where(inside, self.frequencies[np.where(inside, columns, 0)], 0)


class BM25Encoder:
    """BM25 over a vocabulary that grows with the documents.

    Alone it works in the manner of scikit-learn: :meth:`fit` counts a collection, and the encode
    methods then use its statistics. In an index, the index keeps vocabulary and counts, and
    :meth:`bind` gives an encoder that uses those: weights follow every addition and deletion.

    Args:
        variant: see the module's table.
        k1: term frequency saturation, at least 0.
        b: strength of length normalisation, 0 to 1.
        delta: lower bound of the term frequency part, for bm25l (default 0.5) and bm25+ (1.0).
        fields: weight of each field, above 0: "title", "text" or a metadata key that holds a
            string. Default ``{"title": 1, "text": 1}``.
        language: of the default analyzer (:func:`sparseret.analysis.load_analyzer`).
        analyzer: anything that satisfies :class:`sparseret.analysis.Analysis`, instead of
            ``language``.

    Raises:
        ConfigurationError: an option out of its range.
    """

    name = "bm25"
    signed = False

    def __init__(
        self,
        *,
        variant: Variant = "lucene",
        k1: float = 1.5,
        b: float = 0.75,
        delta: float | None = None,
        fields: Mapping[str, float] | None = None,
        language: str = "english",
        analyzer: Analysis | None = None,
    ) -> None:
        if variant not in get_args(Variant):
            raise ConfigurationError(
                f"variant {variant!r} is not one of {', '.join(get_args(Variant))}"
            )
        if delta is None:
            delta = {"bm25l": 0.5, "bm25+": 1.0}.get(variant, 0.0)
        elif variant not in ("bm25l", "bm25+"):
            raise ConfigurationError(f"delta has no meaning for variant {variant!r}")
        self.variant: Variant = variant
        self.k1 = _number("k1", k1, 0, math.inf)
        self.b = _number("b", b, 0, 1)
        self.delta = _number("delta", delta, 0, math.inf)
        if not isinstance(fields, (Mapping, type(None))):
            raise ConfigurationError(
                f"fields must map names to weights, as {{'title': 2, 'text': 1}}, got {fields!r}"
            )
        self.fields = {"title": 1.0, "text": 1.0} if fields is None else dict(fields)
        if not self.fields:
            raise ConfigurationError("fields is empty: give at least one, such as {'text': 1}")
        for field, weight in self.fields.items():
            if _number(f"weight of field {field!r}", weight, 0, math.inf) == 0:
                raise ConfigurationError(f"field {field!r} has weight 0: leave it out")
        if not isinstance(language, str):
            raise ConfigurationError(f"language must be a name, got {language!r}")
        if not isinstance(analyzer, (Analysis, type(None))):
            raise ConfigurationError(
                f"analyzer must be an object with tokens(), term(), ..., got {analyzer!r}; "
                "give a name as language"
            )
        self.analyzer = load_analyzer(language) if analyzer is None else analyzer
        self._weights = np.array(list(self.fields.values()), dtype=np.float64)
        self._vocabulary: Vocabulary = MemoryVocabulary()
        self._statistics: Statistics | None = None
        self._columns: dict[str, int] = {}  # token -> column, _STOP_WORD or _ABSENT
        self._fixed = False

    # --- identity ---------------------------------------------------------------------------

    @property
    def options(self) -> dict[str, Any]:
        """Constructor options as JSON values (:func:`sparseret.registry.load_encoder`)."""
        options: dict[str, Any] = {"variant": self.variant, "k1": self.k1, "b": self.b}
        if self.variant in ("bm25l", "bm25+"):
            options["delta"] = self.delta
        return {**options, "fields": self.fields, "analyzer": self.analyzer.to_dict()}

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> BM25Encoder:
        """Undo :attr:`options`. Raises ConfigurationError for an unknown one."""
        given = dict(options)
        if isinstance(given.get("analyzer"), Mapping):
            given["analyzer"] = restore_analyzer(given["analyzer"])
        known = {"variant", "k1", "b", "delta", "fields", "language", "analyzer"}
        if unknown := sorted(given.keys() - known):
            raise ConfigurationError(
                f"bm25 has no option {unknown[0]!r}; it has {', '.join(sorted(known))}"
            )
        return cls(**given)

    @property
    def space(self) -> str:
        """Id of the vector space: parameters, fields and analyzer."""
        identity = json.dumps(
            [self.variant, self.k1, self.b, self.delta, self.fields, self.analyzer.spec]
        )
        return f"bm25/{sha256(identity.encode()).hexdigest()[:16]}"

    @property
    def description(self) -> str:
        """One line for people."""
        delta = f", delta={self.delta:g}" if self.variant in ("bm25l", "bm25+") else ""
        fields = "".join(f", {f}×{w:g}" for f, w in self.fields.items() if w != 1)
        language = getattr(self.analyzer, "language", None) or type(self.analyzer).__name__
        return f"bm25 ({self.variant}, k1={self.k1:g}, b={self.b:g}{delta}{fields}, {language})"

    @property
    def dim(self) -> int | None:
        """None: the number of columns grows with the vocabulary."""
        return None

    def term(self, column: int) -> str:
        """The term of a column. Raises KeyError where there is none."""
        return self._vocabulary.term(column)

    def bind(self, vocabulary: Vocabulary, statistics: Statistics | None) -> BM25Encoder:
        """The same encoder over another vocabulary and collection; this one is unchanged.

        Without statistics it can count, but not encode; with them, the vocabulary is that of the
        collection and must not grow but through this encoder.
        """
        bound = BM25Encoder.__new__(BM25Encoder)
        bound.__dict__.update(self.__dict__)
        bound._vocabulary, bound._statistics, bound._columns = vocabulary, statistics, {}
        bound._fixed = statistics is not None
        return bound

    # --- vectors ----------------------------------------------------------------------------

    def fit(
        self, documents: Iterable[Document | str], *, show_progress: bool = False
    ) -> BM25Encoder:
        """Count a collection; its vocabulary and statistics are used from now on. Returns self."""
        self._vocabulary, self._columns = MemoryVocabulary(), {}
        counts = self.count_documents(list(documents), show_progress=show_progress)
        n = counts.shape[0]
        self._statistics = CollectionStatistics(
            n_documents=n,
            mean_length=float(counts.data.sum(dtype=np.float64)) / n if n else 0.0,
            frequencies=np.bincount(counts.indices, minlength=len(self._vocabulary)),
        )
        return self

    def count_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> csr_array:
        """Weighted term frequencies, float32, shape (n, vocabulary); new terms get columns."""
        names = list(self.fields)
        parts = []
        with progress_bar("Counting terms", len(documents), show=show_progress) as advance:
            for begin in range(0, len(documents), _BATCH):
                batch = documents[begin : begin + _BATCH]
                texts = [_field(document, name) for document in batch for name in names]
                parts.append(self._count(texts, self._weights, add=True))
                advance(len(batch))
        return self._stack(parts)

    def encode_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> csr_array:
        """BM25 document weights under the statistics of the fitted or bound collection.

        Terms outside the vocabulary get columns, which no query weight meets before the next fit;
        bound to a collection, they have none, but count in the length of their document.

        Raises:
            ConfigurationError: neither fitted nor bound.
        """
        statistics = self._require_statistics()
        counting = self
        if self._fixed:  # what a collection holds is not for readers to change
            counting = self.bind(OverlaidVocabulary(self._vocabulary), None)
        counts = counting.count_documents(documents, show_progress=show_progress)
        sizes = np.diff(counts.indptr)
        row_of = np.repeat(np.arange(len(sizes)), sizes)
        lengths = np.bincount(row_of, weights=counts.data, minlength=len(sizes))
        counts.data = self.weigh(
            counts.data, lengths.astype(np.float32)[row_of], statistics.mean_length
        )
        if not self._fixed:
            return counts
        known = counts.indices < len(self._vocabulary)
        kept = np.bincount(row_of[known], minlength=len(sizes))
        indptr = np.concatenate(([0], np.cumsum(kept))).astype(np.int64)
        columns, data = counts.indices[known], counts.data[known]
        return vectors.from_arrays(indptr, columns, data, len(self._vocabulary))

    def encode_queries(self, queries: Sequence[str], *, show_progress: bool = False) -> csr_array:
        """Query weights: inverse document frequency times frequency in the query.

        Unknown words, stop words and words in no document have no column.

        Raises:
            ConfigurationError: neither fitted nor bound.
        """
        statistics = self._require_statistics()
        parts = []
        with progress_bar("Encoding queries", len(queries), show=show_progress) as advance:
            for begin in range(0, len(queries), _BATCH):
                batch = queries[begin : begin + _BATCH]
                parts.append(self._count(batch, np.ones(1), add=False))
                advance(len(batch))
        rows = self._stack(parts)
        idf = self._idf(statistics.document_frequencies(rows.indices), statistics.n_documents)
        rows.data = (rows.data * idf).astype(np.float32)
        if not rows.data.all():
            return vectors.check(rows)  # drops them
        return rows

    def weigh(
        self, values: NDArray[np.float32], lengths: NDArray[np.float32], mean_length: float
    ) -> NDArray[np.float32]:
        """Document weights of term frequencies; elementwise, float32."""
        tf = values.astype(np.float64)
        relative = lengths.astype(np.float64) / mean_length if mean_length else 1.0
        norm = 1 - self.b + self.b * relative
        if self.variant == "bm25l":
            c = tf / norm + self.delta
            weights = (self.k1 + 1) * c / (self.k1 + c)
        else:
            weights = tf / (tf + self.k1 * norm)
            if self.variant in ("atire", "bm25+"):
                weights = (self.k1 + 1) * weights + self.delta
        return weights.astype(np.float32)

    def term_weights(self, columns: NDArray[np.int32]) -> NDArray[np.float32]:
        """Inverse document frequencies, shape of ``columns``; 0 where no document has the term.

        Raises:
            ConfigurationError: neither fitted nor bound.
        """
        statistics = self._require_statistics()
        frequencies = statistics.document_frequencies(columns)
        return self._idf(frequencies, statistics.n_documents).astype(np.float32)

    def _idf(self, df: NDArray[np.int64], n: int) -> NDArray[np.float64]:
        """Inverse document frequency; 0 where no document has the term."""
        seen = np.maximum(df, 1).astype(np.float64)
        if self.variant == "lucene":
            idf = np.log1p((n - seen + 0.5) / (seen + 0.5))
        elif self.variant == "robertson":
            idf = np.log(np.maximum((n - seen + 0.5) / (seen + 0.5), 1.0))
        elif self.variant == "atire":
            idf = np.log(n / seen)
        elif self.variant == "bm25l":
            idf = np.log((n + 1) / (seen + 0.5))
        else:
            idf = np.log((n + 1) / seen)
        return np.where(df > 0, idf, 0.0)

    # --- counting ---------------------------------------------------------------------------

    def _count(
        self, texts: Sequence[str], weights: NDArray[np.float64], *, add: bool
    ) -> kernels.Rows:
        """Counts of rows given as one text per field, field by field."""
        token_lists = [self.analyzer.tokens(text) if text else [] for text in texts]
        ends = np.array([0, *accumulate(map(len, token_lists))], dtype=np.int64)
        flat = list(chain.from_iterable(token_lists))
        columns = self._token_columns(flat, add=add)
        return kernels.count_terms(ends, columns, weights)

    def _token_columns(self, tokens: list[str], *, add: bool) -> NDArray[np.int32]:
        """Column of each token, negative for stop words and, without ``add``, unknown terms."""
        known = self._columns
        # The tokens of a batch make a small table, which stays in the processor's cache; the
        # large one is looked into once a distinct token.
        local = {token: known.get(token, _UNKNOWN) for token in dict.fromkeys(tokens)}
        unresolved = (_UNKNOWN, _ABSENT) if add else (_UNKNOWN,)
        fresh = [token for token, column in local.items() if column in unresolved]
        if fresh:
            terms = [self.analyzer.term(token) for token in fresh]
            columns = self._vocabulary.columns([t for t in terms if t is not None], add=add)
            found = iter(columns.tolist())
            resolved = {
                token: _STOP_WORD if term is None else next(found)
                for token, term in zip(fresh, terms, strict=True)
            }
            local.update(resolved)
            if len(known) > _MAX_CACHED_TOKENS:  # a new dict: other threads may read the old one
                self._columns = known = {}
            for token, column in resolved.items():
                if column != _UNKNOWN:
                    known[token] = column
                elif self._fixed:  # else what is unknown today may be known tomorrow
                    known[token] = _ABSENT
        return np.fromiter(map(local.__getitem__, tokens), np.int32, len(tokens))

    def _stack(self, parts: Sequence[kernels.Rows]) -> csr_array:
        if len(parts) == 1:
            return vectors.from_arrays(*parts[0], len(self._vocabulary))
        indptr = [np.zeros(1, np.int64)]
        total = 0
        for part in parts:
            indptr.append(part.indptr[1:] + total)
            total += int(part.indptr[-1])
        return vectors.from_arrays(
            np.concatenate(indptr),
            np.concatenate([np.empty(0, np.int32), *(part.columns for part in parts)]),
            np.concatenate([np.empty(0, np.float32), *(part.values for part in parts)]),
            len(self._vocabulary),
        )

    def _require_statistics(self) -> Statistics:
        if self._statistics is None:
            raise ConfigurationError(
                "BM25 weights need a collection: call fit(documents), or use a Retriever"
            )
        return self._statistics

    # --- saving -----------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write options, and after :meth:`fit` vocabulary and statistics, to a folder."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        config: dict[str, Any] = {"encoder": self.name, "options": self.options}
        if isinstance(self._vocabulary, MemoryVocabulary):
            config["vocabulary"] = self._vocabulary.terms
        if isinstance(self._statistics, CollectionStatistics):
            config["n_documents"] = self._statistics.n_documents
            config["mean_length"] = self._statistics.mean_length
            config["frequencies"] = self._statistics.frequencies.tolist()
        (folder / "encoder.json").write_text(json.dumps(config, ensure_ascii=False), "utf-8")

    @classmethod
    def load(cls, path: str | Path) -> BM25Encoder:
        """Read what :meth:`save` wrote.

        Raises:
            ConfigurationError: the folder holds no BM25 encoder.
        """
        file = Path(path) / "encoder.json"
        try:
            config = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{file} cannot be read: {error}") from error
        if not isinstance(config, dict) or config.get("encoder") != cls.name:
            raise ConfigurationError(f"{file} does not describe a {cls.name} encoder")
        encoder = cls.from_options(config["options"])
        encoder._vocabulary = MemoryVocabulary(config.get("vocabulary", []))
        if "frequencies" in config:
            encoder._statistics = CollectionStatistics(
                config["n_documents"],
                config["mean_length"],
                np.array(config["frequencies"], dtype=np.int64),
            )
        return encoder


def _field(document: Document | str, name: str) -> str:
    if isinstance(document, str):
        return document if name == "text" else ""
    if name == "text":
        return document.text
    if name == "title":
        return document.title
    value = document.metadata.get(name, "")
    if not isinstance(value, str):
        raise VectorError(
            f"document {document.id!r}: field {name!r} holds {type(value).__name__}, not a string"
        )
    return value


def _number(name: str, value: float, low: float, high: float) -> float:
    if not isinstance(value, (int, float)) or not low <= value <= high or math.isinf(value):
        upper = f"to {high:g}" if math.isfinite(high) else "or more"
        raise ConfigurationError(f"{name} must be a number, {low:g} {upper}, got {value!r}")
    return float(value)
