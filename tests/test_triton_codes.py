"""Kernels of sparse codes on a GPU against NumPy and torch, and the training that uses them.

Where there is no GPU, Triton's interpreter runs the kernels, and its compiler compiles them, each
in a process of its own::

    TRITON_INTERPRET=1 python tests/test_triton_codes.py run
    python tests/test_triton_codes.py compile
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sparseret.kernels._native", reason="the native kernel is not built")

from other_process import run_triton
from sparseret.encoders import autoencoder_steps, triton_sums, triton_top_k
from sparseret.encoders.autoencoder_training import AutoencoderTrainer
from sparseret.errors import ConfigurationError, VectorError
from sparseret.kernels import reference

torch = pytest.importorskip("torch", reason="torch is not installed")


# --- the largest values of rows -----------------------------------------------------------------


def rows_of_a_kind(kind: str, n: int, width: int) -> Any:
    rng = np.random.default_rng(width)
    rows = rng.standard_normal((n, width)).astype(np.float32)
    if kind == "equal":
        rows[:] = -1.5
    elif kind == "few":
        rows = rng.integers(-2, 3, (n, width)).astype(np.float32)
    elif kind == "zeros":
        rows = np.where(rows > 0, np.float32(0), np.float32(-0.0))
    elif kind == "infinite":
        rows = np.where(np.abs(rows) > 0.5, np.copysign(np.float32(np.inf), rows), rows)
    elif kind == "hidden":
        rows[:, rng.permutation(width)[: (width + 1) // 2]] = -np.inf
    elif kind == "denormal":
        rows *= np.float32(1e-42)
    elif kind == "near":  # the last bits decide
        bits = np.float32(1).view(np.int32) + rng.integers(0, 600, (n, width), dtype=np.int32)
        rows = np.copysign(bits.view(np.float32), rows)
    return torch.from_numpy(rows)


KINDS = ("normal", "equal", "few", "zeros", "infinite", "hidden", "denormal", "near")


def check_rows(rows: Any, k: int, device: str) -> None:
    wanted = reference.top_k(rows.float().numpy(), k).columns
    found = triton_top_k.largest_columns(rows.to(device), k)
    assert found.dtype == torch.int64
    assert found.device.type == device
    np.testing.assert_array_equal(found.cpu().numpy(), wanted)


def check_top_k(device: str, widest: int) -> None:
    for kind in KINDS:
        for width, k in ((37, 37), (1300, 512)):
            check_rows(rows_of_a_kind(kind, 2, width), k, device)
    for width, k in ((1, 1), (2, 1), (1024, 5)):
        check_rows(rows_of_a_kind("few", 2, width), k, device)
    for width, k in ((130, 1), (2100, 64)):
        for smaller in (torch.bfloat16, torch.float16):
            check_rows(rows_of_a_kind("normal", 2, width).to(smaller), k, device)
    check_rows(rows_of_a_kind("normal", 1, widest), 512, device)
    check_rows(rows_of_a_kind("normal", 6, 50)[::2].T, 2, device)  # not contiguous
    assert triton_top_k.largest_columns(torch.ones(0, 5, device=device), 2).shape == (0, 2)
    # Not numbers, quiet and signalling, of both signs.
    for place, bits in ((0, 0x7FC00000), (1023, 0x7F800001), (1024, -0x7FFFFF), (1099, -1)):
        rows = torch.full((2, 1100), torch.inf)
        rows.view(torch.int32)[1, place] = bits
        with pytest.raises(VectorError, match="row 1 holds values that are not numbers"):
            triton_top_k.largest_columns(rows.to(device), 3)


def test_top_k_of_bad_arguments() -> None:
    rows = torch.ones(2, 5)
    for k in (0, 6, -1, True):
        with pytest.raises(ConfigurationError, match="k must be from 1 to the width"):
            triton_top_k.largest_columns(rows, k)
    for shape in ((5,), (2, 0), (1, 2, 3)):
        with pytest.raises(VectorError, match="expected"):
            triton_top_k.largest_columns(torch.ones(shape), 1)
    for other in (torch.float64, torch.int32):
        with pytest.raises(VectorError, match="expected float32"):
            triton_top_k.largest_columns(rows.to(other), 1)


# --- products and sums of entries ---------------------------------------------------------------

SIZES = [
    (1, 1, 1, 1),
    (3, 5, 64, 16),  # whole tiles
    (4, 3, 70, 101),  # many entries of a latent
    (9, 40, 129, 33),  # latents without entries
    (2, 3, 5, 0),
]
"""Rows, latents, features, entries."""


def check_sums(device: str, sizes: list[tuple[int, int, int, int]]) -> None:
    for n, dim, n_features, nnz in sizes:
        generator = torch.Generator().manual_seed(nnz)
        table = torch.randn(n, n_features, generator=generator)
        dictionary = torch.randn(dim, n_features, generator=generator)
        weights = torch.randn(nnz, generator=generator)
        rows = torch.randint(n, (nnz,), generator=generator)
        columns = torch.randint(dim, (nnz,), generator=generator).sort().values
        bounds = torch.searchsorted(columns, torch.arange(dim + 1))

        def close(made: Any, wanted: Any) -> None:
            assert made.dtype == torch.float32
            torch.testing.assert_close(made.cpu().double(), wanted, rtol=1e-5, atol=1e-4)

        on = [part.to(device) for part in (table, dictionary, rows, columns, bounds, weights)]
        made = triton_sums.entry_products(on[0], on[1], on[2], on[3])
        close(made, (table[rows].double() * dictionary[columns].double()).sum(dim=1))
        made = triton_sums.sum_rows(on[0], on[2], on[4], on[5])
        wanted = torch.zeros(dim, n_features, dtype=torch.float64)
        wanted.index_add_(0, columns, weights[:, None].double() * table[rows].double())
        close(made, wanted)
        assert torch.equal(made, triton_sums.sum_rows(on[0], on[2], on[4], on[5]))
        with pytest.raises(ConfigurationError, match="without create_graph"):
            triton_sums.sum_rows(on[0].requires_grad_(), on[2], on[4], on[5])


# --- steps of the training ----------------------------------------------------------------------


@contextmanager
def kernels_used(used: bool) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autoencoder_steps, "_fused", lambda values: used)
        yield


def gradients(device: str, k: int) -> list[Any]:
    """A reconstruction from k latents, from none too, and the gradients of its error."""
    generator = torch.Generator().manual_seed(1)
    inputs, encoder, bias, dictionary, target = leaves = [
        torch.randn(shape, generator=generator).to(device).requires_grad_()
        for shape in ((6, 5), (11, 5), (11,), (11, 5), (6, 5))
    ]
    with torch.no_grad():
        affinities = inputs @ encoder.T + bias
    if k:
        chosen = autoencoder_steps.choose_by_token(affinities, k)
    else:
        none = torch.zeros(0, dtype=torch.int64, device=device)
        chosen = autoencoder_steps.Chosen(none, none, 6)
    values = autoencoder_steps.activations(affinities, inputs, encoder, bias, chosen).relu()
    made = autoencoder_steps.decode(values, dictionary, chosen)
    loss = (made - target).square().sum()
    return [made, *torch.autograd.grad(loss, leaves, materialize_grads=True)]


def trained(device: str) -> list[Any]:
    vectors = np.random.default_rng(0).standard_normal((16, 6)).astype(np.float32)
    options: dict[str, Any] = {"batch_size": 8, "epochs": 1, "dead_after": 1, "device": device}
    weights = AutoencoderTrainer(20, 2, "topk", **options).fit(vectors).codec.weights
    return [torch.from_numpy(getattr(weights, name)) for name in ("encoder", "decoder")]


def check_steps(device: str) -> None:
    steps = (partial(gradients, device, 3), partial(gradients, device, 0), partial(trained, device))
    for step in steps:
        with kernels_used(False):
            wanted = step()
        with kernels_used(True):
            made, again = step(), step()
        for one, other, third in zip(made, wanted, again, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
            assert torch.equal(one, third)


def test_the_processor_does_without_the_kernels() -> None:
    assert not autoencoder_steps._fused(torch.ones(3))
    assert not torch.stack([made.sum() for made in gradients("cpu", 0)[:-1]]).any()


# --- where they run -----------------------------------------------------------------------------


def test_the_kernels_interpreted() -> None:
    assert run_triton(__file__, "run", TRITON_INTERPRET="1") == "interpreted\n"


def test_the_kernels_compile(tmp_path: Path) -> None:
    """The compiler takes less of Python than the interpreter, and needs no GPU."""
    made = run_triton(__file__, "compile", TRITON_INTERPRET="0", TRITON_CACHE_DIR=str(tmp_path))
    assert made == "compiled\n" * 7


def compile_kernels() -> None:
    import triton
    from triton.backends.compiler import GPUTarget

    top_k = {"rows": "*fp32", "columns": "*i64", "refused": "*i32", "width": "i32", "k": "i32"}
    products = dict.fromkeys(("left", "right", "made"), "*fp32")
    products |= {"rows": "*i64", "columns": "*i64", "nnz": "i32", "n_features": "i32"}
    sums = dict.fromkeys(("table", "weights", "made"), "*fp32")
    sums |= {"columns": "*i64", "bounds": "*i64", "n_features": "i32", "blocks": "i32"}
    tile, block = triton_sums._TILE, {"block": triton_top_k._BLOCK}
    # Triton makes constants of arguments that are 1.
    for kernel, signature, constants in (
        (triton_top_k._kernel(), top_k, block),
        (triton_top_k._kernel(), top_k, {**block, "width": 1, "k": 1}),
        (triton_top_k._kernel(), {**top_k, "rows": "*bf16"}, block),
        (triton_sums._products(), products, tile),
        (triton_sums._products(), products, {**tile, "nnz": 1, "n_features": 1}),
        (triton_sums._sums(), sums, tile),
        (triton_sums._sums(), sums, {**tile, "n_features": 1, "blocks": 1}),
    ):
        types = signature | dict.fromkeys(constants, "constexpr")
        made = triton.compile(
            triton.compiler.ASTSource(kernel, types, constants),
            target=GPUTarget("cuda", 90, 32), options={"enable_fp_fusion": True},
        )  # fmt: skip
        # What several threads add to one place are whole numbers: their order does not matter.
        atomics = set(re.findall(r"\b(?:atom|red)\.[\w.:]+", made.asm["ptx"]))
        assert all(name.endswith("add.u32") for name in atomics), atomics
        assert made.asm["cubin"]
        print("compiled")


def test_top_k_on_a_gpu(cuda: str) -> None:
    check_top_k(cuda, 1 << 20)


def test_sums_on_a_gpu(cuda: str) -> None:
    check_sums(cuda, [*SIZES, (1024, 16384, 768, 65536), (70000, 2, 300, 100_000)])


def test_steps_on_a_gpu(cuda: str) -> None:
    check_steps(cuda)
    assert autoencoder_steps._fused(torch.ones(3, device=cuda))
    assert not autoencoder_steps._fused(torch.ones(3, device=cuda, dtype=torch.float64))


if __name__ == "__main__":
    if sys.argv[1] == "run":
        torch.set_num_threads(1)
        check_top_k("cpu", 20_003)
        check_sums("cpu", SIZES)
        check_steps("cpu")
        print("interpreted")
    else:
        compile_kernels()
