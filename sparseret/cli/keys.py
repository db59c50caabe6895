"""``sparseret keys``: API keys of a service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["keys_app"]

keys_app = typer.Typer(no_args_is_help=True, help="Make, list and remove API keys of a service.")

FileArgument = Annotated[
    Path, typer.Argument(help="File of the keys' digests.", metavar="FILE", show_default=False)
]


@keys_app.command("add")
def add_key(
    file: FileArgument,
    name: Annotated[str, typer.Option(help="Name, for the log.", show_default=False)],
    write: Annotated[
        bool, typer.Option("--write", help="Let it change indexes, too, and not only read them.")
    ] = False,
) -> None:
    """Make a key and print it, once: the file keeps only its digest.

    sparseret keys add keys.json --name web-site
    """
    from sparseret.serve.keys import KeyFile

    print(KeyFile(file).add(name, ("read", "write") if write else ("read",)))


@keys_app.command("list")
def list_keys(file: FileArgument) -> None:
    """List names and scopes."""
    from sparseret.serve.keys import KeyFile

    for key in KeyFile(file).keys:
        print(f"{key.name}\t{', '.join(key.scopes)}")


@keys_app.command("remove")
def remove_key(
    file: FileArgument,
    name: Annotated[str, typer.Option(help="Name of the key.", show_default=False)],
) -> None:
    """Forget a key; a running service does so when it is started again."""
    from sparseret.serve.keys import KeyFile

    KeyFile(file).remove(name)
