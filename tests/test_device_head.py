"""The vocabulary head on a GPU: the kernel, torch's operations instead, and models that use them.

Where there is no GPU, Triton's interpreter runs the kernel, and its compiler compiles it, each in a
process of its own::

    TRITON_INTERPRET=1 python tests/test_device_head.py run
    python tests/test_device_head.py compile
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sparseret.kernels._native", reason="the native kernel is not built")

from other_process import run_triton
from sparseret.encoders import splade_model, triton_head
from sparseret.encoders.device_head import DeviceHead, load_head, pool_in_blocks
from sparseret.encoders.splade import SpladeEncoder
from sparseret.encoders.transformer_body import Decoder, TorchBody, pack
from sparseret.errors import ConfigurationError, VectorError
from sparseret.kernels import VocabularyHead

torch = pytest.importorskip("torch", reason="torch is not installed")

TEXTS = ["heat transfer in hypersonic flow", "the lift of a wing in a slipstream", "flow", ""]

SHAPES = [
    ([32, 64], 64, 128),  # whole tiles
    ([1], 1, 1),
    ([1, 1], 15, 65),
    ([0, 0], 5, 9),
    ([], 5, 9),
    ([3, 1, 0, 33, 70, 1], 37, 70),  # ragged in every direction, and a text without rows
]
"""Rows of each text, width, columns."""


def drawn(lengths: list[int], width: int, n_columns: int, device: str) -> tuple[Any, ...]:
    """States, offsets, weight, bias; about half of the logits are positive."""
    generator = torch.Generator().manual_seed(width * n_columns)
    shapes = (sum(lengths), width), (n_columns, width), (n_columns,)
    hidden, weight, bias = (torch.randn(shape, generator=generator) for shape in shapes)
    offsets = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int64)
    return tuple(made.to(device) for made in (hidden, offsets, weight / width**0.5, bias))


def eager(hidden: Any, offsets: Any, weight: Any, bias: Any, *, log_sum: bool) -> Any:
    """What is meant: all logits, and text after text."""
    logits = hidden @ weight.T + bias
    if log_sum:
        logits = torch.log1p(torch.relu(logits))
    none = torch.full((len(weight),), 0.0 if log_sum else -torch.inf, device=hidden.device)
    texts = [logits[a:b] for a, b in pairwise(offsets.tolist())]
    pooled = [(t.sum(0) if log_sum else t.amax(0)) if len(t) else none for t in texts]
    return torch.stack(pooled) if pooled else logits.new_empty((0, len(weight)))


def check(pool: Callable[..., Any], shapes: list[Any], device: str) -> None:
    for shape in shapes:
        arrays = drawn(*shape, device)
        for log_sum in (False, True):
            made = pool(*arrays, log_sum=log_sum)
            assert made.dtype == torch.float32
            torch.testing.assert_close(
                made, eager(*arrays, log_sum=log_sum), rtol=1e-5, atol=1e-4,
                msg=lambda text, shape=shape, log_sum=log_sum: f"{shape}, {log_sum=}: {text}",
            )  # fmt: skip
    assert torch.equal(made, pool(*arrays, log_sum=True))  # the last, again
    # Logits so small that 1 + x rounds them: the logarithm is as exact as any other.
    hidden, offsets, weight, _ = drawn([1, 2], 4, 5, device)
    small = torch.tensor([1e-20, 1e-9, 1e-7, 3e-4, 0.1], device=device)
    made = pool(hidden, offsets, weight * 0, small, log_sum=True)
    expected = torch.log1p(small.double()).float()
    torch.testing.assert_close(made, torch.stack([expected, 2 * expected]), rtol=1e-6, atol=0)


# --- the kernel ---------------------------------------------------------------------------------


def test_the_kernel_interpreted() -> None:
    assert run_triton(__file__, "run", TRITON_INTERPRET="1") == "interpreted\n"


def test_the_kernel_compiles(tmp_path: Path) -> None:
    """The compiler takes less of Python than the interpreter, and needs no GPU."""
    made = run_triton(__file__, "compile", TRITON_INTERPRET="0", TRITON_CACHE_DIR=str(tmp_path))
    assert made == "compiled\ncompiled\n"


def compile_kernel() -> None:
    import triton
    from triton.backends.compiler import GPUTarget

    signature = dict.fromkeys(("hidden", "weight", "bias", "pooled"), "*fp32")
    signature |= {"offsets": "*i64", "n_columns": "i32", "width": "i32"}
    for log_sum in (False, True):
        constants = {"log_sum": log_sum, **triton_head._BLOCKS}
        types = signature | dict.fromkeys(constants, "constexpr")
        source = triton.compiler.ASTSource(triton_head._kernel(), types, constants)
        made = triton.compile(
            source, target=GPUTarget("cuda", 80, 32), options={"enable_fp_fusion": True}
        )
        ptx = made.asm["ptx"]
        assert "fma.rn.f32" in ptx
        assert "tf32" not in ptx  # products of 10 bits
        print("compiled")


def test_the_kernel_on_a_gpu(cuda: str) -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    check(triton_head.pool, [*SHAPES, ([512, 1, 77, 256, 3], 384, 30522)], cuda)


# --- torch instead of the kernel ----------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 150, 1 << 24])
def test_pooling_by_torch(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr("sparseret.encoders.device_head._BLOCK", block)
    check(pool_in_blocks, SHAPES, "cpu")


def test_pooling_by_torch_on_a_gpu(cuda: str) -> None:
    check(pool_in_blocks, SHAPES, cuda)


# --- models -------------------------------------------------------------------------------------


def batch() -> tuple[Any, Any]:
    ids = np.random.default_rng(1).integers(5, 40, (3, 12))
    mask = np.ones_like(ids)
    mask[0, 7:] = 0
    mask[2, 1:] = 0
    return ids, mask


def assert_like_the_native_head(body: TorchBody) -> None:
    ids, mask = batch()
    head, native = DeviceHead(body), VocabularyHead(*body.decoder)
    states = pack(body.states(ids, mask), mask)
    for made, expected in (
        (head.maxima(ids, mask), native.maxima(*states)),
        (head.sums(ids, mask), native.sums(*states)),
    ):
        assert [part.dtype for part in made] == [part.dtype for part in expected]
        assert 0 < len(expected.values) < len(ids) * native.n_columns
        np.testing.assert_array_equal(made.indptr, expected.indptr)
        np.testing.assert_array_equal(made.columns, expected.columns)
        np.testing.assert_allclose(made.values, expected.values, atol=1e-4)


def test_poolings_are_those_of_the_native_head(make_model: Callable[..., Path]) -> None:
    body = TorchBody(make_model(TEXTS))
    assert_like_the_native_head(body)
    assert isinstance(load_head(body, "float32"), VocabularyHead)


def test_poolings_are_those_of_the_native_head_on_a_gpu(
    cuda: str, make_model: Callable[..., Path]
) -> None:
    body = TorchBody(make_model(TEXTS), device=cuda)
    assert_like_the_native_head(body)
    head = load_head(body, "float32")
    assert isinstance(head, DeviceHead)
    assert (head._pool_rows is triton_head.pool) == (find_spec("triton") is not None)
    assert isinstance(load_head(body, "int8"), VocabularyHead)


@pytest.mark.parametrize(("pooling", "activation"), [("max", "relu"), ("max", "log1p_relu"),
                                                     ("sum", "relu")])  # fmt: skip
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_vectors_of_a_model(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    make_model: Callable[..., Path],
    pooling: Any,
    activation: Any,
    device: str,
) -> None:
    if device == "cuda":
        request.getfixturevalue("cuda")
    folder = make_model(TEXTS)
    options = {"pooling": pooling, "activation": activation}
    expected = SpladeEncoder(folder, **options).encode_queries(TEXTS)
    heads = []

    def load(body: TorchBody, precision: str) -> DeviceHead:
        heads.append(DeviceHead(body))
        return heads[-1]

    monkeypatch.setattr(splade_model, "load_head", load)
    made = SpladeEncoder(folder, device=device, **options).encode_queries(TEXTS)
    assert len(heads) == 1
    np.testing.assert_array_equal(made.indptr, expected.indptr)
    np.testing.assert_array_equal(made.indices, expected.indices)
    np.testing.assert_allclose(made.data, expected.data, atol=1e-4)
    assert made.indptr[-1] == made.indptr[-2] > 0  # the empty text


def test_numbers_that_are_not_finite(
    make_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = TorchBody(make_model(TEXTS))
    head = DeviceHead(body)
    for value in (np.nan, np.inf, 2e15):
        states = torch.zeros((3, 12, 16))
        states[1, 11] = value
        monkeypatch.setattr(body, "tensor", lambda *_, states=states: states)
        with pytest.raises(VectorError, match="hidden: values must be finite"):
            head.maxima(*batch())
        states[1, 11] = 0
        states[0, 11] = value  # of padding
        head.maxima(*batch())
    weight, bias = body.decoder
    body.decoder = Decoder(weight, bias * np.float32(np.nan))
    with pytest.raises(VectorError, match="bias: values must be finite"):
        DeviceHead(body)


def test_devices_that_do_not_exist(make_model: Callable[..., Path]) -> None:
    folder = make_model(TEXTS)
    devices = ["abacus", "cuda:999"] + ["cuda"] * (not torch.cuda.is_available())
    for device in devices:
        with pytest.raises(ConfigurationError, match=f"cannot use the device '{device}'"):
            TorchBody(folder, device=device)


if __name__ == "__main__":
    if sys.argv[1] == "run":
        torch.set_num_threads(1)
        check(triton_head.pool, SHAPES, "cpu")
        print("interpreted")
    else:
        compile_kernel()
