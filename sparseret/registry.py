"""Encoders by name; open to other packages through the entry point group ``sparseret.encoders``.

A registered class offers ``from_options(options)``, the inverse of ``Encoder.options``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from sparseret.errors import ConfigurationError
from sparseret.protocols import DenseEncoder, Encoder

__all__ = [
    "AUTO",
    "DENSE_ENCODERS",
    "ENCODERS",
    "ENTRY_POINTS",
    "load_any_encoder",
    "load_encoder",
    "load_saved_encoder",
]

ENTRY_POINTS = "sparseret.encoders"
AUTO = "auto"
"""In place of a name: the best encoder at hand."""

ENCODERS: Mapping[str, str] = {
    "bm25": "sparseret.encoders.bm25:BM25Encoder",
    "causal-lm": "sparseret.encoders.causal_lm:CausalSpladeEncoder",
    "codes": "sparseret.encoders.codes:CodesEncoder",
    "deepimpact": "sparseret.encoders.deepimpact:DeepImpactEncoder",
    "inference-free": "sparseret.encoders.inference_free:InferenceFreeEncoder",
    "promptreps": "sparseret.encoders.promptreps:PromptRepsEncoder",
    "sdr": "sparseret.encoders.sdr_text:SdrTextEncoder",
    "sparse-codes": "sparseret.encoders.sparse_codes:SparseCodesEncoder",
    "splade": "sparseret.encoders.splade:SpladeEncoder",
    "terms": "sparseret.encoders.terms:TermsEncoder",
    "uhd": "sparseret.encoders.uhd:UhdEncoder",
    "unicoil": "sparseret.encoders.unicoil:UniCoilEncoder",
}
"""Built-in encoders of sparse vectors: name -> "module:Class"."""

DENSE_ENCODERS: Mapping[str, str] = {
    "carried": "sparseret.encoders.carried:CarriedEncoder",
    "dense": "sparseret.encoders.dense:DenseTextEncoder",
    "promptreps-dense": "sparseret.encoders.promptreps_dense:PromptRepsDenseEncoder",
    "precomputed": "sparseret.encoders.precomputed:PrecomputedEncoder",
}
"""Built-in encoders of dense vectors, for the legs of an index."""


def load_encoder(name: str, options: Mapping[str, Any] | None = None) -> Encoder:
    """Make an encoder of sparse vectors by its registered name.

    Args:
        name: as of :func:`load_any_encoder`.
        options: of that encoder.

    Raises:
        ConfigurationError: no such encoder, one of dense vectors, one that cannot be imported, or
            an option that it does not have.
    """
    encoder = load_any_encoder(name, options)
    if isinstance(encoder, DenseEncoder):
        raise ConfigurationError(
            f"{name} makes dense vectors, and sparse ones are needed here: take another encoder"
        )
    return encoder


def load_any_encoder(name: str, options: Mapping[str, Any] | None = None) -> Encoder | DenseEncoder:
    """Make an encoder of sparse or of dense vectors by its registered name.

    Args:
        name: as it is registered; ``NAME:FOLDER`` gives it the option ``folder``, and "auto" is
            the best encoder at hand (:func:`sparseret.published_weights.choose_encoder`).
        options: of that encoder.

    Raises:
        ConfigurationError: no such encoder, one that cannot be imported, or an option that it
            does not have.
    """
    if name == AUTO:
        from sparseret.published_weights import choose_encoder

        name = choose_encoder().name
    name, colon, folder = name.partition(":")
    if colon:
        if not folder or (options and "folder" in options):
            raise ConfigurationError(
                f"{name}:{folder} must name the folder of the model, once: {name}:FOLDER"
            )
        options = {**(options or {}), "folder": folder}
    encoder: Encoder | DenseEncoder = _find(name).from_options(options or {})
    return encoder


def load_saved_encoder(folder: str | Path) -> Encoder:
    """Read what ``save`` of some encoder wrote to a folder: encoder.json names its kind.

    Raises:
        ConfigurationError: the folder holds no encoder, or one of an unknown kind.
    """
    file = Path(folder) / "encoder.json"
    try:
        name = json.loads(file.read_text("utf-8"))["encoder"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{file} does not name an encoder: {error!r}") from error
    made = _find(str(name))
    if not hasattr(made, "load"):
        raise ConfigurationError(f"the encoder {name!r} cannot be read from a folder")
    encoder: Encoder = made.load(folder)
    return encoder


def _find(name: str) -> Any:
    """The class of a registered name."""
    built_in = {**ENCODERS, **DENSE_ENCODERS}
    if name in built_in:
        module, _, attribute = built_in[name].partition(":")
        return getattr(import_module(module), attribute)
    from importlib.metadata import entry_points  # slow to import, and seldom needed

    plugins = entry_points(group=ENTRY_POINTS)
    if name not in plugins.names:
        known = ", ".join(sorted({*built_in, *plugins.names}))
        raise ConfigurationError(f"unknown encoder {name!r}; there are: {known}")
    try:
        made = plugins[name].load()
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"the encoder {name!r} is registered as {plugins[name].value}, which cannot be "
            f"imported: {error}"
        ) from error
    return made
