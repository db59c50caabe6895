"""A masked language model cut in two before its decoder: the body, and the decoder's matrix.

The body makes states, (n, length) token ids to (n, length, width) floats; logits would be
``states @ decoder.weight.T + decoder.bias``, (n, length, vocabulary) floats, which are never made
whole. The cut is at ``get_output_embeddings()`` of any transformers model, and is checked when a
model is loaded: a model whose logits are not that product is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import ConfigurationError, MissingExtraError

__all__ = ["Backend", "Decoder", "States", "TorchBody", "TransformerBody", "load_body", "pack",
           "quiet_transformers"]  # fmt: skip

Backend: TypeAlias = Literal["auto", "torch", "onnx"]

BODY_FILE = "model-body.onnx"
"""Name of an exported body in a model's folder (:mod:`sparseret.encoders.onnx_body`)."""

_CLOSE = 1e-3
"""Largest difference that the check of the cut takes as rounding, relative to the largest logit."""


class Decoder(NamedTuple):
    """What makes logits of states."""

    weight: NDArray[np.float32]
    """Shape (vocabulary, width)."""
    bias: NDArray[np.float32]
    """Shape (vocabulary,); zeros where a model has none."""


class States(NamedTuple):
    """States of the tokens of several texts, without padding."""

    hidden: NDArray[np.float32]
    """Shape (tokens, width)."""
    offsets: NDArray[np.int64]
    """Text t has the rows from ``offsets[t]`` to ``offsets[t + 1]``, shape (texts + 1,)."""


class TransformerBody(Protocol):
    """Makes the states that enter the decoder."""

    @property
    def decoder(self) -> Decoder:
        """Matrix and bias that follow the states."""

    def states(
        self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """States, shape (n, length, width); those of padding mean nothing."""


def load_body(
    folder: Path,
    *,
    backend: Backend = "auto",
    device: str = "cpu",
    threads: int | None = None,
) -> TransformerBody:
    """The body of the model in a folder.

    Args:
        folder: a transformers folder.
        backend: "onnx" needs an exported body there and no torch; "auto" takes it where there is
            one and ONNX Runtime is installed, and torch otherwise.
        device: of torch, such as "cuda".
        threads: of ONNX Runtime, None for one per core. torch has a setting of its own,
            ``torch.set_num_threads``.

    Raises:
        ConfigurationError: no such model, or one that cannot be cut.
        MissingExtraError: torch and transformers, or ONNX Runtime, are not installed.
    """
    if backend not in get_args(Backend):
        raise ConfigurationError(
            f"backend {backend!r} is not one of {', '.join(get_args(Backend))}"
        )
    if backend == "auto":
        usable = (folder / BODY_FILE).exists() and find_spec("onnxruntime") and device == "cpu"
        backend = "onnx" if usable else "torch"
    if backend == "onnx":
        if device != "cpu":
            raise ConfigurationError(f'backend="onnx" runs on the processor, not on {device!r}')
        from sparseret.encoders.onnx_body import OnnxBody

        return OnnxBody(folder, threads=threads)
    return TorchBody(folder, device=device)


def pack(states: NDArray[np.float32], attention_mask: NDArray[np.int64]) -> States:
    """Leave out padding: states (n, length, width) and a mask (n, length) of the same batch."""
    offsets = np.zeros(len(states) + 1, dtype=np.int64)
    np.cumsum(attention_mask.sum(axis=1), out=offsets[1:])
    width = states.shape[2]
    if offsets[-1] == attention_mask.size:
        return States(np.ascontiguousarray(states.reshape(-1, width)), offsets)
    return States(states[attention_mask.astype(bool)], offsets)


class TorchBody:
    """A body in torch, float32 (:class:`TransformerBody`).

    Args:
        folder: a transformers folder with ``model.safetensors`` or ``pytorch_model.bin``; only
            tensors are read from the latter, and no code of the folder is run.
        device: as torch names it.

    Raises:
        ConfigurationError: the folder holds no such model, or one that cannot be cut; or torch
            cannot use the device.
        MissingExtraError: torch or transformers is not installed.
    """

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        try:
            import torch
            import transformers
            from safetensors import SafetensorError
        except ImportError as error:
            package = (error.name or "torch").partition(".")[0]
            raise MissingExtraError(package, "neural", f"running {folder} in torch") from error
        try:
            with quiet_transformers():
                model = transformers.AutoModelForMaskedLM.from_pretrained(
                    folder, dtype=torch.float32, local_files_only=True, trust_remote_code=False
                )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise ConfigurationError(f"{folder} holds no masked language model: {error}") from error
        self._torch = torch
        try:
            self.device = torch.device(device)
            """A torch.device, where the model is."""
            self.model = model.eval().to(self.device)
            """The transformers model, whose logits are the states from now on."""
        except (AssertionError, RuntimeError) as error:  # torch without it, or none in the machine
            raise ConfigurationError(f"torch cannot use the device {device!r}: {error}") from error
        self.decoder = self._cut(folder)

    def _cut(self, folder: Path) -> Decoder:
        """Put nothing in the place of the decoder, and make sure that nothing else changed."""
        torch, model = self._torch, self.model
        output = model.get_output_embeddings()
        if output is None or getattr(output, "weight", None) is None:
            raise ConfigurationError(
                f"{folder}: {type(model).__name__} has no output embeddings to cut it at"
            )
        probe = np.arange(4)[None] % output.weight.shape[0]
        logits = self.states(probe, np.ones_like(probe))[0]
        for parent in model.modules():
            for name, child in parent.named_children():
                if child is output:
                    setattr(parent, name, torch.nn.Identity())
        weight = output.weight.detach().float().cpu().numpy()
        bias = getattr(output, "bias", None)
        decoder = Decoder(
            np.ascontiguousarray(weight),
            np.zeros(len(weight), np.float32)
            if bias is None
            else np.ascontiguousarray(bias.detach().float().cpu().numpy()),
        )
        try:
            states = self.states(probe, np.ones_like(probe))[0]
            again = states @ decoder.weight.T + decoder.bias
        except (AttributeError, RuntimeError, ValueError) as error:  # it does more than call it
            raise ConfigurationError(
                f"{folder}: {type(model).__name__} cannot be cut before its decoder: {error}"
            ) from error
        apart = np.abs(again - logits).max()
        if not apart <= _CLOSE * max(1.0, float(np.abs(logits).max())):
            raise ConfigurationError(
                f"{folder}: the logits of {type(model).__name__} are not a product of its states "
                f"and its output embeddings; they differ by {apart:.3g}"
            )
        return decoder

    def states(
        self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """States that enter the decoder, shape (n, length, width)."""
        states: NDArray[np.float32] = self.tensor(input_ids, attention_mask).cpu().numpy()
        return states

    def tensor(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> Any:
        """The same, as a torch tensor on the device."""
        torch = self._torch
        with torch.inference_mode():
            return self.model(
                input_ids=torch.from_numpy(input_ids).to(self.device),
                attention_mask=torch.from_numpy(attention_mask).to(self.device),
            ).logits.float()


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars of transformers, which no one asked for."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def available_cores() -> int:
    """Cores that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity else os.cpu_count() or 1
