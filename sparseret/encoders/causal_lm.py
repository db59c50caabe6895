"""SPLADE over a decoder-only language model, with echo input.

A decoder sees only what stands before a token. So the text is given twice, and only the second
copy counts: each of its tokens has the whole text before it. With L_ij the logit of vocabulary
entry j at token i of the second copy::

    w_j = log(1 + ReLU(max over i of L_ij))

Doshi, Kumar, Murthy, P and Sen, "Mistral-SPLADE: LLMs for better Learned Sparse Retrieval", 2024;
echo input: Springer, Kotha, Fried, Neubig and Raghunathan, "Repetition Improves Language Model
Embeddings", 2024.

The logits, tokens times vocabulary, are never held whole: in float32 on a processor
:class:`sparseret.kernels.VocabularyHead` keeps their maxima alone, elsewhere and in training they
are made in blocks of the vocabulary (:mod:`sparseret.encoders.causal_model`).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from sparseret.encoders.causal_model import CausalModel, load_causal_model
from sparseret.encoders.checkpoints import load_tokenizer
from sparseret.encoders.model_folder import find_folder
from sparseret.encoders.neural import NeuralEncoder, token_text
from sparseret.encoders.options import whole_number
from sparseret.encoders.reading import Reading, SpecialTokens, special_tokens, token_states
from sparseret.encoders.row_ops import Pruning, prune_rows, with_values
from sparseret.encoders.saved_folder import saved_name
from sparseret.encoders.splade_model import Long, Precision
from sparseret.encoders.transformer_body import available_cores, quiet_transformers
from sparseret.errors import ConfigurationError, MissingExtraError
from sparseret.kernels import Rows, VocabularyHead

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

__all__ = ["CausalSpladeEncoder", "CausalSpladeModel"]

_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")


class CausalSpladeModel:
    """A causal language model as SPLADE: what :func:`sparseret.train.loop.train_pairs` trains.

    Args:
        model: the language model.
        tokenizer: its tokenizer.
        echo: whether texts are given twice.
        top_k: most weights that a text keeps, None for all. It bounds vectors from the first step
            on, where a regulariser would have to press them down first.
    """

    def __init__(
        self,
        model: CausalModel,
        tokenizer: Tokenizer,
        *,
        echo: bool = True,
        top_k: int | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.special = special_tokens(tokenizer)
        self.echo = echo
        self.top_k = top_k
        self.max_length = 128
        self.module: Any = model.module

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        adapter: str | Path | None = None,
        echo: bool = True,
        top_k: int | None = None,
    ) -> CausalSpladeModel:
        """Read any transformers causal language model, and LoRA weights to be merged into it.

        Raises:
            ConfigurationError: the folders hold no such model.
            MissingExtraError: torch, transformers or (for an adapter) peft is not installed.
        """
        folder = Path(folder)
        adapter = None if adapter is None else Path(adapter)
        model = load_causal_model(folder, adapter=adapter)
        return cls(model, load_tokenizer(folder), echo=echo, top_k=top_k)

    def add_lora(
        self, *, rank: int = 16, alpha: int = 8, dropout: float = 0.1, seed: int = 0
    ) -> None:
        """Freeze the model and train low-rank adapters of all its linear layers instead.

        The defaults are those of Mistral-SPLADE.

        Raises:
            MissingExtraError: peft is not installed.
        """
        try:
            import peft
        except ImportError as error:
            raise MissingExtraError("peft", "lora", "LoRA adapters") from error
        import torch

        config = peft.LoraConfig(
            r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules="all-linear"
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.module = peft.get_peft_model(self.model.module, config)

    def save(self, folder: str | Path) -> None:
        """Write the whole model, adapters merged, as a transformers folder."""
        from copy import deepcopy

        plain = self.module
        if plain is not self.model.module:
            plain = deepcopy(plain).merge_and_unload()
        with quiet_transformers():
            plain.save_pretrained(folder)
        self.tokenizer.save(str(Path(folder) / "tokenizer.json"))

    def save_adapter(self, folder: str | Path) -> None:
        """Write the adapters alone, after :meth:`add_lora`, as a peft folder."""
        self.module.save_pretrained(folder)

    def weights(self, readings: Sequence[Reading]) -> Tensor:
        """Vectors of a batch, shape (n, vocabulary), differentiable."""
        states = token_states(self.model.body, readings)
        weights = self.model.largest_logits(states).relu().log1p()
        if self.top_k is None or self.top_k >= weights.shape[1]:
            return weights
        best, at = weights.topk(self.top_k, dim=1)
        return weights.new_zeros(weights.shape).scatter(1, at, best)

    def represent(self, queries: Sequence[str], documents: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Vectors over the vocabulary (:class:`sparseret.train.loop.Trainable`)."""
        made = []
        for texts in (queries, documents):
            encodings = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
            made.append(
                self.weights(
                    [
                        read_echo(e.ids, self.special, self.max_length, echo=self.echo)
                        for e in encodings
                    ]
                )
            )
        return made[0], made[1]


class CausalSpladeEncoder(NeuralEncoder):
    """SPLADE by any transformers causal language model.

    Args:
        folder: a transformers folder of a causal language model.
        adapter: a peft folder of LoRA weights, which are merged when they are read.
        echo: whether texts are given twice, as the model was trained.
        max_length: counted once, while the model sees twice as many and its special tokens; None
            takes 256, or what the model takes where that is less.
        long, fields, device: as of :class:`sparseret.encoders.neural.NeuralEncoder`.
        top_k: most weights that a document or query keeps, None for all.
        dtype: of the model's arithmetic: "float32", "bfloat16" or "float16".
        precision: of the product with the vocabulary; "int8" is less exact, and made on the
            processor whatever the device.
        batch_tokens: tokens in a batch, both copies and padding included.
        threads: of the product with the vocabulary on a processor; None for one per core. They
            change no vector.

    Raises:
        ConfigurationError: an option out of its range.
    """

    name = "causal-lm"

    def __init__(
        self,
        folder: str | Path,
        *,
        adapter: str | Path | None = None,
        echo: bool = True,
        max_length: int | None = None,
        long: Long = "truncate",
        fields: Mapping[str, float] | None = None,
        top_k: int | None = None,
        dtype: str = "float32",
        precision: Precision = "float32",
        batch_tokens: int = 4096,
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        self.echo = bool(echo)
        self._pruning = Pruning(top_k=None if top_k is None else whole_number("top_k", top_k, 1))
        if precision not in get_args(Precision):
            raise ConfigurationError(
                f"precision {precision!r} is not one of {', '.join(get_args(Precision))}"
            )
        self.threads = None if threads is None else whole_number("threads", threads, 1)
        super().__init__(
            folder,
            {"echo": self.echo, "top_k": top_k, "dtype": dtype},
            max_length=max_length,
            long=long,
            fields=fields,
            batch_tokens=batch_tokens,
            device=device,
        )
        if precision != "float32":  # only then, so that spaces stay what they were without
            self.settings["precision"] = precision
        self.adapter = None if adapter is None else find_folder(adapter)
        self._given_adapter = (
            None if adapter is None or self.adapter is None else saved_name(adapter, self.adapter)
        )
        self.dtype = dtype
        self.precision: Precision = precision

    def _longest_text(self) -> int:
        copies = 2 if self.echo else 1
        return max(1, (super()._longest_text() - 1) // copies)  # 1 for <s>

    @property
    def options(self) -> dict[str, Any]:
        """Constructor options as JSON values (:func:`sparseret.registry.load_encoder`)."""
        return {**super().options, "adapter": self._given_adapter}

    def _files(self) -> list[Path]:
        files = super()._files()
        if self.adapter is not None:
            files += [self.adapter / name for name in _ADAPTER_FILES]
        return files

    @cached_property
    def model(self) -> CausalSpladeModel:
        """The language model, read when it is first needed."""
        model = load_causal_model(
            self.folder, adapter=self.adapter, dtype=self.dtype, device=self.device
        )
        return CausalSpladeModel(model, self.tokenizer, echo=self.echo)

    @cached_property
    def _head(self) -> VocabularyHead | None:
        """The product with the vocabulary on the processor; None where it is torch's."""
        native = self.device == "cpu" and self.dtype == "float32"
        if native or self.precision == "int8":
            return self.model.model.native_head(self.precision)
        return None

    @cached_property
    def dim(self) -> int:
        """Size of the model's vocabulary, which may be padded beyond the tokenizer's."""
        return self.model.model.vocabulary_size

    def term(self, column: int) -> str:
        """The token in letters. Raises KeyError where there is none."""
        return token_text(self.tokenizer, column)

    def read(self, texts: Sequence[str], *, query: bool) -> list[list[Reading]]:  # noqa: ARG002
        """Both copies; those of the second count."""
        encoded = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [self._read(encoding.ids) for encoding in encoded]

    def _read(self, ids: Sequence[int]) -> list[Reading]:
        parts = self.parts(len(ids), 0)
        special, length = self.special_tokens, self.max_length
        return [read_echo(ids[part], special, length, echo=self.echo) for part in parts]

    def rows_of(self, readings: Sequence[Reading], *, query: bool) -> Rows:  # noqa: ARG002
        """The positive weights, or the largest of them."""
        if self._head is None:
            weights = self.model.weights(readings).float().cpu().numpy()
            rows, columns = np.nonzero(weights)
            indptr = np.searchsorted(rows, np.arange(len(weights) + 1))
            made = Rows(indptr, columns.astype(np.int32), weights[rows, columns])
        else:
            model = self.model.model
            states = token_states(model.body, readings)
            offsets = np.searchsorted(states.rows.cpu().numpy(), np.arange(states.n + 1))
            threads = self.threads or available_cores()
            largest = self._head.maxima(
                states.values.float().cpu().numpy(), offsets, threads=threads
            )
            weighed = np.log1p(model.finish(largest.values))
            made = with_values(Rows(*largest), weighed)
        # All of a text's heaviest weights are among the heaviest of its windows and fields.
        return prune_rows(made, self._pruning)

    def finish(self, rows: Rows) -> Rows:
        """The heaviest weights, where ``top_k`` asks for them."""
        return prune_rows(rows, self._pruning)

    def save(self, path: str | Path) -> None:
        """Copy the files of model and adapter to a folder, with the options in encoder.json."""
        target = Path(path) / "adapter"
        if self.adapter is not None and self.adapter.resolve() != target.resolve():
            shutil.copytree(self.adapter, target, dirs_exist_ok=True)
        super().save(path)

    @classmethod
    def _saved_options(cls, folder: Path) -> dict[str, Any]:
        options = super()._saved_options(folder)
        if options.get("adapter") is not None:
            options["adapter"] = str(folder / "adapter")
        return options


def read_echo(
    ids: Sequence[int], special: SpecialTokens, max_length: int, *, echo: bool
) -> Reading:
    """``<s> text text``, of which the second copy counts; without echo ``<s> text``."""
    text = list(ids[:max_length])
    copies = text + text if echo else text
    begin = len(special.before) + len(copies) - len(text)
    whole = [*special.before, *copies]
    positions = list(range(begin, begin + len(text)))
    return Reading(whole or [0], positions, [], truncated=len(text) < len(ids))
