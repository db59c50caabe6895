"""``sparseret search``: query an index from the shell."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparseret.cli.found import best_part, print_json
from sparseret.cli.legs import DegradeOption, FusionOption, LegOption, parse_fusion
from sparseret.cli.recall import RecallOption, note_mode
from sparseret.cli.rerank import (
    MmrOption,
    RerankDepthOption,
    RerankOption,
    TimeBudgetOption,
    make_rerankers,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from sparseret.eval.runs import Run
    from sparseret.explanation import Explanation, TermScore
    from sparseret.parents import ParentResult
    from sparseret.retriever import Result, Retriever

__all__ = ["search_command"]


def search_command(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", show_default=False)],
    query: Annotated[
        str | None, typer.Argument(help="What to look for.", show_default=False)
    ] = None,
    like: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID",
            help="A document like those wanted, besides the query or in its place; repeat it for "
            "more.",
            show_default=False,
        ),
    ] = None,
    unlike: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID",
            help="A document unlike those wanted; repeat it for more.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Results, or results of each query.")] = 10,
    filter: Annotated[
        str | None,
        typer.Option(
            "--filter",
            "-f",
            help="Condition on the metadata, such as 'year >= 2015 and lang = \"en\"'.",
            show_default=False,
        ),
    ] = None,
    recall: RecallOption = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Search exactly, which is the default.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show what each term adds to the score.")
    ] = False,
    json_lines: Annotated[
        bool,
        typer.Option("--json", help="Print a JSON object a line; the default in a pipe."),
    ] = False,
    queries: Annotated[
        Path | None,
        typer.Option(
            help="File of queries (.jsonl, .tsv, or a query a line; also .gz, .zst); the results "
            "are written as a TREC run.",
            show_default=False,
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where the run of --queries goes (also .gz, .zst).",
            show_default="standard output",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads for --queries.", show_default="all processors"),
    ] = None,
    passages: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Of an index of chunks, passages that each document is shown with, at most.",
            show_default="1",
        ),
    ] = None,
    leg: LegOption = None,
    fusion: FusionOption = None,
    degrade: DegradeOption = False,
    rerank: RerankOption = None,
    mmr: MmrOption = None,
    rerank_depth: RerankDepthOption = None,
    time_budget: TimeBudgetOption = None,
) -> None:
    """Search an index.

    sparseret search my.idx "lift of a wing" -k 5 --explain

    sparseret search my.idx "wing" --filter 'year >= 1955 and not lang = "de"'

    sparseret search my.idx "wing" --like 184 --like 29 --unlike 31

    sparseret search my.idx --queries queries.jsonl -k 100 --run my.run

    sparseret search my.idx --queries queries.jsonl --recall 0.95

    sparseret search my.idx "lift of a wing" --rerank my-cross-encoder --time-budget 0.5
    """
    like, unlike = like or [], unlike or []
    if (query is None and not like) == (queries is None):
        raise typer.BadParameter("give either a query or --queries FILE, or documents to --like")
    if queries is not None and unlike:
        raise typer.BadParameter("--like and --unlike go with a single query")
    if exact and recall is not None:
        raise typer.BadParameter("--exact and --recall exclude one another; give one of them")
    if queries is None and (run is not None or threads is not None):
        raise typer.BadParameter("--run and --threads go with --queries")
    if queries is not None and (explain or json_lines):
        raise typer.BadParameter("--explain and --json go with a single query")
    from sparseret.eval.runs import run_from_hits
    from sparseret.parents import ParentRetriever, open_retriever
    from sparseret.readers import read_queries

    fused = parse_fusion(fusion)
    rerankers = make_rerankers(rerank, mmr, rerank_depth, time_budget)
    candidates = rerank_depth or 100
    first_k = max(k, candidates) if rerankers else k
    with open_retriever(index, degrade=degrade) as opened:
        retriever = opened.retriever if isinstance(opened, ParentRetriever) else opened
        if passages is not None and retriever is opened:
            raise typer.BadParameter(f"--passages is for an index of chunks; {index} is none")
        if recall is not None:
            note_mode(retriever, first_k, recall)
        if queries is not None:
            asked = read_queries(queries)
            hits = opened.retrieve(
                [q.text for q in asked], k, filter=filter, exact=exact or None, recall=recall,
                legs=leg, fusion=fused, degrade=degrade, threads=threads, rerank=rerankers,
                rerank_depth=candidates, time_budget=time_budget,
            )  # fmt: skip
            _note_unreached(hits.mode.reranked is not None and hits.mode.reranked.unreached > 0)
            _note_missing(hits.mode.missing)
            _write_run(run_from_hits([q.id for q in asked], hits), run)
            return
        ask: dict[str, Any] = {
            "like": like, "unlike": unlike, "filter": filter, "exact": exact or None,
            "recall": recall, "legs": leg, "fusion": fused, "degrade": degrade,
            "rerank": rerankers, "rerank_depth": candidates, "time_budget": time_budget,
        }  # fmt: skip
        results: Sequence[Result | ParentResult] = (
            opened.search(query, k, passages=passages or 1, **ask)
            if isinstance(opened, ParentRetriever)
            else opened.search(query, k, **ask)
        )
        missing = results[0].missing if results else ()
        _note_missing(missing)
        if not {reranker.name for reranker in rerankers} & {*missing}:
            _note_unreached(
                bool(rerankers) and not all(best_part(r).reranked for r in results[:candidates])
            )
        explanations = [
            opened.explain(
                query,
                best_part(r).id,
                like=like,
                unlike=unlike,
                filter=filter,
                legs=leg,
                fusion=fused,
                depth=max(first_k, 100, 4 * k if retriever is not opened else 0),
                degrade=degrade,
            )
            for r in results
            if explain
        ]
        if json_lines or not sys.stdout.isatty():
            print_json(results, explanations)
        else:
            from rich.console import Console

            _print_table(retriever, query or "", results, explanations, Console())


def _note_missing(legs: Sequence[str]) -> None:
    if legs:
        print(f"warning: searched without {', '.join(legs)}", file=sys.stderr)


def _note_unreached(some: bool) -> None:
    if some:
        print("warning: time was over before all results were re-ranked", file=sys.stderr)


def _write_run(made: Run, file: Path | None) -> None:
    from sparseret.eval.runs import run_lines, write_run

    if file is not None:
        write_run(file, made)
    else:
        sys.stdout.writelines(run_lines(made))


def _print_table(
    retriever: Retriever,
    query: str,
    results: Sequence[Result | ParentResult],
    explanations: Sequence[Explanation],
    console: Console,
) -> None:
    from rich.table import Table

    if not results:
        console.print("No document matches.")
        return
    table = Table(box=None, padding=(0, 2, 1, 0), show_edge=False)
    table.add_column("", justify="right", style="dim")
    table.add_column("score", justify="right", style="cyan")
    table.add_column("id", style="green", max_width=24, overflow="fold")
    table.add_column("document")
    for i, result in enumerate(results):
        cell = _document_cell(retriever, query, result)
        if explanations:
            cell.append_text(_explanation_text(explanations[i]))
        table.add_row(str(i + 1), f"{result.score:.3f}", result.id, cell)
    console.print(table)


def _document_cell(retriever: Retriever, query: str, result: Result | ParentResult) -> Text:
    from rich.text import Text

    from sparseret.analysis import load_analyzer
    from sparseret.parents import ParentResult
    from sparseret.snippets import make_snippet

    analyzer = getattr(retriever.encoder, "analyzer", None) or load_analyzer("simple")
    terms = {span.term for span in analyzer.spans(query)}
    cell = Text()
    passages = result.passages if isinstance(result, ParentResult) else ()
    shown = [p.text for p in passages] if passages else [result.text]
    for place, (text, style, width) in enumerate(
        [(result.title, "bold", 300), *((text, "", 240) for text in shown)]
    ):
        if not text:
            continue
        snippet = make_snippet(text, terms, analyzer, width)
        part = Text(snippet.text, style)
        for start, end in snippet.marks:
            part.stylize("bold yellow", start, end)
        if cell:
            cell.append("\n")
        if place and passages:
            cell.append(
                f"characters {passages[place - 1].start}-{passages[place - 1].end}: ", "dim"
            )
        cell.append_text(part)
    if result.metadata:
        pairs = (f"{key}={json.dumps(v, ensure_ascii=False)}" for key, v in result.metadata.items())
        cell.append("\n" * bool(cell) + "  ".join(pairs)[:300], "dim")
    return cell


def _explanation_text(explanation: Explanation) -> Text:
    from rich.text import Text

    text = Text()
    for leg in explanation.legs:
        rank = "not among its results" if leg.rank is None else f"rank {leg.rank}"
        text.append(f"\n{leg.name}: {leg.share:.4f}, from a score of {leg.score:.3f} ({rank})")
        text.append_text(_terms_text(leg.terms, leg.missing))
    return text.append_text(_terms_text(explanation.terms, explanation.missing))


def _terms_text(terms: Sequence[TermScore], missing: Sequence[str]) -> Text:
    from rich.text import Text

    text = Text()
    widest = max((len(term.term) for term in terms), default=0)
    top = max((abs(term.contribution) for term in terms), default=1.0) or 1.0
    for term in terms:
        bar = "█" * max(1, round(abs(term.contribution) / top * 20))
        text.append(
            f"\n{term.term:<{widest}}  {term.query_weight:7.3f} × {term.document_weight:6.3f} = "
            f"{term.contribution:7.3f}  ",
            "dim",
        )
        text.append(bar, "cyan")
    if missing:
        text.append(f"\nnot in the document: {', '.join(missing)}", "dim")
    return text
