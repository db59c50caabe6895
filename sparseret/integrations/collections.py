"""Indexes of the collections that evaluation frameworks hand over, in folders that go away."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseret.documents import Document
from sparseret.errors import ConfigurationError
from sparseret.legs import AnyEncoder
from sparseret.protocols import Hits
from sparseret.retriever import Retriever

__all__ = ["TemporaryIndex", "check_collection", "scores_in_order"]


class TemporaryIndex:
    """An index in a temporary folder, which :meth:`close`, or the end of the object, removes.

    Args:
        encoder: as in :meth:`sparseret.Retriever.create`.
        encoder_options: of named encoders.
        documents: what to index.
        show_progress: whether to show how far it is.

    Raises:
        DuplicateIdError, DocumentError, ConfigurationError, VectorError, StorageError
    """

    def __init__(
        self,
        encoder: str | AnyEncoder | Mapping[str, str | AnyEncoder],
        encoder_options: Mapping[str, Any] | None,
        documents: Iterable[Document],
        *,
        show_progress: bool = False,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sparseret-")
        self.retriever = Retriever.create(
            Path(self._folder.name) / "index", encoder, encoder_options=encoder_options
        )
        try:
            self.retriever.add(documents, show_progress=show_progress)
            self.retriever.commit()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the index and remove its folder."""
        self.retriever.close()
        self._folder.cleanup()

    def __enter__(self) -> Retriever:
        return self.retriever

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def check_collection(retriever: Retriever, n_documents: int) -> None:
    """Refuse an index of another collection. Raises ConfigurationError."""
    if len(retriever) != n_documents:
        raise ConfigurationError(
            f"{retriever.path} holds {len(retriever)} documents, and the collection "
            f"{n_documents}: index that collection, or give an encoder in place of the index"
        )


def scores_in_order(query_ids: Iterable[str], hits: Hits) -> dict[str, dict[str, float]]:
    """Scores by query and document, of which no two of a query are equal.

    trec_eval, which frameworks rate with, sorts by score and puts equal scores in the order of
    document ids, in place of that of the results. So a score that is not below the one before is
    made the next float32 below it.
    """
    rows = zip(query_ids, hits.ids, hits.scores, strict=True)
    return {query: dict(zip(ids, _falling(scores), strict=True)) for query, ids, scores in rows}


def _falling(scores: NDArray[np.float32]) -> list[float]:
    falling: list[float] = []
    before = np.float32(np.inf)
    for score in scores:
        before = min(score, np.nextafter(before, np.float32(-np.inf)))
        falling.append(float(before))
    return falling
