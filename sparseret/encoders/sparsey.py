r"""An associative memory of superposed sparse codes, in the manner of Sparsey.

A code is one winner in each of Q modules of K units. An input of S active cells gives unit i the
support, by binary weights W,

    V_i = sum over active cells c of W[c, i] / S,    0 to 1,

and the memory the familiarity G, the mean over modules of the largest V. To store, a winner is
drawn in each module, unit i with the chance rho_i,

    eta   = 1 + chi K max(0, (G - G0) / (1 - G0))^gamma                   (expansivity)
    mu_i  = 1 + (eta - 1) / (1 + exp(-lambda (V_i - phi)))                (sigmoid)
    rho_i = mu_i / sum of mu over the module

so that the code of a novel input (G at G0 or below) is drawn evenly and that of a known one (G near
1) is its old one: the more similar inputs are, the more their codes intersect. Then W[c, i] = 1 for
all active cells c and winners i: one trial, no search among what is stored, as many operations for
the millionth input as for the first. To recall, the winner is the unit of largest V.

A unit whose share of set weights has reached a limit learns no more (a critical period has ended):
without one, units that have learned much support anything, win ever more often, and learn yet more.

Rinkus and Leveille, "Superposed Episodic and Semantic Memory via Sparse Distributed
Representation", arXiv 1710.07829 (2017), and Rinkus, "Sparsey: event recognition via deep
hierarchical sparse distributed codes", Frontiers in Computational Neuroscience 8 (2014): code
selection and critical periods. The sigmoid is a plain logistic with parameters of our own, and
classes are told by counts of the labels that each winner has met.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseret.encoders.codecs import SavedCodec, read_codec, write_codec
from sparseret.errors import ConfigurationError, VectorError
from sparseret.vectors import check_binary, from_arrays

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["CodeSelection", "Recalled", "SparseyMemory"]


class CodeSelection(NamedTuple):
    """How winners are drawn: the symbols of the module's formulas."""

    floor: float = 0.2
    """G0: familiarity up to which codes are drawn evenly, 0 to below 1."""
    expansivity: float = 100.0
    """chi, 0 or more."""
    exponent: float = 1.0
    """gamma, above 0."""
    steepness: float = 28.0
    """lambda, above 0."""
    inflection: float = 0.9
    """phi."""


_NAME = "sparsey"
_USUAL = CodeSelection()
_UNSEEN = 0.1
"""What a label that a unit has not met counts as."""


class Recalled(NamedTuple):
    """What a memory makes of inputs."""

    codes: NDArray[np.int32]
    """Winner of each module, 0 to K - 1, shape (n_inputs, Q)."""
    familiarity: NDArray[np.float64]
    """G of each input, 0 to 1, shape (n_inputs,)."""
    patterns: csr_array
    """Cells that enough winners know, binary, float32, shape (n_inputs, n_cells)."""


class SparseyMemory:
    """Stores binary inputs at sight, recalls the best match, and tells classes.

    Args:
        n_cells: cells of an input, n.
        modules: Q, winner-take-all modules.
        units: K, units of a module.
        selection: how winners are drawn.
        limit: share of set weights at which a unit stops to learn, above 0; 1 for never.
        agreement: share of the winners that must know a cell for it to be recalled, above 0 to 1.
        seed: of the draws.

    Raises:
        ConfigurationError: sizes below 1, or settings out of range.
    """

    def __init__(
        self,
        n_cells: int,
        *,
        modules: int = 50,
        units: int = 100,
        selection: CodeSelection = _USUAL,
        limit: float = 1.0,
        agreement: float = 0.9,
        seed: int = 0,
    ) -> None:
        if min(n_cells, modules, units) < 1:
            raise ConfigurationError(
                f"{n_cells} cells, {modules} modules, {units} units: at least 1 of each"
            )
        good = 0 <= selection.floor < 1 and selection.expansivity >= 0 and selection.exponent > 0
        if not (good and selection.steepness > 0 and np.isfinite(selection).all()):
            raise ConfigurationError(f"{selection}: see CodeSelection for what its numbers can be")
        if not (0 < limit <= 1 and 0 < agreement <= 1 and seed >= 0):
            raise ConfigurationError(
                f"limit {limit} and agreement {agreement} are shares, above 0 up to 1, and seed "
                f"{seed} is 0 or more"
            )
        self.n_cells, self.modules, self.units = n_cells, modules, units
        self.selection, self.limit, self.agreement, self.seed = selection, limit, agreement, seed
        self.weights = np.zeros((n_cells, modules * units), np.uint8)
        """W: 1 where a cell and a unit were active together, shape (n_cells, Q * K)."""
        self.stored = 0
        """How many inputs were stored."""
        self.classes: list[Any] = []
        """Labels met, in order."""
        self._set = np.zeros(modules * units, np.int64)  # set weights of each unit
        self._labels = np.zeros((0, modules * units), np.int64)  # how often a unit won with a class
        self._first = np.arange(modules) * units

    @property
    def saturation(self) -> float:
        """Share of the weights that are set."""
        return float(self._set.sum()) / self.weights.size

    def store(self, inputs: csr_array) -> NDArray[np.int32]:
        """Store each row, one after another; returns the codes, shape (n_inputs, Q).

        Args:
            inputs: binary, shape (n_inputs, n_cells), no row empty.

        Raises:
            VectorError: values other than 0 and 1, another number of cells, or an empty row.
        """
        rows = self._check(inputs)
        return np.array([self._store(cells) for cells in _cells(rows)], np.int32).reshape(
            -1, self.modules
        )

    def familiarity(self, inputs: csr_array) -> NDArray[np.float64]:
        """G of each row, 0 to 1, shape (n_inputs,); nothing is stored.

        Raises:
            VectorError: as :meth:`store`.
        """
        rows = self._check(inputs)
        return np.array([self._support(cells).max(axis=1).mean() for cells in _cells(rows)])

    def recall(self, inputs: csr_array) -> Recalled:
        """The code that fits each row best, and the pattern behind it; nothing is stored.

        Raises:
            VectorError: as :meth:`store`.
        """
        rows = self._check(inputs)
        codes = np.zeros((rows.shape[0], self.modules), np.int32)
        familiar = np.zeros(rows.shape[0])
        patterns = [np.empty(0, np.int32)]
        for row, cells in enumerate(_cells(rows)):
            support = self._support(cells)
            codes[row] = support.argmax(axis=1)
            familiar[row] = support.max(axis=1).mean()
            known = self.weights[:, self._first + codes[row]].sum(axis=1, dtype=np.int64)
            patterns.append(np.flatnonzero(known >= self.agreement * self.modules).astype(np.int32))
        indptr = np.cumsum([len(cells) for cells in patterns]).astype(np.int64)
        columns = np.concatenate(patterns)
        ones = np.ones(len(columns), np.float32)
        return Recalled(codes, familiar, from_arrays(indptr, columns, ones, self.n_cells))

    # --- classification -------------------------------------------------------------------------

    def fit(self, inputs: csr_array, labels: ArrayLike) -> SparseyMemory:
        """Forget everything, and then :meth:`partial_fit`."""
        rows, given = self._check_labels(inputs, labels)
        self.weights[:] = 0
        self._set[:] = 0
        self._labels = np.zeros((0, self.modules * self.units), np.int64)
        self.stored, self.classes = 0, []
        return self.partial_fit(rows, given)

    def partial_fit(self, inputs: csr_array, labels: ArrayLike) -> SparseyMemory:
        """Store each row once with its label, in order; returns itself.

        Args:
            inputs: as :meth:`store` takes them.
            labels: of any kind that compares and hashes, shape (n_inputs,); new ones are learned.

        Raises:
            VectorError: as :meth:`store`, or another number of labels than of rows.
        """
        rows, given = self._check_labels(inputs, labels)
        for cells, label in zip(_cells(rows), given.tolist(), strict=True):
            if label not in self.classes:
                self.classes.append(label)
                more = np.zeros((1, self._labels.shape[1]), np.int64)
                self._labels = np.concatenate([self._labels, more])
            winners = self._first + self._store(cells)
            self._labels[self.classes.index(label), winners] += 1
        return self

    def predict(self, inputs: csr_array) -> NDArray[Any]:
        """The label of each row, shape (n_inputs,), that its winners have met most.

        Each votes with the logarithm of the share of a label among those it has met; ties go to the
        label that came first.

        Raises:
            VectorError: as :meth:`store`.
            ConfigurationError: no label was ever given.
        """
        if not self.classes:
            raise ConfigurationError("the memory knows no labels: call fit or partial_fit first")
        rows = self._check(inputs)
        met = self._labels + _UNSEEN
        votes = np.log(met / met.sum(axis=0))
        found = [
            int(votes[:, self._first + self._support(cells).argmax(axis=1)].sum(axis=1).argmax())
            for cells in _cells(rows)
        ]
        return np.asarray(self.classes)[found]

    # --- saving ---------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the memory to a folder, weights as bits (:meth:`load`).

        Raises:
            ConfigurationError: labels other than numbers and strings.
            OSError: the folder cannot be written.
        """
        options = {
            "n_cells": self.n_cells, "modules": self.modules, "units": self.units,
            "selection": list(self.selection), "limit": self.limit, "agreement": self.agreement,
            "seed": self.seed, "stored": self.stored, "classes": self.classes,
        }  # fmt: skip
        if not all(isinstance(label, (str, int, float)) for label in self.classes):
            raise ConfigurationError("only labels that are numbers or strings can be saved")
        arrays: dict[str, NDArray[Any]] = {
            "weights": np.packbits(self.weights),
            "labels": self._labels,
        }
        write_codec(path, SavedCodec(_NAME, options, arrays))

    @classmethod
    def load(cls, path: str | Path) -> SparseyMemory:
        """Read what :meth:`save` wrote.

        Raises:
            ConfigurationError: there is no such file, or it is truncated, altered, or another's.
        """
        saved = read_codec(path)
        if saved.name != _NAME:
            raise ConfigurationError(f"{path} holds {saved.name!r}, not {_NAME!r}")
        options = dict(saved.options)
        stored, classes = options.pop("stored"), options.pop("classes")
        memory = cls(**{**options, "selection": CodeSelection(*options["selection"])})
        bits = np.unpackbits(saved.arrays["weights"], count=memory.weights.size)
        memory.weights = bits.reshape(memory.weights.shape)
        memory._set = memory.weights.sum(axis=0, dtype=np.int64)
        memory._labels = saved.arrays["labels"]
        memory.stored, memory.classes = stored, classes
        return memory

    # --- one input ------------------------------------------------------------------------------

    def _support(self, cells: NDArray[np.int32]) -> NDArray[np.float64]:
        """V, shape (Q, K)."""
        counts = np.add.reduce(self.weights[cells], axis=0, dtype=np.uint32)
        return np.asarray(counts / len(cells)).reshape(self.modules, self.units)

    def _store(self, cells: NDArray[np.int32]) -> NDArray[np.int64]:
        """Winners within their modules, shape (Q,)."""
        floor, expansivity, exponent, steepness, inflection = self.selection
        support = self._support(cells)
        familiar = max(0.0, (float(support.max(axis=1).mean()) - floor) / (1 - floor))
        # eta - 1, times the logistic
        gain = expansivity * self.units * familiar**exponent
        likely = 1 + gain / (1 + np.exp(-steepness * (support - inflection)))
        ladder = np.cumsum(likely, axis=1)
        # Draws depend on the number of the input alone: batches of any size store the same.
        rng = np.random.default_rng([self.seed, self.stored])
        drawn = rng.random((self.modules, 1)) * ladder[:, -1:]
        winners: NDArray[np.int64] = (ladder[:, :-1] <= drawn).sum(axis=1)
        units = self._first + winners
        units = units[self._set[units] < self.limit * self.n_cells]
        self._set[units] += len(cells) - self.weights[np.ix_(cells, units)].sum(
            axis=0, dtype=np.int64
        )
        self.weights[np.ix_(cells, units)] = 1
        self.stored += 1
        return winners

    def _check(self, inputs: csr_array) -> csr_array:
        rows = check_binary(inputs, dim=self.n_cells)
        sizes = np.diff(rows.indptr)
        if len(sizes) and not sizes.all():
            raise VectorError(
                f"input {int(np.argmin(sizes))} has no active cell: there is nothing to store or "
                "recall; leave it out"
            )
        return rows

    def _check_labels(self, inputs: csr_array, labels: ArrayLike) -> tuple[csr_array, NDArray[Any]]:
        rows, given = self._check(inputs), np.asarray(labels)
        if given.shape != (rows.shape[0],):
            raise VectorError(f"{rows.shape[0]} inputs and labels of shape {given.shape}: one each")
        return rows, given


def _cells(rows: csr_array) -> list[NDArray[np.int32]]:
    """Active cells of each row."""
    return [
        rows.indices[begin:end]
        for begin, end in zip(rows.indptr[:-1].tolist(), rows.indptr[1:].tolist(), strict=True)
    ]
