"""Dense text encoder: a model of sentence-transformers, for the dense leg of an index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sparseret.documents import Document
from sparseret.encoders.dense_text import load_dense
from sparseret.encoders.model_folder import find_folder, read_license
from sparseret.encoders.saved_folder import known_options, saved_name
from sparseret.encoders.spaces import space_id
from sparseret.errors import ConfigurationError

__all__ = ["DenseTextEncoder"]


class DenseTextEncoder:
    """Vectors of a folder of sentence-transformers: Transformer, Pooling, and maybe Normalize.

    Satisfies :class:`sparseret.protocols.DenseEncoder`. Weights are loaded at the first text.

    Args:
        folder: of the model, or the id of such a repository of the Hugging Face Hub.
        metric: how vectors are compared: their cosine, or their inner product as they are.
        max_length: tokens of a text that are read; None takes what the folder says, else 256.
            Longer texts are cut, and counted in :attr:`truncated`.
        batch_tokens: tokens that go through the model at a time.
        device: of torch.

    The last two say how to run, not what comes out, and are not part of :attr:`options`.

    Raises:
        ConfigurationError: no such model, or an option out of its range.
    """

    name = "dense"

    def __init__(
        self,
        folder: str | Path,
        *,
        metric: Literal["cosine", "ip"] = "cosine",
        max_length: int | None = None,
        batch_tokens: int = 4096,
        device: str = "cpu",
    ) -> None:
        if metric not in ("cosine", "ip"):
            raise ConfigurationError(f"metric must be cosine or ip, got {metric!r}")
        self._root = root = find_folder(folder)
        self.dense = load_dense(
            root, max_length=max_length, batch_tokens=batch_tokens, device=device
        )
        """The model."""
        self.metric: Literal["cosine", "ip"] = metric
        self.license = read_license(root)
        """Licence of the model by the folder's own word; None where it says nothing."""
        self._name = saved_name(folder, root)

    @property
    def options(self) -> dict[str, Any]:
        """What was chosen and changes vectors, as JSON values."""
        return {"folder": self._name, "metric": self.metric, "max_length": self.dense.max_length}

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> DenseTextEncoder:
        """Undo :attr:`options`. Raises ConfigurationError for an unknown one."""
        return cls(**known_options(cls, options))

    @cached_property
    def space(self) -> str:
        """Id of the vector space: model, tokenizer and settings."""
        return space_id(self.name, self.dense.identity)

    @property
    def description(self) -> str:
        """One line for people."""
        return f"dense ({self._root.name}, {self.dense.max_length} tokens, {self.metric})"

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.dense.n_features

    @property
    def truncated(self) -> int:
        """Texts of which tokens were left out, so far."""
        return self.dense.truncated

    def encode_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """Vectors of documents, title and text read as one, float32, shape (len(documents), dim).

        Raises:
            ConfigurationError: the model cannot be used.
            MissingExtraError: torch or transformers is not installed.
        """
        return self.dense.document_vectors(documents, show_progress=show_progress)

    def encode_queries(
        self, queries: Sequence[str], *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """Vectors of queries, float32, shape (len(queries), dim); errors as for documents."""
        return self.dense.query_vectors(queries, show_progress=show_progress)
