"""MTEB: a search model that its retrieval and reranking tasks run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from importlib.metadata import version
from typing import Any

from sparseret.documents import Document
from sparseret.errors import ConfigurationError, MissingExtraError
from sparseret.indexers.filters import In
from sparseret.integrations.collections import TemporaryIndex, scores_in_order
from sparseret.legs import AnyEncoder
from sparseret.protocols import DenseEncoder
from sparseret.registry import load_any_encoder

try:
    from mteb.models.model_meta import ModelMeta
except ImportError as error:
    raise MissingExtraError("mteb", "mteb", "evaluation by MTEB") from error

__all__ = ["SparseretSearchModel"]


class SparseretSearchModel:
    """Satisfies MTEB's ``SearchProtocol``: it indexes the corpus of a task, and searches it.

    The index is temporary; a model keeps that of the last task until :meth:`close`.

    Args:
        encoder: as in :meth:`sparseret.Retriever.create`: a name, an encoder, or several by the
            names of their legs.
        encoder_options: of a named encoder.
        name: of the model in MTEB's results, as "organisation/model"; None takes the names of the
            encoders.
        recall: of approximate search, 0.5 to 0.999; None for exact results.
        threads: of a search; None for one per core.

    Raises:
        ConfigurationError: an encoder that does not exist, or a name without an organisation.
    """

    def __init__(
        self,
        encoder: str | AnyEncoder | Mapping[str, str | AnyEncoder] = "bm25",
        *,
        encoder_options: Mapping[str, Any] | None = None,
        name: str | None = None,
        recall: float | None = None,
        threads: int | None = None,
    ) -> None:
        several = isinstance(encoder, Mapping)
        named = encoder if isinstance(encoder, Mapping) else {"": encoder}
        options = (encoder_options or {}) if several else {"": encoder_options or {}}
        self._encoders = {
            leg: load_any_encoder(each, options.get(leg)) if isinstance(each, str) else each
            for leg, each in named.items()
        }
        self._index: TemporaryIndex | None = None
        self.name = name or f"sparseret/{'+'.join(e.name for e in self._encoders.values())}"
        if self.name.count("/") != 1:
            raise ConfigurationError(f"name must be organisation/model, got {self.name!r}")
        self.recall = recall
        self.threads = threads

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """What MTEB keeps with results; the revision changes with the encoders and the search."""
        encoders = list(self._encoders.values())
        told = [[leg, e.name, e.options, e.space] for leg, e in self._encoders.items()]
        digest = sha256(json.dumps([told, self.recall], default=str).encode()).hexdigest()[:16]
        dense = {isinstance(encoder, DenseEncoder) for encoder in encoders}
        return ModelMeta.create_empty(
            {
                "name": self.name,
                "revision": f"{version('sparseret')}-{digest}",
                "model_type": [("dense" if kind else "sparse") for kind in sorted(dense)],
                "embed_dim": encoders[0].dim if len(encoders) == 1 else None,
                "open_weights": True,
                "use_instructions": False,
            }
        )

    def index(self, corpus: Any, **_: Any) -> None:
        """Index a corpus, in place of the one before.

        Args:
            corpus: rows with "id", "text" and maybe "title".

        Raises:
            DuplicateIdError, DocumentError, VectorError, StorageError
        """
        self.close()
        encoder = self._encoders.get("", self._encoders)
        self._index = TemporaryIndex(encoder, None, _documents(corpus))

    def search(
        self,
        queries: Any,
        *,
        top_k: int,
        top_ranked: Mapping[str, list[str]] | None = None,
        **_: Any,
    ) -> dict[str, dict[str, float]]:
        """Scores by query and document, of which no two of a query are equal.

        Args:
            queries: rows with "id", "text" and maybe "instruction", which is put after the text.
            top_k: results of a query; fewer where fewer match.
            top_ranked: of reranking tasks, the ids among which to search, by query.

        Raises:
            ConfigurationError: nothing was indexed, or a query that is no text.
        """
        if self._index is None:
            raise ConfigurationError("there is no index yet: call index() with a corpus first")
        ids, texts = list(queries["id"]), _texts(queries)
        retriever = self._index.retriever
        if top_ranked is None:
            hits = retriever.retrieve(texts, top_k, recall=self.recall, threads=self.threads)
            return scores_in_order(ids, hits)
        found: dict[str, dict[str, float]] = {}
        for id, text in zip(ids, texts, strict=True):
            among = In(("_id",), tuple(top_ranked.get(id, ())))
            hits = retriever.retrieve([text], top_k, filter=among, recall=self.recall)
            found |= scores_in_order([id], hits)
        return found

    def close(self) -> None:
        """Remove the index."""
        if self._index is not None:
            self._index.close()
            self._index = None


def _documents(corpus: Any) -> Iterator[Document]:
    for row in corpus:
        yield Document(row["id"], row["text"], row.get("title") or "")


def _texts(queries: Any) -> list[str]:
    texts = list(queries["text"])
    if not all(isinstance(text, str) for text in texts):
        raise ConfigurationError("queries that are conversations are not supported: give texts")
    if "instruction" in queries.column_names:
        instructions = list(queries["instruction"])
        return [f"{t} {i}" if i else t for t, i in zip(texts, instructions, strict=True)]
    return texts
