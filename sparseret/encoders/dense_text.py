"""Texts to dense vectors, by a folder of sentence-transformers: Transformer, Pooling, Normalize."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from sparseret.documents import Document
from sparseret.encoders.checkpoints import load_checkpoint, require_neural
from sparseret.encoders.fields import whole_text
from sparseret.encoders.model_folder import (
    Step,
    find_folder,
    model_digest,
    read_json,
    read_modules,
)
from sparseret.encoders.options import whole_number
from sparseret.encoders.text_batches import (
    TextTokenizer,
    TokenBatch,
    resolve_length,
    text_chunks,
    token_batches,
)
from sparseret.errors import ConfigurationError
from sparseret.progress import progress_bar

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["DensePooling", "DenseText", "load_dense"]

DensePooling: TypeAlias = Literal["mean", "cls", "max", "lasttoken", "mean_sqrt_len_tokens"]

_OLD_NAMES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""Of sentence-transformers before its sixth version."""


class DenseText:
    """A transformer and a pooling over its last states, as a function from texts to vectors.

    Weights are read at the first text, in whatever thread. The vector of a text without words is
    zero.

    Args:
        folder: of the transformer.
        pooling: over the tokens of a text, special tokens included.
        normalize: whether vectors are scaled to the length 1.
        max_length: tokens of a text that are read; None takes what the folder says, else 256 or
            the model's limit where that is lower. Longer texts are cut and counted.
        batch_tokens: tokens that go through the model at a time, padding included.
        device: of torch.
        document_prompt: what the model wants before a document.
        query_prompt: what it wants before a query.

    Raises:
        ConfigurationError: an option out of its range.

    References:
        Nils Reimers, Iryna Gurevych. Sentence-BERT: Sentence Embeddings using Siamese
        BERT-Networks. EMNLP 2019.
    """

    def __init__(
        self,
        folder: Path,
        *,
        pooling: DensePooling = "mean",
        normalize: bool = False,
        max_length: int | None = None,
        batch_tokens: int = 4096,
        device: str = "cpu",
        document_prompt: str = "",
        query_prompt: str = "",
    ) -> None:
        if pooling not in get_args(DensePooling):
            raise ConfigurationError(
                f"pooling {pooling!r} is not one of {', '.join(get_args(DensePooling))}"
            )
        whole_number("batch_tokens", batch_tokens, 1)
        own = folder / "sentence_bert_config.json"
        if own.exists():
            said = read_json(own)
            if said.get("do_lower_case"):
                raise ConfigurationError(
                    f"{own}: do_lower_case is not supported; put it in the tokenizer"
                )
            max_length = said.get("max_seq_length") if max_length is None else max_length
        self.folder = folder
        self.pooling = pooling
        self.normalize = normalize
        self.max_length = resolve_length(folder, max_length)
        self.batch_tokens = batch_tokens
        self.device = device
        self.document_prompt = document_prompt
        self.query_prompt = query_prompt
        self.truncated = 0
        """Texts of which tokens were left out, so far."""
        width = read_json(folder / "config.json").get("hidden_size")
        if type(width) is not int:
            raise ConfigurationError(f"{folder / 'config.json'} has no hidden_size")
        self.n_features: int = width
        self._lock = threading.Lock()

    @property
    def identity(self) -> list[Any]:
        """JSON values that change with everything that changes vectors."""
        return [
            model_digest(self.folder),
            self.pooling,
            self.normalize,
            self.max_length,
            self.document_prompt,
            self.query_prompt,
        ]

    def document_vectors(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """Vectors of documents, title and text read as one; errors and shape as of :meth:`encode`.

        ``show_progress`` shows a bar.
        """
        texts = whole_text(documents)
        with progress_bar("Encoding documents", len(texts), show=show_progress) as advance:
            return self.encode(texts, prompt=self.document_prompt, advance=advance)

    def query_vectors(
        self, queries: Sequence[str], *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """Vectors of queries, likewise."""
        with progress_bar("Encoding queries", len(queries), show=show_progress) as advance:
            return self.encode(queries, prompt=self.query_prompt, advance=advance)

    def encode(
        self,
        texts: Sequence[str],
        *,
        prompt: str = "",
        advance: Callable[[int], None] = lambda _: None,
    ) -> NDArray[np.float32]:
        """Vectors of texts, float32, shape (len(texts), n_features).

        Args:
            texts: of any length.
            prompt: put before every text.
            advance: called with numbers of texts that are done, which add up to all.

        Raises:
            ConfigurationError: the model cannot be used.
            MissingExtraError: torch or transformers is not installed.
        """
        made = np.zeros((len(texts), self.n_features), np.float32)
        for begin, chunk in text_chunks(texts):
            prompted = [prompt + text if text.strip() else "" for text in chunk]
            windows = self._tokenizer.encode(prompted)
            with self._lock:
                self.truncated += windows.truncated
            advance(len(chunk) - len(windows.ids))
            for batch in token_batches(windows.ids, batch_tokens=self.batch_tokens):
                made[begin + windows.texts[batch.rows]] = self._vectors(batch)
                advance(len(batch.rows))
        return made

    @cached_property
    def _tokenizer(self) -> TextTokenizer:
        return TextTokenizer(self.folder, max_length=self.max_length)

    @cached_property
    def _body(self) -> Module:
        require_neural(f"running {self.folder}")
        body = load_checkpoint(self.folder).body
        try:
            return body.to(self.device)
        except (AssertionError, RuntimeError) as error:  # torch without it, or none in the machine
            raise ConfigurationError(
                f"torch cannot use the device {self.device!r}: {error}"
            ) from error

    def _vectors(self, batch: TokenBatch) -> NDArray[np.float32]:
        with self._lock:
            body = self._body
        import torch

        with torch.inference_mode():
            mask = torch.from_numpy(batch.attention_mask).to(self.device)
            output = body(
                input_ids=torch.from_numpy(batch.input_ids).to(self.device), attention_mask=mask
            )
            pooled = _pool(output.last_hidden_state, mask, self.pooling)
            if self.normalize:
                pooled = torch.nn.functional.normalize(pooled, dim=1)
            vectors: NDArray[np.float32] = pooled.float().cpu().numpy()
        return vectors


def load_dense(
    folder: str | Path,
    *,
    max_length: int | None = None,
    batch_tokens: int = 4096,
    device: str = "cpu",
    without: str | None = None,
) -> DenseText:
    """The dense model of a folder of sentence-transformers, or of a repository of its kind.

    Args:
        folder: has modules.json.
        max_length: as of :class:`DenseText`, like the next two.
        batch_tokens: likewise.
        device: likewise.
        without: kind of a last module that is left out, where it is there.

    Raises:
        ConfigurationError: other modules, or settings that are not known here.
    """
    root = find_folder(folder)
    modules = read_modules(root)
    steps = modules.routes["document"]
    if modules.routes["query"] is not steps:
        raise ConfigurationError(f"{root}: a Router is no dense model")
    if steps and steps[-1].kind == without:
        steps = steps[:-1]
    transformer, pooling, normalize = _read_steps(root, steps)
    return DenseText(
        transformer,
        pooling=pooling,
        normalize=normalize,
        max_length=max_length,
        batch_tokens=batch_tokens,
        device=device,
        document_prompt=modules.document_prompt,
        query_prompt=modules.query_prompt,
    )


def _read_steps(root: Path, steps: Sequence[Step]) -> tuple[Path, DensePooling, bool]:
    """Folder of the transformer, pooling, and whether vectors are normalised."""
    kinds = [step.kind for step in steps]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ConfigurationError(
            f"{root}: cannot use the modules {', '.join(kinds)} for dense vectors; known are "
            "Transformer and Pooling, and Normalize behind them"
        )
    file = steps[1].folder / "config.json"
    config = read_json(file)
    pooling = config.get("pooling_mode")
    if pooling is None:
        chosen = [name for key, name in _OLD_NAMES.items() if config.get(key)]
        pooling = chosen[0] if len(chosen) == 1 else chosen or "mean"
    if pooling not in get_args(DensePooling):
        raise ConfigurationError(
            f"{file}: cannot use the pooling {pooling!r}; known are "
            f"{', '.join(get_args(DensePooling))}"
        )
    if not config.get("include_prompt", True):
        raise ConfigurationError(f"{file}: include_prompt=false is not supported")
    return steps[0].folder, pooling, len(steps) == 3


def _pool(states: Tensor, mask: Tensor, pooling: DensePooling) -> Tensor:
    """States (n, length, width) of padded rows, padding on the right, to (n, width)."""
    if pooling == "cls":
        return states[:, 0]
    if pooling == "lasttoken":
        last = mask.sum(dim=1) - 1
        return states.take_along_dim(last[:, None, None], dim=1).squeeze(1)
    kept = mask.unsqueeze(-1).to(states.dtype)
    if pooling == "max":
        return states.masked_fill(kept == 0, float("-inf")).amax(dim=1)
    sums = (states * kept).sum(dim=1)
    lengths = kept.sum(dim=1)
    return sums / (lengths if pooling == "mean" else lengths.sqrt())
