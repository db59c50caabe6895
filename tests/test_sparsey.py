"""The associative memory: similar inputs, noisy recall, capacity, fixed cost, and classes."""

from __future__ import annotations

import gzip
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import spearmanr

from sparseret.encoders import sparsey_theory
from sparseret.encoders.sdr import Sdr, add_noise, stack
from sparseret.encoders.sdr_dense import SdrCodec
from sparseret.encoders.sparsey import CodeSelection, SparseyMemory
from sparseret.errors import ConfigurationError, VectorError
from sparseret.vectors import check_binary

EVENLY = CodeSelection(floor=0.99)
"""Codes that do not depend on what is stored, as the theory has it."""


def random_rows(n: int, n_cells: int, active: int, seed: int = 0) -> csr_array:
    rng = np.random.default_rng(seed)
    return stack([Sdr(n_cells, rng.choice(n_cells, active, replace=False)) for _ in range(n)])


def test_similar_inputs_get_intersecting_codes() -> None:
    memory = SparseyMemory(1000, modules=40, units=20)
    first = random_rows(1, 1000, 50)
    (code,) = memory.store(first)
    noises = np.repeat(np.linspace(0, 0.6, 13), 5)
    shared_cells, shared_winners = [], []
    for seed, noise in enumerate(noises):
        other = add_noise(first, noise, seed=seed)
        shared_cells.append((first @ other.T).toarray()[0, 0])
        # Each is the second input that a memory sees.
        shared_winners.append(int((deepcopy(memory).store(other)[0] == code).sum()))
    assert spearmanr(shared_cells, shared_winners).statistic > 0.95
    assert min(shared_winners[:5]) >= 36  # the old code, but for a draw in a hundred
    # A novel input shares one winner in twenty.
    assert np.mean(shared_winners[-5:]) < 5
    assert memory.familiarity(first) == [1.0]
    unlike = memory.familiarity(random_rows(1, 1000, 50, seed=9))
    assert unlike < 0.2


def test_familiarity_falls_with_noise() -> None:
    memory = SparseyMemory(1000, modules=20, units=10)
    stored = random_rows(5, 1000, 50)
    memory.store(stored)
    means = [memory.familiarity(add_noise(stored, noise, seed=0)).mean() for noise in (0, 0.2, 0.5)]
    assert means[0] == 1
    np.testing.assert_allclose(means[1:], [0.8, 0.5], atol=0.05)


@pytest.mark.parametrize(("noise", "load"), [(0.0, 200), (0.2, 100), (0.4, 50)])
def test_noisy_cues_recall_what_was_stored(noise: float, load: int) -> None:
    """The stated loads: of 600 cells, 20 active, 40 modules of 20 units."""
    stored = random_rows(load, 600, 20)
    memory = SparseyMemory(600, modules=40, units=20, selection=EVENLY)
    codes = memory.store(stored)
    recalled = memory.recall(add_noise(stored, noise, seed=1))
    assert (recalled.codes == codes).mean() > 0.98
    found = recalled.patterns.multiply(stored).sum() / stored.nnz
    assert found > 0.98
    assert recalled.patterns.nnz / stored.nnz < 1.05
    assert check_binary(recalled.patterns).shape == stored.shape


def test_capacity_follows_the_theory() -> None:
    cells, active, units = 300, 15, 8
    inputs = random_rows(300, cells, active)
    memory = SparseyMemory(cells, modules=40, units=units, selection=EVENLY, seed=1)
    codes = np.empty((0, 40), np.int32)
    for first, load in ((0, 50), (50, 100), (100, 150), (150, 200), (200, 300)):
        codes = np.concatenate([codes, memory.store(inputs[first:load])])
        want = sparsey_theory.expected_saturation(cells, active, units, load)
        assert memory.saturation == pytest.approx(want, abs=0.01)
        errors = (memory.recall(inputs[:load]).codes != codes).mean()
        want = sparsey_theory.expected_errors(cells, active, units, load)
        assert errors == pytest.approx(want, abs=0.003 + 0.15 * want)
    held = sparsey_theory.capacity(cells, active, units, errors=0.01)
    assert sparsey_theory.expected_errors(cells, active, units, held) <= 0.01
    assert sparsey_theory.expected_errors(cells, active, units, held + 1) > 0.01
    assert 100 < held < 200
    assert memory.saturation == memory.weights.mean()


def test_theory_at_its_ends() -> None:
    theory = sparsey_theory
    assert theory.expected_saturation(10, 10, 1, 1) == 1
    assert theory.expected_saturation(10, 10, 1, 0) == theory.expected_errors(10, 5, 4, 0) == 0
    assert theory.expected_errors(10, 5, 1, 100) == 0
    # Everything is set: the winner is one of four equals.
    assert theory.expected_errors(10, 5, 4, 10**6) == pytest.approx(0.75)
    assert 0 < theory.expected_errors(1000, 50, 10, 20) < 1e-12
    many = theory.capacity(10_000, 100, 1000, errors=0.01)
    assert theory.expected_errors(10_000, 100, 1000, many) == pytest.approx(0.01, rel=0.01)
    for wrong in ((0, 1, 1, 1), (10, 11, 1, 1), (10, 5, 0, 1), (10, 5, 1, -1)):
        with pytest.raises(ConfigurationError, match="1 <= active"):
            theory.expected_saturation(*wrong)
    for errors in (0.0, 1.0, float("nan")):
        with pytest.raises(ConfigurationError, match="between 0 and 1"):
            theory.capacity(10, 5, 2, errors=errors)


class Counted(np.ndarray):
    """Counts the elements that are read and written."""

    touched = 0

    def __getitem__(self, place: Any) -> Any:
        taken = np.asarray(super().__getitem__(place))
        Counted.touched += taken.size
        return taken

    def __setitem__(self, place: Any, value: Any) -> None:
        Counted.touched += np.asarray(super().__getitem__(place)).size
        super().__setitem__(place, value)


def test_storing_costs_the_same_however_much_is_stored() -> None:
    memory = SparseyMemory(400, modules=20, units=10)
    memory.weights = memory.weights.view(Counted)
    inputs = random_rows(400, 400, 20)
    costs = []
    for row in range(400):
        Counted.touched = 0
        memory.store(inputs[[row]])
        costs.append(Counted.touched)
    assert max(costs) == costs[0] == 20 * 20 * 10 + 2 * 20 * 20  # less once units are full
    sizes = {name: array.nbytes for name, array in vars(memory).items()
             if isinstance(array, np.ndarray)}  # fmt: skip
    fresh = vars(SparseyMemory(400, modules=20, units=10))
    assert sizes == {name: fresh[name].nbytes for name in sizes}


def test_batches_and_seeds() -> None:
    inputs = random_rows(30, 200, 10)
    whole, parts, other = (SparseyMemory(200, modules=9, units=7, seed=s) for s in (1, 1, 2))
    codes = whole.store(inputs)
    pieces = [parts.store(inputs[begin : begin + 7]) for begin in range(0, 30, 7)]
    np.testing.assert_array_equal(np.concatenate(pieces), codes)
    np.testing.assert_array_equal(parts.weights, whole.weights)
    assert (other.store(inputs) != codes).any()
    assert whole.stored == 30
    # Every winner is drawn.
    assert set(np.unique(codes)) == set(range(7))


def test_units_that_have_learned_enough_stay_as_they_are() -> None:
    inputs = random_rows(200, 100, 10)
    memory = SparseyMemory(100, modules=5, units=4, limit=0.3)
    memory.store(inputs)
    shares = memory.weights.mean(axis=0)
    assert (shares >= 0.3).all()
    assert (shares < 0.4).all()
    before = memory.weights.copy()
    memory.store(random_rows(50, 100, 10, seed=1))
    np.testing.assert_array_equal(memory.weights, before)
    assert memory.stored == 250


def digits(n: int, seed: int) -> tuple[csr_array, NDArray[np.int64]]:
    """Ten prototypes of 400 cells, 40 active, of which a fifth has moved."""
    labels = np.random.default_rng(seed).integers(0, 10, n)
    return add_noise(random_rows(10, 400, 40)[labels], 0.2, seed=seed), labels


def test_classes_are_learned_in_one_pass() -> None:
    inputs, labels = digits(200, 1)
    memory = SparseyMemory(400, modules=30, units=30, limit=0.2)
    names = np.array([f"class {label}" for label in labels])
    assert memory.fit(inputs, names) is memory
    others, known = digits(200, 2)
    assert (memory.predict(others) == [f"class {label}" for label in known]).mean() > 0.97
    again = SparseyMemory(400, modules=30, units=30, limit=0.2)
    again.partial_fit(inputs[:50], names[:50]).partial_fit(inputs[50:], names[50:])
    np.testing.assert_array_equal(again.predict(others), memory.predict(others))
    memory.fit(inputs, labels)
    assert memory.stored == 200
    assert sorted(memory.classes) == list(range(10))
    assert memory.predict(others[:0]).shape == (0,)


def test_mnist_is_learned_in_one_pass(collections: Path) -> None:
    """Of the 10,000 test images, 1,500 are seen once, and 500 others are told apart."""
    folder = collections / "mnist"
    if not folder.is_dir():
        pytest.skip(f"no test images of MNIST at {folder}")
    images = np.frombuffer(
        gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16
    ).reshape(-1, 784)
    labels = np.frombuffer(
        gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8
    )
    inputs = check_binary(images > 127)
    memory = SparseyMemory(784, modules=40, units=60, limit=0.18)
    memory.fit(inputs[:1500], labels[:1500])
    assert (memory.predict(inputs[8000:8500]) == labels[8000:8500]).mean() > 0.75


def test_a_memory_is_saved(tmp_path: Path) -> None:
    inputs, labels = digits(60, 1)
    settings = {"modules": 7, "units": 5, "limit": 0.4, "agreement": 0.5, "seed": 3}
    for names in (labels, np.array([f"class {label}" for label in labels])):
        memory = SparseyMemory(400, selection=EVENLY, **settings)  # type: ignore[arg-type]
        memory.fit(inputs[:50], names[:50])
        memory.save(tmp_path)
        again = SparseyMemory.load(tmp_path)
        np.testing.assert_array_equal(again.weights, memory.weights)
        assert again.saturation == memory.saturation
        assert again.predict(inputs).tolist() == memory.predict(inputs).tolist()
        again.partial_fit(inputs[50:], names[50:])
        memory.partial_fit(inputs[50:], names[50:])
        np.testing.assert_array_equal(again.weights, memory.weights)
        assert again.stored == 60
        assert again.classes == memory.classes
    empty = SparseyMemory(10, modules=2, units=3)
    empty.save(tmp_path)
    assert SparseyMemory.load(tmp_path).stored == 0
    file = tmp_path / "codec.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(ConfigurationError, match="cannot be read"):
        SparseyMemory.load(tmp_path)
    SdrCodec(5).save(tmp_path)
    with pytest.raises(ConfigurationError, match="holds 'sdr-dense'"):
        SparseyMemory.load(tmp_path)
    with pytest.raises(ConfigurationError, match="numbers or strings"):
        empty.fit(stack([Sdr(10, [1])]), np.array([None])).save(tmp_path)


def test_what_cannot_be() -> None:
    memory = SparseyMemory(10, modules=2, units=3)
    empty = csr_array((2, 10), dtype=np.float32)
    with pytest.raises(ConfigurationError, match="knows no labels"):
        memory.predict(empty)
    for call in (memory.store, memory.recall, memory.familiarity):
        with pytest.raises(VectorError, match="input 0 has no active cell"):
            call(empty)
        with pytest.raises(VectorError, match="11 columns where 10"):
            call(csr_array((1, 11), dtype=np.float32))
        with pytest.raises(VectorError, match="binary"):
            call(np.full((1, 10), 0.5))  # type: ignore[arg-type]
        call(empty[:0])
    with pytest.raises(VectorError, match=r"1 inputs and labels of shape \(2,\)"):
        memory.fit(stack([Sdr(10, [1])]), [1, 2])
    assert memory.stored == 0
    for options, message in (
        ({"modules": 0}, "at least 1"), ({"limit": 0}, "shares"), ({"agreement": 2}, "shares"),
        ({"selection": CodeSelection(floor=1)}, "CodeSelection"),
        ({"selection": CodeSelection(steepness=float("nan"))}, "CodeSelection"),
        ({"selection": CodeSelection(inflection=float("inf"))}, "CodeSelection"),
    ):  # fmt: skip
        with pytest.raises(ConfigurationError, match=message):
            SparseyMemory(10, **options)  # type: ignore[arg-type]
