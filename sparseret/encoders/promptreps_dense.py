"""The dense half of PromptReps (:mod:`sparseret.encoders.promptreps`), for a leg of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sparseret.documents import Document
from sparseret.encoders.promptreps import PromptRepsEncoder

__all__ = ["PromptRepsDenseEncoder"]


class PromptRepsDenseEncoder:
    """Last hidden states of a prompted language model, compared by cosine.

    Satisfies :class:`sparseret.protocols.DenseEncoder`. In an index that has the sparse half in
    another leg, with the same options, both come from one run of the model.

    Args:
        source: the sparse half, which makes both.
    """

    name = "promptreps-dense"
    metric: Literal["cosine", "ip"] = "cosine"

    def __init__(self, source: PromptRepsEncoder) -> None:
        self.source = source
        source.remembers = True

    def share(self, source: object) -> None:
        """Use another sparse half that makes the same vectors, to run the model once for both."""
        if isinstance(source, PromptRepsEncoder) and source.space == self.source.space:
            self.source = source
            source.remembers = True

    @property
    def options(self) -> dict[str, Any]:
        """Those of the sparse half."""
        return self.source.options

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> PromptRepsDenseEncoder:
        """Undo :attr:`options`. Raises ConfigurationError for an unknown or missing one."""
        return cls(PromptRepsEncoder.from_options(options))

    @property
    def description(self) -> str:
        """One line for people."""
        return f"dense half of {self.source.description}"

    @property
    def space(self) -> str:
        """Id of the vector space."""
        return f"{self.source.space}/dense"

    @property
    def dim(self) -> int:
        """Width of the model's hidden states."""
        return int(self.source.model.hidden_size)

    @property
    def license(self) -> str | None:
        """Licence of the model by the folder's own word; None where it says nothing."""
        return self.source.license

    def encode_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """Rows of length 1, or 0 for empty texts, float32, shape (len(documents), dim)."""
        return self.source.encode_dense_documents(documents, show_progress=show_progress)

    def encode_queries(
        self, queries: Sequence[str], *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """Rows of length 1, or 0 for empty texts, float32, shape (len(queries), dim)."""
        return self.source.encode_dense_queries(queries, show_progress=show_progress)
