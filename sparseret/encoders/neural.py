"""What the encoders by transformers share: options, identity, batches, saving.

A method says how a text is read (:meth:`NeuralEncoder.read`) and what a batch of readings becomes
(:meth:`NeuralEncoder.rows_of`); everything else is here.
"""

from __future__ import annotations

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret import vectors
from sparseret.documents import Document
from sparseret.encoders.checkpoints import load_tokenizer
from sparseret.encoders.model_folder import (
    digest_of_files,
    find_folder,
    read_license,
    weight_files,
)
from sparseret.encoders.reading import Reading, SpecialTokens, special_tokens
from sparseret.encoders.saved_folder import known_options, read_saved, saved_name
from sparseret.encoders.text_batches import text_chunks, token_batches
from sparseret.errors import ConfigurationError
from sparseret.progress import progress_bar

if TYPE_CHECKING:
    from scipy.sparse import csr_array
    from tokenizers import Tokenizer
    from typing_extensions import Self

__all__ = ["Expansion", "NeuralEncoder", "Row", "token_text", "whole_number"]

Expansion = Callable[[Sequence[str]], Sequence[str]]
"""Document expansion: the texts of documents -> what is appended to each, "" for nothing."""

_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt")


class Row(NamedTuple):
    """One vector."""

    columns: NDArray[np.int32]
    """Ascending, unique."""
    values: NDArray[np.float32]
    """Finite, none zero."""


class NeuralEncoder(ABC):
    """Base of encoders that run a transformer from a folder.

    Args:
        folder: of the model: config.json, weights, tokenizer; or the id of a Hugging Face
            repository.
        settings: the method's own options as JSON values; all of them change vectors.
        batch_tokens: tokens in a batch, padding included: bounds memory, changes no vector.
        device: where torch computes, such as "cpu" or "cuda".

    Attributes:
        truncated: how many texts did not fit so far.
    """

    name: ClassVar[str]
    signed = False

    def __init__(
        self, folder: str | Path, settings: Mapping[str, Any], *, batch_tokens: int, device: str
    ) -> None:
        self.folder = find_folder(folder)
        self._given = saved_name(folder, self.folder)
        self.settings = dict(settings)
        self.batch_tokens = whole_number("batch_tokens", batch_tokens, 1)
        self.device = device
        self.truncated = 0

    # --- the method -------------------------------------------------------------------------

    @property
    @abstractmethod
    def dim(self) -> int | None:
        """Number of columns."""

    @abstractmethod
    def term(self, column: int) -> str:
        """What a column stands for. Raises KeyError where there is none."""

    @abstractmethod
    def read(self, texts: Sequence[str], *, query: bool) -> list[Reading]:
        """What the model reads of each text; no positions where it has no token of its own."""

    @abstractmethod
    def rows_of(self, readings: Sequence[Reading], *, query: bool) -> list[Row]:
        """Vectors of a batch of readings, each of which has a position."""

    # --- identity ---------------------------------------------------------------------------

    @property
    def options(self) -> dict[str, Any]:
        """Constructor options as JSON values (:func:`sparseret.registry.load_encoder`).

        What says how to run and changes no vector, ``batch_tokens`` and ``device``, is no part.
        """
        return {"folder": self._given, **self.settings}

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Undo :attr:`options`. Raises ConfigurationError for an unknown or missing one."""
        return cls(**known_options(cls, options))

    @cached_property
    def space(self) -> str:
        """Id of the vector space: options that change vectors, and the digest of the files."""
        identity = json.dumps([self.settings, digest_of_files(self._files())], sort_keys=True)
        return f"{self.name}/{sha256(identity.encode()).hexdigest()[:16]}"

    def _files(self) -> list[Path]:
        """The files that vectors depend on."""
        return [*weight_files(self.folder), *(self.folder / name for name in _TOKENIZER_FILES)]

    @property
    def description(self) -> str:
        """One line for people."""
        settings = "".join(
            f", {key}={value}" for key, value in self.settings.items() if value is not None
        )
        return f"{self.name} ({self.folder.name}{settings})"

    @cached_property
    def license(self) -> str | None:
        """Licence of the weights, as the folder states it; None where it does not."""
        return read_license(self.folder)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Of the folder."""
        return load_tokenizer(self.folder)

    @cached_property
    def special_tokens(self) -> SpecialTokens:
        """What the tokenizer puts around a text."""
        return special_tokens(self.tokenizer)

    # --- vectors ----------------------------------------------------------------------------

    def encode_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> csr_array:
        """Document vectors, float32, shape (len(documents), dim); title and text read as one.

        Raises:
            MissingExtraError: torch or transformers is not installed.
            ConfigurationError: the folder does not hold a model of this method.
        """
        texts = [d if isinstance(d, str) else d.content for d in documents]
        return self._encode(texts, query=False, show_progress=show_progress)

    def encode_queries(self, queries: Sequence[str], *, show_progress: bool = False) -> csr_array:
        """Query vectors, float32, shape (len(queries), dim); errors as of documents."""
        return self._encode(queries, query=True, show_progress=show_progress)

    def _encode(self, texts: Sequence[str], *, query: bool, show_progress: bool) -> csr_array:
        rows: list[Row] = []
        what = "Encoding queries" if query else "Encoding documents"
        with progress_bar(what, len(texts), show=show_progress) as advance:
            for _, chunk in text_chunks(texts):
                rows += self._chunk(chunk, query, advance)
        return self._stack(rows)

    def _chunk(
        self, texts: Sequence[str], query: bool, advance: Callable[[int], None]
    ) -> list[Row]:
        import torch

        readings = self.read(texts, query=query)
        self.truncated += sum(reading.truncated for reading in readings)
        rows = [Row(np.empty(0, np.int32), np.empty(0, np.float32))] * len(texts)
        full = [i for i, reading in enumerate(readings) if reading.positions]
        advance(len(texts) - len(full))
        chosen = [readings[i] for i in full]
        with torch.inference_mode():
            ids = [reading.ids for reading in chosen]
            for batch in token_batches(ids, batch_tokens=self.batch_tokens):
                places = batch.rows.tolist()
                made = self.rows_of([chosen[i] for i in places], query=query)
                for i, row in zip(places, made, strict=True):
                    rows[full[i]] = row
                advance(len(places))
        return rows

    def _stack(self, rows: Sequence[Row]) -> csr_array:
        ends = np.cumsum([0, *(len(row.columns) for row in rows)], dtype=np.int64)
        columns = [np.empty(0, np.int32), *(row.columns for row in rows)]
        values = [np.empty(0, np.float32), *(row.values for row in rows)]
        return vectors.from_arrays(
            ends, np.concatenate(columns), np.concatenate(values), self._width()
        )

    def _width(self) -> int:
        """Columns of the vectors made now."""
        return self.dim or 0

    # --- saving -----------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Copy the model's files to a folder, with the options in encoder.json."""
        target = Path(path)
        target.mkdir(parents=True, exist_ok=True)
        if target.resolve() != self.folder.resolve():
            for file in self.folder.iterdir():
                if file.is_file():
                    shutil.copy2(file, target / file.name)
        config = {"encoder": self.name, "options": {**self.options, "folder": "."}}
        (target / "encoder.json").write_text(json.dumps(config, indent=1), "utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            ConfigurationError: the folder holds no encoder of this kind.
        """
        return cls.from_options(cls._saved_options(Path(path)))

    @classmethod
    def _saved_options(cls, folder: Path) -> dict[str, Any]:
        return read_saved(folder, cls.name)


def whole_number(name: str, value: object, least: int) -> int:
    """An option that must be a whole number. Raises ConfigurationError."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigurationError(f"{name} must be a whole number, {least} or more, got {value!r}")
    return value


def token_text(tokenizer: Tokenizer, column: int) -> str:
    """A token in letters, with a space before it where it begins a word.

    Raises KeyError where there is none. Tokens that are part of a character alone are given as
    the tokenizer writes them.
    """
    token: str | None = tokenizer.id_to_token(column) if column >= 0 else None
    if token is None:
        raise KeyError(column)
    text: str = tokenizer.decode([column], skip_special_tokens=False)
    return text if text.strip() and "\ufffd" not in text else token
