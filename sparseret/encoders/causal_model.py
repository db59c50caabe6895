"""Any transformers causal language model, cut before its vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparseret.encoders.checkpoints import on_device, reason, require_neural
from sparseret.encoders.reading import States
from sparseret.encoders.splade_model import Precision
from sparseret.encoders.transformer_body import quiet_transformers
from sparseret.errors import ConfigurationError, MissingExtraError
from sparseret.kernels import VocabularyHead

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CausalModel", "load_causal_model"]

_DTYPES = ("float32", "bfloat16", "float16")
_BLOCK = 8192
"""Vocabulary entries whose logits are held at a time, for all tokens of one text."""


class CausalModel:
    """A language model as body and vocabulary.

    Attributes:
        module: the whole model.
        body: gives last hidden states.
        vocabulary_size: rows of the output embeddings.
        hidden_size: width of the states.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        self.body = module.base_model
        self._output = module.get_output_embeddings()
        self.vocabulary_size: int = self._output.weight.shape[0]
        self.hidden_size: int = self._output.weight.shape[1]
        config = module.config.get_text_config()
        # What some models do to logits after the product: all of it grows with the product.
        self._scale: float = (getattr(config, "logit_scale", None) or 1.0) / (
            getattr(config, "logits_scaling", None) or 1.0
        )
        self._cap: float | None = getattr(config, "final_logit_softcapping", None)

    def largest_logits(self, states: States) -> Tensor:
        """For each text the largest logit over its tokens, float32, shape (n, vocabulary).

        Built from blocks of the vocabulary, text by text; differentiable. Texts without tokens
        have zeros.
        """
        import torch

        counts = torch.bincount(states.rows, minlength=states.n).tolist()
        made = []
        for text in states.values.split(counts):
            if len(text):
                made.append(self._largest(text))
            else:
                made.append(text.new_zeros(self.vocabulary_size, dtype=torch.float32))
        return torch.stack(made)

    def native_head(self, precision: Precision) -> VocabularyHead:
        """The output embeddings as a kernel, whose maxima :meth:`finish` makes logits.

        Raises:
            VectorError: embeddings that are not finite or exceed 1e15.
        """
        bias = getattr(self._output, "bias", None)
        if bias is None:
            bias = self._output.weight.new_zeros(self.vocabulary_size)
        weight, added = (
            tensor.detach().float().cpu().numpy() for tensor in (self._output.weight, bias)
        )
        return VocabularyHead(weight, added, precision)

    def finish(self, products: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits of products with the output embeddings: what the model does to them afterwards."""
        scaled = products * np.float32(self._scale)
        if self._cap is None:
            return scaled
        cap = np.float32(self._cap)
        capped: NDArray[np.float32] = np.tanh(scaled / cap) * cap
        return capped

    def logits(self, values: Tensor) -> Tensor:
        """Logits of single states, (n, hidden) to float32 (n, vocabulary)."""
        return self._finish(self._output(values).float())

    def _largest(self, text: Tensor) -> Tensor:
        import torch

        bias = getattr(self._output, "bias", None)
        adapted = not type(self._output).__module__.startswith("torch.nn")
        if adapted:  # a layer under training by LoRA is more than a matrix
            return self._finish(self._output(text).float().amax(dim=0))
        parts = []
        for begin in range(0, self.vocabulary_size, _BLOCK):
            block = slice(begin, begin + _BLOCK)
            best = (text @ self._output.weight[block].T).amax(dim=0)
            parts.append(best if bias is None else best + bias[block])
        return self._finish(torch.cat(parts).float())

    def _finish(self, logits: Tensor) -> Tensor:
        scaled = logits * self._scale
        return scaled if self._cap is None else (scaled / self._cap).tanh() * self._cap


def load_causal_model(
    folder: Path, *, adapter: Path | None = None, dtype: str = "float32", device: str = "cpu"
) -> CausalModel:
    """Read a transformers folder, and merge the LoRA weights of a peft folder into it.

    Raises:
        ConfigurationError: the folders hold no such model, or an unknown dtype.
        MissingExtraError: torch, transformers or (for an adapter) peft is not installed.
    """
    require_neural("causal language models")
    import torch
    import transformers
    from safetensors import SafetensorError

    if dtype not in _DTYPES:
        raise ConfigurationError(f"dtype {dtype!r} is not one of {', '.join(_DTYPES)}")
    try:
        with quiet_transformers():
            module = transformers.AutoModelForCausalLM.from_pretrained(
                folder, dtype=getattr(torch, dtype), local_files_only=True
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ConfigurationError(
            f"{folder} holds no causal language model: {reason(error)}"
        ) from error
    if adapter is not None:
        try:
            import peft
        except ImportError as error:
            raise MissingExtraError("peft", "lora", f"the adapter {adapter}") from error
        try:
            module = peft.PeftModel.from_pretrained(module, str(adapter)).merge_and_unload()
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise ConfigurationError(
                f"{adapter} holds no adapter of {folder}: {reason(error)}"
            ) from error
    return CausalModel(on_device(module, device))
