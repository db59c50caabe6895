"""Texts of requests that arrive together go through a model together.

There is no waiting for company: a text goes at once where the model is free, and those that come
while it is busy make the next batch.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from sparseret.documents import Document
from sparseret.protocols import CollectionEncoder, DenseEncoder, Encoder, TermWeights
from sparseret.serve.problems import Problem
from sparseret.serve.work import Ticket, current_ticket
from sparseret.views.view import FAILURES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

__all__ = ["BatchingDenseEncoder", "BatchingEncoder", "MicroBatcher", "batching"]

R = TypeVar("R")
_REMEMBERED = 1024
"""Queries whose vectors are kept: an explanation asks for that of the search again."""


class _Waiting(Generic[R]):
    """Texts of one request."""

    def __init__(self, texts: list[str], ticket: Ticket | None) -> None:
        self.texts = texts
        self.ticket = ticket
        self.rows: R | None = None
        self.error: Exception | None = None
        self.done = False


class MicroBatcher(Generic[R]):
    """A function of texts, called with those of all threads that wait for it.

    Args:
        encode: texts to rows that can be sliced.
        max_texts: of one call, unless a single request has more.
    """

    def __init__(self, encode: Callable[[list[str]], R], max_texts: int) -> None:
        self._encode = encode
        self._max_texts = max_texts
        self._queue: deque[_Waiting[R]] = deque()
        self._turn = threading.Condition()
        self._busy = False
        self.calls = 0
        """Calls of the function so far."""

    def __call__(self, texts: Sequence[str]) -> R:
        """Rows of these texts alone. What the function raises for them is raised here."""
        mine: _Waiting[R] = _Waiting(list(texts), current_ticket())
        with self._turn:
            self._queue.append(mine)
        while True:
            with self._turn:
                while self._busy and not mine.done:
                    self._turn.wait()
                if mine.done:
                    break
                self._busy = True
                batch = self._take()
            try:
                self._run(batch)
            finally:
                with self._turn:
                    self._busy = False
                    self._turn.notify_all()
        if mine.error is not None:
            raise mine.error
        rows: Any = mine.rows
        return rows  # type: ignore[no-any-return]

    def _take(self) -> list[_Waiting[R]]:
        """The requests that have waited longest, without those that nobody waits for."""
        batch: list[_Waiting[R]] = []
        texts = 0
        while self._queue and (not batch or texts + len(self._queue[0].texts) <= self._max_texts):
            each = self._queue.popleft()
            if each.ticket is not None and not each.ticket.wanted:
                each.error, each.done = Problem(504, "Timeout", "the request was given up"), True
                continue
            batch.append(each)
            texts += len(each.texts)
        return batch

    def _run(self, batch: list[_Waiting[R]]) -> None:
        try:
            self._encode_all(batch)
        except FAILURES as error:
            if len(batch) > 1:  # one text may have spoilt it for the others
                for each in batch:
                    self._run([each])
            elif batch:
                batch[0].error = error
                batch[0].done = True
        finally:
            for each in batch:
                if not each.done:
                    each.error = each.error or RuntimeError("the encoder was interrupted")
                    each.done = True

    def _encode_all(self, batch: list[_Waiting[R]]) -> None:
        if not batch:
            return
        self.calls += 1
        rows: Any = self._encode([text for each in batch for text in each.texts])
        first = 0
        for each in batch:
            each.rows = rows if len(batch) == 1 else rows[first : first + len(each.texts)]
            first += len(each.texts)
            each.done = True


class _Remembering(Generic[R]):
    """Vectors of single queries, the last asked for."""

    def __init__(self, encode: Callable[[Sequence[str]], R]) -> None:
        self._encode = encode
        self._known: OrderedDict[str, R] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, queries: Sequence[str]) -> R:
        if len(queries) != 1:
            return self._encode(queries)
        query = queries[0]
        with self._lock:
            if query in self._known:
                self._known.move_to_end(query)
                return self._known[query]
        rows = self._encode(queries)
        with self._lock:
            self._known[query] = rows
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return rows


class BatchingEncoder:
    """An encoder of sparse vectors whose queries, and few documents, go in micro-batches."""

    def __init__(self, encoder: Encoder, max_texts: int) -> None:
        self.inner = encoder
        self._max_texts = max_texts
        queries: MicroBatcher[csr_array] = MicroBatcher(encoder.encode_queries, max_texts)
        self._queries = _Remembering(queries)
        self._documents: MicroBatcher[csr_array] = MicroBatcher(encoder.encode_documents, max_texts)

    @property
    def name(self) -> str:
        """Of the encoder within, as are all others."""
        return self.inner.name

    @property
    def options(self) -> dict[str, Any]:
        """JSON values from which the registry can make the encoder again."""
        return self.inner.options

    @property
    def description(self) -> str:
        """One line for people."""
        return self.inner.description

    @property
    def dim(self) -> int | None:
        """Number of columns."""
        return self.inner.dim

    @property
    def signed(self) -> bool:
        """Whether vectors may hold negative values."""
        return self.inner.signed

    @property
    def space(self) -> str:
        """Stable id of the vector space."""
        return self.inner.space

    def encode_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> csr_array:
        """Document vectors, float32, shape (len(documents), dim)."""
        texts = [each for each in documents if isinstance(each, str)]
        if len(texts) < len(documents) or len(texts) > self._max_texts:
            return self.inner.encode_documents(documents, show_progress=show_progress)
        return self._documents(texts)

    def encode_queries(self, queries: Sequence[str], *, show_progress: bool = False) -> csr_array:
        """Query vectors, float32, shape (len(queries), dim)."""
        if len(queries) > self._max_texts:
            return self.inner.encode_queries(queries, show_progress=show_progress)
        return self._queries(queries)

    def term(self, column: int) -> str:
        """The word behind a column."""
        return self.inner.term(column)

    def save(self, path: str | Path) -> None:
        """Write the encoder to a folder."""
        self.inner.save(path)


class BatchingDenseEncoder:
    """An encoder of dense vectors whose queries, and few documents, go in micro-batches."""

    def __init__(self, encoder: DenseEncoder, max_texts: int) -> None:
        self.inner = encoder
        self._max_texts = max_texts
        queries: MicroBatcher[NDArray[np.float32]] = MicroBatcher(encoder.encode_queries, max_texts)
        self._queries = _Remembering(queries)
        self._documents: MicroBatcher[NDArray[np.float32]] = MicroBatcher(
            encoder.encode_documents, max_texts
        )

    @property
    def name(self) -> str:
        """Of the encoder within, as are all others."""
        return self.inner.name

    @property
    def options(self) -> dict[str, Any]:
        """JSON values from which the registry can make the encoder again."""
        return self.inner.options

    @property
    def description(self) -> str:
        """One line for people."""
        return self.inner.description

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.inner.dim

    @property
    def metric(self) -> Literal["cosine", "ip"]:
        """How vectors are compared."""
        return self.inner.metric

    @property
    def space(self) -> str:
        """Stable id of the vector space."""
        return self.inner.space

    def encode_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """Document vectors, float32, shape (len(documents), dim)."""
        texts = [each for each in documents if isinstance(each, str)]
        if len(texts) < len(documents) or len(texts) > self._max_texts:
            return self.inner.encode_documents(documents, show_progress=show_progress)
        return self._documents(texts)

    def encode_queries(
        self, queries: Sequence[str], *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """Query vectors, float32, shape (len(queries), dim)."""
        if len(queries) > self._max_texts:
            return self.inner.encode_queries(queries, show_progress=show_progress)
        return self._queries(queries)


def batching(encoder: Encoder | DenseEncoder, max_texts: int) -> Encoder | DenseEncoder:
    """The encoder in micro-batches; one that weighs terms itself, without a model, as it is."""
    if isinstance(encoder, (CollectionEncoder, TermWeights)):
        return encoder
    if isinstance(encoder, DenseEncoder):
        return BatchingDenseEncoder(encoder, max_texts)
    return BatchingEncoder(encoder, max_texts)
