r"""Sparse codes over a fixed dictionary: which few atoms, with which weights, make up a vector.

For a vector x and a dictionary D, one row an atom, all methods look for weights z of at most k
atoms that make ``||x - z D||`` small. Each begins with no atom and the residual r = x, and adds
the atom that fits r best, by the largest ``|<r, d_j>| / ||d_j||``. They differ in what comes next:

- orthogonal matching pursuit [1]_ sets the weights of all atoms so far by least squares;
- gradient pursuit [2]_ takes one step along the gradient of the squared error, of the length that
  is best in this direction, which needs no system to be solved;
- with weights that must not be negative, the fit is ``<r, d_j> / ||d_j||``, and what stands for
  least squares is the active set method for non-negative least squares [3]_, stopped at k atoms:
  a weight that would turn negative is set to zero and its atom left out. With k = dim it is
  non-negative least squares itself. Gradient pursuit then sets negative weights to zero.

References:
    .. [1] Y. C. Pati, R. Rezaiifar, P. S. Krishnaprasad. Orthogonal Matching Pursuit: Recursive
       Function Approximation with Applications to Wavelet Decomposition. Asilomar 1993.
    .. [2] Thomas Blumensath, Mike E. Davies. Gradient Pursuits. IEEE Transactions on Signal
       Processing, 2008.
    .. [3] Charles L. Lawson, Richard J. Hanson. Solving Least Squares Problems. 1974, chapter 23.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pursued", "PursuitMethod", "pursue"]

PursuitMethod: TypeAlias = Literal["omp", "gradient-pursuit"]

_Floats: TypeAlias = NDArray[np.float64]

_TOLERANCE = 1e-9
"""Of the length of a vector: a residual that fits no atom better than this is rounding."""
_BLOCK_VALUES = 2**22
"""Of chosen atoms, and of fits, that are held at a time."""


class Pursued(NamedTuple):
    """Weights of chosen atoms."""

    columns: NDArray[np.int64]
    """Numbers of atoms, distinct where their weight is not zero, shape (n, k)."""
    values: _Floats
    """Parallel to ``columns``; zero where fewer atoms were needed."""


def pursue(
    vectors: NDArray[Any],
    dictionary: NDArray[Any],
    k: int,
    *,
    method: PursuitMethod = "omp",
    nonnegative: bool = False,
) -> Pursued:
    """Weights of at most k atoms for each vector; of atoms that fit equally, the first is taken.

    Args:
        vectors: finite, shape (n, n_features).
        dictionary: finite, shape (dim, n_features), of any lengths; atoms of length 0 are never
            taken.
        k: from 1 to dim.
        method: see the module.
        nonnegative: whether weights must not be negative.
    """
    atoms = np.asarray(dictionary, np.float64)
    lengths = np.linalg.norm(atoms, axis=1)
    lengths[lengths == 0] = np.inf
    atoms = atoms / lengths[:, None]
    if method == "gradient-pursuit":
        chase = _gradient_pursuit
    else:
        chase = _active_set if nonnegative else _orthogonal
    n, n_features = vectors.shape
    columns = np.zeros((n, k), np.int64)
    values = np.zeros((n, k))
    rows = max(1, _BLOCK_VALUES // max(k * n_features, len(atoms)))
    for begin in range(0, n, rows):
        block = slice(begin, begin + rows)
        inside = np.asarray(vectors[block], np.float64)
        # Scaled to length 1, so that nothing under- or overflows and one tolerance serves all.
        scale = np.linalg.norm(inside, axis=1)
        scale[scale == 0] = 1.0
        columns[block], values[block] = chase(inside / scale[:, None], atoms, k, nonnegative)
        values[block] *= scale[:, None]
    values /= lengths[columns]
    return Pursued(columns, values)


def _orthogonal(x: _Floats, atoms: _Floats, k: int, nonnegative: bool) -> Pursued:
    """Orthogonal matching pursuit by Gram-Schmidt: chosen = triangle @ basis, row by row."""
    n, n_features = x.shape
    columns = np.zeros((n, k), np.int64)
    basis = np.zeros((n, k, n_features))
    triangle = np.zeros((n, k, k))
    residual = x.copy()
    taken = np.zeros((n, len(atoms)), bool)
    for step in range(k):
        chosen, fit = _best(residual, atoms, taken, nonnegative)
        columns[:, step] = chosen
        new = atoms[chosen]
        for _ in range(2):  # once is not enough for orthogonality to the last digits
            inner = (basis[:, :step] @ new[:, :, None])[:, :, 0]
            new = new - (inner[:, None, :] @ basis[:, :step])[:, 0]
            triangle[:, step, :step] += inner
        length = np.linalg.norm(new, axis=1)
        useful = (fit > _TOLERANCE) & (length > _TOLERANCE)
        basis[:, step] = np.where(useful[:, None], new / np.where(useful, length, 1)[:, None], 0)
        triangle[:, step, step] = np.where(useful, length, 1)
        # Without use, an atom must not reach into the weights of the others.
        triangle[~useful, step, :step] = 0
        residual -= np.sum(residual * basis[:, step], axis=1, keepdims=True) * basis[:, step]
        if not useful.any():
            break
    step += 1
    inner = (basis[:, :step] @ x[:, :, None])[:, :, 0]
    values = np.zeros((n, k))
    weights = np.linalg.solve(triangle[:, :step, :step].transpose(0, 2, 1), inner[:, :, None])
    values[:, :step] = weights[:, :, 0]
    return Pursued(columns, values)


def _gradient_pursuit(x: _Floats, atoms: _Floats, k: int, nonnegative: bool) -> Pursued:
    columns = np.zeros((len(x), k), np.int64)
    values = np.zeros((len(x), k))
    residual = x.copy()
    taken = np.zeros((len(x), len(atoms)), bool)
    for step in range(k):
        chosen, fit = _best(residual, atoms, taken, nonnegative)
        useful = fit > _TOLERANCE
        if not useful.any():
            break
        columns[:, step] = chosen
        support = atoms[columns[:, : step + 1]]
        gradient = (support @ residual[:, :, None])[:, :, 0]
        gradient[~useful] = 0
        toward = (gradient[:, None, :] @ support)[:, 0]
        squared = np.sum(toward**2, axis=1)
        length = np.sum(residual * toward, axis=1) / np.where(squared > 0, squared, 1)
        values[:, : step + 1] += length[:, None] * gradient
        if nonnegative:
            np.maximum(values, 0, out=values)
        residual = x - (values[:, None, : step + 1] @ support)[:, 0]
    return Pursued(columns, values)


def _active_set(x: _Floats, atoms: _Floats, k: int, nonnegative: bool) -> Pursued:
    """Lawson and Hanson's method on all rows at once, each with k places for atoms."""
    n = len(x)
    columns = np.zeros((n, k), np.int64)
    values = np.zeros((n, k))
    used = np.zeros((n, k), bool)
    running = np.ones(n, bool)
    refused = np.zeros((n, len(atoms)), bool)
    for _ in range(3 * k):
        rows = np.flatnonzero(running & ~used.all(axis=1))
        if not len(rows):
            break
        residual = x[rows] - (values[rows, None] @ atoms[columns[rows]])[:, 0]
        taken = refused[rows]
        at, place = np.nonzero(used[rows])
        taken[at, columns[rows][at, place]] = True
        chosen, fit = _best(residual, atoms, taken, nonnegative)
        running[rows[fit <= _TOLERANCE]] = False
        rows, chosen = rows[fit > _TOLERANCE], chosen[fit > _TOLERANCE]
        free = np.argmin(used[rows], axis=1)
        columns[rows, free] = chosen
        used[rows, free] = True
        values[rows], used[rows] = _feasible(
            x[rows], atoms[columns[rows]], values[rows], used[rows]
        )
        # An atom that is dropped at once fits by rounding alone: it would be chosen for ever.
        dropped = ~used[rows, free]
        refused[rows[dropped], chosen[dropped]] = True
    return Pursued(columns, values)


def _feasible(
    x: _Floats, support: _Floats, values: _Floats, used: NDArray[np.bool_]
) -> tuple[_Floats, NDArray[np.bool_]]:
    """Least squares on the used places; those whose weights would not be positive are given up."""
    k = used.shape[1]
    gram = support @ support.transpose(0, 2, 1)
    target = (support @ x[:, :, None])[:, :, 0]
    values, used = values.copy(), used.copy()
    rows = np.arange(len(x))
    while len(rows):
        inside = used[rows]
        system = gram[rows] * (inside[:, :, None] & inside[:, None, :])
        system[:, range(k), range(k)] += np.where(inside, 1e-14, 1)
        solved = np.linalg.solve(system, (target[rows] * inside)[:, :, None])[:, :, 0]
        blocked = inside & (solved <= 0)
        fine = ~blocked.any(axis=1)
        values[rows[fine]] = solved[fine]
        rows, inside = rows[~fine], inside[~fine]
        solved, blocked = solved[~fine], blocked[~fine]
        old = values[rows]
        # As far towards the solution as no weight turns negative.
        gap = np.where(blocked, old - solved, 1)
        share = np.where(blocked, old / np.where(gap > 0, gap, 1), np.inf)
        least = share.min(axis=1, keepdims=True, initial=np.inf)
        values[rows] = old + least * (solved - old)
        gone = ~inside | (blocked & (share <= least)) | (values[rows] <= 0)
        values[rows] = np.where(gone, 0, values[rows])
        used[rows] = inside & ~gone
    return values, used


def _best(
    residual: _Floats, atoms: _Floats, taken: NDArray[np.bool_], nonnegative: bool
) -> tuple[NDArray[np.int64], _Floats]:
    """The atom not taken yet that fits each residual best, and how well; it is taken now."""
    fits = residual @ atoms.T
    if not nonnegative:
        np.abs(fits, out=fits)
    fits[taken] = -np.inf
    chosen = np.argmax(fits, axis=1)
    rows = np.arange(len(residual))
    taken[rows, chosen] = True
    return chosen, fits[rows, chosen]
