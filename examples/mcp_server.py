"""An MCP server over an index, and a client that calls its tools, as a language model would.

`sparseret mcp DIR` is the same server as a command. It needs the extra "mcp".
"""

import asyncio
import tempfile
from pathlib import Path

from mcp.client import Client

from sparseret import Document, Retriever
from sparseret.integrations.mcp import make_server

REPORTS = [
    Document("1", "The slipstream changes the lift of a wing.", "Wings", {"year": 1958}),
    Document("2", "Heat is conducted in composite slabs.", "Heat", {"year": 1961}),
    Document("3", "A wing flutters at supersonic speed.", "Flutter", {"year": 1970}),
]


async def converse(retriever: Retriever) -> None:
    async with Client(make_server({"reports": retriever})) as client:
        for tool in (await client.list_tools()).tools:
            print(f"{tool.name}({', '.join(tool.input_schema['properties'])})")
        found = await client.call_tool("search", {"query": "wings", "filter": "year > 1960"})
        hit = found.structured_content["hits"][0]
        print(hit["id"], hit["title"])
        document = await client.call_tool("fetch", {"id": hit["id"]})
        print(document.structured_content["text"])
        reason = await client.call_tool("explain", {"query": "wings", "id": hit["id"]})
        print([term["term"] for term in reason.structured_content["terms"]])
        wrong = await client.call_tool("search", {"query": "wings", "filter": "year >"})
        print(wrong.content[0].text.splitlines()[-1])


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Retriever.create(Path(folder, "reports.idx")) as retriever,
    ):
        retriever.add(REPORTS)
        retriever.commit()
        asyncio.run(converse(retriever))


if __name__ == "__main__":
    main()
