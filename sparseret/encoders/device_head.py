"""Body and vocabulary head on a GPU: of a batch, only the weights of its vectors leave the device.

The head is one Triton kernel (:mod:`sparseret.encoders.triton_head`) where Triton is installed, as
it is with torch for CUDA on Linux, and otherwise torch's own operations on blocks of columns.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseret.encoders import triton_head
from sparseret.encoders.transformer_body import TorchBody, TransformerBody
from sparseret.errors import VectorError
from sparseret.kernels import PooledRows, VocabularyHead

__all__ = ["DeviceHead", "load_head", "pool_in_blocks"]

_LIMIT = 1e15
"""Magnitude of states and weights, as in :class:`sparseret.kernels.VocabularyHead`."""

_BLOCK = 1 << 24
"""Logits that :func:`pool_in_blocks` holds at once, 64 MiB."""


class DeviceHead:
    """The head of a model whose body runs in torch, on the device of the body.

    Poolings are those of :class:`sparseret.kernels.VocabularyHead` in float32, up to rounding.

    Args:
        body: decides the device.

    Raises:
        VectorError: decoder weights that are not finite or exceed 1e15.
    """

    def __init__(self, body: TorchBody) -> None:
        import torch

        self.body = body
        self._weight, self._bias = (
            _finite(torch.tensor(array, device=body.device), name)
            for array, name in zip(body.decoder, ("weight", "bias"), strict=True)
        )
        fused = body.device.type == "cuda" and find_spec("triton") is not None
        self._pool_rows = triton_head.pool if fused else pool_in_blocks

    def maxima(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> PooledRows:
        """The largest logit of each column over the tokens of each text, where it is positive.

        Args:
            input_ids: shape (n, length).
            attention_mask: 1 for tokens and 0 for padding, shape (n, length).

        Raises:
            VectorError: states that are not finite or exceed 1e15.
        """
        return self._pool(input_ids, attention_mask, log_sum=False)

    def sums(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> PooledRows:
        """The sum of log(1 + max(0, logit)) of each column, where it is positive.

        Arguments and errors are those of :meth:`maxima`.
        """
        return self._pool(input_ids, attention_mask, log_sum=True)

    def _pool(
        self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64], *, log_sum: bool
    ) -> PooledRows:
        import torch

        with torch.inference_mode():
            states = self.body.tensor(input_ids, attention_mask)
            mask = torch.from_numpy(attention_mask).to(states.device)
            hidden = _finite(states[mask.bool()], "hidden")
            offsets = torch.nn.functional.pad(mask.sum(dim=1).cumsum(dim=0), (1, 0))
            return _positive(
                self._pool_rows(hidden, offsets, self._weight, self._bias, log_sum=log_sum)
            )


def load_head(body: TransformerBody, precision: Any) -> VocabularyHead | DeviceHead:
    """The head that goes with a body: on its device if that is a GPU, for float32.

    Args:
        body: a body that is loaded.
        precision: as :class:`sparseret.kernels.VocabularyHead` takes it. "int8" rounds on the
            processor, so that the vectors are the same on every device.

    Raises:
        ConfigurationError: an unknown precision.
        VectorError: decoder weights that are not finite or exceed 1e15.
    """
    if precision == "float32" and isinstance(body, TorchBody) and body.device.type == "cuda":
        return DeviceHead(body)
    return VocabularyHead(*body.decoder, precision)


def pool_in_blocks(hidden: Any, offsets: Any, weight: Any, bias: Any, *, log_sum: bool) -> Any:
    """What :func:`sparseret.encoders.triton_head.pool` computes, by torch's operations.

    Logits are held for a block of columns at a time. Tensors are on any one device.
    """
    import torch

    columns = max(1, _BLOCK // max(1, len(hidden)))
    parts = []
    for first in range(0, len(weight), columns):
        block = slice(first, first + columns)
        logits = torch.addmm(bias[block], hidden, weight[block].T)
        if log_sum:
            logits = logits.relu_().log1p_()
        how, initial = ("sum", 0.0) if log_sum else ("max", -np.inf)
        # Sums of a fixed order; those of index_add differ from run to run on a GPU.
        parts.append(torch.segment_reduce(logits, how, offsets=offsets, axis=0, initial=initial))
    return torch.cat(parts, dim=1)


def _positive(pooled: Any) -> PooledRows:
    """The positive ones of (n_texts, n_columns) values, found on their device."""
    positive = pooled > 0
    indptr = np.zeros(len(pooled) + 1, np.int64)
    np.cumsum(positive.sum(dim=1).cpu().numpy(), out=indptr[1:])
    columns = positive.nonzero()[:, 1].int()
    return PooledRows(indptr, columns.cpu().numpy(), pooled[positive].cpu().numpy())


def _finite(values: Any, name: str) -> Any:
    if not bool((values.abs() <= _LIMIT).all()):  # NaN is not
        raise VectorError(f"{name}: values must be finite, and at most {_LIMIT:.0e} in magnitude")
    return values
