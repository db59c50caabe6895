"""States that enter the decoder of a masked language model: of real texts, or random ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Decoder", "States", "random_states", "text_states"]


class Decoder(NamedTuple):
    """What states are multiplied with."""

    weight: NDArray[np.float32]
    """Shape (n_columns, width)."""
    bias: NDArray[np.float32]
    """Shape (n_columns,)."""


class States(NamedTuple):
    """Of a few texts."""

    hidden: NDArray[np.float32]
    """Shape (n_rows, width)."""
    offsets: NDArray[np.int64]
    """Of each text into the rows, shape (n_texts + 1,)."""


def text_states(
    model: Path, texts: Sequence[str], tokens: Sequence[int], n_texts: int
) -> tuple[Decoder, list[States]]:
    """States of the first texts that are long enough, cut to each number of tokens.

    Args:
        model: folder of a masked language model for transformers, with its tokenizer.json.
        texts: of which those with the most tokens asked for are taken.
        tokens: lengths of texts, those that the tokenizer adds included.
        n_texts: at most this many of each length.
    """
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForMaskedLM

    network = AutoModelForMaskedLM.from_pretrained(model, dtype=torch.float32).eval()
    layer = network.get_output_embeddings()
    entered: list[NDArray[np.float32]] = []

    def keep(_module: Any, inputs: tuple[Any, ...], _output: Any) -> None:
        entered.append(inputs[0][0].numpy().copy())

    layer.register_forward_hook(keep)
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    long: list[str] = []
    tokenizer.no_truncation()
    for text in texts:
        if len(tokenizer.encode(text).ids) >= max(tokens):
            long.append(text)
        if len(long) == n_texts:
            break
    made = []
    for length in tokens:
        tokenizer.enable_truncation(length)
        entered.clear()
        with torch.no_grad():
            for text in long:
                network(torch.tensor([tokenizer.encode(text).ids]))
        made.append(_joined(entered))
    decoder = Decoder(layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy())
    return decoder, made


def random_states(
    n_columns: int, width: int, tokens: Sequence[int], n_texts: int
) -> tuple[Decoder, list[States]]:
    """Normal values, with a bias that one logit in 10,000 exceeds."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((n_columns, width), np.float32)
    lengths = np.sqrt(np.square(weight).sum(axis=1))
    decoder = Decoder(weight, (-3.72 * lengths).astype(np.float32))
    rows = [
        [rng.standard_normal((length, width), np.float32) for _ in range(n_texts)]
        for length in tokens
    ]
    return decoder, [_joined(texts) for texts in rows]


def _joined(texts: Sequence[NDArray[np.float32]]) -> States:
    offsets = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    return States(np.concatenate(texts), offsets)
