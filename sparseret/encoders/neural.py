"""What the encoders by transformers share: options, identity, windows, fields, batches, saving.

A method says how a text is read (:meth:`NeuralEncoder.read`), what a batch of readings becomes
(:meth:`NeuralEncoder.rows_of`), and what is done to the vectors in the end
(:meth:`NeuralEncoder.finish`); everything else is here.
"""

from __future__ import annotations

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_args

import numpy as np
from numpy.typing import NDArray

from sparseret import vectors
from sparseret.documents import Document
from sparseret.encoders.checkpoints import load_tokenizer, require_neural
from sparseret.encoders.fields import describe_fields, encode_fields, read_fields
from sparseret.encoders.model_folder import (
    digest_of_files,
    find_folder,
    read_license,
    weight_files,
)
from sparseret.encoders.options import whole_number
from sparseret.encoders.reading import Reading, SpecialTokens, special_tokens, window_slices
from sparseret.encoders.row_ops import join_rows, stack_rows
from sparseret.encoders.saved_folder import known_options, read_saved, saved_name
from sparseret.encoders.spaces import space_id
from sparseret.encoders.splade_model import Long
from sparseret.encoders.text_batches import longest_input, text_chunks, token_batches
from sparseret.errors import ConfigurationError
from sparseret.kernels import Rows
from sparseret.progress import progress_bar

if TYPE_CHECKING:
    from scipy.sparse import csr_array
    from tokenizers import Tokenizer
    from typing_extensions import Self

__all__ = ["NeuralEncoder", "token_text"]

_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt")


class NeuralEncoder(ABC):
    """Base of encoders that run a transformer from a folder.

    Args:
        folder: of the model: config.json, weights, tokenizer; or the id of a Hugging Face
            repository.
        settings: the method's own options as JSON values; all of them change vectors.
        max_length: tokens that are read of a text, or in a window; None takes
            :attr:`default_length`, or what the model takes where that is less.
        long: "truncate" cuts longer texts (:attr:`truncated` counts them), "windows" reads them in
            windows of ``max_length`` tokens that overlap by an eighth, and takes the largest weight
            over windows.
        fields: weights of fields ("title", "text" or a metadata key), such as
            ``{"title": 2, "text": 1}``: each is encoded by itself, its vector is multiplied by its
            weight, and the largest weight over fields is taken. None encodes title and text as one
            string.
        batch_tokens: tokens in a batch, padding included: bounds memory, changes no vector.
        device: where torch computes, such as "cpu" or "cuda".

    Attributes:
        truncated: how many texts did not fit so far.

    Raises:
        ConfigurationError: no such folder, or an option out of its range.
    """

    name: ClassVar[str]
    default_length: ClassVar[int] = 256
    least_length: ClassVar[int] = 1
    signed = False

    def __init__(
        self,
        folder: str | Path,
        settings: Mapping[str, Any],
        *,
        max_length: int | None,
        long: Long,
        fields: Mapping[str, float] | None,
        batch_tokens: int,
        device: str,
    ) -> None:
        self.folder = find_folder(folder)
        self._given = saved_name(folder, self.folder)
        if long not in get_args(Long):
            raise ConfigurationError(f"long {long!r} is not one of {', '.join(get_args(Long))}")
        self.max_length = self._length(max_length)
        self.long = long
        self.fields = read_fields(fields)
        self.settings = {**settings, "max_length": self.max_length}
        # Only where chosen, so that spaces stay what they were without.
        if long != "truncate":
            self.settings["long"] = long
        if self.fields:
            self.settings["fields"] = self.fields
        self.batch_tokens = whole_number("batch_tokens", batch_tokens, 1)
        self.device = device
        self.truncated = 0

    def _length(self, given: int | None) -> int:
        most = self._longest_text()
        if given is None:
            return max(self.least_length, min(self.default_length, most))
        length = whole_number("max_length", given, self.least_length)
        if length > most:
            raise ConfigurationError(
                f"max_length {length} is above {most}, the most that the model in {self.folder} "
                "takes"
            )
        return length

    def _longest_text(self) -> int:
        """Most tokens that ``max_length`` may be."""
        return longest_input(self.folder)

    # --- the method -------------------------------------------------------------------------

    @property
    @abstractmethod
    def dim(self) -> int | None:
        """Number of columns."""

    @abstractmethod
    def term(self, column: int) -> str:
        """What a column stands for. Raises KeyError where there is none."""

    @abstractmethod
    def read(self, texts: Sequence[str], *, query: bool) -> list[list[Reading]]:
        """What the model reads of each text: one reading, or one a window (:meth:`parts`).

        A text that has no token of its own has no positions.
        """

    @abstractmethod
    def rows_of(self, readings: Sequence[Reading], *, query: bool) -> Rows:
        """Vectors of a batch of readings, each of which has a position; no value below 0."""

    def finish(self, rows: Rows) -> Rows:
        """What is done to vectors after windows and fields are joined: nothing, unless told."""
        return rows

    def parts(self, n: int, taken: int) -> list[slice]:
        """Which of a text's ``n`` tokens make a reading: all, to be cut, or those of each window.

        Args:
            n: tokens of the text.
            taken: how many of ``max_length`` are not the text's own.

        Raises:
            ConfigurationError: nothing is left of ``max_length``.
        """
        room = self.max_length - taken
        if room < 1:
            raise ConfigurationError(
                f"max_length {self.max_length} leaves no room beside {taken} other tokens"
            )
        if self.long == "truncate":
            return [slice(0, n)]
        return window_slices(n, room, min(self.max_length // 8, room - 1))

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
        identity = [self.settings, digest_of_files(self._files())]
        return space_id(self.name, identity, sort_keys=True)

    def _files(self) -> list[Path]:
        """The files that vectors depend on."""
        return [*weight_files(self.folder), *(self.folder / name for name in _TOKENIZER_FILES)]

    @property
    def description(self) -> str:
        """One line for people."""
        chosen = {k: v for k, v in self.settings.items() if v is not None and k != "fields"}
        parts = [f"{key}={value}" for key, value in chosen.items()]
        return (
            f"{self.name} ({', '.join([self.folder.name, *parts, *describe_fields(self.fields)])})"
        )

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
        """Document vectors, float32, shape (len(documents), dim).

        Raises:
            MissingExtraError: torch or transformers is not installed.
            ConfigurationError: the folder does not hold a model of this method.
        """

        def encode(texts: list[str]) -> Rows:
            return self._encode(texts, query=False, show_progress=show_progress)

        rows = encode_fields(documents, self.fields, encode, "max")
        return vectors.from_arrays(*self.finish(rows), self._width())

    def encode_queries(self, queries: Sequence[str], *, show_progress: bool = False) -> csr_array:
        """Query vectors, float32, shape (len(queries), dim); errors as of documents."""
        rows = self._encode(queries, query=True, show_progress=show_progress)
        return vectors.from_arrays(*self.finish(rows), self._width())

    def _encode(
        self,
        texts: Sequence[str],
        *,
        query: bool,
        show_progress: bool,
        run: Callable[[Sequence[Reading], NDArray[np.int64]], Rows] | None = None,
    ) -> Rows:
        """Vectors of texts, windows joined.

        ``run`` makes rows of readings, given the number of the text that each is of; by default
        :meth:`rows_of` does.
        """
        require_neural(f"the encoder {self.name}")
        import torch

        made: list[Rows] = []
        what = "Encoding queries" if query else "Encoding documents"
        with progress_bar(what, len(texts), show=show_progress) as advance:
            for begin, chunk in text_chunks(texts):
                parts, owners = [], [np.empty(0, np.int64)]
                for readings, numbers in self._batches(chunk, advance, query=query):
                    with torch.inference_mode():
                        if run is None:
                            parts.append(self.rows_of(readings, query=query))
                        else:
                            parts.append(run(readings, begin + numbers))
                    owners.append(numbers)
                made.append(join_rows(stack_rows(parts), np.concatenate(owners), len(chunk), "max"))
        return stack_rows(made)

    def _batches(
        self, texts: Sequence[str], advance: Callable[[int], None], *, query: bool
    ) -> Iterator[tuple[list[Reading], NDArray[np.int64]]]:
        """All readings of texts with the numbers of their texts, those of similar length together.

        Blank texts have none.
        """
        spoken = [number for number, text in enumerate(texts) if text.strip()]
        found = self.read([texts[number] for number in spoken], query=query)
        self.truncated += sum(any(r.truncated for r in of_text) for of_text in found)
        pairs = [
            (reading, number)
            for number, of_text in zip(spoken, found, strict=True)
            for reading in of_text
            if reading.positions
        ]
        owners = np.array([number for _, number in pairs], np.int64)
        told = seen = 0
        ids = [reading.ids for reading, _ in pairs]
        for batch in token_batches(ids, batch_tokens=self.batch_tokens):
            yield [pairs[row][0] for row in batch.rows.tolist()], owners[batch.rows]
            seen += len(batch.rows)
            done = len(texts) * seen // len(pairs)
            advance(done - told)
            told = done
        advance(len(texts) - told)

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
