"""Training of SPLADE: any masked language model, pooled over positions.

With L_ij the logit of vocabulary entry j at token i, special tokens included::

    w_j = log(1 + ReLU(max over i of L_ij))

Formal, Lassance, Piwowarski and Clinchant, "SPLADE v2", 2021. What
:meth:`TrainableSplade.save` writes is a plain transformers folder, which the encoder ``splade``
reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparseret.encoders.checkpoints import load_tokenizer, require_neural
from sparseret.encoders.reading import read_plain, special_tokens
from sparseret.encoders.text_batches import token_batches
from sparseret.encoders.transformer_body import quiet_transformers
from sparseret.errors import ConfigurationError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TrainableSplade"]


class TrainableSplade:
    """A masked language model as SPLADE (:class:`sparseret.train.loop.Trainable`).

    Args:
        folder: a transformers folder of a masked language model.
        max_length: tokens that are read of a text, special tokens included.

    Raises:
        ConfigurationError: the folder holds no such model.
        MissingExtraError: torch or transformers is not installed.
    """

    def __init__(self, folder: str | Path, *, max_length: int = 128) -> None:
        require_neural("training SPLADE")
        import transformers

        folder = Path(folder)
        try:
            with quiet_transformers():
                self.module: Any = transformers.AutoModelForMaskedLM.from_pretrained(
                    folder, local_files_only=True
                )
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{folder} holds no masked language model: {error}") from error
        self.tokenizer = load_tokenizer(folder)
        self.special = special_tokens(self.tokenizer)
        self.max_length = max_length

    def represent(self, queries: Sequence[str], documents: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Vectors over the vocabulary, differentiable."""
        return self._vectors(queries), self._vectors(documents)

    def save(self, folder: str | Path) -> None:
        """Write a transformers folder."""
        with quiet_transformers():
            self.module.save_pretrained(folder)
        self.tokenizer.save(str(Path(folder) / "tokenizer.json"))

    def _vectors(self, texts: Sequence[str]) -> Tensor:
        import sys

        import torch

        encodings = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        ids = [read_plain(e.ids, self.special, self.max_length).ids for e in encodings]
        batch = next(token_batches(ids, batch_tokens=sys.maxsize))
        device = self.module.device
        mask = torch.from_numpy(batch.attention_mask).to(device)
        logits = self.module(
            input_ids=torch.from_numpy(batch.input_ids).to(device), attention_mask=mask
        ).logits
        # Activation after the maximum: both are monotonic, and padding is no maximum.
        best = logits.masked_fill(~mask.bool()[:, :, None], float("-inf")).amax(dim=1)
        order = torch.from_numpy(batch.rows.argsort()).to(device)
        return best[order].relu().log1p()
