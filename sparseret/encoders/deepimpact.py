"""DeepImpact: one learned impact for each word of a document; queries are bags of words.

With h_i the last hidden state of the first subword of a word's first occurrence::

    d_t = ReLU(W2 ReLU(W1 h_i + b1) + b2)       for each word t of the text and its expansion
    q_t = 1                                     for each word of the query

Mallia, Khattab, Suel and Tonellotto, "Learning Passage Impacts for Inverted Indexes", SIGIR 2021.
Words are whole, not subwords, so the vocabulary has no end: columns are those of the index's
vocabulary, which gives each word the next one when it first sees it and keeps it for good, as for
BM25 (:class:`sparseret.protocols.CollectionEncoder`). Nothing is hashed, no word is lost, and a
query needs neither torch nor the model's weights. The price: such an index is searched exactly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparseret import vectors
from sparseret.documents import Document
from sparseret.encoders.checkpoints import load_checkpoint, load_linear, on_device, save_checkpoint
from sparseret.encoders.impact_encoder import Expansion, ImpactEncoder, pool_positions
from sparseret.encoders.reading import Reading, States, special_tokens, token_states
from sparseret.encoders.splade_model import Long
from sparseret.encoders.vocabulary import MemoryVocabulary
from sparseret.encoders.words import WordReader, WordsOfText
from sparseret.kernels import Rows
from sparseret.progress import progress_bar
from sparseret.protocols import Statistics, Vocabulary

if TYPE_CHECKING:
    from scipy.sparse import csr_array
    from tokenizers import Tokenizer
    from torch import Tensor
    from torch.nn import Module
    from typing_extensions import Self

__all__ = ["DeepImpactEncoder", "DeepImpactModel"]

_HEAD = "impact_score_encoder"


class DeepImpactModel:
    """The transformer and its impact scorer: what :func:`sparseret.train.loop.train_pairs` trains.

    Args:
        body: the transformer.
        scorer: hidden states -> impacts, with ReLU as its last layer.
        tokenizer: of the body.
        stop_words: language whose stop words do not count in training; None for none.
    """

    def __init__(
        self,
        body: Module,
        scorer: Module,
        tokenizer: Tokenizer,
        *,
        stop_words: str | None = "english",
    ) -> None:
        import torch

        self.tokenizer = tokenizer
        self.words = WordReader(tokenizer, stop_words)
        self.special = special_tokens(tokenizer)
        self.module: Any = torch.nn.ModuleDict({"body": body, _HEAD: scorer})
        self.max_length = 256

    @classmethod
    def start(
        cls,
        folder: str | Path,
        *,
        seed: int = 0,
        dropout: float = 0.1,
        stop_words: str | None = "english",
    ) -> DeepImpactModel:
        """A model to train: the body of any transformers folder under a random scorer."""
        checkpoint = load_checkpoint(Path(folder))
        import torch

        width: int = checkpoint.body.get_input_embeddings().embedding_dim
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers = torch.nn.Linear(width, width), torch.nn.Linear(width, 1)
        scorer = _scorer(layers, dropout)
        return cls(checkpoint.body, scorer, checkpoint.tokenizer, stop_words=stop_words)

    @classmethod
    def load(cls, folder: str | Path, *, stop_words: str | None = "english") -> DeepImpactModel:
        """Read a checkpoint with weights ``impact_score_encoder``, of one linear layer or two.

        Raises:
            ConfigurationError: the folder holds no such checkpoint.
        """
        folder = Path(folder)
        checkpoint = load_checkpoint(folder)
        remedy = "it is no DeepImpact model; DeepImpactModel.start(folder) makes one to train"
        layers = [load_linear(checkpoint.heads, f"{_HEAD}.0", folder, remedy)]
        if any(f".{name}".endswith(f".{_HEAD}.3.weight") for name in checkpoint.heads):
            layers.append(load_linear(checkpoint.heads, f"{_HEAD}.3", folder, remedy))
        scorer = _scorer(layers, dropout=0.1).eval()
        return cls(checkpoint.body, scorer, checkpoint.tokenizer, stop_words=stop_words)

    def save(self, folder: str | Path) -> None:
        """Write a folder that :meth:`load` and :class:`DeepImpactEncoder` read."""
        head = {f"{_HEAD}.{n}": w for n, w in self.module[_HEAD].state_dict().items()}
        save_checkpoint(Path(folder), self.module["body"], head, self.tokenizer)

    def impacts(self, readings: Sequence[Reading]) -> tuple[States, Tensor]:
        """Where the words of a batch begin, and the impact of each, shape (n_positions,)."""
        states = token_states(self.module["body"], readings)
        return states, self.module[_HEAD](states.values).squeeze(1)

    def represent(self, queries: Sequence[str], documents: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Vectors over the words of this batch (:class:`sparseret.train.loop.Trainable`)."""
        import torch

        asked = self.words(queries)
        written = self.words(documents)
        vocabulary = MemoryVocabulary()
        for text in asked:
            vocabulary.columns(text.words, add=True)
        readings = [self.reading(text, vocabulary) for text in written]
        states, impacts = self.impacts(readings)
        found = impacts.new_zeros(len(documents), len(vocabulary))
        found = found.index_put((states.rows, states.columns), impacts)
        wanted = torch.zeros(len(queries), len(vocabulary), device=found.device)
        for row, text in enumerate(asked):
            wanted[row, torch.from_numpy(vocabulary.columns(text.words)).long()] = 1.0
        return wanted, found

    def reading(
        self, text: WordsOfText, vocabulary: Vocabulary, max_length: int | None = None
    ) -> Reading:
        """What the body reads; words that begin beyond ``max_length`` have no impact.

        Words that the vocabulary lacks get columns.
        """
        before, after = self.special
        room = (max_length or self.max_length) - len(before) - len(after)
        part = text.part(slice(0, room))
        return Reading(
            [*before, *part.ids, *after],
            [start + len(before) for start in part.starts],
            vocabulary.columns(part.words, add=True).tolist(),
            truncated=len(text.ids) > room,
        )


class DeepImpactEncoder(ImpactEncoder):
    """DeepImpact over whole words.

    Alone it keeps its own vocabulary, which grows with the documents it encodes; in an index that
    of the index (:meth:`bind`).

    Args:
        folder: a transformers folder whose weights hold ``impact_score_encoder`` beside the body.
        stop_words: language whose stop words count neither in queries nor in documents, None for
            none; the published model drops its own list from queries.
        impacts, impact_range, expand, expansion, max_length, long, fields, batch_tokens, device: as
            of :class:`sparseret.encoders.impact_encoder.ImpactEncoder`.

    Raises:
        ConfigurationError: an option out of its range.
    """

    name = "deepimpact"

    def __init__(
        self,
        folder: str | Path,
        *,
        stop_words: str | None = "english",
        impacts: int | None = None,
        impact_range: float = 5.0,
        expand: Expansion | None = None,
        expansion: str | None = None,
        max_length: int | None = None,
        long: Long = "truncate",
        fields: Mapping[str, float] | None = None,
        batch_tokens: int = 4096,
        device: str = "cpu",
    ) -> None:
        super().__init__(
            folder,
            impacts=impacts,
            impact_range=impact_range,
            expand=expand,
            expansion=expansion,
            max_length=max_length,
            long=long,
            fields=fields,
            batch_tokens=batch_tokens,
            device=device,
        )
        self.settings["stop_words"] = stop_words
        self._vocabulary: Vocabulary = MemoryVocabulary()

    @cached_property
    def words(self) -> WordReader:
        """What cuts texts into words."""
        return WordReader(self.tokenizer, self.settings["stop_words"])

    @cached_property
    def model(self) -> DeepImpactModel:
        """The checkpoint, read when it is first needed."""
        model = DeepImpactModel.load(self.folder, stop_words=self.settings["stop_words"])
        on_device(model.module, self.device)
        return model

    @property
    def dim(self) -> int | None:
        """None: the number of columns grows with the vocabulary."""
        return None

    def term(self, column: int) -> str:
        """The word of a column. Raises KeyError where there is none."""
        return self._vocabulary.term(column)

    def bind(self, vocabulary: Vocabulary, statistics: Statistics | None) -> DeepImpactEncoder:  # noqa: ARG002
        """The same encoder over another vocabulary; impacts do not depend on the statistics."""
        bound = DeepImpactEncoder.__new__(DeepImpactEncoder)
        bound.__dict__.update(self.__dict__)
        bound._vocabulary = vocabulary
        return bound

    def weigh(
        self,
        values: NDArray[np.float32],
        lengths: NDArray[np.float32],  # noqa: ARG002
        mean_length: float,  # noqa: ARG002
    ) -> NDArray[np.float32]:
        """The values: impacts are stored as they are."""
        return values

    def count_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> csr_array:
        """What an index stores: the impacts, as :meth:`encode_documents` gives them."""
        return self.encode_documents(documents, show_progress=show_progress)

    def encode_queries(self, queries: Sequence[str], *, show_progress: bool = False) -> csr_array:
        """1 for each distinct word that the vocabulary knows, shape (len(queries), vocabulary)."""
        found = [np.empty(0, np.int32)]
        with progress_bar("Encoding queries", len(queries), show=show_progress) as advance:
            for text in self.words(queries):
                columns = self._vocabulary.columns(text.words)
                found.append(np.unique(columns[columns >= 0]))
                advance(1)
        indptr = np.cumsum([len(columns) for columns in found], dtype=np.int64)
        return vectors.from_arrays(
            indptr, np.concatenate(found), np.ones(indptr[-1], np.float32), self._width()
        )

    def read(self, texts: Sequence[str], *, query: bool) -> list[list[Reading]]:  # noqa: ARG002
        """The text and, behind it, its expansion; new words get columns."""
        both = zip(texts, self.expander(texts), strict=True)
        joined = [f"{own} {more}" if more else own for own, more in both]
        return [self._read(text) for text in self.words(joined)]

    def _read(self, text: WordsOfText) -> list[Reading]:
        special = self.special_tokens
        parts = self.parts(len(text.ids), len(special.before) + len(special.after))
        return [
            self.model.reading(text.part(part), self._vocabulary, self.max_length) for part in parts
        ]

    def rows_of(self, readings: Sequence[Reading], *, query: bool) -> Rows:  # noqa: ARG002
        """One impact for each distinct word."""
        return pool_positions(*self.model.impacts(readings), "max")

    def _width(self) -> int:
        return len(self._vocabulary)

    def save(self, path: str | Path) -> None:
        """Copy the model's files to a folder, with options and own vocabulary in encoder.json."""
        super().save(path)
        if isinstance(self._vocabulary, MemoryVocabulary):
            file = Path(path) / "encoder.json"
            config = json.loads(file.read_text("utf-8"))
            config["vocabulary"] = self._vocabulary.terms
            file.write_text(json.dumps(config, ensure_ascii=False), "utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            ConfigurationError: the folder holds no DeepImpact encoder.
        """
        encoder = super().load(path)
        config = json.loads((Path(path) / "encoder.json").read_text("utf-8"))
        encoder._vocabulary = MemoryVocabulary(config.get("vocabulary", []))
        return encoder


def _scorer(layers: Sequence[Module], dropout: float) -> Module:
    """The published layouts: two layers numbered 0 and 3, or one numbered 0."""
    from torch.nn import Dropout, ReLU, Sequential

    if len(layers) == 1:
        return Sequential(layers[0], ReLU())
    return Sequential(layers[0], ReLU(), Dropout(dropout), layers[1], ReLU())
