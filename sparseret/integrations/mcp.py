"""An MCP server over indexes: tools that search, fetch and explain (docs/integrations/mcp.md)."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Annotated, Any, TypeAlias

from sparseret import __version__
from sparseret.analysis import load_analyzer
from sparseret.errors import ConfigurationError, DocumentError, MissingExtraError, SparseretError
from sparseret.explanation import TermScore
from sparseret.retriever import Result, Retriever
from sparseret.snippets import make_snippet

try:
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp_types import ToolAnnotations
    from pydantic import BaseModel, Field
except ImportError as error:
    raise MissingExtraError("mcp", "mcp", "the MCP server") from error

__all__ = ["DocumentPart", "Hit", "Leg", "ScoreExplanation", "SearchResults", "Term", "make_server"]

_MOST_RESULTS = 50
_MOST_CHARACTERS = 20_000
_SNIPPET = 400
_SAMPLE = 100
"""Documents that are looked at for the names of metadata fields."""

_Query: TypeAlias = Annotated[str, Field(description="What to look for, in words.")]
_Id: TypeAlias = Annotated[str, Field(description="Id of a document, as search gives it.")]
_Index: TypeAlias = Annotated[
    str | None, Field(description="Name of the index; may be left out where there is only one.")
]
_Condition: TypeAlias = Annotated[
    str | None,
    Field(
        description="Condition on the metadata, such as: year >= 2015 and lang in ['en', 'de'] "
        "and not tags contains 'draft'. Comparisons are =, !=, <, <=, >, >=, in, contains, and "
        "exists FIELD; they join by and, or, not and parentheses; text is in quotes."
    ),
]


class Hit(BaseModel):
    """A document that was found."""

    id: str
    score: float = Field(description="Larger is better; comparable within one search only.")
    title: str
    snippet: str = Field(description="The part of the text that fits the query best.")
    metadata: dict[str, Any]


class SearchResults(BaseModel):
    """The best documents, best first."""

    index: str
    hits: list[Hit]
    missing: list[str] = Field(description="Legs of the index that could not take part.")


class DocumentPart(BaseModel):
    """A document, or a part of a long one."""

    index: str
    id: str
    title: str
    text: str
    metadata: dict[str, Any]
    n_characters: int = Field(description="Length of the whole text.")
    next_offset: int | None = Field(description="Where the text goes on; null at its end.")


class Term(BaseModel):
    """What a term adds to a score."""

    term: str
    query_weight: float
    document_weight: float
    contribution: float


class Leg(BaseModel):
    """What one leg of an index, such as words or meanings, says of a document."""

    name: str
    score: float
    rank: int | None = Field(description="Among the results of this leg; null if not there.")
    share: float = Field(description="What it adds to the score.")
    terms: list[Term]
    missing: list[str]


class ScoreExplanation(BaseModel):
    """Why a document has its score."""

    index: str
    id: str
    score: float
    terms: list[Term] = Field(description="Terms in common, largest contribution first.")
    missing: list[str] = Field(description="Terms of the query that the document lacks.")
    legs: list[Leg] = Field(description="Of an index of several legs, each of them.")


def make_server(indexes: Mapping[str, Retriever], *, degrade: bool = False) -> MCPServer:
    """A server with the tools ``search``, ``fetch`` and ``explain``, which change nothing.

    Every call sees what was last committed. What sparseret refuses comes back as an error of the
    tool, with its remedy.

    Args:
        indexes: open indexes by the names that tools know them by.
        degrade: whether searches go on without legs that fail.

    Raises:
        ConfigurationError: no index, or an empty name.
    """
    if not indexes or not all(indexes):
        raise ConfigurationError("a server needs one index at least, each with a name")
    tools = _Tools(indexes, degrade)
    about = "\n".join(_about(name, retriever) for name, retriever in indexes.items())
    server: MCPServer = MCPServer(
        "sparseret",
        title="sparseret",
        instructions="Search documents, fetch those that look right by their ids, and explain "
        f"why one was found. Indexes:\n{about}",
        version=__version__,
        log_level="WARNING",
    )
    harmless = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
    for tool, title in (
        (tools.search, "Search documents"),
        (tools.fetch, "Fetch a document"),
        (tools.explain, "Explain a score"),
    ):
        described = f"{inspect.getdoc(tool)}\n\nIndexes:\n{about}"
        server.add_tool(tool, title=title, description=described, annotations=harmless)
    return server


class _Tools:
    def __init__(self, indexes: Mapping[str, Retriever], degrade: bool) -> None:
        self._indexes = indexes
        self._degrade = degrade

    def search(
        self,
        query: _Query,
        k: Annotated[int, Field(ge=1, le=_MOST_RESULTS, description="Most results.")] = 10,
        filter: _Condition = None,
        index: _Index = None,
    ) -> SearchResults:
        """Find the documents that fit a query best, with the part of each that fits."""
        with _told():
            name, retriever = self._opened(index)
            found = retriever.search(query, k, filter=filter, degrade=self._degrade)
            hits = _hits(retriever, query, found)
        return SearchResults(index=name, hits=hits, missing=list(found[0].missing if found else ()))

    def fetch(
        self,
        id: _Id,
        offset: Annotated[int, Field(ge=0, description="First character to give.")] = 0,
        max_characters: Annotated[
            int, Field(ge=1, le=_MOST_CHARACTERS, description="Most characters to give.")
        ] = _MOST_CHARACTERS,
        index: _Index = None,
    ) -> DocumentPart:
        """Get a document by its id; a long one in parts."""
        with _told():
            name, retriever = self._opened(index)
            document = retriever.document(id)
            if document is None:
                raise DocumentError(f"the index {name} has no document {id!r}: search gives ids")
        end = offset + max_characters
        return DocumentPart(
            index=name, id=document.id, title=document.title, text=document.text[offset:end],
            metadata=_public(document.metadata), n_characters=len(document.text),
            next_offset=end if end < len(document.text) else None,
        )  # fmt: skip

    def explain(
        self, query: _Query, id: _Id, filter: _Condition = None, index: _Index = None
    ) -> ScoreExplanation:
        """Tell why a document has its score: what each term of the query adds to it. The filter
        must be that of the search.
        """
        with _told():
            name, retriever = self._opened(index)
            made = retriever.explain(query, id, filter=filter, degrade=self._degrade)
        legs = [
            Leg(**leg._replace(terms=(), missing=list(leg.missing))._asdict()).model_copy(
                update={"terms": _terms(leg.terms)}
            )
            for leg in made.legs
        ]
        return ScoreExplanation(
            index=name, id=id, score=made.score, terms=_terms(made.terms), missing=made.missing,
            legs=legs,
        )  # fmt: skip

    def _opened(self, name: str | None) -> tuple[str, Retriever]:
        """The index of a name, at its last commit."""
        if name is None:
            if len(self._indexes) > 1:
                raise ConfigurationError(
                    f"there are several indexes: name one of {', '.join(self._indexes)}"
                )
            name = next(iter(self._indexes))
        retriever = self._indexes.get(name)
        if retriever is None:
            raise ConfigurationError(
                f"there is no index {name!r}; there are: {', '.join(self._indexes)}"
            )
        retriever.refresh()
        return name, retriever


@contextmanager
def _told() -> Iterator[None]:
    """Errors of sparseret as those of a tool, which a model can read and mend."""
    try:
        yield
    except SparseretError as error:
        raise ToolError(str(error)) from error


def _hits(retriever: Retriever, query: str, found: Sequence[Result]) -> list[Hit]:
    analyzer = getattr(retriever.encoder, "analyzer", None) or load_analyzer("simple")
    terms = {span.term for span in analyzer.spans(query)}
    return [
        Hit(
            id=result.id, score=result.score, title=result.title,
            snippet=make_snippet(result.text, terms, analyzer, _SNIPPET).text,
            metadata=_public(result.metadata),
        )
        for result in found
    ]  # fmt: skip


def _terms(scores: Sequence[TermScore]) -> list[Term]:
    return [Term(**score._asdict()) for score in scores]


def _public(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Without what integrations of frameworks keep for themselves."""
    return {key: value for key, value in metadata.items() if not key.startswith("_")}


def _about(name: str, retriever: Retriever) -> str:
    """One line of an index: its size, and the metadata of its first documents."""
    examples: dict[str, Any] = {}
    for document in islice(retriever.documents(), _SAMPLE):
        for key, value in _public(document.metadata).items():
            if isinstance(value, (str, int, float, bool)):
                examples.setdefault(key, value)
    fields = ", ".join(
        f"{key} (such as {json.dumps(value, ensure_ascii=False)[:40]})"
        for key, value in islice(examples.items(), 20)
    )
    return f"- {name}: {len(retriever):,} documents" + (f"; metadata: {fields}" if fields else "")
