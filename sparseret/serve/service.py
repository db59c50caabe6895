"""What the routes of a service share: its indexes, encoders, threads and limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from starlette.requests import Request

from sparseret.parents import ParentRetriever
from sparseret.protocols import DenseEncoder, Encoder, Reranker
from sparseret.registry import load_any_encoder
from sparseret.retriever import Retriever
from sparseret.serve.bodies import JSON, M, parse, read_body
from sparseret.serve.front import may_write
from sparseret.serve.keys import KeyFile
from sparseret.serve.metrics import Metrics
from sparseret.serve.problems import Problem
from sparseret.serve.served import ServedIndex, ServedIndexes
from sparseret.serve.settings import Settings
from sparseret.serve.work import Ticket, Work

__all__ = ["Service"]

T = TypeVar("T")
_SMALL = 2**16
"""Bytes of a body that are parsed in a tenth of the time that passing it to a thread takes."""


class Service:
    """Everything behind the routes.

    Args:
        folders: indexes, and at most one folder of indexes (:meth:`ServedIndexes.open`).
        settings: limits and addresses.
        encoders: by name, those that are offered for encoding and for new indexes; strings are
            names of the registry, such as "splade:FOLDER".
        reranker: rates texts for ``/rerank``.
        keys: None for a service that is open to all who reach it.

    Raises:
        ConfigurationError, StorageError, IncompatibleIndexError, CorruptIndexError
    """

    def __init__(
        self,
        folders: Sequence[str | Path],
        settings: Settings | None = None,
        *,
        encoders: Mapping[str, str | Encoder | DenseEncoder] | None = None,
        reranker: Reranker | None = None,
        keys: KeyFile | None = None,
    ) -> None:
        self.settings = settings = settings or Settings()
        self.keys = keys
        self.reranker = reranker
        made = {
            name: load_any_encoder(each) if isinstance(each, str) else each
            for name, each in (encoders or {}).items()
        }
        self.indexes = ServedIndexes.open(folders, settings.max_batch, made.values())
        self.encoders = {name: self.indexes.share(each) for name, each in made.items()}
        self.reads = Work(settings.threads, settings.queue, settings.timeout, "read")
        self.writes = Work(4, settings.write_queue, settings.write_timeout, "write")
        self.metrics = Metrics(
            lambda: (self.reads.taken, self.writes.taken),
            lambda: {index.name: len(index.opened) for index in self.indexes.all()},
        )

    def warm(self) -> None:
        """Load models and map files now, which would make the first clients wait.

        Raises:
            ConfigurationError, MissingExtraError: a model that cannot be used.
        """
        for encoder in self.encoders.values():
            encoder.encode_queries(["warm"])
        for index in self.indexes.all():
            index.retriever.retrieve(["warm"], 1, threads=1)

    async def read(self, request: Request, task: Callable[[Ticket], T]) -> T:
        """The result of a task that changes nothing.

        Raises:
            Problem: too busy, or too slow.
        """
        return await self.reads.run(request, task)

    async def write(
        self,
        request: Request,
        index: ServedIndex,
        change: Callable[[Retriever | ParentRetriever], T],
    ) -> T:
        """Make a change and commit it; nothing is changed where this raises.

        Raises:
            Problem: too busy, too slow, or a key that may not.
        """
        return await self.writes.run(request, lambda ticket: index.write(ticket, change))

    def check_write(self, request: Request) -> None:
        """Refuse a key that may only read. Raises Problem."""
        may_write(request.scope, keys=self.keys is not None)

    async def body(self, request: Request, model: type[M]) -> M:
        """The JSON body of a request, checked.

        Raises:
            Problem: of another type, too large or too slow.
            pydantic.ValidationError: not what the model says.
        """
        settings = self.settings
        raw = await read_body(request, settings.max_body, JSON)
        if len(raw) <= _SMALL:
            return parse(model, raw)
        return await self.read(request, lambda _: parse(model, raw))

    def sparse_encoder(self) -> Encoder:
        """That of the service, or of the first index that has one. Raises Problem (424)."""
        for encoder in self._encoders():
            if not isinstance(encoder, DenseEncoder):
                return encoder
        raise Problem(424, "Backend", "no encoder of sparse vectors is served: give --encoder")

    def dense_encoder(self) -> DenseEncoder:
        """That of the service, or of the first index that has one. Raises Problem (424)."""
        for encoder in self._encoders():
            if isinstance(encoder, DenseEncoder):
                return encoder
        raise Problem(424, "Backend", "no encoder of dense vectors is served: give --encoder")

    def _encoders(self) -> Iterator[Encoder | DenseEncoder]:
        """Those of the service, then those of its indexes as they are now."""
        yield from self.encoders.values()
        for index in self.indexes.all():
            yield from index.retriever.current_encoders.values()

    def encoders_served(self) -> list[Encoder | DenseEncoder]:
        """Those behind ``/embed_sparse`` and ``/embed``, where there are any."""
        found: list[Encoder | DenseEncoder] = []
        for find in (self.sparse_encoder, self.dense_encoder):
            with suppress(Problem):
                found.append(find())
        return found

    def without_paths(self, message: str) -> str:
        """A message for clients: indexes by their names, in place of their folders."""
        for index in self.indexes.all():
            message = message.replace(str(index.retriever.path), index.name)
        return message

    def close(self) -> None:
        """Finish what was accepted, and release all files."""
        self.reads.close()
        self.writes.close()
        self.indexes.close()
