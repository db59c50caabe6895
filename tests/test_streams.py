"""Codecs that learn from blocks of a file: the same as from arrays, and as good as at once."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparseret.encoders.losse import Losse
from sparseret.eval.code_card import rate_codes
from sparseret.train.codes import TRAINERS

N, WIDTH, DIM = 600, 12, 16

OPTIONS: dict[str, dict[str, Any]] = {
    "autoencoder": {"dim": DIM, "k": 2, "recipe": "topk", "batch_size": 50, "epochs": 20},
    "dictionary": {"dim": DIM, "k": 2, "batch_size": 50},
    "discrete-sparse-coding": {
        "dim": DIM, "preselected": 4, "active": 2, "batch_size": 10, "restarts": 1,
        "iterations": 9,
    },
    "vq": {"codebooks": 3, "entries": 8},
}  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors of one or two directions each, with noise."""
    rng = np.random.default_rng(0)
    atoms = rng.standard_normal((DIM, WIDTH))
    codes = np.zeros((N, DIM))
    for row in codes:
        row[rng.choice(DIM, 2, replace=False)] = rng.random(2) + 0.5
    x = codes @ atoms + 0.05 * rng.standard_normal((N, WIDTH))
    found = tmp_path_factory.mktemp("stream") / "x.npy"
    np.save(found, x.astype(np.float32))
    return found


def made(name: str) -> Any:
    if name == "autoencoder":
        pytest.importorskip("torch", reason="torch is not installed")
    module, _, attribute = TRAINERS[name].partition(":")
    return getattr(import_module(module), attribute)(**OPTIONS[name])


def test_all_that_learn_are_here() -> None:
    assert {*OPTIONS} <= {*TRAINERS}


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_blocks_of_a_mapped_file(name: str, file: Path) -> None:
    mapped = np.load(file, mmap_mode="r")
    streamed, given = made(name), made(name)
    for _ in range(10 if name == "autoencoder" else 1):
        for begin in range(0, N, 200):
            assert streamed.partial_fit(mapped[begin : begin + 200]) is streamed
            given.partial_fit(np.array(mapped[begin : begin + 200]))
    assert streamed.codec.space == given.codec.space
    x = np.load(file)
    at_once = rate_codes(made(name).fit(mapped).codec, x).normalized_error
    in_parts = rate_codes(streamed.codec, x).normalized_error
    assert at_once is not None
    assert in_parts is not None
    assert in_parts < 1
    assert in_parts < 1.6 * at_once + 0.1


def test_blocks_of_a_mapped_file_for_losse(file: Path) -> None:
    mapped = np.load(file, mmap_mode="r")
    whole, parts = Losse(WIDTH, groups=5).fit(mapped), Losse(WIDTH, groups=5)
    for begin in range(0, N, 70):
        parts.partial_fit(mapped[begin : begin + 70])
    np.testing.assert_allclose(
        parts.transform(mapped).toarray(), whole.transform(mapped).toarray(), atol=1e-5
    )
