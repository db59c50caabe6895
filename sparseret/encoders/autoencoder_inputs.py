"""How strongly the latents of an autoencoder answer to vectors, dense or sparse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array
    from torch import Tensor

__all__ = ["affinities_of"]


def affinities_of(
    inputs: Tensor | csr_array, encoder: Tensor, pre_bias: Tensor, latent_bias: Tensor
) -> Tensor:
    """All latents of a batch before any is chosen, shape (n, dim); without gradients.

    Args:
        inputs: dense, of which ``pre_bias`` was taken, shape (n, n_features); or sparse rows as
            they came, whose product costs by their entries and not by their width.
        encoder: shape (dim, n_features).
        pre_bias: shape (n_features,).
        latent_bias: shape (dim,).
    """
    import torch
    from scipy.sparse import issparse

    if not issparse(inputs):
        made: Tensor = inputs @ encoder.T + latent_bias
        return made
    offset = latent_bias - encoder @ pre_bias
    if not inputs.nnz:
        return offset.expand(inputs.shape[0], len(encoder))
    columns, offsets, values = (
        torch.from_numpy(part).to(encoder.device)
        for part in (inputs.indices.astype(np.int64), inputs.indptr[:-1].copy(), inputs.data)
    )
    summed: Tensor = torch.nn.functional.embedding_bag(
        columns, encoder.detach().T.contiguous(), offsets, mode="sum", per_sample_weights=values
    )
    return summed + offset
