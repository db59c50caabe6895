"""The document side of SPLADE encoders: fields and pruning around a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparseret import vectors
from sparseret.documents import Document
from sparseret.encoders.fields import field_text, whole_text
from sparseret.encoders.model_folder import model_digest
from sparseret.encoders.row_ops import Pruning, join_rows, prune_rows
from sparseret.encoders.splade_model import SpladeModel
from sparseret.kernels import Rows
from sparseret.progress import progress_bar

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["SpladeDocuments", "describe", "identity"]


class SpladeDocuments:
    """Documents to vectors.

    Args:
        model: the language model.
        prompt: put before every text.
        pruning: which weights are kept, after fields are joined.
        fields: weight of each field; empty to encode title and text as one string.
    """

    def __init__(
        self, model: SpladeModel, prompt: str, pruning: Pruning, fields: dict[str, float]
    ) -> None:
        self.model = model
        self.prompt = prompt
        self.pruning = pruning
        self.fields = fields

    def encode(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> csr_array:
        """Vectors, float32, shape (len(documents), dim)."""
        if not self.fields:
            rows = self._encode(whole_text(documents), self.pruning, show_progress)
        else:
            names = list(self.fields)
            rows = self._encode(
                [field_text(document, name) for document in documents for name in names],
                Pruning(),
                show_progress,
            )
            places = np.arange(len(rows.indptr) - 1)
            weights = np.array(list(self.fields.values()), dtype=np.float32)
            scaled = rows.values * np.repeat(weights[places % len(names)], np.diff(rows.indptr))
            rows = prune_rows(
                join_rows(
                    Rows(rows.indptr, rows.columns, scaled),
                    places // len(names),
                    len(documents),
                    self.model.reading.pooling,
                ),
                self.pruning,
            )
        return vectors.from_arrays(*rows, self.model.dim)

    def _encode(self, texts: list[str], pruning: Pruning, show_progress: bool) -> Rows:
        with progress_bar("Encoding documents", len(texts), show=show_progress) as advance:
            return self.model.encode(texts, pruning, prompt=self.prompt, advance=advance)

    @property
    def identity(self) -> list[Any]:
        """JSON values that change with everything that changes document vectors."""
        return [*identity(self.model, self.prompt, self.pruning), self.fields]


def identity(model: SpladeModel, prompt: str, pruning: Pruning) -> list[Any]:
    """JSON values that change with everything that changes a model's vectors."""
    reading = model.reading
    return [
        model_digest(model.folder),
        reading.pooling,
        reading.activation,
        reading.max_length,
        reading.long,
        reading.precision,
        prompt,
        pruning.options,
    ]


def describe(documents: SpladeDocuments) -> str:
    """Main parameters of the document side, for people."""
    reading = documents.model.reading
    parts = [f"{reading.pooling} pooling", f"{reading.max_length} tokens"]
    if reading.activation != "relu":
        parts.append("double logarithm")
    if reading.long == "windows":
        parts.append("in windows")
    parts += [f"{name}={value:g}" for name, value in documents.pruning.options.items()]
    parts += [f"{name}×{weight:g}" for name, weight in documents.fields.items()]
    if reading.precision != "float32":
        parts.append(reading.precision)
    return ", ".join([documents.model.folder.name, *parts])
