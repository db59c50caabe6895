"""Texts to batches of token ids: cut or in windows, sorted by length, by a budget of tokens.

Nothing here needs torch or transformers: tokens come from the ``tokenizers`` library and the
``tokenizer.json`` of a model's folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.encoders.model_folder import read_json
from sparseret.errors import ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["TextTokenizer", "TokenBatch", "Windows", "load_tokenizer",
           "longest_input", "resolve_length", "text_chunks",
           "token_batches"]  # fmt: skip

_CHUNK_TEXTS = 1000
_CHUNK_CHARACTERS = 2**22
_DEFAULT_LENGTH = 256
_UNLIMITED = 10**6
"""Tokenizers without a limit declare one of 10^30 or so."""


class Windows(NamedTuple):
    """Token ids of texts, one list a window; texts without words have none."""

    ids: list[list[int]]
    texts: NDArray[np.int64]
    """Number of the text each window is of, ascending, shape (len(ids),)."""
    truncated: int
    """Texts of which tokens were left out."""


class TokenBatch(NamedTuple):
    """A batch for a transformer; padding is on the right."""

    input_ids: NDArray[np.int64]
    """Shape (n, length)."""
    attention_mask: NDArray[np.int64]
    """1 for tokens and 0 for padding, shape (n, length)."""
    rows: NDArray[np.int64]
    """Position of each row among the ids that were given, shape (n,)."""


class TextTokenizer:
    """A model's tokenizer that cuts texts at a number of tokens, or slides a window over them.

    Args:
        folder: holds ``tokenizer.json``.
        max_length: tokens of a text, or of a window, special tokens included; None takes 256, or
            the limit of the model where that is lower.
        windows: whether longer texts are read in windows. Neighbours share an eighth of
            ``max_length``, so that no word is without context; otherwise only the first
            ``max_length`` tokens are read.
        special_tokens: whether the model's own tokens, such as [CLS], are added.

    Raises:
        ConfigurationError: no tokenizer, or ``max_length`` is above what the model takes.
        MissingExtraError: tokenizers is not installed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_length: int | None = None,
        windows: bool = False,
        special_tokens: bool = True,
    ) -> None:
        self.tokenizer = load_tokenizer(folder)
        self.max_length = max_length = resolve_length(folder, max_length)
        self.windows = windows
        self.special_tokens = special_tokens
        added = self.tokenizer.num_special_tokens_to_add(is_pair=False) if special_tokens else 0
        if max_length <= added:
            raise ConfigurationError(
                f"max_length {max_length} leaves no room beside {added} special tokens"
            )
        overlap = min(max_length // 8, max_length - added - 1) if windows else 0
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_length, stride=overlap)

    def encode(self, texts: Sequence[str]) -> Windows:
        """Token ids of texts. One that is empty or white space alone has no window."""
        spoken = [row for row, text in enumerate(texts) if text.strip()]
        encodings = self.tokenizer.encode_batch_fast(
            [texts[row] for row in spoken], add_special_tokens=self.special_tokens
        )
        ids: list[list[int]] = []
        of_text: list[int] = []
        truncated = 0
        for row, encoding in zip(spoken, encodings, strict=True):
            ids.append(encoding.ids)
            of_text.append(row)
            if encoding.overflowing:
                if self.windows:
                    ids += [window.ids for window in encoding.overflowing]
                    of_text += [row] * len(encoding.overflowing)
                else:
                    truncated += 1
        return Windows(ids, np.array(of_text, dtype=np.int64), truncated)

    def token(self, column: int) -> str:
        """The token with an id, in letters. Raises KeyError where there is none."""
        token: str | None = self.tokenizer.id_to_token(column) if 0 <= column < 2**32 else None
        if token is None:
            raise KeyError(column)
        if type(self.tokenizer.decoder).__name__ == "ByteLevel":  # its tokens are bytes, as letters
            text = self.tokenizer.decode([column], skip_special_tokens=False)
            return f"▁{text[1:]}" if text.startswith(" ") and len(text) > 1 else text or token
        return token


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model's folder.

    Raises:
        ConfigurationError: there is none, or it cannot be read.
        MissingExtraError: tokenizers is not installed.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtraError("tokenizers", "onnx", "encoding texts with a model") from error
    file = folder / "tokenizer.json"
    if not file.exists():
        raise ConfigurationError(
            f"{file}: no such file; write it with transformers: "
            f"AutoTokenizer.from_pretrained({str(folder)!r}).save_pretrained({str(folder)!r})"
        )
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:
        # tokenizers raises the bare class, for whatever is wrong with a file.
        if type(error) is Exception:
            raise ConfigurationError(f"{file} is no tokenizer: {error}") from error
        raise


def longest_input(folder: Path) -> int:
    """Most tokens a model takes, by its tokenizer's settings and its position embeddings."""
    limit = _UNLIMITED
    for name, key in (("tokenizer_config.json", "model_max_length"),
                      ("config.json", "max_position_embeddings"),
                      ("config.json", "n_positions")):  # fmt: skip
        if (folder / name).exists():
            settings = read_json(folder / name)
            if not isinstance(settings, dict):
                raise ConfigurationError(f"{folder / name} must hold a JSON object")
            value = settings.get(key)
            if isinstance(value, (int, float)) and value > 0:
                limit = int(min(limit, value))
    return limit


def resolve_length(folder: Path, max_length: int | None) -> int:
    """Tokens that are read of a text: 256 or what a model takes at most, unless told.

    Raises:
        ConfigurationError: ``max_length`` is above what the model takes.
    """
    limit = longest_input(folder)
    if max_length is None:
        return min(_DEFAULT_LENGTH, limit)
    if type(max_length) is not int or not 1 <= max_length <= limit:
        raise ConfigurationError(
            f"max_length must be a whole number from 1 to {limit}, the most that {folder} takes; "
            f"got {max_length!r}"
        )
    return max_length


def text_chunks(texts: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """Texts in order by chunks that are tokenized at a time, each with the number of its first."""
    begin, characters = 0, 0
    for row, text in enumerate(texts):
        characters += len(text)
        if row + 1 - begin >= _CHUNK_TEXTS or characters >= _CHUNK_CHARACTERS:
            yield begin, texts[begin : row + 1]
            begin, characters = row + 1, 0
    if begin < len(texts):
        yield begin, texts[begin:]


def token_batches(
    ids: Sequence[Sequence[int]], *, batch_tokens: int, pad_id: int = 0
) -> Iterator[TokenBatch]:
    """Batches of rows of similar length, longest first, so that little is padded.

    Args:
        ids: token ids, one sequence a row; empty ones are left out.
        batch_tokens: at most so many tokens a batch, padding included; one row at least.
        pad_id: what is put in the place of padding.
    """
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    order = np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)]
    begin = 0
    while begin < len(order):
        longest = int(lengths[order[begin]])
        rows = order[begin : begin + max(1, batch_tokens // longest)]
        input_ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
        for place, row in enumerate(rows.tolist()):
            input_ids[place, : len(ids[row])] = ids[row]
        mask = np.arange(longest) < lengths[rows][:, None]
        yield TokenBatch(input_ids, mask.astype(np.int64), rows)
        begin += len(rows)
