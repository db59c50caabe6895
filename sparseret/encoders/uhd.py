"""UHD: ultra-high dimensional binary codes, the winners of each token in a wide layer.

With h_i the state of token i after a chosen layer, special tokens left out::

    a_i = W h_i + b                             W of shape (n, hidden), n of some 10^5
    z_i = a_i where it is among the k largest of a_i and above 0, else 0   (winner take all)
    v   = max over i of z_i, in each dimension
    u   = 1 where v > 0, else 0

Each chosen layer has a projection of its own and a bucket of n columns of its own; buckets stand
one after another. A score is the number of dimensions that query and document share.

Jang, Kang, Hong, Myaeng, Park, Yoon and Seo, "Ultra-High Dimensional Sparse Representations with
Binarization for Efficient Text Retrieval", EMNLP 2021. Their training ("UHD-BERT") is not
repeated: here the binary code is trained by any ranking loss, through a straight-through gradient.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparseret.encoders.checkpoints import (
    load_checkpoint,
    load_linear,
    on_device,
    save_checkpoint,
)
from sparseret.encoders.model_folder import read_json
from sparseret.encoders.neural import NeuralEncoder
from sparseret.encoders.options import whole_number
from sparseret.encoders.reading import (
    Reading,
    States,
    layer_states,
    read_plain,
    special_tokens,
)
from sparseret.encoders.row_ops import join_rows, stack_rows
from sparseret.encoders.splade_model import Long
from sparseret.errors import ConfigurationError
from sparseret.kernels import Rows

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor
    from torch.nn import Module

__all__ = ["UhdEncoder", "UhdModel"]

_HEAD = "up_projection"
_FILE = "uhd.json"
_BLOCK = 64
"""Tokens whose activations are held at a time: 64 x 10^5 floats are 26 MB."""


class UhdModel:
    """The transformer and its up-projections: what :func:`sparseret.train.loop.train_pairs` trains.

    Args:
        body: the transformer.
        projections: one a layer, in order, all of the same width.
        layers: which layers; 1 is the first after the embeddings.
        winners: dimensions that a token keeps in each bucket.
        tokenizer: of the body.
    """

    def __init__(
        self,
        body: Module,
        projections: Sequence[Module],
        layers: Sequence[int],
        winners: int,
        tokenizer: Tokenizer,
    ) -> None:
        import torch

        self.tokenizer = tokenizer
        self.special = special_tokens(tokenizer)
        self.layers = tuple(layers)
        self.winners = winners
        self.max_length = 256
        named = {str(layer): p for layer, p in zip(layers, projections, strict=True)}
        self.module: Any = torch.nn.ModuleDict({"body": body, _HEAD: torch.nn.ModuleDict(named)})
        self.width: int = self.module[_HEAD][str(layers[0])].out_features

    @classmethod
    def start(
        cls,
        folder: str | Path,
        *,
        layers: Sequence[int],
        width: int = 81920,
        winners: int = 80,
        seed: int = 0,
    ) -> UhdModel:
        """A model to train: the body of any transformers folder under random projections.

        Args:
            folder: of the body.
            layers: which layers, ascending; 1 is the first after the embeddings.
            width: columns a layer.
            winners: dimensions that a token keeps in each layer's bucket.
            seed: of the projections.

        Raises:
            ConfigurationError: layers that the body lacks, or more winners than columns.
        """
        checkpoint = load_checkpoint(Path(folder))
        import torch

        hidden: int = checkpoint.body.get_input_embeddings().embedding_dim
        depth: int = checkpoint.body.config.num_hidden_layers
        layers = _check_layers(layers, depth, width, winners)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            projections = [torch.nn.Linear(hidden, width) for _ in layers]
        return cls(checkpoint.body, projections, layers, winners, checkpoint.tokenizer)

    @classmethod
    def load(cls, folder: str | Path) -> UhdModel:
        """Read what :meth:`save` wrote.

        Raises:
            ConfigurationError: the folder holds no such model.
        """
        folder = Path(folder)
        config = _config(folder)
        checkpoint = load_checkpoint(folder)
        remedy = "it is no UHD model; UhdModel.start(folder, layers=...) makes one to train"
        projections = [
            load_linear(checkpoint.heads, f"{_HEAD}.{layer}", folder, remedy)
            for layer in config["layers"]
        ]
        return cls(
            checkpoint.body, projections, config["layers"], config["winners"], checkpoint.tokenizer
        )

    def save(self, folder: str | Path) -> None:
        """Write a folder that :meth:`load` and :class:`UhdEncoder` read."""
        head = {f"{_HEAD}.{n}": w for n, w in self.module[_HEAD].state_dict().items()}
        save_checkpoint(Path(folder), self.module["body"], head, self.tokenizer)
        config = {"layers": list(self.layers), "width": self.width, "winners": self.winners}
        (Path(folder) / _FILE).write_text(json.dumps(config), "utf-8")

    def states(self, readings: Sequence[Reading]) -> list[States]:
        """States of the tokens of a batch, one for each chosen layer."""
        return layer_states(self.module["body"], readings, self.layers)

    def winning(self, states: Tensor, bucket: int) -> tuple[Tensor, Tensor]:
        """Activations and dimensions of the winners, best first, shape (n_tokens, winners)."""
        layer = str(self.layers[bucket])
        best, at = self.module[_HEAD][layer](states).topk(self.winners, dim=1)
        return best.relu(), at

    def represent(self, queries: Sequence[str], documents: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Binary vectors whose gradient is that of ``tanh`` of the pooled activations."""
        import torch

        made = []
        for texts in (queries, documents):
            encodings = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
            readings = [read_plain(e.ids, self.special, self.max_length) for e in encodings]
            buckets = []
            for bucket, states in enumerate(self.states(readings)):
                best, at = self.winning(states.values, bucket)
                flat = best.new_zeros(states.n * self.width)
                place = states.rows[:, None] * self.width + at
                pooled = flat.scatter_reduce(0, place.flatten(), best.flatten(), "amax")
                buckets.append(pooled.view(states.n, self.width))
            soft = torch.cat(buckets, dim=1).tanh()
            made.append(soft + ((soft > 0).float() - soft).detach())
        return made[0], made[1]


class UhdEncoder(NeuralEncoder):
    """Binary codes of a UHD model; every stored value is 1.

    Args:
        folder: what :meth:`UhdModel.save` wrote: a transformers folder whose weights hold
            ``up_projection`` beside the body, and uhd.json.
        max_length: special tokens included; None takes 256, or what the model takes where that is
            less.
        long, batch_tokens, device: as of :class:`sparseret.encoders.neural.NeuralEncoder`; of
            windows, a code has every dimension that wins in one of them.
        fields: which fields are read, each by itself; codes are of ones, so every weight must be 1,
            and a document has every dimension that wins in one of its fields.

    Raises:
        ConfigurationError: the folder holds no such model, or an option is out of its range.
    """

    name = "uhd"
    least_length = 3

    def __init__(
        self,
        folder: str | Path,
        *,
        max_length: int | None = None,
        long: Long = "truncate",
        fields: Mapping[str, float] | None = None,
        batch_tokens: int = 4096,
        device: str = "cpu",
    ) -> None:
        super().__init__(
            folder,
            {},
            max_length=max_length,
            long=long,
            fields=fields,
            batch_tokens=batch_tokens,
            device=device,
        )
        if any(weight != 1 for weight in self.fields.values()):
            equal = dict.fromkeys(self.fields, 1)
            raise ConfigurationError(
                f"the codes of uhd are of ones, fields can have no weights: fields={equal}"
            )
        config = _config(self.folder)
        self.layers: tuple[int, ...] = tuple(config["layers"])
        self.width: int = config["width"]

    def _files(self) -> list[Path]:
        return [*super()._files(), self.folder / _FILE]

    @cached_property
    def model(self) -> UhdModel:
        """The model, read when it is first needed."""
        model = UhdModel.load(self.folder)
        on_device(model.module, self.device)
        return model

    @property
    def dim(self) -> int:
        """Columns of all buckets."""
        return self.width * len(self.layers)

    def term(self, column: int) -> str:
        """Layer and dimension, as "layer 12 #4711". Raises KeyError where there is none."""
        if not 0 <= column < self.dim:
            raise KeyError(column)
        return f"layer {self.layers[column // self.width]} #{column % self.width}"

    def read(self, texts: Sequence[str], *, query: bool) -> list[list[Reading]]:  # noqa: ARG002
        """Token by token."""
        encoded = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [self._read(encoding.ids) for encoding in encoded]

    def _read(self, ids: Sequence[int]) -> list[Reading]:
        special = self.special_tokens
        parts = self.parts(len(ids), len(special.before) + len(special.after))
        return [read_plain(ids[part], special, self.max_length) for part in parts]

    def rows_of(self, readings: Sequence[Reading], *, query: bool) -> Rows:  # noqa: ARG002
        """The dimensions that win for any token."""
        buckets = []
        for bucket, states in enumerate(self.model.states(readings)):
            rows = states.rows.cpu().numpy()
            won = np.zeros((states.n, self.width), bool)
            for begin in range(0, len(rows), _BLOCK):
                block = slice(begin, begin + _BLOCK)
                best, at = self.model.winning(states.values[block], bucket)
                above = (best > 0).cpu().numpy()
                won[np.repeat(rows[block], above.sum(axis=1)), at.cpu().numpy()[above]] = True
            indptr = np.concatenate(([0], np.cumsum(won.sum(axis=1))))
            columns = (np.nonzero(won)[1] + bucket * self.width).astype(np.int32)
            buckets.append(Rows(indptr, columns, np.ones(len(columns), np.float32)))
        owners = np.tile(np.arange(len(readings)), len(buckets))
        return join_rows(stack_rows(buckets), owners, len(readings), "max")


def _config(folder: Path) -> Mapping[str, Any]:
    file = folder / _FILE
    config = read_json(file)
    try:
        whole = {**config, "layers": [int(layer) for layer in config["layers"]]}
        _check_layers(whole["layers"], max(whole["layers"]), whole["width"], whole["winners"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{file} must hold layers, width and winners of a UHD model: {error}"
        ) from error
    return whole


def _check_layers(layers: Sequence[int], depth: int, width: int, winners: int) -> Sequence[int]:
    ascending = bool(layers) and sorted(set(layers)) == list(layers)
    if not ascending or not 1 <= layers[0] <= layers[-1] <= depth:
        raise ConfigurationError(
            f"layers must be ascending and within 1 to {depth}, got {list(layers)}"
        )
    whole_number("winners", winners, 1)
    if whole_number("width", width, 1) < winners:
        raise ConfigurationError(f"{winners} winners do not fit a width of {width}")
    return layers
