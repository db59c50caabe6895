"""``sparseret ask``: answer a question from an index, with citations."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from sparseret.rag.answers import Answer
    from sparseret.rag.rating import Rating
    from sparseret.rag.readers import Reader

__all__ = ["ask_command"]


def ask_command(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", show_default=False)],
    question: Annotated[
        str | None, typer.Argument(help="What to answer.", show_default=False)
    ] = None,
    reader: Annotated[
        str,
        typer.Option(
            help="Who extracts facts and answers: extractive, which needs no model; openai:MODEL, "
            "behind any OpenAI-compatible endpoint; or local:FOLDER, a causal language model.",
        ),
    ] = "extractive",
    base_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="With openai:MODEL, the endpoint, such as http://localhost:8000/v1. Its key is "
            "read from OPENAI_API_KEY.",
            show_default="OpenAI's",
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Documents to retrieve.")] = 5,
    passages: Annotated[
        int,
        typer.Option(
            min=1, help="Of an index of chunks, passages of a document that may give evidence."
        ),
    ] = 3,
    budget: Annotated[int, typer.Option(min=1, help="Characters of evidence.")] = 4000,
    filter: Annotated[
        str | None,
        typer.Option("--filter", "-f", help="Condition on the metadata.", show_default=False),
    ] = None,
    questions: Annotated[
        str | None,
        typer.Option(
            metavar="PATH_OR_NAME",
            help="Answer all questions of a .jsonl file, or of a dataset (docs/rag.md), and rate "
            "evidence and answers.",
            show_default=False,
        ),
    ] = None,
    json_lines: Annotated[
        bool,
        typer.Option("--json", help="Print a JSON object; the default in a pipe."),
    ] = False,
) -> None:
    """Answer a question from the documents of an index, and cite them.

    The best documents are retrieved, the sentences that say most chosen, facts quoted from them,
    and every quotation looked up in its document; what does not stand there is dropped.

        sparseret ask my.idx "how does a slipstream change the lift of a wing?"

        sparseret ask my.idx "..." --reader openai:my-model --base-url http://localhost:8000/v1

        sparseret ask my.idx --questions questions.jsonl
    """
    if (question is None) == (questions is None):
        raise typer.BadParameter("give either a question or --questions")
    made = _reader(reader, base_url)

    from sparseret.parents import open_retriever
    from sparseret.rag.answers import ask

    as_json = json_lines or not sys.stdout.isatty()
    with open_retriever(index) as retriever:

        def answer(text: str) -> Answer:
            return ask(
                retriever, text, reader=made, k=k, passages=passages, budget=budget, filter=filter
            )

        if question is not None:
            _print_answer(answer(question), as_json)
            return
        from sparseret.progress import progress_bar
        from sparseret.rag.questions import read_questions
        from sparseret.rag.rating import rate

        asked = read_questions(questions or "")
        answers = []
        with progress_bar("Answering", len(asked), show=sys.stderr.isatty()) as advance:
            for each in asked:
                answers.append(answer(each.text))
                advance(1)
        _print_rating(rate(asked, answers), as_json)


def _reader(text: str, base_url: str | None) -> Reader:
    from sparseret.rag import ExtractiveReader, LocalReader, OpenAIReader

    kind, _, name = text.partition(":")
    if base_url is not None and kind != "openai":
        raise typer.BadParameter("--base-url goes with --reader openai:MODEL")
    if kind == "extractive" and not name:
        return ExtractiveReader()
    if kind == "openai" and name:
        return OpenAIReader(name, base_url=base_url)
    if kind == "local" and name:
        return LocalReader(name)
    raise typer.BadParameter(f"--reader {text}: expected extractive, openai:MODEL or local:FOLDER")


def _print_answer(answer: Answer, as_json: bool) -> None:
    if as_json:
        line: dict[str, Any] = {
            **answer._asdict(),
            "facts": [fact._asdict() for fact in answer.facts],
            "dropped": [quote._asdict() for quote in answer.dropped],
            "sources": [
                {
                    "number": source.number,
                    "document": source.document,
                    "title": source.title,
                    "sentences": [sentence._asdict() for sentence in source.sentences],
                }
                for source in answer.sources
            ],
        }
        print(json.dumps(line, ensure_ascii=False))
        return
    from rich.text import Text

    from sparseret.cli.console import count, make_console

    console = make_console()
    console.print(Text(answer.text or "No answer in the documents found.", "bold"))
    _print_facts(answer, console)
    if answer.dropped:
        quoted = count(len(answer.dropped), "quotation")
        console.print(Text(f"dropped, as they stand in no source: {quoted}", "dim"))


def _print_facts(answer: Answer, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    if not answer.facts:
        return
    titles = {source.number: source.title for source in answer.sources}
    table = Table.grid(padding=(0, 2))
    for place, fact in enumerate(answer.facts, 1):
        cell = Text(" ".join(fact.text.split()))
        where = f"\n{fact.document}, characters {fact.start}-{fact.end}"
        cell.append(where + f", {titles[fact.source]}" * bool(titles[fact.source]), "dim")
        table.add_row(Text(f"[{place}]", "green" if place in answer.cited else "dim"), cell)
    console.print()
    console.print(table)


def _print_rating(rating: Rating, as_json: bool) -> None:
    if as_json:
        print(json.dumps(rating._asdict()))
        return
    from rich.table import Table

    from sparseret.cli.console import make_console

    table = Table.grid(padding=(0, 2))
    for name, value in rating._asdict().items():
        shown = (
            str(value) if isinstance(value, int) else f"{value:.3f}" if value is not None else ""
        )
        if shown:
            table.add_row(name.removeprefix("n_").replace("_", " "), shown)
    make_console().print(table)
