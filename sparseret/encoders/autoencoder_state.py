"""What changes from step to step while an autoencoder is trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sparseret.encoders.autoencoder_usage import LatentUsage

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AutoencoderState"]


@dataclass
class AutoencoderState:
    """Weights, their moving average, and what the optimiser and the choice keep of the past."""

    encoder: Tensor
    """Shape (dim, n_features)."""
    decoder: Tensor | None
    """The same shape; None where it is the encoder."""
    pre_bias: Tensor
    """Shape (n_features,)."""
    latent_bias: Tensor
    """Shape (dim,)."""
    optimizer: Any
    usage: LatentUsage
    average: dict[str, Tensor] = field(default_factory=dict)
    """Of :attr:`weights`; empty where none is kept."""
    step: int = 0

    @property
    def weights(self) -> dict[str, Tensor]:
        """What is learned, by name."""
        found = {
            "encoder": self.encoder, "pre_bias": self.pre_bias, "latent_bias": self.latent_bias,
        }  # fmt: skip
        return found if self.decoder is None else {**found, "decoder": self.decoder}

    def note(self, average: float) -> None:
        """Count a step; ``average`` is the decay of the moving average, 0 for none."""
        if average:
            # Few steps would leave the initial weights in it: they are let go faster first.
            decay = min(average, (1 + self.step) / (10 + self.step))
            for name, weights in self.weights.items():
                if name not in self.average:
                    self.average[name] = weights.detach().clone()
                self.average[name].lerp_(weights.detach(), 1 - decay)
        self.step += 1
