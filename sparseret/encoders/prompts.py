"""Prompts that ask a language model for one word, as plain text or as a chat."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from sparseret.encoders.checkpoints import load_tokenizer, require_neural
from sparseret.encoders.reading import Reading, special_tokens
from sparseret.errors import ConfigurationError

__all__ = ["ANSWER", "PASSAGE", "QUERY", "SYSTEM", "Prompter"]

SYSTEM = "You are an AI assistant that can understand human language."
PASSAGE = (
    'Passage: "{text}". Use one word to represent the passage in a retrieval task. '
    "Make sure your word is in lowercase."
)
QUERY = (
    'Query: "{text}". Use one word to represent the query in a retrieval task. '
    "Make sure your word is in lowercase."
)
ANSWER = 'The word is "'
"""What the model is made to have said already; its next token begins the word."""

_MARK = "\u2063text\u2063"  # invisible separators: no template changes them


class Prompter:
    """Puts texts in prompts and tokenizes them.

    Args:
        folder: of the model.
        chat: whether to use the tokenizer's chat template; None where it has one.
        max_length: tokens of the text that are kept.
        passage: prompt for documents.
        query: prompt for queries.

    Attributes:
        chat: whether the template is used.

    Raises:
        ConfigurationError: a prompt without "{text}", or ``chat`` where there is no template.
    """

    def __init__(
        self, folder: Path, *, chat: bool | None, max_length: int, passage: str, query: str
    ) -> None:
        for prompt in (passage, query):
            if prompt.count("{text}") != 1:
                raise ConfigurationError(f"a prompt must hold {{text}} once, got {prompt!r}")
        self.tokenizer = load_tokenizer(folder)
        self.max_length = max_length
        self._folder = folder
        template = self._chat_tokenizer.chat_template
        if chat and template is None:
            raise ConfigurationError(f"the tokenizer of {folder} has no chat template: chat=False")
        self.chat = template is not None if chat is None else chat
        self._around = {True: self._frame(query), False: self._frame(passage)}

    def __call__(
        self, texts: Sequence[str], own_tokens: Sequence[list[int]], *, query: bool
    ) -> list[Reading]:
        """Readings whose last token counts and whose columns are ``own_tokens``.

        Empty texts have readings without tokens.
        """
        before, after = self._around[query]
        spoken = [row for row, text in enumerate(texts) if text.strip()]
        encodings = self.tokenizer.encode_batch(
            [texts[row] for row in spoken], add_special_tokens=False
        )
        readings = [Reading([], [], [])] * len(texts)
        prompts, cut = [], []
        for row, encoding in zip(spoken, encodings, strict=True):
            text = texts[row]
            cut.append(len(encoding.ids) > self.max_length)
            if cut[-1]:
                text = text[: encoding.offsets[self.max_length - 1][1]]
            prompts.append(before + text + after)
        whole = self.tokenizer.encode_batch(prompts, add_special_tokens=False)
        first = [] if self.chat else special_tokens(self.tokenizer).before
        for row, encoding, truncated in zip(spoken, whole, cut, strict=True):
            ids = [*first, *encoding.ids]
            readings[row] = Reading(ids, [len(ids) - 1], own_tokens[row], truncated=truncated)
        return readings

    def _frame(self, prompt: str) -> tuple[str, str]:
        """What stands before and after a text."""
        asked = prompt.replace("{text}", _MARK)
        whole = self._template(asked) if self.chat else f"{asked} {ANSWER}"
        before, _, after = whole.partition(_MARK)
        return before, after

    def _template(self, asked: str) -> str:
        from jinja2 import TemplateError

        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": ANSWER}]
        system = [{"role": "system", "content": SYSTEM}]
        try:
            return self._apply(system + turns)
        except TemplateError:  # some models know no system
            return self._apply(turns)

    def _apply(self, turns: list[dict[str, str]]) -> str:
        made: str = self._chat_tokenizer.apply_chat_template(
            turns, tokenize=False, continue_final_message=True
        )
        return made

    @cached_property
    def _chat_tokenizer(self) -> Any:
        require_neural("chat templates")
        import transformers

        return transformers.AutoTokenizer.from_pretrained(self._folder, local_files_only=True)
