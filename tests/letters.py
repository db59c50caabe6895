"""A dense encoder without a model, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sparseret import Document

__all__ = ["WORDS", "Letters"]

WORDS = ["lift", "wing", "drag", "flow", "heat", "shock", "plate", "jet", "wake", "noise"]


class Letters:
    """Words at random, but always the same, directions."""

    name = "letters"
    options: Mapping[str, Any] = {}
    dim = 16

    def __init__(
        self, metric: Literal["cosine", "ip"] = "cosine", space: str = "letters/1"
    ) -> None:
        self.metric = metric
        self.space = space if metric == "cosine" else f"{space}/{metric}"
        self.description = f"letters ({metric})"
        self.encoded: list[int] = []
        """How many documents it was given at a time."""
        self.fails = False
        """Whether queries raise an error."""

    def encode_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        self.encoded.append(len(documents))
        return self._encode([d if isinstance(d, str) else d.content for d in documents])

    def encode_queries(
        self, queries: Sequence[str], *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        if self.fails:
            raise RuntimeError("out of memory, say")
        return self._encode(queries)

    def _encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        made = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(made, texts, strict=True):
            for word in text.lower().split():
                row += np.random.default_rng(list(word.encode())).standard_normal(self.dim)
        return made
