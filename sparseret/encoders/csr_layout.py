"""Dense models and autoencoders in the folder layout of sentence-transformers' SparseEncoder.

Its CSR models ("contrastive sparse representation") have the modules Transformer, Pooling,
sometimes Normalize, and SparseAutoEncoder: one matrix for encoder and decoder, ReLU, the k largest.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sparseret.encoders.dense_text import DenseText
from sparseret.encoders.model_folder import read_json
from sparseret.encoders.saved_folder import TRANSFORMER, Module, write_json, write_transformer
from sparseret.encoders.sparse_autoencoder import AutoencoderWeights, SparseAutoencoder
from sparseret.errors import ConfigurationError

__all__ = ["has_csr_layout", "read_csr_module", "write_csr_module", "write_dense"]

_POOLING = "sentence_transformers.sentence_transformer.modules.pooling.Pooling"
_NORMALIZE = "sentence_transformers.base.modules.normalize.Normalize"
_AUTOENCODER = "sentence_transformers.sparse_encoder.modules.sparse_auto_encoder.SparseAutoEncoder"
_TASK = {
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
}
_WEIGHTS = "model.safetensors"
_ENCODER_NAMES = ("encoder.weight", "decoder.linear.weight")
"""One matrix, of whose names a file keeps either."""


def has_csr_layout(codec: object) -> bool:
    """Whether sentence-transformers' SparseAutoEncoder can hold a codec."""
    return (
        isinstance(codec, SparseAutoencoder)
        and codec.activation == "relu"
        and codec.weights.decoder is None
        and codec.weights.thresholds is None
        and not codec.refit
    )


def read_csr_module(folder: Path, max_active_dims: int | None) -> SparseAutoencoder:
    """The codec of a SparseAutoEncoder's folder.

    Args:
        folder: holds config.json and model.safetensors.
        max_active_dims: latents that a code keeps; None for the ``k`` of the folder.

    Raises:
        ConfigurationError: files are missing, unreadable, or do not fit each other.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    config = read_json(folder / "config.json")
    file = folder / _WEIGHTS
    try:
        arrays = load_file(file)
        encoder = next(arrays[name] for name in _ENCODER_NAMES if name in arrays)
        weights = AutoencoderWeights(encoder, arrays["pre_bias"], arrays["latent_bias"])
        k, normalize = config["k"], config.get("normalize", False)
    except (OSError, SafetensorError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from error
    except (KeyError, StopIteration, TypeError) as error:
        raise ConfigurationError(f"{folder} holds no SparseAutoEncoder: {error!r}") from error
    return SparseAutoencoder(
        weights, k if max_active_dims is None else max_active_dims, normalize=normalize
    )


def write_csr_module(folder: Path, codec: SparseAutoencoder) -> str:
    """Write the folder of a SparseAutoEncoder; returns the class that reads it."""
    from safetensors.numpy import save_file

    weights = codec.weights
    write_json(
        folder / "config.json",
        {
            "input_dim": codec.n_features,
            "hidden_dim": codec.dim,
            "k": codec.k,
            "k_aux": min(512, codec.dim),  # of training, which has to have one
            "normalize": codec.normalize,
            "dead_threshold": 30,
        },
    )
    first, second = _ENCODER_NAMES
    save_file(
        {
            second: weights.encoder,
            "pre_bias": weights.pre_bias,
            "latent_bias": weights.latent_bias,
            "stats_last_nonzero": np.zeros(codec.dim, np.int64),
        },
        folder / _WEIGHTS,
        metadata={"format": "pt", first: second},
    )
    return _AUTOENCODER


def write_dense(out: Path, dense: DenseText) -> list[Module]:
    """Write a dense model; returns its modules."""
    write_transformer(out, dense.folder, {**_TASK, "max_seq_length": dense.max_length})
    write_json(
        out / "1_Pooling" / "config.json",
        {
            "embedding_dimension": dense.n_features,
            "pooling_mode": dense.pooling,
            "include_prompt": True,
        },
    )
    modules = [Module(TRANSFORMER, ""), Module(_POOLING, "1_Pooling")]
    if dense.normalize:
        (out / "2_Normalize").mkdir(exist_ok=True)
        modules.append(Module(_NORMALIZE, "2_Normalize"))
    return modules
