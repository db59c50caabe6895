"""Where a model lies and what its folder says: weights, sides, settings, licence.

Two layouts are read. A plain transformers folder: ``config.json``, ``model.safetensors`` or
``pytorch_model.bin``, ``tokenizer.json``. And a folder of sentence-transformers' SparseEncoder:
``modules.json`` names either a transformer and a SpladePooling, or a Router, which has modules of
its own for queries and for documents (``router_config.json``).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from sparseret.errors import ConfigurationError, MissingExtraError

__all__ = [
    "ModelFolder",
    "Modules",
    "Side",
    "Step",
    "digest_of_files",
    "find_folder",
    "model_digest",
    "read_json",
    "read_license",
    "read_model_folder",
    "read_modules",
    "weight_files",
]

DECODER_FILE = "model-decoder.safetensors"
"""Written by :func:`sparseret.encoders.onnx_body.export_onnx`, beside the body in ONNX."""

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_HUB_FILES = ("*.json", "*.safetensors", "*.txt", "*model-body.onnx", "*.md", "LICENSE*")
_HUB_OLD_WEIGHTS = ("*pytorch_model*.bin",)
"""Fetched where there are no others, as many repositories have both."""
_WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                 "pytorch_model.bin.index.json")  # fmt: skip
_BLOCK = 2**20


@dataclass(frozen=True)
class Side:
    """What encodes documents, or queries, according to a folder.

    Attributes:
        folder: holds the weights and the tokenizer.
        static: whether it is a table of token weights (SparseStaticEmbedding), not a transformer.
        pooling: "max" or "sum"; None where the folder does not say.
        activation: "relu" or "log1p_relu"; None where the folder does not say.
        prompt: text that is put before every text.
    """

    folder: Path
    static: bool = False
    pooling: str | None = None
    activation: str | None = None
    prompt: str = ""


@dataclass(frozen=True)
class ModelFolder:
    """A model as its folder describes it.

    Attributes:
        root: the folder itself.
        documents: what encodes documents.
        queries: what encodes queries; equal to ``documents`` where there is no Router.
        max_active_dims: most weights a vector keeps; None for all.
    """

    root: Path
    documents: Side
    queries: Side
    max_active_dims: int | None = None


class Step:
    """A module of sentence-transformers: the last part of its class, and its folder."""

    def __init__(self, root: Path, type_: str, path: str) -> None:
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts:
            raise ConfigurationError(f"{root}: the module path {path!r} points out of the folder")
        self.kind = type_.rpartition(".")[2]
        """Such as "Pooling"."""
        self.folder = root / parts
        """Its configuration, and weights where it has some."""


class Modules(NamedTuple):
    """What a folder of sentence-transformers consists of."""

    routes: dict[str, list[Step]]
    """The modules for "query" and for "document", in order."""
    document_prompt: str
    query_prompt: str
    max_active_dims: int | None


def find_folder(name: str | Path) -> Path:
    """The absolute path of a folder, or of the local snapshot of a Hugging Face Hub repository.

    A folder wins over a repository of the same name. With ``HF_HUB_OFFLINE=1`` nothing is fetched:
    the repository must be in the local cache.

    Raises:
        ConfigurationError: neither a folder nor a repository that can be had.
        MissingExtraError: a repository is named, and huggingface_hub is not installed.
    """
    folder = Path(name)
    if folder.is_dir():
        return folder.resolve()
    if not _HUB_ID.fullmatch(str(name)):
        raise ConfigurationError(
            f"{name}: no such folder; give one with config.json and tokenizer.json, or the id of a "
            "Hugging Face repository such as owner/name"
        )
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingExtraError("huggingface_hub", "neural", f"fetching {name}") from error
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    try:
        for patterns in (_HUB_FILES, _HUB_OLD_WEIGHTS):
            found = Path(
                snapshot_download(
                    str(name), allow_patterns=list(patterns), local_files_only=offline
                )
            )
            if any(found.rglob("*.safetensors")):
                break
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        why = "not in the local cache, and HF_HUB_OFFLINE is set" if offline else str(error)
        raise ConfigurationError(
            f"{name}: no such folder; as a Hugging Face repository: {why}"
        ) from error
    return found


def read_json(file: Path) -> Any:
    """Contents of a JSON file. Raises ConfigurationError, with the reason, where it has none."""
    try:
        return json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"{file}: no such file") from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from error


def read_model_folder(folder: Path) -> ModelFolder:
    """What a folder says of its model; weights are not opened.

    Raises:
        ConfigurationError: the layout is neither of the two, or names modules not known here.
    """
    if not (folder / "modules.json").exists():
        if not (folder / "config.json").exists():
            raise ConfigurationError(
                f"{folder} has neither config.json nor modules.json: it is no model folder"
            )
        return ModelFolder(folder, Side(folder), Side(folder))
    found = read_modules(folder)
    return ModelFolder(
        folder,
        _side(folder, found.routes["document"], found.document_prompt),
        _side(folder, found.routes["query"], found.query_prompt),
        found.max_active_dims,
    )


def read_modules(folder: Path) -> Modules:
    """The modules of a folder of sentence-transformers (modules.json).

    Raises:
        ConfigurationError: files are missing or do not describe modules.
    """
    file = folder / "modules.json"
    settings_file = folder / "config_sentence_transformers.json"
    settings = read_json(settings_file) if settings_file.exists() else {}
    try:
        steps = [Step(folder, module["type"], module["path"]) for module in read_json(file)]
        router = len(steps) == 1 and steps[0].kind == "Router"
        routes = _router_steps(steps[0].folder) if router else {"query": steps, "document": steps}
        prompts = settings.get("prompts") or {}
        default = prompts.get(settings.get("default_prompt_name") or "", "")
    except (AttributeError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{file} does not describe modules: {error!r}") from error
    of_documents = next(
        (prompts[name] for name in ("document", "passage", "corpus") if name in prompts), default
    )
    return Modules(
        routes,
        of_documents or "",
        prompts.get("query", default) or "",
        settings.get("max_active_dims"),
    )


def _router_steps(folder: Path) -> dict[str, list[Step]]:
    config = read_json(folder / "router_config.json")
    types, structure = config["types"], config["structure"]
    for route in ("query", "document"):
        if route not in structure:
            raise ConfigurationError(
                f"{folder}/router_config.json has no route {route!r}; it has {', '.join(structure)}"
            )
    return {
        route: [Step(folder, types[name], name) for name in structure[route]]
        for route in ("query", "document")
    }


def _side(root: Path, steps: Sequence[Step], prompt: str) -> Side:
    kinds = [step.kind for step in steps]
    if kinds == ["SparseStaticEmbedding"]:
        return Side(steps[0].folder, static=True, prompt=prompt)
    if kinds not in (["Transformer", "SpladePooling"], ["MLMTransformer", "SpladePooling"]):
        raise ConfigurationError(
            f"{root}: cannot use the modules {', '.join(kinds)}; known are a masked language model "
            "with SpladePooling, and SparseStaticEmbedding for queries"
        )
    pooling = read_json(steps[1].folder / "config.json")
    own = steps[0].folder / "sentence_bert_config.json"
    if own.exists() and read_json(own).get("do_lower_case"):
        raise ConfigurationError(f"{own}: do_lower_case is not supported; put it in the tokenizer")
    return Side(
        steps[0].folder,
        pooling=pooling.get("pooling_strategy", "max"),
        activation=pooling.get("activation_function", "relu"),
        prompt=prompt,
    )


def weight_files(folder: Path) -> list[Path]:
    """The files of the weights, shards included; empty where there are none."""
    for name in _WEIGHT_FILES:
        file = folder / name
        if file.exists():
            if not name.endswith(".index.json"):
                return [file]
            return [folder / shard for shard in sorted({*read_json(file)["weight_map"].values()})]
    return []


def model_digest(folder: Path) -> str:
    """Identity of weights and tokenizer: SHA-256 over their files, 16 hexadecimal digits.

    A folder that holds an exported model alone has the identity of the model it was made from.

    Raises:
        ConfigurationError: there are no weights.
    """
    weights = weight_files(folder)
    if weights:
        return digest_of_files([*weights, folder / "tokenizer.json"])
    if (folder / DECODER_FILE).exists():
        return exported_from(folder)
    raise ConfigurationError(
        f"{folder} holds no weights: expected {', '.join(_WEIGHT_FILES)} or an exported body"
    )


def exported_from(folder: Path) -> str:
    """The :func:`model_digest` of the model that the ONNX body in a folder was made from."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / DECODER_FILE, framework="numpy") as file:
            return str(file.metadata()["digest"])
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{folder / DECODER_FILE} was not written by export_onnx: {error}"
        ) from error


def digest_of_files(files: Iterable[Path]) -> str:
    """SHA-256 over the contents of files, 16 hexadecimal digits; absent files count as empty."""
    digest = sha256()
    for path in files:
        digest.update(len(path.name).to_bytes(2, "big") + path.name.encode())
        if path.exists():
            digest.update(path.stat().st_size.to_bytes(8, "big"))
            with path.open("rb") as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
    return digest.hexdigest()[:16]


def read_license(folder: Path) -> str | None:
    """Licence by the front matter of the model card, else the first line of a LICENSE file."""
    card = folder / "README.md"
    if card.exists():
        head = card.read_text("utf-8", errors="replace").split("---\n")
        if len(head) > 2 and not head[0].strip():
            found = re.search(r"^license:\s*[\"']?([^\s\"'#]+)", head[1], re.MULTILINE)
            if found:
                return found[1]
    for file in sorted(folder.glob("LICENSE*")):
        lines = file.read_text("utf-8", errors="replace").split("\n")
        first = next((line.strip() for line in lines if line.strip()), "")
        if first:
            return first
    return None
