"""``sparseret eval``: how good and how fast a retriever is on a dataset."""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparseret.cli.encoders import note_license, note_truncated
from sparseret.cli.legs import (
    FusionOption,
    LegOption,
    leg_encoders,
    leg_options,
    parse_fusion,
)
from sparseret.cli.options import EncoderOptions
from sparseret.cli.recall import RecallOption, merge_with_progress
from sparseret.cli.rerank import (
    MmrOption,
    RerankDepthOption,
    RerankOption,
    TimeBudgetOption,
    make_rerankers,
)

if TYPE_CHECKING:
    from rich.console import Console

    from sparseret.documents import Document
    from sparseret.eval.datasets import Dataset
    from sparseret.eval.evaluate import Report
    from sparseret.parents import ParentRetriever
    from sparseret.retriever import Retriever

__all__ = ["eval_command"]

_PROGRESS_STEP = 1 << 16  # bytes between two updates of the progress bar


def eval_command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="PATH_OR_NAME",
            help="A folder in BEIR's layout; 'cranfield', which is bundled; or a BEIR name such as "
            "scifact, which is downloaded once.",
            show_default=False,
        ),
    ],
    index: Annotated[
        Path | None,
        typer.Option(
            "--index",
            help="Evaluate this index. Without it, the corpus is indexed in a temporary folder.",
            show_default=False,
        ),
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            help="Encoder of the temporary index; several make one of several legs.",
            show_default="bm25",
        ),
    ] = None,
    encoder_option: EncoderOptions = None,
    fusion: FusionOption = None,
    leg: LegOption = None,
    from_run: Annotated[
        Path | None,
        typer.Option(
            metavar="RUNFILE",
            help="Rate this TREC run file; no index is needed.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Which judgements: a file name in qrels/.")] = "test",
    measure: Annotated[
        list[str] | None,
        typer.Option(
            "--measure",
            "-m",
            help="A measure of ir_measures, such as P@5 or 'P(rel=2)@5'; repeat it for "
            "more. The first one is plotted.",
            show_default="nDCG@10, Recall@100, MRR@10, MAP",
        ),
    ] = None,
    k: Annotated[
        int | None,
        typer.Option(
            "-k",
            min=1,
            help="Results of a query.",
            show_default="what the measures need: 100 or their largest cutoff; 1000 for one "
            "without a cutoff, such as MAP",
        ),
    ] = None,
    recall: RecallOption = None,
    drop_self: Annotated[
        bool,
        typer.Option(
            "--drop-self",
            help="Drop hits whose id is that of the query, for ArguAna and Quora.",
        ),
    ] = False,
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the results as a TREC run (also .gz, .zst).",
            show_default=False,
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json", metavar="FILE", help="Write the report as JSON.", show_default=False
        ),
    ] = None,
    per_query: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the values of each query, .tsv or .csv.", show_default=False
        ),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            metavar="RUNFILE",
            help="Test whether the results differ from those of this TREC run.",
            show_default=False,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Plot the first measure over the queries: .png, .svg or .pdf.",
            show_default=False,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads of the batch of queries.", show_default="all processors"),
    ] = None,
    rerank: RerankOption = None,
    mmr: MmrOption = None,
    rerank_depth: RerankDepthOption = None,
    time_budget: TimeBudgetOption = None,
) -> None:
    """Rate a retriever on a dataset: effectiveness, latency, throughput and size.

    Try BM25 on the bundled Cranfield collection:

        sparseret eval cranfield

    Try other parameters, and keep the results:

        sparseret eval scifact --encoder-option k1=0.9 --encoder-option b=0.4 --run a.run

    Is the difference to an earlier run significant?

        sparseret eval scifact --compare a.run --plot difference.png

    Rate an index that exists, by other measures:

        sparseret eval data/nfcorpus --index my-index -m nDCG@10 -m P@5 --json report.json

    What is lost if search may miss some of the exact results?

        sparseret eval data/nfcorpus --index my-index --recall 0.95 --compare exact.run

    Rate a run of any system:

        sparseret eval scifact --from-run other.run.gz
    """
    sources = [
        name
        for name, given in (
            ("--index", index is not None),
            ("--encoder or --encoder-option", bool(encoder or encoder_option)),
            ("--from-run", from_run is not None),
        )
        if given
    ]
    if len(sources) > 1:
        raise typer.BadParameter(f"{' and '.join(sources)} exclude one another; give one of them")
    if from_run is not None and k is not None:
        raise typer.BadParameter("-k has no effect on --from-run; a run has the depth it has")
    if from_run is not None and recall is not None:
        raise typer.BadParameter("--recall has no effect on --from-run; nothing is searched")
    if from_run is not None and (rerank is not None or mmr is not None):
        raise typer.BadParameter("--rerank and --mmr have no effect on --from-run")
    if per_query is not None and per_query.suffix not in (".tsv", ".csv"):
        raise typer.BadParameter(f"--per-query {per_query}: the name must end in .tsv or .csv")
    encoders = leg_encoders(encoder) or "bm25"
    options = leg_options(encoders, encoder_option)
    fused = parse_fusion(fusion)
    rerankers = make_rerankers(rerank, mmr, rerank_depth, time_budget)

    from sparseret.cli.console import make_console
    from sparseret.eval.chosen_legs import ChosenLegs
    from sparseret.eval.datasets import load_dataset
    from sparseret.eval.evaluate import evaluate, evaluate_run
    from sparseret.eval.measures import DEFAULT_MEASURES, required_depth
    from sparseret.eval.report import print_report
    from sparseret.eval.runs import read_run, write_run
    from sparseret.indexers.search import check_recall

    measures = tuple(dict.fromkeys(measure or DEFAULT_MEASURES))
    # What is misspelt shows before an hour of indexing, not after it.
    required_depth(measures, k)
    if recall is not None:
        check_recall(recall)
    if plot is not None:
        from sparseret.eval.plots import check_plot

        check_plot(plot)
    dataset = load_dataset(source, split)
    baseline = None
    if compare is not None:
        baseline = evaluate_run(
            read_run(compare), dataset, name=compare.name, measures=measures, drop_self=drop_self
        )
    if from_run is not None:
        report = evaluate_run(
            read_run(from_run), dataset, name=from_run.name, measures=measures, drop_self=drop_self
        )
    else:
        calibrated = recall is not None
        with _retriever(dataset, index, encoders, options, calibrated) as retriever:
            chosen = ChosenLegs(
                retriever, leg, fused, rerankers, rerank_depth or 100, time_budget
            )  # fmt: skip
            report = evaluate(
                chosen if leg or fused or rerankers else retriever,
                dataset,
                measures=measures,
                k=k,
                drop_self=drop_self,
                recall=recall,
                threads=threads,
            )

    console = make_console()
    print_report(report, console)
    if baseline is not None:
        _print_comparisons(report, baseline, measures, console)
    if run is not None:
        write_run(run, report.run)
    if json_file is not None:
        _write_json(json_file, report)
    if per_query is not None:
        _write_per_query(per_query, report)
    if plot is not None:
        from sparseret.eval.plots import plot as draw

        draw(plot, report, measures[0], baseline)


@contextmanager
def _retriever(
    dataset: Dataset,
    index: Path | None,
    encoder: str | dict[str, str],
    options: dict[str, Any],
    calibrated: bool,
) -> Iterator[Retriever | ParentRetriever]:
    from sparseret.parents import open_retriever
    from sparseret.retriever import Retriever

    if index is not None:
        with open_retriever(index) as opened:
            yield opened
        return
    with tempfile.TemporaryDirectory(prefix="sparseret-eval-") as folder:
        path = Path(folder) / "index"
        with Retriever.create(path, encoder, encoder_options=options) as retriever:
            for each in retriever.encoders.values():
                note_license(each)
            retriever.add(_documents(dataset.corpus))
            for each in retriever.encoders.values():
                note_truncated(each)
            if calibrated:
                # Which calibrates, too: without it every search is exact.
                merge_with_progress(retriever, show=sys.stderr.isatty())
            else:
                retriever.commit()
            yield retriever


def _documents(corpus: Path) -> Iterator[Document]:
    """The corpus, with a progress bar on standard error if that is a terminal."""
    from sparseret.progress import progress_bar
    from sparseret.readers import corpus_size, read_documents

    show = sys.stderr.isatty()
    with progress_bar("indexing", corpus_size(corpus), show=show, unit="bytes") as advance:
        read = 0
        for record in read_documents(corpus):
            yield record.document
            if record.offset - read >= _PROGRESS_STEP:
                advance(record.offset - read)
                read = record.offset


def _print_comparisons(
    report: Report, baseline: Report, measures: Sequence[str], console: Console
) -> None:
    from sparseret.eval.report import print_comparison
    from sparseret.eval.significance import compare

    comparisons = [compare(report.scores, baseline.scores, name) for name in measures]
    print_comparison(comparisons, report.retriever, baseline.retriever, console)


def _write_json(path: Path, report: Report) -> None:
    from sparseret.eval.files import write_text

    with write_text(path) as file:
        json.dump(report.to_json(), file, indent=2, ensure_ascii=False)
        file.write("\n")


def _write_per_query(path: Path, report: Report) -> None:
    from sparseret.eval.files import write_text

    with write_text(path) as file:
        separator = "\t" if path.suffix == ".tsv" else ","
        writer = csv.writer(file, delimiter=separator, lineterminator="\n")
        writer.writerow(["query-id", *report.scores.mean])
        for query, values in report.scores.per_query.items():
            writer.writerow([query, *values.values()])
