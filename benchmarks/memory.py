"""Peak memory of ``sparseret index`` as the corpus grows: ``python -m benchmarks memory``.

Writes FILE.json and FILE.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.corpora import DATA, corpus_folder
from benchmarks.environment import Environment, environment, environment_lines
from benchmarks.markdown import table
from benchmarks.process import SPARSERET, Finished, watch
from benchmarks.records_io import write_json

__all__ = ["MemoryReport", "main", "markdown"]


@dataclass(frozen=True)
class Row:
    """Indexing one corpus."""

    documents: int
    corpus_mb: float
    index_mb: float
    finished: Finished


@dataclass(frozen=True)
class MemoryReport:
    """Everything measured."""

    environment: Environment
    rows: list[Row]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks memory", description=__doc__)
    parser.add_argument(
        "--documents", nargs="+", type=int, default=[30_000, 100_000, 300_000, 1_000_000]
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/memory"))
    options = parser.parse_args(arguments)
    report = MemoryReport(environment(), [])
    for n in options.documents:
        print(f"indexing {n:,} documents", file=sys.stderr)
        report.rows.append(_measure(n))
        # Written after each size: a run that is cut short leaves what it has.
        write_json(options.out.with_suffix(".json"), report)
        options.out.with_suffix(".md").write_text(markdown(report), encoding="utf-8")
    print(markdown(report))


def _measure(n_documents: int) -> Row:
    corpus = corpus_folder(f"generated:{n_documents}") / "corpus.jsonl"
    with tempfile.TemporaryDirectory(dir=DATA, prefix="memory-") as scratch:
        index = Path(scratch, "index")
        finished = watch([*SPARSERET, "index", str(corpus), "--out", str(index), "--quiet"])
        size = sum(file.stat().st_size for file in index.rglob("*") if file.is_file())
    return Row(n_documents, corpus.stat().st_size / 1e6, size / 1e6, finished)


def markdown(report: MemoryReport) -> str:
    """The whole report."""
    rows = [
        [
            f"{row.documents:,}",
            f"{row.corpus_mb:.0f}",
            f"{row.index_mb:.0f}",
            f"{row.finished.seconds:.1f}",
            f"{row.documents / row.finished.seconds:,.0f}",
            f"{row.finished.median_anonymous_mb:.0f}",
            f"{row.finished.peak_anonymous_mb:.0f}",
            f"{row.finished.peak_resident_mb:.0f}",
        ]
        for row in report.rows
    ]
    header = [
        "documents", "corpus MB", "index MB", "seconds", "documents/s", "median anonymous MB",
        "peak anonymous MB", "peak resident MB",
    ]  # fmt: skip
    return "\n".join([*environment_lines(report.environment), "", *table(header, rows)]) + "\n"
