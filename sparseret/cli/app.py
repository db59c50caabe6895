"""The ``sparseret`` command: one file a subcommand, errors reported in one place."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from sparseret.cli.ask import ask_command
from sparseret.cli.delete import delete_command
from sparseret.cli.encode import encode_command
from sparseret.cli.eval import eval_command
from sparseret.cli.eval_codes import eval_codes_command
from sparseret.cli.exchange import export_command, import_command
from sparseret.cli.index import index_command
from sparseret.cli.info import info_command
from sparseret.cli.keys import keys_app
from sparseret.cli.mcp import mcp_command
from sparseret.cli.merge import merge_command
from sparseret.cli.plan_memory import plan_memory_command
from sparseret.cli.sdr import sdr_app
from sparseret.cli.search import search_command
from sparseret.cli.serve import serve_command
from sparseret.cli.snapshot import snapshot_command
from sparseret.cli.train import train_app
from sparseret.cli.tune import tune_command
from sparseret.cli.vectors import vectors_app
from sparseret.cli.verify import verify_command
from sparseret.errors import SparseretError

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("index")(index_command)
app.command("search")(search_command)
app.command("ask")(ask_command)
app.command("eval")(eval_command)
app.command("encode")(encode_command)
app.command("export")(export_command)
app.command("import")(import_command)
app.command("info")(info_command)
app.command("delete")(delete_command)
app.command("merge")(merge_command)
app.command("mcp")(mcp_command)
app.command("tune")(tune_command)
app.command("verify")(verify_command)
app.add_typer(sdr_app, name="sdr")
app.add_typer(train_app, name="train")
app.add_typer(vectors_app, name="vectors")
app.command("eval-codes")(eval_codes_command)
app.command("plan-memory")(plan_memory_command)
app.command("serve")(serve_command)
app.command("snapshot")(snapshot_command)
app.add_typer(keys_app, name="keys")


def _version(wanted: bool) -> None:
    if wanted:
        from sparseret import __version__

        typer.echo(f"sparseret {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Search your documents with sparse vectors: index, search, evaluate."""


def main() -> None:
    """Run the command line; expected errors end with one line on standard error and status 1."""
    stdout = sys.stdout
    for stream in (sys.stdin, stdout):
        # Files and pipes are UTF-8, whatever the locale; only a terminal knows better.
        if isinstance(stream, TextIOWrapper) and not stream.isatty():
            stream.reconfigure(encoding="utf-8")
    try:
        try:
            app()
        finally:
            stdout.flush()  # at exit it would be too late to handle its errors
    except SparseretError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # the reader of a pipe has seen enough; typer's status for it is 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
        sys.exit(1)
