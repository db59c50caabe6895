"""``sparseret tune``: which search reaches which recall, or which fusion of legs is best."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sparseret.cli.tune_fusion import tune_fusion_of_index, tune_fusion_of_runs

__all__ = ["tune_command"]


def tune_command(
    index: Annotated[
        Path | None, typer.Argument(help="Folder of the index.", show_default=False)
    ] = None,
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
    fusion: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET",
            help="Tune the fusion of legs by the judgements of this dataset instead: a folder in "
            "BEIR's layout, or a name, as for 'eval'.",
            show_default=False,
        ),
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option(
            "--run",
            metavar="NAME=RUNFILE",
            help="With --fusion: a TREC run of a leg; two or more.",
            show_default=False,
        ),
    ] = None,
    lower_bound: Annotated[
        list[str] | None,
        typer.Option(
            "--lower-bound",
            metavar="NAME=SCORE",
            help="With --fusion: the least score that a leg could give, 0 for BM25, -1 for a "
            "cosine. With one for each leg the theoretical normaliser is tried, too.",
            show_default=False,
        ),
    ] = None,
    measure: Annotated[
        str | None,
        typer.Option(
            "--measure", "-m", help="With --fusion: what to tune for.", show_default="nDCG@10"
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="With --fusion: which judgements, a file name in qrels/.", show_default="test"
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(min=2, help="With --fusion: folds of queries.", show_default="5"),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="With --fusion of an index: results of each leg that are fused.",
            show_default="100",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="With --fusion of an index: leave it as it is."),
    ] = False,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="With --fusion: write the report as JSON.",
            show_default=False,
        ),
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

    With --fusion, choose how the rankings of several legs become one, and say
    by cross-validation what that is worth; of an index, it is kept there:

        sparseret tune hybrid.idx --fusion scifact

        sparseret tune --fusion scifact --run bm25=a.run --run dense=b.run
    """
    if fusion is not None:
        if queries is not None or threads is not None or leg is not None:
            raise typer.BadParameter("--queries, --leg and --threads have no effect on --fusion")
        chosen = measure or "nDCG@10", split or "test", folds or 5, json_file
        if index is None:
            if depth is not None or dry_run:
                raise typer.BadParameter("--depth and --dry-run go with an index, not with runs")
            tune_fusion_of_runs(fusion, run, lower_bound, *chosen)
            return
        if run is not None or lower_bound is not None:
            raise typer.BadParameter("give an index or runs, not both: --run and --lower-bound")
        tune_fusion_of_index(index, fusion, depth or 100, *chosen, dry_run=dry_run)
        return
    given = (run, lower_bound, measure, split, folds, json_file, depth, dry_run or None)
    if any(value is not None for value in given):
        raise typer.BadParameter(
            "--run, --lower-bound, --measure, --split, --folds, --depth, --dry-run and --json go "
            "with --fusion DATASET"
        )
    if index is None:
        raise typer.BadParameter("give the folder of an index, or --fusion DATASET with runs")

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
