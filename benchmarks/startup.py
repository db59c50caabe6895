"""Time to open an index and to answer the first query: ``python -m benchmarks startup``.

Every figure is of a process of its own. Files are "warm" (in the page cache) or "cold" (the index
was dropped from it; Python's own files never are). Writes FILE.json and FILE.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.corpora import DATA, corpus_folder
from benchmarks.environment import Environment, environment, environment_lines
from benchmarks.lexical.engines import Stage
from benchmarks.markdown import table
from benchmarks.process import SPARSERET, seconds_of
from benchmarks.records_io import write_json
from sparseret.readers import read_documents, read_queries

__all__ = ["StartupReport", "main", "markdown"]

_SHOWN_IMPORTS = 15
_PROBE = (sys.executable, "-m", "benchmarks.cold_probe")


@dataclass(frozen=True)
class Life:
    """Processes of one kind."""

    what: str
    files: str
    """Whether the index was in the page cache: "warm" or "cold"."""
    wall: tuple[float, ...]
    """Seconds from start to end of each process."""
    stages: tuple[tuple[Stage, ...], ...]
    """Stages of each process, timed from inside; empty for the command line."""


@dataclass(frozen=True)
class Import:
    """One module of the command line's start."""

    module: str
    own_ms: float
    cumulative_ms: float


@dataclass(frozen=True)
class StartupReport:
    """Everything measured."""

    environment: Environment
    corpus: str
    lives: list[Life]
    imports: list[Import]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks startup", description=__doc__)
    parser.add_argument("--corpus", default="generated:1000000")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peers", action="store_true", help="bm25s as well")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/startup"))
    options = parser.parse_args(arguments)
    folder = corpus_folder(options.corpus)
    query = read_queries(folder)[0].text
    ours = _index(options.corpus, folder)
    indexes = {"sparseret": ours}
    if options.peers:
        peer = _bm25s_index(options.corpus, folder)
        indexes |= {"bm25s-numba": peer, "bm25s-numpy": peer}
    lives = _lives(indexes, query, options.rounds)
    report = StartupReport(environment(), options.corpus, lives, _imports(ours, query))
    write_json(options.out.with_suffix(".json"), report)
    text = markdown(report)
    options.out.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


def _index(corpus: str, folder: Path) -> Path:
    """The corpus's index, fresh: it is made again at every run, by the code under test."""
    index = DATA / f"{corpus.replace(':', '-')}.idx"
    if index.exists():
        shutil.rmtree(index)
    print(f"indexing {corpus}", file=sys.stderr)
    seconds_of([*SPARSERET, "index", str(folder), "--out", str(index), "--quiet"])
    return index


def _bm25s_index(corpus: str, folder: Path) -> Path:
    import bm25s
    import Stemmer

    index = DATA / f"{corpus.replace(':', '-')}.bm25s"
    if not index.exists():
        texts = [record.document.content for record in read_documents(folder)]
        tokens = bm25s.tokenize(texts, stemmer=Stemmer.Stemmer("english"), show_progress=False)
        model = bm25s.BM25(csc_backend="scipy")
        model.index(tokens, show_progress=False)
        model.save(index)
    return index


def _lives(indexes: dict[str, Path], query: str, rounds: int) -> list[Life]:
    kinds = [(engine, files) for engine in indexes for files in ("warm", "cold")]
    walls: dict[tuple[str, str], list[float]] = {}
    stages: dict[tuple[str, str], list[tuple[Stage, ...]]] = {}
    for _ in range(rounds):
        for engine, files in kinds:
            command = [*_PROBE, engine, str(indexes[engine]), query]
            wall, inside = _probe(command, indexes[engine], files)
            walls.setdefault((f"Python, {engine}", files), []).append(wall)
            stages.setdefault((f"Python, {engine}", files), []).append(inside)
        for files in ("warm", "cold"):
            _prepare(indexes["sparseret"], files)
            command = [*SPARSERET, "search", str(indexes["sparseret"]), query]
            walls.setdefault(("`sparseret search`", files), []).append(seconds_of(command))
        bare = seconds_of([sys.executable, "-c", "pass"])
        walls.setdefault(("bare interpreter", "-"), []).append(bare)
    return [
        Life(what, files, tuple(seconds), tuple(stages.get((what, files), ())))
        for (what, files), seconds in walls.items()
    ]


def _probe(command: list[str], index: Path, files: str) -> tuple[float, tuple[Stage, ...]]:
    _prepare(index, files)
    start = time.perf_counter()
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    wall = time.perf_counter() - start
    return wall, tuple(Stage(name, seconds) for name, seconds in json.loads(output))


def _prepare(index: Path, files: str) -> None:
    """Read the index's files, or drop them from the page cache."""
    for file in index.rglob("*"):
        if not file.is_file():
            continue
        if files == "warm":
            file.read_bytes()
            continue
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # pages not yet written cannot be dropped
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _imports(index: Path, query: str) -> list[Import]:
    """The modules that take longest while ``sparseret search`` starts and answers."""
    command = [SPARSERET[0], "-X", "importtime", *SPARSERET[1:], "search", str(index), query]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    found = []
    for line in printed.splitlines():
        own, _, rest = line.removeprefix("import time:").partition("|")
        cumulative, _, module = rest.partition("|")
        if own.strip().isdecimal():
            found.append(Import(module.strip(), int(own) / 1e3, int(cumulative) / 1e3))
    return sorted(found, key=lambda entry: -entry.cumulative_ms)[:_SHOWN_IMPORTS]


def markdown(report: StartupReport) -> str:
    """The whole report."""
    rows = []
    for life in report.lives:
        stages = [
            f"{parts[0].name} {median(part.seconds for part in parts) * 1e3:.1f}"
            for parts in zip(*life.stages, strict=True)
        ]
        rows.append(
            [
                life.what,
                life.files,
                f"{median(life.wall) * 1e3:.0f}",
                f"{max(life.wall) * 1e3:.0f}",
                ", ".join(stages) or "-",
            ]
        )
    lines = [*environment_lines(report.environment), "", f"Index: {report.corpus}", ""]
    lines += table(
        ["process", "index files", "wall ms, median", "largest", "stages, ms (medians)"], rows
    )
    lines += [
        "",
        "Slowest imports of `sparseret search` (with -X importtime, which slows them):",
        "",
    ]
    lines += table(
        ["module", "own ms", "cumulative ms"],
        [[f"`{i.module}`", f"{i.own_ms:.1f}", f"{i.cumulative_ms:.1f}"] for i in report.imports],
    )
    return "\n".join(lines) + "\n"
