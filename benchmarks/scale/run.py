"""Growth: ``python -m benchmarks scale --documents 1000000 2000000 4000000 8800000`` (Linux).

Streams generated vectors (msmarco-like) into one index, in a process of its own, and searches it
in another. No copy of the corpus is kept. Writes FILE.json, .md and, where matplotlib is installed,
.png and .svg after each size; sizes that FILE.json has already are passed over.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

from benchmarks.corpora import DATA
from benchmarks.environment import environment
from benchmarks.process import own_module, watch
from benchmarks.records_io import read_json, write_json
from benchmarks.say import say
from benchmarks.scale.records import Building, ScaleReport, Searching, Size
from benchmarks.scale.tables import markdown, plot_report

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    options = _parser().parse_args(arguments)
    file = options.out.with_suffix(".json")
    known = {size.documents: size for size in read_json(file, ScaleReport).sizes} \
        if file.exists() else {}  # fmt: skip
    for n in sorted(options.documents):
        if n in known and not options.again:
            say(f"{n:,} documents: in {file} already; --again measures them anew")
            continue
        known[n] = _measure(n, options)
        # Written after each size: a run that is cut short leaves what it has.
        report = ScaleReport(
            environment(("sparseret", "numpy", "scipy")), tuple(known[d] for d in sorted(known))
        )
        write_json(file, report)
        options.out.with_suffix(".md").write_text(markdown(report), encoding="utf-8")
        plot_report(options.out, report)
    if file.exists():
        print(markdown(read_json(file, ScaleReport)))


def _measure(n: int, options: argparse.Namespace) -> Size:
    DATA.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DATA, prefix="scale-") as scratch:
        budget = "-" if options.memory_budget is None else str(options.memory_budget)
        say(f"{n:,} documents: building")
        build = own_module("benchmarks.scale.build")
        built = watch([*build, scratch, str(n), budget, str(options.queries)])
        say(f"{n:,} documents: searching")
        search = own_module("benchmarks.scale.search")
        searched = watch([*search, scratch, str(options.k), str(options.rounds)])
        return Size(
            n, datetime.now(timezone.utc).isoformat(timespec="seconds"), version("sparseret"),
            options.memory_budget, options.k, options.queries,
            built, read_json(Path(scratch, "building.json"), Building),
            searched, read_json(Path(scratch, "searching.json"), Searching),
        )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks scale", description=__doc__)
    parser.add_argument(
        "--documents", nargs="+", type=int, default=[1_000_000, 2_000_000, 4_000_000, 8_800_000]
    )
    parser.add_argument(
        "--memory-budget", type=int, metavar="BYTES",
        help="InvertedIndex.create(memory_budget=BYTES); by default its own default",
    )  # fmt: skip
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument(
        "--queries", type=int, default=300, help="and as many others to calibrate (default 300)"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--again", action="store_true", help="measure sizes that are there already")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/scale"))
    return parser
