"""Writing encoders in the folder layout of sentence-transformers, with settings of our own beside.

``encoder.json`` holds name and options of the encoder. sentence-transformers reads the rest:
``modules.json``, a folder a module, and ``router_config.json`` where sides differ.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sparseret.encoders.model_folder import DECODER_FILE, read_json, weight_files
from sparseret.encoders.row_ops import Pruning
from sparseret.encoders.splade_model import SpladeModel
from sparseret.encoders.transformer_body import BODY_FILE
from sparseret.errors import ConfigurationError
from sparseret.protocols import Encoder

__all__ = [
    "TRANSFORMER",
    "Module",
    "copy_license",
    "copy_tokenizer",
    "known_options",
    "read_options",
    "read_saved",
    "saved_name",
    "write_encoder",
    "write_json",
    "write_modules",
    "write_routes",
    "write_settings",
    "write_splade_side",
    "write_transformer",
]

TRANSFORMER = "sentence_transformers.base.modules.transformer.Transformer"
POOLING = "sentence_transformers.sparse_encoder.modules.splade_pooling.SpladePooling"
STATIC = (
    "sentence_transformers.sparse_encoder.modules.sparse_static_embedding.SparseStaticEmbedding"
)
ROUTER = "sentence_transformers.base.modules.router.Router"

_SETTINGS_FILE = "encoder.json"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                    "vocab.txt", "vocab.json", "merges.txt")  # fmt: skip
_TASK = {
    "transformer_task": "fill-mask",
    "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
    "module_output_name": "token_embeddings",
}


class Module(NamedTuple):
    """A module of sentence-transformers."""

    type: str
    """Its class."""
    path: str
    """Its folder within that of the model."""


def saved_name(given: str | Path, folder: Path) -> str:
    """How options name a model: an absolute path, or the id of a repository as it was given."""
    return str(folder) if Path(given).is_dir() else str(given)


def known_options(made: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as arguments of a class. Raises ConfigurationError for one that it does not have."""
    from inspect import signature

    known = list(signature(made).parameters)
    name = getattr(made, "name", made.__name__)
    if unknown := sorted(options.keys() - set(known)):
        raise ConfigurationError(f"{name} has no option {unknown[0]!r}; it has {', '.join(known)}")
    if "folder" not in options:
        raise ConfigurationError(
            f"{name} needs the option folder: a model's folder, or the id of a Hugging Face "
            "repository"
        )
    return dict(options)


def write_json(file: Path, content: object) -> None:
    """Write JSON values, folders included."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def copy_tokenizer(source: Path, out: Path) -> None:
    """Copy what makes up a tokenizer."""
    _copy(source, out, _TOKENIZER_FILES)


def write_splade_side(out: Path, model: SpladeModel, prefix: str | None) -> list[Module]:
    """Write a model with its pooling; returns the modules.

    Args:
        out: folder of the whole.
        model: what to write.
        prefix: of the folders' names; None puts the model into ``out`` itself.
    """
    transformer = "" if prefix is None else f"{prefix}_0_Transformer"
    pooling = "1_SpladePooling" if prefix is None else f"{prefix}_1_SpladePooling"
    reading = model.reading
    config = {**_TASK, "max_seq_length": reading.max_length}
    write_transformer(out / transformer, model.folder, config)
    write_json(
        out / pooling / "config.json",
        {
            "pooling_strategy": reading.pooling,
            "activation_function": reading.activation,
            "embedding_dimension": model.dim,
        },
    )
    return [Module(TRANSFORMER, transformer), Module(POOLING, pooling)]


def write_routes(out: Path, routes: Mapping[str, Sequence[Module]]) -> list[Module]:
    """Write the description of a Router; returns it as the only module."""
    write_json(
        out / "router_config.json",
        {
            "types": {
                module.path: module.type for modules in routes.values() for module in modules
            },
            "structure": {
                route: [module.path for module in modules] for route, modules in routes.items()
            },
            "parameters": {
                "default_route": "document",
                "allow_empty_key": True,
                "route_mappings": {},
            },
        },
    )
    return [Module(ROUTER, "")]


def write_encoder(
    out: Path,
    encoder: Encoder,
    modules: Sequence[Module],
    prompts: tuple[str, str],
    prunings: tuple[Pruning, Pruning],
) -> None:
    """Write what names the modules, and our own settings.

    Args:
        out: folder of the whole.
        encoder: what is saved.
        modules: of sentence-transformers, in order.
        prompts: of documents and of queries.
        prunings: of documents and of queries.
    """
    same = prunings[0].top_k == prunings[1].top_k
    write_modules(out, modules, prompts, max_active_dims=prunings[0].top_k if same else None)
    options = {
        name: value
        for name, value in encoder.options.items()
        if name not in ("folder", "query_model", "queries")
    }
    # Said in full, for the top_k above would else be taken for that of a side that has none.
    options["pruning"], options["query_pruning"] = (pruning.options for pruning in prunings)
    write_settings(out, encoder.name, options)


def write_modules(
    out: Path, modules: Sequence[Module], prompts: tuple[str, str], *, max_active_dims: int | None
) -> None:
    """Write what sentence-transformers reads first: modules.json and its settings."""
    write_json(
        out / "modules.json",
        [
            {"idx": place, "name": str(place), "path": module.path, "type": module.type}
            for place, module in enumerate(modules)
        ],
    )
    settings: dict[str, Any] = {
        "model_type": "SparseEncoder",
        "prompts": {"query": prompts[1], "document": prompts[0]},
        "default_prompt_name": None,
        "similarity_fn_name": "dot",
    }
    if max_active_dims is not None:
        settings["max_active_dims"] = max_active_dims
    write_json(out / "config_sentence_transformers.json", settings)


def write_settings(out: Path, name: str, options: Mapping[str, Any]) -> None:
    """Write name and options of an encoder, which :func:`read_saved` reads."""
    write_json(out / _SETTINGS_FILE, {"encoder": name, "options": options})


def write_transformer(folder: Path, source: Path, config: Mapping[str, Any]) -> None:
    """Copy a transformer's weights and tokenizer, and write its sentence_bert_config.json."""
    weights = [file.name for file in weight_files(source)]
    indexes = [f"{stem}.index.json" for stem in ("model.safetensors", "pytorch_model.bin")]
    _copy(source, folder, ("config.json", BODY_FILE, DECODER_FILE, *weights, *indexes))
    copy_tokenizer(source, folder)
    write_json(folder / "sentence_bert_config.json", config)


def read_saved(folder: Path, name: str) -> dict[str, Any]:
    """Options of an encoder that was saved in a folder, that folder among them.

    Raises:
        ConfigurationError: the folder holds no such encoder.
    """
    file = folder / _SETTINGS_FILE
    saved = read_json(file)
    if not isinstance(saved, dict) or saved.get("encoder") != name:
        raise ConfigurationError(f"{file} does not describe an encoder of the kind {name}")
    return {**saved["options"], "folder": folder}


def read_options(folder: Path) -> dict[str, Any]:
    """Options that were saved in a folder, by whatever encoder; none where there are none."""
    file = folder / _SETTINGS_FILE
    saved = read_json(file) if file.exists() else {}
    options = saved.get("options") if isinstance(saved, dict) else None
    return options if isinstance(options, dict) else {}


def copy_license(source: Path, out: Path) -> None:
    """Copy model card and licence, as weights may be passed on with them only."""
    _copy(source, out, ("README.md", *(file.name for file in source.glob("LICENSE*"))))


def _copy(source: Path, out: Path, names: Sequence[str]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    if source.resolve() == out.resolve():
        return
    for name in names:
        if (source / name).exists():
            shutil.copyfile(source / name, out / name)
