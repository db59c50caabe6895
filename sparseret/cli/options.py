"""Values of options on the command line: KEY=VALUE, and sizes in bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

import typer

__all__ = ["EncoderOptions", "parse_options", "parse_size"]

EncoderOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--encoder-option",
        "-O",
        metavar="KEY=VALUE",
        help="Option of the encoder, such as k1=0.9, language=german, max_length=128 or "
        '\'fields={"title": 2, "text": 1}\'; with several encoders LEG.KEY=VALUE. Repeat '
        "it for more.",
        show_default=False,
    ),
]

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(I?)B", re.IGNORECASE | re.ASCII)


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


def parse_size(text: str) -> int:
    """ "2GB" as 2 * 10**9, "512MiB" as 512 * 2**20; B, KB, MB, GB, TB and KiB to TiB, in any case.

    Raises BadParameter for other forms, a number without a unit included: 2 is hardly 2 bytes.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or (match[3] and not match[2]):
        raise typer.BadParameter(f"{text!r}: expected a size with its unit, such as 2GB or 512MiB")
    step = 1024 if match[3] else 1000
    size = int(Decimal(match[1]) * step ** " KMGT".index(match[2].upper() or " "))
    if size < 1:
        raise typer.BadParameter(f"{text!r}: expected at least one byte, such as 2GB or 512MiB")
    return size
