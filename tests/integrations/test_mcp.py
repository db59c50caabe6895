"""The MCP server through the SDK's own client: in memory, and as a command on standard streams."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp", reason="no MCP SDK (sparseret[mcp])")

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import TextContent

from sparseret import Document, Retriever, __version__
from sparseret.errors import ConfigurationError
from sparseret.integrations.mcp import (
    DocumentPart,
    ScoreExplanation,
    SearchResults,
    make_server,
)

REPORTS = [
    Document("n1", "The lift of a wing in a slipstream.", "Wings", {"year": 1954}),
    Document(
        "n2", "Heat transfer. " * 1000 + "A blunt wing. " + "Heat. " * 2000, "Heat", {"year": 1958}
    ),
    Document("n3", "Flutter of panels.", "", {"year": 1961, "tags": ["panel"], "_own": "x"}),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("reports", "notes"):
        with Retriever.create(tmp_path / f"{name}.idx") as made:
            made.add(REPORTS if name == "reports" else [Document("m", "A wing.")])
    return tmp_path


@pytest.fixture
def reports(folder: Path) -> Iterator[Retriever]:
    with Retriever.open(folder / "reports.idx") as retriever:
        yield retriever


def tell(server: Any, tool: str, **arguments: Any) -> Any:
    """Structured content of a tool's result, or the text of its error."""

    async def call() -> Any:
        async with Client(server) as client:
            result = await client.call_tool(tool, arguments)
        if not result.is_error:
            return result.structured_content
        (content,) = result.content
        assert isinstance(content, TextContent)
        return content.text

    return asyncio.run(call())


def test_tools_say_what_they_are(reports: Retriever) -> None:
    async def listed() -> tuple[Any, Any, Any]:
        async with Client(make_server({"reports": reports})) as client:
            return client.server_info, client.instructions, (await client.list_tools()).tools

    info, instructions, tools = asyncio.run(listed())
    assert (info.name, info.version) == ("sparseret", __version__)
    assert "- reports: 3 documents; metadata: year (such as 1954)" in instructions
    assert [tool.name for tool in tools] == ["search", "fetch", "explain"]
    for tool in tools:
        assert tool.annotations.read_only_hint
        assert tool.annotations.open_world_hint is False
        assert tool.title
        assert "reports: 3 documents" in tool.description
        assert all(given["description"] for given in tool.input_schema["properties"].values())
        assert tool.output_schema["type"] == "object"
    assert {t.name: t.input_schema["required"] for t in tools} == {
        "search": ["query"], "fetch": ["id"], "explain": ["query", "id"],
    }  # fmt: skip


def test_search(reports: Retriever) -> None:
    server = make_server({"reports": reports})
    found = SearchResults.model_validate(tell(server, "search", query="wing in slipstreams", k=2))
    expected = reports.search("wing in slipstreams", 2)
    assert [(hit.id, hit.score) for hit in found.hits] == [(r.id, r.score) for r in expected]
    assert found.hits[0].metadata == {"year": 1954}
    assert found.index == "reports"
    assert "A blunt wing." in found.hits[1].snippet
    assert len(found.hits[1].snippet) < 410
    some = tell(server, "search", query="wing", filter="year > 1954")
    assert [hit["id"] for hit in some["hits"]] == ["n2"]
    assert tell(server, "search", query="xylophone")["hits"] == []
    flutter = tell(server, "search", query="flutter")["hits"][0]
    assert flutter["metadata"] == {"year": 1961, "tags": ["panel"]}


def test_fetch_in_parts(reports: Retriever) -> None:
    server = make_server({"reports": reports})
    text, offset = "", 0
    while True:
        part = DocumentPart.model_validate(tell(server, "fetch", id="n2", offset=offset))
        assert (part.title, part.metadata) == ("Heat", {"year": 1958})
        assert part.n_characters == len(REPORTS[1].text)
        text += part.text
        if part.next_offset is None:
            break
        offset = part.next_offset
    assert text == REPORTS[1].text
    assert tell(server, "fetch", id="n2", offset=10**9)["text"] == ""
    short = tell(server, "fetch", id="n1", max_characters=8)
    assert (short["text"], short["next_offset"]) == ("The lift", 8)


def test_explain_adds_up_to_the_score(reports: Retriever, tmp_path: Path) -> None:
    server = make_server({"reports": reports})
    made = ScoreExplanation.model_validate(
        tell(server, "explain", query="wing in slipstreams over panels", id="n1")
    )
    assert {term.term for term in made.terms} == {"wing", "slipstream"}
    assert made.missing == ["panel"]
    assert sum(term.contribution for term in made.terms) == pytest.approx(made.score)
    with Retriever.create(tmp_path / "legs", {"words": "bm25", "letters": "sdr"}) as legs:
        legs.add(REPORTS)
        legs.commit()
        server = make_server({"legs": legs})
        query, condition = "wing", "year < 1960"
        hits = tell(server, "search", query=query, filter=condition)["hits"]
        for hit in hits:
            told = tell(server, "explain", query=query, id=hit["id"], filter=condition)
            assert [leg["name"] for leg in told["legs"]] == ["words", "letters"]
            assert told["score"] == pytest.approx(hit["score"])
            assert sum(leg["share"] for leg in told["legs"]) == pytest.approx(told["score"])
        assert told["legs"][0]["terms"][0]["term"] == "wing"


def test_several_indexes(folder: Path, reports: Retriever) -> None:
    with Retriever.open(folder / "notes.idx") as notes:
        server = make_server({"reports": reports, "notes": notes})
        assert tell(server, "search", query="wing", index="notes")["hits"][0]["id"] == "m"
        assert tell(server, "fetch", id="n1", index="reports")["title"] == "Wings"
        assert "name one of reports, notes" in tell(server, "search", query="wing")
        assert "there is no index 'x'; there are: reports" in tell(
            server, "fetch", id="m", index="x"
        )


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("search", {"query": "wing", "filter": "year >"}, "for example: year > 2015"),
        ("search", {"query": "wing", "k": 0}, "greater than or equal to 1"),
        ("search", {"query": "wing", "k": 51}, "less than or equal to 50"),
        ("search", {}, "query"),
        ("fetch", {"id": "x"}, "the index reports has no document 'x': search gives ids"),
        ("fetch", {"id": "n1", "offset": -1}, "greater than or equal to 0"),
        ("explain", {"query": "wing", "id": "x"}, "no document with id 'x'"),
    ],
)
def test_errors_tell_what_to_do(
    reports: Retriever, tool: str, arguments: dict[str, Any], told: str
) -> None:
    answer = tell(make_server({"reports": reports}), tool, **arguments)
    assert isinstance(answer, str)
    assert told in answer


def test_what_was_committed_meanwhile_is_found(folder: Path, reports: Retriever) -> None:
    server = make_server({"reports": reports})
    with Retriever.open(folder / "reports.idx") as writer:
        writer.add([Document("n4", "A xylophone.")])
    assert tell(server, "search", query="xylophone")["hits"][0]["id"] == "n4"
    assert tell(server, "fetch", id="n4")["text"] == "A xylophone."


def test_many_calls_at_once(reports: Retriever) -> None:
    async def call() -> list[Any]:
        async with Client(make_server({"reports": reports})) as client:
            calls = [client.call_tool("search", {"query": "wing"}) for _ in range(20)]
            return await asyncio.gather(*calls)

    results = asyncio.run(call())
    assert all(r.structured_content == results[0].structured_content for r in results)


def test_a_server_needs_named_indexes(reports: Retriever) -> None:
    for given in ({}, {"": reports}):
        with pytest.raises(ConfigurationError, match="each with a name"):
            make_server(given)


def test_an_index_without_documents(tmp_path: Path) -> None:
    with Retriever.create(tmp_path / "empty") as empty:
        assert tell(make_server({"empty": empty}), "search", query="wing")["hits"] == []


# --- the command --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_on_standard_streams(folder: Path, mode: Any) -> None:
    command = StdioServerParameters(
        command=sys.executable,
        args=["-c", "from sparseret.cli.app import main; main()", "mcp",
              str(folder / "reports.idx"), f"mine={folder / 'notes.idx'}"],
        cwd=folder,
    )  # fmt: skip

    async def call() -> tuple[Any, Any]:
        async with Client(command, mode=mode) as client:
            found = await client.call_tool("search", {"query": "wing", "index": "mine"})
            error = await client.call_tool("search", {"query": "wing", "filter": "?"})
            return found, error

    found, error = asyncio.run(call())
    assert found.structured_content["hits"][0]["id"] == "m"
    assert error.is_error
    assert "name one of reports, mine" in error.content[0].text


def test_the_command_refuses(run: Callable[..., Any], folder: Path) -> None:
    absent = run("mcp", folder / "absent.idx")
    assert (absent.status, absent.out) == (1, "")
    assert "no index at" in absent.err
    twice = run("mcp", folder / "notes.idx", f"notes={folder / 'reports.idx'}")
    assert twice.status == 2
    assert "two indexes are named 'notes'" in twice.err
