"""A reader that is a causal language model in a folder, run by transformers; greedy, offline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparseret.encoders.causal_model import load_causal_model
from sparseret.encoders.checkpoints import reason
from sparseret.errors import ConfigurationError, ReaderError
from sparseret.indexers.search import check_count
from sparseret.rag.evidence import Source
from sparseret.rag.facts import Fact, Quote
from sparseret.rag.prompts import ask_answer, ask_facts

__all__ = ["LocalReader"]


class LocalReader:
    """Asks a local model for quotations and for the answer.

    The prompt is written by the chat template of the tokenizer where it has one, and else as plain
    text. Decoding is greedy: the same input, model and device give the same reply.

    Args:
        folder: of a transformers causal language model with its tokenizer.
        max_new_tokens: of a reply.
        device: of torch.
        dtype: float32, bfloat16 or float16.

    Raises:
        ConfigurationError: the folder holds no such model.
        MissingExtraError: torch or transformers is not installed.
    """

    name = "local"

    def __init__(
        self,
        folder: str | Path,
        *,
        max_new_tokens: int = 256,
        device: str = "cpu",
        dtype: str = "float32",
    ) -> None:
        check_count("max_new_tokens", max_new_tokens)
        self.folder = Path(folder)
        self.max_new_tokens = max_new_tokens
        self._model: Any = load_causal_model(self.folder, dtype=dtype, device=device).module
        import transformers

        try:
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
                self.folder, local_files_only=True
            )
        except (OSError, ValueError, KeyError) as error:
            raise ConfigurationError(f"{folder} holds no tokenizer: {reason(error)}") from error

    @property
    def description(self) -> str:
        """One line for people."""
        return f"local ({self.folder.name}, up to {self.max_new_tokens} tokens)"

    def facts(self, question: str, sources: Sequence[Source]) -> list[Quote]:
        """What the model quotes. Raises ReaderError."""
        return ask_facts(self._complete, question, sources)

    def answer(self, question: str, facts: Sequence[Fact]) -> str:
        """What the model answers. Raises ReaderError."""
        return ask_answer(self._complete, question, facts)

    def _complete(self, instructions: str, request: str) -> str:
        import torch

        tokens = self._tokenizer(
            self._prompt(instructions, request),
            return_tensors="pt",
            add_special_tokens=self._tokenizer.chat_template is None,
        ).input_ids.to(self._model.device)
        config = self._model.config.get_text_config()
        limit = getattr(config, "max_position_embeddings", None)
        n = int(tokens.shape[1])
        if limit is not None and n >= limit:
            raise ReaderError(
                f"a prompt of {n} tokens is too long for {self.folder.name}, which reads {limit}: "
                "ask with a smaller budget of characters", self.name,
            )  # fmt: skip
        room = self.max_new_tokens if limit is None else min(self.max_new_tokens, limit - n)
        padding = self._tokenizer.pad_token_id
        with torch.no_grad():
            made = self._model.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                max_new_tokens=room,
                do_sample=False,
                pad_token_id=self._tokenizer.eos_token_id if padding is None else padding,
            )
        return str(self._tokenizer.decode(made[0, n:], skip_special_tokens=True))

    def _prompt(self, instructions: str, request: str) -> str:
        if self._tokenizer.chat_template is None:
            return f"{instructions}\n\n{request}"
        messages = [
            {"role": "system", "content": instructions},
            {"role": "user", "content": request},
        ]
        return str(
            self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
        )
