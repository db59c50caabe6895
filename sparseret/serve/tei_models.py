"""What requests and answers of the encoding API hold: that of text-embeddings-inference (TEI)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, RootModel

from sparseret.serve.models import SparseValue, Text

__all__ = ["EmbedAnswer", "EmbedRequest", "EmbedSparseAnswer", "EmbedSparseRequest", "Info",
           "Rank", "RerankAnswer", "RerankRequest", "SimpleToken", "TokenizeAnswer",
           "TokenizeRequest"]  # fmt: skip

Ids = list[Annotated[int, Field(ge=0)]]
Inputs = Text | Ids | list[Text | Ids]
"""One text or several. TEI takes ids of tokens, too, which are refused here with a reason."""


class EmbedSparseRequest(BaseModel):
    """Texts to encode."""

    inputs: Inputs
    truncate: bool | None = False
    """Whether longer texts are cut; they are refused otherwise."""
    truncation_direction: Literal["Left", "left", "Right", "right"] = "Right"
    """Which end is cut off."""
    prompt_name: str | None = None
    """"query" for vectors of queries, "document" (the default) for those of documents."""


class EmbedRequest(EmbedSparseRequest):
    """Texts to encode as dense vectors."""

    normalize: bool = True
    """Whether vectors are scaled to length 1."""
    dimensions: Annotated[int, Field(ge=1)] | None = None
    """Only the first ones, scaled after the cut."""


class EmbedSparseAnswer(RootModel[list[list[SparseValue]]]):
    """Vectors of the texts, in their order."""


class EmbedAnswer(RootModel[list[list[float]]]):
    """Vectors of the texts, in their order."""


class RerankRequest(BaseModel):
    """Texts to rate for a query."""

    query: Text
    texts: list[Text]
    raw_scores: bool = False
    """Whether scores are those of the model before its sigmoid."""
    return_text: bool = False
    truncate: bool | None = False
    truncation_direction: Literal["Left", "left", "Right", "right"] = "Right"


class Rank(BaseModel):
    """One text rated."""

    index: int
    """Its place in the request."""
    score: float
    text: str | None = None


class RerankAnswer(RootModel[list[Rank]]):
    """Best first."""


class TokenizeRequest(BaseModel):
    """Texts to cut into tokens."""

    inputs: Text | list[Text]
    add_special_tokens: bool = True
    prompt_name: str | None = None


class SimpleToken(BaseModel):
    """One token."""

    id: int
    text: str
    special: bool
    start: int | None = None
    """In the text, in Unicode code points."""
    stop: int | None = None


class TokenizeAnswer(RootModel[list[list[SimpleToken]]]):
    """Tokens of the texts, in their order."""


class Info(BaseModel):
    """What is served, and its limits."""

    model_id: str
    model_sha: str | None = None
    model_dtype: str
    model_type: dict[str, dict[str, str]]
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_batch_requests: int | None = None
    max_client_batch_size: int
    auto_truncate: bool
    tokenization_workers: int
    version: str
    max_k: int
    indexes: list[str]
