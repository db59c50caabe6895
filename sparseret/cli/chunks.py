"""Options of the commands about indexes of chunks."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sparseret.chunks import Chunking

__all__ = ["ChunkByOption", "ChunkOverlapOption", "ChunkWordsOption", "parse_chunking"]


class ChunkBy(str, Enum):
    """Where documents are cut."""

    words = "words"
    sentences = "sentences"


ChunkWordsOption = Annotated[
    int | None,
    typer.Option(
        "--chunk-words",
        min=1,
        help="Cut documents into chunks of so many words, search these, and return the documents "
        "with their best passages (docs/chunks.md). Only for a new index.",
        show_default="documents stay whole",
    ),
]

ChunkOverlapOption = Annotated[
    int | None,
    typer.Option(
        "--chunk-overlap",
        min=0,
        help="With --chunk-words, words that a chunk repeats of the one before.",
        show_default="a fifth of a chunk",
    ),
]

ChunkByOption = Annotated[
    ChunkBy | None,
    typer.Option(
        "--chunk-by",
        help="With --chunk-words, cut anywhere between words, or between sentences alone.",
        show_default="words",
    ),
]


def parse_chunking(words: int | None, overlap: int | None, by: ChunkBy | None) -> Chunking | None:
    """What the options ask for, None where they were not used."""
    if words is None:
        if overlap is not None or by is not None:
            raise typer.BadParameter("--chunk-overlap and --chunk-by go with --chunk-words")
        return None
    from sparseret.chunks import Chunking

    return Chunking(
        words, words // 5 if overlap is None else overlap, "words" if by is None else by.value
    )
