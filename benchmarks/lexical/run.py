"""Compare lexical engines: ``python -m benchmarks lexical --corpus scifact --out FILE``.

Writes FILE.json, FILE.md and FILE.png.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from benchmarks.corpora import load_corpus
from benchmarks.environment import environment
from benchmarks.lexical.engines import ENGINES, Level
from benchmarks.lexical.material import Material
from benchmarks.lexical.measure import (
    built_engines,
    check_agreement,
    measure_latency,
    measure_throughput,
)
from benchmarks.lexical.plots import plot
from benchmarks.lexical.records import CorpusFacts, SearchReport
from benchmarks.lexical.tables import markdown
from benchmarks.records_io import write_json

__all__ = ["main"]

_AGREEMENT_K = 10


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    options = _parser().parse_args(arguments)
    report = SearchReport(environment(), [], [], [], [], [])
    for name in options.corpus:
        _say(f"{name}: reading and analysing")
        material = Material(load_corpus(name), options.queries)
        report.corpora.append(_facts(material))
        for level in options.level:
            _measure(report, material, level, options)
        # Written after each corpus: a long run that is cut short leaves what it has.
        write_json(options.out.with_suffix(".json"), report)
        options.out.with_suffix(".md").write_text(markdown(report), encoding="utf-8")
        del material
        gc.unfreeze()
    plot(options.out.with_suffix(".png"), report)
    print(markdown(report))


def _measure(
    report: SearchReport, material: Material, level: Level, options: argparse.Namespace
) -> None:
    _say(f"{material.name}: indexing ({level})")
    with built_engines(material, level, options.engine, options.index_rounds) as (engines, built):
        report.indexing.extend(built)
        if level == "vectors":  # at level "text" every engine has its own idea of a word
            report.agreement.extend(check_agreement(material, engines, _AGREEMENT_K))
        for k in options.k:
            for threads in options.threads:
                _say(f"{material.name}: queries/s ({level}, k={k}, threads={threads})")
                report.throughput.extend(
                    measure_throughput(material, level, engines, k, threads, options.rounds)
                )
        for k in options.latency_k:
            _say(f"{material.name}: latency ({level}, k={k})")
            report.latency.extend(measure_latency(material, level, engines, k, options.rounds))


def _facts(material: Material) -> CorpusFacts:
    return CorpusFacts(
        corpus=material.name,
        documents=len(material.documents),
        terms=len(material.terms),
        nonzeros=int(material.counts.nnz),
        queries=len(material.queries),
        terms_per_query=float(np.diff(material.query_vectors.indptr).mean()),
        postings_per_query=material.postings_per_query,
    )


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks lexical", description=__doc__)
    parser.add_argument(
        "--corpus", action="append", required=True,
        help="scifact, nfcorpus, cranfield or generated:N; repeat it for more",
    )  # fmt: skip
    parser.add_argument(
        "--engine", nargs="+", choices=list(ENGINES), default=list(ENGINES),
        help="engines to compare; the others' scores are checked against the first one's",
    )  # fmt: skip
    levels = get_args(Level)
    parser.add_argument("--level", nargs="+", choices=levels, default=list(levels))
    parser.add_argument("--k", nargs="+", type=int, default=[10, 100, 1000])
    parser.add_argument("--latency-k", nargs="*", type=int, default=[10])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--queries", type=int, default=300, help="at most; the first of the corpus")
    parser.add_argument("--rounds", type=int, default=5, help="of searching")
    parser.add_argument("--index-rounds", type=int, default=3)
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results/search"),
        help="without suffix: .json, .md and .png are written",
    )  # fmt: skip
    return parser
