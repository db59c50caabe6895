"""``sparseret tune``: measure which search reaches which recall."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["tune_command"]


def tune_command(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", show_default=False)],
    queries: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Queries like those to come, a few hundred: .jsonl, .tsv, or a query a line (also "
            ".gz, .zst), a folder in BEIR's layout, or - for standard input.",
            show_default="some made from documents",
        ),
    ] = None,
    leg: Annotated[
        str | None,
        typer.Option(help="Of an index of several legs, the one to measure.", show_default=False),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads to search on.", show_default="all processors")
    ] = None,
) -> None:
    """Measure which approximate search reaches which recall, for --recall.

    Approximate searches of many efforts are compared with exact ones. Those
    that no other beats are kept with the index and shown:

        sparseret tune my.idx --queries queries.jsonl

        sparseret search my.idx "lift of a wing" --recall 0.95

    'index' and 'merge' do this by themselves, with queries made from documents,
    where the index has 2,000 documents and was never calibrated, or has doubled
    or halved since. Real queries are better judges.

    An index of counts, such as BM25's, is always searched exactly: there is
    nothing to tune.
    """
    from sparseret.cli.console import make_console
    from sparseret.cli.recall import print_calibration
    from sparseret.progress import progress_of_steps
    from sparseret.readers import read_queries
    from sparseret.retriever import Retriever

    texts = None if queries is None else [query.text for query in read_queries(queries)]
    with Retriever.open(index) as retriever:
        with progress_of_steps("Calibrating", show=sys.stderr.isatty()) as step:
            calibration = retriever.tune(texts, leg=leg, threads=threads, progress=step)
        print_calibration(calibration, make_console())
