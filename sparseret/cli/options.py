"""Options given as KEY=VALUE on the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence

import typer

__all__ = ["parse_options"]


def parse_options(texts: Sequence[str] | None) -> dict[str, object]:
    """``["k1=0.9", "language=german"]`` as ``{"k1": 0.9, "language": "german"}``.

    What reads as JSON is taken so, any other value as text. Raises BadParameter for other forms.
    """
    options: dict[str, object] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise typer.BadParameter(f"{text!r}: expected KEY=VALUE, such as k1=0.9")
        try:
            options[key] = json.loads(value)
        except json.JSONDecodeError:
            options[key] = value
    return options
