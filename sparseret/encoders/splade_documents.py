"""The document side of SPLADE encoders: fields and pruning around a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sparseret import vectors
from sparseret.documents import Document
from sparseret.encoders.fields import describe_fields, encode_fields
from sparseret.encoders.model_folder import model_digest
from sparseret.encoders.row_ops import Pruning, prune_rows
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
        at_once = Pruning() if self.fields else self.pruning

        def encode(texts: list[str]) -> Rows:
            with progress_bar("Encoding documents", len(texts), show=show_progress) as advance:
                return self.model.encode(texts, at_once, prompt=self.prompt, advance=advance)

        rows = encode_fields(documents, self.fields, encode, self.model.reading.pooling)
        if self.fields:
            rows = prune_rows(rows, self.pruning)
        return vectors.from_arrays(*rows, self.model.dim)

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
    parts += describe_fields(documents.fields)
    if reading.precision != "float32":
        parts.append(reading.precision)
    return ", ".join([documents.model.folder.name, *parts])
