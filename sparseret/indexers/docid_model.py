r"""Model-based retrieval: a softmax over the documents of a small corpus in place of an index.

A query x, a dense vector, is classified: every document d is a class, with a row w_d and a bias
b_d of the output layer, and with f the identity or a layer with a residual [1]_::

    f(x)     = x                                  without hidden units
    f(x)     = x + C relu(A x)                    with them
    s(x, d)  = w_d . f(x) + b_d                   the score of a hit
    p(d | x) = softmax over d of  t s(x, d)       what training raises for right documents

``OverDense`` of the paper starts from the dense vectors of the documents as rows w_d, and so do
rows that are added here: before any training (b = 0, C = 0) a search is that of the dense vectors.
Its ``Vanilla`` starts from random rows (:class:`sparseret.train.docid_training.DocidTrainer`).
Here the encoder of x is frozen, so a query costs one encoding and one product with all rows.

References:
    .. [1] Yujia Zhou, Jing Yao, Zhicheng Dou, Ledell Wu, Ji-Rong Wen. DynamicRetriever: A
       Pre-training Model-based IR System with Neither Sparse nor Dense Index. 2022,
       arXiv:2203.00537.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.documents import id_problem
from sparseret.errors import (
    ConfigurationError,
    DocumentError,
    DuplicateIdError,
    IncompatibleIndexError,
    IndexExistsError,
    StorageError,
    VectorError,
)
from sparseret.indexers.dense_exact import as_rows, normalised, product_errors, scan
from sparseret.indexers.docid_file import DocidModel, read_model, write_model
from sparseret.indexers.search import check_count, check_ids
from sparseret.protocols import Hits
from sparseret.vectors import check

__all__ = ["MAX_DOCUMENTS", "DocidIndex", "DocidModel"]

MAX_DOCUMENTS = 1_000_000
"""Of an index: every search multiplies with all, and a step of training, too."""
MAX_VALUES = 2**30
"""Of all rows of an index, which lie in memory: 4 GiB."""

_CORES = os.cpu_count() or 1
_MOST_HITS = 2**62
_BLOCK_VALUES = 2**24
"""Of sparse rows that are made dense at a time."""
_LARGEST = float(np.finfo(np.float32).max) / 4


class _State(NamedTuple):
    """What searches see."""

    model: DocidModel
    rows: NDArray[np.float32]
    """Rows and biases of the output layer as one, shape (n, dim + 1)."""
    largest_norm: float
    blank: NDArray[np.bool_]
    """Documents without a vector, which are never found, shape (n,)."""


class DocidIndex:
    """Documents as classes of a model, searched by dense vectors of queries.

    For small corpora: memory holds all rows, a commit writes the whole file, and documents that
    were added since the model was trained have the dense vectors as they are (:attr:`untrained`).
    Satisfies :class:`sparseret.protocols.Index`; sparse rows are made dense. Usable from several
    threads as long as none changes it.

    Args:
        path: of the file; :meth:`create` and :meth:`open` make indexes.
        model: what the file holds.
        version: digest of the file.
    """

    def __init__(self, path: Path, model: DocidModel, version: str) -> None:
        self.path = path
        self._version = version
        self._state = _see(model)
        self._added: dict[str, NDArray[np.float32]] = {}
        self._deleted: set[str] = set()
        self._trained: DocidModel | None = None
        self._places = {id: place for place, id in enumerate(model.ids)}

    @classmethod
    def create(
        cls, path: str | Path, dim: int, *, space: str = "", cosine: bool = True
    ) -> DocidIndex:
        """Make an empty index.

        Args:
            path: file to write, which must not exist.
            dim: width of the vectors.
            space: id of the vector space, such as that of the dense encoder.
            cosine: whether vectors and queries are scaled to the length 1; else they are taken as
                they are.

        Raises:
            ConfigurationError: a width that cannot be.
            IndexExistsError: there is a file.
            StorageError: the file cannot be written.
        """
        if type(dim) is not int or not 1 <= dim <= 2**16:
            raise ConfigurationError(f"dim must be a whole number from 1 to 65536, got {dim!r}")
        file = Path(path)
        if file.exists():
            raise IndexExistsError(f"{file} exists: open it, or choose another path")
        if not file.parent.is_dir():
            raise StorageError(f"{file.parent} is no folder: make it first")
        model = DocidModel.empty(dim, space=space, cosine=cosine)
        return cls(file, model, write_model(file, model, None))

    @classmethod
    def open(cls, path: str | Path, *, space: str | None = None) -> DocidIndex:
        """Read an index into memory, as it was when it was last committed.

        Args:
            path: its file.
            space: refuse an index of another vector space; None takes any.

        Raises:
            IndexNotFoundError: there is no such file.
            CorruptIndexError: it is truncated, altered, or holds something else.
            IncompatibleIndexError: of another space, or written by a newer version of sparseret.
        """
        file = Path(path)
        model, version = read_model(file)
        if space is not None and space != model.space:
            raise IncompatibleIndexError(
                f"{file} holds vectors of {model.space or 'no named space'}, not of {space}: use "
                "the encoder that it was made with"
            )
        return cls(file, model, version)

    # --- reading ----------------------------------------------------------------------------

    def __len__(self) -> int:
        """Number of documents, without changes that were not committed."""
        return len(self._state.model.ids)

    @property
    def model(self) -> DocidModel:
        """The model that searches use; its arrays are read-only."""
        return self._state.model

    @property
    def untrained(self) -> int:
        """Number of documents whose rows are their dense vectors: no training has seen them."""
        return int(len(self) - self._state.model.trained.sum())

    def search(
        self,
        vectors: Any,
        k: int = 10,
        *,
        allow: Iterable[str] | None = None,
        threads: int | None = None,
    ) -> Hits:
        """The best k documents of each query by s(x, d), exactly; ties in insertion order.

        A query of zeros finds nothing, and a document whose vector was zero is never found.

        Args:
            vectors: of queries, shape (m, dim); dense, or any scipy sparse array.
            k: hits a query, at least 1; there are fewer where fewer documents are allowed.
            allow: ids that may be returned; unknown ones are ignored. None allows all.
            threads: None for one a core; hits do not depend on it.

        Raises:
            VectorError: another width, or values that are not finite.
            ConfigurationError: ``k`` or ``threads`` out of range.
        """
        check_count("k", k)
        if threads is not None:
            check_count("threads", threads)
        state = self._state
        queries = self._rows_of(vectors, "queries")
        asked = np.flatnonzero(queries.any(axis=1))
        found = ~state.blank
        if allow is not None:
            check_ids(allow)
            allowed = np.zeros(len(found), np.bool_)
            allowed[[self._places[id] for id in set(allow) if id in self._places]] = True
            found &= allowed
        ids: list[list[str]] = [[] for _ in queries]
        scores = [np.empty(0, np.float32) for _ in queries]
        if len(asked) and found.any():
            inputs = extended_queries(state.model, queries[asked])
            hits = scan(
                state.rows, inputs, min(int(k), _MOST_HITS),
                errors=product_errors(inputs, state.largest_norm), inside=range(len(found)),
                allowed=None if found.all() else _bitmap(found), threads=threads or _CORES,
            )  # fmt: skip
            names = state.model.ids
            for place, best in zip(asked.tolist(), hits, strict=True):
                ids[place] = [names[row] for row in best.rows.tolist()]
                scores[place] = best.scores
        return Hits(ids, scores)

    # --- changes ----------------------------------------------------------------------------

    def add(self, ids: Sequence[str], vectors: Any) -> None:
        """Append documents, each with its dense vector as its row and no bias.

        No training has seen them: until the next one they are found as by dense search, among rows
        that training has moved. Visible after :meth:`commit`.

        Args:
            ids: distinct, and new.
            vectors: shape (len(ids), dim); dense, or any scipy sparse array.

        Raises:
            DocumentError: an id that cannot be.
            DuplicateIdError: an id that is there.
            VectorError: another shape, or values that are not finite.
            ConfigurationError: more documents than such an index takes.
        """
        check_ids(ids)
        rows = self._rows_of(vectors, "documents")
        if len(rows) != len(ids):
            raise VectorError(f"{len(ids)} ids for {len(rows)} vectors")
        new: dict[str, NDArray[np.float32]] = {}
        for id, row in zip(ids, rows, strict=True):
            if problem := id_problem(id):
                raise DocumentError(f"{problem}; choose another")
            if self._has(id) or id in new:
                raise DuplicateIdError(f"document {id!r} is there already: delete it first", id)
            new[id] = row
        total = len(self._places) - len(self._deleted) + len(self._added) + len(new)
        most = min(MAX_DOCUMENTS, MAX_VALUES // self.model.dim)
        if total > most:
            raise ConfigurationError(
                f"{total:,} documents, and a softmax over those of {self.model.dim} values takes "
                f"at most {most:,}: keep larger corpora as a dense leg of an index "
                "(docs/hybrid.md)"
            )
        self._added |= new

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents; returns how many there were. They are gone after :meth:`commit`."""
        check_ids(ids)
        count = 0
        for id in dict.fromkeys(ids):
            if not self._has(id):
                continue
            count += 1
            if self._added.pop(id, None) is None:
                self._deleted.add(id)
        return count

    def learn(self, model: DocidModel) -> None:
        """Take trained weights, made from :attr:`model`. Visible after :meth:`commit`.

        Raises:
            ConfigurationError: a model of other documents: there were changes meanwhile.
            VectorError: weights that are not finite, or too large.
        """
        now = self._state.model
        if model.ids != now.ids or (model.dim, model.space) != (now.dim, now.space):
            raise ConfigurationError("the model is of other documents: train on that of the index")
        for array in (model.weights, model.bias, model.hidden_in, model.hidden_out):
            # Not below: a NaN is neither.
            if array.size and not float(np.abs(array).max()) < _LARGEST:
                raise VectorError(
                    "training made weights that are not finite: lower the learning rate"
                )
        self._trained = model

    def commit(self) -> None:
        """Write all changes and make them visible: the file is replaced whole, or not at all.

        Raises:
            IndexLockedError: another writer has changed the file since it was read.
            StorageError: the file cannot be written; what was committed before is intact.
        """
        if not (self._added or self._deleted or self._trained):
            return
        model = self._state.model if self._trained is None else self._trained
        if self._deleted:
            model = model.kept(np.array([id not in self._deleted for id in model.ids]))
        if self._added:
            model = model.extended(list(self._added), np.stack(list(self._added.values())))
        self._version = write_model(self.path, model, self._version)
        self._state = _see(model)
        self._places = {id: place for place, id in enumerate(model.ids)}
        self.rollback()

    def rollback(self) -> None:
        """Forget what was not committed."""
        self._added, self._deleted, self._trained = {}, set(), None

    def _has(self, id: str) -> bool:
        return id in self._added or (id in self._places and id not in self._deleted)

    def _rows_of(self, vectors: Any, what: str) -> NDArray[np.float32]:
        """Finite float32 rows, of length 1 where the metric is the cosine. Raises VectorError."""
        model = self._state.model
        rows = vectors
        if hasattr(vectors, "tocsr"):
            csr = check(vectors, dim=model.dim)
            size = max(1, _BLOCK_VALUES // model.dim)
            rows = np.empty(csr.shape, np.float32)
            for begin in range(0, len(rows), size):
                rows[begin : begin + size] = csr[begin : begin + size].toarray()
        rows = as_rows(rows, model.dim, what)
        return normalised(rows) if model.cosine else rows.copy()


def extended_queries(model: DocidModel, queries: NDArray[np.float32]) -> NDArray[np.float32]:
    """f(x) of each row and a 1 behind it, for the bias; float32, shape (m, dim + 1).

    Summed in float64 along rows, one query at a time: a query's result is its own.
    """
    made = np.ones((len(queries), model.dim + 1), np.float32)
    made[:, :-1] = queries
    if len(model.hidden_in):
        inner, outer = (a.astype(np.float64) for a in (model.hidden_in, model.hidden_out))
        for row, query in zip(made, queries.astype(np.float64), strict=True):
            hidden = np.maximum((inner * query).sum(axis=1), 0.0)
            row[:-1] = query + (outer * hidden).sum(axis=1)
    if not np.isfinite(made).all():
        raise VectorError("queries are too large for the model: scale them down")
    return made


def _see(model: DocidModel) -> _State:
    rows = np.concatenate([model.weights, model.bias[:, None]], axis=1)
    wide = np.square(rows, dtype=np.float64).sum(axis=1)
    largest = float(np.nextafter(np.sqrt(wide.max(initial=0.0)), np.inf))
    blank = np.logical_not(rows[:, :-1].any(axis=1))
    rows.flags.writeable = False
    # The weights are in memory once.
    return _State(replace(model, weights=rows[:, :-1], bias=rows[:, -1]), rows, largest, blank)


def _bitmap(mask: NDArray[np.bool_]) -> NDArray[np.uint64]:
    packed = np.packbits(mask, bitorder="little")
    made = np.zeros(-(-len(packed) // 8) * 8, np.uint8)
    made[: len(packed)] = packed
    return made.view(np.uint64)
