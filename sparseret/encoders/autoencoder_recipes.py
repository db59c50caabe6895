"""How the kinds of k-sparse autoencoders are trained: what is chosen, what is added to the loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from sparseret.encoders.sparse_autoencoder import Activation
from sparseret.errors import ConfigurationError

__all__ = ["RECIPES", "Auxiliary", "Choice", "Recipe"]

Choice: TypeAlias = Literal["token", "mutual", "feature"]
Auxiliary: TypeAlias = Literal["none", "dead", "zipf"]


@dataclass(frozen=True)
class Recipe:
    """Parts of the training of an autoencoder.

    Raises:
        ConfigurationError: a setting out of its range.
    """

    tied: bool = False
    """Whether encoder and decoder are one matrix. Otherwise the rows of the decoder have length 1,
    and gradients along them are taken out [2]_."""
    activation: Activation = "relu"
    """"linear" keeps negative latents among the k largest."""
    choice: Choice = "token"
    """Of n vectors times latents: the k largest of each vector ("token"), the n·k largest of all
    ("mutual"), or for each latent as many as a Zipf curve grants it ("feature") [3]_."""
    auxiliary: Auxiliary = "dead"
    """Which latents are to reconstruct what the chosen ones left over: those that have not been
    chosen for long ("dead"), or those below the share that a Zipf curve grants them ("zipf")."""
    auxiliary_weight: float = 1 / 32
    wide_weight: float = 0.0
    """Of the reconstruction from the 4k largest, beside that from the k largest [4]_."""
    contrastive_weight: float = 0.0
    """Of the contrastive loss over codes [4]_: each vector's own code, or that of its positive,
    against those of the batch."""
    temperature: float = 0.2
    """Of the contrastive loss."""
    first_k: float = 1.0
    """k begins at so many times its value and comes down within the first half [1]_ [5]_."""
    by_gradient: bool = False
    """Whether latents are chosen by their activation times the magnitude of the gradient along
    their direction [6]_."""
    average: float = 0.0
    """Decay of the moving average of weights that is kept in the end; 0 keeps the last ones."""

    def __post_init__(self) -> None:
        for name, choices in (("choice", Choice), ("auxiliary", Auxiliary),
                              ("activation", Activation)):  # fmt: skip
            if getattr(self, name) not in get_args(choices):
                raise ConfigurationError(
                    f"{name} {getattr(self, name)!r} is not one of {', '.join(get_args(choices))}"
                )
        for name, low, high in (
            ("auxiliary_weight", 0.0, 1e6),
            ("wide_weight", 0.0, 1e6),
            ("contrastive_weight", 0.0, 1e6),
            ("temperature", 1e-3, 1e3),
            ("first_k", 1.0, 1e6),
            ("average", 0.0, 0.99999),
        ):
            if not low <= getattr(self, name) <= high:
                raise ConfigurationError(
                    f"{name} must be from {low} to {high}, got {getattr(self, name)!r}"
                )
        if self.choice != "token" and (self.activation == "linear" or self.by_gradient):
            raise ConfigurationError(
                'activation="linear" and by_gradient=True go with choice="token" only'
            )


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "k-sparse": Recipe(tied=True, activation="linear", auxiliary="none", first_k=4.0),
        "topk": Recipe(average=0.999),
        "mutual-choice": Recipe(choice="mutual", average=0.999),
        "feature-choice": Recipe(choice="feature", auxiliary="zipf", average=0.999),
        "gradient": Recipe(by_gradient=True, average=0.999),
        "csr": Recipe(tied=True, wide_weight=1 / 8, contrastive_weight=0.1),
        "csr-v2": Recipe(tied=True, wide_weight=1 / 8, contrastive_weight=0.1, first_k=8.0),
    }
)
"""Published kinds, in the order of the references below.

References:
    .. [1] Alireza Makhzani, Brendan Frey. k-Sparse Autoencoders. 2013.
    .. [2] Leo Gao et al. Scaling and evaluating sparse autoencoders. 2024, section 2, appendix A.
    .. [3] Kola Ayonrinde. Adaptive Sparse Allocation with Mutual Choice & Feature Choice Sparse
       Autoencoders. 2024.
    .. [4] Tiansheng Wen et al. Beyond Matryoshka: Revisiting Sparse Coding for Adaptive
       Representation. 2025, section 3.
    .. [5] CSRv2: Unlocking Ultra-Sparse Embeddings. 2026.
    .. [6] Jeffrey Olmo et al. Features that Make a Difference: Leveraging Gradients for Improved
       Dictionary Learning. 2024.
"""
