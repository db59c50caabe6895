"""An associative memory learns at sight, recalls from noisy cues, and tells digits apart.

python examples/sdr_memory.py                    made-up patterns
python examples/sdr_memory.py FOLDER             and the test images of MNIST in a folder:
                                                 four fifths seen once, the others told apart
"""

import gzip
import sys
from pathlib import Path

import numpy as np

from sparseret.encoders.sdr import Sdr, add_noise, stack
from sparseret.encoders.sparsey import CodeSelection, SparseyMemory
from sparseret.encoders.sparsey_theory import capacity, expected_errors
from sparseret.vectors import check_binary

CELLS, ACTIVE, UNITS = 600, 20, 20


def patterns() -> None:
    rng = np.random.default_rng(0)
    stored = stack([Sdr(CELLS, rng.choice(CELLS, ACTIVE, replace=False)) for _ in range(100)])
    evenly = CodeSelection(floor=0.99)
    memory = SparseyMemory(CELLS, modules=40, units=UNITS, selection=evenly)
    codes = memory.store(stored)
    for noise in (0.0, 0.2, 0.4):
        recalled = memory.recall(add_noise(stored, noise, seed=1))
        winners = (recalled.codes == codes).mean()
        cells = recalled.patterns.multiply(stored).sum() / stored.nnz
        print(
            f"noise {noise:.0%}: familiarity {recalled.familiarity.mean():.2f}, "
            f"{winners:.1%} of the winners and {cells:.1%} of the cells recalled"
        )
    expected = expected_errors(CELLS, ACTIVE, UNITS, 100)
    most = capacity(CELLS, ACTIVE, UNITS, errors=0.01)
    print(f"in theory, {expected:.2g} of the winners err without noise; {most} patterns: 1 %")


def read(file: Path, offset: int) -> np.ndarray:
    return np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8, offset=offset)


def digits(folder: Path) -> None:
    images = read(folder / "t10k-images-idx3-ubyte.gz", 16).reshape(-1, 784)
    labels = read(folder / "t10k-labels-idx1-ubyte.gz", 8)
    inputs = check_binary(images > 127)
    memory = SparseyMemory(784, modules=50, units=200, limit=0.18)
    held_out = np.arange(len(labels)) % 5 == 4
    memory.fit(inputs[~held_out], labels[~held_out])
    right = (memory.predict(inputs[held_out]) == labels[held_out]).mean()
    print(
        f"MNIST: {memory.stored:,} images seen once, {right:.1%} of {held_out.sum():,} others told "
        "apart"
    )


def main() -> None:
    patterns()
    if len(sys.argv) > 1:
        digits(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
