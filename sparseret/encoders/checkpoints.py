"""Folders of transformer checkpoints: read into a body and what is left over, and written back.

Transformers drops weights that its own classes do not know, and those are the heads that
retrieval models add; here the file is read as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sparseret.encoders import text_batches
from sparseret.encoders.model_folder import weight_files
from sparseret.encoders.transformer_body import quiet_transformers
from sparseret.errors import ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor
    from torch.nn import Module

__all__ = [
    "Checkpoint",
    "load_checkpoint",
    "load_linear",
    "load_tokenizer",
    "on_device",
    "reason",
    "require_neural",
    "require_torch",
    "save_checkpoint",
]


_OTHER_TOKENIZERS = ("vocab.txt", "vocab.json", "*.model", "tekken.json")
"""Files from which transformers makes a tokenizer where there is no tokenizer.json."""


class Checkpoint(NamedTuple):
    """What a folder holds."""

    body: Module
    """The transformer without any head, in evaluation mode, float32."""
    heads: dict[str, Tensor]
    """Weights that are not the body's, by their names in the file."""
    tokenizer: Tokenizer


def require_neural(purpose: str) -> None:
    """Raise MissingExtraError unless torch and transformers can be imported."""
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        package = (error.name or "torch").partition(".")[0]
        raise MissingExtraError(package, "neural", purpose) from error


def require_torch(purpose: str) -> None:
    """Raise MissingExtraError unless torch can be imported."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("torch", "neural", purpose) from error


def on_device(module: Any, device: str) -> Any:
    """A module in evaluation mode where it is to compute.

    Raises:
        ConfigurationError: torch cannot use the device.
    """
    try:
        return module.to(device).eval()
    except (AssertionError, RuntimeError, TypeError) as error:  # no such device, here or at all
        raise ConfigurationError(
            f"torch cannot use the device {device!r}: {reason(error)}"
        ) from error


def reason(error: Exception) -> str:
    """What an error of another library says, its first line: advice of many follows."""
    return str(error).strip().partition("\n")[0]


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a folder of config.json, weights (safetensors or bin, in one file or many), tokenizer.

    The body is whatever ``transformers.AutoModel`` makes of the configuration. Its weights are
    found under any prefix ("bert.", "coil_encoder.bert.", none).

    Raises:
        ConfigurationError: a file is missing or unreadable, or the weights are not the body's.
        MissingExtraError: torch or transformers is not installed.
    """
    require_neural("transformer encoders")
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        with quiet_transformers():
            body = transformers.AutoModel.from_config(config)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{folder} holds no transformers model: {reason(error)}"
        ) from error
    weights = _read_weights(folder)
    wanted = body.state_dict()
    first = next(iter(wanted))
    prefix = next((name[: -len(first)] for name in weights if f".{name}".endswith(f".{first}")), "")
    own = {name: weights.pop(prefix + name) for name in wanted if prefix + name in weights}
    missing = [name for name in wanted if name not in own and not name.startswith("pooler.")]
    if missing:
        raise ConfigurationError(
            f"{folder}: the weights lack {missing[0]!r} and {len(missing) - 1} others of "
            f"{type(body).__name__}, which config.json asks for"
        )
    try:
        body.load_state_dict(own, strict=False)
    except RuntimeError as error:
        raise ConfigurationError(f"{folder}: {error}") from error
    return Checkpoint(body.eval(), weights, load_tokenizer(folder))


def load_linear(heads: Mapping[str, Tensor], name: str, folder: Path, remedy: str) -> Module:
    """The linear layer whose weights stand under ``name``, with any prefix.

    Raises:
        ConfigurationError: there is none; ``remedy`` ends the message.
    """
    import torch

    for key, weight in heads.items():
        if f".{key}".endswith(f".{name}.weight"):
            bias = heads.get(key.removesuffix("weight") + "bias")
            linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
            linear.load_state_dict({"weight": weight} if bias is None else {
                "weight": weight, "bias": bias,
            })  # fmt: skip
            return linear.eval()
    raise ConfigurationError(f"{folder} has no weights named {name!r}: {remedy}")


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a folder, without truncation or padding.

    Raises:
        ConfigurationError: there is none.
        MissingExtraError: tokenizers is not installed, or transformers where the folder has no
            tokenizer.json.
    """
    if (folder / "tokenizer.json").is_file():
        tokenizer = text_batches.load_tokenizer(folder)
    else:  # older checkpoints have vocab.txt or the like, which transformers converts
        if not any(file for pattern in _OTHER_TOKENIZERS for file in folder.glob(pattern)):
            raise ConfigurationError(
                f"{folder} holds no tokenizer: neither tokenizer.json nor {_OTHER_TOKENIZERS[0]}"
            )  # of which transformers would make one that knows no word
        require_neural(f"the tokenizer of {folder}")
        import transformers

        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True
            ).backend_tokenizer
        except (OSError, ValueError, AttributeError) as error:
            raise ConfigurationError(f"{folder} holds no tokenizer: {reason(error)}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def save_checkpoint(
    folder: Path, body: Module, heads: Mapping[str, Tensor], tokenizer: Tokenizer
) -> None:
    """Write a folder that :func:`load_checkpoint` reads: config, weights, tokenizer.json.

    The body's weights go under its own prefix ("bert."), as transformers names them in a model
    with a head.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    model: Any = body
    model.config.save_pretrained(folder)
    weights = {f"{model.base_model_prefix}.{n}": w for n, w in model.state_dict().items()}
    plain = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
    plain |= {name: weight.detach().cpu().contiguous() for name, weight in heads.items()}
    save_file(plain, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save(str(folder / "tokenizer.json"))


def _read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder, float32, under their names in the files."""
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    files = weight_files(folder)
    if not files:
        raise ConfigurationError(
            f"{folder} has neither model.safetensors nor pytorch_model.bin: give a model's folder"
        )
    weights: dict[str, Any] = {}
    try:
        for file in files:
            if file.suffix == ".safetensors":
                weights |= load_file(file)
            else:
                weights |= torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, pickle.UnpicklingError) as error:
        raise ConfigurationError(
            f"the weights of {folder} cannot be read: {reason(error)}"
        ) from error
    # Names of layer normalisation before transformers 1.0 of 2019.
    renamed = {
        name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
            "LayerNorm.beta", "LayerNorm.bias"
        ): weight
        for name, weight in weights.items()
    }
    return {name: w.float() if w.is_floating_point() else w for name, w in renamed.items()}
