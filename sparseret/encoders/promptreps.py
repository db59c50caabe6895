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

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.analysis import Analyzer
from sparseret.documents import Document
from sparseret.encoders.causal_model import CausalModel, load_causal_model
from sparseret.encoders.neural import NeuralEncoder, Row, token_text, whole_number
from sparseret.encoders.prompts import PASSAGE, QUERY, Prompter
from sparseret.encoders.reading import Reading, token_states
from sparseret.encoders.text_batches import text_chunks, token_batches
from sparseret.progress import progress_bar

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
        max_length: tokens of the text that are put in the prompt.
        dtype: of the model's arithmetic: "float32", "bfloat16" or "float16".
        batch_tokens: tokens in a batch, prompt and padding included.
        device: where torch computes.

    Raises:
        ConfigurationError: an option out of its range, or ``chat`` without a template.
    """

    name = "promptreps"

    def __init__(
        self,
        folder: str | Path,
        *,
        chat: bool | None = None,
        passage_prompt: str = PASSAGE,
        query_prompt: str = QUERY,
        language: str = "english",
        integers: bool = False,
        max_length: int = 512,
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
            "max_length": whole_number("max_length", max_length, 1),
            "dtype": dtype,
        }
        super().__init__(folder, settings, batch_tokens=batch_tokens, device=device)
        self.integers = bool(integers)
        self.dtype = dtype
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
            max_length=self.settings["max_length"],
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
        chat = ", chat" if self.prompter.chat else ""
        return f"{self.name} ({self.folder.name}, max_length={self.settings['max_length']}{chat})"

    @property
    def dim(self) -> int:
        """Size of the model's vocabulary, which may be padded beyond the tokenizer's."""
        return self.model.vocabulary_size

    def term(self, column: int) -> str:
        """The token in letters. Raises KeyError where there is none."""
        return token_text(self.tokenizer, column)

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
        texts = [d if isinstance(d, str) else d.content for d in documents]
        return self._represent(texts, query=False, show_progress=show_progress)

    def represent_queries(
        self, queries: Sequence[str], *, show_progress: bool = False
    ) -> Representations:
        """Sparse and dense vectors of queries, the model run once."""
        return self._represent(queries, query=True, show_progress=show_progress)

    # --- details ----------------------------------------------------------------------------

    def _represent(
        self, texts: Sequence[str], *, query: bool, show_progress: bool
    ) -> Representations:
        import torch

        rows: list[Row] = []
        dense = np.zeros((len(texts), self.model.hidden_size), np.float32)
        what = "Encoding queries" if query else "Encoding documents"
        with progress_bar(what, len(texts), show=show_progress) as advance, torch.inference_mode():
            for begin, chunk in text_chunks(texts):
                readings = self.read(chunk, query=query)
                self.truncated += sum(reading.truncated for reading in readings)
                rows += [Row(np.empty(0, np.int32), np.empty(0, np.float32))] * len(chunk)
                ids = [reading.ids for reading in readings]
                for batch in token_batches(ids, batch_tokens=self.batch_tokens):
                    places = batch.rows.tolist()
                    made, states = self._run([readings[i] for i in places])
                    dense[begin + batch.rows] = states
                    for i, row in zip(places, made, strict=True):
                        rows[begin + i] = row
                advance(len(chunk))
        return Representations(self._stack(rows), dense)

    def read(self, texts: Sequence[str], *, query: bool) -> list[Reading]:
        """The whole prompt, of which the last token counts; nothing for empty texts."""
        return self.prompter(texts, [self._own_tokens(text) for text in texts], query=query)

    def rows_of(self, readings: Sequence[Reading], *, query: bool) -> list[Row]:  # noqa: ARG002
        """Weights of the text's own tokens."""
        return self._run(readings)[0]

    def _run(self, readings: Sequence[Reading]) -> tuple[list[Row], NDArray[np.float32]]:
        last = [Reading(r.ids, [len(r.ids) - 1], []) for r in readings]
        states = token_states(self.model.body, last).values
        weights = self.model.logits(states).relu().log1p().cpu().numpy()
        dense = states.float()
        dense = dense / dense.norm(dim=1, keepdim=True).clamp_min(1e-12)
        made = [self._row(w, r.columns) for w, r in zip(weights, readings, strict=True)]
        return made, dense.cpu().numpy()

    def _row(self, weights: NDArray[np.float32], own: Sequence[int]) -> Row:
        if own:
            candidates = np.array(own, np.int32)
            most = _MOST
        else:
            candidates = np.arange(len(weights), dtype=np.int32)
            most = _WITHOUT_WORDS
        values = weights[candidates]
        best = np.argsort(-values, kind="stable")[:most]
        best = best[np.argsort(candidates[best])]
        values = values[best]
        if self.integers:
            values = np.rint(values * _FACTOR).astype(np.float32)
        kept = values > 0
        return Row(candidates[best][kept], values[kept])

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
