"""What SPLADE encoders have in common: documents, by a model with fields and pruning around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sparseret import vectors
from sparseret.documents import Document
from sparseret.encoders.fields import describe_fields, encode_fields
from sparseret.encoders.model_folder import model_digest, read_license
from sparseret.encoders.row_ops import Pruning, prune_rows
from sparseret.encoders.saved_folder import known_options, read_saved
from sparseret.encoders.splade_model import SpladeModel
from sparseret.kernels import Rows
from sparseret.progress import progress_bar

if TYPE_CHECKING:
    from scipy.sparse import csr_array
    from typing_extensions import Self

__all__ = ["MaskedLMEncoder", "SpladeDocuments", "identity"]


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


class MaskedLMEncoder:
    """Base of encoders whose documents a masked language model reads.

    Args:
        root: the model's folder.
        documents: their side.
        query_pruning: which weights of queries are kept.
        given: options that only the constructor knows as they were given: ``folder``, ``pruning``
            and ``query_pruning``, ``pooling`` and ``activation``, and those of the method alone.
    """

    name: ClassVar[str]
    signed = False

    def __init__(
        self,
        root: Path,
        documents: SpladeDocuments,
        query_pruning: Pruning,
        given: Mapping[str, Any],
    ) -> None:
        self._root = root
        self._documents = documents
        self._query_pruning = query_pruning
        self.license = read_license(root)
        """Licence of the weights by the folder's own word; None where it says nothing."""
        reading = documents.model.reading
        prunings = {"pruning": documents.pruning, "query_pruning": query_pruning}
        self._options: dict[str, Any] = {
            **given,
            "max_length": reading.max_length,
            "long": None if reading.long == "truncate" else reading.long,
            **{
                # Where nothing was asked for, the folder is asked again.
                key: pruning.options or (None if given[key] is None else {})
                for key, pruning in prunings.items()
            },
            "fields": documents.fields or None,
            "precision": None if reading.precision == "float32" else reading.precision,
        }

    @property
    def options(self) -> dict[str, Any]:
        """What was chosen and changes vectors, as JSON values."""
        return {name: value for name, value in self._options.items() if value is not None}

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Undo :attr:`options`. Raises ConfigurationError for an unknown one."""
        return cls(**known_options(cls, options))

    @property
    def description(self) -> str:
        """One line for people."""
        documents = self._documents
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
        return f"{self.name} ({', '.join([documents.model.folder.name, *parts])})"

    @property
    def dim(self) -> int:
        """Size of the documents' vocabulary."""
        return self._documents.model.dim

    def term(self, column: int) -> str:
        """The token of a column. Raises KeyError where there is none."""
        return self._documents.model.tokenizer.token(column)

    def encode_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> csr_array:
        """Document vectors, float32, shape (len(documents), dim).

        Raises:
            ConfigurationError: the model cannot be used.
            MissingExtraError: a package that runs it is not installed.
        """
        return self._documents.encode(documents, show_progress=show_progress)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what ``save`` wrote. Raises ConfigurationError where it cannot."""
        return cls(**known_options(cls, read_saved(Path(path), cls.name)))
