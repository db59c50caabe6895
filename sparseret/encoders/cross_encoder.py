"""Cross-encoder: a transformer that reads query and document as one text and rates the pair."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparseret.encoders.checkpoints import on_device, reason, require_neural
from sparseret.encoders.model_folder import find_folder, read_json, read_license
from sparseret.encoders.options import whole_number
from sparseret.encoders.text_batches import longest_input, resolve_length
from sparseret.encoders.transformer_body import quiet_transformers
from sparseret.errors import ConfigurationError
from sparseret.protocols import Candidates

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CrossEncoder"]

_ACTIVATIONS = ("Identity", "Sigmoid", "Tanh")
"""Classes of torch.nn that a folder may ask for."""


class CrossEncoder:
    """A sequence classifier with one label, as sentence-transformers' CrossEncoder keeps it.

    Satisfies :class:`sparseret.protocols.Reranker`. The score of a document, its title and text
    read as one, is the activation of the model's output for the pair; where the folder names no
    activation, it is the sigmoid. Pairs that are too long are cut token by token at the end of the
    longer of the two.

    Weights are loaded when the object is made, so that no time budget of a search pays for it.

    Args:
        folder: of the model, in the layout of sentence-transformers or of transformers, or the id
            of such a repository of the Hugging Face Hub.
        max_length: tokens of a pair that are read, special tokens included; None for as many as
            the model takes.
        batch_size: documents that are rated before the clock is looked at again.
        batch_tokens: tokens that go through the model at a time, padding included; documents of a
            batch are sorted by length. On a processor larger batches gain nothing; on a GPU take 64
            documents and 2**14 tokens or so.
        device: of torch.

    Raises:
        ConfigurationError: no such model, or one of more labels than one; or an option out of its
            range.
        MissingExtraError: torch or transformers is not installed.

    References:
        Rodrigo Nogueira, Kyunghyun Cho. Passage Re-ranking with BERT. arXiv:1901.04085, 2019.
    """

    name = "cross-encoder"

    def __init__(
        self,
        folder: str | Path,
        *,
        max_length: int | None = None,
        batch_size: int = 2,
        batch_tokens: int = 512,
        device: str = "cpu",
    ) -> None:
        for option, value in (("batch_size", batch_size), ("batch_tokens", batch_tokens)):
            whole_number(option, value, 1)
        self._root = root = find_folder(folder)
        settings, length = _read_settings(root)
        self.max_length = resolve_length(root, length if max_length is None else max_length)
        """Tokens of a pair that are read."""
        self.batch_size = batch_size
        self.batch_tokens = batch_tokens
        self.device = device
        self.license = read_license(root)
        """Licence of the model by the folder's own word; None where it says nothing."""
        require_neural(f"running {root}")
        self._model, self._tokenizer = _load(root)
        self._activation = _activation(root, settings, self._model.config)
        self._model = on_device(self._model, device)
        self._lock = threading.Lock()

    @property
    def description(self) -> str:
        """One line for people."""
        return f"cross-encoder ({self._root.name}, {self.max_length} tokens)"

    def rescore(self, candidates: Candidates) -> Iterator[NDArray[np.float32]]:
        """Scores, ``batch_size`` documents at a time.

        Raises:
            ConfigurationError: there is no text to read as the query.
        """
        query = candidates.query
        if query is None:
            raise ConfigurationError(f"a {self.name} reads the text of a query: give one")
        for begin in range(0, len(candidates.documents), self.batch_size):
            some = candidates.documents[begin : begin + self.batch_size]
            yield self.rate(query, [document.content for document in some])

    def rate(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Scores of texts for a query, shape (len(texts),)."""
        import torch

        scores = np.empty(len(texts), np.float32)
        if not texts:
            return scores
        with self._lock:  # the tokenizer keeps its truncation in itself
            pairs = self._tokenizer(
                [query] * len(texts), list(texts), truncation=True, max_length=self.max_length
            )
        lengths = np.array([len(ids) for ids in pairs["input_ids"]])
        order = np.argsort(-lengths, kind="stable")
        begin = 0
        while begin < len(order):
            size = max(1, self.batch_tokens // int(lengths[order[begin]]))
            rows = order[begin : begin + size]
            batch = self._tokenizer.pad(
                {name: [values[row] for row in rows] for name, values in pairs.items()},
                return_tensors="pt",
            )
            with torch.inference_mode():
                logits = self._model(**batch.to(self.device)).logits
                rated: Tensor = self._activation(logits.float()).squeeze(-1)
            scores[rows] = rated.cpu().numpy()
            begin += size
        return scores


def _read_settings(root: Path) -> tuple[dict[str, Any], int]:
    """What a folder says for sentence-transformers, and how many tokens of a pair are read.

    Raises:
        ConfigurationError: modules, prompts or a task that are not known here.
    """
    if not (root / "config.json").exists():
        raise ConfigurationError(f"{root} has no config.json: it is no cross-encoder")
    said = [_read_object(root / name) if (root / name).exists() else {} for name in (
        "config_sentence_transformers.json", "sentence_bert_config.json",
    )]  # fmt: skip
    settings, transformer = said
    kinds = []
    if (root / "modules.json").exists():
        modules = read_json(root / "modules.json")
        try:
            kinds = [module["type"].rpartition(".")[2] for module in modules]
        except (AttributeError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{root / 'modules.json'} does not describe modules: {error!r}"
            ) from error
    if kinds not in ([], ["Transformer"]):
        raise ConfigurationError(
            f"{root}: cannot use the modules {', '.join(kinds)} as a cross-encoder; known is a "
            "transformer that classifies sequences. A dense model is given as dense:FOLDER"
        )
    if settings.get("default_prompt_name"):
        raise ConfigurationError(f"{root}: a cross-encoder with a prompt is not supported")
    length = transformer.get("max_seq_length")
    return settings, length if type(length) is int else longest_input(root)


def _read_object(file: Path) -> dict[str, Any]:
    read = read_json(file)
    if not isinstance(read, dict):
        raise ConfigurationError(f"{file} must hold a JSON object")
    return read


def _load(root: Path) -> tuple[Any, Any]:
    """The model, float32, and its tokenizer, by transformers.

    Raises:
        ConfigurationError: files that cannot be read, or no classifier of one label.
    """
    import pickle

    import torch
    import transformers
    from safetensors import SafetensorError

    told_before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()  # what is missing of the weights is told here
    try:
        config = transformers.AutoConfig.from_pretrained(root, local_files_only=True)
        named = (config.architectures or [""])[0]
        if config.num_labels != 1 or named.endswith("ForCausalLM"):
            raise ConfigurationError(
                f"{root}: a re-ranker is a sequence classifier of one label; this is "
                f"{named or 'a model'} of {config.num_labels}"
            )
        with quiet_transformers():
            model, told = transformers.AutoModelForSequenceClassification.from_pretrained(
                root, local_files_only=True, dtype=torch.float32, output_loading_info=True
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(root, local_files_only=True)
    except ConfigurationError:
        raise
    except (
        OSError, ValueError, KeyError, RuntimeError, SafetensorError, pickle.UnpicklingError,
    ) as error:  # fmt: skip
        raise ConfigurationError(f"{root} holds no cross-encoder: {reason(error)}") from error
    finally:
        transformers.logging.set_verbosity(told_before)
    if missing := sorted(told["missing_keys"]):  # made up at random by transformers
        raise ConfigurationError(
            f"{root}: the weights lack {missing[0]!r} and {len(missing) - 1} others of "
            f"{type(model).__name__}: it is no trained cross-encoder"
        )
    return model, tokenizer


def _activation(root: Path, settings: dict[str, Any], config: Any) -> Callable[[Tensor], Tensor]:
    """What follows the output, by the names that sentence-transformers has written so far."""
    import torch

    own = getattr(config, "sentence_transformers", None) or {}
    name = (
        settings.get("activation_fn")
        or own.get("activation_fn")
        or getattr(config, "sbert_ce_default_activation_function", None)
        or "torch.nn.modules.activation.Sigmoid"
    )
    last = str(name).rpartition(".")[2]
    if not str(name).startswith("torch.") or last not in _ACTIVATIONS:
        raise ConfigurationError(
            f"{root}: cannot use the activation {name!r}; known are those of torch.nn: "
            f"{', '.join(_ACTIVATIONS)}"
        )
    made: Callable[[Tensor], Tensor] = getattr(torch.nn, last)()
    return made
