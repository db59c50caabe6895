"""``sparseret mcp``: indexes as tools for language models."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from sparseret.cli.legs import DegradeOption

__all__ = ["mcp_command"]


def mcp_command(
    indexes: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR",
            help="Folders of indexes; NAME=DIR gives one another name than its folder's.",
            show_default=False,
        ),
    ],
    degrade: DegradeOption = False,
) -> None:
    """Serve indexes to the client that started this command, by the Model Context Protocol.

    Its tools search, fetch and explain; none changes anything. Standard input and output are the
    connection, so this is for the configuration of a client:

        sparseret mcp my.idx

        sparseret mcp papers=/data/papers.idx notes=/data/notes.idx
    """
    from sparseret.integrations.mcp import make_server
    from sparseret.retriever import Retriever

    with ExitStack() as opened:
        retrievers = {
            name: opened.enter_context(Retriever.open(path, degrade=degrade))
            for name, path in _named(indexes).items()
        }
        make_server(retrievers, degrade=degrade).run("stdio")


def _named(given: Sequence[str]) -> dict[str, Path]:
    """Folders by their names, which are those before ``=`` or of the folders."""
    named: dict[str, Path] = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not equals or Path(text).exists() or "/" in name or "\\" in name:
            name, folder = Path(text).resolve().stem, text
        if name in named:
            raise typer.BadParameter(f"two indexes are named {name!r}: name them, as in NAME=DIR")
        named[name] = Path(folder)
    return named
