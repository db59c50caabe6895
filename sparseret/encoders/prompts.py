"""Prompts that ask a language model for one word, as plain text or as a chat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        passage: prompt for documents.
        query: prompt for queries.

    Attributes:
        chat: whether the template is used.

    Raises:
        ConfigurationError: a prompt without "{text}", or ``chat`` where there is no template.
    """

    def __init__(self, folder: Path, *, chat: bool | None, passage: str, query: str) -> None:
        for prompt in (passage, query):
            if prompt.count("{text}") != 1:
                raise ConfigurationError(f"a prompt must hold {{text}} once, got {prompt!r}")
        self.tokenizer = load_tokenizer(folder)
        self._folder = folder
        template = self._chat_tokenizer.chat_template
        if chat and template is None:
            raise ConfigurationError(f"the tokenizer of {folder} has no chat template: chat=False")
        self.chat = template is not None if chat is None else chat
        self._around = {True: self._frame(query), False: self._frame(passage)}

    def __call__(
        self,
        texts: Sequence[str],
        parts: Callable[[int], list[slice]],
        *,
        query: bool,
    ) -> list[list[Reading]]:
        """Readings of each text, whose last token counts.

        Args:
            texts: none of them blank.
            parts: a text's number of tokens -> which of them go in each prompt.
            query: whether to ask for a query.
        """
        before, after = self._around[query]
        prompts, owners, cut = [], [], []
        encodings = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        for number, (text, encoding) in enumerate(zip(texts, encodings, strict=True)):
            found = parts(len(encoding.ids))
            for part in found:
                prompts.append(before + _excerpt(text, encoding.offsets, part) + after)
                owners.append(number)
            cut.append(found[-1].stop < len(encoding.ids))
        first = [] if self.chat else special_tokens(self.tokenizer).before
        readings: list[list[Reading]] = [[] for _ in texts]
        whole = self.tokenizer.encode_batch(prompts, add_special_tokens=False)
        for number, encoding in zip(owners, whole, strict=True):
            ids = [*first, *encoding.ids]
            readings[number].append(Reading(ids, [len(ids) - 1], [], truncated=cut[number]))
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


def _excerpt(text: str, offsets: Sequence[tuple[int, int]], part: slice) -> str:
    """The characters of some of a text's tokens; all of the text for all of its tokens."""
    begin = offsets[part.start][0] if part.start else 0
    end = offsets[part.stop - 1][1] if part.stop < len(offsets) else len(text)
    return text[begin:end]
