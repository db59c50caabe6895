"""uniCOIL: one learned weight for each token of a text, in the context of that text.

With h_i the last hidden state of token i of a BERT, special tokens left out::

    w_i = ReLU(W h_i + b)                       W of shape (1, hidden)
    d_t = max over i with token t of w_i        in a document
    q_t = sum over i with token t of w_i        in a query

so that the product of two vectors is the sum over the query's tokens of their weight times the
weight of the same token in the document. A document has no other terms than its own; expansion
appends some.

Lin and Ma, "A Few Brief Notes on DeepImpact, COIL, and a Conceptual Framework for Information
Retrieval Techniques", 2021; sums and maxima, and the place of the expansion, as in Pyserini's
encoder (``pyserini/encode/_unicoil.py``), which keeps [SEP] as a term.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparseret.encoders.checkpoints import (
    Checkpoint,
    load_checkpoint,
    load_linear,
    on_device,
    save_checkpoint,
)
from sparseret.encoders.impact_encoder import ImpactEncoder, pool_positions
from sparseret.encoders.reading import (
    Reading,
    SpecialTokens,
    States,
    special_tokens,
    token_states,
)
from sparseret.kernels import Rows

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor
    from torch.nn import Module

__all__ = ["UniCoilEncoder", "UniCoilModel"]

_HEAD = "tok_proj"
_TO_EXPANSION = 100
"""Tokens of max_length that an expansion may take, at most a fifth."""


class UniCoilModel:
    """The transformer and its projection: what :func:`sparseret.train.loop.train_pairs` trains."""

    def __init__(self, body: Module, projection: Module, tokenizer: Tokenizer) -> None:
        import torch

        self.tokenizer = tokenizer
        self.special = special_tokens(tokenizer)
        self.module: Any = torch.nn.ModuleDict({"body": body, _HEAD: projection})
        self.max_length = 256

    @classmethod
    def start(cls, folder: str | Path, *, seed: int = 0) -> UniCoilModel:
        """A model to train: the body of any transformers folder under a random projection."""
        checkpoint = load_checkpoint(Path(folder))
        import torch

        width: int = checkpoint.body.get_input_embeddings().embedding_dim
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            projection = torch.nn.Linear(width, 1)
        return cls(checkpoint.body, projection, checkpoint.tokenizer)

    @classmethod
    def load(cls, folder: str | Path) -> UniCoilModel:
        """Read a checkpoint with weights ``tok_proj``, such as castorini/unicoil-msmarco-passage.

        Raises:
            ConfigurationError: the folder holds no such checkpoint.
        """
        folder = Path(folder)
        checkpoint: Checkpoint = load_checkpoint(folder)
        remedy = "it is no uniCOIL model; UniCoilModel.start(folder) makes one to train"
        projection = load_linear(checkpoint.heads, _HEAD, folder, remedy)
        return cls(checkpoint.body, projection, checkpoint.tokenizer)

    def save(self, folder: str | Path) -> None:
        """Write a folder that :meth:`load` and :class:`UniCoilEncoder` read."""
        head = {f"{_HEAD}.{n}": w for n, w in self.module[_HEAD].state_dict().items()}
        save_checkpoint(Path(folder), self.module["body"], head, self.tokenizer)

    def weights(self, readings: Sequence[Reading]) -> tuple[States, Tensor]:
        """Where the tokens of a batch stand, and ``ReLU(W h + b)`` of each, (n_positions,)."""
        states = token_states(self.module["body"], readings)
        return states, self.module[_HEAD](states.values).squeeze(1).relu()

    def represent(self, queries: Sequence[str], documents: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Vectors over the vocabulary, differentiable (:class:`sparseret.train.loop.Trainable`)."""
        made = []
        for texts, how in ((queries, "sum"), (documents, "amax")):
            encodings = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
            readings = [read_tokens(e.ids, [], self.special, self.max_length) for e in encodings]
            states, weights = self.weights(readings)
            size = self.tokenizer.get_vocab_size()
            flat = weights.new_zeros(states.n * size)
            at = states.rows * size + states.columns
            made.append(flat.scatter_reduce(0, at, weights, how).view(states.n, size))
        return made[0], made[1]


class UniCoilEncoder(ImpactEncoder):
    """uniCOIL over a checkpoint's own tokens.

    Its options are those of :class:`sparseret.encoders.impact_encoder.ImpactEncoder`; ``folder`` is
    a transformers folder whose weights hold ``tok_proj`` beside the body. Tokens that an expansion
    shares with the text are not repeated: what is new stands once, behind the text or behind each
    of its windows.
    """

    name = "unicoil"

    @cached_property
    def model(self) -> UniCoilModel:
        """The checkpoint, read when it is first needed."""
        model = UniCoilModel.load(self.folder)
        on_device(model.module, self.device)
        return model

    @property
    def dim(self) -> int:
        """Size of the tokenizer's vocabulary."""
        return int(self.tokenizer.get_vocab_size())

    def term(self, column: int) -> str:
        """The token, with "##" where it continues a word. Raises KeyError where there is none."""
        token: str | None = self.tokenizer.id_to_token(column) if column >= 0 else None
        if token is None:
            raise KeyError(column)
        return token

    def read(self, texts: Sequence[str], *, query: bool) -> list[list[Reading]]:
        """Token by token; the expansion of a document behind it."""
        appended = [""] * len(texts) if query else self.expander(texts)
        encoded = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        more = self.tokenizer.encode_batch(appended, add_special_tokens=False)
        return [self._read(own.ids, added.ids) for own, added in zip(encoded, more, strict=True)]

    def _read(self, ids: Sequence[int], expansion: Sequence[int]) -> list[Reading]:
        special = self.special_tokens
        new = new_tokens(ids, expansion, self.max_length)
        parts = self.parts(len(ids), _taken(new, special))
        return [read_tokens(ids[part], new, special, self.max_length) for part in parts]

    def rows_of(self, readings: Sequence[Reading], *, query: bool) -> Rows:
        """One weight for each distinct token."""
        states, weights = self.model.weights(readings)
        return pool_positions(states, weights, "sum" if query else "max")


def new_tokens(ids: Sequence[int], expansion: Sequence[int], max_length: int) -> list[int]:
    """Tokens of an expansion that a text lacks, each once, as many as find room."""
    known = set(ids)
    new = [token for token in dict.fromkeys(expansion) if token not in known]
    return new[: min(_TO_EXPANSION, max_length // 5)]


def read_tokens(
    ids: Sequence[int], new: Sequence[int], special: SpecialTokens, max_length: int
) -> Reading:
    """``[CLS] text [SEP]``, and with new tokens ``[CLS] text [SEP] what is new [SEP]``."""
    text = list(ids[: max_length - _taken(new, special)])
    whole = [*special.before, *text, *special.after]
    positions = list(range(len(special.before), len(special.before) + len(text)))
    if new:
        positions += range(len(whole), len(whole) + len(new))
        whole += [*new, *special.after]
    return Reading(whole, positions, [*text, *new], truncated=len(text) < len(ids))


def _taken(new: Sequence[int], special: SpecialTokens) -> int:
    """Tokens beside the text's own."""
    around = len(special.before) + len(special.after)
    return around + len(new) + len(special.after) if new else around
