"""Compare engines on sparse vectors: ``python -m benchmarks run --corpus splade-long --out DIR``.

For each corpus writes vectors-CORPUS.json, .md and, where matplotlib is installed, a plot for each
k as .png and .svg. README.md says what is measured, and how.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.environment import environment
from benchmarks.records_io import write_json
from benchmarks.say import say
from benchmarks.vectors.comparison import Comparison, Half
from benchmarks.vectors.corpora import VectorCorpus, load_vectors
from benchmarks.vectors.engine import ENGINES
from benchmarks.vectors.plots import plot_report
from benchmarks.vectors.records import Corpus, VectorReport
from benchmarks.vectors.tables import markdown
from benchmarks.vectors.truth import exact_top

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["main"]

_SEED = 7


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    options = _parser().parse_args(arguments)
    for name in options.corpus:
        say(f"{name}: reading")
        _one_corpus(load_vectors(name), options)


def _one_corpus(corpus: VectorCorpus, options: argparse.Namespace) -> None:
    chosen = np.random.default_rng(_SEED).permutation(corpus.queries.shape[0])[: options.queries]
    say(f"{corpus.name}: exact answers of {len(chosen)} queries")
    facts, tuning, held_out = _halves(corpus, corpus.queries[chosen], options.k)
    comparison = Comparison(corpus, tuning, held_out, options.build_threads, options.build_limit)
    for name in options.engine:
        say(f"{corpus.name}: {name}, building and sweeping")
        comparison.sweep(name)
        for built in comparison.built:
            if built.engine == name and built.failed:
                say(f"  {built.build}: {built.failed}")
    out = options.out / f"vectors-{corpus.name.replace(':', '-')}"
    for k in options.k:
        say(f"{corpus.name}: held-out queries, k={k}")
        comparison.measure(k, options.rounds)
        report = VectorReport(
            environment(_distributions(comparison)), facts, options.rounds,
            tuple(comparison.engines), tuple(comparison.built), tuple(comparison.swept),
            tuple(comparison.measured),
        )  # fmt: skip
        # Written after each k: a long run that is cut short leaves what it has.
        write_json(out.with_name(out.name + ".json"), report)
        out.with_name(out.name + ".md").write_text(markdown(report), encoding="utf-8")
    if not plot_report(out, report):
        say("no plots: matplotlib is not installed; python -m benchmarks report draws them later")
    print(markdown(report))


def _halves(
    corpus: VectorCorpus, queries: csr_array, ks: Sequence[int]
) -> tuple[Corpus, Half, Half]:
    """Size of the corpus and the halves of the queries, in one pass over the documents."""
    frequencies = np.zeros(corpus.n_columns, np.int64)

    def counted() -> Iterator[csr_array]:
        for rows in corpus.chunks():
            frequencies[:] += np.bincount(rows.indices, minlength=len(frequencies))
            yield rows

    truths = exact_top(counted(), queries, ks)
    n = queries.shape[0]
    middle = n // 2
    tuning, held_out = (
        Half(queries[begin:end], {k: truth.part(begin, end) for k, truth in truths.items()})
        for begin, end in ((0, middle), (middle, n))
    )
    facts = Corpus(
        corpus.name,
        corpus.n_documents,
        corpus.n_columns,
        nonzeros_per_document=float(frequencies.sum()) / corpus.n_documents,
        nonzeros_per_query=queries.nnz / n,
        postings_per_query=float(frequencies[queries.indices].sum()) / n,
        tuning_queries=middle,
        held_out_queries=n - middle,
    )
    return facts, tuning, held_out


def _distributions(comparison: Comparison) -> list[str]:
    named = [engine.distribution for engine in comparison.engines if not engine.skipped]
    return list(dict.fromkeys(["sparseret", "numpy", "scipy", "numba", *named]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks run", description=__doc__)
    parser.add_argument(
        "--corpus", nargs="+", required=True,
        help="splade-long, splade-short (with -static for inference-free queries), msmarco-like:N",
    )  # fmt: skip
    parser.add_argument(
        "--engine", nargs="+", choices=list(ENGINES), default=list(ENGINES),
        help="those not installed are skipped, with the reason",
    )  # fmt: skip
    parser.add_argument("--k", nargs="+", type=int, default=[10, 100, 1000])
    parser.add_argument(
        "--queries", type=int, default=600, help="half for tuning, half held out (default 600)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="over the held-out queries")
    parser.add_argument("--build-threads", type=int, default=1)
    parser.add_argument(
        "--build-limit", type=float, default=1800, help="seconds after which a build is given up"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="a folder")
    return parser
