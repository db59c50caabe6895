"""What a training step of a sparse autoencoder is made of, in torch.

Only chosen latents have gradients, so nothing behind the choice is as wide as the dictionary: sums
over chosen rows are torch's embedding_bag, and gradients of the encoder are products with a sparse
matrix of the chosen entries.

On a GPU the choice and the gradients of both matrices are kernels of Triton where it is installed
(:mod:`sparseret.encoders.triton_top_k`, :mod:`sparseret.encoders.triton_sums`), which break ties as
the processor does and add in the same order in every run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.encoders import triton_sums, triton_top_k
from sparseret.kernels import top_k

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Chosen",
    "activations",
    "choose_by_feature",
    "choose_by_token",
    "choose_mutually",
    "contrastive_loss",
    "decode",
    "densify",
    "geometric_median",
    "zipf_quotas",
]


class Chosen(NamedTuple):
    """Entries of a matrix vectors times latents, row by row."""

    rows: Tensor
    """Ascending, int64, shape (nnz,)."""
    columns: Tensor
    """Int64, shape (nnz,)."""
    n: int
    """Rows of the matrix."""

    @property
    def bounds(self) -> Tensor:
        """The entries of row r are those from bounds[r] to bounds[r + 1], shape (n + 1,)."""
        import torch

        return torch.searchsorted(self.rows, torch.arange(self.n + 1, device=self.rows.device))


def choose_by_token(scores: Tensor, k: int) -> Chosen:
    """The k largest of each row."""
    import torch

    n = len(scores)
    if _fused(scores):
        columns = triton_top_k.largest_columns(scores, k)
    elif scores.device.type == "cpu":
        columns = torch.from_numpy(_largest(scores, k).astype(np.int64))
    else:
        columns = scores.topk(k, dim=1).indices.sort(dim=1).values
    rows = torch.arange(n, device=scores.device).repeat_interleave(k)
    return Chosen(rows, columns.reshape(-1), n)


def choose_mutually(scores: Tensor, k: int) -> Chosen:
    """The n·k largest of all, n being the rows."""
    import torch

    n, dim = scores.shape
    flat = scores.reshape(1, -1)
    if scores.device.type == "cpu":
        places = torch.from_numpy(_largest(flat, n * k).astype(np.int64))[0]
    else:
        places = flat.topk(n * k, dim=1).indices[0].sort().values
    return Chosen(places // dim, places % dim, n)


def choose_by_feature(scores: Tensor, quotas: Tensor) -> Chosen:
    """The largest of each column, as many as its quota, shape (dim,)."""
    import torch

    order = scores.argsort(dim=0, descending=True, stable=True)
    taken = torch.arange(len(scores), device=scores.device)[:, None] < quotas[None, :]
    columns = torch.arange(scores.shape[1], device=scores.device).expand_as(order)[taken]
    places, _ = (order[taken] * scores.shape[1] + columns).sort()
    return Chosen(places // scores.shape[1], places % scores.shape[1], len(scores))


def zipf_quotas(usage: Tensor, total: int, most: int, exponent: float = 1.0) -> Tensor:
    """How often each latent may be chosen: ``total`` shared out by rank ** -exponent.

    Args:
        usage: how often each has been chosen; the most used has rank 1, ties go by number.
        total: what the quotas add up to, nearly: each is a whole number from 1 to ``most``.
        most: the largest quota.
        exponent: of the curve.
    """
    import torch

    ranks = torch.empty_like(usage)
    order = usage.argsort(descending=True, stable=True)
    ranks[order] = torch.arange(1, len(usage) + 1, device=usage.device, dtype=usage.dtype)
    shares = ranks**-exponent
    quotas = shares * (total / shares.sum())
    for _ in range(20):  # what the first cannot take goes to the others
        over = (quotas - most).clamp(min=0).sum()
        free = quotas < most
        if over < 1 or not bool(free.any()):
            break
        quotas = quotas.clamp(max=most)
        quotas[free] *= 1 + over / quotas[free].sum()
    return quotas.clamp(max=most).round().clamp(min=1).long()


def activations(affinities: Tensor, inputs: Tensor, encoder: Tensor, bias: Tensor,
                chosen: Chosen) -> Tensor:  # fmt: skip
    """The chosen entries of ``inputs @ encoder.T + bias``, shape (nnz,).

    Args:
        affinities: that product, which was made without gradients.
        inputs: shape (n, n_features), differentiable.
        encoder: shape (dim, n_features), differentiable.
        bias: shape (dim,), differentiable.
        chosen: the entries.
    """
    made: Tensor = _activations()(affinities, inputs, encoder, bias, *chosen)
    return made


@cache
def _activations() -> Callable[..., Any]:
    """The function above with its gradients; made at the first use, as torch is imported late."""
    import torch

    class Activations(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, affinities: Tensor, inputs: Tensor, encoder: Tensor, bias: Tensor,  # noqa: ARG004
                    rows: Tensor, columns: Tensor, n: int) -> Tensor:  # fmt: skip
            ctx.save_for_backward(inputs, encoder, rows, columns)
            ctx.n = n
            return affinities[rows, columns]

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
            inputs, encoder, rows, columns = ctx.saved_tensors
            chosen = Chosen(rows, columns, ctx.n)
            of_inputs = None
            if ctx.needs_input_grad[1]:
                of_inputs = _sum_rows(encoder, chosen, gradient)
            turned, weights = _by_latent(chosen, gradient, len(encoder))
            of_encoder = _add_rows(inputs, turned, weights)
            of_bias = torch.segment_reduce(weights, "sum", offsets=turned.bounds)
            return None, of_inputs, of_encoder, of_bias, None, None, None

    apply: Callable[..., Any] = Activations.apply
    return apply


def decode(values: Tensor, dictionary: Tensor, chosen: Chosen) -> Tensor:
    """Sums of rows of the dictionary, weighted, shape (n, n_features); differentiable."""
    if _fused(values):
        made: Tensor = _fused_decode()(values, dictionary, *chosen)
        return made
    return _sum_rows(dictionary, chosen, values)


@cache
def _fused_decode() -> Callable[..., Any]:
    """The function above with gradients by kernels of Triton."""
    import torch

    class Decode(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, values: Tensor, dictionary: Tensor, rows: Tensor, columns: Tensor,
                    n: int) -> Tensor:  # fmt: skip
            ctx.save_for_backward(values, dictionary, rows, columns)
            ctx.n = n
            return _sum_rows(dictionary, Chosen(rows, columns, n), values)

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
            values, dictionary, rows, columns = ctx.saved_tensors
            of_values = of_dictionary = None
            if ctx.needs_input_grad[0]:
                of_values = triton_sums.entry_products(gradient, dictionary, rows, columns)
            if ctx.needs_input_grad[1]:
                chosen = Chosen(rows, columns, ctx.n)
                of_dictionary = _add_rows(gradient, *_by_latent(chosen, values, len(dictionary)))
            return of_values, of_dictionary, None, None, None

    apply: Callable[..., Any] = Decode.apply
    return apply


def _fused(values: Tensor) -> bool:
    """Whether kernels of Triton take such values: float32 on a GPU."""
    import torch

    on_gpu = values.device.type == "cuda" and values.dtype == torch.float32
    return on_gpu and find_spec("triton") is not None


def _by_latent(chosen: Chosen, weights: Tensor, dim: int) -> tuple[Chosen, Tensor]:
    """The entries of the transposed matrix, in a fixed order, and the weights in that order."""
    order = chosen.columns.argsort(stable=True)
    return Chosen(chosen.columns[order], chosen.rows[order], dim), weights[order]


def _add_rows(table: Tensor, chosen: Chosen, weights: Tensor) -> Tensor:
    """:func:`_sum_rows`, on a GPU by a kernel that takes long rows of ``chosen`` in parts."""
    if _fused(weights):
        return triton_sums.sum_rows(table, chosen.columns, chosen.bounds, weights)
    return _sum_rows(table, chosen, weights)


def _sum_rows(table: Tensor, chosen: Chosen, weights: Tensor) -> Tensor:
    import torch

    if not len(chosen.rows):
        return table.new_zeros(chosen.n, table.shape[1]) + 0 * table.sum()
    return torch.nn.functional.embedding_bag(
        chosen.columns, table, chosen.bounds, mode="sum", per_sample_weights=weights,
        include_last_offset=True,
    )  # fmt: skip


def densify(values: Tensor, chosen: Chosen, dim: int) -> Tensor:
    """The codes as a matrix, shape (n, dim); differentiable."""
    return values.new_zeros(chosen.n, dim).index_put((chosen.rows, chosen.columns), values)


def contrastive_loss(codes: Tensor, positives: Tensor, temperature: float) -> Tensor:
    """InfoNCE over non-negative codes, by cosine: row i of one belongs to row i of the other."""
    import torch

    similar = (
        torch.nn.functional.normalize(codes, dim=1)
        @ torch.nn.functional.normalize(positives, dim=1).T
    )
    target = torch.arange(len(codes), device=codes.device)
    return torch.nn.functional.cross_entropy(similar / temperature, target)


def geometric_median(
    rows: NDArray[np.float32], *, rounds: int = 50, tolerance: float = 1e-5
) -> NDArray[np.float32]:
    """The point with the least sum of distances to the rows, by Weiszfeld's iteration."""
    points = rows.astype(np.float64)
    median = points.mean(axis=0)
    for _ in range(rounds):
        distances = np.linalg.norm(points - median, axis=1)
        weights = 1 / np.maximum(distances, 1e-12)
        moved = weights @ points / weights.sum()
        step = float(np.linalg.norm(moved - median))
        median = moved
        if step <= tolerance * max(1e-12, float(np.linalg.norm(median))):
            break
    made: NDArray[np.float32] = median.astype(np.float32)
    return made


def _largest(scores: Tensor, k: int) -> NDArray[np.int32]:
    import torch

    return top_k(scores.detach().numpy(), k, threads=torch.get_num_threads()).columns
