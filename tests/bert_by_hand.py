"""A transformer run by transformers' own classes, a text at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Run", "in_words", "run_bert"]


class Run(NamedTuple):
    """What came of a text."""

    encoding: Any
    """Of tokenizers."""
    states: Any
    """Last hidden states, a tensor of shape (tokens, width)."""
    weights: dict[str, Any]
    """Of the whole model, heads included."""


def run_bert(folder: Path, text: str) -> Run:
    """The BERT of a folder on a text."""
    import torch
    from safetensors.torch import load_file
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    weights = load_file(folder / "model.safetensors")
    body = BertModel(BertConfig.from_pretrained(folder)).eval()
    body.load_state_dict({n[5:]: w for n, w in weights.items() if n.startswith("bert.")})
    encoding = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text)
    with torch.inference_mode():
        return Run(encoding, body(torch.tensor([encoding.ids])).last_hidden_state[0], weights)


def in_words(encoder: Any, row: Any) -> dict[str, float]:
    """A vector by its terms."""
    terms = map(encoder.term, row.indices.tolist())
    return dict(zip(terms, row.data.tolist(), strict=True))
