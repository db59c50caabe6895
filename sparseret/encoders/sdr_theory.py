r"""How often random codes are taken for each other: exact, from binomial coefficients.

Of n cells, a are active. A segment knows a pattern by s of its active cells (s = a: all of them)
and matches an input that activates at least theta of those. A random input of a active cells meets
b of them with probability

    P(b) = C(s, b) C(n - s, a - b) / C(n, a),      false match:  sum of P(b) over b >= theta,

Ahmad and Hawkins, "How do neurons operate on sparse distributed representations? A mathematical
theory of sparsity, neurons and active dendrites", arXiv 1601.00720 (2016). Where noise moves m of
the pattern's own a active cells elsewhere, h of them are among the s with probability
C(s, h) C(a - s, m - h) / C(a, m), and the pattern is missed where s - h < theta.

The union of M patterns, each s cells: they take the density 1 - (1 - s/n)^M for the union, its
mean. Here the overlap is exact: of a given input, c cells lie in the union of the patterns so far;
the next pattern's s cells cover d of the other a - c with probability
C(a - c, d) C(n - a + c, s - d) / C(n, s). M such steps give the distribution of c, for which only
the a cells of the input matter, whatever n and M are.

All terms are positive, so that probabilities of 1e-100 have as many digits as others. Coefficients
are logarithms: results are good to some 1e-8 of themselves with a million cells.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.encoders.sdr import changed_cells
from sparseret.errors import ConfigurationError

__all__ = [
    "SdrPlan",
    "capacity",
    "choose_threshold",
    "false_match",
    "log10_codes",
    "miss",
    "overlap_probabilities",
    "plan",
    "union_density",
]

_MOST_ACTIVE = 2048
"""The chain of a union has a matrix of (active + 1)^2 numbers."""


def log10_codes(cells: int, active: int) -> float:
    """Logarithm, to base 10, of the number of different codes."""
    _check(cells, active, active)
    return float(_log_binomial(cells, active)) / float(np.log(10))


def union_density(cells: int, synapses: int, patterns: int) -> float:
    """Expected share of cells in the union of so many random patterns of ``synapses`` cells."""
    _check(cells, synapses, synapses)
    return -float(np.expm1(patterns * np.log1p(-synapses / cells))) if synapses < cells else 1.0


def overlap_probabilities(
    cells: int, active: int, synapses: int | None = None, patterns: int = 1
) -> NDArray[np.float64]:
    """Chances that a random code shares 0, 1, ... cells with the union of random patterns.

    Args:
        cells: n.
        active: a, active cells of the code.
        synapses: s, cells that are known of each pattern; by default all ``active``.
        patterns: M, in the union.

    Returns:
        Shape (active + 1,); sums to 1.

    Raises:
        ConfigurationError: not 1 <= synapses <= active <= cells, patterns below 0, or more than
            one pattern with more than 2,048 active cells.
    """
    s = _check(cells, active, synapses)
    start = np.zeros(active + 1)
    start[0] = 1.0
    return _cover(start, cells, active, s, patterns)


def false_match(
    cells: int, active: int, threshold: int, *, synapses: int | None = None, patterns: int = 1
) -> float:
    """Chance that a random code has ``threshold`` cells or more in the union of random patterns.

    Arguments and errors are those of :func:`overlap_probabilities`; the threshold is 1 to
    ``synapses``.
    """
    _check_threshold(threshold, _check(cells, active, synapses))
    return _tail(overlap_probabilities(cells, active, synapses, patterns), threshold)


def miss(
    cells: int,
    active: int,
    threshold: int,
    *,
    noise: float,
    synapses: int | None = None,
    patterns: int = 1,
) -> float:
    """Chance that a pattern with noise has fewer than ``threshold`` cells in a union that holds it.

    The other patterns can only help it: with patterns = 1 it depends on itself alone.

    Args:
        cells: n.
        active: a, active cells of the pattern.
        threshold: theta, 1 to ``synapses``.
        noise: share of its active cells that are moved (:func:`sparseret.encoders.sdr.add_noise`).
        synapses: s, cells that are known of each pattern; by default all ``active``.
        patterns: M, in the union, this one among them: at least 1.

    Raises:
        ConfigurationError: as :func:`overlap_probabilities`, or noise that moves more cells than
            there are to move to.
    """
    s = _check(cells, active, synapses)
    _check_threshold(threshold, s)
    moved = changed_cells(active, noise)
    if moved > cells - active:
        raise ConfigurationError(
            f"{moved} cells cannot move to {cells - active} others: less noise"
        )
    if patterns < 1:
        raise ConfigurationError(f"patterns {patterns}: the pattern itself is one of them")
    start = np.zeros(active + 1)
    start[: s + 1] = _hypergeometric(active, s, moved, s)[::-1]  # lost of s -> left of s
    return float(_cover(start, cells, active, s, patterns - 1)[:threshold].sum())


def capacity(
    cells: int, active: int, threshold: int, *, target: float, synapses: int | None = None
) -> int:
    """The most patterns whose union a random code matches with a chance of at most ``target``.

    0 where a single one is too many. Arguments and errors are those of :func:`false_match`; the
    target lies between 0 and 1.
    """
    s = _check(cells, active, synapses)
    _check_threshold(threshold, s)
    _check_target(target)
    # Chances grow with each pattern: powers of two until it is too many, then back.
    powers = [_step(cells, active, s)]
    while _tail(powers[-1][0], threshold) <= target:
        powers.append(powers[-1] @ powers[-1])
    held, state = 0, np.eye(1, active + 1)[0]
    for exponent in range(len(powers) - 1, -1, -1):
        more = state @ powers[exponent]
        if _tail(more, threshold) <= target:
            held, state = held + (1 << exponent), more
    return held


def choose_threshold(
    cells: int,
    active: int,
    *,
    target: float,
    synapses: int | None = None,
    patterns: int = 1,
) -> int:
    """The smallest threshold at which a false match has a chance of at most ``target``.

    The smallest, because each cell more in the threshold is one less that noise may move.
    Arguments and errors are those of :func:`false_match`.

    Raises:
        ConfigurationError: no threshold up to ``synapses`` does.
    """
    s = _check(cells, active, synapses)
    _check_target(target)
    overlaps = overlap_probabilities(cells, active, s, patterns)
    chances = np.cumsum(overlaps[::-1])[::-1]  # from the smallest addend on
    fit = np.flatnonzero(chances[1 : s + 1] <= target)
    if not len(fit):
        raise ConfigurationError(
            f"no threshold keeps false matches at {target:g} or below: at the largest, {s}, "
            f"they are {chances[s]:.3g} with {patterns} pattern{'s' * (patterns != 1)} of {s} "
            f"cells among {cells}; take more cells or synapses, or fewer patterns"
        )
    return int(fit[0]) + 1


class SdrPlan(NamedTuple):
    """What a choice of sizes and a threshold give."""

    cells: int
    active: int
    synapses: int
    patterns: int
    noise: float
    threshold: int
    false_match: float
    """Chance that a random code is taken for one of the patterns."""
    miss: float
    """Chance that a pattern with the noise is not recognised."""
    density: float
    """Expected share of cells in the union of the patterns."""
    capacity: int
    """The most patterns for which the threshold meets the false matches that were asked for."""


def plan(
    cells: int,
    active: int,
    *,
    target: float,
    synapses: int | None = None,
    patterns: int = 1,
    noise: float = 0.0,
    threshold: int | None = None,
) -> SdrPlan:
    """Everything above at once; without a threshold, the one of :func:`choose_threshold`.

    Raises:
        ConfigurationError: as the functions above.
    """
    s = _check(cells, active, synapses)
    if threshold is None:
        threshold = choose_threshold(cells, active, target=target, synapses=s, patterns=patterns)
    sizes: dict[str, Any] = {"cells": cells, "active": active, "threshold": threshold}
    return SdrPlan(
        cells, active, s, patterns, noise, threshold,
        false_match(**sizes, synapses=s, patterns=patterns),
        miss(**sizes, noise=noise, synapses=s, patterns=patterns),
        union_density(cells, s, patterns),
        capacity(**sizes, target=target, synapses=s),
    )  # fmt: skip


def _log_binomial(n: Any, k: Any) -> NDArray[np.float64]:
    """Logarithm of C(n, k); -inf where it is 0."""
    from scipy.special import gammaln

    n, k = np.broadcast_arrays(np.asarray(n, np.float64), np.asarray(k, np.float64))
    possible = (k >= 0) & (k <= n)
    inside = np.where(possible, k, 0)
    logs = gammaln(n + 1) - gammaln(inside + 1) - gammaln(n - inside + 1)
    return np.where(possible, logs, -np.inf)


def _hypergeometric(population: int, marked: Any, drawn: int, most: int) -> NDArray[np.float64]:
    """Chances of 0 .. most marked among those drawn; one row for each number of marked."""
    found = np.arange(most + 1)
    marked = np.asarray(marked)[..., None]
    logs = (
        _log_binomial(marked, found)
        + _log_binomial(population - marked, drawn - found)
        - _log_binomial(population, drawn)
    )
    return np.exp(logs)


@lru_cache(maxsize=1)  # tables ask for the same sizes at many thresholds
def _step(cells: int, active: int, synapses: int) -> NDArray[np.float64]:
    """Chances to go from c covered cells of an input to c' by one pattern, shape (a + 1, a + 1)."""
    covered = np.arange(active + 1)
    added = _hypergeometric(cells, active - covered, synapses, active)
    step = np.zeros((active + 1, active + 1))
    for c in range(active + 1):
        step[c, c:] = added[c, : active + 1 - c]
    step.flags.writeable = False
    return step


def _cover(
    start: NDArray[np.float64], cells: int, active: int, synapses: int, patterns: int
) -> NDArray[np.float64]:
    """The distribution of covered cells after so many patterns more."""
    if patterns < 0:
        raise ConfigurationError(f"patterns {patterns}: none or more")
    if patterns == 1 and start[0] == 1.0:
        return _hypergeometric(cells, active, synapses, active)
    if patterns and active > _MOST_ACTIVE:
        raise ConfigurationError(
            f"unions are computed for up to {_MOST_ACTIVE:,} active cells, not {active}"
        )
    state, power = start, _step(cells, active, synapses) if patterns else None
    while patterns and power is not None:
        if patterns & 1:
            state = state @ power
        patterns >>= 1
        if patterns:
            power = power @ power
    return state


def _tail(chances: NDArray[np.float64], threshold: int) -> float:
    return float(min(1.0, chances[threshold:][::-1].sum()))


def _check(cells: int, active: int, synapses: int | None) -> int:
    """The number of synapses, where the sizes fit each other."""
    s = active if synapses is None else synapses
    if not 1 <= s <= active <= cells:
        raise ConfigurationError(
            f"{s} synapses of {active} active of {cells} cells: each is at least 1 and at most the "
            "next"
        )
    return s


def _check_threshold(threshold: int, synapses: int) -> None:
    if not 1 <= threshold <= synapses:
        raise ConfigurationError(f"threshold {threshold}: 1 to {synapses}, the number of synapses")


def _check_target(target: float) -> None:
    if not 0 < target < 1:
        raise ConfigurationError(f"target {target}: a chance of false matches, between 0 and 1")
