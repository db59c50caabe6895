r"""Learning a dictionary online: batches are coded, and atoms move to where errors are least.

Of all batches so far only sums are kept [1]_, older ones fading by a factor b that goes to 1; with
the codes Z of a batch X::

    A <- b A + Z'Z,    B <- b B + Z'X
    d_j <- (B_j - sum_{i != j} A_ji d_i) / A_jj   for each atom j in turn, then all to length 1

Codes have k atoms at most and come from a pursuit (:mod:`sparseret.encoders.pursuits`), where [1]_
takes the lasso.

This minimises the *reconstruction*: the error at the coordinates that the code was made from. Where
data are noisy and the dictionary has more atoms than there are true ones, it is at its best with
atoms that describe noise, not with the true ones [2]_. The *masked* objective makes codes from some
coordinates and counts the error at those that were hidden, which noise does not help to predict.
[2]_ draws the hidden coordinates anew for each batch and takes a gradient step. Here coordinates
are parted in folds once, and each fold is hidden in turn, so that every coordinate has exact sums
of its own (an A for each fold), and the update above stays as it is.

References:
    .. [1] Julien Mairal, Francis Bach, Jean Ponce, Guillermo Sapiro. Online Dictionary Learning for
       Sparse Coding. ICML 2009, algorithms 1 and 2 and section 3.4.
    .. [2] Muthu Chidambaram, Chenwei Wu, Yu Cheng, Rong Ge. Hiding Data Helps: On the Benefits of
       Masking for Sparse Coding. ICML 2023.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from sparseret.encoders.autoencoder_batches import read_arrays, read_rows, shuffled_batches
from sparseret.encoders.dictionary import Dictionary, check_pursuit
from sparseret.encoders.options import whole_number
from sparseret.encoders.pursuits import PursuitMethod, pursue
from sparseret.errors import ConfigurationError, VectorError
from sparseret.progress import progress_bar
from sparseret.protocols import Vectors

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["DictionaryObjective", "DictionaryTrainer"]

DictionaryObjective: TypeAlias = Literal["reconstruction", "masked"]

_Floats: TypeAlias = NDArray[np.float64]

_IDLE = 10
"""An atom is given up once so many vectors an atom have been coded without it."""
_UNUSED = 1e-10
"""Of the mean square of codes: below, an atom has no sums to be updated by."""


class DictionaryTrainer:
    """Learns dictionaries (:class:`sparseret.encoders.dictionary.Dictionary`).

    Vectors are scaled to length 1 for training: a dictionary is of directions. The sums take
    8 dim^2 bytes, where masked for each fold.

    Args:
        dim: atoms.
        k: atoms of a code, at most.
        objective: "reconstruction", or "masked" for noisy data and more atoms than needed; it takes
            about as many times longer as there are folds.
        folds: parts of the coordinates that are hidden in turn, where masked.
        method: of the pursuit, while learning and in the codec.
        nonnegative: whether weights must not be negative.
        epochs: passes over the vectors that :meth:`fit` makes.
        batch_size: vectors of an update.
        seed: of first atoms, folds and order; the same seed gives the same dictionary.

    Raises:
        ConfigurationError: an option out of its range.
    """

    def __init__(
        self,
        dim: int,
        k: int,
        *,
        objective: DictionaryObjective = "reconstruction",
        folds: int = 4,
        method: PursuitMethod = "omp",
        nonnegative: bool = False,
        epochs: int = 10,
        batch_size: int = 256,
        seed: int = 0,
    ) -> None:
        if objective not in get_args(DictionaryObjective):
            raise ConfigurationError(
                f"objective {objective!r} is not one of {', '.join(get_args(DictionaryObjective))}"
            )
        for name, value, least in (
            ("dim", dim, 1), ("folds", folds, 2), ("epochs", epochs, 1),
            ("batch_size", batch_size, 1), ("seed", seed, 0),
        ):  # fmt: skip
            whole_number(name, value, least)
        check_pursuit(k, dim, method)
        self.dim = dim
        self.k = k
        self.objective = objective
        self.folds = folds
        self.method: PursuitMethod = method
        self.nonnegative = nonnegative
        self.epochs = epochs
        self.batch_size = batch_size
        self.seed = seed
        self._state: _State | None = None

    def fit(self, X: Vectors, *, show_progress: bool = False) -> Self:  # noqa: N803
        """Learn anew from vectors, shape (n, n_features); a mapped array is read in blocks.

        Raises:
            VectorError: none but zeros, of another shape, or not finite.
            ConfigurationError: fewer coordinates than folds.
        """
        source, _ = read_arrays(X)
        self._state = None
        rng = np.random.default_rng(self.seed)
        n, learned = source.shape[0], 0
        with progress_bar("Learning", self.epochs * n, show=show_progress) as advance:
            for _ in range(self.epochs):
                for rows in shuffled_batches(n, self.batch_size, rng):
                    learned += self._learn(read_rows(source, np.sort(rows)), source)
                    advance(len(rows))
        if not learned:
            raise VectorError("no vectors to learn from: give one or more that are not zero")
        return self

    def partial_fit(self, X: Vectors) -> Self:  # noqa: N803
        """Learn from some more vectors, once and in their order; errors as for :meth:`fit`.

        The first atoms are taken from the vectors of the first call.
        """
        source, _ = read_arrays(X)
        for begin in range(0, source.shape[0], self.batch_size):
            rows = np.arange(begin, min(begin + self.batch_size, source.shape[0]))
            self._learn(read_rows(source, rows), source)
        return self

    @property
    def codec(self) -> Dictionary:
        """What was learned so far. Raises ConfigurationError where nothing was."""
        if self._state is None:
            raise ConfigurationError("the dictionary has learned nothing: call fit(X) first")
        return Dictionary(
            self._state.atoms, self.k, method=self.method, nonnegative=self.nonnegative
        )

    # --- a step -----------------------------------------------------------------------------

    def _learn(self, batch: NDArray[np.float32], source: Any) -> int:
        """One update; returns from how many vectors: those that are zero tell no direction."""
        x = _directions(batch)
        if not len(x):
            return 0
        if self._state is None:
            self._state = self._start(source, x.shape[1])
        state = self._state
        if x.shape[1] != state.atoms.shape[1]:
            raise VectorError(
                f"vectors have {x.shape[1]} features, and those before {state.atoms.shape[1]}"
            )
        state.batches += 1
        fade = _fade(state.batches, self.batch_size)
        state.targets *= fade
        active = np.zeros(self.dim, bool)
        for fold, hidden in enumerate(state.hidden):
            seen = hidden
            if self.objective == "masked":
                seen = np.setdiff1d(np.arange(x.shape[1]), hidden)
            found = pursue(
                x[:, seen], state.atoms[:, seen], self.k,
                method=self.method, nonnegative=self.nonnegative,
            )  # fmt: skip
            codes = np.zeros((len(x), self.dim))
            np.add.at(codes, (np.arange(len(x))[:, None], found.columns), found.values)
            active |= codes.any(axis=0)
            state.moments[fold] *= fade
            state.moments[fold] += codes.T @ codes
            state.targets[:, hidden] += codes.T @ x[:, hidden]
        state.update()
        state.idle += len(x)
        state.idle[active] = 0
        state.replace_idle(x)
        return len(x)

    def _start(self, source: Any, n_features: int) -> _State:
        """First atoms are directions of vectors, then random ones; folds are drawn."""
        rng = np.random.default_rng(self.seed)
        n = source.shape[0]
        rows = np.sort(rng.choice(n, min(n, 2 * self.dim), replace=False))
        sample = _directions(read_rows(source, rows))
        sample = rng.permutation(sample)[: self.dim]
        random = rng.standard_normal((self.dim - len(sample), n_features))
        atoms = np.concatenate([sample, _directions(random)])
        hidden = [np.arange(n_features)]
        if self.objective == "masked":
            if self.folds > n_features:
                raise ConfigurationError(
                    f"folds={self.folds} for vectors of {n_features} features: give fewer"
                )
            hidden = [np.sort(f) for f in np.array_split(rng.permutation(n_features), self.folds)]
        return _State(
            atoms,
            hidden,
            [np.zeros((self.dim, self.dim)) for _ in hidden],
            np.zeros((self.dim, n_features)),
            np.zeros(self.dim, np.int64),
            rng,
        )


@dataclass
class _State:
    atoms: _Floats
    """Of length 1, shape (dim, n_features)."""
    hidden: list[NDArray[np.int64]]
    """Coordinates at which the error counts: one fold, all of them, where nothing is masked."""
    moments: list[_Floats]
    """A of each fold, shape (dim, dim)."""
    targets: _Floats
    """B, shape (dim, n_features)."""
    idle: NDArray[np.int64]
    """Vectors coded since an atom was last used."""
    rng: np.random.Generator
    batches: int = 0

    def update(self) -> None:
        """Each atom in turn to its best place, given the others (algorithm 2).

        Lengths are set to 1 at the end only: where masked, an atom has its place in one fold before
        it has it in the next, and would be scaled for neither.
        """
        for hidden, moments in zip(self.hidden, self.moments, strict=True):
            inside = self.atoms[:, hidden]
            used = moments.diagonal() > _UNUSED * moments.diagonal().mean()
            for j in np.flatnonzero(used).tolist():
                inside[j] += (self.targets[j, hidden] - moments[j] @ inside) / moments[j, j]
            self.atoms[:, hidden] = inside
        lengths = np.linalg.norm(self.atoms, axis=1)
        lost = lengths == 0
        if lost.any():  # none of its vectors is left to it
            self.atoms[lost] = _directions(self.rng.standard_normal(self.atoms[lost].shape))
            lengths[lost] = 1
        self.atoms /= lengths[:, None]

    def replace_idle(self, x: _Floats) -> None:
        """Atoms without use become directions of vectors (section 3.4, purging)."""
        old = np.flatnonzero(self.idle > _IDLE * len(self.atoms))[: len(x)]
        if not len(old):
            return
        self.atoms[old] = x[self.rng.choice(len(x), len(old), replace=False)]
        self.idle[old] = 0
        self.targets[old] = 0
        for moments in self.moments:
            moments[old] = 0
            moments[:, old] = 0


def _directions(vectors: NDArray[Any]) -> _Floats:
    """Vectors at length 1, without those that are zero."""
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1)
    made: _Floats = wide[lengths > 0] / lengths[lengths > 0, None]
    return made


def _fade(batches: int, size: int) -> float:
    """What is left of sums at batch number ``batches``, from 1 on (section 3.4.2)."""
    seen = batches * size if batches < size else size * size + batches - size
    return (seen + 1 - size) / (seen + 1)
