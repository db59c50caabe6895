"""The documentation is run: commands, Python sessions, links and options are what they say.

Fenced blocks of these kinds are executed, file by file, in an empty folder that has the bundled
data in ``sparseret/data``:

- ``console``: lines that begin with ``$ sparseret`` are run as on a terminal of 110 columns;
- ``pycon``: a Python session, one namespace a file;
- ``python``: a script, whose output is the ``text`` block that follows it directly, if any;
- any block with ``title=NAME`` after its language is written to that file.

A page that begins with ``<!-- needs: MODULE -->`` is skipped where that is not installed.

Sizes and times are not compared. Run as a script, this file writes the real output into the
documents: ``python tests/test_docs.py``.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from sparseret.errors import SparseretError

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
COLUMNS = 110

_FENCE = re.compile(
    r"^```(?P<language>\w+)(?: title=(?P<title>\S+))?\n(?P<body>.*?)^```$", re.M | re.S
)
_OPTION = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")
_LINK = re.compile(r"\]\((?!https?:|mailto:)(?P<target>[^)#\s]*)(?:#(?P<anchor>[^)\s]*))?\)")
# What differs between machines and versions of SQLite: sizes, times, and digits past the fifth.
_NEEDS = re.compile(r"<!-- needs: ([\w.]+) -->\n")
_SIZE = re.compile(r"\d[\d,.]*(?= ?(?:ms|MB|GiB|MiB|KiB|queries/s|bytes|->)(?!\w))|(?<=^bytes).*")
_UNIT = re.compile(r"(?<=# )(?:GiB|MiB|KiB)")  # by what else the process has done
_LONG_NUMBER = re.compile(r"\d+\.\d{6,}")


class Block(NamedTuple):
    """A fenced block: where its body stands in the page."""

    language: str
    title: str | None
    start: int
    end: int
    body: str


def blocks(page: str) -> list[Block]:
    return [
        Block(match["language"], match["title"], *match.span("body"), match["body"])
        for match in _FENCE.finditer(page)
    ]


class Terminal(io.StringIO):
    """Standard output as a command finds it on a terminal."""

    def isatty(self) -> bool:
        return True


def run_command(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What the command line prints, errors after the rest."""
    from sparseret.cli.app import main

    output, errors = Terminal(), io.StringIO()
    with monkeypatch.context() as patch, contextlib.redirect_stderr(errors):
        patch.setattr(sys, "argv", ["sparseret", *arguments])
        patch.setattr(sys, "stdout", output)
        for name, value in (("TERM", "dumb"), ("COLUMNS", str(COLUMNS)), ("LINES", "50")):
            patch.setenv(name, value)
        with contextlib.suppress(SystemExit):
            main()
    lines = (output.getvalue() + errors.getvalue()).splitlines()
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def run_console(body: str, monkeypatch: pytest.MonkeyPatch) -> str:
    shown = []
    for line in body.splitlines():
        if line.startswith("$ "):
            program, *arguments = shlex.split(line[2:])
            assert program == "sparseret", f"console blocks are for sparseret alone: {line}"
            output = run_command(arguments, monkeypatch)
            shown.append(f"{line}\n{output}\n" if output else f"{line}\n")
    return "".join(shown)


def run_session(body: str, namespace: dict[str, Any]) -> str:
    shown = []
    for part in doctest.DocTestParser().parse(body):
        if not isinstance(part, doctest.Example):
            shown.append(part)
            continue
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            try:
                exec(compile(part.source, "<documentation>", "single"), namespace)
            except (SparseretError, RuntimeError) as error:
                last = "".join(traceback.format_exception_only(error))
                print(f"Traceback (most recent call last):\n  ...\n{last}", end="")
        first, *more = part.source.splitlines()
        shown.append("\n".join([f">>> {first}", *(f"... {line}".rstrip() for line in more)]) + "\n")
        shown.append(output.getvalue())
    return "".join(shown)


def run_script(body: str) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(body, "<documentation>", "exec"), {"__name__": "__main__"})
    return output.getvalue()


def run_page(page: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Block, str]]:
    """The blocks with output, and what they are when run in the current folder."""
    data = Path("sparseret/data")
    data.parent.mkdir()
    data.symlink_to(ROOT / "sparseret" / "data")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    output_of_script = None
    before = 0
    for block in blocks(page):
        if page[before : block.start].strip() not in ("```\n\n```text", "```\n```text"):
            output_of_script = None  # a text block that is not the output of a script
        if block.title:
            Path(block.title).write_text(block.body, "utf-8")
        if block.language == "console":
            yield block, run_console(block.body, monkeypatch)
        elif block.language == "pycon":
            yield block, run_session(block.body, namespace)
        elif block.language == "text" and output_of_script is not None:
            yield block, output_of_script
        is_script = block.language == "python" and not block.title
        output_of_script = run_script(block.body) if is_script else None
        before = block.end


def comparable(text: str) -> list[str]:
    lines = [_SIZE.sub("#", " ".join(line.split())) for line in text.splitlines()]
    lines = [_UNIT.sub("MiB", line) for line in lines]
    return [_LONG_NUMBER.sub(lambda number: f"{float(number[0]):.4f}", line) for line in lines]


def has_blocks(path: Path) -> bool:
    return any(
        block.language in ("console", "pycon", "python")
        for block in blocks(path.read_text("utf-8"))
    )


PAGES_WITH_BLOCKS = [path for path in PAGES if has_blocks(path)]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", PAGES_WITH_BLOCKS, ids=name)
def test_blocks_show_what_happens(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = path.read_text("utf-8")
    if needed := _NEEDS.match(page):
        pytest.importorskip(needed[1], reason=f"{needed[1]} is not installed")
    for block, real in run_page(page, monkeypatch):
        assert comparable(block.body) == comparable(real)


def test_readme_has_a_tour_and_two_setup_commands() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert len([b for b in blocks(readme) if b.language == "sh" and "pip install" in b.body]) == 2
    tours = [b for b in blocks(readme) if b.language == "python"]
    assert len(tours) == 1
    assert len(tours[0].body.splitlines()) <= 25
    following = blocks(readme)[blocks(readme).index(tours[0]) + 1]
    assert following.language == "text"
    assert following.body.strip()


def test_ci_runs_the_test_command_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    command = next(b.body.strip() for b in blocks(readme) if "pytest" in b.body)
    assert command in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def anchors(path: Path) -> set[str]:
    """Of headings, as GitHub makes them."""
    prose = _FENCE.sub("", path.read_text("utf-8"))
    headings = re.findall(r"^#+ (.*)$", prose, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_links(path: Path) -> None:
    prose = _FENCE.sub("", path.read_text("utf-8"))
    for link in _LINK.finditer(prose):
        target = path.parent / link["target"] if link["target"] else path
        assert target.exists(), f"{name(path)} links to {link['target']}, which is not there"
        if link["anchor"]:
            assert link["anchor"] in anchors(target), f"{name(path)}: no {link[0]}"


def test_every_page_can_be_reached() -> None:
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    reference = (ROOT / "docs" / "api" / "index.md").read_text("utf-8")
    for path in ROOT.glob("docs/**/*.md"):
        link = path.relative_to(ROOT / "docs").as_posix()
        there = f"({link})" in index or f"({link.removeprefix('api/')})" in reference
        assert link == "index.md" or there


def options_of_commands() -> dict[str, set[str]]:
    """Command -> its options as ``--help`` shows them; "" stands for the program itself."""
    from sparseret.cli.app import app

    root: Any = typer.main.get_command(app)
    commands = {"": root}
    for name, command in root.commands.items():  # a group's commands go by two words
        inner = getattr(command, "commands", None)
        commands |= {f"{name} {own}": c for own, c in inner.items()} if inner else {name: command}
    return {
        name: {
            option
            for parameter in command.params
            if parameter.param_type_name == "option" and not parameter.hidden
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        for name, command in commands.items()
    }


def test_cli_page_has_every_option_and_no_other() -> None:
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    sections = re.split(r"^## `sparseret ?([\w -]*)`.*$", page, flags=re.M)
    documented = {
        command: {
            option
            for line in text.splitlines()
            if line.startswith("| `-")
            for option in _OPTION.findall(line.split("|")[1])
        }
        for command, text in zip(sections[1::2], sections[2::2], strict=True)
    }
    assert documented == options_of_commands()


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_options_in_examples_exist(path: Path) -> None:
    known = options_of_commands()
    page = path.read_text("utf-8")
    code = [block.body for block in blocks(page) if block.language in ("console", "sh")]
    code += re.findall(r"`(sparseret [^`]+)`", _FENCE.sub("", page))
    for line in "\n".join(code).splitlines():
        for call in re.findall(r"\bsparseret (?=[a-z])[^|&;]*", line):
            _, command, *arguments = shlex.split(call)
            if arguments and f"{command} {arguments[0]}" in known:
                command = f"{command} {arguments.pop(0)}"
            if command not in known:
                continue
            used = {a for a in arguments if _OPTION.fullmatch(a)}
            assert used <= known[command] | {"-h", "--help"}, line


def test_a_wrong_page_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (
        "```console\n$ sparseret --version\nsparseret 0.0.0\n```\n\n"
        "```pycon\n>>> 1 + 1\n3\n```\n\n```python\nprint('a')\n```\n\n```text\nb\n```\n"
    )
    results = list(run_page(page, monkeypatch))
    assert [block.language for block, _ in results] == ["console", "pycon", "text"]
    assert all(comparable(block.body) != comparable(real) for block, real in results)


def write_real_output() -> None:
    """Replace the output shown in every page by what the commands print now."""
    for path in PAGES_WITH_BLOCKS:
        page = path.read_text("utf-8")
        with (
            tempfile.TemporaryDirectory() as folder,
            pytest.MonkeyPatch.context() as monkeypatch,
        ):
            monkeypatch.chdir(folder)
            results = list(run_page(page, monkeypatch))
        for block, real in reversed(results):
            if comparable(block.body) != comparable(real):  # else only sizes and times differ
                page = page[: block.start] + real + page[block.end :]
        path.write_text(page, "utf-8")


if __name__ == "__main__":
    write_real_output()
