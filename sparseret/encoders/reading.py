"""What a transformer reads of a text, and the states it gives to the tokens that count."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparseret.encoders.text_batches import token_batches

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor
    from torch.nn import Module

__all__ = [
    "Reading",
    "SpecialTokens",
    "States",
    "layer_states",
    "read_plain",
    "special_tokens",
    "token_states",
    "window_slices",
]


class Reading(NamedTuple):
    """One text as a model sees it."""

    ids: list[int]
    """Token ids, special tokens included, at least one."""
    positions: list[int]
    """Which of them count, ascending."""
    columns: list[int]
    """Column of each position, where positions have one; else empty."""
    truncated: bool = False
    """Whether the end of the text did not fit."""


class SpecialTokens(NamedTuple):
    """What a tokenizer puts around a single text."""

    before: list[int]
    after: list[int]


class States(NamedTuple):
    """States of the tokens that count, of all texts of a batch, one after another."""

    values: Tensor
    """Shape (n_positions, hidden)."""
    rows: Tensor
    """Number of the text within the batch, ascending, int64, shape (n_positions,)."""
    columns: Tensor
    """``Reading.columns``, int64, shape (n_positions,) or (0,)."""
    n: int
    """Number of texts in the batch."""


def special_tokens(tokenizer: Tokenizer) -> SpecialTokens:
    """What stands before and after a text: [CLS] and [SEP], <s> alone, or nothing."""
    probe = tokenizer.encode("a")
    mask = probe.special_tokens_mask
    if all(mask):
        return SpecialTokens([], [])
    first = mask.index(0)
    last = len(mask) - mask[::-1].index(0)
    return SpecialTokens(probe.ids[:first], probe.ids[last:])


def window_slices(n: int, room: int, overlap: int) -> list[slice]:
    """Where to cut ``n`` tokens into windows of ``room``, neighbours sharing ``overlap`` of them.

    One window at least, and none that lies within another; ``overlap`` is less than ``room``.
    """
    step = room - overlap
    begins = range(0, max(1, n - overlap), step)
    return [slice(begin, min(begin + room, n)) for begin in begins]


def read_plain(ids: Sequence[int], special: SpecialTokens, max_length: int) -> Reading:
    """A text between its special tokens, of which its own count; each under its token's column."""
    text = list(ids[: max_length - len(special.before) - len(special.after)])
    begin = len(special.before)
    return Reading(
        [*special.before, *text, *special.after],
        list(range(begin, begin + len(text))),
        text,
        truncated=len(text) < len(ids),
    )


def token_states(body: Module, readings: Sequence[Reading]) -> States:
    """Last hidden states of a batch; differentiable where gradients are on.

    Args:
        body: takes ``input_ids`` and ``attention_mask``, gives ``last_hidden_state``.
        readings: at least one.
    """
    return layer_states(body, readings, [None])[0]


def layer_states(
    body: Module, readings: Sequence[Reading], layers: Sequence[int | None]
) -> list[States]:
    """States of several layers in one run: 0 the embeddings, 1 the first layer; None the last."""
    import torch

    device = next(body.parameters()).device
    ids = [reading.ids for reading in readings]
    batch = next(token_batches(ids, batch_tokens=sys.maxsize))
    inner = any(layer is not None for layer in layers)
    options: dict[str, Any] = {"output_hidden_states": True} if inner else {}
    output = body(
        input_ids=torch.from_numpy(batch.input_ids).to(device),
        attention_mask=torch.from_numpy(batch.attention_mask).to(device),
        **options,
    )
    counts = [len(reading.positions) for reading in readings]
    rows = torch.from_numpy(np.repeat(np.arange(len(readings)), counts)).to(device)
    places = torch.from_numpy(np.argsort(batch.rows)).to(device)  # of each text in the batch
    flat = [position for reading in readings for position in reading.positions]
    positions = torch.tensor(flat, dtype=torch.int64, device=device)
    chosen = [column for reading in readings for column in reading.columns]
    columns = torch.tensor(chosen, dtype=torch.int64, device=device)
    made = []
    for layer in layers:
        states = output.last_hidden_state if layer is None else output.hidden_states[layer]
        made.append(States(states[places[rows], positions], rows, columns, len(readings)))
    return made
