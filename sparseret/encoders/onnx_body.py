"""Bodies in ONNX: exported once with torch, run by ONNX Runtime without it."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseret.encoders.model_folder import (
    DECODER_FILE,
    exported_from,
    model_digest,
    weight_files,
)
from sparseret.encoders.transformer_body import BODY_FILE, Decoder, TorchBody
from sparseret.errors import ConfigurationError, MissingExtraError

__all__ = ["OnnxBody", "export_onnx"]

_BESIDE = ("config.json", "tokenizer.json", "tokenizer_config.json", "README.md", "LICENSE")


def export_onnx(folder: Path, out: Path | None = None) -> Path:
    """Write the body of a model as ``model-body.onnx``, and its decoder beside it.

    Args:
        folder: a transformers folder.
        out: where to; by default the folder itself. Another folder gets the tokenizer, too, and
            can then be used without the original.

    Returns:
        The folder that was written to.

    Raises:
        ConfigurationError: no model that can be cut.
        MissingExtraError: torch, transformers or onnx is not installed.
    """
    body = TorchBody(folder)
    import torch
    from safetensors.numpy import save_file

    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(error.name or "onnx", "onnx-export", "exporting") from error
    out = folder if out is None else out
    out.mkdir(parents=True, exist_ok=True)
    if out.resolve() != folder.resolve():
        for name in _BESIDE:
            if (folder / name).exists():
                shutil.copyfile(folder / name, out / name)
    ids = torch.tensor([[1, 2, 3, 4], [1, 2, 0, 0]])
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself
        torch.onnx.export(
            _states_only(body.model),
            (ids, (ids > 0).long()),
            str(out / BODY_FILE),
            input_names=["input_ids", "attention_mask"],
            output_names=["states"],
            dynamic_shapes=({0: batch, 1: length}, {0: batch, 1: length}),
            external_data=False,
            verbose=False,
        )
    save_file(
        {"weight": body.decoder.weight, "bias": body.decoder.bias},
        out / DECODER_FILE,
        metadata={"digest": model_digest(folder)},
    )
    return out


def _states_only(model: Any) -> Any:
    """A torch module that returns a tensor, around a model that returns a record."""
    import torch

    class Body(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).logits

    return Body().eval()


class OnnxBody:
    """A body run by ONNX Runtime (:class:`sparseret.encoders.transformer_body.TransformerBody`).

    Args:
        folder: holds what :func:`export_onnx` wrote.
        threads: None for as many as ONNX Runtime takes by itself.

    Raises:
        ConfigurationError: there is no exported body, or it is one of other weights than those
            beside it.
        MissingExtraError: onnxruntime is not installed.
    """

    def __init__(self, folder: Path, *, threads: int | None = None) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError("onnxruntime", "onnx", f"running {folder}") from error
        file = folder / BODY_FILE
        if not (file.exists() and (folder / DECODER_FILE).exists()):
            raise ConfigurationError(
                f"{folder} has no {BODY_FILE} with {DECODER_FILE}: write them with "
                "sparseret.encoders.onnx_body.export_onnx, which needs torch once"
            )
        if weight_files(folder) and model_digest(folder) != exported_from(folder):
            raise ConfigurationError(
                f"{file} was exported from other weights than those in {folder}: export it again"
            )
        from safetensors.numpy import load_file

        tensors = load_file(folder / DECODER_FILE)
        self.decoder = Decoder(tensors["weight"], tensors["bias"])
        options = onnxruntime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )

    def states(
        self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """States that enter the decoder, shape (n, length, width)."""
        made = self._session.run(
            ["states"], {"input_ids": input_ids, "attention_mask": attention_mask}
        )
        states: NDArray[np.float32] = made[0]
        return states
