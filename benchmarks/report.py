"""docs/benchmarks.md out of benchmarks/results: ``python -m benchmarks report``.

Draws the plots again as well, and holds the results against the targets.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import memory, presets, startup
from benchmarks.lexical import records as lexical_records
from benchmarks.lexical import tables as lexical_tables
from benchmarks.records_io import read_json
from benchmarks.targets import check, target_lines
from benchmarks.vectors import records as vector_records
from benchmarks.vectors import tables as vector_tables
from benchmarks.vectors.plots import plot_report

__all__ = ["main"]


@dataclass(frozen=True)
class _Kind:
    """A kind of report."""

    title: str
    mark: str
    """A field that only its JSON has."""
    record: type[Any]
    markdown: Callable[[Any], str]


_KINDS = (
    _Kind("Sparse vectors", "swept", vector_records.VectorReport, vector_tables.markdown),
    _Kind("BM25", "throughput", lexical_records.SearchReport, lexical_tables.markdown),
    _Kind("Rounding and pruning", "presets", presets.PresetReport, presets.markdown),
    _Kind("Starting", "lives", startup.StartupReport, startup.markdown),
    _Kind("Memory of indexing", "rows", memory.MemoryReport, memory.markdown),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks report", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks.md"))
    options = parser.parse_args(arguments)
    files = sorted(options.results.glob("*.json"))
    lines = [
        "# Benchmarks",
        "",
        "Made by `python -m benchmarks report` of the files in `benchmarks/results`. Each section "
        "begins with the command that measured it, the machine and the versions. What is measured, "
        "and how, is in [benchmarks/README.md](../benchmarks/README.md).",
        "",
        "## Targets",
        "",
        *target_lines(check(files)),
    ]
    marks = {file: json.loads(file.read_text("utf-8")).keys() for file in files}
    for kind in _KINDS:
        own = [file for file in files if kind.mark in marks[file]]
        if own:
            lines += ["", f"## {kind.title}"]
        for file in own:
            record = read_json(file, kind.record)
            lines += ["", *_section(file, kind, record)]
            if isinstance(record, vector_records.VectorReport):
                lines += _pictures(file, record, options.out.parent)
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{options.out}: {len(files)} results")


def _section(file: Path, kind: _Kind, record: Any) -> list[str]:
    """The report two levels down, under a heading if it brings none."""
    lines = kind.markdown(record).rstrip("\n").splitlines()
    if not lines[0].startswith("#"):
        lines = [f"# {file.stem}", "", *lines]
    return [re.sub("^#", "###", line) for line in lines]


def _pictures(file: Path, record: vector_records.VectorReport, folder: Path) -> list[str]:
    plot_report(file.with_suffix(""), record)
    where = Path(os.path.relpath(file.parent, folder)).as_posix()
    lines = []
    for k in dict.fromkeys(m.k for m in record.measured):
        name = f"{file.stem}-k{k}.svg"
        if file.with_name(name).exists():
            lines += ["", f"![{record.corpus.name}: recall and latency, top {k}]({where}/{name})"]
    return lines
