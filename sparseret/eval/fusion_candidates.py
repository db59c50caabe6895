"""Which fusions to try: kinds, and weights on a grid that is refined around the best."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from sparseret.indexers.fusion import Convex, Fusion, ReciprocalRank

__all__ = ["grid", "neighbours", "refinements"]

_RANK_CONSTANTS = (60.0, 10.0, 20.0, 100.0)
_STEPS = {1: 1, 2: 10, 3: 5}
"""Number of legs -> parts into which the sum of weights is cut; 4 for more legs."""
_FINEST = 0.05


def grid(n_legs: int, *, bounded: bool) -> list[list[Fusion]]:
    """Kind by kind, all weights of a coarse grid; those to prefer among equals come first.

    Reciprocal ranks with k of 60, 10, 20 and 100, and convex combinations by each normaliser. Each
    leg by itself occurs once, as it is ranked the same by all of them.

    Args:
        n_legs: number of legs.
        bounded: whether all legs have a lower bound, as the theoretical normaliser needs.
    """
    kinds: list[Fusion] = [ReciprocalRank(k=k) for k in _RANK_CONSTANTS]
    kinds += [Convex(normaliser="min-max"), Convex(normaliser="z-score")]
    kinds.append(Convex(normaliser="distribution"))
    if bounded:
        kinds.append(Convex(normaliser="theoretical"))
    weights = list(_grid_weights(n_legs))
    alone = [w for w in weights if max(w) == 1.0]
    mixed = [w for w in weights if max(w) < 1.0]
    mixed.sort(key=lambda w: max(w) - min(w))
    return [
        *([replace(kind, weights=w) for w in mixed] for kind in kinds),
        [Convex(w, "min-max") for w in alone],
    ]


def refinements(n_legs: int) -> Iterator[float]:
    """Steps to refine the grid by: halves of its own step, of at least 0.05."""
    step = 0.5 / _steps(n_legs)
    while step >= _FINEST:
        yield step
        step /= 2.0


def neighbours(fusion: Fusion, step: float) -> list[Fusion]:
    """The fusions to which it is one step: from one leg's weight to that of another."""
    weights = fusion.weights or ()
    found: list[Fusion] = []
    for giver, taker in itertools.permutations(range(len(weights)), 2):
        moved = list(weights)
        moved[giver] = round(moved[giver] - step, 9)
        moved[taker] = round(moved[taker] + step, 9)
        if moved[giver] >= 0.0:
            found.append(replace(fusion, weights=tuple(moved)))
    return found


def _grid_weights(n_legs: int) -> Iterator[tuple[float, ...]]:
    steps = _steps(n_legs)
    for parts in itertools.product(range(steps + 1), repeat=n_legs):
        if sum(parts) == steps:
            yield tuple(part / steps for part in parts)


def _steps(n_legs: int) -> int:
    return _STEPS.get(n_legs, 4)
