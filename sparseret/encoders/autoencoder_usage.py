"""How often the latents of an autoencoder in training are chosen, and how strongly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparseret.encoders.autoencoder_recipes import Auxiliary, Choice
from sparseret.encoders.autoencoder_steps import Chosen, zipf_quotas

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LatentUsage"]

_DECAY = 0.99
"""Of the moving averages."""


class LatentUsage:
    """Counts over the batches of a training.

    Args:
        dim: latents.
        device: of torch.

    Attributes:
        idle: vectors seen since each latent was chosen, shape (dim,).
        counts: moving average of how often each is chosen in a batch, shape (dim,).
        thresholds: moving average of the least activation that was chosen, shape (dim,).
    """

    def __init__(self, dim: int, device: str) -> None:
        import torch

        self.idle = torch.zeros(dim, device=device)
        self.counts = torch.zeros(dim, device=device)
        self.thresholds = torch.zeros(dim, device=device)
        self._batches = 0

    def note(self, chosen: Chosen, values: Tensor, choice: Choice) -> None:
        """Count a batch.

        Args:
            chosen: its entries that are not zero.
            values: activations of these.
            choice: how they were chosen; the k largest of each vector need no thresholds.
        """
        import torch

        counts = torch.bincount(chosen.columns, minlength=len(self.idle)).float()
        self.idle = torch.where(counts > 0, 0.0, self.idle + chosen.n)
        decay = min(_DECAY, self._batches / (self._batches + 1))
        self.counts = decay * self.counts + (1 - decay) * counts
        self._batches += 1
        if choice == "token" or not len(values):
            return
        least = torch.full_like(self.thresholds, float("inf"))
        if choice == "mutual":
            least[:] = values.min()
        else:
            least.scatter_reduce_(0, chosen.columns, values, "amin")
        decayed = torch.where(
            self.thresholds == 0, least, _DECAY * self.thresholds + (1 - _DECAY) * least
        )
        self.thresholds = torch.where(least.isfinite(), decayed, self.thresholds)

    def rested(self, auxiliary: Auxiliary, dead_after: int, batch_size: int) -> Tensor:
        """Which latents the auxiliary loss is about, bool, shape (dim,)."""
        import torch

        if auxiliary == "dead":
            return self.idle > dead_after
        if auxiliary == "zipf" and self._batches:
            total = max(1, round(float(self.counts.sum())))
            return self.counts < zipf_quotas(self.counts, total, batch_size) - 0.5
        return torch.zeros_like(self.idle, dtype=torch.bool)

    def thresholds_of_all(self, choice: Choice) -> Tensor:
        """What a latent of a single vector must exceed, shape (dim,): one for all latents where
        the largest of all were chosen."""
        found = self.thresholds.clamp(min=0)
        return found[:1].expand(len(found)) if choice == "mutual" else found
