"""What requests and answers of the search API hold.

Sparse vectors look as those of text-embeddings-inference (TEI): a list of indexes and values.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from sparseret.indexers.fusion import Normaliser

__all__ = [
    "Added",
    "CreateRequest",
    "Created",
    "DeleteRequest",
    "Deleted",
    "DocumentBody",
    "DocumentIn",
    "EncodeAnswer",
    "EncodeRequest",
    "EncodedText",
    "ExplanationBody",
    "FusionBody",
    "IndexStats",
    "IndexSummary",
    "Indexes",
    "LegBody",
    "LegStats",
    "Merged",
    "Mode",
    "PassageBody",
    "ResultBody",
    "SearchAnswer",
    "SearchRequest",
    "SnippetBody",
    "SparseValue",
    "TermBody",
    "WeightedTerm",
]

Text = Annotated[str, Field(max_length=2**24)]
Id = Annotated[str, Field(min_length=1, max_length=2**16)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Request(BaseModel):
    """Unknown fields are refused: a misspelt option would be silently ignored."""

    model_config = ConfigDict(extra="forbid")


class SparseValue(Request):
    """One value of a sparse vector."""

    index: Annotated[int, Field(ge=0, lt=2**31)]
    """Column."""
    value: FiniteFloat


Vector = list[SparseValue] | list[FiniteFloat]
"""Sparse, or dense."""


class FusionBody(Request):
    """How results of several legs are made one (docs/hybrid.md)."""

    kind: Literal["rrf"] | Normaliser
    """"rrf" for reciprocal ranks, or the normaliser of a convex combination."""
    weights: list[Annotated[float, Field(ge=0, allow_inf_nan=False)]] | None = None
    """One a leg; equal ones by default."""
    k: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 60
    """Of "rrf"."""


class SearchRequest(Request):
    """A search by text, by vectors, or by documents like those wanted."""

    query: Text | None = None
    """Any text."""
    vector: Vector | None = None
    """In place of a text: for an index of one leg, or the one of ``legs``."""
    vectors: dict[Name, Vector] | None = None
    """In place of a text: one of each leg that takes part, by its name."""
    like: Annotated[list[Id], Field(max_length=100)] = Field(default_factory=list)
    """Ids of documents like those wanted."""
    unlike: Annotated[list[Id], Field(max_length=100)] = Field(default_factory=list)
    """Ids of documents unlike those wanted; goes with a text or ``like``."""
    k: Annotated[int, Field(ge=1)] = 10
    """Results; the service has a limit, see ``/info``."""
    filter: Annotated[str, Field(max_length=100_000)] | None = None
    """Condition on the metadata, such as ``year >= 2015 and lang = "en"`` (docs/filters.md)."""
    exact: bool | None = None
    """True for the results of the full product, which is the default."""
    recall: Annotated[float, Field(ge=0.5, le=0.999)] | None = None
    """Share of the exact results that is enough."""
    legs: Annotated[list[Name], Field(min_length=1)] | None = None
    """Names of the legs that take part; all by default."""
    fusion: FusionBody | None = None
    """By default that of the index."""
    depth: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Results of each leg that are fused."""
    degrade: bool = False
    """Whether to go on without legs that fail."""
    explain: bool = False
    """Whether to tell what each term and leg adds to each score."""
    snippet: Annotated[int, Field(ge=20, le=2000)] | None = None
    """Characters of the passage of each result that answers best, with its words marked."""
    text: bool = True
    """Whether results carry their texts."""
    passages: Annotated[int, Field(ge=1, le=100)] | None = None
    """Of an index of chunks, how many of its best passages each document comes with; 1 if absent.
    Explanations and snippets are of the best."""


class TermBody(BaseModel):
    """What one term adds to a score."""

    term: str
    query_weight: float
    document_weight: float
    contribution: float


class LegBody(BaseModel):
    """What one leg says of a document."""

    name: str
    score: float
    rank: int | None = None
    """Among the leg's results that were fused; absent where it is not one of them."""
    share: float
    """What the leg adds to the score."""
    terms: list[TermBody]
    missing: list[str]


class ExplanationBody(BaseModel):
    """Why a document has its score; of re-ranked results, that of the search before."""

    score: float
    terms: list[TermBody]
    """Of an index of one leg: terms in common, largest contribution first."""
    missing: list[str]
    """Terms of the query that the document lacks."""
    legs: list[LegBody]
    """Of an index of several legs."""


class SnippetBody(BaseModel):
    """A passage and where the words of the query stand in it."""

    text: str
    marks: list[tuple[int, int]]
    """Start and end, in Unicode code points."""


class DocumentBody(BaseModel):
    """A document as it is kept."""

    id: str
    title: str
    text: str
    metadata: dict[str, Any]


class PassageBody(BaseModel):
    """A part of a document."""

    start: int
    """Of its first character in the document's text, in Unicode code points."""
    end: int
    """Behind its last."""
    score: float
    text: str


class ResultBody(BaseModel):
    """One document found."""

    id: str
    score: float
    title: str
    text: str | None = None
    metadata: dict[str, Any]
    shares: dict[str, float] | None = None
    """Of several legs, what each adds to the score."""
    snippet: SnippetBody | None = None
    explanation: ExplanationBody | None = None
    passages: list[PassageBody] | None = None
    """Of an index of chunks, best first."""


class Mode(BaseModel):
    """How a search was made."""

    exact: bool
    recall: float | None = None
    """When calibrated; absent where it was never measured."""
    missing: list[str]
    """Legs that could not take part."""


class SearchAnswer(BaseModel):
    """Results, best first."""

    results: list[ResultBody]
    mode: Mode
    ms: float
    """Milliseconds that the search took, waiting and transport not counted."""


class DocumentIn(BaseModel):
    """One line of a request that brings documents; further fields become metadata."""

    model_config = ConfigDict(extra="allow")
    id: Annotated[str, Field(min_length=1)]
    text: str
    title: str = ""
    metadata: dict[str, Any] = {}


class Added(BaseModel):
    """Documents are committed when this is answered."""

    accepted: int
    """Lines of the request."""
    documents: int
    """In the index now."""


class DeleteRequest(Request):
    """Documents to delete; unknown ids are ignored."""

    ids: Annotated[list[Id], Field(min_length=1, max_length=100_000)]


class Deleted(BaseModel):
    """Deletions are committed when this is answered."""

    deleted: int
    documents: int


class CreateRequest(Request):
    """A new, empty index."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    """Letters, digits, "-" and "_"."""
    encoder: Name | None = None
    """One of those that the service offers (``GET /indexes``); "bm25" by default."""
    legs: Annotated[dict[Name, Name], Field(min_length=1, max_length=16)] | None = None
    """Several encoders, by names of legs."""
    filter_fields: Annotated[list[Name], Field(max_length=64)] = []
    """Metadata fields that filters should find without reading every document."""


class Created(BaseModel):
    """The index is there."""

    name: str


class IndexSummary(BaseModel):
    """One index, in short."""

    name: str
    documents: int
    description: str
    legs: list[str]


class Indexes(BaseModel):
    """What is served."""

    indexes: list[IndexSummary]
    encoders: list[str]
    """That new indexes can be made with; none where none can be made."""


class LegStats(BaseModel):
    """One vector space of an index."""

    name: str
    kind: str
    encoder: str
    nnz: int
    """Stored values."""
    bytes: int
    segments: int
    calibrated: bool


class IndexStats(BaseModel):
    """One index in numbers, as of its last commit."""

    name: str
    documents: int
    tombstones: int
    """Deleted documents that a merge will drop."""
    terms: int
    """Size of the vocabulary; 0 where the index keeps none."""
    mean_length: float
    bytes: int
    format_version: int
    order_by: str | None = None
    legs: list[LegStats]


class Merged(BaseModel):
    """What a merge did."""

    merges: int
    documents: int


class EncodeRequest(Request):
    """Texts to be shown as vectors with named terms."""

    inputs: Text | list[Text]
    kind: Literal["query", "document"] = "query"
    index: Name | None = None
    """Whose encoder; by default that of the service."""
    leg: Name | None = None
    """Of an index of several; by default the first of sparse vectors."""
    top: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Only the terms of the largest weights."""


class WeightedTerm(BaseModel):
    """One value of a sparse vector, and what it stands for."""

    index: int
    term: str
    value: float


class EncodedText(BaseModel):
    """The vector of one text."""

    terms: list[WeightedTerm]
    """Largest weight first."""
    nnz: int
    """Terms in all."""


class EncodeAnswer(BaseModel):
    """Vectors of all texts, in their order."""

    encoder: str
    dim: int | None = None
    """Absent while it grows with the vocabulary."""
    texts: list[EncodedText]
