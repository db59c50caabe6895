"""PromptReps: a language model is asked for one word that stands for the text.

The prompt ends just where the word would begin, as in ``... The word is "``. Of the model's last
token, with L its logits and h its last hidden state::

    sparse   w_j = log(1 + ReLU(L_j))   for tokens j of the text's own words, the rest 0
    dense    h / ||h||

Stop words and punctuation are no words of the text; of the rest the 128 tokens of largest weight
are kept. A text of stop words alone keeps the 10 largest weights of the whole vocabulary. Nothing
is trained.

Zhuang, Ma, Koopman, Lin and Zuccon, "PromptReps: Prompting Large Language Models to Generate Dense
and Sparse Representations for Zero-Shot Document Retrieval", EMNLP 2024; details as in its code
(github.com/ielab/PromptReps). The hybrid of the paper adds both scores, each normalised to [0, 1]
over the results of a query, with weights of a half.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret import vectors
from sparseret.analysis import Analyzer
from sparseret.documents import Document
from sparseret.encoders.causal_model import CausalModel, load_causal_model
from sparseret.encoders.fields import describe_fields, encode_fields
from sparseret.encoders.neural import NeuralEncoder, token_text
from sparseret.encoders.prompts import PASSAGE, QUERY, Prompter
from sparseret.encoders.reading import Reading, token_states
from sparseret.encoders.row_ops import Pruning, prune_rows, stack_rows, with_values
from sparseret.encoders.splade_model import Long
from sparseret.kernels import Rows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["PromptRepsEncoder", "Representations"]

_MOST = 128
_WITHOUT_WORDS = 10
_FACTOR = 100


class Representations(NamedTuple):
    """Both parts of a batch of texts, from one run of the model."""

    sparse: csr_array
    """Shape (n, vocabulary)."""
    dense: NDArray[np.float32]
    """Rows of length 1, or 0 for empty texts, shape (n, hidden)."""


class PromptRepsEncoder(NeuralEncoder):
    """Sparse vectors and dense ones by prompting any transformers causal language model.

    Args:
        folder: a transformers folder of a causal language model.
        chat: whether the prompt goes through the tokenizer's chat template; None where it has one.
        passage_prompt: what is asked for a document, with "{text}" where it goes.
        query_prompt: what is asked for a query, with "{text}" where it goes.
        language: whose stop words are left out (:class:`sparseret.analysis.Analyzer`).
        integers: whether weights are rounded to whole hundredths and multiplied by 100, as the
            paper does for an engine that stores term frequencies.
        max_length: tokens of the text that are put in the prompt; None takes 512, or what the model
            takes where that is less.
        long: "truncate" cuts longer texts, "windows" puts each window of ``max_length`` tokens in a
            prompt of its own and takes the largest weight over them.
        fields: weights of fields, each put in a prompt of its own, as of
            :class:`sparseret.encoders.neural.NeuralEncoder`.
        dtype: of the model's arithmetic: "float32", "bfloat16" or "float16".
        batch_tokens: tokens in a batch, prompt and padding included.
        device: where torch computes.

    The dense vector of a text in windows is the mean of theirs, that of a document in fields the
    mean of theirs by their weights; both are scaled to length 1 again.

    Raises:
        ConfigurationError: an option out of its range, or ``chat`` without a template.
    """

    name = "promptreps"
    default_length = 512

    def __init__(
        self,
        folder: str | Path,
        *,
        chat: bool | None = None,
        passage_prompt: str = PASSAGE,
        query_prompt: str = QUERY,
        language: str = "english",
        integers: bool = False,
        max_length: int | None = None,
        long: Long = "truncate",
        fields: Mapping[str, float] | None = None,
        dtype: str = "float32",
        batch_tokens: int = 4096,
        device: str = "cpu",
    ) -> None:
        settings = {
            "chat": chat,
            "passage_prompt": passage_prompt,
            "query_prompt": query_prompt,
            "language": language,
            "integers": bool(integers),
            "dtype": dtype,
        }
        super().__init__(
            folder,
            settings,
            max_length=max_length,
            long=long,
            fields=fields,
            batch_tokens=batch_tokens,
            device=device,
        )
        self.integers = bool(integers)
        self.dtype = dtype
        self.remembers = False
        """Whether the last texts are kept with both of their vectors: another encoder will ask for
        the other half (:class:`~sparseret.encoders.promptreps_dense.PromptRepsDenseEncoder`)."""
        self._last: tuple[list[Any], Representations] | None = None
        self._running = threading.Lock()
        self._words = Analyzer(language, stem=False)
        self._ids_of_word: dict[str, list[int]] = {}

    def _files(self) -> list[Path]:
        template = ("tokenizer_config.json", "chat_template.jinja")
        return [*super()._files(), *(self.folder / name for name in template)]

    @cached_property
    def prompter(self) -> Prompter:
        """What puts texts in prompts."""
        return Prompter(
            self.folder,
            chat=self.settings["chat"],
            passage=self.settings["passage_prompt"],
            query=self.settings["query_prompt"],
        )

    @cached_property
    def model(self) -> CausalModel:
        """The language model, read when it is first needed."""
        return load_causal_model(self.folder, dtype=self.dtype, device=self.device)

    @property
    def description(self) -> str:
        """One line for people."""
        parts = [self.folder.name, f"max_length={self.max_length}"]
        if self.prompter.chat:
            parts.append("chat")
        if self.long == "windows":
            parts.append("in windows")
        return f"{self.name} ({', '.join(parts + describe_fields(self.fields))})"

    @property
    def dim(self) -> int:
        """Size of the model's vocabulary, which may be padded beyond the tokenizer's."""
        return self.model.vocabulary_size

    def term(self, column: int) -> str:
        """The token in letters. Raises KeyError where there is none."""
        return token_text(self.tokenizer, column)

    def encode_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> csr_array:
        """Document vectors, float32, shape (len(documents), dim); errors as of the base."""
        if self.remembers:
            return self.represent_documents(documents, show_progress=show_progress).sparse
        return super().encode_documents(documents, show_progress=show_progress)

    def encode_queries(self, queries: Sequence[str], *, show_progress: bool = False) -> csr_array:
        """Query vectors, float32, shape (len(queries), dim); errors as of documents."""
        if self.remembers:
            return self.represent_queries(queries, show_progress=show_progress).sparse
        return super().encode_queries(queries, show_progress=show_progress)

    # --- dense vectors ----------------------------------------------------------------------

    def encode_dense_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """Last hidden states, rows of length 1, shape (len(documents), hidden)."""
        return self.represent_documents(documents, show_progress=show_progress).dense

    def encode_dense_queries(
        self, queries: Sequence[str], *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """Last hidden states, rows of length 1, shape (len(queries), hidden)."""
        return self.represent_queries(queries, show_progress=show_progress).dense

    def represent_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> Representations:
        """Sparse and dense vectors of documents, the model run once."""
        key = [(d, "") if isinstance(d, str) else (d.text, d.title) for d in documents]
        return self._once(key, lambda: self._documents(documents, show_progress))

    def _documents(
        self, documents: Sequence[Document | str], show_progress: bool
    ) -> Representations:
        made: list[NDArray[np.float32]] = []

        def encode(texts: list[str]) -> Rows:
            rows, dense = self._both(texts, query=False, show_progress=show_progress)
            made.append(dense)
            return rows

        rows = self.finish(encode_fields(documents, self.fields, encode, "max"))
        (dense,) = made
        if self.fields:
            weights = np.array([*self.fields.values()], np.float32)
            of_fields = dense.reshape(len(documents), len(weights), dense.shape[1])
            dense = _unit(np.einsum("dfh,f->dh", of_fields, weights))
        return Representations(vectors.from_arrays(*rows, self.dim), dense)

    def represent_queries(
        self, queries: Sequence[str], *, show_progress: bool = False
    ) -> Representations:
        """Sparse and dense vectors of queries, the model run once."""

        def run() -> Representations:
            rows, dense = self._both(queries, query=True, show_progress=show_progress)
            return Representations(vectors.from_arrays(*self.finish(rows), self.dim), dense)

        return self._once([*queries], run)

    # --- details ----------------------------------------------------------------------------

    def _once(self, key: list[Any], run: Callable[[], Representations]) -> Representations:
        """What ``run`` makes, from memory where it was made last."""
        if not self.remembers:
            return run()
        with self._running:  # the legs of a query ask at the same time
            if self._last is None or self._last[0] != key:
                self._last = key, run()
            return self._last[1]

    def _both(
        self, texts: Sequence[str], *, query: bool, show_progress: bool
    ) -> tuple[Rows, NDArray[np.float32]]:
        """Both kinds of vector of texts, windows joined."""
        dense = np.zeros((len(texts), self.model.hidden_size), np.float32)

        def run(readings: Sequence[Reading], numbers: NDArray[np.int64]) -> Rows:
            rows, states = self._run(readings)
            np.add.at(dense, numbers, states)
            return rows

        rows = self._encode(texts, query=query, show_progress=show_progress, run=run)
        return rows, _unit(dense)

    def read(self, texts: Sequence[str], *, query: bool) -> list[list[Reading]]:
        """The whole prompt, of which the last token counts."""
        found = self.prompter(texts, self._parts_of, query=query)
        own = [self._own_tokens(text) for text in texts]
        return [
            [reading._replace(columns=columns) for reading in of_text]
            for of_text, columns in zip(found, own, strict=True)
        ]

    def rows_of(self, readings: Sequence[Reading], *, query: bool) -> Rows:  # noqa: ARG002
        """Weights of the text's own tokens."""
        return self._run(readings)[0]

    def finish(self, rows: Rows) -> Rows:
        """The heaviest weights, and hundredths where ``integers`` asks for them."""
        rows = prune_rows(rows, Pruning(top_k=_MOST))
        if not self.integers:
            return rows
        return with_values(rows, np.rint(rows.values * _FACTOR).astype(np.float32))

    def _run(self, readings: Sequence[Reading]) -> tuple[Rows, NDArray[np.float32]]:
        last = [Reading(r.ids, [len(r.ids) - 1], []) for r in readings]
        states = token_states(self.model.body, last).values
        weights = self.model.logits(states).relu().log1p().cpu().numpy()
        made = [self._row(w, r.columns) for w, r in zip(weights, readings, strict=True)]
        return stack_rows(made), _unit(states.float().cpu().numpy())

    def _row(self, weights: NDArray[np.float32], own: Sequence[int]) -> Rows:
        candidates = np.array(own or range(len(weights)), np.int32)
        ends = np.array([0, len(candidates)])
        positive = with_values(Rows(ends, candidates, weights[candidates]), weights[candidates])
        return positive if own else prune_rows(positive, Pruning(top_k=_WITHOUT_WORDS))

    def _parts_of(self, n: int) -> list[slice]:
        """Which of a text's tokens go in each prompt."""
        parts = self.parts(n, 0)
        return [slice(part.start, min(part.stop, self.max_length + part.start)) for part in parts]

    def _own_tokens(self, text: str) -> list[int]:
        """Distinct tokens of the words of a text, ascending; each word tokenized by itself."""
        found: set[int] = set()
        for word in set(self._words(text)):
            if word not in self._ids_of_word:
                if len(self._ids_of_word) > 1_000_000:
                    self._ids_of_word.clear()
                encoding: Any = self.tokenizer.encode(word, add_special_tokens=False)
                self._ids_of_word[word] = encoding.ids
            found.update(self._ids_of_word[word])
        return sorted(found)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length 1; those of zeros stay."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = rows / np.maximum(lengths, np.float32(1e-12))
    return scaled
