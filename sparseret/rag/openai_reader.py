"""A reader behind any endpoint that speaks OpenAI's chat completions, by the package openai."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from sparseret.errors import ConfigurationError, MissingExtraError, ReaderError
from sparseret.rag.evidence import Source
from sparseret.rag.facts import Fact, Quote
from sparseret.rag.prompts import ask_answer, ask_facts

__all__ = ["OpenAIReader"]

_KEY = "OPENAI_API_KEY"
_OPTIONS: Mapping[str, Any] = {"temperature": 0, "max_tokens": 512}


class OpenAIReader:
    """Asks a chat model for quotations and for the answer.

    The key comes from the environment variable ``OPENAI_API_KEY``, and is kept nowhere else. An
    endpoint with a ``base_url`` of one's own may need none.

    Args:
        model: as the endpoint calls it.
        base_url: of the endpoint, such as ``http://localhost:8000/v1``; None for OpenAI's.
        timeout: seconds that a request may take.
        max_retries: further tries of a request that failed for a passing reason.
        options: of each request, as the endpoint takes them.

    Raises:
        MissingExtraError: the package openai is not installed.
        ConfigurationError: no key, and no ``base_url``; or a value out of its range.
    """

    name = "openai"

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        timeout: float = 60.0,
        max_retries: int = 2,
        options: Mapping[str, Any] = _OPTIONS,
    ) -> None:
        try:
            import openai
        except ImportError as error:
            raise MissingExtraError("openai", "openai", "readers behind an endpoint") from error
        if not timeout > 0 or max_retries < 0:
            raise ConfigurationError(
                f"timeout must be seconds above 0 and max_retries 0 or more, got {timeout!r} and "
                f"{max_retries!r}"
            )
        key = os.environ.get(_KEY)
        if not key and base_url is None:
            raise ConfigurationError(
                f"the endpoint of OpenAI needs a key in the environment variable {_KEY}; for "
                "another endpoint give its base_url"
            )
        self.model = model
        self.base_url = base_url
        self._options = dict(options)
        self._client: Any = openai.OpenAI(
            api_key=key or "none", base_url=base_url, timeout=timeout, max_retries=max_retries
        )

    @property
    def description(self) -> str:
        """One line for people."""
        return f"openai ({self.model}{f' at {self.base_url}' if self.base_url else ''})"

    def facts(self, question: str, sources: Sequence[Source]) -> list[Quote]:
        """What the model quotes. Raises ReaderError."""
        return ask_facts(self._complete, question, sources)

    def answer(self, question: str, facts: Sequence[Fact]) -> str:
        """What the model answers. Raises ReaderError."""
        return ask_answer(self._complete, question, facts)

    def _complete(self, instructions: str, request: str) -> str:
        import openai

        try:
            reply = self._client.chat.completions.create(
                model=self.model,
                messages=[
                    {"role": "system", "content": instructions},
                    {"role": "user", "content": request},
                ],
                **self._options,
            )
            choices = getattr(reply, "choices", None)
            content = choices[0].message.content if choices else None
        except (openai.OpenAIError, AttributeError, TypeError, ValueError) as error:
            raise ReaderError(
                f"the model {self.model!r} did not reply: {error}. Check the endpoint, its key "
                "and the name of the model", self.name,
            ) from error  # fmt: skip
        if content is None:
            raise ReaderError(f"the model {self.model!r} replied without text", self.name)
        return str(content)
