"""Tokens of texts as the model of an encoder reads them, for ``/tokenize`` and limits of length."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sparseret.encoders.model_folder import find_folder
from sparseret.encoders.text_batches import load_tokenizer, resolve_length
from sparseret.protocols import DenseEncoder, Encoder

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Token", "Tokens"]


class Token(NamedTuple):
    """One token of a text."""

    id: int
    text: str
    special: bool
    """Whether the model puts it there."""
    start: int | None
    """In the text, in Unicode code points; None for special ones."""
    stop: int | None


class Tokens:
    """The tokenizer of a model's folder, without its limits.

    Args:
        folder: holds ``tokenizer.json``.
        max_length: tokens that the encoder reads of a text, special ones included.
    """

    def __init__(self, folder: Path, max_length: int) -> None:
        self._folder = folder
        self.max_length = max_length

    @classmethod
    def of(cls, encoder: Encoder | DenseEncoder) -> Tokens | None:
        """Those of an encoder; None of one without a model of language."""
        folder = encoder.options.get("folder")
        if not isinstance(folder, str):
            return None
        files = sorted(find_folder(folder).rglob("tokenizer.json"))
        if not files:
            return None
        given = encoder.options.get("max_length")
        at = min(files, key=lambda file: (len(file.parts), file)).parent
        return cls(at, resolve_length(at, given if isinstance(given, int) else None))

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        tokenizer = load_tokenizer(self._folder)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    def count(self, text: str) -> int:
        """Tokens of a text, special ones included."""
        return len(self._tokenizer.encode(text).ids)

    def read(self, text: str, *, special: bool) -> list[Token]:
        """Tokens of a text in their order."""
        encoding = self._tokenizer.encode(text, add_special_tokens=special)
        return [
            Token(id, token, bool(added), *((None, None) if added else offsets))
            for id, token, added, offsets in zip(
                encoding.ids, encoding.tokens, encoding.special_tokens_mask, encoding.offsets,
                strict=True,
            )
        ]  # fmt: skip

    def keep_end(self, text: str) -> str:
        """The end of a text, as much of it as the encoder reads."""
        tokens = self.read(text, special=False)
        room = self.max_length - (self.count(text) - len(tokens))
        start = tokens[-room].start if 0 < room < len(tokens) else None
        return text if start is None else text[start:]
