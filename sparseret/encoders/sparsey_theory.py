r"""What a memory of superposed codes can hold, for random inputs whose codes are drawn evenly.

Each of M stored inputs of S active of n cells has one winner among the K units of a module. Weights
of a unit that won m times are set with the chance 1 - (1 - S/n)^m, and m is binomial, so that

    saturation = 1 - (1 - S / (n K))^M,
    q          = sum over m of C(M, m) K^-m (1 - 1/K)^(M - m) (1 - (1 - S/n)^m)^S,

where q is the chance that a unit that is not the winner supports an exact cue in full. Of the full
supporters, any may be taken: a module recalls its winner with the chance
E[1 / (1 + ties)] = (1 - (1 - q)^K) / (K q), as ties are binomial of K - 1 and q.

The binary superposition is that of Willshaw, Buneman and Longuet-Higgins, "Non-holographic
associative memory", Nature 222 (1969). Codes are drawn evenly as long as familiarity stays below
the floor (:class:`sparseret.encoders.sparsey.CodeSelection`); similar inputs, whose codes
intersect, set fewer weights.
"""

from __future__ import annotations

import numpy as np

from sparseret.errors import ConfigurationError

__all__ = ["capacity", "expected_errors", "expected_saturation"]

_MOST = 2**40


def expected_saturation(n_cells: int, active: int, units: int, stored: int) -> float:
    """Share of weights that are set after so many random inputs.

    Args:
        n_cells: n.
        active: S, of each input.
        units: K, of a module; modules are alike.
        stored: M.

    Raises:
        ConfigurationError: not 1 <= active <= n_cells, no units, or stored below 0.
    """
    _check(n_cells, active, units, stored)
    share = active / (n_cells * units)
    if share == 1:
        return float(stored > 0)
    return -float(np.expm1(stored * np.log1p(-share)))


def expected_errors(n_cells: int, active: int, units: int, stored: int) -> float:
    """Share of modules that recall another unit than the winner of an exact cue.

    Arguments and errors are those of :func:`expected_saturation`.
    """
    from scipy.stats import binom

    _check(n_cells, active, units, stored)
    if not stored or units == 1:
        return 0.0
    spread = 12 * np.sqrt(stored / units) + 12  # of wins beyond, there are none worth counting
    low = max(0, int(stored / units - spread))
    wins = np.arange(low, min(stored, int(stored / units + spread)) + 1)
    known = -np.expm1(wins * np.log1p(-active / n_cells)) if active < n_cells else (wins > 0)
    q = float(binom.pmf(wins, stored, 1 / units) @ np.asarray(known, np.float64) ** active)
    if q * units < 1e-6:
        return q * (units - 1) / 2  # the first term, where the other form cancels
    return 1 + float(np.expm1(units * np.log1p(-min(q, 1 - 1e-16)))) / (units * q)


def capacity(n_cells: int, active: int, units: int, *, errors: float) -> int:
    """The most random inputs of which exact cues recall all but a share of winners.

    Args:
        n_cells: n.
        active: S, of each input.
        units: K, of a module.
        errors: share of modules that may be wrong, above 0 and below 1.

    Raises:
        ConfigurationError: as :func:`expected_saturation`, or errors that are no such share.
    """
    _check(n_cells, active, units, 0)
    if not 0 < errors < 1:
        raise ConfigurationError(f"errors {errors}: a share of modules, between 0 and 1")
    low, high = 0, 1
    while high < _MOST and expected_errors(n_cells, active, units, high) <= errors:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if expected_errors(n_cells, active, units, middle) <= errors:
            low = middle
        else:
            high = middle
    return low


def _check(n_cells: int, active: int, units: int, stored: int) -> None:
    if not 1 <= active <= n_cells or units < 1 or stored < 0:
        raise ConfigurationError(
            f"{active} active of {n_cells} cells, {units} units, {stored} stored: 1 <= active <= "
            "cells, at least one unit, and none or more stored"
        )
