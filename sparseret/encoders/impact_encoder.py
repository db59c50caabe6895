"""What uniCOIL and DeepImpact share: documents expanded, and weights as numbers of few bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from sparseret.encoders.expansion import Expander
from sparseret.encoders.impacts import check_impacts, quantise
from sparseret.encoders.neural import NeuralEncoder
from sparseret.encoders.reading import States
from sparseret.encoders.row_ops import join_rows, with_values
from sparseret.encoders.splade_model import Long
from sparseret.kernels import Rows

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Expansion", "ImpactEncoder", "pool_positions"]

Expansion = Callable[[Sequence[str]], Sequence[str]]
"""Document expansion: the texts of documents -> what is appended to each, "" for nothing."""


class ImpactEncoder(NeuralEncoder):
    """Base of encoders that give a weight to each token or word of an expanded text.

    Args:
        folder: of the model.
        impacts: bits of whole-number weights, 8 as in Anserini and in DeepImpact's paper; None for
            weights as they are. Weights are rounded in the end, after those of fields.
        impact_range: weight that becomes the largest number
            (:func:`sparseret.encoders.impacts.quantise`); DeepImpact's paper takes the largest of
            the collection.
        expand: what appends words to documents (doc2query or any other); with ``fields`` it is
            given the text of each field.
        expansion: name of what ``expand`` does, part of ``space``; by default its Python name.
        max_length: special tokens and expansion included; None takes 512, or what the model takes
            where that is less.
        long, fields, batch_tokens, device: as of :class:`sparseret.encoders.neural.NeuralEncoder`.

    Raises:
        ConfigurationError: an option out of its range.
    """

    default_length = 512
    least_length = 8

    def __init__(
        self,
        folder: str | Path,
        *,
        impacts: int | None = None,
        impact_range: float = 5.0,
        expand: Expansion | None = None,
        expansion: str | None = None,
        max_length: int | None = None,
        long: Long = "truncate",
        fields: Mapping[str, float] | None = None,
        batch_tokens: int = 4096,
        device: str = "cpu",
    ) -> None:
        check_impacts(impacts, impact_range)
        self.impacts = impacts
        self.impact_range = float(impact_range)
        self.expander = Expander(expand, expansion)
        super().__init__(
            folder,
            {
                "impacts": impacts,
                "impact_range": self.impact_range,
                "expansion": self.expander.name,
            },
            max_length=max_length,
            long=long,
            fields=fields,
            batch_tokens=batch_tokens,
            device=device,
        )

    def finish(self, rows: Rows) -> Rows:
        """Whole numbers, where ``impacts`` asks for them; what rounds to 0 is left out."""
        if self.impacts is None:
            return rows
        return with_values(rows, quantise(rows.values, self.impacts, self.impact_range))


def pool_positions(states: States, weights: Tensor, how: Literal["max", "sum"]) -> Rows:
    """Weights of positions as vectors, a row a text, those of one column made one; zeros left out.

    Args:
        states: where the positions stand; their columns are those of the vectors.
        weights: not negative, shape (n_positions,).
        how: "max" or "sum".
    """
    values = weights.float().cpu().numpy()
    columns = states.columns.cpu().numpy().astype(np.int32)
    positions = Rows(np.arange(len(values) + 1), columns, values)
    rows = join_rows(positions, states.rows.cpu().numpy(), states.n, how)
    return with_values(rows, rows.values)
