"""The ways to encode documents, each as a function from texts to vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.encoding.records import PEER

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["ENCODERS", "Encode", "load", "missing"]

Encode = Callable[[Sequence[str]], "csr_array"]

ENCODERS = (PEER, "torch", "torch int8", "onnx", "onnx int8")
"""The peer, and what runs the body in sparseret, with the precision of the head."""


def missing(name: str) -> str | None:
    """Why an encoder cannot be measured here; None where it can."""
    needed = {PEER: ["sentence_transformers"], "torch": ["torch", "transformers"],
              "onnx": ["onnxruntime", "onnxscript", "torch", "transformers"]}  # fmt: skip
    absent = [package for package in needed[name.split()[0]] if find_spec(package) is None]
    return f"{', '.join(absent)} not installed" if absent else None


def load(name: str, model: Path, exported: Path, max_length: int, batch: int) -> Encode:
    """An encoder, on one thread.

    Args:
        name: one of :data:`ENCODERS`.
        model: folder of the weights.
        exported: folder of the body in ONNX.
        max_length: tokens of a text that are read.
        batch: texts that the peer encodes at a time.
    """
    if name == PEER:
        return _peer(model, max_length, batch)
    from sparseret.encoders.splade import SpladeEncoder

    backend, _, precision = name.partition(" ")
    if backend == "torch":
        import torch

        torch.set_num_threads(1)
    return SpladeEncoder(
        exported if backend == "onnx" else model,
        max_length=max_length,
        backend="onnx" if backend == "onnx" else "torch",
        precision="int8" if precision else "float32",
        threads=1,
    ).encode_documents


def _peer(model: Path, max_length: int, batch: int) -> Encode:
    import torch
    from scipy.sparse import csr_array
    from sentence_transformers import SparseEncoder

    torch.set_num_threads(1)
    encoder = SparseEncoder(str(model), device="cpu")
    encoder.max_seq_length = max_length

    def encode(texts: Sequence[str]) -> csr_array:
        made = encoder.encode_document(list(texts), batch_size=batch).coalesce()
        return csr_array((made.values().numpy(), made.indices().numpy()), shape=made.shape)

    return encode
