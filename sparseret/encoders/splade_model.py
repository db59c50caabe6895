r"""Texts to SPLADE vectors by one masked language model.

With the logit l_ij of token i of a text and column j, a = relu and log(1 + a):

=======  ======================================  =====================================
pooling  weight of column j                      models
=======  ======================================  =====================================
max      log(1 + relu(max_i l_ij))               SPLADE v2, ++, v3, and most since
sum      sum_i log(1 + relu(l_ij))               SPLADE v1
=======  ======================================  =====================================

The activation grows with the logit, so it is applied after the maximum. "log1p_relu" takes the
logarithm once more, log(1 + log(1 + relu(l))): models of OpenSearch's third generation.

Thibault Formal, Benjamin Piwowarski, Stéphane Clinchant. SPLADE: Sparse Lexical and Expansion Model
for First Stage Ranking. SIGIR 2021. Thibault Formal, Carlos Lassance, Benjamin Piwowarski,
Stéphane Clinchant. SPLADE v2: Sparse Lexical and Expansion Model for Information Retrieval. 2021.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np

from sparseret.encoders.device_head import DeviceHead, load_head
from sparseret.encoders.model_folder import read_json
from sparseret.encoders.options import whole_number
from sparseret.encoders.row_ops import (
    Pruning,
    empty_rows,
    join_rows,
    prune_rows,
    stack_rows,
)
from sparseret.encoders.text_batches import (
    TextTokenizer,
    TokenBatch,
    resolve_length,
    text_chunks,
    token_batches,
)
from sparseret.encoders.transformer_body import (
    Backend,
    TransformerBody,
    available_cores,
    load_body,
    pack,
)
from sparseret.errors import ConfigurationError
from sparseret.kernels import Rows, VocabularyHead

__all__ = ["Activation", "Long", "Machine", "Pooling", "Precision", "Reading", "SpladeModel"]

Pooling: TypeAlias = Literal["max", "sum"]
Activation: TypeAlias = Literal["relu", "log1p_relu"]
Long: TypeAlias = Literal["truncate", "windows"]
Precision: TypeAlias = Literal["float32", "int8"]


@dataclass(frozen=True)
class Reading:
    """What a model's vectors depend on besides its weights.

    Raises:
        ConfigurationError: a setting that does not exist.
    """

    pooling: Pooling = "max"
    activation: Activation = "relu"
    max_length: int = 256
    """Tokens of a text, or of a window, special tokens included."""
    long: Long = "truncate"
    """What becomes of longer texts: "windows" takes the largest weight over windows."""
    precision: Precision = "float32"
    """Of the product with the vocabulary."""

    def __post_init__(self) -> None:
        for name, choices in (("pooling", Pooling), ("activation", Activation), ("long", Long),
                              ("precision", Precision)):  # fmt: skip
            if getattr(self, name) not in get_args(choices):
                raise ConfigurationError(
                    f"{name} {getattr(self, name)!r} is not one of {', '.join(get_args(choices))}"
                )
        if self.pooling == "sum" and self.activation != "relu":
            raise ConfigurationError('activation="log1p_relu" goes with pooling="max" only')


@dataclass(frozen=True)
class Machine:
    """How a model is run; vectors are the same up to rounding.

    Raises:
        ConfigurationError: a setting that does not exist.
    """

    backend: Backend = "auto"
    device: str = "cpu"
    batch_tokens: int = 4096
    """Tokens that go through the model at a time, padding included."""
    threads: int | None = None
    """Threads of the product with the vocabulary and of ONNX Runtime; None for one per core."""

    def __post_init__(self) -> None:
        if self.backend not in get_args(Backend):
            raise ConfigurationError(
                f"backend {self.backend!r} is not one of {', '.join(get_args(Backend))}"
            )
        for name, value in (("batch_tokens", self.batch_tokens), ("threads", self.threads)):
            if value is not None:
                whole_number(name, value, 1)


class SpladeModel:
    """A masked language model as a function from texts to sparse vectors.

    Weights are read at the first text, in whatever thread.

    Args:
        folder: a transformers folder, as described by
            :class:`sparseret.encoders.model_folder.Side`.
        reading: settings of the vectors.
        machine: settings of the run.

    Raises:
        ConfigurationError: the folder holds no model, or one that takes fewer tokens.
    """

    def __init__(self, folder: Path, reading: Reading, machine: Machine) -> None:
        resolve_length(folder, reading.max_length)
        self.folder = folder
        self.reading = reading
        self.machine = machine
        size = read_json(folder / "config.json").get("vocab_size")
        if type(size) is not int:
            raise ConfigurationError(f"{folder / 'config.json'} has no vocab_size")
        self.dim: int = size
        self.truncated = 0
        """Texts of which tokens were left out, so far."""
        self._lock = threading.Lock()
        self._tokenizer: TextTokenizer | None = None
        self._parts: tuple[TransformerBody, VocabularyHead | DeviceHead] | None = None

    @property
    def tokenizer(self) -> TextTokenizer:
        """Reads it at the first use."""
        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = TextTokenizer(
                    self.folder,
                    max_length=self.reading.max_length,
                    windows=self.reading.long == "windows",
                )
            return self._tokenizer

    def encode(
        self,
        texts: Sequence[str],
        pruning: Pruning,
        *,
        prompt: str = "",
        advance: Callable[[int], None] = lambda _: None,
    ) -> Rows:
        """Vectors of texts; those without words are empty.

        Args:
            texts: of any length.
            pruning: which weights are kept.
            prompt: put before every text.
            advance: called with numbers of texts that are done, which add up to all.

        Raises:
            ConfigurationError: the model cannot be used.
            MissingExtraError: a package that runs it is not installed.
        """
        parts = []
        for _, chunk in text_chunks(texts):
            prompted = [prompt + text if text.strip() else "" for text in chunk]
            parts.append(prune_rows(self._encode_chunk(prompted, advance), pruning))
        return stack_rows(parts) if parts else empty_rows(0)

    def _encode_chunk(self, texts: Sequence[str], advance: Callable[[int], None]) -> Rows:
        windows = self.tokenizer.encode(texts)
        body, head = self._load()
        made: list[Rows] = []
        order = []
        told = 0
        for batch in token_batches(windows.ids, batch_tokens=self.machine.batch_tokens):
            made.append(self._pool(body, head, batch))
            order.append(batch.rows)
            done = len(texts) * sum(map(len, order)) // len(windows.ids)
            advance(done - told)
            told = done
        advance(len(texts) - told)
        with self._lock:
            self.truncated += windows.truncated
        if not made:
            return empty_rows(len(texts))
        owners = windows.texts[np.concatenate(order)]
        return join_rows(stack_rows(made), owners, len(texts), "max")

    def _pool(
        self, body: TransformerBody, head: VocabularyHead | DeviceHead, batch: TokenBatch
    ) -> Rows:
        ids, mask = batch.input_ids, batch.attention_mask
        sums = self.reading.pooling == "sum"
        if isinstance(head, DeviceHead):
            pooled = head.sums(ids, mask) if sums else head.maxima(ids, mask)
        else:
            states = pack(body.states(ids, mask), mask)
            threads = self.machine.threads or available_cores()
            pooled = (head.sums if sums else head.maxima)(*states, threads=threads)
        if sums:
            return Rows(*pooled)
        indptr, columns, largest = pooled
        weights = np.log1p(largest)
        if self.reading.activation == "log1p_relu":
            weights = np.log1p(weights)
        return Rows(indptr, columns, weights)

    def _load(self) -> tuple[TransformerBody, VocabularyHead | DeviceHead]:
        with self._lock:
            if self._parts is None:
                machine = self.machine
                body = load_body(
                    self.folder,
                    backend=machine.backend,
                    device=machine.device,
                    threads=machine.threads,
                )
                if len(body.decoder.weight) != self.dim:
                    raise ConfigurationError(
                        f"{self.folder}: the decoder has {len(body.decoder.weight)} rows, and "
                        f"config.json says vocab_size {self.dim}"
                    )
                head = load_head(body, self.reading.precision)
                self._parts = body, head
            return self._parts
