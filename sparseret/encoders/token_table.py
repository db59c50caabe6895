"""Queries as the weights of their tokens in a table: no model is run.

The weight of column j is ``max(0, table[j])`` where token j occurs in the query, however often, and
else 0. Zhichao Geng et al. Towards Competitive Search Relevance For Inference-Free Learned Sparse
Retrievers. 2024. Needs NumPy and tokenizers, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparseret import kernels
from sparseret.encoders.model_folder import digest_of_files, read_json
from sparseret.encoders.row_ops import empty_rows, stack_rows
from sparseret.encoders.text_batches import load_tokenizer, longest_input
from sparseret.errors import ConfigurationError
from sparseret.kernels import Rows

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["TokenTable", "find_table"]

IDF_FILE = "idf.json"
"""Token to weight, in the folders of OpenSearch's models."""

_BATCH = 1000
_MAX_CACHED_WORDS = 1_000_000


class TokenTable:
    """Weights of tokens.

    Args:
        folder: holds ``tokenizer.json``.
        weights: of each token id, shape (vocabulary,); what is negative counts as 0.

    Raises:
        ConfigurationError: no tokenizer, or weights that are not finite.
        MissingExtraError: tokenizers is not installed.
    """

    def __init__(self, folder: Path, weights: NDArray[np.float32]) -> None:
        if weights.ndim != 1 or not np.isfinite(weights).all():
            raise ConfigurationError(
                f"{folder}: weights of tokens must be a row of finite numbers, "
                f"got shape {weights.shape}"
            )
        self.folder = folder
        self.weights = np.maximum(weights, 0).astype(np.float32)
        """Weight of each token id, float32, shape (vocabulary,)."""
        self.max_length = longest_input(folder)
        """Tokens of a query that are read."""
        self.truncated = 0
        """Queries of which tokens were left out, so far."""
        self._tokenizer = load_tokenizer(folder)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._by_word = _splits_at_spaces(self._tokenizer)
        self._words: dict[str, list[int]] = {}

    @property
    def digest(self) -> str:
        """Identity of weights and tokenizer, 16 hexadecimal digits."""
        made = sha256(self.weights.astype("<f4").tobytes())
        made.update(digest_of_files([self.folder / "tokenizer.json"]).encode())
        return made.hexdigest()[:16]

    def encode(
        self,
        queries: Sequence[str],
        *,
        prompt: str = "",
        advance: Callable[[int], None] = lambda _: None,
    ) -> Rows:
        """Weights of the tokens of each query; those of 0 are left out.

        Args:
            queries: texts.
            prompt: put before every query that is not empty.
            advance: called with numbers of queries that are done.
        """
        parts = []
        for begin in range(0, len(queries), _BATCH):
            batch = queries[begin : begin + _BATCH]
            if prompt:
                batch = [prompt + query if query.strip() else "" for query in batch]
            parts.append(kernels.count_terms(*self._cut(*self._ids(batch)), np.ones(1)))
            advance(len(batch))
        rows = stack_rows(parts) if parts else empty_rows(0)
        values = self.weights[rows.columns]
        if values.all():
            return Rows(rows.indptr, rows.columns, values)
        keep = values > 0
        indptr = np.concatenate(([0], np.cumsum(keep)))[rows.indptr]
        return Rows(indptr, rows.columns[keep], values[keep])

    def _ids(self, queries: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Where the tokens of each query begin and end, shape (n + 1,), and all tokens."""
        if self._by_word:
            pieces = [query.split(" ") for query in queries]
            words = list(chain.from_iterable(pieces))
            ids = self._ids_of_words(words)
            # Ends of words, at the ends of queries.
            sizes = np.fromiter(accumulate(map(len, ids), initial=0), np.int64, len(ids) + 1)
            ends = sizes[list(accumulate(map(len, pieces), initial=0))]
        else:
            ids = self._tokenize(queries)
            ends = np.fromiter(accumulate(map(len, ids), initial=0), np.int64, len(ids) + 1)
        return ends, np.fromiter(chain.from_iterable(ids), np.int32, int(ends[-1]))

    def _ids_of_words(self, words: list[str]) -> list[list[int]]:
        """Tokens of words, looked up: the tokenizer takes ten times as long to find them."""
        known = self._words
        fresh = [word for word in dict.fromkeys(words) if word not in known]
        if fresh:
            if len(known) > _MAX_CACHED_WORDS:  # a new dict: other threads may read the old one
                self._words = known = {}
                fresh = list(dict.fromkeys(words))
            known.update(zip(fresh, self._tokenize(fresh), strict=True))
        return list(map(known.__getitem__, words))

    def _cut(
        self, ends: NDArray[np.int64], ids: NDArray[np.int32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The same without what is beyond the longest query that is read."""
        sizes = np.diff(ends)
        if not len(sizes) or sizes.max() <= self.max_length:
            return ends, ids
        self.truncated += int(np.count_nonzero(sizes > self.max_length))
        place = np.arange(len(ids)) - np.repeat(ends[:-1], sizes)
        cut = np.minimum(sizes, self.max_length)
        return np.concatenate(([0], np.cumsum(cut))), ids[place < self.max_length]

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]


def _splits_at_spaces(tokenizer: Tokenizer) -> bool:
    """Whether the tokens of a text are those of its words, one after the other.

    They are where a space always parts tokens, which other normalizers and pre-tokenizers than
    these need not do, and where no added token holds one.
    """
    normalizer, splitter = type(tokenizer.normalizer), type(tokenizer.pre_tokenizer)
    added = tokenizer.get_added_tokens_decoder().values()
    return (
        normalizer.__name__ in ("NoneType", "BertNormalizer", "Lowercase")
        and splitter.__name__ in ("BertPreTokenizer", "Whitespace", "WhitespaceSplit")
        and not any(" " in token.content for token in added)
    )


def find_table(source: Path, tokenizer_folder: Path | None = None) -> TokenTable:
    """The table that a folder or a file holds.

    Args:
        source: a folder of sentence-transformers' SparseStaticEmbedding; one with ``idf.json``; or
            a JSON file that maps tokens to weights.
        tokenizer_folder: whose tokenizer goes with a JSON file; by default that beside it.

    Raises:
        ConfigurationError: there is no table, or one of tokens that the tokenizer does not have.
    """
    if source.is_file():
        return _of_json(source, tokenizer_folder or source.parent)
    config = read_json(source / "config.json") if (source / "config.json").exists() else {}
    if (source / "model.safetensors").exists() and "vocab_size" not in config:
        return _of_tensor(source)
    named = config.get("path")
    file = source / Path(named if isinstance(named, str) else IDF_FILE).name
    if file.exists():
        has_tokenizer = (source / "tokenizer.json").exists()
        return _of_json(file, source if has_tokenizer else tokenizer_folder or source)
    if (source / "pytorch_model.bin").exists() and "vocab_size" not in config:
        raise ConfigurationError(
            f"{source / 'pytorch_model.bin'} needs torch: load it with sentence-transformers once "
            "and save it, which writes model.safetensors"
        )
    raise ConfigurationError(
        f"{source} has no weights of tokens for queries: neither a SparseStaticEmbedding nor "
        f"{IDF_FILE}; give queries= a JSON file that maps tokens to weights"
    )


def _of_tensor(folder: Path) -> TokenTable:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    file = folder / "model.safetensors"
    try:
        weights = load_file(file)["weight"]
    except (OSError, SafetensorError, KeyError) as error:
        raise ConfigurationError(f"{file} holds no tensor 'weight': {error}") from error
    return TokenTable(folder, weights.astype(np.float32))


def _of_json(file: Path, folder: Path) -> TokenTable:
    found: Any = read_json(file)
    if not isinstance(found, Mapping) or not all(
        isinstance(weight, (int, float)) for weight in found.values()
    ):
        raise ConfigurationError(f"{file} must map tokens to numbers")
    tokenizer = load_tokenizer(folder)
    weights = np.zeros(tokenizer.get_vocab_size(with_added_tokens=True), dtype=np.float32)
    for token, weight in found.items():
        column = tokenizer.token_to_id(token)
        if column is None:
            raise ConfigurationError(f"{file}: the tokenizer in {folder} has no token {token!r}")
        weights[column] = weight
    return TokenTable(folder, weights)
